import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type Daypass, startDaypass } from '../../src/server.ts'
import { ADD, addCall, MODERN, openStageRun, startStage, writeProject } from '../crash/stage.ts'
import { until } from './support/house.ts'

/** A server that notes in a file who it is when it is called; it lists what was pinned. */
function program(who: string): string {
  return `
import { appendFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
createInterface({ input: process.stdin }).on('line', (line) => {
  const { id, method } = JSON.parse(line)
  if (id === undefined) return
  const reply = (more) => console.log(JSON.stringify({ jsonrpc: '2.0', id, ...more }))
  const complete = (result) => reply({ result: { resultType: 'complete', ...result } })
  if (method === 'server/discover') {
    const about = { capabilities: { tools: {} }, serverInfo: { name: 'notes', version: '1' } }
    complete({ supportedVersions: ['${MODERN}'], ...about })
  } else if (method === 'tools/list') {
    complete({ tools: [${JSON.stringify(ADD)}], ttlMs: 60000, cacheScope: 'private' })
  } else if (method === 'tools/call') {
    appendFileSync('calls.txt', '${who} ')
    complete({ content: [{ type: 'text', text: '${who}' }] })
  } else reply({ error: { code: -32601, message: 'Method not found' } })
})
`
}

let folder: string
let daypass: Daypass | null

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'daypass-swap-'))
  daypass = null
  writeFileSync(join(folder, 'honest.mjs'), program('honest'))
  writeFileSync(join(folder, 'evil.mjs'), program('evil'))
})

afterEach(async () => {
  await daypass?.close()
  rmSync(folder, { recursive: true, force: true })
})

async function start(script: string): Promise<void> {
  await daypass?.close()
  writeProject(folder, { command: [process.execPath, script] })
  daypass = await startStage(folder)
}

async function call(): Promise<string> {
  const { url } = daypass!
  const { badge } = await openStageRun(daypass!)
  const { body, headers } = addCall(badge, { id: '', text: 'x' })
  const reply = await fetch(`${url}/mcp`, { method: 'POST', headers, body })
  const { result } = (await reply.json()) as { result: { content: { text: string }[] } }
  return result.content[0]!.text
}

function calls(): string {
  const file = join(folder, 'calls.txt')
  return existsSync(file) ? readFileSync(file, 'utf8') : ''
}

/** What a person does who has looked, with the hash of the definition: it has not changed. */
async function pin(): Promise<void> {
  const { url, operatorToken } = daypass!
  const headers = { authorization: `Bearer ${operatorToken}`, 'content-type': 'application/json' }
  const look = await fetch(`${url}/v1/catalog/notes/add`, { headers })
  const { check } = (await look.json()) as {
    check: { status: string; definition: string; flags: { flag: string }[] }
  }
  expect(check).toMatchObject({ status: 'changed', flags: [{ flag: 'program' }] })
  const body = JSON.stringify({ hash: check.definition })
  const pinned = await fetch(`${url}/v1/catalog/notes/add/pin`, { method: 'POST', headers, body })
  expect(pinned.ok).toBe(true)
}

test('threat 32: another command under the same name is quarantined until it is accepted', async () => {
  await start('honest.mjs')
  expect(await call()).toBe('honest')
  await start('honest.mjs')
  expect(await call()).toBe('honest')
  await start('evil.mjs')
  expect(await call()).toContain('(definition_changed,')
  expect(calls()).toBe('honest honest ')
  await pin()
  expect(await call()).toBe('evil')
  // It stays accepted, and so does the one before.
  await start('evil.mjs')
  expect(await call()).toBe('evil')
  await start('honest.mjs')
  expect(await call()).toBe('honest')
})

test('threat 32: a program that is swapped on disk is quarantined, while it runs and after', async () => {
  await start('honest.mjs')
  expect(await call()).toBe('honest')
  writeFileSync(join(folder, 'honest.mjs'), program('evil'))
  await until(async () => (await call()).includes('(definition_changed,'), 'it is noticed')
  // The process that ran before was still the honest one.
  expect(calls()).not.toContain('evil')
  await start('honest.mjs')
  expect(await call()).toContain('(definition_changed,')
  expect(calls()).not.toContain('evil')
  await pin()
  expect(await call()).toBe('evil')
})

test('threat 32: what was accepted is kept, and a damaged file accepts nothing', async () => {
  await start('honest.mjs')
  await daypass!.close()
  daypass = null
  const file = join(folder, '.daypass', 'programs.json')
  expect(statSync(file).mode & 0o777).toBe(0o600)
  writeFileSync(file, '{"notes": "anything"}')
  const started = await startDaypass({
    ...{ folder: join(folder, '.daypass'), configFile: join(folder, 'daypass.yaml') },
    operator: 'mira@clord.example',
  })
  expect(started).toMatchObject({ ok: false, error: [expect.stringContaining('programs.json')] })
})
