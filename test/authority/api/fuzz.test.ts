import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type House, openHouse } from '../../door/support/house.ts'
import { PYTHON_SETUP_MS, pythonWith } from '../../support/python.ts'

/*
 * Schemathesis reads the document that the server publishes and sends what it can think of: values
 * at the edges, wrong types, unknown members, broken headers. The server runs as it always does.
 */

const SECONDS = 25
/** What no answer may be: a crash, or an answer that the document does not have. */
const CHECKS = [
  'not_a_server_error',
  'status_code_conformance',
  'content_type_conformance',
  'response_schema_conformance',
]

const folder = mkdtempSync(join(tmpdir(), 'daypass-fuzz-'))
let house: House
let python: string
beforeAll(async () => {
  python = pythonWith('schemathesis-4.32.5', ['schemathesis==4.32.5'])
  house = await openHouse()
}, PYTHON_SETUP_MS)
afterAll(async () => {
  await house[Symbol.asyncDispose]()
  rmSync(folder, { recursive: true, force: true })
})

/** Runs the fuzzer as somebody; its report if it found something. */
async function fuzz(token: string, seed: number): Promise<{ code: number; said: string }> {
  const args = [
    ...['-m', 'schemathesis.cli', 'run', `${house.daypass.url}/v1/openapi.json`],
    ...['--header', `Authorization: Bearer ${token}`],
    ...['--checks', CHECKS.join(',')],
    ...['--phases', 'coverage,fuzzing', '--max-time', String(SECONDS)],
    // A stream has no end; what revokes everything leaves nothing to look at.
    ...['--exclude-operation-id', 'streamEvents'],
    ...['--seed', String(seed), '--max-examples', '20', '--continue-on-failure', '--no-color'],
  ]
  return new Promise((done) => {
    const options = { cwd: folder, timeout: 5 * SECONDS * 1000, maxBuffer: 64 * 1024 * 1024 }
    execFile(python, args, options, (error, stdout, stderr) => {
      done({ code: error === null ? 0 : Number(error.code ?? 1), said: `${stdout}${stderr}` })
    })
  })
}

test('a fuzzer that knows the document finds no 5xx and nothing undocumented', async () => {
  const opened = await house.open()
  for (const [index, token] of [house.daypass.operatorToken, opened.badge].entries()) {
    const { code, said } = await fuzz(token, index + 1)
    expect(code, said.slice(-6_000)).toBe(0)
    expect(said).toMatch(/[1-9]\d* generated/)
  }
}, 600_000)
