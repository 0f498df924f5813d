import { request as httpRequest } from 'node:http'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import {
  modern,
  rawStdio,
  sendRaw,
  startGateway,
  type TestGateway,
  textOf,
  until,
} from './support/gateway.ts'

let gateway: TestGateway

beforeAll(async () => {
  gateway = await startGateway({ raw: rawStdio(), two: rawStdio() })
})

afterAll(() => gateway[Symbol.asyncDispose]())

type Answer = {
  status: number
  headers: Headers
  json: { result?: object; error?: { code: number; message: string } }
}

async function send(
  [body, headers]: [body: unknown, headers: Record<string, string>],
  more: Record<string, string> = {},
): Promise<Answer> {
  const response = await gateway.post(body, { ...headers, ...more })
  const text = await response.text()
  return {
    status: response.status,
    headers: response.headers,
    json: text === '' ? {} : JSON.parse(text),
  }
}

async function openSession(token = 'alice', protocolVersion = '2025-11-25'): Promise<string> {
  const params = { protocolVersion, capabilities: {}, clientInfo: { name: 't', version: '1' } }
  const body = { jsonrpc: '2.0', id: 0, method: 'initialize', params }
  const response = await gateway.post(body, { authorization: `Bearer ${token}` })
  await response.text()
  return response.headers.get('mcp-session-id') ?? ''
}

const whoami = (who = 'me', id: number | string = 1) =>
  modern('tools/call', { name: 'raw.whoami', arguments: { who } }, id)

describe('threat 21: headers and body must say the same', () => {
  test('a request whose headers agree is served', async () => {
    expect((await send(whoami())).status).toBe(200)
  })

  test.each<[string, Record<string, string>]>([
    ['another version', { 'mcp-protocol-version': '2026-07-29' }],
    ['another method', { 'mcp-method': 'tools/list' }],
    ['another name', { 'mcp-name': 'raw.env' }],
    ['the name in another case', { 'mcp-name': 'RAW.WHOAMI' }],
    ['a broken sentinel', { 'mcp-name': '=?base64?*?=' }],
    ['another name in the sentinel', { 'mcp-name': '=?base64?cmF3LmVudg==?=' }],
  ])('%s is refused', async (_what, headers) => {
    const before = gateway.door.calls.length
    const { status, json } = await send(whoami(), headers)
    expect(status).toBe(400)
    expect(json.error?.code).toBe(-32020)
    expect(gateway.door.calls.length).toBe(before)
  })

  test('the name in a valid sentinel is the name', async () => {
    const encoded = `=?base64?${Buffer.from('raw.whoami').toString('base64')}?=`
    expect((await send(whoami(), { 'mcp-name': encoded })).status).toBe(200)
  })

  test.each(['mcp-protocol-version', 'mcp-method', 'mcp-name'])('%s is missing', async (header) => {
    const [body, headers] = whoami()
    delete headers[header]
    const { status, json } = await send([body, headers])
    expect(status).toBe(400)
    expect(json.error?.code).toBe(-32020)
  })

  test.each(['Mcp-Name: raw.env', 'Mcp-Name: raw.whoami', 'Authorization: Bearer bob'])(
    'a second header is refused: %s',
    async (second) => {
      const [body, headers] = whoami()
      const text = JSON.stringify(body)
      const lines = Object.entries({ authorization: 'Bearer alice', ...headers })
      const response = await sendRaw(gateway.url, [
        'POST /mcp HTTP/1.1',
        'Host: localhost',
        'Content-Type: application/json',
        ...lines.map(([name, value]) => `${name}: ${value}`),
        second,
        `Content-Length: ${Buffer.byteLength(text)}`,
        'Connection: close',
        '',
        text,
      ])
      expect(response).toMatch(/^HTTP\/1\.1 400 /)
      expect(response).toContain('-32020')
    },
  )
})

