import { once } from 'node:events'
import { createServer, type IncomingMessage, request, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { Front, type FrontOptions } from '../../src/authority/front.ts'
import { createLog } from '../../src/authority/log.ts'
import { addressOf, TokenBuckets } from '../../src/authority/rates.ts'
import { hiding, Secret } from '../../src/authority/secret.ts'

const servers: Server[] = []
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections()
    server.close()
  }
})

let now = 1_000_000
const READY = {
  ready: true,
  store: 'ok',
  keys: 'ok',
  servers: { up: 1, starting: 0, down: 0 },
} as const
const ROOMY = { perCaller: 1_000, perAddress: 1_000, signIn: 1_000 }

/** A server whose every path answers 200 behind the front. Returns its port. */
async function behind(
  options: Partial<FrontOptions> = {},
): Promise<{ port: number; front: Front }> {
  const front = new Front({
    rates: ROOMY,
    trustProxy: 0,
    hosts: ['daypass.example'],
    readiness: async () => READY,
    clock: () => now,
    log: null,
    ...options,
  })
  const server = createServer((req, res) => {
    if (!front.answers(req, res, req.url!.split('?', 1)[0]!)) res.end('through')
  })
  Front.limit(server)
  servers.push(server)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { port: (server.address() as AddressInfo).port, front }
}

interface Answer {
  readonly status: number
  readonly headers: IncomingMessage['headers']
  readonly body: string
}

function ask(
  port: number,
  path: string,
  { method = 'GET', headers = {}, body }: { method?: string; headers?: object; body?: string } = {},
): Promise<Answer> {
  const { promise, resolve, reject } = Promise.withResolvers<Answer>()
  const own = headers as Record<string, string>
  const req = request({ port, path, method, headers: own, agent: false }, (res) => {
    let text = ''
    res.on('data', (chunk) => {
      text += chunk
    })
    const { statusCode: status = 0 } = res
    res.on('end', () => resolve({ status, headers: res.headers, body: text }))
  })
  req.on('error', reject)
  req.end(body)
  return promise
}

async function statuses(port: number, path: string, headers: readonly object[]): Promise<number[]> {
  const found: number[] = []
  for (const each of headers) found.push((await ask(port, path, { headers: each })).status)
  return found
}

describe('a token bucket', () => {
  test('gives what its rate allows, and then says when to come again', () => {
    const buckets = new TokenBuckets({ count: 2, periodMs: 60_000, clock: () => now })
    expect([buckets.take('a'), buckets.take('a'), buckets.take('a')]).toEqual([0, 0, 30])
    expect(buckets.take('b')).toBe(0)
    now += 29_000
    expect(buckets.take('a')).toBe(1)
    now += 1_001
    expect([buckets.take('a'), buckets.take('a')]).toEqual([0, 30])
  })

  test('gives nothing for a clock that goes back, and no more than it holds', () => {
    const buckets = new TokenBuckets({ count: 1, periodMs: 1_000, clock: () => now })
    expect(buckets.take('a')).toBe(0)
    now -= 50_000
    expect(buckets.take('a')).toBeGreaterThan(0)
    now += 3_600_000
    expect([buckets.take('a'), buckets.take('a')]).toEqual([0, 1])
  })

  test('forgets the quietest when it holds too many keys', () => {
    const buckets = new TokenBuckets({ count: 1, periodMs: 3_600_000, clock: () => now })
    buckets.take('first')
    buckets.take('second')
    for (let key = 0; key < 50_000 - 1; key++) buckets.take(String(key))
    expect(buckets.take('second')).toBeGreaterThan(0)
    expect(buckets.take('first')).toBe(0)
  })
})

describe('an address', () => {
  const of = (remoteAddress: string, forwarded?: string, trustProxy = 0) => {
    const headers = forwarded === undefined ? {} : { 'x-forwarded-for': forwarded }
    return addressOf({ headers, socket: { remoteAddress } } as IncomingMessage, trustProxy)
  }

  test('is what the outermost believed proxy saw; nobody else is believed', () => {
    expect(of('10.0.0.1', '6.6.6.6')).toBe('10.0.0.1')
    expect(of('10.0.0.1', '6.6.6.6, 8.8.8.8', 1)).toBe('8.8.8.8')
    expect(of('10.0.0.1', '6.6.6.6, 8.8.8.8, 10.0.0.2', 2)).toBe('8.8.8.8')
    expect(of('10.0.0.1', undefined, 2)).toBe('10.0.0.1')
    expect(of('::ffff:10.0.0.1')).toBe('10.0.0.1')
  })

  test('of IPv6 is that of the subscriber', () => {
    expect(of('2001:db8:1:2:aaaa::1')).toBe('2001:db8:1:2::/64')
    expect(of('2001:0db8:0001:0002:bbbb:0:0:2')).toBe('2001:db8:1:2::/64')
    expect(of('2001:db8::7')).toBe('2001:db8:0:0::/64')
    expect(of('::1')).toBe('0:0:0:0::/64')
  })
})

