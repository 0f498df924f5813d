import type { Client } from '@modelcontextprotocol/client'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Ask } from '../../src/core/tree.ts'
import {
  type Badged,
  BRANCH,
  type House,
  MAINTAINER,
  openHouse,
  read,
  until,
} from './support/house.ts'

let house: House
beforeAll(async () => {
  house = await openHouse({ askHoldMs: 1_500 })
})
afterAll(() => house[Symbol.asyncDispose]())

const onBranch = { repo: 'clord', branch: BRANCH }
const push = { name: 'shop.push', arguments: onBranch }
const asking = { ask: ['repo.push'] }

async function asks(opened: Badged): Promise<Ask[]> {
  const tree = await house.daypass.runs.tree(opened).read()
  return [...tree!.asks.values()]
}

async function pending(opened: Badged): Promise<Ask> {
  await until(async () => (await asks(opened)).some((a) => a.state === 'pending'), 'it is asked')
  return (await asks(opened)).find(({ state }) => state === 'pending')!
}

function answer({ run }: Badged, { id, binding }: Ask, verb: 'approve' | 'refuse', reason = '') {
  const body = verb === 'approve' ? { binding } : { reason }
  return house.api('POST', `/v1/runs/${run}/asks/${id}/${verb}`, body)
}

function reached(): number {
  return house.shop.calls.length
}

describe.each(['auto', 'legacy'] as const)('a tool that no catalog maps (%s)', (era) => {
  const unlisted = { name: 'shop.unlisted', arguments: {} }
  const granting = (action: string) => ({
    grants: [{ actions: [action], resources: {}, where: {} }],
  })
  const shown = async (client: Client) =>
    (await client.request({ method: 'tools/list', params: {} })).tools.map(({ name }) => name)

  test('is shown to a lease that names it, and each call is asked', async () => {
    const opened = await house.open(granting('shop.unlisted'))
    const client = await house.client(opened.badge, era)
    expect(await shown(client)).toEqual(['shop.unlisted'])
    const result = client.callTool(unlisted)
    const ask = await pending(opened)
    expect((await answer(opened, ask, 'approve')).status).toBe(200)
    expect(read(await result).text).toBe('never')
    const next = client.callTool(unlisted)
    const again = await pending(opened)
    expect(again.id).not.toBe(ask.id)
    await answer(opened, again, 'refuse', 'once is enough')
    expect(read(await next).text).toContain('(ask_refused,')
  })

  test.each(['shop.*', '**'])('is neither shown nor called under %s', async (pattern) => {
    const opened = await house.open(granting(pattern))
    const client = await house.client(opened.badge, era)
    expect(await shown(client)).not.toContain('shop.unlisted')
    expect(read(await client.callTool(unlisted)).text).toContain('(tool_unmapped,')
  })
})

describe.each(['auto', 'legacy'] as const)('a call that needs a yes (%s)', (era) => {
  test('is held, and made once when a person says yes', async () => {
    const opened = await house.open(asking)
    const client = await house.client(opened.badge, era)
    const before = reached()
    const result = client.callTool(push)
    const ask = await pending(opened)
    expect(reached()).toBe(before)
    expect((await answer(opened, ask, 'approve')).status).toBe(200)
    expect(read(await result).text).toBe(`pushed ${BRANCH}`)
    expect(reached()).toBe(before + 1)
    // A yes is for one call: the next one asks again.
    const next = client.callTool(push)
    const again = await pending(opened)
    expect(again.id).not.toBe(ask.id)
    await answer(opened, again, 'refuse', 'once is enough')
    const { text } = read(await next)
    expect(text).toContain('(ask_refused,')
    expect(text).toContain('A person refused it: "once is enough"')
    expect(reached()).toBe(before + 1)
  })

  test('is told to wait when nobody answers; repeating joins the ask and costs nothing', async () => {
    const opened = await house.open(asking)
    const client = await house.client(opened.badge, era)
    const { text, decision } = read(await client.callTool(push))
    const [ask] = await asks(opened)
    const until = new Date(ask!.deadline).toISOString().slice(11, 19)
    expect(text.replaceAll('\n  ', ' ')).toBe(
      `Waiting: repo.push on repo clord, branch ${BRANCH} needs a person's yes. ` +
        `(${ask!.id}, until ${until}Z)\n` +
        'Nothing was changed and nothing was spent.\n' +
        'Repeat the same call with the same arguments to wait for the answer;\n' +
        'repeating costs nothing. Other calls work.',
    )
    expect(decision).toMatchObject({ decision: 'ask', ask: ask!.id })
    const again = client.callTool(push)
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(await asks(opened)).toHaveLength(1)
    const { lease } = await house.run(opened)
    expect(lease!.spent.calls).toBe(0)
    await answer(opened, ask!, 'approve')
    expect(read(await again).text).toBe(`pushed ${BRANCH}`)
  })
})

