import { Client } from '@modelcontextprotocol/client'
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio'
import { expect, test } from 'vitest'
import { MAIN, MIRA, Place } from './support/cli.ts'

type Era = 'auto' | 'legacy'

interface Session {
  readonly client: Client
  /** What `daypass mcp` wrote to stderr. */
  readonly said: () => string
  close(): Promise<void>
}

/** A real client that starts `daypass mcp` as its server. */
async function connect(
  place: Place,
  args: readonly string[],
  options: { readonly era?: Era; readonly env?: Record<string, string> } = {},
): Promise<Session> {
  const transport = new StdioClientTransport({
    command: process.execPath,
    args: [MAIN, 'mcp', ...args],
    cwd: place.dir,
    env: { PATH: process.env.PATH!, DAYPASS_USER: MIRA, ...options.env },
    stderr: 'pipe',
  })
  let said = ''
  transport.stderr?.on('data', (chunk) => {
    said += chunk
  })
  const negotiation =
    options.era === 'legacy' ? {} : { versionNegotiation: { mode: 'auto' as const } }
  const client = new Client({ name: 'test', version: '1' }, negotiation)
  await client.connect(transport)
  return { client, said: () => said, close: () => client.close() }
}

function textOf(result: unknown): string {
  return ((result as { content: { text: string }[] }).content[0] ?? { text: '' }).text
}

test('with a lease: a run for the connection, which ends with it and leaves a receipt', async () => {
  using place = new Place()
  const { client, said, close } = await connect(place, ['--lease', 'lease.yaml', '--yes'])
  const { tools } = await client.listTools()
  expect(tools.map(({ name }) => name)).toContain('files.read_text_file')
  const path = `${place.work}/a.txt`
  const read = await client.callTool({ name: 'files.read_text_file', arguments: { path } })
  expect(textOf(read)).toBe('hello\n')
  const secret = { path: `${place.work}/.env` }
  const denied = await client.callTool({ name: 'files.read_text_file', arguments: secret })
  expect(textOf(denied)).toContain('Denied: secret.read')
  await close()
  for (let tries = 0; !said().includes('Check it') && tries < 200; tries++) {
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  expect(said()).toContain('7 Ended because       the run was closed')
  const [name = ''] = place.receipts()
  expect((await place.cli(['verify', name])).code).toBe(0)
})

test.each<Era>(['auto', 'legacy'])('with a badge: leads to its door, %s era', async (era) => {
  using place = new Place()
  const script =
    'console.log(process.env.DAYPASS_BADGE, process.env.DAYPASS_URL); setInterval(()=>{}, 1e6)'
  const run = place.start(['run', '-l', 'lease.yaml', '-y', '--', process.execPath, '-e', script])
  await run.until('/mcp')
  const [badge = '', url = ''] = run.stdout.trim().split(' ')
  const env = { DAYPASS_BADGE: badge, DAYPASS_URL: url }
  const { client, close } = await connect(place, [], { era, env })
  const path = `${place.work}/a.txt`
  const read = await client.callTool({ name: 'files.read_text_file', arguments: { path } })
  expect(textOf(read)).toBe('hello\n')
  const other = { path: '/etc/hostname' }
  const denied = await client.callTool({ name: 'files.read_text_file', arguments: other })
  expect(denied.isError).toBe(true)
  await close()
  run.child.kill('SIGTERM')
  expect((await run.ended).stderr).toContain('1 Tools called        1 call')
})

test('with a badge that no door knows, nothing works', async () => {
  using place = new Place()
  const env = { DAYPASS_BADGE: 'e30.e30.e30', DAYPASS_URL: 'http://127.0.0.1:9/mcp' }
  await expect(connect(place, [], { era: 'legacy', env })).rejects.toThrow(/denied/)
})

test('with neither, a client can connect and reads why every call is denied', async () => {
  using place = new Place()
  const { client, said, close } = await connect(place, [])
  expect((await client.listTools()).tools).toEqual([])
  const call = client.callTool({
    name: 'files.read_text_file',
    arguments: { path: '/etc/hostname' },
  })
  await expect(call).rejects.toThrow(/denied: this connection has no badge/)
  expect(said()).toContain('no badge and no lease: every call is denied')
  await close()
})
