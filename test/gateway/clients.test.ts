import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Client } from '@modelcontextprotocol/client'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  filesystem,
  modern,
  startGateway,
  type TestGateway,
  textOf,
  until,
} from './support/gateway.ts'
import { type HttpFixture, startHttpFixture } from './support/http-fixture.ts'

const folder = mkdtempSync(join(tmpdir(), 'daypass-gateway-'))
writeFileSync(join(folder, 'hello.txt'), 'hello from a file')

/** The real SDK client, in both eras, against real upstreams of both kinds and both eras. */
describe.each(['auto', 'legacy'] as const)('an SDK client (%s)', (era) => {
  let gateway: TestGateway
  let modernHttp: HttpFixture
  let legacyHttp: HttpFixture
  let client: Client

  beforeAll(async () => {
    modernHttp = await startHttpFixture({ era: 'modern' })
    legacyHttp = await startHttpFixture({ era: 'legacy' })
    gateway = await startGateway({
      fs: filesystem(folder),
      new: { kind: 'http', url: modernHttp.url, headers: { 'x-secret': 's3cret' } },
      old: { kind: 'http', url: legacyHttp.url },
    })
    client = await gateway.client('alice', era)
  })

  afterAll(async () => {
    await gateway[Symbol.asyncDispose]()
    await modernHttp.close()
    await legacyHttp.close()
  })

  test('speaks the era it wants, and so does each upstream', () => {
    const version = client.getNegotiatedProtocolVersion()
    expect(version).toBe(era === 'auto' ? '2026-07-28' : '2025-11-25')
    const versions = Object.values(gateway.upstreams.health()).map(
      (h) => 'version' in h && h.version,
    )
    expect(versions).toEqual(['2025-11-25', '2026-07-28', '2025-11-25'])
  })

  test('sees the tools of every server under its name', async () => {
    const { tools } = await client.listTools()
    const names = tools.map((tool) => tool.name)
    expect(names).toContain('fs.read_text_file')
    expect(names).toContain('new.echo')
    expect(names).toContain('old.echo')
    expect(new Set(names).size).toBe(names.length)
  })

  test('calls a tool of a stdio server', async () => {
    const path = join(folder, 'hello.txt')
    const result = await client.callTool({ name: 'fs.read_text_file', arguments: { path } })
    expect(textOf(result)).toBe('hello from a file')
  })

  test.each(['new', 'old'])('gets a result as it is, unknown members too (%s)', async (server) => {
    const result = await client.callTool({ name: `${server}.echo`, arguments: { text: 'ünïcode' } })
    expect(textOf(result)).toBe('ünïcode')
    expect(result._meta).toMatchObject({ 'example.com/unknown': { kept: true } })
  })

  test.each(['new', 'old'])('reads the error that a tool made (%s)', async (server) => {
    const result = await client.callTool({ name: `${server}.fail`, arguments: {} })
    expect(result.isError).toBe(true)
    expect(textOf(result)).toContain('it broke')
  })

  test.each(['new', 'old'])('hears of progress under its own token (%s)', async (server) => {
    const heard: string[] = []
    const call = (key: string) =>
      client.callTool(
        { name: `${server}.slow`, arguments: { key, ms: 50 } },
        { onprogress: (progress) => heard.push(`${key}:${progress.message}`) },
      )
    await Promise.all([call('a'), call('b')])
    expect(heard.sort()).toEqual(['a:a', 'b:b'])
  })

  test.each(['new', 'old'])('cancels a call, and the upstream hears of it (%s)', async (server) => {
    const fixture = server === 'new' ? modernHttp : legacyHttp
    const abort = new AbortController()
    const key = `cancel-${era}`
    const params = { name: `${server}.slow`, arguments: { key, ms: 20_000 } }
    const call = client.callTool(params, { signal: abort.signal })
    const calls = gateway.door.calls
    await until(() => calls.some(({ request }) => request.args.key === key), 'the call arrives')
    setTimeout(() => abort.abort(), 100)
    await expect(call).rejects.toThrow()
    await until(() => fixture.cancelled.includes(key), 'the upstream is told')
    const failure = { why: 'cancelled', sent: true }
    await until(() => gateway.door.replies.some((r) => 'failure' in r), 'the door is told')
    expect(gateway.door.replies.at(-1)).toMatchObject({ failure })
  })

  test('prompts and resources keep their servers apart', async () => {
    const { prompts } = await client.listPrompts()
    expect(prompts.map((prompt) => prompt.name).sort()).toEqual(['new.greet', 'old.greet'])
    const prompt = await client.getPrompt({ name: 'old.greet', arguments: { who: 'you' } })
    expect(prompt.messages[0]?.content).toMatchObject({ text: 'hello you' })
    const { resources } = await client.listResources()
    expect(resources.filter(({ uri }) => uri === 'fixture://motd')).toHaveLength(2)
    // Both list it, so it belongs to neither.
    await expect(client.readResource({ uri: 'fixture://motd' })).rejects.toThrow(/claim/)
  })

  test('a tool that appears upstream is announced', async () => {
    const before = (await client.listTools()).tools.length
    for (const fixture of [modernHttp, legacyHttp]) fixture.addTool(`late-${era}`)
    const tool = (server: string) => gateway.upstreams.tool(server, `late-${era}`)
    await until(() => tool('new') !== undefined && tool('old') !== undefined, 'it is listed')
    // A modern client may keep a listing for its `ttlMs`.
    await new Promise((resolve) => setTimeout(resolve, 1_100))
    expect((await client.listTools()).tools.length).toBe(before + 2)
  })

  test('threat 44: the badge never reaches an upstream, and its own headers do', () => {
    const text = JSON.stringify([...modernHttp.seen, ...legacyHttp.seen])
    expect(text).not.toContain('alice')
    expect(modernHttp.seen.every(({ headers }) => headers['x-secret'] === 's3cret')).toBe(true)
  })
})

