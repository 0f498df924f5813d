import { beforeEach, expect, test } from 'vitest'
import { withFaults } from '../../../src/store/faults.ts'
import { MemoryDisk, openMemory } from '../../../src/store/memory.ts'
import { StoreError } from '../../../src/store/store.ts'
import { type Ask, LEASE, openWorld, request, type World } from './support.ts'

let world: World
let mira: Ask
beforeEach(async () => {
  world = openWorld()
  mira = await world.person('mira@clord.example', ['requester'])
})

const key = (text: string) => ({ 'idempotency-key': text })
const runsOf = async (ask: Ask) => (await ask('GET', '/v1/runs')).body.items

test('the same key and the same body: the same answer, done once', async () => {
  const first = await mira('POST', '/v1/runs', { lease: LEASE }, key('1'))
  const second = await mira('POST', '/v1/runs', { lease: LEASE }, key('1'))
  expect([second.status, second.body]).toEqual([201, first.body])
  expect(await runsOf(mira)).toHaveLength(1)
  await mira('POST', '/v1/runs', { lease: LEASE }, key('2'))
  expect(await runsOf(mira)).toHaveLength(2)
})

test('the same key and another body, or another page, is refused', async () => {
  const { body } = await mira('POST', '/v1/runs', { lease: LEASE }, key('1'))
  const other = await mira('POST', '/v1/runs', { lease: { ...LEASE, purpose: 'x' } }, key('1'))
  expect(other).toMatchObject({ status: 422, body: { title: 'key_reused' } })
  const page = await mira('POST', `/v1/runs/${body.run}/end`, { lease: LEASE }, key('1'))
  expect([400, 422]).toContain(page.status)
  expect(await runsOf(mira)).toHaveLength(1)
})

test('keys of two callers never meet', async () => {
  const otto = await world.person('otto@clord.example', ['requester'])
  const theirs = await world.person('mira@clord.example', ['requester'], 'other')
  const answers = [mira, otto, theirs].map((ask) =>
    ask('POST', '/v1/runs', { lease: LEASE }, key('1')),
  )
  const runs = (await Promise.all(answers)).map(({ body }) => body.run)
  expect(new Set(runs).size).toBe(3)
})

test('many at once are done once, in two processes too', async () => {
  const disk = new MemoryDisk()
  const worlds = [
    openWorld({ store: openMemory({ disk }) }),
    openWorld({ store: openMemory({ disk }) }),
  ]
  const asks = await Promise.all(
    worlds.map((each) => each.person('mira@clord.example', ['requester'])),
  )
  const answers = await Promise.all(
    Array.from({ length: 20 }, (_, i) =>
      asks[i % 2]!('POST', '/v1/runs', { lease: LEASE }, key('1')),
    ),
  )
  const done = answers.filter(({ status }) => status === 201)
  expect(done.length).toBeGreaterThan(0)
  expect(new Set(done.map(({ body }) => body.run)).size).toBe(1)
  const others = answers.filter(({ status }) => status !== 201)
  expect(others.every(({ body }) => body.title === 'idempotency_unknown')).toBe(true)
  expect(await runsOf(asks[0]!)).toHaveLength(1)
})

test('a request that was refused gives its key back', async () => {
  const { run, promptHash } = await request(mira)
  const path = `/v1/runs/${run}/approve`
  const wrong = await mira('POST', path, { promptHash: 'x' }, key('1'))
  expect(wrong.body.title).toBe('prompt_mismatch')
  expect((await mira('POST', path, { promptHash }, key('1'))).status).toBe(200)
})

test('one that failed keeps it: nobody repeats blindly what may have been done', async () => {
  let fails = false
  const store = withFaults(openMemory(), {
    after: (write) => {
      if (fails && write === 'append') throw new StoreError('io', 'stored, and not heard')
    },
  })
  world = openWorld({ store })
  mira = await world.person('mira@clord.example', ['requester'])
  fails = true
  expect((await mira('POST', '/v1/runs', { lease: LEASE }, key('1'))).status).toBe(503)
  fails = false
  const again = await mira('POST', '/v1/runs', { lease: LEASE }, key('1'))
  expect(again).toMatchObject({ status: 409, body: { title: 'idempotency_unknown' } })
  expect(await runsOf(mira)).toHaveLength(1)
})

test('an answer is kept for 24 hours', async () => {
  const first = await mira('POST', '/v1/runs', { lease: LEASE }, key('1'))
  world.pass(24 * 3_600_000)
  await world.store.sweep(Date.now() + 24 * 3_600_000)
  mira = await world.person('mira@clord.example', ['requester'])
  const second = await mira('POST', '/v1/runs', { lease: LEASE }, key('1'))
  expect(second.status).toBe(201)
  expect(second.body.run).not.toBe(first.body.run)
})

test('a badge is not kept', async () => {
  const { run, promptHash } = await request(mira)
  await mira('POST', `/v1/runs/${run}/approve`, { promptHash })
  const path = `/v1/runs/${run}/badge`
  const one = await mira('POST', path, {}, key('1'))
  const two = await mira('POST', path, {}, key('1'))
  expect([one.status, two.status]).toEqual([200, 200])
  expect(one.body.badge).not.toBe(two.body.badge)
})
