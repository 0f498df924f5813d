import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Upstreams } from '../../src/gateway/upstreams.ts'
import { type Fixture, startFixture } from '../conformance/fixture.ts'
import {
  INFO,
  MODERN,
  modern,
  rawStdio,
  startGateway,
  type TestGateway,
  textOf,
  until,
} from './support/gateway.ts'

const FIXTURE = fileURLToPath(new URL('../conformance/fixture.ts', import.meta.url))

let fixture: Fixture
let gateway: TestGateway
const opened: Client[] = []
beforeAll(async () => {
  fixture = await startFixture()
  gateway = await startGateway({
    far: { kind: 'http', url: fixture.url },
    near: { kind: 'stdio', command: process.execPath, args: [FIXTURE, 'stdio'] },
  })
})
afterAll(async () => {
  for (const client of opened) await client.close()
  await gateway[Symbol.asyncDispose]()
  await fixture.close()
})

interface Asked {
  readonly message: string
}

/** A client of the legacy era that answers what it is asked with its own name. */
async function person(
  name: string,
  capabilities: object = { elicitation: { form: {} } },
  url = gateway.url,
) {
  const client = new Client({ name, version: '1' }, { capabilities })
  const asked: Asked[] = []
  if ('elicitation' in capabilities) {
    client.setRequestHandler('elicitation/create', ({ params }) => {
      asked.push(params as Asked)
      return { action: 'accept', content: { username: name, email: `${name}@clord.example`, name } }
    })
  }
  const logs: unknown[] = []
  client.setNotificationHandler(
    'notifications/message',
    ({ params }) => void logs.push(params.data),
  )
  const headers = { authorization: 'Bearer alice' }
  const transport = new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers } })
  await client.connect(transport)
  opened.push(client)
  return { client, asked, logs, transport }
}

describe.each(['far', 'near'])('a server that asks (%s)', (server) => {
  const call = (client: Client, message: string) =>
    client.callTool({ name: `${server}.test_elicitation`, arguments: { message } })

  test('threat 24: reaches the client whose call it is, and no other', async () => {
    const people = await Promise.all(['mira', 'noor', 'olga'].map((name) => person(name)))
    const answers = await Promise.all(people.map(({ client }, i) => call(client, `for ${i}`)))
    for (const [i, { asked }] of people.entries()) {
      const message = `[from server ${server}, not from Daypass] for ${i}`
      expect(asked.map((question) => question.message)).toEqual([message])
      expect(textOf(answers[i]!)).toContain(['mira', 'noor', 'olga'][i]!)
    }
  })

  test('is told that nobody answers where the client does not', async () => {
    const { client } = await person('pia', {})
    expect(await call(client, 'anyone?')).toMatchObject({ isError: true })
  })

  test('logs to the session that wants to hear it, from the level on that it wants', async () => {
    const { client, logs } = await person('quinn', {})
    await client.setLoggingLevel('debug')
    await client.callTool({ name: `${server}.test_tool_with_logging`, arguments: {} })
    await until(() => logs.length === 3, 'three log messages')
    await client.setLoggingLevel('error')
    await client.callTool({ name: `${server}.test_tool_with_logging`, arguments: {} })
    expect(logs).toHaveLength(3)
    await expect(client.setLoggingLevel('loud' as never)).rejects.toThrow()
  })

  test('threat 31: a resource that two servers list is nobody’s to watch', async () => {
    const { client } = await person('ruth', {})
    const watching = client.subscribeResource({ uri: 'test://watched-resource' })
    await expect(watching).rejects.toThrow('claim this resource')
  })
})

describe.each(['http', 'stdio'] as const)('watched resources (%s)', (kind) => {
  let alone: TestGateway
  beforeAll(async () => {
    const stdio = { kind: 'stdio', command: process.execPath, args: [FIXTURE, 'stdio'] } as const
    const http = { kind: 'http', url: fixture.url } as const
    alone = await startGateway({ one: kind === 'http' ? http : stdio })
  })
  afterAll(() => alone[Symbol.asyncDispose]())

  const uri = 'test://watched-resource'

  test('are told of as they change', async () => {
    const { client } = await person('ruth', {}, alone.url)
    const updated: string[] = []
    client.setNotificationHandler('notifications/resources/updated', ({ params }) => {
      updated.push(params.uri)
    })
    await client.subscribeResource({ uri })
    await client.callTool({ name: 'one.test_trigger_resource_change', arguments: {} })
    await until(() => updated.length > 0, 'the change is told')
    expect(new Set(updated)).toEqual(new Set([uri]))
    await client.unsubscribeResource({ uri })
    await until(() => alone.upstreams.get('one')!.watches.uris.length === 0, 'nobody watches')
  })

  test('are judged as reading them is', async () => {
    const { client } = await person('sara', {}, alone.url)
    const before = alone.door.judged.length
    await client.subscribeResource({ uri })
    expect(alone.door.judged.slice(before)).toMatchObject([
      { method: 'resources/subscribe', server: 'one', params: { uri } },
    ])
    await client.unsubscribeResource({ uri })
    alone.door.denied.add('resources/subscribe')
    await expect(client.subscribeResource({ uri })).rejects.toThrow('denied')
    const notifications = { resourceSubscriptions: [uri] }
    const response = await alone.post(...modern('subscriptions/listen', { notifications }, 's'))
    const text = await response.text()
    expect(text).toContain('notifications/subscriptions/acknowledged')
    expect(text).not.toContain('resourceSubscriptions')
    alone.door.denied.delete('resources/subscribe')
  })

  test('are acknowledged to a modern client, first of all', async () => {
    const abort = new AbortController()
    const notifications = { resourceSubscriptions: [uri], toolsListChanged: true }
    const [body, headers] = modern('subscriptions/listen', { notifications }, 's')
    const response = await fetch(alone.url, {
      method: 'POST',
      headers: {
        authorization: 'Bearer alice',
        'content-type': 'application/json',
        accept: 'text/event-stream',
        ...headers,
      },
      body: JSON.stringify(body),
      signal: abort.signal,
    })
    const reader = response.body!.getReader()
    const first = Buffer.from((await reader.read()).value!).toString()
    expect(first).toContain(`"resourceSubscriptions":["${uri}"]`)
    expect(first).toContain('notifications/subscriptions/acknowledged')
    abort.abort()
    await until(() => alone.upstreams.get('one')!.watches.uris.length === 0, 'nobody watches')
  })
})

