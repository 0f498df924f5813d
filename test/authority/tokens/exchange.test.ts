import { decodeJwt } from 'jose'
import * as oauth from 'oauth4webapi'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { exchange as ownExchange } from '../../../src/authority/oauth/exchange.ts'
import type { Terms } from '../../../src/core/lease.ts'
import { type Badged, type House, MAINTAINER, openHouse, read } from '../../door/support/house.ts'
import { ACCESS_TOKEN, BARE, discover, EXCHANGE, exchange, refused, token } from './support.ts'

let house: House
let as: oauth.AuthorizationServer
beforeAll(async () => {
  house = await openHouse()
  as = await discover(house)
})
afterAll(() => house[Symbol.asyncDispose]())

const DELEGATE = { maxDepth: 2, maxChildren: 8, ask: false }

function openParent(more: Partial<Terms> = {}): Promise<Badged> {
  return house.open({ delegate: DELEGATE, ...more })
}

const READING = {
  purpose: 'read the changelog',
  agent: 'reader',
  actions: ['repo.read'],
  resources: { repos: ['clord'] },
  max_tool_calls: 3,
}

async function reads(badge: string): Promise<string> {
  const client = await house.client(badge)
  return read(await client.callTool({ name: 'shop.read', arguments: { repo: 'clord' } })).text
}

describe('an exchange', () => {
  test('gives a child of the run with the narrower lease, and names the chain', async () => {
    const parent = await openParent()
    const answer = await exchange(as, parent.badge, READING)
    expect(answer).toMatchObject({ token_type: 'bearer', issued_token_type: ACCESS_TOKEN })
    expect(answer.expires_in).toBeGreaterThan(1700)
    expect(answer.expires_in).toBeLessThanOrEqual(1800)
    const claims = decodeJwt(answer.access_token)
    const child = claims.run as Badged['run']
    expect(claims).toMatchObject({
      aud: `${house.daypass.url}/mcp`,
      sub: MAINTAINER.person,
      client_id: 'reader',
      tree: parent.tree,
      act: { sub: 'reader', run: child, act: { sub: 'repo-maintenance-agent', run: parent.run } },
    })
    expect(answer.authorization_details).toMatchObject([
      { type: 'daypass_lease', run: child, actions: ['repo.read'], purpose: 'read the changelog' },
    ])
    expect(await reads(answer.access_token)).toContain('read clord')
    const found = await house.daypass.authority.find(child)
    expect(found!.run).toMatchObject({ parent: parent.run, lease: { spent: { calls: 1 } } })
    // What a person reads of it says whose it is.
    const labels = found!.run.lease!.terms.labels
    expect(labels.delegated_by).toBe(`repo-maintenance-agent, ${parent.run}`)
  })

  test('goes on to a grandchild, as far as the lease lets it', async () => {
    const parent = await openParent()
    const delegate = { max_depth: 1, max_children: 1, ask: false }
    const child = await exchange(as, parent.badge, { ...READING, delegate })
    const grandchild = await exchange(as, child.access_token, { ...READING, max_tool_calls: 2 })
    expect(decodeJwt(grandchild.access_token).act).toMatchObject({
      act: { run: decodeJwt(child.access_token).run, act: { run: parent.run } },
    })
    const further = exchange(as, grandchild.access_token, { ...READING, max_tool_calls: 1 })
    expect(await refused(further)).toMatchObject({
      error: 'access_denied',
      reason: 'cannot_delegate',
    })
  })

  test('carries over what restricts the parent', async () => {
    const parent = await openParent({
      ...{ deny: ['secret.read'], ask: ['pull_request.create'], onExceed: 'suspend' },
    })
    const answer = await exchange(as, parent.badge, READING)
    const child = decodeJwt(answer.access_token).run as Badged['run']
    const { terms } = (await house.daypass.authority.find(child))!.run.lease!
    expect(terms.deny).toContain('secret.read')
    expect(terms.ask).toContain('pull_request.create')
    expect(terms).toMatchObject({ onExceed: 'suspend', user: MAINTAINER.person })
  })
})

