import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Hono } from 'hono'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  type Envelope,
  envelopeOf,
  fetchGuard,
  guardTool,
  honoGuard,
  nodeGuard,
  Verifier,
} from '../../src/verify/index.ts'
import { AUDIENCE, type Issuer, startIssuer } from './support.ts'

let issuer: Issuer
let verifier: Verifier
beforeAll(async () => {
  issuer = await startIssuer()
  verifier = new Verifier({ issuer: issuer.url, audience: AUDIENCE })
})
afterAll(() => issuer[Symbol.asyncDispose]())

type Ask = (headers: Record<string, string>) => Promise<Response>

/** A service on `node:http` behind the guard. */
async function onNode(ask: (fetchIt: Ask) => Promise<void>): Promise<void> {
  const guard = nodeGuard(verifier)
  const server = createServer((req, res) =>
    guard(req, res, () => res.end(`for ${envelopeOf(req).run}`)),
  ).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  await ask((headers) => fetch(`http://127.0.0.1:${port}/`, { headers }))
  server.closeAllConnections()
  server.close()
}

const app = () =>
  new Hono().use(honoGuard(verifier)).get('/', (c) => c.text(`for ${envelopeOf(c.req.raw).run}`))

const SERVICES: readonly [string, (ask: (fetchIt: Ask) => Promise<void>) => Promise<void>][] = [
  ['node:http', onNode],
  ['Hono', (ask) => ask(async (headers) => app().request('/', { headers }))],
  [
    'fetch',
    (ask) =>
      ask(async (headers) => {
        const request = new Request('http://service.example/', { headers })
        const refused = await fetchGuard(verifier)(request)
        return refused ?? new Response(`for ${envelopeOf(request).run}`)
      }),
  ],
]

describe.each(SERVICES)('a service on %s', (_, serve) => {
  test('serves who has a token, and nobody else', () =>
    serve(async (ask) => {
      const served = await ask({ 'Txn-Token': issuer.sign() })
      expect([served.status, await served.text()]).toEqual([200, 'for run_1'])
      const cases = [
        [{}, 'missing'],
        [{ authorization: `Bearer ${issuer.sign()}` }, 'missing'],
        [{ 'txn-token': 'x' }, 'malformed'],
        [{ 'txn-token': issuer.sign({}, 'another') }, 'other_audience'],
      ] as [Record<string, string>, string][]
      for (const [headers, reason] of cases) {
        const refused = await ask(headers)
        expect(refused.status).toBe(401)
        expect(refused.headers.get('content-type')).toBe('application/problem+json')
        expect(await refused.json()).toMatchObject({ status: 401, reason })
      }
    }))
})

test('there is no envelope without a guard', () => {
  expect(() => envelopeOf(new Request('http://service.example/'))).toThrow(TypeError)
})

describe('a tool', () => {
  const call = async (
    needs: () => { action: string; type: string; id: string }[],
    ctx: Parameters<ReturnType<typeof guardTool>>[1],
  ) => {
    let ran: Envelope | null = null
    const tool = guardTool(verifier, needs, (_args: object, _ctx: typeof ctx, envelope) => {
      ran = envelope
      return { content: [] }
    })
    const { content } = (await tool({}, ctx)) as { content: { text: string }[] }
    return { ran: ran !== null, text: content[0]?.text ?? '' }
  }
  const read = (id: string) => ({ action: 'note.read', type: 'notes', id })
  const overStdio = () => ({ mcpReq: { _meta: { 'daypass/txn': issuer.sign() } } })

  test('takes the token from where the gateway puts it', async () => {
    issuer.answer = (_, res) => res.end('{"decision":true}')
    expect(await call(() => [read('plan')], overStdio())).toEqual({ ran: true, text: '' })
    const headers = { 'txn-token': issuer.sign() }
    const req = new Request('http://tool.example/mcp', { headers })
    expect((await call(() => [read('plan')], { mcpReq: {}, http: { req } })).ran).toBe(true)
    // Over HTTP the header counts, and nothing that the body says beside it.
    const bare = { ...overStdio(), http: { req: new Request('http://tool.example/mcp') } }
    expect(await call(() => [read('plan')], bare)).toMatchObject({ ran: false })
  })

  test('needs every need', async () => {
    issuer.answer = async (req, res) => {
      let body = ''
      for await (const chunk of req) body += chunk
      res.end(JSON.stringify({ decision: JSON.parse(body).resource.id !== 'salaries' }))
    }
    expect((await call(() => [read('plan'), read('draft')], overStdio())).ran).toBe(true)
    const refused = await call(() => [read('plan'), read('salaries')], overStdio())
    expect(refused).toMatchObject({ ran: false })
    expect(refused.text).toContain('`salaries`')
  })

  test('that cannot say what it needs does nothing', async () => {
    issuer.answer = (_, res) => res.end('{"decision":true}')
    const broken = () => {
      throw new Error('no such note: canary')
    }
    for (const needs of [() => [], broken]) {
      const refused = await call(needs, overStdio())
      expect(refused).toMatchObject({ ran: false })
      expect(refused.text).toContain('(unresolved)')
      expect(refused.text).not.toContain('canary')
    }
  })
})
