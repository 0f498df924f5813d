import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { ENDPOINTS } from '../../../src/authority/api/endpoints.ts'
import { openWorld } from './support.ts'

const ROOT = resolve(import.meta.dirname, '..', '..', '..')
const folder = mkdtempSync(join(tmpdir(), 'daypass-openapi-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

interface Operation {
  readonly operationId: string
  readonly 'x-daypass-callers': readonly string[]
  readonly responses: Readonly<Record<string, { content?: Readonly<Record<string, unknown>> }>>
}
interface Document {
  readonly openapi: string
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
}

async function served(): Promise<Document> {
  const response = await openWorld().fetch('/v1/openapi.json')
  expect(response.status).toBe(200)
  return (await response.json()) as Document
}

test('the document is served to anybody, and has every endpoint', async () => {
  const document = await served()
  expect(document.openapi).toBe('3.1.0')
  const found = Object.values(document.paths).flatMap((methods) => Object.values(methods))
  expect(found.map(({ operationId }) => operationId).sort()).toEqual(Object.keys(ENDPOINTS).sort())
  for (const { responses } of found) {
    for (const [status, { content }] of Object.entries(responses)) {
      if (status.startsWith('4'))
        expect(Object.keys(content!)).toEqual(['application/problem+json'])
    }
  }
})

test('a linter of OpenAPI documents finds nothing in it', async () => {
  const file = join(folder, 'openapi.json')
  writeFileSync(file, JSON.stringify(await served()))
  const redocly = join(ROOT, 'node_modules', '.bin', 'redocly')
  const env = { ...process.env, REDOCLY_TELEMETRY: 'off', REDOCLY_SUPPRESS_UPDATE_NOTICE: 'true' }
  const { code, said } = await new Promise<{ code: number; said: string }>((done) => {
    execFile(
      process.execPath,
      [redocly, 'lint', file, '--format=json'],
      { cwd: folder, env },
      (error, stdout, stderr) => {
        done({ code: error === null ? 0 : Number(error.code ?? 1), said: `${stdout}${stderr}` })
      },
    )
  })
  expect(said).toContain('"totals"')
  expect(JSON.parse(said.slice(said.indexOf('{'), said.lastIndexOf('}') + 1)).problems).toEqual([])
  expect(code).toBe(0)
})
