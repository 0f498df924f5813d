import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Client } from '@modelcontextprotocol/client'
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { serveStdio } from '../../src/gateway/stdio-server.ts'
import { principalOf } from './support/door.ts'
import {
  INFO,
  modern,
  rawStdio,
  startGateway,
  type TestGateway,
  textOf,
  until,
} from './support/gateway.ts'

const folder = mkdtempSync(join(tmpdir(), 'daypass-stdio-'))
writeFileSync(join(folder, 'a.txt'), 'from a file')

const MAIN = fileURLToPath(new URL('./support/stdio-main.ts', import.meta.url))

describe.each(['auto', 'legacy'] as const)('an SDK client over stdio (%s)', (era) => {
  test('lists and calls, and the session ends with the input', async () => {
    const transport = new StdioClientTransport({
      command: process.execPath,
      args: [MAIN, folder],
      stderr: 'pipe',
    })
    let stderr = ''
    transport.stderr?.on('data', (chunk) => {
      stderr += chunk
    })
    const options = era === 'auto' ? { versionNegotiation: { mode: 'auto' as const } } : {}
    const client = new Client({ name: 'test', version: '1' }, options)
    await client.connect(transport)
    const { tools } = await client.listTools()
    expect(tools.map((tool) => tool.name)).toContain('fs.read_text_file')
    const params = { name: 'fs.read_text_file', arguments: { path: join(folder, 'a.txt') } }
    expect(textOf(await client.callTool(params))).toBe('from a file')
    await client.close()
    await until(() => stderr.includes('sessions ended: 1'), 'the session ends')
  })
})

/** A connection whose lines the test writes and reads. */
class Lines {
  readonly input = new PassThrough()
  readonly output = new PassThrough()
  readonly received: Record<string, unknown>[] = []

  constructor() {
    let rest = ''
    this.output.on('data', (chunk) => {
      const lines = (rest + chunk).split('\n')
      rest = lines.pop() ?? ''
      for (const line of lines) this.received.push(JSON.parse(line))
    })
  }

  say(message: object | string): void {
    this.input.write(`${typeof message === 'string' ? message : JSON.stringify(message)}\n`)
  }

  async reply(id: unknown): Promise<Record<string, unknown>> {
    await until(() => this.received.some((m) => m.id === id), `a reply to ${id}`)
    return this.received.find((m) => m.id === id) as Record<string, unknown>
  }
}

