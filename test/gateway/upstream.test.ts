import { mkdtempSync, readFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { describe, expect, onTestFinished, test } from 'vitest'
import type { UpstreamConfig } from '../../src/gateway/upstream.ts'
import { childEnvironment } from '../../src/gateway/upstream-stdio.ts'
import { Upstreams } from '../../src/gateway/upstreams.ts'
import { INFO, rawStdio, textOf, until } from './support/gateway.ts'
import { closeServer } from './support/http-fixture.ts'

async function start(config: UpstreamConfig): Promise<Upstreams> {
  const upstreams = new Upstreams({ raw: config }, { client: INFO })
  onTestFinished(() => upstreams.close())
  upstreams.start()
  await upstreams.ready(20_000)
  return upstreams
}

const call = (upstreams: Upstreams, name: string, options = {}, args = {}) =>
  upstreams.get('raw')!.call('tools/call', { name, arguments: args }, options)

async function textFrom(upstreams: Upstreams, name: string): Promise<string> {
  const reply = await call(upstreams, name)
  return 'result' in reply ? textOf(reply.result) : JSON.stringify(reply)
}

describe('a stdio upstream', () => {
  test('threat 36: arguments are not shell, and the environment is the allow-list', async () => {
    process.env.DAYPASS_TEST_SECRET = 'hunter2'
    onTestFinished(() => {
      delete process.env.DAYPASS_TEST_SECRET
    })
    const args = ['$(touch /tmp/pwned)', '; rm -rf /', '`id`', '&& true']
    const upstreams = await start(rawStdio('', { env: { MINE: 'yes' }, args }))
    const env = JSON.parse(await textFrom(upstreams, 'env'))
    expect(env.MINE).toBe('yes')
    expect(env.PATH).toBe(process.env.PATH)
    expect(JSON.stringify(env)).not.toContain('hunter2')
    expect(JSON.parse(await textFrom(upstreams, 'argv')).slice(1)).toEqual(args)
    expect(childEnvironment({ PATH: '() { :; }; evil' }, {})).toEqual({})
  })

  test('threat 39: a timeout is an unknown outcome, and the upstream is told', async () => {
    const log = join(mkdtempSync(join(tmpdir(), 'daypass-raw-')), 'log')
    const upstreams = await start(rawStdio('', { env: { RAW_LOG: log } }))
    const reply = await call(upstreams, 'never', { timeoutMs: 50 })
    expect(reply).toMatchObject({ failure: { why: 'timeout', sent: true } })
    await until(() => readFileSync(log, 'utf8').includes('notifications/cancelled'), 'it is told')
  })

  test('a call cancelled before it was sent never was', async () => {
    const upstreams = await start(rawStdio())
    const reply = await call(upstreams, 'never', { signal: AbortSignal.abort() })
    expect(reply).toMatchObject({ failure: { why: 'cancelled', sent: false } })
  })

  test('a request of the upstream is answered with an error, never left hanging', async () => {
    const upstreams = await start(rawStdio())
    expect(await textFrom(upstreams, 'ask')).toBe('told: -32601')
  })

  test("of a client's `_meta`, its own hop stays behind and the rest goes along", async () => {
    const log = join(mkdtempSync(join(tmpdir(), 'daypass-raw-')), 'log')
    const upstreams = await start(rawStdio('', { env: { RAW_LOG: log } }))
    const hop = {
      progressToken: 'mine',
      'io.modelcontextprotocol/protocolVersion': '2026-07-28',
      'io.modelcontextprotocol/clientInfo': { name: 'secret-client' },
      'io.modelcontextprotocol/clientCapabilities': { sampling: {} },
    }
    const params = { name: 'pid', arguments: {}, _meta: { ...hop, traceparent: '00-ab-cd-01' } }
    await upstreams.get('raw')!.call('tools/call', params)
    const sent = readFileSync(log, 'utf8').trim().split('\n').at(-1)
    expect(JSON.parse(sent ?? '').params._meta).toEqual({ traceparent: '00-ab-cd-01' })
  })

  test('when it dies, calls in flight end with an unknown outcome, and it is started again', async () => {
    const upstreams = await start(rawStdio())
    const waiting = call(upstreams, 'never')
    const dying = call(upstreams, 'die')
    expect(await waiting).toMatchObject({ failure: { why: 'disconnected', sent: true } })
    expect(await dying).toMatchObject({ failure: { why: 'disconnected', sent: true } })
    const between = await call(upstreams, 'env')
    expect(between).toMatchObject({ failure: { why: 'unavailable', sent: false } })
    await until(() => upstreams.health().raw?.state === 'up', 'it comes back')
    const reply = await call(upstreams, 'whoami', {}, { who: 'back' })
    expect('result' in reply && textOf(reply.result)).toBe('back')
  })

  test('one that cannot stay up fails with its exit code and last words', async () => {
    const upstreams = await start(rawStdio('crash'))
    const find = () => upstreams.health().raw
    await until(() => find()?.state === 'failed', 'it fails')
    expect(find()).toMatchObject({ state: 'failed', exitCode: 7, stderr: 'no such database\n' })
    expect(await call(upstreams, 'env')).toMatchObject({ failure: { sent: false } })
  })

  test('a program that does not exist fails at once', async () => {
    const upstreams = await start({ kind: 'stdio', command: 'no-such-program-here' })
    expect(upstreams.health().raw).toMatchObject({ state: 'failed' })
  })

  test('a greeting on stdout is survived', async () => {
    const upstreams = await start(rawStdio('chatty'))
    expect(upstreams.health().raw).toMatchObject({ state: 'up', version: '2025-11-25' })
  })

  test('a server that dies of the modern question is asked the legacy one', async () => {
    const upstreams = await start(rawStdio('dies-on-discover'))
    expect(upstreams.health().raw).toMatchObject({ state: 'up', version: '2025-11-25' })
  })

  test('closing ends the child', async () => {
    const upstreams = await start(rawStdio())
    const pid = Number(await textFrom(upstreams, 'pid'))
    expect(process.kill(pid, 0)).toBe(true)
    await upstreams.close()
    expect(upstreams.health().raw).toEqual({ state: 'closed' })
    expect(() => process.kill(pid, 0)).toThrow('ESRCH')
    expect(await call(upstreams, 'env')).toMatchObject({ failure: { sent: false } })
  })
})

test('a child that ignores the end of its input is ended all the same', async () => {
  const upstreams = await start(rawStdio('stubborn'))
  const pid = Number(await textFrom(upstreams, 'pid'))
  await upstreams.close()
  expect(() => process.kill(pid, 0)).toThrow('ESRCH')
})

describe('an HTTP upstream', () => {
  async function serve(handle: import('node:http').RequestListener): Promise<string> {
    const server = createServer(handle)
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    onTestFinished(() => closeServer(server))
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`
  }

  test('a redirect is not followed: its headers are for this origin only', async () => {
    const seen: unknown[] = []
    const target = await serve((req, res) => {
      seen.push(req.headers)
      res.end()
    })
    const url = await serve((_req, res) => res.writeHead(307, { location: target }).end())
    const headers = { authorization: 'Bearer upstream-secret' }
    const upstreams = await start({ kind: 'http', url, headers })
    expect(upstreams.health().raw?.state).not.toBe('up')
    expect(seen).toEqual([])
  })

  test('one that is down is tried again, and takes calls when it is up', async () => {
    const upstreams = await start({ kind: 'http', url: 'http://127.0.0.1:9/mcp' })
    expect(upstreams.health().raw?.state).toBe('starting')
    expect(await call(upstreams, 'x')).toMatchObject({
      failure: { why: 'unavailable', sent: false },
    })
  })

  /** Answers everything but calls, and hands those out. */
  function answering(onCall: (req: IncomingMessage, res: ServerResponse, id: number) => void) {
    return serve((req, res) => {
      let body = ''
      req.on('data', (chunk) => {
        body += chunk
      })
      req.on('end', () => {
        const { id, method } = JSON.parse(body)
        if (method === 'tools/call') return onCall(req, res, id)
        const tools = method === 'tools/list' ? { tools: [] } : {}
        const discovered = { supportedVersions: ['2026-07-28'], capabilities: { tools: {} } }
        const result = { resultType: 'complete', ...tools, ...discovered }
        res.setHeader('content-type', 'application/json')
        res.end(JSON.stringify({ jsonrpc: '2.0', id, result }))
      })
    })
  }

  test('threat 39: a connection lost after sending is an unknown outcome', async () => {
    const url = await answering((req) => void req.socket.destroy())
    const upstreams = await start({ kind: 'http', url })
    expect(upstreams.health().raw).toMatchObject({ state: 'up', version: '2026-07-28' })
    expect(await call(upstreams, 'x')).toMatchObject({
      failure: { why: 'disconnected', sent: true },
    })
  })

  test('threat 39: a call that has left is unknown, also when its link is closed', async () => {
    let held = 0
    const url = await answering(() => {
      held++
    })
    const upstreams = await start({ kind: 'http', url })
    const slow = call(upstreams, 'x')
    await expect.poll(() => held).toBe(1)
    await upstreams.close()
    expect(await slow).toMatchObject({ failure: { sent: true } })
  })

  test.each([303, 408])('threat 39: after HTTP %i nobody knows', async (status) => {
    const url = await answering((_, res) => void res.writeHead(status).end())
    const upstreams = await start({ kind: 'http', url })
    expect(await call(upstreams, 'x')).toMatchObject({ failure: { sent: true, status } })
  })

  test('what an upstream asks is answered however many calls wait for it', async () => {
    const waiting: ServerResponse[] = []
    let answered = 0
    const url = await serve((req, res) => {
      let body = ''
      req.on('data', (chunk) => {
        body += chunk
      })
      req.on('end', () => {
        res.setHeader('content-type', 'application/json')
        if (req.method !== 'POST') return void res.writeHead(405).end()
        const { id, method } = JSON.parse(body)
        const reply = (result: object) => res.end(JSON.stringify({ jsonrpc: '2.0', id, result }))
        if (method === undefined) {
          answered++
          res.writeHead(202).end()
        } else if (method === 'tools/call') {
          res.setHeader('content-type', 'text/event-stream')
          const ask = { jsonrpc: '2.0', id: waiting.push(res), method: 'ping' }
          res.write(`data: ${JSON.stringify(ask)}\n\n`)
        } else if (method === 'initialize') {
          const serverInfo = { name: 'asks', version: '1' }
          reply({ protocolVersion: '2025-11-25', capabilities: { tools: {} }, serverInfo })
        } else if (method === 'tools/list') reply({ tools: [] })
        else res.writeHead(id === undefined ? 202 : 404).end()
      })
    })
    const upstream = (await start({ kind: 'http', url })).get('raw')!
    const abort = new AbortController()
    const calls = Array.from({ length: 128 }, () =>
      upstream.call('tools/call', { name: 'x' }, { signal: abort.signal }),
    )
    await expect.poll(() => answered, { timeout: 10_000 }).toBe(128)
    abort.abort()
    await Promise.all(calls)
  })

  test('threat 61: what waits for a connection is not sent once the lease is over', async () => {
    const held: (() => void)[] = []
    const url = await answering((_, res, id) => {
      res.setHeader('content-type', 'application/json')
      held.push(() => res.end(JSON.stringify({ jsonrpc: '2.0', id, result: {} })))
    })
    const upstream = (await start({ kind: 'http', url })).get('raw')!
    let isOver = false
    const abort = new AbortController()
    const request = (more: object) => upstream.call('tools/call', { name: 'x' }, more)
    const first = Array.from({ length: 128 }, () => request({}))
    await expect.poll(() => held.length).toBe(128)
    const cancelled = request({ signal: abort.signal })
    const late = request({ isOver: () => isOver })
    const kept = request({})
    abort.abort()
    expect(await cancelled).toMatchObject({ failure: { why: 'cancelled', sent: false } })
    isOver = true
    for (const answer of held.splice(0)) answer()
    await Promise.all(first)
    expect(await late).toMatchObject({ failure: { why: 'cancelled', sent: false } })
    await expect.poll(() => held.length).toBe(1)
    held[0]!()
    expect(await kept).toHaveProperty('result')
  })
})

test('secrets of an upstream do not show when it is inspected or serialised', async () => {
  const env = { TOKEN: 'sekrit-env' }
  const headers = { authorization: 'Bearer sekrit-header' }
  const upstreams = new Upstreams(
    { a: rawStdio('', { env }), b: { kind: 'http', url: 'http://127.0.0.1:9/', headers } },
    { client: INFO },
  )
  const shown = inspect([upstreams, upstreams.get('a'), upstreams.get('b')], { depth: 10 })
  expect(shown + JSON.stringify([upstreams, upstreams.get('a')])).not.toContain('sekrit')
})

test('threat 31: a server name that could be confused with another is refused', () => {
  for (const name of ['Git', 'gіt', 'git.hub', '', 'g t', '9p', 'git_', `a${'b'.repeat(32)}`]) {
    expect(() => new Upstreams({ [name]: rawStdio() }, { client: INFO })).toThrow(/cannot name/)
  }
})