describe('the modern era', () => {
  test('an envelope that lacks something is invalid', async () => {
    const [body, headers] = whoami()
    const bare = { ...body, params: { name: 'raw.whoami' } }
    expect(await send([bare, headers])).toMatchObject({
      status: 400,
      json: { error: { code: -32602 } },
    })
    const _meta = { 'io.modelcontextprotocol/clientCapabilities': 'all' }
    const odd = modern('tools/list', { _meta })
    expect(await send(odd)).toMatchObject({ status: 400, json: { error: { code: -32602 } } })
  })

  test('an unsupported version is told which is supported', async () => {
    const _meta = { 'io.modelcontextprotocol/protocolVersion': '2027-01-01' }
    const [body, headers] = modern('tools/list', { _meta })
    const answer = await send([body, { ...headers, 'mcp-protocol-version': '2027-01-01' }])
    const data = { supported: ['2026-07-28'], requested: '2027-01-01' }
    expect(answer).toMatchObject({ status: 400, json: { error: { code: -32022, data } } })
  })

  test('threat 27: what is unknown, or of the other era, is 404', async () => {
    for (const method of ['ping', 'logging/setLevel', 'initialize', 'x/y', 'constructor']) {
      const answer = await send(modern(method))
      expect(answer, method).toMatchObject({ status: 404, json: { error: { code: -32601 } } })
    }
  })

  test.each([
    ['prompts/get', { name: 'raw.greet' }],
    ['completion/complete', { ref: { type: 'ref/prompt', name: 'raw.greet' }, argument: {} }],
  ] as const)(
    'threat 27: %s reaches the door, and goes no further alone',
    async (method, params) => {
      const { door } = gateway
      const before = door.judged.length
      door.denied.add(method)
      onTestFinished(() => void door.denied.delete(method))
      const { json } = await send(modern(method, { ...params }))
      expect(door.judged.slice(before)).toMatchObject([{ method, server: 'raw' }])
      expect(json).toMatchObject({ error: { message: `denied: ${method}` } })
    },
  )

  test('GET and DELETE are not allowed', async () => {
    for (const method of ['GET', 'DELETE', 'PUT']) {
      const headers = { authorization: 'Bearer alice', 'mcp-protocol-version': '2026-07-28' }
      expect((await fetch(gateway.url, { method, headers })).status).toBe(405)
    }
  })

  test('threat 25: what may be cached is private to this lease, and short-lived', async () => {
    const { json, headers } = await send(modern('tools/list'))
    expect(headers.get('cache-control')).toBe('no-store')
    expect(json.result).toMatchObject({ cacheScope: 'private', resultType: 'complete' })
    expect((json.result as { ttlMs: number }).ttlMs).toBeLessThanOrEqual(1_000)
  })

  test('threat 23: a request without an id is refused, and never decided', async () => {
    const [body, headers] = whoami()
    delete body.id
    const before = gateway.door.calls.length
    expect((await send([body, headers])).status).toBe(400)
    expect(gateway.door.calls.length).toBe(before)
  })

  test('a batch is refused', async () => {
    const [body, headers] = whoami()
    expect((await send([[body], headers])).status).toBe(400)
    expect((await send([[body], {}])).status).toBe(400)
  })

  test('closing the connection cancels the call', async () => {
    const [body, headers] = modern('tools/call', { name: 'raw.never', arguments: {} })
    const abort = new AbortController()
    const response = fetch(gateway.url, {
      method: 'POST',
      headers: {
        ...headers,
        authorization: 'Bearer alice',
        'content-type': 'application/json',
      },
      body: JSON.stringify(body),
      signal: abort.signal,
    })
    const replies = gateway.door.replies.length
    await until(() => gateway.door.calls.at(-1)?.request.tool === 'never', 'the call arrives')
    abort.abort()
    await expect(response).rejects.toThrow()
    await until(() => gateway.door.replies.length > replies, 'the call ends')
    expect(gateway.door.replies.at(-1)).toMatchObject({ failure: { why: 'cancelled', sent: true } })
  })

  test('a subscription ends with the authority, and leaves nothing behind', async () => {
    const before = gateway.door.watchers
    const notifications = { toolsListChanged: true }
    const response = await gateway.post(...modern('subscriptions/listen', { notifications }, 's'))
    await until(() => gateway.door.watchers > before, 'it watches')
    gateway.door.changeVisibility()
    gateway.door.end('alice')
    const text = await response.text()
    const events = text.match(/"method":"[^"]+"|"result"/g)
    expect(events).toEqual([
      '"method":"notifications/subscriptions/acknowledged"',
      '"method":"notifications/tools/list_changed"',
      '"result"',
    ])
    expect(gateway.door.watchers).toBe(before)
  })
})

