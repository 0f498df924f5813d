import { expect, test } from 'vitest'
import { runAuthorization } from './authorization.ts'

test('the suite finds nothing wrong with the authorization server', async () => {
  const checks = await runAuthorization()
  expect(checks.map(({ id, status }) => `${id} ${status}`).sort()).toEqual([
    'authorization-code-grant SUCCESS',
    'authorization-server-metadata SUCCESS',
    'authorization-server-metadata-cimd SUCCESS',
  ])
}, 90_000)
