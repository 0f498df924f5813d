import { describe, expect, test } from 'vitest'
import type { RunId } from '../../src/core/id.ts'
import { CLOSE_WAIT_SECONDS, RULES_VERSION } from '../../src/core/limits.ts'
import { newId } from '../../src/runs/new-id.ts'
import { CLOSE_GRACE_MS, EXECUTOR_LAPSE_MS, REQUEST_GRACE_MS } from '../../src/runs/tidy.ts'
import { MemoryDisk, openMemory } from '../../src/store/memory.ts'
import {
  authorize,
  type Clock,
  countOf,
  kindOf,
  ledgerOf,
  must,
  NOW,
  openRun,
  request,
  revoke,
  runsOf,
  settle,
} from './support.ts'

function setUp() {
  const disk = new MemoryDisk()
  const store = openMemory({ disk })
  const clock: Clock = { now: NOW }
  return { disk, store, clock, runs: runsOf(store, { clock, executor: 'exec_here' }) }
}

test('threat 58: death is a comparison; tidying only records it, with both times', async () => {
  const { store, clock, runs } = setUp()
  const opened = await openRun(runs, { expiresInSeconds: 60 })
  clock.now = NOW + 60_000
  expect(kindOf(await runs.execute(opened, authorize(runs, opened)))).toBe('lease_expired')
  clock.now = NOW + 61_234
  await runs.tidy()
  const ended = (await ledgerOf(store, opened)).at(-1)!
  const endedAt = NOW + 60_000
  expect(ended).toMatchObject({ type: 'lease.ended', reason: 'expired', endedAt, at: clock.now })
  // A clock that is turned back brings nothing to life.
  clock.now = NOW
  expect(kindOf(await runs.execute(opened, authorize(runs, opened)))).toBe('lease_ended')
})

test('a request that nobody answers is refused', async () => {
  const { store, clock, runs } = setUp()
  const opened = await request(runs)
  clock.now += 299_999
  await runs.tidy()
  expect((await ledgerOf(store, opened)).at(-1)!.type).toBe('lease.requested')
  clock.now += 1
  await runs.tidy()
  expect((await ledgerOf(store, opened)).at(-1)).toMatchObject({ reason: 'refused' })
})

test('a run whose opener died before it requested a lease is ended and closed', async () => {
  const { store, clock, runs } = setUp()
  const key = { org: 'clord', tree: newId('tree') }
  const run: RunId = newId('run')
  const envelope = { requester: 'mira@clord.example', agent: 'a', purpose: 'p', client: null }
  must(await runs.execute(key, { do: 'open', ...key, run, rules: RULES_VERSION, envelope }))
  clock.now += REQUEST_GRACE_MS - 1
  await runs.tidy()
  expect(await ledgerOf(store, key)).toHaveLength(1)
  clock.now += CLOSE_GRACE_MS + 1
  await runs.tidy()
  clock.now += CLOSE_GRACE_MS
  await runs.tidy()
  const types = (await ledgerOf(store, key)).map(({ type }) => type)
  expect(types).toEqual(['tree.opened', 'lease.ended', 'tree.closed'])
})

describe('a call whose process is gone', () => {
  test('is settled unknown once its heartbeat has lapsed, and not before', async () => {
    const { disk, store, clock, runs } = setUp()
    const other = runsOf(openMemory({ disk }), { clock, executor: 'exec_other' })
    await other.tidy()
    const opened = await openRun(runs)
    const call = authorize(other, opened)
    must(await other.execute(opened, call))
    clock.now += EXECUTOR_LAPSE_MS
    await runs.tidy()
    expect(countOf(await ledgerOf(store, opened), 'call.settled')).toBe(0)
    clock.now += 1
    await runs.tidy()
    const settled = (await ledgerOf(store, opened)).at(-1)
    expect(settled).toMatchObject({ command: { outcome: 'unknown', note: 'executor lost' } })
    // The real outcome, if it comes after all, is recorded beside it; the budget stays spent.
    must(await other.execute(opened, settle(call.call)))
    expect((await ledgerOf(store, opened)).at(-1)!.type).toBe('call.resolved')
    const { lease } = (await runs.tree(opened).read())!.runs.get(opened.run)!
    expect(lease!.spent.calls).toBe(1)
  })

  test('is left alone while its process shows itself', async () => {
    const { disk, store, clock, runs } = setUp()
    const other = runsOf(openMemory({ disk }), { clock, executor: 'exec_other' })
    const opened = await openRun(runs)
    await other.tidy()
    must(await other.execute(opened, authorize(other, opened)))
    for (let i = 0; i < 20; i++) {
      clock.now += 6_000
      await other.tidy()
      await runs.tidy()
    }
    expect(countOf(await ledgerOf(store, opened), 'call.settled')).toBe(0)
  })

  test('is settled unknown past its deadline, even where it runs', async () => {
    const { store, clock, runs } = setUp()
    const opened = await openRun(runs)
    must(await runs.execute(opened, authorize(runs, opened, { deadlineSeconds: 60 })))
    clock.now += 59_999
    await runs.tidy()
    expect(countOf(await ledgerOf(store, opened), 'call.settled')).toBe(0)
    clock.now += 1
    await runs.tidy()
    expect(countOf(await ledgerOf(store, opened), 'call.settled')).toBe(1)
  })
})

