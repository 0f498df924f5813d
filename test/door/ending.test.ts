import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { Instant } from '../../src/core/id.ts'
import { newId } from '../../src/runs/new-id.ts'
import { withFaults } from '../../src/store/faults.ts'
import {
  type Badged,
  BRANCH,
  type House,
  MAINTAINER,
  openHouse,
  read,
  shopTerms,
  until,
} from './support/house.ts'
import { UPSTREAM_SECRET } from './support/shop.ts'

let house: House
let ahead = 0
let hold: Promise<void> | null = null
const clock = (): Instant => Date.now() + ahead
beforeAll(async () => {
  house = await openHouse({
    clock,
    aroundStore: (store) =>
      withFaults(store, {
        after: (write) => (write === 'append' ? (hold ?? undefined) : undefined),
      }),
  })
})
beforeEach(() => {
  ahead = 0
})
afterAll(() => house[Symbol.asyncDispose]())

const onBranch = { repo: 'clord', branch: BRANCH }
let calls = 0

/** A call that the upstream works on until it is told to stop. */
async function slowCall(opened: Badged, era: 'auto' | 'legacy' = 'auto') {
  const key = `slow-${++calls}`
  const client = await house.client(opened.badge, era)
  const args = { repo: 'clord', key, ms: 30_000 }
  const answer = client.callTool({ name: 'shop.slow', arguments: args })
  await until(() => house.shop.working.has(key), 'the upstream works on it')
  return { key, answer, client }
}

async function outcomes(opened: Badged) {
  const entries = await house.entries(opened)
  return entries.flatMap((e) => (e.type === 'call.settled' ? [e.command.outcome] : []))
}

describe.each(['auto', 'legacy'] as const)('a call in flight (%s)', (era) => {
  const ends: [string, (opened: Badged) => Promise<unknown>, RegExp][] = [
    [
      'a revocation',
      ({ run }) => house.daypass.authority.revoke(run, { by: MAINTAINER, reason: 'not this' }),
      /The lease ended while it was under way: it was revoked \(not this\)\./,
    ],
    [
      'its expiry',
      async () => {
        ahead = 1_800_001
        await house.daypass.runs.tidy()
      },
      /its time has run out/,
    ],
    [
      'the event that the lease waits for',
      async (opened) => {
        const client = await house.client(opened.badge)
        const result = await client.callTool({ name: 'shop.open_pr', arguments: onBranch })
        // The response that ended the lease is delivered.
        expect(read(result).text).toBe('opened')
      },
      /its work is done/,
    ],
  ]
  test.each(ends)(
    'is stopped by %s, and its client is told that nobody knows',
    async (_, end, why) => {
      const opened = await house.open({ until: ['pull_request.create'] })
      const { key, answer } = await slowCall(opened, era)
      await end(opened)
      const result = await answer
      expect(result.isError).toBe(true)
      const { text, decision } = read(result)
      expect(text).toMatch(/^Unknown: nobody can tell whether repo\.read on repo clord happened\./)
      expect(text.replaceAll('\n  ', ' ')).toMatch(why)
      expect(text).toContain('Write your final summary now.')
      expect(decision).toMatchObject({ outcome: 'unknown', reason: 'cancelled' })
      await until(() => house.shop.cancelled.includes(key), 'the upstream is told')
      await until(async () => (await outcomes(opened)).includes('unknown'), 'it is settled')
      expect((await house.run(opened)).lease!.spent.calls).toBeGreaterThan(0)
    },
  )
})

test('after the end every call is answered with why it ended, and the upstream hears nothing', async () => {
  const opened = await house.open({ until: ['pull_request.create'] })
  const client = await house.client(opened.badge)
  await client.callTool({ name: 'shop.open_pr', arguments: onBranch })
  const before = house.shop.calls.length
  const { text } = read(await client.callTool({ name: 'shop.read', arguments: { repo: 'clord' } }))
  expect(text).toBe(
    'Ended: this lease is over because its work is done:\n' +
      '  https://forge.example/pr/482. (lease_ended)\n' +
      'No tool will answer in this run. Write your final summary now.',
  )
  expect(house.shop.calls).toHaveLength(before)
})