describe('a stdio connection', () => {
  let gateway: TestGateway

  beforeAll(async () => {
    gateway = await startGateway({ raw: rawStdio() })
  })

  afterAll(() => gateway[Symbol.asyncDispose]())

  function connect(principal = principalOf('alice') as ReturnType<typeof principalOf> | null) {
    const lines = new Lines()
    const { door, upstreams } = gateway
    const server = serveStdio(door, upstreams, principal, lines.input, lines.output, {
      serverInfo: INFO,
    })
    return { lines, server }
  }

  const hello = {
    jsonrpc: '2.0',
    id: 'i',
    method: 'initialize',
    params: { protocolVersion: '2025-03-26' },
  }
  const call = (id: number, name: string, args: object = {}) => ({
    jsonrpc: '2.0',
    id,
    method: 'tools/call',
    params: { name, arguments: args },
  })

  test('passes a question of a server on, and the answer back', async () => {
    const { lines, server } = connect()
    const params = { ...hello.params, capabilities: { sampling: {} } }
    lines.say({ ...hello, params })
    await lines.reply('i')
    lines.say(call(1, 'raw.ask'))
    const isQuestion = (m: Record<string, unknown>) => m.method === 'sampling/createMessage'
    await until(() => lines.received.some(isQuestion), 'the question')
    const { id } = lines.received.find(isQuestion)!
    // An answer to what nobody asked is nobody's.
    lines.say({ jsonrpc: '2.0', id: 'daypass-999', result: { role: 'nobody' } })
    lines.say({ jsonrpc: '2.0', id, result: { role: 'assistant' } })
    expect(JSON.stringify(await lines.reply(1))).toContain('told: {\\"role\\":\\"assistant\\"}')
    server.close()
    await server.done
  })

  test('without a badge it says why, and nothing reaches the door', async () => {
    const { lines } = connect(null)
    const before = gateway.door.calls.length
    lines.say(hello)
    lines.say({ jsonrpc: '2.0', id: 1, method: 'tools/list' })
    lines.say(call(2, 'raw.whoami'))
    expect(await lines.reply(1)).toMatchObject({ result: { tools: [] } })
    const denied = await lines.reply(2)
    expect(JSON.stringify(denied.error)).toContain('no badge')
    expect(gateway.door.calls.length).toBe(before)
  })

  test('threat 23: each element of a batch is decided; one without an id never runs', async () => {
    const { lines } = connect()
    lines.say(hello)
    await lines.reply('i')
    const before = gateway.door.calls.length
    const unanswerable = { jsonrpc: '2.0', method: 'tools/call', params: { name: 'raw.whoami' } }
    const batch = [
      call(1, 'raw.whoami', { who: 'a' }),
      call(2, 'raw.whoami', { who: 'b' }),
      unanswerable,
    ]
    lines.say(JSON.stringify(batch))
    await until(() => lines.received.some(Array.isArray), 'the batch is answered')
    const answers = lines.received.find(Array.isArray) as unknown as { id: unknown }[]
    expect(answers.map(({ id }) => id)).toEqual([1, 2, null])
    expect(gateway.door.calls.length).toBe(before + 2)
  })

  test('the end of the input waits for calls in flight, and ends the session', async () => {
    const { lines, server } = connect()
    lines.say(hello)
    await lines.reply('i')
    lines.say(call(1, 'raw.whoami', { who: 'last' }))
    lines.input.end()
    await server.done
    expect(textOf((await lines.reply(1)).result as object)).toBe('last')
    const ended = gateway.door.ended.at(-1)
    expect(ended?.run).toBe('run_alice')
    expect(ended?.session).not.toBe('')
  })

  test('a cancelled call is not answered', async () => {
    const { lines } = connect()
    lines.say(hello)
    lines.say(call(1, 'raw.never'))
    await until(() => gateway.door.calls.at(-1)?.request.tool === 'never', 'the call arrives')
    const params = { requestId: 1 }
    lines.say({ jsonrpc: '2.0', method: 'notifications/cancelled', params })
    lines.say({ jsonrpc: '2.0', id: 2, method: 'ping' })
    await lines.reply(2)
    await sleep(50)
    expect(lines.received.some(({ id }) => id === 1)).toBe(false)
  })

  test('a modern client subscribes, hears of changes, and of the end', async () => {
    const { lines } = connect()
    const notifications = { toolsListChanged: true, resourceSubscriptions: ['x:y'] }
    lines.say(modern('subscriptions/listen', { notifications }, 's1')[0])
    await until(() => lines.received.length === 1, 'it is acknowledged')
    const _meta = { 'io.modelcontextprotocol/subscriptionId': 's1' }
    expect(lines.received[0]).toMatchObject({
      method: 'notifications/subscriptions/acknowledged',
      params: { notifications: { toolsListChanged: true }, _meta },
    })
    gateway.door.changeVisibility()
    await until(() => lines.received.length === 2, 'the change is told')
    expect(lines.received[1]).toMatchObject({
      method: 'notifications/tools/list_changed',
      params: { _meta },
    })
    gateway.door.end('alice')
    expect(await lines.reply('s1')).toMatchObject({ result: { resultType: 'complete', _meta } })
  })

  test('threat 9: a line that names a member twice is refused under its id', async () => {
    const { lines } = connect()
    lines.say(hello)
    lines.say('{"jsonrpc":"2.0","id":5,"method":"ping","method":"tools/call"}')
    expect(await lines.reply(5)).toMatchObject({ error: { code: -32600 } })
  })

  test('bytes that are not UTF-8 are refused', async () => {
    const { lines } = connect()
    lines.input.write(Buffer.from([0x7b, 0xc0, 0xae, 0x7d, 0x0a]))
    expect(await lines.reply(null)).toMatchObject({ error: { code: -32700 } })
  })
})
