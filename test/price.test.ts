import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { Results } from '../bench/main.ts'
import { shortTableOf } from '../bench/table.ts'

const ROOT = join(import.meta.dirname, '..')

test('the table of the README is what `npm run bench` has written', () => {
  const file = join(ROOT, 'bench/results.json')
  expect(existsSync(file)).toBe(true)
  const results = JSON.parse(readFileSync(file, 'utf8')) as Results
  expect(readFileSync(join(ROOT, 'README.md'), 'utf8')).toContain(shortTableOf(results).trim())
})
