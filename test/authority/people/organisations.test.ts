import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ENDPOINTS } from '../../../src/authority/api/endpoints.ts'
import { issueBadge } from '../../../src/badge/badge.ts'
import type { Json, RunId, TreeId } from '../../../src/core/id.ts'
import { Browser, type CompanyIdp, type Site, signInAt, startIdp, startSite } from './support.ts'

/*
 * Two organisations on one server, by trying. The intruder has every role of their own organisation
 * and even the same e-mail address as the victim.
 */

const RULES = `  roles:
    claim: groups
    map: { requester: [all], approver: [all], auditor: [all], admin: [all] }
  org:
    claim: tenant
    map: { T-1: acme, T-2: globex }
`
const MIRA = { email: 'mira@clord.example', email_verified: true, groups: ['all'] }
const PURPOSE = 'merge with initech, which nobody must know'
const LEASE = {
  agent: 'repo-maintenance-agent',
  purpose: PURPOSE,
  user: MIRA.email,
  resources: { repos: ['initech-takeover'] },
  actions: ['repo.read'],
  ask: ['repo.push'],
  delegate: { max_depth: 1, max_children: 2 },
  expires_in: '30m',
  max_tool_calls: 30,
}
const TOUCH = {
  ...{ effect: 'read', reversible: true, within: {}, hosts: [] },
  resources: { repos: ['initech-takeover'] },
}

let idp: CompanyIdp
let site: Site
let acme: Browser
let globex: Browser
beforeAll(async () => {
  idp = await startIdp(RULES)
  site = await startSite(idp.yaml)
  idp.serve(site.url, { one: { ...MIRA, tenant: 'T-1' }, two: { ...MIRA, tenant: 'T-2' } })
  acme = new Browser()
  globex = new Browser()
  expect((await signInAt(site, acme, 'one')).text).toContain('<dd>acme</dd>')
  expect((await signInAt(site, globex, 'two')).text).toContain('<dd>globex</dd>')
})
afterAll(async () => {
  await site.stop()
  await idp.down()
})

type Body = Record<string, unknown>

async function ask(who: Browser, method: string, path: string, body?: Body) {
  const response = await who.api(site, method.toUpperCase(), path, body)
  const text = await response.text()
  return { status: response.status, text, body: JSON.parse(text) }
}

async function must(who: Browser, path: string, body: Body) {
  const answer = await ask(who, 'POST', path, body)
  if (answer.status > 201) throw new Error(`${path}: ${answer.text}`)
  return answer.body
}

interface Opened {
  readonly run: RunId
  readonly tree: TreeId
  readonly promptHash: string
  readonly badge: string
}

async function openRun(who: Browser, lease: Body = LEASE): Promise<Opened> {
  const opened = await must(who, '/v1/runs', { lease })
  const { run, promptHash } = opened
  await must(who, `/v1/runs/${run}/approve`, { promptHash })
  const { badge } = await must(who, `/v1/runs/${run}/badge`, {})
  return { ...opened, badge }
}

/** A run of acme with something of every kind in it: a call, an ask, a denial, an escalation. */
async function busyRun() {
  const opened = await openRun(acme)
  const call = (key: string, action: string, repo = 'initech-takeover') =>
    must(acme, `/v1/runs/${opened.run}/calls`, {
      ...{ key, tool: 'shop.use' },
      touches: [{ ...TOUCH, action, resources: { repos: [repo] } }],
    })
  const began = await call('1', 'repo.read')
  const asked = await call('2', 'repo.push')
  await call('3', 'repo.read', 'elsewhere')
  const { escalation } = await must(acme, `/v1/runs/${opened.run}/escalations`, {
    more: { calls: 1, seconds: 0 },
  })
  return { ...opened, call: began.call, ask: asked.ask, escalation }
}

