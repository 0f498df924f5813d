import { decodeJwt } from 'jose'
import * as oauth from 'oauth4webapi'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Badged, type House, MAINTAINER, openHouse, read } from '../../door/support/house.ts'
import { type Caller, discover, exchange, introspect, revoke } from './support.ts'

let house: House
let as: oauth.AuthorizationServer
let ahead = 0
beforeAll(async () => {
  house = await openHouse({ clock: () => Date.now() + ahead })
  as = await discover(house)
})
afterAll(() => house[Symbol.asyncDispose]())

const DELEGATE = { maxDepth: 2, maxChildren: 8, ask: false }

/** A parent with a child and a grandchild. */
async function family() {
  const parent = await house.open({ delegate: DELEGATE })
  const delegate = { max_depth: 1, max_children: 1, ask: false }
  const lease = { purpose: 'read', actions: ['repo.read'], resources: { repos: ['clord'] } }
  const child = await exchange(as, parent.badge, { ...lease, max_tool_calls: 5, delegate })
  const grandchild = await exchange(as, child.access_token, { ...lease, max_tool_calls: 1 })
  return { parent, badges: [parent.badge, child.access_token, grandchild.access_token] }
}

const runIn = (badge: string) => decodeJwt(badge).run as Badged['run']

async function activeOf(badges: readonly string[]): Promise<boolean[]> {
  const answers = await Promise.all(badges.map((badge) => introspect(as, badge)))
  return answers.map(({ active }) => active)
}

describe('introspection', () => {
  test('says whose badge it is, and for what', async () => {
    const { badges } = await family()
    const { iat, exp, ...claims } = decodeJwt(badges[1]!)
    const answer = await introspect(as, badges[1]!)
    const { org, tree, run, lease, aud, iss, sub, act } = claims
    expect(answer).toMatchObject({
      ...{ active: true, client_id: 'repo-maintenance-agent', token_type: 'Bearer', iat },
      ...{ org, tree, run, lease, aud, iss, sub, act },
      authorization_details: [{ type: 'daypass_lease', actions: ['repo.read'], revision: 1 }],
    })
    // As long as the lease, which the badge outlives so that its agent can read why it ended.
    expect(answer.exp).toBeLessThan(exp!)
    expect(answer.exp! - iat!).toBeLessThanOrEqual(1800)
  })

  test('finds it active only while the whole chain is usable', async () => {
    const { badges } = await family()
    const { authority } = house.daypass
    const run = runIn(badges[1]!)
    expect(await activeOf(badges)).toEqual([true, true, true])
    await authority.command(run, { do: 'suspend', run, by: MAINTAINER, reason: 'look' })
    expect(await activeOf(badges)).toEqual([true, false, false])
    await authority.command(run, { do: 'resume', run, by: MAINTAINER })
    expect(await activeOf(badges)).toEqual([true, true, true])
    await authority.end(run, { by: MAINTAINER, note: 'done' })
    expect(await activeOf(badges)).toEqual([true, false, false])
  })

  test('finds it over at the end of its lease, though the badge is good', async () => {
    const { parent } = await family()
    ahead = 1800_000
    expect(await introspect(as, parent.badge)).toEqual({ active: false })
    ahead = 0
    expect(await introspect(as, parent.badge)).toMatchObject({ active: true })
  })

  test('says nothing of what is no badge of ours', async () => {
    const { parent } = await family()
    for (const token of ['x', `${parent.badge.slice(0, -6)}AAAAAA`, house.daypass.operatorToken]) {
      expect(await introspect(as, token)).toEqual({ active: false })
    }
  })

  test('says nothing to another client, or to nobody', async () => {
    const parent = await house.open()
    const holder = { client: 'https://agent.example/client.json', jkt: 'thumbprint' }
    const issued = await house.daypass.authority.badgeFor(parent.run, holder)
    if (!issued.ok) throw new Error(issued.error.message)
    expect(await introspect(as, issued.value.token)).toEqual({ active: false })
    const stranger: Caller = { client: { client_id: 'nobody' }, auth: oauth.None() }
    await expect(introspect(as, parent.badge, stranger)).rejects.toThrow()
  })
})

describe('revocation', () => {
  test('ends the run and every run below it, for the gateway too, at once', async () => {
    const { parent, badges } = await family()
    const client = await house.client(badges[2]!)
    await revoke(as, badges[1]!)
    expect(await activeOf(badges)).toEqual([true, false, false])
    const call = await client.callTool({ name: 'shop.read', arguments: { repo: 'clord' } })
    expect(read(call).decision.reason).toBe('lease_ended')
    const ended = (await house.entries(parent)).filter(({ type }) => type === 'lease.ended')
    expect(ended).toMatchObject([
      { run: runIn(badges[1]!), reason: 'revoked', note: 'its badge was revoked by daypass' },
      { run: runIn(badges[2]!), reason: 'parent_ended' },
    ])
  })

  test('of what is over, or of no badge of ours, is no error', async () => {
    const { badges } = await family()
    await revoke(as, badges[1]!)
    await revoke(as, badges[1]!)
    await revoke(as, badges[2]!)
    await revoke(as, 'x')
    await revoke(as, `${badges[0]!.slice(0, -6)}AAAAAA`)
    expect(await activeOf(badges)).toEqual([true, false, false])
  })

  test('by another client than the badge was issued to is refused', async () => {
    const parent = await house.open()
    const holder = { client: 'https://agent.example/client.json', jkt: null }
    const issued = await house.daypass.authority.badgeFor(parent.run, holder)
    if (!issued.ok) throw new Error(issued.error.message)
    await expect(revoke(as, issued.value.token)).rejects.toMatchObject({
      error: 'unauthorized_client',
    })
    expect((await house.run(parent)).lease!.state).toBe('active')
  })
})
