import { decodeJwt, decodeProtectedHeader } from 'jose'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { newId } from '../../src/runs/new-id.ts'
import { Verifier } from '../../src/verify/index.ts'
import { type Badged, MAINTAINER, until } from '../door/support/house.ts'
import {
  callByHand,
  callsIn,
  KINDS,
  openTraffic,
  RECORDERS,
  type Recorder,
  type Traffic,
} from './support-envelope.ts'

let traffic: Traffic
let opened: Badged
let ahead = 0
beforeAll(async () => {
  traffic = await openTraffic({ clock: () => Date.now() + ahead })
  opened = await traffic.open()
})
afterAll(() => traffic[Symbol.asyncDispose]())

const ERAS = ['modern', 'legacy'] as const
const WAYS = KINDS.flatMap((server) => ERAS.map((era) => [server, era] as const))
const planOf = (server: Recorder) => ({ [RECORDERS[server].argument]: 'plan' })
const nameOf = (server: Recorder) => `${server}.${RECORDERS[server].tool}`

/** A call that is allowed, and the token that arrived with it. */
async function tokenOf(server: Recorder, badged: Badged, args = planOf(server)): Promise<string> {
  const call = { badge: badged.badge, name: nameOf(server), args }
  expect(await callByHand(traffic.house, 'modern', call)).toContain('plan')
  const { header, inMeta } = callsIn(traffic.received(server)).at(-1)!
  return (header ?? inMeta) as string
}

describe('what arrives', () => {
  test.each(WAYS)('%s, from a %s client: one token, where it belongs', async (server, era) => {
    const before = callsIn(traffic.received(server)).length
    const call = { badge: opened.badge, name: nameOf(server), args: planOf(server) }
    expect(await callByHand(traffic.house, era, call)).toContain('plan')
    const calls = callsIn(traffic.received(server)).slice(before)
    expect(calls).toHaveLength(1)
    const { header, inMeta } = calls[0]!
    const isHttp = server.startsWith('http')
    expect([typeof header, typeof inMeta]).toEqual(
      isHttp ? ['string', 'undefined'] : ['undefined', 'string'],
    )
    const issuer = traffic.house.daypass.url
    const audience =
      server === 'http-modern'
        ? traffic.url
        : (decodeJwt((header ?? inMeta) as string).aud as string)
    if (!isHttp) expect(audience).toBe(server)
    const verified = await new Verifier({ issuer, audience }).verify(header ?? inMeta)
    expect(verified).toMatchObject({ ok: true, value: { run: opened.run, tool: nameOf(server) } })
  })

  test('its claims', async () => {
    const token = await tokenOf('http-modern', opened)
    const { url, keys } = traffic.house.daypass
    const { lease, envelope } = await traffic.house.run(opened)
    expect(decodeProtectedHeader(token)).toEqual({
      ...{ typ: 'txntoken+jwt', alg: 'EdDSA', kid: keys.signing.kid },
    })
    const { iat, exp, txn, ...claims } = decodeJwt(token)
    expect(exp! - iat!).toBe(60)
    const entries = await traffic.house.entries(opened)
    const allowed = entries.findLast((entry) => entry.type === 'call.allowed')!
    expect(txn).toBe(allowed.command.call)
    expect(claims).toEqual({
      iss: url,
      aud: traffic.url,
      sub: MAINTAINER.person,
      scope: 'note.read',
      req_wl: `${url}/mcp`,
      tctx: {
        ...{ org: opened.org, tree: opened.tree, run: opened.run, parents: [] },
        ...{ lease: lease!.id, revision: 1, lease_expires_at: lease!.expiresAt },
        ...{ agent: envelope.agent, purpose: envelope.purpose, tool: 'http-modern.echo' },
        approval: { lease: { person: MAINTAINER.person }, ask: null },
        touches: [
          { action: 'note.read', effect: 'read', resources: { notes: ['plan'] }, within: {} },
        ],
      },
      rctx: { client: null },
    })
  })

  test('it does not outlive the lease', async () => {
    const short = await traffic.open({ expiresInSeconds: 20 })
    const { exp } = decodeJwt(await tokenOf('http-modern', short))
    const { lease } = await traffic.house.run(short)
    expect(exp).toBe(Math.floor(lease!.expiresAt! / 1000))
  })

  test('it names the approval of the call', async () => {
    const asking = await traffic.open({ ask: ['note.read'] })
    const { authority } = traffic.house.daypass
    const asks = async () => [...(await authority.find(asking.run))!.tree.asks.values()]
    const arriving = tokenOf('stdio-legacy', asking)
    await until(async () => (await asks()).length === 1, 'a person is asked')
    const { id: ask, binding } = (await asks())[0]!
    const answer = { do: 'approve_call', ask, by: MAINTAINER, binding, proof: null } as const
    expect((await authority.command(asking.run, answer)).ok).toBe(true)
    const { approval } = decodeJwt(await arriving).tctx as { approval: unknown }
    const { person } = MAINTAINER
    expect(approval).toEqual({ lease: { person }, ask: { id: ask, person } })
  })

  test("a subagent's names the runs above it, and who approved there", async () => {
    const parent = await traffic.open({ delegate: { maxDepth: 1, maxChildren: 1, ask: false } })
    const { runs, authority } = traffic.house.daypass
    const { lease, envelope } = await traffic.house.run(parent)
    const [run, own] = [newId('run'), newId('lease')] as [`run_${string}`, `lease_${string}`]
    const terms = { ...lease!.terms, delegate: null, maxToolCalls: 2, expiresInSeconds: 60 }
    const reply = await runs.execute(parent, {
      ...{ do: 'delegate', parent: parent.run, run, lease: own, terms, rule: lease!.rule },
      ...{ promptHash: lease!.promptHash, envelope: { ...envelope, purpose: 'a part of it' } },
    })
    expect(reply).toMatchObject({ ok: true })
    const badge = await authority.badge(run)
    if (!badge.ok) throw new Error(badge.error.message)
    const child = { ...parent, run, badge: badge.value }
    expect(decodeJwt(await tokenOf('stdio-modern', child)).tctx).toMatchObject({
      ...{ run, parents: [parent.run], purpose: 'a part of it' },
      approval: { lease: { person: MAINTAINER.person }, ask: null },
    })
  })

  test('a server that does not want it gets none', async () => {
    const call = { badge: opened.badge, name: 'plain.echo', args: { text: 'plan' } }
    for (const era of ERAS) expect(await callByHand(traffic.house, era, call)).toContain('plan')
    const calls = callsIn(traffic.received('plain'))
    expect(calls.map(({ header, inMeta }) => [header, inMeta])).toEqual([
      [undefined, undefined],
      [undefined, undefined],
    ])
  })

  test('what the gateway asks on its own account carries none', () => {
    for (const { headers, body } of traffic.received('http-modern')) {
      if (!body.includes('"tools/call"')) expect(headers['txn-token']).toBeUndefined()
    }
  })
})