/** What would succeed, or fail otherwise than by 404, if the run were the caller's own. */
function bodiesOf(run: { promptHash: string }): Record<string, Body> {
  return {
    approveRun: { promptHash: run.promptHash },
    approveAsk: { binding: 'a'.repeat(64) },
    approveEscalation: { offer: [] },
    resolveCall: { happened: true },
    settleCall: { outcome: 'succeeded' },
    beginCall: { key: 'x', tool: 'shop.use', touches: [{ ...TOUCH, action: 'repo.read' }] },
    delegateRun: { lease: { ...LEASE, actions: ['repo.read'], max_tool_calls: 1 } },
    escalateRun: { more: { calls: 1, seconds: 0 } },
  }
}

const endpoints = Object.entries(ENDPOINTS).map(([id, each]) => ({ id, ...each }))
const ofRuns = endpoints.filter(({ path }) => path.includes('{run}'))

describe('every endpoint about a run', () => {
  test('there are as many as are tried', () => expect(ofRuns.length).toBeGreaterThan(20))

  test.each(ofRuns)('$id does not know the run of another organisation', async (endpoint) => {
    const { id, method, path } = endpoint
    const run = await busyRun()
    const place = path.replaceAll(/\{(\w+)\}/g, (_, name) => run[name as 'run'])
    const body = method === 'post' ? (bodiesOf(run)[id] ?? {}) : undefined
    const before = await ask(acme, 'GET', `/v1/runs/${run.run}/entries`)
    const answer = await ask(globex, method, place, body)
    expect([answer.status, answer.body.title]).toEqual([404, 'run_unknown'])
    for (const secret of [run.tree, PURPOSE, 'initech', 'acme']) {
      expect(answer.text).not.toContain(secret)
    }
    const after = await ask(acme, 'GET', `/v1/runs/${run.run}/entries`)
    expect(after.body).toEqual(before.body)
    // The same request is understood from the run's own people: what was refused is who asked.
    if (endpoint.id === 'streamEvents') return
    expect((await ask(acme, method, place, body)).body.title).not.toBe('run_unknown')
  })
})

describe('what is listed', () => {
  test('is of the own organisation only, by every filter', async () => {
    const run = await busyRun()
    const lists = [
      ...['/v1/runs', '/v1/runs?open=true', '/v1/trees', '/v1/approvals', '/v1/locks'],
      ...[`/v1/runs?requester=${MIRA.email}`, `/v1/runs?agent=${LEASE.agent}`],
      ...['/v1/runs?action=repo.read', '/v1/runs?since=0', '/v1/runs?state=active'],
    ]
    for (const path of lists) {
      const { status, text } = await ask(globex, 'GET', path)
      expect(status).toBe(200)
      for (const secret of [run.run, run.tree, PURPOSE, 'initech'])
        expect(text).not.toContain(secret)
      const own = await ask(acme, 'GET', path)
      if (path !== '/v1/locks') expect(own.text).toContain(run.run)
    }
  })

  test('goes on by a cursor of one organisation into no other', async () => {
    await busyRun()
    await busyRun()
    const first = await ask(acme, 'GET', '/v1/runs?limit=1')
    expect(first.body.next).not.toBeNull()
    const path = `/v1/runs?limit=1&cursor=${encodeURIComponent(first.body.next)}`
    expect((await ask(globex, 'GET', path)).text).not.toContain('initech')
    expect((await ask(acme, 'GET', path)).text).toContain('initech')
  })
})

