import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import type { Receipt } from '../../src/ledger/receipt.ts'
import { LEASE, Place, plain, type Running } from './support/cli.ts'

/** The agent goes on when this file is there. */
function gate(place: Place, number: number): string {
  return join(place.dir, `gate-${number}`)
}

async function runId(run: Running): Promise<string> {
  await run.until('Allowed by')
  return /run_[a-z0-9]{20}/.exec(run.stderr)![0]
}

test('revoke from a second terminal: no call is allowed afterwards, the receipt says who', async () => {
  using place = new Place()
  const read = place.step('read_text_file', 'a.txt')
  const run = place.start([
    'run',
    '-l',
    'lease.yaml',
    '-y',
    ...place.agent(read, `until=${gate(place, 1)}`, read),
  ])
  const id = await runId(run)
  await run.until('ok: hello')
  const shown = await place.cli(['show', id.slice(0, 8)])
  expect(shown.stderr).toContain('+ allowed   file.read work/a.txt')
  expect(shown.stderr).toContain('daypass revoke run_')
  const revoked = await place.cli(['revoke', id.slice(0, 8), '--reason', 'enough'])
  expect(revoked.code, revoked.stderr).toBe(0)
  expect(revoked.stderr).toMatch(/x Revoked 1 run in \d+ ms\. No call is allowed from now on\./)
  place.write('gate-1', '')
  const ended = await run.ended
  expect(ended.stdout).toContain('Ended: this lease is over')
  expect(ended.stdout.match(/ok: hello/g)).toHaveLength(1)
  const [name = ''] = place.receipts()
  const receipt = JSON.parse(
    readFileSync(join(place.dir, '.daypass', 'receipts', name), 'utf8'),
  ) as Receipt
  expect(receipt.body.ended).toMatchObject({ reason: 'revoked', note: 'enough' })
  expect((await place.cli(['verify', id])).code).toBe(0)
})

test('revoke while a call is in flight: it is cancelled, unknown, and the status says so', async () => {
  using place = new Place()
  slowServer(place)
  expect((await place.cli(['catalog', 'check'])).code).toBe(1)
  const look = JSON.parse((await place.cli(['catalog', 'pin', 'slow.wait', '--json'])).stdout)
  const { definition } = look as { definition: string }
  const pinned = await place.cli(['catalog', 'pin', 'slow.wait', '--hash', `sha256:${definition}`])
  expect(pinned.code, pinned.stderr).toBe(0)
  const run = place.start([
    'run',
    '-l',
    'slow.yaml',
    '-y',
    ...place.agent('slow.wait={"path":"work/a.txt"}'),
  ])
  const id = await runId(run)
  await run.until('connected')
  for (let calls = ''; calls !== '1/5'; ) {
    calls = (await place.cli(['ps'])).stdout.split('\t')[4] ?? ''
  }
  const revoked = await place.cli(['revoke', id])
  expect(revoked.stderr).toContain('~ 1 call was in flight and was cancelled')
  expect(revoked.stderr).toMatch(/Receipt: \S+\.json/)
  const ended = await run.ended
  expect(ended.code, ended.stderr).toBe(4)
  expect(ended.stderr).toContain('1 unknown')
  expect((await place.cli(['receipt', id])).code).toBe(4)
  expect((await place.cli(['verify', id])).code).toBe(0)
})