test('threat 69: the same call from several clients is one ask, one yes and one execution', async () => {
  const opened = await house.open(asking)
  const clients = await Promise.all([1, 2, 3].map(() => house.client(opened.badge)))
  const before = reached()
  const results = Promise.all(clients.map((client) => client.callTool(push)))
  const ask = await pending(opened)
  await new Promise((resolve) => setTimeout(resolve, 100))
  // A double click is one answer.
  const clicks = await Promise.all([1, 2].map(() => answer(opened, ask, 'approve')))
  expect(clicks.map(({ status }) => status).sort()).toEqual([200, 409])
  for (const result of await results) expect(read(result).text).toBe(`pushed ${BRANCH}`)
  expect(reached()).toBe(before + 1)
  expect(await asks(opened)).toHaveLength(1)
})

test('a client that gives up hands over to the next that waits', async () => {
  const opened = await house.open(asking)
  const [first, second] = [await house.client(opened.badge), await house.client(opened.badge)]
  const before = reached()
  const abort = new AbortController()
  const given = first.callTool(push, { signal: abort.signal })
  const ask = await pending(opened)
  const result = second.callTool(push)
  await new Promise((resolve) => setTimeout(resolve, 100))
  abort.abort()
  await expect(given).rejects.toThrow()
  await new Promise((resolve) => setTimeout(resolve, 100))
  await answer(opened, ask, 'approve')
  expect(read(await result).text).toBe(`pushed ${BRANCH}`)
  expect(reached()).toBe(before + 1)
})

test('other calls work while one waits', async () => {
  const opened = await house.open(asking)
  const client = await house.client(opened.badge)
  const waiting = client.callTool(push)
  await pending(opened)
  const other = await client.callTool({ name: 'shop.read', arguments: { repo: 'clord' } })
  expect(read(other).text).toBe('read clord')
  expect(read(await waiting).decision).toMatchObject({ decision: 'ask' })
})

test('threat 68: a yes to something else is none', async () => {
  const opened = await house.open(asking)
  const client = await house.client(opened.badge)
  const before = reached()
  const waiting = client.callTool(push)
  const ask = await pending(opened)
  const wrong = await answer(opened, { ...ask, binding: `${ask.binding} ` }, 'approve')
  expect(wrong.status).toBe(409)
  expect(await wrong.json()).toMatchObject({ title: 'binding_mismatch' })
  expect(read(await waiting).decision).toMatchObject({ decision: 'ask' })
  expect(reached()).toBe(before)
})

test('threat 74: the end of the lease voids what waits, at once', async () => {
  const opened = await house.open(asking)
  const client = await house.client(opened.badge)
  const startedAt = performance.now()
  const waiting = client.callTool(push)
  const ask = await pending(opened)
  await house.daypass.authority.revoke(opened.run, { by: MAINTAINER, reason: 'stop' })
  expect(read(await waiting).text).toMatch(/^Ended: this lease is over because it was revoked/)
  expect(performance.now() - startedAt).toBeLessThan(1_400)
  const late = await answer(opened, ask, 'approve')
  expect(await late.json()).toMatchObject({ title: 'lease_ended' })
})

test('threat 72: nobody approves with a badge', async () => {
  const opened = await house.open(asking)
  const client = await house.client(opened.badge)
  const waiting = client.callTool(push)
  const { id, binding } = await pending(opened)
  const path = `/v1/runs/${opened.run}/asks/${id}/approve`
  const response = await house.api('POST', path, { binding }, opened.badge)
  expect(response.status).toBe(403)
  expect(read(await waiting).decision).toMatchObject({ decision: 'ask' })
})