describe('what is done to everything', () => {
  test('is done to the own organisation: runs live on, and open, in the other one', async () => {
    const run = await busyRun()
    const mine = await openRun(globex, { ...LEASE, purpose: 'something else' })
    const scope = { everything: true }
    const { revoked } = await must(globex, '/v1/revocations', { scope, keepLocked: true })
    expect(revoked).toContain(mine.run)
    expect(revoked).not.toContain(run.run)
    const own = await ask(acme, 'GET', `/v1/runs/${run.run}`)
    expect(own.body.run.state).toBe('active')
    expect((await openRun(acme)).badge).toContain('.')
    expect((await ask(globex, 'POST', '/v1/runs', { lease: LEASE })).status).toBe(409)
    const { items } = (await ask(acme, 'GET', '/v1/locks')).body
    expect(items).toEqual([])
    const [lock] = (await ask(globex, 'GET', '/v1/locks')).body.items
    expect((await ask(acme, 'DELETE', `/v1/locks/${lock.id}`)).status).toBe(404)
    expect((await ask(globex, 'DELETE', `/v1/locks/${lock.id}`)).status).toBe(200)
  })

  test('by name, where people and agents of both have the same', async () => {
    const run = await busyRun()
    for (const scope of [
      { requester: MIRA.email },
      { agent: LEASE.agent },
      { run: run.run },
      { tree: run.tree },
    ]) {
      const answer = await ask(globex, 'POST', '/v1/revocations', { scope })
      expect(answer.body.revoked ?? []).not.toContain(run.run)
    }
    expect((await ask(acme, 'GET', `/v1/runs/${run.run}`)).body.run.state).toBe('active')
  })
})