test('threat 78: what a tool says it made is noted without what may be secret in it', async () => {
  const opened = await house.open()
  const client = await house.client(opened.badge)
  await client.callTool({ name: 'shop.open_pr', arguments: onBranch })
  await until(async () => (await outcomes(opened)).length === 1, 'it is settled')
  const text = JSON.stringify(await house.entries(opened))
  expect(text).toContain('https://forge.example/pr/482')
  expect(text).not.toContain(UPSTREAM_SECRET)
})

test('threat 61: a call that is allowed and outlived by nothing is not sent', async () => {
  const opened = await house.open()
  const client = await house.client(opened.badge)
  await client.listTools()
  const before = house.shop.calls.length
  const gate = Promise.withResolvers<void>()
  hold = gate.promise
  // The verdict and the revocation become durable together, in this order.
  const answer = client.callTool({ name: 'shop.push', arguments: onBranch })
  await until(() => house.daypass.runs.tree(opened).isBusy, 'the verdict is on its way')
  const { run } = opened
  const revoked = house.daypass.authority.revoke(run, { by: MAINTAINER, reason: 'stop' })
  ahead = 1_800_001
  hold = null
  gate.resolve()
  const { text, decision } = read(await answer)
  await revoked
  expect(text).toMatch(/^Not run: repo\.push on .*/)
  expect(decision).toMatchObject({ outcome: 'not_run' })
  expect(house.shop.calls).toHaveLength(before)
  await until(async () => (await outcomes(opened)).includes('failed'), 'it is settled')
})

test('threat 57: the end of a parent stops the calls of its children', async () => {
  const delegate = { maxDepth: 1, maxChildren: 3, ask: false }
  const parent = await house.open({ delegate })
  const child = { ...parent, run: newId('run'), badge: '' }
  const { authority } = house.daypass
  const delegated = await authority.command(parent.run, {
    do: 'delegate',
    parent: parent.run,
    run: child.run,
    lease: newId('lease'),
    terms: shopTerms({ maxToolCalls: 5, expiresInSeconds: 600, purpose: 'read the changelog' }),
    promptHash: 'ab'.repeat(32),
    envelope: (await house.run(parent)).envelope,
    rule: { policy: null, approvers: null, self: true, answerSeconds: 300 },
  })
  expect(delegated).toMatchObject({ ok: true })
  const badge = await authority.badge(child.run)
  if (!badge.ok) throw new Error(badge.error.message)
  child.badge = badge.value
  const { key, answer, client } = await slowCall(child)
  await authority.revoke(parent.run, { by: MAINTAINER, reason: 'all of it' })
  expect(read(await answer).text).toContain("its parent's lease ended")
  await until(() => house.shop.cancelled.includes(key), 'the upstream is told')
  const next = await client.callTool({ name: 'shop.read', arguments: { repo: 'clord' } })
  expect(read(next).text).toMatch(/^Ended: this lease is over because its parent's lease ended\./)
})

test('a client that cancels: the upstream is told, and the outcome is unknown', async () => {
  const opened = await house.open()
  const key = `cancel-${++calls}`
  const client = await house.client(opened.badge)
  const abort = new AbortController()
  const args = { repo: 'clord', key, ms: 30_000 }
  const answer = client.callTool({ name: 'shop.slow', arguments: args }, { signal: abort.signal })
  await until(() => house.shop.working.has(key), 'the upstream works on it')
  abort.abort()
  await expect(answer).rejects.toThrow()
  await until(() => house.shop.cancelled.includes(key), 'the upstream is told')
  await until(async () => (await outcomes(opened)).includes('unknown'), 'it is settled')
  // The lease lives, and what was spent stays spent.
  const { lease } = await house.run(opened)
  expect(lease).toMatchObject({ state: 'active', spent: { calls: 1 } })
})

test('with nothing left to spend, the lease ends when the last call has answered', async () => {
  const opened = await house.open({ maxToolCalls: 1 })
  const client = await house.client(opened.badge)
  await client.callTool({ name: 'shop.read', arguments: { repo: 'clord' } })
  await until(async () => (await house.run(opened)).lease!.state === 'ended', 'it ends')
  expect((await house.run(opened)).lease!.endReason).toBe('exhausted')
})