describe('threat 71: a flood is limited', () => {
  test('from one address, with when to come again', async () => {
    const { port } = await behind({ rates: { ...ROOMY, perAddress: 2 } })
    expect(await statuses(port, '/v1/runs', [{}, {}])).toEqual([200, 200])
    const { status, headers, body } = await ask(port, '/v1/runs')
    expect(status).toBe(429)
    expect(Number(headers['retry-after'])).toBeGreaterThan(0)
    expect(headers['content-type']).toBe('application/problem+json')
    expect(JSON.parse(body)).toMatchObject({ title: 'too_many_requests', status: 429 })
    now += 60_000
    expect(await statuses(port, '/v1/runs', [{}])).toEqual([200])
  })

  test('with one credential, and others come through', async () => {
    const { port } = await behind({ rates: { ...ROOMY, perCaller: 1 } })
    const [a, b] = [{ authorization: 'Bearer a' }, { authorization: 'Bearer b' }]
    expect(await statuses(port, '/mcp', [a, a, b, { cookie: 'c' }, { cookie: 'c' }])).toEqual([
      200, 429, 200, 200, 429,
    ])
  })

  test('on the ways to sign in, whose OAuth clients read an OAuth error', async () => {
    const { port } = await behind({ rates: { ...ROOMY, signIn: 1 } })
    expect(await statuses(port, '/sign-in/link', [{}])).toEqual([200])
    const { status, body } = await ask(port, '/oauth/token')
    expect(status).toBe(429)
    expect(JSON.parse(body)).toMatchObject({ error: 'temporarily_unavailable' })
    expect(await statuses(port, '/v1/runs', [{}])).toEqual([200])
  })
})

describe('a request', () => {
  test('has a size, and one that does not say it is refused', async () => {
    const { port } = await behind()
    const post = (path: string, headers: object, body?: string) =>
      ask(port, path, { method: 'POST', headers, ...(body === undefined ? {} : { body }) })
    expect((await post('/v1/runs', {}, 'x'.repeat(1000))).status).toBe(200)
    const large = { 'content-length': String(10_000_000), connection: 'close' }
    expect(await statuses(port, '/v1/runs', [large])).toEqual([413])
    expect((await post('/v1/runs', { 'transfer-encoding': 'chunked' }, 'x')).status).toBe(411)
    expect((await post('/mcp', { 'transfer-encoding': 'chunked' }, 'x')).status).toBe(200)
  })

  test('threat 37: is for a name of this server', async () => {
    const { port } = await behind()
    const hosts = ['127.0.0.1', 'localhost:1', 'daypass.example', 'evil.example']
    const headers = hosts.map((host) => ({ host }))
    expect(await statuses(port, '/sign-in', headers)).toEqual([200, 200, 200, 403])
  })

  test('that never ends is given up, and connections are counted', async () => {
    await behind()
    const { headersTimeout, requestTimeout, maxConnections } = servers[0]!
    expect([headersTimeout, requestTimeout, maxConnections]).toEqual([15_000, 120_000, 10_000])
  })
})

describe('health', () => {
  test('is told to anybody, readiness within the limits', async () => {
    const { port } = await behind({ rates: { ...ROOMY, perAddress: 1 } })
    expect(await statuses(port, '/healthz', [{}, {}, {}])).toEqual([200, 200, 200])
    const probe = await ask(port, '/readyz', { headers: { host: '10.0.0.7:8460' } })
    expect([probe.status, JSON.parse(probe.body)]).toEqual([200, { ...READY, stopping: false }])
    expect(await statuses(port, '/readyz', [{}])).toEqual([429])
  })

  test('ends with readiness when the process stops, or cannot work', async () => {
    const { port, front } = await behind()
    front.drain()
    const { status, body } = await ask(port, '/readyz')
    expect([status, JSON.parse(body)]).toEqual([503, { ...READY, ready: false, stopping: true }])
    expect(await statuses(port, '/healthz', [{}])).toEqual([200])
    const broken = await behind({ readiness: async () => ({ ...READY, ready: false }) })
    expect(await statuses(broken.port, '/readyz', [{}])).toEqual([503])
  })
})

describe('threat 78: the log', () => {
  const CANARY = 'canary-77f1d0'
  const lines: string[] = []
  const log = (format: 'json' | 'text') =>
    createLog({
      format,
      write: (line) => lines.push(line),
      clock: () => 0,
      hide: hiding([new Secret(CANARY)]),
    })

  test('has paths and outcomes, and no query, header or body', async () => {
    lines.length = 0
    const { port } = await behind({ log: log('json') })
    const headers = { authorization: 'Bearer hdr-secret', cookie: 'ck-secret' }
    await ask(port, '/sign-in/link?code=q-secret', { method: 'POST', headers, body: 'b-secret' })
    await expect.poll(() => lines.length).toBe(1)
    expect(lines[0]).not.toContain('secret')
    expect(JSON.parse(lines[0]!)).toMatchObject({ path: '/sign-in/link', status: 200 })
  })

  test('hides what somebody repeats, and is one line whatever it says', () => {
    lines.length = 0
    for (const format of ['json', 'text'] as const) {
      log(format)('warn', 'server', { why: `bad ${CANARY}\n2026 forged\u001b[2J`, n: 1 })
    }
    expect(lines).toHaveLength(2)
    for (const line of lines) {
      expect(line).not.toContain(CANARY)
      expect(line).not.toContain('\n')
      expect(line).not.toContain('\u001b')
      expect(line).toContain('bad [secret]')
    }
  })
})