describe('an agent', () => {
  test('reads its own run with its badge, and none of another organisation', async () => {
    const run = await busyRun()
    const other = await openRun(globex, { ...LEASE, purpose: 'something else' })
    const read = (badge: string, of: RunId) =>
      fetch(`${site.url}/v1/runs/${of}`, { headers: { authorization: `Bearer ${badge}` } })
    expect((await read(other.badge, other.run)).status).toBe(200)
    expect((await read(other.badge, run.run)).status).toBe(404)
    expect((await read(run.badge, other.run)).status).toBe(404)
  })

  /** A call at the gateway; nothing stands behind it, so the call is denied and recorded. */
  async function callTool(badge: string) {
    const response = await fetch(`${site.url}/mcp`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${badge}`,
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
        'mcp-protocol-version': '2026-07-28',
        'mcp-method': 'tools/call',
        'mcp-name': 'shop.buy',
      },
      body: JSON.stringify({
        ...{ jsonrpc: '2.0', id: 1, method: 'tools/call' },
        params: {
          name: 'shop.buy',
          arguments: {},
          _meta: {
            'io.modelcontextprotocol/protocolVersion': '2026-07-28',
            'io.modelcontextprotocol/clientInfo': { name: 'test', version: '1' },
            'io.modelcontextprotocol/clientCapabilities': {},
          },
        },
      }),
    })
    return { status: response.status, text: await response.text() }
  }

  test('leaves what it does at the gateway in the ledger of its own organisation', async () => {
    const run = await openRun(acme)
    const other = await openRun(globex, { ...LEASE, purpose: 'something else' })
    const lengths = async () => [
      (await site.daypass.authorities.of('acme').entries({ org: 'acme', tree: run.tree })).length,
      (await site.daypass.authorities.of('globex').entries({ org: 'globex', tree: other.tree }))
        .length,
    ]
    const [before, otherBefore] = await lengths()
    const answer = await callTool(other.badge)
    expect(answer.status).toBe(200)
    const [after, otherAfter] = await lengths()
    expect(after).toBe(before)
    expect(otherAfter).toBeGreaterThan(otherBefore!)
  })

  test('threat 28: a badge that puts a run into another organisation is nobody', async () => {
    const run = await openRun(acme)
    const { daypass, url } = site
    const now = Date.now()
    const claims = {
      ...{ tree: run.tree, run: run.run, requester: MIRA.email, agent: LEASE.agent },
      ...{ client: LEASE.agent, above: [], jkt: null, details: null },
      lease: (await daypass.authorities.of('acme').find(run.run))!.run.lease!.id,
      issuedAt: now,
      expiresAt: now + 60_000,
    }
    const forge = (org: string) =>
      issueBadge(
        { ...claims, org } as never,
        {
          ...{ key: daypass.keys.signing, issuer: url, audience: `${url}/mcp`, now },
          jti: 'badge_x',
        } as never,
      )
    // Even one that we had signed ourselves.
    for (const org of ['globex', 'local', '', 'ACME', 'acme\u0000']) {
      const badge = await forge(org)
      expect((await callTool(badge)).status).toBe(401)
      const headers = { authorization: `Bearer ${badge}` }
      expect((await fetch(`${url}/v1/runs`, { headers })).status).toBe(401)
    }
    expect((await callTool(await forge('acme'))).status).toBe(200)
  })
})

describe('the decision point', () => {
  const question = (run: RunId): Body => ({
    subject: { type: 'run', id: run },
    action: { name: 'repo.read' },
    resource: { type: 'repos', id: 'initech-takeover' },
  })

  test('tells nobody of another organisation whether a run may do something', async () => {
    const run = await openRun(acme)
    const own = await ask(acme, 'POST', '/access/v1/evaluation', question(run.run))
    expect(own.body.decision).toBe(true)
    const other = await ask(globex, 'POST', '/access/v1/evaluation', question(run.run))
    expect(other.body.decision).toBe(false)
    const unknown = await ask(
      globex,
      'POST',
      '/access/v1/evaluation',
      question('run_00000000000000000000'),
    )
    const without = (text: string, id: string) => text.replaceAll(id, 'ID')
    // Not even that there is such a run.
    expect(without(other.text, run.run)).toBe(without(unknown.text, 'run_00000000000000000000'))
  })
})

describe('what belongs to an organisation beside its runs', () => {
  test('prompts, receipts, names of runs and salts', async () => {
    const { authorities, desks } = site.daypass
    const run = await openRun(acme)
    await must(acme, `/v1/runs/${run.run}/end`, {})
    const key = { org: 'acme', tree: run.tree }
    await authorities.of('acme').close(key)
    const stolen = { org: 'globex', tree: run.tree }
    const theirs = authorities.of('globex')
    expect(await authorities.of('acme').prompt(run.promptHash)).not.toBeNull()
    expect(await theirs.prompt(run.promptHash)).toBeNull()
    expect(await authorities.of('acme').receipt(key)).not.toBeNull()
    expect(await theirs.entries(stolen)).toEqual([])
    expect(await theirs.find(run.run)).toBeNull()
    expect(await theirs.receipt(stolen)).toBeNull()
    const salt = await desks.salt(key)
    expect(await desks.salt(key)).toBe(salt)
    expect(await desks.salt(stolen)).not.toBe(salt)
  })

  test('keys of requests that come twice: the same key is another request elsewhere', async () => {
    const run = async (who: Browser): Promise<Json> => {
      const response = await fetch(`${site.url}/v1/runs`, {
        method: 'POST',
        headers: {
          cookie: [...who.cookies].map((pair) => pair.join('=')).join('; '),
          origin: site.url,
          'content-type': 'application/json',
          'idempotency-key': 'the-same-key',
        },
        body: JSON.stringify({ lease: LEASE }),
      })
      expect(response.status).toBe(201)
      return ((await response.json()) as { run: string }).run
    }
    const mine = await run(acme)
    expect(await run(acme)).toBe(mine)
    expect(await run(globex)).not.toBe(mine)
  })

  test('what all share is changed by none of them', async () => {
    const pin = { hash: 'a'.repeat(64) }
    for (const who of [acme, globex]) {
      const no = await ask(who, 'POST', '/v1/catalog/shop/buy/pin', pin)
      expect([no.status, no.body.title]).toEqual([403, 'role_missing'])
      const { body } = await ask(who, 'GET', '/v1/status')
      expect(Object.keys(body)).toEqual(['version', 'now', 'key'])
    }
    const authorization = `Bearer ${site.daypass.operatorToken}`
    const headers = { authorization, 'content-type': 'application/json' }
    const url = `${site.url}/v1/catalog/shop/buy/pin`
    const operator = await fetch(url, { method: 'POST', headers, body: JSON.stringify(pin) })
    expect(operator.status).toBe(404)
  })

  test('the installation as a whole is no organisation', () => {
    expect(() => site.daypass.authorities.of('')).toThrow('no runs')
  })
})
