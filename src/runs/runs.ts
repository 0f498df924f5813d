import { deathOf } from '../core/chain.ts'
import type { Command } from '../core/command.ts'
import type { Reply } from '../core/decision.ts'
import type { Entry } from '../core/entry.ts'
import type { CallId, Instant, OrgId, RunId, TreeId } from '../core/id.ts'
import type { Refusal } from '../core/reason.ts'
import type { Result } from '../core/result.ts'
import type { Tree } from '../core/tree.ts'
import type { Store, TreeKey } from '../store/store.ts'
import { LiveTree } from './live-tree.ts'

/** How often background work looks: it tidies, it never decides. */
const TIDY_MS = 500
/** An executor that has not shown itself for this long is dead; its calls are settled `unknown`. */
const EXECUTOR_LAPSE_MS = 15_000
const BEAT_MS = 5_000
/** A tree that ended stays open for refusals to be recorded, unless somebody asks to close it. */
const CLOSE_GRACE_MS = 5_000
/** Closed trees that are kept in memory for questions. */
const CLOSED_KEPT = 100
/** Denials that repeat are counted in memory, and written at least this often. */
const FOLD_MS = 1_000

export type Listener = (tree: Tree, entries: readonly Entry[]) => void

export interface RunsOptions {
  readonly store: Store
  readonly clock: () => Instant
  /** This incarnation of this process: recorded with each call that it executes. */
  readonly executor: string
}

/**
 * All run trees, as this process writes them. `execute` is the only way to change one. Background work
 * appends the ends that time has brought, settles calls of dead processes and closes ended trees.
 */
export class Runs {
  readonly executor: string
  readonly #options: RunsOptions
  readonly #live = new Map<TreeId, LiveTree>()
  readonly #listeners = new Set<Listener>()
  readonly #repeats = new Map<TreeId, Map<number, number>>()
  #timer: NodeJS.Timeout | null = null
  #tidying: Promise<void> = Promise.resolve()
  #beatAt = 0
  #foldedAt = 0

  constructor(options: RunsOptions) {
    this.#options = options
    this.executor = options.executor
  }