describe('the legacy era', () => {
  const ping = { jsonrpc: '2.0', id: 1, method: 'ping' }

  test('a session is needed, and belongs to the run that opened it', async () => {
    const session = await openSession()
    expect((await send([ping, {}])).status).toBe(400)
    expect((await send([ping, { 'mcp-session-id': 'made-up' }])).status).toBe(404)
    const own = { 'mcp-session-id': session }
    expect((await send([ping, own])).status).toBe(200)
    expect((await send([ping, { ...own, authorization: 'Bearer bob' }])).status).toBe(404)
  })

  test('DELETE ends it, once, and the door is told', async () => {
    const session = await openSession()
    const headers = { authorization: 'Bearer alice', 'mcp-session-id': session }
    const remove = () => fetch(gateway.url, { method: 'DELETE', headers })
    expect((await remove()).status).toBe(204)
    expect((await remove()).status).toBe(404)
    expect(gateway.door.ended.filter((p) => p.session === session)).toHaveLength(1)
  })

  test('the GET stream tells of changes, and ends with the authority', async () => {
    const session = await openSession()
    const headers = {
      authorization: 'Bearer alice',
      accept: 'text/event-stream',
      'mcp-session-id': session,
    }
    const response = await fetch(gateway.url, { headers })
    expect(response.status).toBe(200)
    gateway.door.changeVisibility()
    gateway.door.end('alice')
    expect(await response.text()).toContain('notifications/tools/list_changed')
  })

  test('threat 23: each element of a batch is decided on its own', async () => {
    const session = await openSession('alice', '2025-03-26')
    gateway.door.denied.add('raw.env')
    const before = gateway.door.calls.length
    const call = (id: number, name: string) => {
      return { jsonrpc: '2.0', id, method: 'tools/call', params: { name, arguments: { who: 'b' } } }
    }
    const silent = { jsonrpc: '2.0', method: 'tools/call', params: { name: 'raw.env' } }
    const batch = [call(1, 'raw.whoami'), call(2, 'raw.env'), silent, { odd: true }]
    const { json } = await send([batch, { 'mcp-session-id': session }])
    gateway.door.denied.clear()
    expect(json).toMatchObject([
      { id: 1, result: { content: [{ text: 'b' }] } },
      { id: 2, result: { isError: true } },
      { id: null, error: { code: -32600 } },
      { id: null, error: { code: -32600 } },
    ])
    expect(gateway.door.calls.length).toBe(before + 2)
  })

  test('a revision without batches refuses them', async () => {
    const session = await openSession()
    expect((await send([[ping], { 'mcp-session-id': session }])).status).toBe(400)
  })

  test('an unknown version in the header is refused', async () => {
    const session = await openSession()
    const headers = { 'mcp-session-id': session, 'mcp-protocol-version': '1999-01-01' }
    expect((await send([ping, headers])).status).toBe(400)
  })
})

test('threat 24: two clients with the same ids get their own answers, a thousand times', async () => {
  const sessions = { alice: await openSession('alice'), bob: await openSession('bob') }
  const one = async (client: 'alice' | 'bob', era: 'legacy' | 'modern', id: number) => {
    const who = `${client}-${era}-${id}`
    const [body, headers] = whoami(who, id)
    const params = { name: 'raw.whoami', arguments: { who } }
    const legacy = { jsonrpc: '2.0', id, method: 'tools/call', params }
    const session = { 'mcp-session-id': sessions[client] }
    const { json } = await send(era === 'modern' ? [body, headers] : [legacy, session], {
      authorization: `Bearer ${client}`,
    })
    expect(json).toMatchObject({ id })
    expect(textOf(json.result as object)).toBe(who)
  }
  for (let round = 0; round < 25; round++) {
    const wave: Promise<void>[] = []
    for (let id = 1; id <= 10; id++) {
      for (const era of ['legacy', 'modern'] as const)
        wave.push(one('alice', era, id), one('bob', era, id))
    }
    await Promise.all(wave)
  }
})

test('an id that is in flight cannot be used again', async () => {
  const session = { 'mcp-session-id': await openSession() }
  const params = { name: 'raw.never', arguments: {} }
  const call = { jsonrpc: '2.0', id: 9, method: 'tools/call', params }
  const first = send([call, session])
  await until(() => gateway.door.calls.at(-1)?.request.requestId === 9, 'the first arrives')
  expect((await send([call, session])).json.error?.message).toContain('in flight')
  const cancelled = { jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 9 } }
  expect((await send([cancelled, session])).status).toBe(202)
  expect((await first).status).toBe(202)
})