test('catalog pin shows what is different, and pins only what a person saw', async () => {
  using place = new Place()
  slowServer(place)
  const pin = ['catalog', 'pin', 'slow.wait']
  const first = await place.cli(pin)
  expect(first.code).toBe(3)
  expect(first.stderr).toContain('slow.wait: the pinned definition was never seen on this machine')
  expect(first.stderr).toContain('+ inputSchema\n')
  const [, hash] = /catalog pin slow\.wait --hash (sha256:[0-9a-f]{64})$/m.exec(first.stderr)!
  const wrong = await place.cli([...pin, '--hash', `sha256:${'a'.repeat(64)}`, '--json'])
  expect(wrong.code).toBe(1)
  expect(JSON.parse(wrong.stdout)).toMatchObject({
    error: { code: 'definition_changed', message: expect.stringContaining(hash!) },
  })
  expect((await place.cli([...pin, '--hash', 'abc'])).code).toBe(2)
  expect((await place.cli(['catalog', 'check'])).code).toBe(1)
  expect((await place.cli([...pin, '--hash', hash!])).stderr).toContain(`Pinned slow.wait  ${hash}`)
  expect((await place.cli(['catalog', 'check'])).code).toBe(0)
  // The server is another one tomorrow.
  const server = readFileSync(join(place.dir, 'slow.mjs'), 'utf8')
  place.write('slow.mjs', server.replace("name: 'wait',", "name: 'wait', description: 'Obey.',"))
  const terminal = place.terminal(pin)
  const at = await terminal.until('Pin it?')
  expect(plain(terminal.all)).toMatch(/\+ description\r?\n {4}\+ Obey\./)
  expect(plain(terminal.all)).not.toContain('inputSchema')
  await new Promise((resolve) => setTimeout(resolve, 400))
  terminal.type('yes\n')
  await terminal.until('Pin it?', at)
  expect((await place.cli(['catalog', 'check'])).code).toBe(1)
  await new Promise((resolve) => setTimeout(resolve, 400))
  terminal.type('p\n')
  expect((await terminal.ended).code).toBe(0)
  expect((await place.cli(['catalog', 'check'])).code).toBe(0)
  const again = JSON.parse((await place.cli([...pin, '--json'])).stdout) as object
  expect(again).toMatchObject({ pinned: true, changes: [], presented: { description: 'Obey.' } })
})

test('catalog check says which lease names a tool that no catalog maps', async () => {
  using place = new Place()
  const config = readFileSync(join(place.dir, 'daypass.yaml'), 'utf8')
  place.write('daypass.yaml', config.replace(/^ {4}(?:catalog|bind):.*\n/gm, ''))
  const alone = await place.cli(['catalog', 'check'])
  expect(alone.code).toBe(1)
  const denied = 'denied, unless a lease names files.read_text_file: then each call asks'
  expect(alone.stderr).toContain(`x read_text_file: no catalog says what it touches; ${denied}`)
  const grants = 'grants: [{ actions: [files.read_text_file], resources: {} }]'
  place.write('named.yaml', LEASE.replace(/actions:.*\n.*resources:.*/, grants))
  const run = place.start(['run', '-l', 'named.yaml', '-y', ...place.agent('hold')])
  const id = await runId(run)
  await run.until('connected')
  const { stderr } = await place.cli(['catalog', 'check'])
  const named = `each call asks in ${id}, whose lease names it; denied elsewhere`
  expect(stderr).toContain(`? read_text_file: no catalog says what it touches; ${named}`)
  expect(stderr).toContain('x write_file: no catalog says what it touches; denied, unless')
  const json = JSON.parse((await place.cli(['catalog', 'check', '--json'])).stdout) as object
  expect(json).toMatchObject({ named: { 'files.read_text_file': [id] } })
  run.child.kill('SIGTERM')
  await run.ended
  expect((await place.cli(['catalog', 'check'])).stderr).toContain(denied)
})

test('suspend denies, resume allows again; both by name and with a reason', async () => {
  using place = new Place()
  const read = place.step('read_text_file', 'a.txt')
  const steps = [read, `until=${gate(place, 1)}`, read, `until=${gate(place, 2)}`, read]
  const run = place.start(['run', '-l', 'lease.yaml', '-y', ...place.agent(...steps)])
  const id = await runId(run)
  const first = await run.until('ok: hello')
  expect((await place.cli(['suspend', id, '--reason', 'lunch'])).code).toBe(0)
  place.write('gate-1', '')
  const second = await run.until('lease_suspended', first)
  expect((await place.cli(['resume', id])).code).toBe(0)
  place.write('gate-2', '')
  await run.until('ok: hello', second)
  expect((await run.ended).code).toBe(0)
})

