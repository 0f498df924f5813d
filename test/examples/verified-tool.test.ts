import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { parse, stringify } from 'yaml'
import type { RunId } from '../../src/core/id.ts'
import type { Terms } from '../../src/core/lease.ts'
import { type House, MAINTAINER, openHouse, read, until } from '../door/support/house.ts'

const ROOT = resolve(import.meta.dirname, '../..')
const EXAMPLE = join(ROOT, 'examples/verified-tool')
const CATALOG = join(EXAMPLE, 'catalog.yaml')

test('over stdio: the demonstration of its README', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'daypass-verified-'))
  const { servers } = parse(readFileSync(join(EXAMPLE, 'daypass.yaml'), 'utf8'))
  expect(servers.notes.command).toEqual(['node', 'server.ts'])
  const command = [process.execPath, join(EXAMPLE, 'server.ts')]
  const notes = { ...servers.notes, command, catalog: CATALOG }
  const config = join(folder, 'daypass.yaml')
  writeFileSync(config, stringify({ version: 1, servers: { notes } }))
  const words = ['run', '--config', config, '--lease', join(EXAMPLE, 'lease.yaml'), '--yes']
  const { stdout } = await promisify(execFile)(process.execPath, [
    ...[join(ROOT, 'src/cli/main.ts'), ...words, '--as', 'maintainer@example.com'],
    ...['--', process.execPath, join(EXAMPLE, 'agent.ts')],
  ])
  rmSync(folder, { recursive: true })
  const shown = stdout.replaceAll(/(run|call)_[a-z0-9]+/g, '$1_…').split('\n')
  expect(shown).toEqual([
    'read_note apollo plan',
    '  Land on Monday.',
    'read_note zeus salaries',
    '  Denied: note.read on projects zeus. (no_grant, call_…)',
    '  Your lease allows note.read on projects apollo only.',
    'read_note apollo salaries',
    '  Refused by the tool: run_… may not note.read on projects `zeus`. (not_this_call)',
    '  Nothing was done.',
    '',
  ])
  const readme = readFileSync(join(EXAMPLE, 'README.md'), 'utf8')
  for (const line of shown) if (!/Your lease|Nothing/.test(line)) expect(readme).toContain(line)
})

describe('over HTTP', () => {
  let house: House
  let url = ''
  let stop: () => Promise<unknown>

  beforeAll(async () => {
    const port = await freePort()
    const daypassPort = await freePort()
    url = `http://127.0.0.1:${port}/mcp`
    const child = spawn(process.execPath, [join(EXAMPLE, 'server.ts'), '--http', `${port}`], {
      env: { DAYPASS_ISSUER: `http://127.0.0.1:${daypassPort}`, DAYPASS_AUDIENCE: url },
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    await once(child.stderr, 'data')
    stop = () => {
      const exited = once(child, 'exit')
      child.kill()
      return exited
    }
    const notes = { url, catalog: CATALOG, envelope: true }
    house = await openHouse({ port: daypassPort, moreServers: { notes } })
  })
  afterAll(async () => {
    await house[Symbol.asyncDispose]()
    await stop()
  })

  const open = (actions: readonly string[], more: Partial<Terms> = {}) =>
    house.open({
      grants: [{ actions, resources: { projects: ['apollo'] }, where: {} }],
      ...more,
    })

  test('the tool does what the run may do, and refuses what the gateway cannot know of', async () => {
    const client = await house.client((await open(['note.read'])).badge)
    const call = async (note: string) =>
      read(
        await client.callTool({
          name: 'notes.read_note',
          arguments: { project: 'apollo', note },
        }),
      ).text
    expect(await call('plan')).toBe('Land on Monday.')
    expect(await call('salaries')).toMatch(/^Refused by the tool: .*`zeus`\. \(not_this_call\)/)
    expect(await call('no-such-note')).toMatch(/cannot say what this would touch. \(unresolved\)/)
  })

  test('threat 44: who comes without the gateway is refused, whatever they show', async () => {
    const { badge } = await open(['note.read'])
    const said = async (headers: Record<string, string>) => {
      const client = new Client({ name: 'direct', version: '1' })
      await client.connect(
        new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers } }),
      )
      const params = { project: 'apollo', note: 'plan' }
      const result = await client.callTool({ name: 'read_note', arguments: params })
      await client.close()
      return read(result).text
    }
    expect(await said({})).toContain('(missing)')
    expect(await said({ authorization: `Bearer ${badge}` })).toContain('(missing)')
    expect(await said({ 'txn-token': badge })).toContain('(untrusted)')
  })

  test.each([
    ['a suspended run', 'suspend', 'lease_suspended'],
    ['a revoked run', 'revoke', 'lease_ended'],
  ] as const)('%s: what has begun is not carried out', async (_, how, reason) => {
    const { run, badge } = await open(['note.shred', 'note.read'])
    const client = await house.client(badge)
    const args = { project: 'apollo', note: 'draft', seconds: 1 }
    const shredding = client.callTool({ name: 'notes.shred_note', arguments: args })
    const isWorking = async () => (await inFlight(run)) === 1
    await until(isWorking, 'the tool works')
    await house.daypass.authority.command(run, { do: how, run, by: MAINTAINER, reason: 'stop' })
    const { text } = read(await shredding)
    // A revocation cancels what is in flight, so there the tool's own words reach nobody.
    expect(text).toContain(how === 'suspend' ? `(${reason})` : 'The lease ended')
    await new Promise((later) => setTimeout(later, 1_200))
    const other = await house.client((await open(['note.read'])).badge)
    const draft = { project: 'apollo', note: 'draft' }
    const still = await other.callTool({ name: 'notes.read_note', arguments: draft })
    expect(read(still).text).toBe('Nobody needs this any more.')
  })

  async function inFlight(id: RunId): Promise<number> {
    return (await house.daypass.authority.find(id))!.run.inFlight.size
  }

  test('an approved call is carried out, and then is over', async () => {
    const { run, badge } = await open(['note.shred', 'note.read'], { ask: ['note.shred'] })
    const client = await house.client(badge)
    const args = { project: 'apollo', note: 'draft', seconds: 0 }
    const shredding = client.callTool({ name: 'notes.shred_note', arguments: args })
    const asks = async () => [...(await house.daypass.authority.find(run))!.tree.asks.values()]
    await until(async () => (await asks()).length === 1, 'a person is asked')
    const { id: ask, binding } = (await asks())[0]!
    const by = MAINTAINER
    await house.daypass.authority.command(run, {
      do: 'approve_call',
      ask,
      by,
      binding,
      proof: null,
    })
    expect(read(await shredding).text).toBe('shredded draft')
  })
})

/** A port that nobody listens on now. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  await new Promise((closed) => server.close(closed))
  return port
}
