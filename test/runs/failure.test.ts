import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { diskFailed, diskFull, type FaultHooks, withFaults } from '../../src/store/faults.ts'
import { MemoryDisk, openMemory } from '../../src/store/memory.ts'
import { StoreError } from '../../src/store/store.ts'
import {
  authorize,
  type Clock,
  countOf,
  kindOf,
  ledgerOf,
  must,
  NOW,
  openRun,
  revoke,
  runsOf,
  settle,
} from './support.ts'

/** A store whose appends fail while a test says so, before or after they are stored. */
function failing() {
  const disk = new MemoryDisk()
  const state = { mode: 'works' as 'works' | 'not persisted' | 'persisted but errored' }
  const hooks: FaultHooks = {
    before: (write) => {
      if (write === 'append' && state.mode === 'not persisted') throw diskFull()
    },
    after: (write) => {
      if (write === 'append' && state.mode === 'persisted but errored') throw diskFailed()
    },
  }
  const clock: Clock = { now: NOW }
  return { runs: runsOf(withFaults(openMemory({ disk }), hooks), { clock }), state, disk, clock }
}

describe.each(['not persisted', 'persisted but errored'] as const)('an append %s', (mode) => {
  test('threat 80: nobody is let through, and the tree is what is stored', async () => {
    const { runs, state, disk } = failing()
    const opened = await openRun(runs)
    state.mode = mode
    const calls = Array.from({ length: 5 }, () => authorize(runs, opened))
    const replies = await Promise.allSettled(calls.map((call) => runs.execute(opened, call)))
    for (const reply of replies) {
      expect(reply).toMatchObject({ status: 'rejected', reason: expect.any(StoreError) })
    }
    state.mode = 'works'
    const stored = await ledgerOf(openMemory({ disk }), opened)
    expect(countOf(stored, 'call.allowed')).toBe(mode === 'not persisted' ? 0 : 5)
    const tree = (await runs.tree(opened).read())!
    expect(tree.seq).toBe(stored.length)
    expect(kindOf(await runs.execute(opened, authorize(runs, opened)))).toBe('allow')
  })

  test('what turns out to be stored of it is settled as never sent', async () => {
    const { runs, state, disk } = failing()
    const opened = await openRun(runs)
    state.mode = mode
    const call = authorize(runs, opened)
    await expect(runs.execute(opened, call)).rejects.toThrow(StoreError)
    state.mode = 'works'
    await runs.tidy()
    await runs.tidy()
    const stored = await ledgerOf(openMemory({ disk }), opened)
    const settled = stored.filter(({ type }) => type === 'call.settled')
    if (mode === 'not persisted') return expect(settled).toEqual([])
    expect(settled).toMatchObject([
      { command: { call: call.call, outcome: 'failed', note: 'never sent' } },
    ])
    expect((await runs.tree(opened).read())!.runs.get(opened.run)!.inFlight.size).toBe(0)
  })

  test('an outcome is recorded later, once', async () => {
    const { runs, state, disk } = failing()
    const opened = await openRun(runs, { until: ['repo.read'] })
    const call = authorize(runs, opened)
    must(await runs.execute(opened, call))
    state.mode = mode
    await expect(runs.execute(opened, settle(call.call))).rejects.toThrow(StoreError)
    await runs.tidy()
    state.mode = 'works'
    await runs.tidy()
    await runs.tidy()
    const stored = await ledgerOf(openMemory({ disk }), opened)
    expect(countOf(stored, 'call.settled')).toBe(1)
    expect(stored.at(-1)).toMatchObject({ type: 'lease.ended', reason: 'event' })
  })

  test('a revocation that was not acknowledged is either there or can be repeated', async () => {
    const { runs, state } = failing()
    const opened = await openRun(runs)
    state.mode = mode
    await expect(runs.execute(opened, revoke(opened.run))).rejects.toThrow(StoreError)
    state.mode = 'works'
    const again = kindOf(await runs.execute(opened, revoke(opened.run)))
    expect(again).toBe(mode === 'not persisted' ? 'done' : 'lease_ended')
    expect(kindOf(await runs.execute(opened, authorize(runs, opened)))).toBe('lease_ended')
  })
})

test('with failures at random, whoever was let through is in the ledger, and nobody too many', async () => {
  const fault = fc.constantFrom('works', 'works', 'not persisted', 'persisted but errored')
  await fc.assert(
    fc.asyncProperty(fc.array(fault, { minLength: 5, maxLength: 40 }), async (modes) => {
      const { runs, state, disk } = failing()
      const opened = await openRun(runs, { maxToolCalls: 8 })
      const allowed: string[] = []
      for (const mode of modes) {
        state.mode = mode as typeof state.mode
        const call = authorize(runs, opened)
        const reply = await runs.execute(opened, call).catch(() => null)
        if (reply !== null && kindOf(reply) === 'allow') allowed.push(call.call)
      }
      state.mode = 'works'
      const stored = await ledgerOf(openMemory({ disk }), opened)
      const inLedger = stored.flatMap((e) => (e.type === 'call.allowed' ? [e.command.call] : []))
      expect(inLedger).toEqual(expect.arrayContaining(allowed))
      expect(inLedger.length).toBeLessThanOrEqual(8)
      const tree = (await runs.tree(opened).read())!
      expect(tree.runs.get(opened.run)!.lease!.spent.calls).toBe(inLedger.length)
    }),
    { numRuns: 200 },
  )
})

test('a listener that throws takes nothing away from anybody', async () => {
  const { runs } = failing()
  const opened = await openRun(runs)
  const heard: string[] = []
  runs.listen(() => {
    throw new Error('a bug')
  })
  runs.listen((_, entries) => heard.push(...entries.map(({ type }) => type)))
  expect(kindOf(await runs.execute(opened, authorize(runs, opened)))).toBe('allow')
  expect(heard).toEqual(['call.allowed'])
})

test('a tree that cannot be loaded holds up the tidying of no other', async () => {
  const disk = new MemoryDisk()
  const clock: Clock = { now: NOW }
  const first = runsOf(openMemory({ disk }), { clock })
  const damaged = await openRun(first)
  const sound = await openRun(first)
  const rows = [...disk.trees.values()].find(({ info }) => info.tree === damaged.tree)!.rows
  rows[1] = { ...rows[1]!, body: '{"type":"nonsense"}' }
  const runs = runsOf(openMemory({ disk }), { clock })
  await runs.start()
  clock.now += 1_800_000
  await runs.tidy()
  await runs.stop()
  const entries = await ledgerOf(openMemory({ disk }), sound)
  expect(entries.at(-1)).toMatchObject({ type: expect.stringMatching(/lease.ended|tree.clos/) })
  await expect(runs.execute(damaged, authorize(runs, damaged))).rejects.toThrow()
})