describe('threat 51: nothing wider comes of an exchange; the error says in which dimension', () => {
  const cases: [string, Record<string, unknown>, string][] = [
    ['grants', { actions: ['issue.create'] }, 'grants'],
    ['grants', { resources: { repos: ['other'] } }, 'grants'],
    ['grants', { resources: { repos: ['*'] } }, 'grants'],
    ['max_tool_calls', { max_tool_calls: 31 }, 'max_tool_calls'],
    ['max_tool_calls', { max_tool_calls: undefined }, 'max_tool_calls'],
    ['expires_in', { expires_in: '31m' }, 'expires_in'],
    ['user', { user: 'eve@clord.example' }, 'user'],
    ['on_exceed', { on_exceed: 'ask' }, 'on_exceed'],
    ['delegate', { delegate: { max_depth: 2, max_children: 1 } }, 'delegate'],
    ['delegate', { delegate: { max_depth: 1, max_children: 9 } }, 'delegate'],
  ]
  test.each(cases)('%s %j', async (_, change, dimension) => {
    const parent = await openParent()
    const entries = (await house.entries(parent)).length
    const answer = await refused(exchange(as, parent.badge, { ...READING, ...change }))
    expect(answer).toMatchObject({ error: 'invalid_authorization_details', reason: 'not_narrower' })
    expect(answer.error_description).toMatch(new RegExp(`^${dimension}: `))
    expect(await house.entries(parent)).toHaveLength(entries)
  })

  test('an identical lease', async () => {
    const { actions, resources } = READING
    const grants = [{ actions, resources, where: {} }]
    const parent = await openParent({ grants, maxToolCalls: 3, expiresInSeconds: 600 })
    const same = { ...READING, expires_in: '10m' }
    const answer = await refused(exchange(as, parent.badge, same))
    expect(answer.error_description).toMatch(/^not_narrower: /)
  })

  test('more than the parent has left', async () => {
    const parent = await openParent({ maxToolCalls: 4 })
    await exchange(as, parent.badge, READING)
    const answer = await refused(exchange(as, parent.badge, READING))
    expect(answer).toMatchObject({
      error: 'invalid_authorization_details',
      reason: 'budget_exceeds_parent',
      error_description: 'the parent has 1 calls left; the subagent wants 3',
    })
  })

  test('a scope beside the lease', async () => {
    const parent = await openParent()
    const params = { scope: 'lease:other' }
    expect(await refused(exchange(as, parent.badge, READING, { params }))).toMatchObject({
      error: 'invalid_scope',
    })
  })
})

describe('is refused', () => {
  test('with a subject token that is none of ours, or over', async () => {
    const parent = await openParent()
    for (const badge of ['x', `${parent.badge.slice(0, -6)}AAAAAA`, house.daypass.operatorToken]) {
      expect(await refused(exchange(as, badge, READING))).toMatchObject({
        error: 'invalid_request',
      })
    }
    await house.daypass.authority.revoke(parent.run, { by: MAINTAINER, reason: 'stop' })
    expect(await refused(exchange(as, parent.badge, READING))).toMatchObject({
      error: 'invalid_grant',
      reason: 'lease_not_active',
    })
  })

  test('where the lease allows no subagents', async () => {
    const { badge } = await house.open()
    expect(await refused(exchange(as, badge, READING))).toMatchObject({
      error: 'access_denied',
      reason: 'cannot_delegate',
    })
  })

  test.each([
    ['an actor token', { actor_token: 'x', actor_token_type: ACCESS_TOKEN }, 'invalid_request'],
    ['another token type', { subject_token_type: 'urn:x' }, 'invalid_request'],
    ['a wish for an ID token', { requested_token_type: 'urn:x' }, 'invalid_request'],
    ['another resource', { resource: 'https://other.example/' }, 'invalid_target'],
    ['another audience', { audience: 'https://other.example/' }, 'invalid_target'],
    ['no such subagent', { run: 'run_other' }, 'invalid_request'],
  ])('with %s', async (_, params, error) => {
    const parent = await openParent()
    expect(await refused(exchange(as, parent.badge, READING, { params }))).toMatchObject({ error })
  })

  test.each([
    ['nothing', undefined],
    ['no JSON', '[{'],
    ['no list', '{"type":"daypass_lease"}'],
    ['two leases', '[{"type":"daypass_lease"},{"type":"daypass_lease"}]'],
    ['a repeated member', '[{"type":"daypass_lease","purpose":"a","purpose":"b"}]'],
    ['another type', '[{"type":"payment"}]'],
    ['another place', '[{"type":"daypass_lease","locations":["https://other.example"]}]'],
    ['an unknown field', '[{"type":"daypass_lease","purpose":"x","power":"all"}]'],
    ['no task', '[{"type":"daypass_lease","actions":["repo.read"],"max_tool_calls":1}]'],
    ['a prototype', '[{"type":"daypass_lease","purpose":"x","__proto__":{"user":"eve"}}]'],
  ])('with %s for a lease', async (_, details) => {
    const parent = await openParent()
    const answer = await refused(
      token(as, BARE, EXCHANGE, {
        ...{ subject_token: parent.badge, subject_token_type: ACCESS_TOKEN },
        ...(details === undefined ? {} : { authorization_details: details }),
      }),
    )
    expect(answer.error).toBe('invalid_authorization_details')
  })
})

