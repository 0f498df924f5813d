import { join } from 'node:path'
import { expect } from 'vitest'
import type { EntryOf } from '../../src/core/entry.ts'
import { replay } from '../../src/core/replay.ts'
import type { Tree } from '../../src/core/tree.ts'
import { EXECUTOR_LAPSE_MS } from '../../src/runs/tidy.ts'
import { LOCAL_ORG } from '../../src/server.ts'
import { openSqlite } from '../../src/store/sqlite.ts'
import { ledgerOf, runsOf } from '../runs/support.ts'
import type { Arena } from './arena.ts'

const COMPILED = join(import.meta.dirname, '../../node_modules/.cache/daypass-autopsy')

/** What was found in a database after its process was killed, before and after recovery. */
export interface Findings {
  /** Ids of calls with a durable `call.allowed`. */
  readonly allowed: ReadonlySet<string>
  /** Of these, what had a settlement before recovery. */
  readonly settled: ReadonlySet<string>
  /** Of these, what recovery has settled as unknown. */
  readonly unknown: ReadonlySet<string>
}

/**
 * Opens the database of a victim as its successor does, and holds it against what the upstream has
 * executed. Every promise of a crash is checked here.
 */
export async function autopsy(arena: Arena, budget: number): Promise<Findings> {
  // The thread of the store is started for each death; what it compiles is kept.
  process.env.NODE_COMPILE_CACHE = COMPILED
  const store = await openSqlite({ file: arena.database })
  const found = {
    allowed: new Set<string>(),
    settled: new Set<string>(),
    unknown: new Set<string>(),
  }
  try {
    const { items } = await store.listTrees({ org: LOCAL_ORG, limit: 1_000 })
    for (const key of items) {
      // Checks the chain.
      const entries = await ledgerOf(store, key)
      for (const entry of entries) if (entry.type === 'call.allowed') found.allowed.add(idOf(entry))
      const settled = entries.filter((entry) => entry.type === 'call.settled')
      const calls = new Set(settled.map(({ command }) => command.call))
      for (const entry of entries) {
        if (entry.type === 'call.allowed' && calls.has(entry.command.call)) {
          found.settled.add(idOf(entry))
        }
      }
    }
    // The successor comes when the heartbeat of the dead has lapsed.
    const runs = runsOf(store, { clock: { now: Date.now() + EXECUTOR_LAPSE_MS + 1_000 } })
    await runs.start()
    await runs.tidy()
    await runs.stop()
    for (const key of items) {
      const replayed = replay(await ledgerOf(store, key))
      if (!replayed.ok) throw new Error(replayed.error.message)
      examine(arena, replayed.value.tree, { budget, found })
    }
  } finally {
    await store.close()
  }
  const { executed } = arena.upstream
  expect(new Set(executed).size, 'no call is executed twice').toBe(executed.length)
  const unrecorded = executed.filter((id) => !found.allowed.has(id))
  expect(unrecorded, 'what the upstream executed and the ledger does not know').toEqual([])
  for (const [id, { answer }] of arena.sent) {
    if (answer?.text === `added ${id}`) expect(found.allowed, 'answered').toContain(id)
  }
  return found
}

/** One tree after recovery. */
function examine(
  arena: Arena,
  tree: Tree,
  { budget, found }: { budget: number; found: Findings & { unknown: Set<string> } },
): void {
  const run = tree.runs.get(tree.root)!
  const executed = arena.upstream.executed.filter((id) => arena.sent.get(id)!.run === run.id)
  expect(executed.length, 'executions of a run').toBeLessThanOrEqual(budget)
  expect(run.lease?.spent.calls ?? 0, 'calls spent').toBeLessThanOrEqual(budget)
  expect(run.inFlight.size, 'calls in flight after recovery').toBe(0)
  for (const call of tree.calls.values()) {
    const id = call.key.replace(/^use:callId:/, '')
    if (call.outcome === 'unknown') found.unknown.add(id)
    const outcomes = found.settled.has(id) ? ['succeeded', 'unknown'] : ['unknown']
    expect(outcomes, `outcome of ${id}`).toContain(call.outcome)
  }
}

function idOf({ command }: EntryOf<'call.allowed'>): string {
  return command.key.replace(/^use:callId:/, '')
}