describe('threats 44, 66: nothing of what a client says about itself reaches a server', () => {
  const TRACE = {
    traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
    tracestate: 'vendor=value',
  }

  test.each(WAYS)('%s, from a %s client', async (server, era) => {
    const other = await traffic.open()
    const theirs = await tokenOf(server, other)
    const before = traffic.received(server).length
    const said = await callByHand(traffic.house, era, {
      badge: opened.badge,
      name: nameOf(server),
      args: planOf(server),
      headers: {
        ...{ dpop: 'canary-dpop', cookie: 'session=canary-cookie', 'txn-token': theirs },
        'proxy-authorization': 'Basic canary-proxy',
        ...{ 'x-daypass-run': other.run, 'daypass-run': other.run, 'x-run-id': other.run },
        ...{ 'x-forwarded-authorization': 'canary-forwarded' },
      },
      meta: {
        ...{ 'daypass/txn': theirs, 'daypass/run': other.run, 'Daypass/Txn': theirs },
        ...{ Authorization: `Bearer ${opened.badge}`, dpop: 'canary-meta', Cookie: 'canary-meta' },
        ...{ 'Txn-Token': theirs, 'proxy-authorization': 'canary-meta' },
        ...TRACE,
      },
    })
    expect(said).toContain('plan')
    const received = traffic.received(server).slice(before)
    const written = JSON.stringify(received)
    const { operatorToken } = traffic.house.daypass
    for (const secret of ['canary', theirs, other.run, opened.badge, operatorToken]) {
      expect(written).not.toContain(secret)
    }
    const [{ meta, header, inMeta }] = callsIn(received) as [ReturnType<typeof callsIn>[number]]
    expect(decodeJwt((header ?? inMeta) as string).tctx).toMatchObject({ run: opened.run })
    expect(meta).toMatchObject(TRACE)
    const kept = Object.keys(meta).filter((key) => !key.startsWith('io.modelcontextprotocol/'))
    const ours = inMeta === undefined ? [] : ['daypass/txn']
    expect(kept.sort()).toEqual([...ours, 'progressToken', ...Object.keys(TRACE)].sort())
  })

  test('in all that the servers have received there is no badge, of anybody', () => {
    for (const server of [...KINDS, 'plain'] as const) {
      const types = JSON.stringify(traffic.received(server)).match(/eyJ[\w-]+(?=\.)/g) ?? []
      const heads = types.map((head) => JSON.parse(Buffer.from(head, 'base64url').toString()).typ)
      expect(new Set(heads)).toEqual(new Set(server === 'plain' ? [] : [undefined, 'txntoken+jwt']))
    }
  })
})

