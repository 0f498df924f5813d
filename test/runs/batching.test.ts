import { expect, test } from 'vitest'
import type { Entry } from '../../src/core/entry.ts'
import { evolve } from '../../src/core/evolve.ts'
import type { Facts } from '../../src/core/facts.ts'
import { toSnapshot } from '../../src/core/snapshot.ts'
import type { Tree } from '../../src/core/tree.ts'
import { withFaults } from '../../src/store/faults.ts'
import { MemoryDisk, openMemory } from '../../src/store/memory.ts'
import { LIMITS } from '../../src/store/store.ts'
import {
  authorize,
  countOf,
  factsOf,
  kindOf,
  ledgerOf,
  must,
  openRun,
  revoke,
  runsOf,
  settle,
} from './support.ts'

/** A store that counts the appends of entries, and can hold them up. */
function counting() {
  const state = { appends: 0, rows: 0, hold: null as Promise<void> | null }
  const store = withFaults(openMemory(), {
    before: async (write, [batch]) => {
      if (write !== 'append') return
      state.appends += 1
      state.rows += (batch as { rows: unknown[] }).rows.length
      await state.hold
    },
  })
  return { store, state }
}

test('200 commands of one tick are decided one after the other, 64 to an append', async () => {
  const { store, state } = counting()
  const runs = runsOf(store)
  const opened = await openRun(runs, { maxToolCalls: 150 })
  state.appends = 0
  const calls = Array.from({ length: 200 }, () => authorize(runs, opened))
  const replies = await Promise.all(calls.map((call) => runs.execute(opened, call)))
  expect(replies.filter((reply) => kindOf(reply) === 'allow')).toHaveLength(150)
  expect(replies.filter((reply) => kindOf(reply) === 'calls_exhausted')).toHaveLength(50)
  // Each one is answered with its own call, in the order in which they were made.
  for (const [index, reply] of replies.slice(0, 150).entries()) {
    expect(must(reply)).toMatchObject({ kind: 'allow', call: calls[index]!.call })
  }
  // The last eight are denied like those before them, which is not written again.
  expect(state.appends).toBe(3)
  expect(countOf(await ledgerOf(store, opened), 'call.allowed')).toBe(150)
})

test('commands that come while an append is under way share the next one', async () => {
  const { store, state } = counting()
  const runs = runsOf(store)
  const opened = await openRun(runs, { maxToolCalls: 1000 })
  const gate = Promise.withResolvers<void>()
  state.appends = 0
  state.hold = gate.promise
  const first = runs.execute(opened, authorize(runs, opened))
  await new Promise((resolve) => setTimeout(resolve, 5))
  const rest = Array.from({ length: 64 }, () => runs.execute(opened, authorize(runs, opened)))
  await new Promise((resolve) => setTimeout(resolve, 5))
  expect(state.appends).toBe(1)
  state.hold = null
  gate.resolve()
  const replies = await Promise.all([first, ...rest])
  expect(replies.map(kindOf)).toEqual(Array(65).fill('allow'))
  expect(state.appends).toBe(2)
})

test('a batch of any size stays within what a store takes at once', async () => {
  const { store, state } = counting()
  const runs = runsOf(store)
  const opened = await openRun(runs, { maxToolCalls: 100 })
  state.appends = 0
  // Each of these entries has half a megabyte, which together no store would take.
  const big = (index: number) => {
    const facts = { ...factsOf(), args: { text: 'x'.repeat(500_000), index } }
    return runs.execute(opened, authorize(runs, opened, { facts }))
  }
  const replies = await Promise.all(Array.from({ length: 40 }, (_, index) => big(index)))
  expect(replies.map(kindOf)).toEqual(Array(40).fill('allow'))
  expect(state.appends).toBeGreaterThan(3)
})

test('threat 18: a command that cannot be written down is rejected alone', async () => {
  const { store } = counting()
  const runs = runsOf(store)
  const opened = await openRun(runs)
  const poison: Facts[] = [
    { ...factsOf(), args: { text: '\ud800' } },
    { ...factsOf(), args: { number: Number.NaN } },
    { ...factsOf(), args: { text: 'x'.repeat(LIMITS.bodyBytes) } },
    { ...factsOf(), args: { number: 1n as never } },
  ]
  const before = [1, 2, 3].map(() => runs.execute(opened, authorize(runs, opened)))
  const bad = poison.map((facts) => runs.execute(opened, authorize(runs, opened, { facts })))
  const after = [1, 2, 3].map(() => runs.execute(opened, authorize(runs, opened)))
  const results = await Promise.allSettled(bad)
  const allowed = results.filter(
    (result) => result.status === 'fulfilled' && kindOf(result.value) === 'allow',
  )
  expect(allowed).toEqual([])
  expect((await Promise.all([...before, ...after])).map(kindOf)).toEqual(Array(6).fill('allow'))
  const entries = await ledgerOf(store, opened)
  expect(countOf(entries, 'call.allowed')).toBe(6)
  // The tree goes on with what is stored.
  const tree = (await runs.tree(opened).read())!
  expect(tree.seq).toBe(entries.length)
  expect(tree.runs.get(opened.run)!.lease!.spent.calls).toBe(6)
})

