import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Client, createClient, DaypassError } from '../../src/client/client.ts'
import type { RunId } from '../../src/core/id.ts'
import { LEASE } from '../authority/api/support.ts'
import { type House, openHouse } from '../door/support/house.ts'

let house: House
let client: Client
beforeAll(async () => {
  house = await openHouse()
  client = createClient({ url: house.daypass.url, token: house.daypass.operatorToken })
})
afterAll(() => house[Symbol.asyncDispose]())

test('a run from its request to its receipt, with the types of the server', async () => {
  const opened = await client.requestRun({ body: { lease: LEASE, client: 'test' } })
  const run: RunId = opened.run
  const inbox = await client.listApprovals()
  expect(inbox.items).toMatchObject([{ kind: 'lease', run, promptHash: opened.promptHash }])
  const { promptHash } = opened
  await client.approveRun({ params: { run }, body: { promptHash } })
  const { badge } = await client.issueBadge({ params: { run } })
  const agent = createClient({ url: `${house.daypass.url}/`, token: badge })
  const touches = [
    {
      ...({ action: 'repo.read', effect: 'read', reversible: true } as const),
      resources: { repos: ['clord'] },
    },
  ]
  const begun = await agent.beginCall({
    params: { run },
    body: { key: '1', tool: 'shell.cat', touches },
  })
  expect(begun.decision).toBe('allow')
  const call = begun.call!
  await agent.settleCall({ params: { run, call }, body: { outcome: 'succeeded' } })
  await agent.endRun({ params: { run } })
  const entries = []
  for await (const entry of client.streamEvents({ params: { run } })) entries.push(entry)
  expect(entries.map(({ seq }) => seq)).toEqual(entries.map((_, index) => index + 1))
  expect(entries.at(-1)!.type).toBe('tree.closed')
  const receipt = await client.getReceipt({ params: { run } })
  expect(receipt.body.counts).toMatchObject({ allowed: 1 })
  const page = await client.listRuns({ query: { state: 'ended', limit: 1 } })
  expect(page.items.map(({ id }) => id)).toEqual([run])
})

describe('what is no success is an error', () => {
  test('with the code and the problem of the server', async () => {
    const lost = client.getRun({ params: { run: 'run_other' } })
    await expect(lost).rejects.toBeInstanceOf(DaypassError)
    await expect(lost).rejects.toMatchObject({
      ...{ status: 404, code: 'run_unknown', message: 'no run run_other here' },
      problem: { type: 'urn:daypass:run_unknown' },
    })
  })

  test('when nobody answers, and when the caller gives up', async () => {
    const nobody = createClient({ url: 'http://127.0.0.1:9', token: 'x' })
    await expect(nobody.getStatus()).rejects.toMatchObject({ status: 0, code: 'unreachable' })
    const signal = AbortSignal.abort(new Error('enough'))
    await expect(client.getStatus({ signal })).rejects.toThrow('enough')
  })
})

test('the same idempotency key gets the same run', async () => {
  const request = { body: { lease: LEASE }, idempotencyKey: 'once' }
  const [one, two] = [await client.requestRun(request), await client.requestRun(request)]
  expect(two).toEqual(one)
})

test('a name in a path is a name, whatever is in it', async () => {
  const params = { server: 'shop', tool: '../../../status' }
  await expect(client.getTool({ params })).rejects.toMatchObject({ code: 'tool_unknown' })
})