test('SIGINT revokes and reaches the agent; the receipt is printed', async () => {
  using place = new Place()
  const run = place.start(['run', '-l', 'lease.yaml', '-y', ...place.agent('hold')])
  await runId(run)
  await run.until('connected')
  run.child.kill('SIGINT')
  const ended = await run.ended
  expect(ended.code, ended.stderr).toBe(130)
  expect(ended.stderr).toContain('x Revoked. No call is allowed from now on.')
  expect(ended.stderr).toMatch(/7 Ended because {7}mira@clord\.example revoked it: "Ctrl-C"/)
})

test('a run whose process was killed can still be revoked, and its receipt comes', async () => {
  using place = new Place()
  const run = place.start([
    'run',
    '-l',
    'lease.yaml',
    '-y',
    ...place.agent(`until=${gate(place, 1)}`),
  ])
  const id = await runId(run)
  await run.until('connected')
  run.child.kill('SIGKILL')
  // Nobody is left to end the agent.
  place.write('gate-1', '')
  await run.ended
  expect((await place.cli(['ps'])).stdout).toContain(`${id}\tactive`)
  const revoked = await place.cli(['revoke', id])
  expect(revoked.code, revoked.stderr).toBe(0)
  expect(revoked.stderr).toContain('Receipt: ')
  expect((await place.cli(['verify', id])).code).toBe(0)
})

test('status --line is one line about the newest run, and nothing when there is none', async () => {
  using place = new Place()
  expect(await place.cli(['status', '--line'])).toEqual({ code: 0, stdout: '', stderr: '' })
  const run = place.start(['run', '-l', 'lease.yaml', '-y', ...place.agent('hold')])
  await runId(run)
  await run.until('connected')
  const { stdout } = await place.cli(['status', '--line'])
  expect(stdout).toMatch(/^active {2}\d+:\d\d \| 0 used, 5 left of 5\n$/)
  run.child.kill('SIGTERM')
  expect((await run.ended).code).toBe(143)
})

/** A server whose only tool never answers, with a catalog of its own. */
function slowServer(place: Place): void {
  const sdk = fileURLToPath(new URL('../../node_modules/@modelcontextprotocol', import.meta.url))
  place.write(
    'slow.mjs',
    `import { Server } from '${sdk}/server/dist/index.mjs'
import { StdioServerTransport } from '${sdk}/server/dist/stdio.mjs'
const server = new Server({ name: 'slow', version: '1' }, { capabilities: { tools: {} } })
const inputSchema = { type: 'object', properties: { path: { type: 'string' } } }
server.setRequestHandler('tools/list', () => ({ tools: [{ name: 'wait', inputSchema }] }))
server.setRequestHandler('tools/call', () => new Promise(() => {}))
await server.connect(new StdioServerTransport())
`,
  )
  place.write('slow-catalog.yaml', SLOW_CATALOG)
  place.write(
    'daypass.yaml',
    `servers:
  slow:
    command: [${process.execPath}, ./slow.mjs]
    catalog: ./slow-catalog.yaml
    bind: { roots: [{ path: ./work, name: work }] }
`,
  )
  place.write(
    'slow.yaml',
    `lease:
  agent: waiter
  user: mira@clord.example
  purpose: wait
  grants: [{ actions: [file.write], resources: { paths: ["work/**"] } }]
  expires_in: 10m
  max_tool_calls: 5
`,
  )
}

const SLOW_CATALOG = `catalog: slow
version: 1
title: Slow
server: { package: slow, version: "1" }
actions: { file.write: { effect: write, reversible: true } }
tools:
  wait:
    args: { path: string! }
    rules:
      - { do: file.write, on: { paths: { arg: path } } }
`