  /** Takes up the trees that were open when the last process ended, and begins to tidy. */
  async start(): Promise<void> {
    await this.#options.store.beat(this.executor, this.#options.clock())
    await this.#adopt()
    this.#timer = setInterval(() => {
      this.#tidying = this.#tidying.then(() => this.tidy()).catch(() => {})
    }, TIDY_MS)
    this.#timer.unref()
  }

  async stop(): Promise<void> {
    if (this.#timer !== null) clearInterval(this.#timer)
    await this.#tidying
    await this.#foldAll()
    while ([...this.#live.values()].some((tree) => tree.isBusy)) {
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
  }

  /**
   * Decides and durably appends. A refusal is a value; a rejection means that the store cannot say
   * what it holds, and that nothing may be done.
   */
  async execute(key: TreeKey, command: Command): Promise<Result<Reply, Refusal>> {
    const reply = await this.tree(key).execute(command)
    if (reply.ok && reply.value.kind === 'deny' && reply.value.repeats !== null) {
      this.#count(key.tree, reply.value.repeats)
    }
    return reply
  }

  tree(key: TreeKey): LiveTree {
    let live = this.#live.get(key.tree)
    if (live === undefined) {
      live = new LiveTree(key, {
        store: this.#options.store,
        clock: this.#options.clock,
        appended: (tree, entries) => this.#tell(tree, entries),
      })
      this.#live.set(key.tree, live)
    }
    return live
  }

  /** Told of every durable batch of this process. A listener must not throw and not wait. */
  listen(listener: Listener): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  async find(org: OrgId, run: RunId): Promise<TreeKey | null> {
    const tree = await this.#options.store.treeOfRun(org, run)
    return tree === null ? null : { org, tree }
  }

  /** Ends what has ended, closes it, and resolves when the tree is closed: the receipt can be made. */
  async close(key: TreeKey): Promise<void> {
    for (;;) {
      await this.#fold(key)
      const reply = await this.execute(key, { do: 'close' })
      if (!reply.ok && reply.error.code === 'tree_closed') return
      if (!reply.ok && reply.error.code !== 'calls_in_flight') throw new Error(reply.error.message)
      const tree = await this.tree(key).read()
      if (tree?.phase === 'closed') return
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }

  #tell(tree: Tree, entries: readonly Entry[]): void {
    for (const listener of this.#listeners) listener(tree, entries)
  }

  #count(tree: TreeId, denial: number): void {
    const counts = this.#repeats.get(tree) ?? new Map<number, number>()
    counts.set(denial, (counts.get(denial) ?? 0) + 1)
    this.#repeats.set(tree, counts)
  }

  async #fold(key: TreeKey): Promise<void> {
    const counts = this.#repeats.get(key.tree)
    this.#repeats.delete(key.tree)
    for (const [denial, times] of counts ?? []) {
      await this.tree(key).execute({ do: 'fold', denial, times })
    }
  }

  async #foldAll(): Promise<void> {
    for (const tree of [...this.#repeats.keys()]) {
      const live = this.#live.get(tree)
      if (live !== undefined) await this.#fold(live.key).catch(() => {})
    }
  }

  async #adopt(): Promise<void> {
    const { store } = this.#options
    for (const org of await store.orgs()) {
      let after: Parameters<Store['listTrees']>[0]['after']
      for (;;) {
        const query = { org, open: true, limit: 500, ...(after === undefined ? {} : { after }) }
        const page = await store.listTrees(query)
        for (const { tree } of page.items) await this.tree({ org, tree }).read()
        if (page.next === null) break
        after = page.next
      }
    }
  }

  /** One round of background work. Called by the timer; tests call it themselves. */
  async tidy(): Promise<void> {
    const now = this.#options.clock()
    if (now - this.#beatAt >= BEAT_MS) {
      this.#beatAt = now
      await this.#options.store.beat(this.executor, now)
      await this.#options.store.sweep(now)
    }
    if (now - this.#foldedAt >= FOLD_MS) {
      this.#foldedAt = now
      await this.#foldAll()
    }
    for (const live of this.#live.values()) {
      await live.refresh()
      const tree = live.peek()
      if (tree !== null && tree.phase !== 'closed') await this.#tidyTree(live, tree, now)
    }
    this.#evict()
  }

  async #tidyTree(live: LiveTree, tree: Tree, now: Instant): Promise<void> {
    const due = [...tree.runs.values()].filter((run) => deathOf(tree, run, now) !== null)
    for (const { id } of due) await live.execute({ do: 'expire', run: id })
    for (const call of await this.#orphans(tree, now)) {
      const note = 'executor lost'
      const settle = { do: 'settle', call, outcome: 'unknown', resultDigest: null } as const
      await live.execute({ ...settle, usd: null, note })
    }
    const root = tree.runs.get(tree.root)!.lease
    const endedAt = root?.state === 'ended' ? (root.endedAt ?? now) : null
    if (endedAt !== null && now - endedAt >= CLOSE_GRACE_MS) {
      await this.#fold(live.key)
      await live.execute({ do: 'close' })
    }
  }

  /** Calls whose process is gone, or that are past their deadline. */
  async #orphans(tree: Tree, now: Instant): Promise<CallId[]> {
    const orphans: CallId[] = []
    const lapsed = new Map<string, boolean>()
    for (const run of tree.runs.values()) {
      for (const id of run.inFlight) {
        const call = tree.calls.get(id)!
        if (call.executor === this.executor && now < call.deadline) continue
        if (!lapsed.has(call.executor)) {
          const beat = await this.#options.store.lastBeat(call.executor)
          lapsed.set(call.executor, beat === null || now - beat > EXECUTOR_LAPSE_MS)
        }
        if (now >= call.deadline || lapsed.get(call.executor)) orphans.push(id)
      }
    }
    return orphans
  }

  #evict(): void {
    const closed = [...this.#live.values()].filter(
      (live) => live.peek()?.phase === 'closed' && !live.isBusy,
    )
    for (const live of closed.slice(0, Math.max(0, closed.length - CLOSED_KEPT))) {
      this.#live.delete(live.key.tree)
      this.#repeats.delete(live.key.tree)
    }
  }
}