describe('closing', () => {
  test('comes a grace after the end, so that late denials are recorded', async () => {
    const { store, clock, runs } = setUp()
    const opened = await openRun(runs)
    must(await runs.execute(opened, revoke(opened.run)))
    clock.now += CLOSE_GRACE_MS - 1
    await runs.tidy()
    expect(kindOf(await runs.execute(opened, authorize(runs, opened)))).toBe('lease_ended')
    clock.now += 1
    await runs.tidy()
    const entries = await ledgerOf(store, opened)
    expect(entries.slice(-2).map(({ type }) => type)).toEqual(['call.denied', 'tree.closed'])
  })

  test('waits for calls in flight, and lists who never answered', async () => {
    const { store, clock, runs } = setUp()
    const opened = await openRun(runs)
    const [answers, silent] = [authorize(runs, opened), authorize(runs, opened)]
    await Promise.all([answers, silent].map((call) => runs.execute(opened, call)))
    must(await runs.execute(opened, revoke(opened.run)))
    const closed = runs.close(opened)
    await new Promise((resolve) => setTimeout(resolve, 60))
    expect((await ledgerOf(store, opened)).at(-1)!.type).toBe('tree.closing')
    must(await runs.execute(opened, settle(answers.call)))
    clock.now += CLOSE_WAIT_SECONDS * 1000
    await closed
    const last = (await ledgerOf(store, opened)).at(-1)
    expect(last).toMatchObject({ type: 'tree.closed', unanswered: [silent.call] })
  })

  test('of a run that has not ended is refused', async () => {
    const { runs } = setUp()
    const opened = await openRun(runs)
    await expect(runs.close(opened)).rejects.toThrow('not ended')
  })

  test('twice at once is closing once', async () => {
    const { store, runs } = setUp()
    const opened = await openRun(runs)
    must(await runs.execute(opened, revoke(opened.run)))
    await Promise.all([runs.close(opened), runs.close(opened), runs.tidy()])
    expect(countOf(await ledgerOf(store, opened), 'tree.closed')).toBe(1)
  })
})

test('repeats are written while the run goes on', async () => {
  const { store, clock, runs } = setUp()
  const opened = await openRun(runs, { maxToolCalls: 1 })
  must(await runs.execute(opened, authorize(runs, opened)))
  for (let i = 0; i < 7; i++) await runs.execute(opened, authorize(runs, opened))
  await runs.tidy()
  clock.now += 1_000
  await runs.tidy()
  const folds = (await ledgerOf(store, opened)).filter(({ type }) => type === 'call.denied_again')
  expect(folds).toMatchObject([{ command: { times: 6 } }])
})

test('what is closed, or was never there, does not stay in memory for ever', async () => {
  const { runs, clock } = setUp()
  const live = runs.tree({ org: 'clord', tree: 'tree_absent' })
  expect(await live.read()).toBeNull()
  await runs.tidy()
  expect(runs.tree({ org: 'clord', tree: 'tree_absent' })).not.toBe(live)
  const first = await openRun(runs)
  const kept = runs.tree(first)
  await runs.execute(first, revoke(first.run))
  await runs.close(first)
  for (let i = 0; i < 100; i++) {
    const opened = await openRun(runs)
    await runs.execute(opened, revoke(opened.run))
    await runs.close(opened)
  }
  clock.now += 1
  await runs.tidy()
  expect(runs.tree(first)).not.toBe(kept)
  expect((await runs.tree(first).read())!.phase).toBe('closed')
})