describe('a lease that asks before each subagent', () => {
  const ASKING = { delegate: { maxDepth: 1, maxChildren: 4, ask: true } }

  /** The subagent that waits for an answer. */
  async function waiting(parent: Badged) {
    const { tree } = (await house.daypass.authority.find(parent.run))!
    const runs = [...tree.runs.values()].filter(({ lease }) => lease?.state === 'requested')
    expect(runs).toHaveLength(1)
    return runs[0]!
  }

  test('holds the client until a person has said yes', async () => {
    const parent = await house.open(ASKING)
    const asked = exchange(as, parent.badge, READING)
    await expect.poll(() => waiting(parent).catch(() => null)).not.toBeNull()
    const { id, lease } = await waiting(parent)
    // By the parent's rule, and no policy.
    expect(lease!.rule).toEqual({
      ...(await house.run(parent)).lease!.rule,
      policy: null,
    })
    const { authority } = house.daypass
    const yes = await authority.approve(id, { by: MAINTAINER, promptHash: lease!.promptHash })
    expect(yes.ok).toBe(true)
    expect(decodeJwt((await asked).access_token).run).toBe(id)
  })

  test('tells it of a no', async () => {
    const parent = await house.open(ASKING)
    const asked = refused(exchange(as, parent.badge, READING))
    await expect.poll(() => waiting(parent).catch(() => null)).not.toBeNull()
    const { id } = await waiting(parent)
    await house.daypass.authority.refuse(id, { by: MAINTAINER, reason: 'not now' })
    expect(await asked).toMatchObject({
      error: 'access_denied',
      error_description: 'nobody said yes: not now',
    })
  })
})

describe('a client that is not held any longer', () => {
  /** The grant itself, which gives up at once. */
  function grant(badge: string, more: Record<string, string> = {}) {
    const { url, badges, authority, vocabulary, hosts, config } = house.daypass
    const details = [{ type: 'daypass_lease', ...READING }]
    const params = {
      ...{ subject_token: badge, subject_token_type: ACCESS_TOKEN },
      ...{ authorization_details: JSON.stringify(details), ...more },
    }
    return ownExchange(
      { params, client: 'daypass', jkt: null },
      {
        ...{ url, badges, vocabulary, hosts, limits: config.limits, clock: Date.now, holdMs: 0 },
        authorityOf: () => authority,
      },
    )
  }

  test('is told to ask again; that opens no second request, and brings the badge of the first', async () => {
    const parent = await house.open({ delegate: { maxDepth: 1, maxChildren: 4, ask: true } })
    const first = await grant(parent.badge)
    if (first.ok) throw new Error('nobody has said yes')
    const { error, more } = first.error
    expect({ error, more }).toEqual({
      error: 'authorization_pending',
      more: { run: expect.stringMatching(/^run_/), interval: 5 },
    })
    expect(await grant(parent.badge)).toEqual(first)
    const { authority } = house.daypass
    const run = more!.run as Badged['run']
    const { tree, run: child } = (await authority.find(run))!
    expect(tree.runs.size).toBe(2)
    const { promptHash } = child.lease!
    await authority.approve(run, { by: MAINTAINER, promptHash })
    const second = await grant(parent.badge, { run })
    if (!second.ok) throw new Error(second.error.description)
    expect(decodeJwt(second.value.access_token as string).run).toBe(run)
    // Somebody else's subagent is not to be had by its name.
    const other = await grant((await openParent()).badge, { run })
    expect(other).toMatchObject({ ok: false, error: { error: 'invalid_request' } })
  })
})

test('threat 64: many exchanges at once share what the parent has, and no more', async () => {
  const delegate = { ...DELEGATE, maxChildren: 64 }
  const parent = await openParent({ delegate, maxToolCalls: 10 })
  const asked = Array.from({ length: 12 }, () =>
    exchange(as, parent.badge, READING).then(
      () => 'opened',
      (error: oauth.ResponseBodyError) => (error.cause as { reason?: string }).reason,
    ),
  )
  const answers = await Promise.all(asked)
  expect(answers.filter((answer) => answer === 'opened')).toHaveLength(3)
  expect(answers.filter((answer) => answer === 'budget_exceeds_parent')).toHaveLength(9)
})

describe('a bound badge', () => {
  async function bound() {
    const parent = await openParent()
    const keys = await oauth.generateKeyPair('ES256')
    const jkt = await oauth.DPoP(BARE.client, keys).calculateThumbprint()
    const badge = await house.daypass.authority.badgeFor(parent.run, { client: null, jkt })
    if (!badge.ok) throw new Error(badge.error.message)
    return { parent, keys, jkt, badge: badge.value.token }
  }

  test('is exchanged by who has the key, for a badge that is bound to it', async () => {
    const { badge, keys, jkt } = await bound()
    const answer = await exchange(as, badge, READING, { caller: { ...BARE, keys } })
    expect(answer.token_type).toBe('dpop')
    expect(decodeJwt(answer.access_token).cnf).toEqual({ jkt })
  })

  test('is of no use to anybody else', async () => {
    const { badge } = await bound()
    const other = { ...BARE, keys: await oauth.generateKeyPair('ES256') }
    for (const caller of [BARE, other]) {
      expect(await refused(exchange(as, badge, READING, { caller }))).toMatchObject({
        error: 'invalid_dpop_proof',
      })
    }
  })

  test('comes of a bearer, when its holder wants one', async () => {
    const parent = await openParent()
    const keys = await oauth.generateKeyPair('Ed25519')
    const answer = await exchange(as, parent.badge, READING, { caller: { ...BARE, keys } })
    expect(answer.token_type).toBe('dpop')
  })
})
