import { beforeEach, expect, test } from 'vitest'
import { MemoryDisk, openMemory } from '../../../src/store/memory.ts'
import { authorize } from '../../runs/support.ts'
import { type Ask, active, openWorld, type World } from './support.ts'

let world: World
let mira: Ask
let opened: Awaited<ReturnType<typeof active>>
const disk = () => new MemoryDisk()
beforeEach(async () => {
  world = openWorld()
  mira = await world.person('mira@clord.example', ['requester'])
  const ann = await world.person('ann@clord.example', ['approver'])
  opened = await active({ requester: mira, approver: ann })
})

/** The stream of a run, read event by event. */
async function watch(of: World, headers: Record<string, string> = {}) {
  const abort = new AbortController()
  const response = await of.fetch(`/v1/runs/${opened.run}/events`, {
    headers: { authorization: 'Bearer operator-token', ...headers },
    signal: abort.signal,
  })
  expect(response.status).toBe(200)
  expect(response.headers.get('content-type')).toBe('text/event-stream')
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader()
  let text = ''
  const events = () =>
    [...text.matchAll(/^id: (\d+)\nevent: (\S+)\ndata: (.*)$/gm)].map(([, id, type, data]) => ({
      ...{ id: Number(id), type, entry: JSON.parse(data!) },
    }))
  const more = async (): Promise<boolean> => {
    const { done, value } = await reader.read()
    text += value ?? ''
    return !done
  }
  return {
    abort,
    /** Until there are so many; or to the end. */
    read: async (count = Number.POSITIVE_INFINITY) => {
      while (events().length < count && (await more()));
      return events()
    },
  }
}

test('brings what was recorded, then what is, each entry once and in order', async () => {
  const stream = await watch(world)
  const before = await stream.read(3)
  expect(before.map(({ type }) => type)).toEqual([
    'tree.opened',
    'lease.requested',
    'lease.approved',
  ])
  const { key } = (await world.authorities.of('local').find(opened.run))!
  for (let i = 0; i < 5; i++) await world.runs.execute(key, authorize(world.runs, opened))
  const now = await stream.read(8)
  expect(now.map(({ id }) => id)).toEqual([1, 2, 3, 4, 5, 6, 7, 8])
  expect(now.at(-1)!.entry).toMatchObject({ seq: 8, type: 'call.allowed' })
})

test('goes on behind the last event that was received', async () => {
  const stream = await watch(world, { 'last-event-id': '2' })
  expect(await stream.read(1)).toMatchObject([{ id: 3, type: 'lease.approved' }])
})

test('ends with the tree', async () => {
  const stream = await watch(world)
  await mira('POST', `/v1/runs/${opened.run}/end`, {})
  const { key } = (await world.authorities.of('local').find(opened.run))!
  await world.authorities.of('local').close(key)
  expect((await stream.read()).at(-1)).toMatchObject({ type: 'tree.closed' })
  // Whoever comes later gets it all, and the end.
  expect((await (await watch(world)).read()).at(-1)).toMatchObject({ type: 'tree.closed' })
})

test('ends when the server does', async () => {
  const stream = await watch(world)
  await stream.read(3)
  world.api.close()
  expect(await stream.read()).toHaveLength(3)
})

test('a client that goes away is forgotten', async () => {
  const stream = await watch(world)
  await stream.read(3)
  stream.abort.abort()
  const { key } = (await world.authorities.of('local').find(opened.run))!
  await world.runs.execute(key, authorize(world.runs, opened))
  expect(await stream.read()).toHaveLength(3)
})

test('what another process appends is heard too', async () => {
  const shared = disk()
  const here = openWorld({ store: openMemory({ disk: shared }) })
  const there = openWorld({ store: openMemory({ disk: shared }) })
  const asks = {
    requester: await there.person('mira@clord.example', ['requester']),
    approver: await there.person('ann@clord.example', ['approver']),
  }
  opened = await active(asks)
  const stream = await watch(here)
  await stream.read(3)
  await asks.requester('POST', `/v1/runs/${opened.run}/revoke`, {})
  await here.runs.tidy()
  expect((await stream.read(4)).at(-1)).toMatchObject({ id: 4, type: 'lease.ended' })
})

test('an agent watches until its badge expires', async () => {
  const path = `/v1/runs/${opened.run}/events`
  world.pass(9 * 3_600_000)
  const late = await world.bearer(opened.badge)('GET', path)
  expect(late.status).toBe(401)
})
