import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Command } from '../core/command.ts'
import type { Reply } from '../core/decision.ts'
import type { Entry } from '../core/entry.ts'
import type { CallId, Instant, OrgId, RunId, TreeId } from '../core/id.ts'
import type { Refusal } from '../core/reason.ts'
import type { Result } from '../core/result.ts'
import type { Tree } from '../core/tree.ts'
import { type Store, StoreError, type TreeInfo, type TreeKey } from '../store/store.ts'
import { LiveTree } from './live-tree.ts'
import { deadRuns, isAbandoned, isClosable, mayBeDue, Orphans } from './tidy.ts'

/** How often background work looks: it tidies, it never decides. */
const TIDY_MS = 500
/** Trees that are looked at before other work gets its turn: less than a millisecond. */
const TREES_PER_TURN = 1_000
const BEAT_MS = 5_000
/** Closed trees that are kept in memory for questions. */
const CLOSED_KEPT = 100
/** Denials that repeat are counted in memory, and written at least this often. */
const FOLD_MS = 1_000
/** Between looks at whether the calls of an ended tree have answered. */
const CLOSE_POLL_MS = 20
/**
 * Settlements that the store has refused and that are tried again; more than this is a dead store.
 */
const OWED_MAX = 10_000

export type Listener = (tree: Tree, entries: readonly Entry[]) => void

export interface RunsOptions {
  readonly store: Store
  readonly clock: () => Instant
  /** This incarnation of this process: recorded with each call that it executes. */
  readonly executor: string
}

type Settle = Extract<Command, { do: 'settle' }>

/**
 * All run trees, as this process writes them. `execute` is the only way to change one. Background
 * work appends the ends that time has brought, settles calls of dead processes and closes ended
 * trees.
 */
export class Runs {
  readonly executor: string
  readonly #options: RunsOptions
  /**
   * By organisation first: two of them never meet in one entry, whatever their trees are called.
   */
  readonly #live = new Map<OrgId, Map<TreeId, LiveTree>>()
  readonly #listeners = new Set<Listener>()
  readonly #orphans: Orphans
  /** Settlements that could not be recorded, or are due because nothing ran. */
  readonly #owed = new Map<CallId, { readonly key: TreeKey; readonly settle: Settle }>()
  #timer: NodeJS.Timeout | null = null
  #tidying: Promise<void> = Promise.resolve()
  #beatAt = Number.NEGATIVE_INFINITY
  #foldedAt = Number.NEGATIVE_INFINITY

  constructor(options: RunsOptions) {
    this.#options = options
    this.executor = options.executor
    this.#orphans = new Orphans(options.store, options.executor)
  }