test('a decision that cannot be folded is rejected alone, and the tree loaded again', async () => {
  const { store } = counting()
  const runs = runsOf(store)
  const opened = await openRun(runs)
  const poison = authorize(runs, opened)
  const facts = factsOf()
  let isFolded = false
  // What `decide` reads is in order; the fold is what stumbles.
  Object.defineProperty(poison, 'facts', {
    enumerable: true,
    get: () => {
      isFolded ||= /evolve-call/.test(new Error().stack ?? '')
      if (isFolded) throw new Error('spoiled')
      return facts
    },
  })
  const results = await Promise.allSettled([
    runs.execute(opened, authorize(runs, opened)),
    runs.execute(opened, poison),
    runs.execute(opened, authorize(runs, opened)),
  ])
  const good = [results[0]!, results[2]!].map((result) =>
    result.status === 'fulfilled' ? kindOf(result.value) : 'rejected',
  )
  expect(good).toEqual(['allow', 'allow'])
  expect(results[1]).toMatchObject({ status: 'rejected', reason: { message: 'spoiled' } })
  const tree = (await runs.tree(opened).read())!
  expect(tree.seq).toBe((await ledgerOf(store, opened)).length)
})

test('repeated denials are counted, and the count is there when the tree is closed', async () => {
  const { store } = counting()
  const runs = runsOf(store)
  const opened = await openRun(runs)
  const denied = () => runs.execute(opened, authorize(runs, opened, { facts: factsOf('repo.tag') }))
  for (let i = 0; i < 5; i++) expect(kindOf(await denied())).toBe('no_grant')
  await runs.execute(opened, revoke(opened.run))
  // The last repeats ride in the batch that closes the tree.
  const last = authorize(runs, opened)
  expect(kindOf(await runs.execute(opened, last))).toBe('lease_ended')
  const [, , closed] = await Promise.all([
    runs.execute(opened, authorize(runs, opened)),
    runs.execute(opened, authorize(runs, opened)),
    runs.execute(opened, { do: 'close' }),
  ])
  must(closed!)
  const entries = await ledgerOf(store, opened)
  expect(entries.at(-1)!.type).toBe('tree.closed')
  const tree = fold(entries)
  const times = [...tree.denials.values()].map(({ reason, times }) => `${reason} ${times}`).sort()
  expect(times).toEqual(['lease_ended 3', 'no_grant 5'])
})

test('counts survive a failed append, and are written once', async () => {
  let failing = false
  const store = withFaults(openMemory(), {
    before: (write) => {
      if (failing && write === 'append') throw new Error('disk')
    },
  })
  const runs = runsOf(store)
  const opened = await openRun(runs)
  const denied = () => runs.execute(opened, authorize(runs, opened, { facts: factsOf('repo.tag') }))
  for (let i = 0; i < 4; i++) await denied()
  failing = true
  await expect(runs.tree(opened).fold()).rejects.toThrow('disk')
  failing = false
  await runs.tree(opened).fold()
  await runs.tree(opened).fold()
  const [denial] = fold(await ledgerOf(store, opened)).denials.values()
  expect(denial!.times).toBe(4)
})

test('a long tree is loaded from its snapshot, and equals the fold of all entries', async () => {
  const disk = new MemoryDisk()
  const store = openMemory({ disk })
  const runs = runsOf(store)
  const opened = await openRun(runs, { maxToolCalls: 100_000 })
  while (((await runs.tree(opened).read())?.seq ?? 0) < 2_500) {
    const calls = Array.from({ length: 50 }, () => authorize(runs, opened))
    await Promise.all(calls.map((call) => runs.execute(opened, call)))
    await Promise.all(calls.map(({ call }) => runs.execute(opened, settle(call))))
  }
  await runs.stop()
  const loads: number[] = []
  const watched = new Proxy(openMemory({ disk }), {
    get: (target, name) => {
      const method = Reflect.get(target, name, target)
      if (name !== 'load') return typeof method === 'function' ? method.bind(target) : method
      return (key: never, after: number) => {
        loads.push(after)
        return target.load(key, after)
      }
    },
  })
  const again = (await runsOf(watched).tree(opened).read())!
  expect(loads[0]).toBeGreaterThanOrEqual(1_000)
  const entries = await ledgerOf(store, opened)
  expect(again.seq).toBe(entries.length)
  expect(toSnapshot(again)).toEqual(toSnapshot(fold(entries)))
})

test('a snapshot that cannot be read is folded around', async () => {
  const disk = new MemoryDisk()
  const store = openMemory({ disk })
  const runs = runsOf(store)
  const opened = await openRun(runs)
  await runs.execute(opened, authorize(runs, opened))
  const head = (await store.head(opened))!
  await store.saveSnapshot(opened, { ...head, rules: 1, body: '{"seq":' })
  const again = (await runsOf(openMemory({ disk })).tree(opened).read())!
  expect(again.runs.get(opened.run)!.lease!.spent.calls).toBe(1)
})

function fold(entries: readonly Entry[]): Tree {
  let tree: Tree | null = null
  for (const entry of entries) tree = evolve(tree, entry)
  return tree!
}