test('a session that an upstream forgot is opened again, and the call runs once', async () => {
  const fixture = await startHttpFixture({ era: 'legacy' })
  await using gateway = await startGateway({ old: { kind: 'http', url: fixture.url } })
  const client = await gateway.client('alice', 'auto')
  fixture.forgetSessions()
  const result = await client.callTool({ name: 'old.echo', arguments: { text: 'again' } })
  expect(textOf(result)).toBe('again')
  await fixture.close()
})

test('resources are read from their only server, templates included', async () => {
  const fixture = await startHttpFixture({ era: 'modern' })
  await using gateway = await startGateway({ new: { kind: 'http', url: fixture.url } })
  const client = await gateway.client('alice', 'auto')
  const motd = await client.readResource({ uri: 'fixture://motd' })
  expect(motd.contents[0]).toMatchObject({ text: 'good morning' })
  const item = await client.readResource({ uri: 'fixture://item/7' })
  expect(item.contents[0]).toMatchObject({ text: 'item 7' })
  gateway.door.denied.add('resources/read')
  await expect(client.readResource({ uri: 'fixture://item/8' })).rejects.toThrow(/denied/)
  await fixture.close()
})

describe('threat 22: an argument that is repeated in a header', () => {
  test('has to be the same there, and is sent on the same way', async () => {
    const fixture = await startHttpFixture({ era: 'modern' })
    await using gateway = await startGateway({ new: { kind: 'http', url: fixture.url } })
    const client = await gateway.client('alice', 'auto')
    await client.listTools()
    const params = { name: 'new.where', arguments: { region: 'zürich' } }
    expect(textOf(await client.callTool(params))).toBe('zürich')
    const [body, headers] = modern('tools/call', params)
    const wrong = [{}, { 'mcp-param-region': 'bern' }, { 'mcp-param-region': '=?base64?*?=' }]
    for (const header of wrong) {
      const response = await gateway.post(body, { ...headers, ...header } as Record<string, string>)
      expect(response.status).toBe(400)
      expect(await response.json()).toMatchObject({ error: { code: -32020 } })
    }
    const encoded = `=?base64?${Buffer.from('zürich').toString('base64')}?=`
    const right = await gateway.post(body, { ...headers, 'mcp-param-region': encoded })
    expect(right.status).toBe(200)
    expect(gateway.door.calls).toHaveLength(2)
    await fixture.close()
  })
})