test('a session has a child of its own, and the child ends with it', async () => {
  const own = await startGateway({ raw: rawStdio() })
  const pids: number[] = []
  const people = []
  for (const name of ['tess', 'uma']) people.push(await person(name, undefined, own.url))
  for (const { client } of people) {
    pids.push(Number(textOf(await client.callTool({ name: 'raw.pid', arguments: {} }))))
  }
  const shared = await person('vera', {}, own.url)
  pids.push(Number(textOf(await shared.client.callTool({ name: 'raw.pid', arguments: {} }))))
  expect(new Set(pids).size).toBe(3)
  await people[0]!.transport.terminateSession()
  await until(() => !isAlive(pids[0]!), 'the child of the ended session is gone')
  expect(isAlive(pids[1]!)).toBe(true)
  // The end of the lease ends what was there for it alone.
  own.door.end('alice')
  await until(() => !isAlive(pids[1]!), 'the child of the ended run is gone')
  expect(isAlive(pids[2]!)).toBe(true)
  await own[Symbol.asyncDispose]()
})

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

test('roots are kept from a server that is bound to folders', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'daypass-roots-'))
  const file = (name: string) => join(folder, name)
  const asked = await startGateway({
    bound: { ...rawStdio('', { env: { RAW_LOG: file('bound') } }), withholdRoots: true },
    free: rawStdio('', { env: { RAW_LOG: file('free') } }),
  })
  const { client } = await person('wanda', { elicitation: { form: {} }, roots: {} }, asked.url)
  for (const server of ['bound', 'free']) {
    await client.callTool({ name: `${server}.pid`, arguments: {} })
  }
  const offered = (name: string) =>
    readFileSync(file(name), 'utf8')
      .split('\n')
      .filter((line) => line.includes('"initialize"'))
      .map((line) => JSON.parse(line).params.capabilities)
  // First the connection that serves everybody, to which nobody answers.
  expect(offered('bound')).toEqual([{}, { elicitation: { form: {} } }])
  expect(offered('free')).toEqual([{}, { elicitation: { form: {} }, roots: {} }])
  await asked[Symbol.asyncDispose]()
  rmSync(folder, { recursive: true })
})

test('a server of the modern era alone asks a client of the legacy era in its way', async () => {
  const newest = await startFixture({ modernOnly: true })
  const bridge = await startGateway({ new: { kind: 'http', url: newest.url } })
  const { client, asked } = await person('xena', undefined, bridge.url)
  const name = 'new.test_input_required_result_multi_round'
  const result = await client.callTool({ name, arguments: {} })
  expect(asked.map(({ message }) => message.slice(0, 42))).toEqual([
    '[from server new, not from Daypass] Step 1',
    '[from server new, not from Daypass] Step 2',
  ])
  expect(textOf(result)).toBe('Both steps are done')
  // All of it was one call.
  expect(bridge.door.calls).toHaveLength(1)
  await bridge[Symbol.asyncDispose]()
  await newest.close()
})

describe('names without prefix', () => {
  test('are the server’s own', async () => {
    const plain = await startGateway({ far: { kind: 'http', url: fixture.url, prefix: false } })
    const client = await plain.client('alice', 'auto')
    const { tools } = await client.listTools()
    expect(tools.map(({ name }) => name)).toContain('test_simple_text')
    const result = await client.callTool({ name: 'test_simple_text', arguments: {} })
    expect(textOf(result)).toContain('simple text')
    expect(plain.door.calls.at(-1)?.request).toMatchObject({
      server: 'far',
      tool: 'test_simple_text',
    })
    const { prompts } = await client.listPrompts()
    expect(prompts.map(({ name }) => name)).toContain('test_simple_prompt')
    await client.getPrompt({ name: 'test_simple_prompt' })
    await plain[Symbol.asyncDispose]()
  })

  test('threat 31: are refused beside a second server', () => {
    const one = { ...rawStdio(), prefix: false }
    expect(() => new Upstreams({ one, two: rawStdio() }, { client: INFO })).toThrow('alone')
  })
})

test('input without state is a new call, and is judged as one', async () => {
  const before = gateway.door.calls.length
  const inputResponses = { user_name: { action: 'accept', content: { name: 'Yara' } } }
  const name = 'far.test_input_required_result_elicitation'
  const [body, headers] = modern('tools/call', { name, arguments: {}, inputResponses })
  expect(headers['mcp-protocol-version']).toBe(MODERN)
  const reply = (await (await gateway.post(body, headers)).json()) as { result: object }
  expect(textOf(reply.result)).toBe('Hello, Yara!')
  expect(gateway.door.calls.length).toBe(before + 1)
})
