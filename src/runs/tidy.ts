import { deathOf } from '../core/chain.ts'
import type { CallId, Instant, RunId } from '../core/id.ts'
import type { Tree } from '../core/tree.ts'
import type { Store } from '../store/store.ts'

/** What background work finds to do in a run tree. Nothing here changes one. */

/** An executor that has not shown itself for this long is dead; its calls are settled `unknown`. */
export const EXECUTOR_LAPSE_MS = 15_000
/** A tree that ended stays open for refusals to be recorded, unless somebody asks to close it. */
export const CLOSE_GRACE_MS = 5_000
/** Whoever opens a run requests its lease at once; after this long they have died in between. */
export const REQUEST_GRACE_MS = 60_000

/** Whether there may be anything to do: a look at each of many trees, of which few need more. */
export function mayBeDue(tree: Tree, now: Instant): boolean {
  if (tree.phase === 'closed') return false
  for (const run of tree.runs.values()) {
    if (run.inFlight.size > 0 || deathOf(tree, run, now) !== null) return true
  }
  return isAbandoned(tree, now) || isClosable(tree, now)
}

/** Runs whose lease is dead and has no entry that says so. */
export function deadRuns(tree: Tree, now: Instant): RunId[] {
  return [...tree.runs.values()].filter((run) => deathOf(tree, run, now) !== null).map((r) => r.id)
}

/** Opened, and nobody has ever requested a lease. */
export function isAbandoned(tree: Tree, now: Instant): boolean {
  const root = tree.runs.get(tree.root)!
  return root.lease === null && tree.phase === 'open' && now - root.openedAt >= REQUEST_GRACE_MS
}

export function isClosable(tree: Tree, now: Instant): boolean {
  if (tree.phase === 'open' || tree.phase === 'closed') return false
  const endedAt = tree.runs.get(tree.root)!.lease?.endedAt ?? tree.at
  return now - endedAt >= CLOSE_GRACE_MS
}

/** Finds calls whose process is gone, or that are past their deadline. */
export class Orphans {
  readonly #store: Store
  readonly #executor: string

  constructor(store: Store, executor: string) {
    this.#store = store
    this.#executor = executor
  }

  async of(tree: Tree, now: Instant): Promise<CallId[]> {
    const orphans: CallId[] = []
    const lapsed = new Map<string, boolean>([[this.#executor, false]])
    const inFlight = [...tree.runs.values()].flatMap((run) => [...run.inFlight])
    for (const call of inFlight.map((id) => tree.calls.get(id)!)) {
      if (now < call.deadline && !lapsed.has(call.executor)) {
        const beat = await this.#store.lastBeat(call.executor)
        lapsed.set(call.executor, beat === null || now - beat > EXECUTOR_LAPSE_MS)
      }
      if (now >= call.deadline || lapsed.get(call.executor) === true) orphans.push(call.id)
    }
    return orphans
  }
}