test('threat 26: a tool that is not shown is denied when it is called by name', async () => {
  gateway.door.denied.add('two.env')
  const { json } = await send(modern('tools/list'))
  const names = (json.result as { tools: { name: string }[] }).tools.map(({ name }) => name)
  expect(names).toContain('raw.env')
  expect(names).not.toContain('two.env')
  const call = await send(modern('tools/call', { name: 'two.env', arguments: {} }))
  expect(call.json.result).toMatchObject({ isError: true })
  gateway.door.denied.clear()
})

describe('threat 28: without a valid badge there is nobody', () => {
  test.each<[string, Record<string, string>]>([
    ['no header', { authorization: '' }],
    ['fabricated', { authorization: 'Bearer eyJhbGciOiJub25lIn0.e30.' }],
    ['another scheme', { authorization: 'Basic YWxpY2U6' }],
    ['an empty token', { authorization: 'Bearer ' }],
    ['two tokens', { authorization: 'Bearer alice, Bearer bob' }],
    ['a token with a blank', { authorization: 'Bearer alice x' }],
  ])('%s: 401 everywhere', async (_what, headers) => {
    const session = await openSession()
    const own = { ...headers, 'mcp-session-id': session }
    const before = gateway.door.calls.length
    const responses = await Promise.all([
      gateway.post(whoami()[0], { ...whoami()[1], ...headers }),
      gateway.post({ jsonrpc: '2.0', id: 1, method: 'initialize', params: {} }, headers),
      gateway.post({ jsonrpc: '2.0', id: 1, method: 'ping' }, own),
      gateway.post('not json', headers),
      fetch(gateway.url, { headers: own }),
      fetch(gateway.url, { method: 'DELETE', headers: own }),
    ])
    for (const response of responses) {
      expect(response.status).toBe(401)
      const challenge = response.headers.get('www-authenticate')
      expect(challenge).toMatch(/^Bearer .*resource_metadata="http:/)
    }
    expect(gateway.door.calls.length).toBe(before)
  })
})

describe('threat 37: DNS rebinding', () => {
  const status = (headers: Record<string, string>): Promise<number | undefined> =>
    new Promise((resolve, reject) => {
      const all = { authorization: 'Bearer alice', ...headers }
      httpRequest(gateway.url, { method: 'POST', headers: all }, (res) => resolve(res.statusCode))
        .on('error', reject)
        .end()
    })

  test.each<Record<string, string>>([
    { host: 'evil.example' },
    { host: 'localhost.evil.example' },
    { host: '127.0.0.1.evil.example:80' },
    { host: 'localhost', origin: 'https://evil.example' },
    { host: 'localhost', origin: 'https://localhost.evil.example' },
    { host: 'localhost', origin: 'null' },
    { host: 'localhost', origin: 'https://localhost@evil.example' },
  ])('is refused: %j', async (headers) => {
    expect(await status(headers)).toBe(403)
  })

  test.each<Record<string, string>>([
    { host: 'localhost:1' },
    { host: '[::1]:8080' },
    { origin: 'http://localhost:3000' },
  ])('ours is not: %j', async (headers) => {
    expect(await status(headers)).toBe(415)
  })
})

describe('what is no MCP request', () => {
  test('threat 9: a body that names a member twice is refused', async () => {
    const before = gateway.door.calls.length
    const [body, headers] = whoami()
    const text = JSON.stringify(body).replace('"name":', '"name":"raw.env","name":')
    const answer = await send([text, headers])
    expect(answer).toMatchObject({ status: 400, json: { error: { code: -32600 }, id: 1 } })
    expect(gateway.door.calls.length).toBe(before)
  })

  test.each<[number, unknown, Record<string, string>]>([
    [400, '{', {}],
    [400, '{"jsonrpc":"2.0"}', {}],
    [400, '[]', {}],
    [400, '['.repeat(10_000), {}],
    [415, {}, { 'content-type': 'text/plain' }],
    [406, {}, { accept: 'text/html' }],
    [413, `"${'x'.repeat(9_000_000)}"`, {}],
  ])('%i', async (status, body, headers) => {
    expect((await send([body, headers])).status).toBe(status)
  })
})
