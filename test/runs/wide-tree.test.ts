import { expect, test } from 'vitest'
import type { Command } from '../../src/core/command.ts'
import type { RunId } from '../../src/core/id.ts'
import { RUNS_PER_TREE_MAX } from '../../src/core/limits.ts'
import { newId } from '../../src/runs/new-id.ts'
import type { Runs } from '../../src/runs/runs.ts'
import { withFaults } from '../../src/store/faults.ts'
import { openMemory } from '../../src/store/memory.ts'
import {
  authorize,
  factsOf,
  kindOf,
  ledgerOf,
  MAINTAINER,
  must,
  type Opened,
  openRun,
  revoke,
  runsOf,
} from './support.ts'

const BRANCHES = 5
const DELEGATE = { maxDepth: 2, maxChildren: 1000, ask: false }

/** A tree with as many runs as a tree can have. */
async function widest(runs: Runs): Promise<{ opened: Opened; first: RunId }> {
  const opened = await openRun(runs, { delegate: DELEGATE, maxToolCalls: null })
  const { terms, promptHash, rule } = (await runs.tree(opened).read())!.runs.get(opened.run)!.lease!
  const { envelope } = (await runs.tree(opened).read())!.runs.get(opened.run)!
  const child = (parent: RunId, depth: number) => {
    const run = newId('run')
    const delegate = depth === 1 ? { ...DELEGATE, maxDepth: 1 } : null
    const narrower = { ...terms, delegate, expiresInSeconds: terms.expiresInSeconds - depth }
    const lease = { lease: newId('lease'), terms: narrower, promptHash, envelope, rule }
    return { do: 'delegate', parent, run, ...lease } satisfies Command
  }
  const above = Array.from({ length: BRANCHES }, () => child(opened.run, 1))
  const below = Array.from({ length: RUNS_PER_TREE_MAX - 1 - BRANCHES }, (_, index) =>
    child(above[index % BRANCHES]!.run, 2),
  )
  const delegated = [...above, ...below].map((command) => runs.execute(opened, command))
  for (const reply of await Promise.all(delegated)) must(reply)
  expect(kindOf(await runs.execute(opened, child(opened.run, 1)))).toBe('too_many_children')
  return { opened, first: above[0]!.run }
}

test('a tree with as many runs as there can be ends in one append', async () => {
  const appends: number[] = []
  const store = withFaults(openMemory(), {
    before: async (write, [batch]) => {
      if (write === 'append') appends.push((batch as { rows: unknown[] }).rows.length)
    },
  })
  const runs = runsOf(store)
  const { opened, first } = await widest(runs)
  appends.length = 0
  // Other commands share the append with the end.
  const calls = Array.from({ length: 60 }, () => authorize(runs, { run: opened.run }))
  const replies = await Promise.all([
    ...calls.map((call) => runs.execute(opened, call)),
    runs.execute(opened, { do: 'end', run: first, by: MAINTAINER, note: 'done' }),
    runs.execute(opened, { do: 'revoke', run: opened.run, by: MAINTAINER, reason: 'stop' }),
    runs.execute(opened, { do: 'close' }),
  ])
  for (const reply of replies) must(reply)
  expect(appends).toEqual([60 + RUNS_PER_TREE_MAX, 1])
  const tree = (await runs.tree(opened).read({ fresh: true }))!
  expect([...tree.runs.values()].filter(({ lease }) => lease!.state !== 'ended')).toEqual([])
})

test('more repeated denials than one append holds are written before the tree is closed', async () => {
  const store = openMemory()
  const runs = runsOf(store)
  const delegate = { maxDepth: 1, maxChildren: 1000, ask: false }
  const opened = await openRun(runs, { delegate, maxToolCalls: null })
  const { lease, envelope } = (await runs.tree(opened).read())!.runs.get(opened.run)!
  const { terms, promptHash, rule } = lease!
  const narrower = { ...terms, delegate: null, expiresInSeconds: terms.expiresInSeconds - 1 }
  const children = Array.from({ length: 90 }, () => newId('run') as RunId)
  const delegated = children.map((run) => {
    const child = { lease: newId('lease'), terms: narrower, promptHash, envelope, rule }
    return runs.execute(opened, { do: 'delegate', parent: opened.run, run, ...child } as Command)
  })
  for (const reply of await Promise.all(delegated)) must(reply)
  for (let times = 0; times < 3; times++) {
    const calls = children.flatMap((run) =>
      Array.from({ length: 50 }, (_, at) =>
        authorize(runs, { run }, { facts: factsOf('secret.read', { at }) }),
      ),
    )
    await Promise.all(calls.map((call) => runs.execute(opened, call)))
  }
  must(await runs.execute(opened, revoke(opened.run)))
  must(await runs.execute(opened, { do: 'close' }))
  const entries = await ledgerOf(store, opened)
  const again = entries.filter((entry) => entry.type === 'call.denied_again')
  expect(again).toHaveLength(90 * 50)
  expect(again.every(({ command }) => command.times === 2)).toBe(true)
  expect(entries.at(-1)!.type).toBe('tree.closed')
})