describe('what a token is good for', () => {
  const ask = async (token: string, question: Record<string, unknown>) => {
    const response = await fetch(`${traffic.house.daypass.url}/access/v1/evaluation`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body: JSON.stringify(question),
    })
    const answer = (await response.json()) as { decision?: unknown; context?: unknown }
    return { ...answer, status: response.status }
  }
  const about = (run: string, more: Record<string, unknown> = {}) => ({
    subject: { type: 'run', id: run },
    action: { name: 'note.read' },
    resource: { type: 'notes', id: 'plan' },
    ...more,
  })

  test('threat 47: it is no badge, and opens nothing', async () => {
    const token = await tokenOf('http-modern', opened)
    const { url } = traffic.house.daypass
    const call = { badge: token, name: nameOf('http-modern'), args: planOf('http-modern') }
    expect(await callByHand(traffic.house, 'modern', call)).toContain('no valid badge')
    for (const path of ['/v1/status', `/v1/runs/${opened.run}`, '/v1/approvals']) {
      expect((await traffic.house.api('GET', path, undefined, token)).status).toBe(401)
    }
    const revoke = { method: 'POST', headers: { authorization: `Bearer ${token}` } }
    expect((await fetch(`${url}/v1/runs/${opened.run}/revoke`, revoke)).status).toBe(401)
  })

  test('asking about its call: while that is under way, however long, and about nothing else', async () => {
    const run = await traffic.open()
    const other = await traffic.open()
    const client = await traffic.house.client(run.badge)
    const abort = new AbortController()
    const slow = client.callTool(
      { name: 'http-modern.slow', arguments: { key: 'plan', ms: 30_000 } },
      { signal: abort.signal },
    )
    const before = callsIn(traffic.received('http-modern')).length
    await until(() => callsIn(traffic.received('http-modern')).length > before, 'it arrives')
    const token = callsIn(traffic.received('http-modern')).at(-1)!.header as string
    const yes = { decision: true, status: 200 }
    const no = (reason: string) => ({ decision: false, context: { reason }, status: 200 })
    expect(await ask(token, about(run.run))).toMatchObject(yes)
    ahead = 5 * 60_000
    expect(await ask(token, about(run.run))).toMatchObject(yes)
    const merge = { action: { name: 'note.shred' } }
    expect(await ask(token, about(run.run, merge))).toMatchObject(no('not_this_call'))
    const elsewhere = { resource: { type: 'notes', id: 'salaries' } }
    expect(await ask(token, about(run.run, elsewhere))).toMatchObject(no('not_this_call'))
    expect(await ask(token, about(other.run))).toMatchObject(no('run_unknown'))
    const another = { context: { txn: 'call_other' } }
    expect(await ask(token, about(run.run, another))).toMatchObject(no('not_this_call'))
    ahead = 61 * 60_000
    expect((await ask(token, about(run.run))).status).toBe(401)
    ahead = 5 * 60_000
    const { authority } = traffic.house.daypass
    const by = MAINTAINER
    await authority.command(run.run, { do: 'suspend', run: run.run, by, reason: 'a look' })
    expect(await ask(token, about(run.run))).toMatchObject(no('lease_suspended'))
    await authority.command(run.run, { do: 'resume', run: run.run, by })
    expect(await ask(token, about(run.run))).toMatchObject(yes)
    abort.abort()
    await slow.catch(() => {})
    const isOver = async () => (await ask(token, about(run.run))).decision === false
    await until(isOver, 'the call is over')
    expect(await ask(token, about(run.run))).toMatchObject(no('call_over'))
    await authority.revoke(run.run, { by, reason: 'enough' })
    expect(await ask(token, about(run.run))).toMatchObject(no('lease_ended'))
    ahead = 0
  })
})