  /**
   * Takes up the trees that were open when the last process ended, and begins to tidy. Trees of an
   * older epoch are ended before this resolves, so nothing is to be judged before.
   */
  async start(): Promise<void> {
    await this.#options.store.beat(this.executor, this.#options.clock())
    await this.#adopt()
    // What an earlier process could not bring to its end. A short command does its part, too.
    await this.tidy()
    this.#timer = setInterval(() => {
      this.#tidying = this.#tidying.then(() => this.tidy()).catch(() => {})
    }, TIDY_MS)
    this.#timer.unref()
  }

  async stop(): Promise<void> {
    if (this.#timer !== null) clearInterval(this.#timer)
    await this.#tidying
    await attempt(() => this.#payOwed())
    await Promise.all(this.#all().map((live) => attempt(() => live.fold())))
    while (this.#all().some((tree) => tree.isBusy)) {
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
  }

  /**
   * Decides and durably appends. A refusal is a value; a rejection means that the store cannot say
   * what it holds, and that nothing may be done.
   */
  async execute(key: TreeKey, command: Command): Promise<Result<Reply, Refusal>> {
    try {
      return await this.tree(key).execute(command)
    } catch (error) {
      if (error instanceof StoreError) this.#owe(key, command)
      throw error
    }
  }

  tree({ org, tree }: TreeKey): LiveTree {
    return this.#live.get(org)?.get(tree) ?? this.#hold(org, tree)
  }

  #hold(org: OrgId, tree: TreeId): LiveTree {
    const { store, clock } = this.#options
    const appended: Listener = (changed, entries) => this.#tell(changed, entries)
    const live = new LiveTree({ org, tree }, { store, clock, appended })
    const ofOrg = this.#live.get(org) ?? new Map<TreeId, LiveTree>()
    this.#live.set(org, ofOrg.set(tree, live))
    return live
  }

  #all(): LiveTree[] {
    return [...this.#live.values()].flatMap((ofOrg) => [...ofOrg.values()])
  }

  /**
   * Told of every durable entry of the trees that this process holds: its own at once, another
   * process's within `TIDY_MS` or at the next command. What a listener throws is dropped.
   */
  listen(listener: Listener): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  async find(org: OrgId, run: RunId): Promise<TreeKey | null> {
    const tree = await this.#options.store.treeOfRun(org, run)
    return tree === null ? null : { org, tree }
  }

  /** Closes an ended tree, and resolves when it is closed: the receipt can be made. */
  async close(key: TreeKey): Promise<void> {
    for (;;) {
      const reply = await this.execute(key, { do: 'close' })
      if (!reply.ok && reply.error.code === 'tree_closed') return
      if (!reply.ok && reply.error.code !== 'calls_in_flight') throw new Error(reply.error.message)
      const tree = await this.tree(key).read()
      if (tree?.phase === 'closed') return
      await new Promise((resolve) => setTimeout(resolve, CLOSE_POLL_MS))
    }
  }

  /** A listener is a guest: the entries are durable, whatever it makes of them. */
  #tell(tree: Tree, entries: readonly Entry[]): void {
    for (const listener of this.#listeners) {
      try {
        listener(tree, entries)
      } catch {
        // Told again of nothing; see `listen`.
      }
    }
  }

  /**
   * The store could not say whether it holds these entries. An authorization that turns out to be
   * stored was answered with a denial, so it is settled as never sent; an outcome is recorded
   * later.
   */
  #owe(key: TreeKey, command: Command): void {
    if (this.#owed.size >= OWED_MAX) return
    if (command.do === 'settle') this.#owed.set(command.call, { key, settle: command })
    if (command.do !== 'authorize') return
    const { call } = command
    const nothing = { resultDigest: null, usd: null, note: 'never sent' } as const
    this.#owed.set(call, { key, settle: { do: 'settle', call, outcome: 'failed', ...nothing } })
  }

  async #payOwed(): Promise<void> {
    for (const [call, { key, settle }] of [...this.#owed]) {
      // A refusal settles it too: nothing is stored, or it is settled already.
      await this.tree(key).execute(settle)
      this.#owed.delete(call)
    }
  }

  async #adopt(): Promise<void> {
    const { store } = this.#options
    const epoch = await store.epoch()
    for (const org of await store.orgs()) {
      let after: Parameters<Store['listTrees']>[0]['after']
      for (;;) {
        const query = { org, open: true, limit: 500, ...(after === undefined ? {} : { after }) }
        const page = await store.listTrees(query)
        for (const info of page.items) {
          if (info.epoch < epoch) await this.#endRestored(info)
          else await attempt(() => this.tree(info).read())
        }
        if (page.next === null) break
        after = page.next
      }
    }
  }

  /**
   * Threat 62: what was revoked or spent after the backup is not known, so nothing goes on from it.
   */
  async #endRestored(info: TreeInfo): Promise<void> {
    const reason = 'the database was restored from a backup, and what came after it is not known'
    const by = { server: 'daypass' } as const
    const reply = await this.execute(info, { do: 'revoke', run: info.root, by, reason })
    if (!reply.ok && reply.error.code !== 'lease_ended') {
      throw new Error(`${info.tree} of before the restoration: ${reply.error.message}`)
    }
  }

  /**
   * One round of background work. Called by the timer; tests call it themselves. What fails for one
   * tree is tried again next time, and holds up no other.
   */
  async tidy(): Promise<void> {
    const now = this.#options.clock()
    await attempt(() => this.#beat(now))
    await attempt(() => this.#payOwed())
    await attempt(() => this.#follow())
    const isFoldDue = Math.abs(now - this.#foldedAt) >= FOLD_MS
    if (isFoldDue) this.#foldedAt = now
    for (const [index, live] of this.#all().entries()) {
      if (index % TREES_PER_TURN === TREES_PER_TURN - 1) await nextTurn()
      if (isFoldDue && live.hasRepeats) await attempt(() => live.fold())
      live.saveSnapshotIfIdle()
      const tree = live.peek()
      if (tree !== null && mayBeDue(tree, now)) {
        await attempt(() => this.#tidyTree(live, tree, now))
      }
    }
    this.#evict()
  }

  async #beat(now: Instant): Promise<void> {
    if (Math.abs(now - this.#beatAt) < BEAT_MS) return
    await this.#options.store.beat(this.executor, now)
    this.#beatAt = now
    await this.#options.store.sweep(now)
  }

  /**
   * Sees what other processes have appended, and tells the listeners: calls end, asks are answered.
   */
  async #follow(): Promise<void> {
    for (const [org, ofOrg] of this.#live) {
      const lives = [...ofOrg.values()].filter((live) => live.peek()?.phase !== 'closed')
      const trees = lives.map(({ key }) => key.tree)
      const heads = await this.#options.store.heads(org, trees)
      for (const live of lives) {
        const stored = heads.get(live.key.tree)?.seq ?? 0
        if (live.isLoaded && stored === (live.peek()?.seq ?? 0)) continue
        if (!live.isBusy) await attempt(() => live.read({ fresh: true }))
      }
    }
  }

  async #tidyTree(live: LiveTree, tree: Tree, now: Instant): Promise<void> {
    const due: Command[] = deadRuns(tree, now).map((run) => ({ do: 'expire', run }))
    const by = { server: 'daypass' } as const
    if (isAbandoned(tree, now)) {
      due.push({ do: 'end', run: tree.root, by, note: 'no lease was requested' })
    }
    for (const call of await this.#orphans.of(tree, now)) {
      const nothing = { resultDigest: null, usd: null, note: 'executor lost' } as const
      due.push({ do: 'settle', call, outcome: 'unknown', ...nothing })
    }
    await Promise.all(due.map((command) => live.execute(command)))
    if (isClosable(tree, now)) await live.execute({ do: 'close' })
  }

  #evict(): void {
    const idle = this.#all().filter((live) => live.isLoaded && !live.isBusy)
    const closed = idle.filter((live) => live.peek()?.phase === 'closed')
    const absent = idle.filter((live) => live.peek() === null)
    const spare = closed.slice(0, Math.max(0, closed.length - CLOSED_KEPT))
    for (const { key } of [...absent, ...spare]) this.#live.get(key.org)?.delete(key.tree)
  }
}

/** Background work goes on after a failure: the store says `broken` to whoever asks it for more. */
async function attempt(work: () => Promise<unknown>): Promise<void> {
  try {
    await work()
  } catch {
    // Tried again in the next round.
  }
}
