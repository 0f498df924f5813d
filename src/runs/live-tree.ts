import type { Command } from '../core/command.ts'
import type { Reply } from '../core/decision.ts'
import type { Entry } from '../core/entry.ts'
import { evolve } from '../core/evolve.ts'
import type { Instant, RunId } from '../core/id.ts'
import { RULES_VERSION } from '../core/limits.ts'
import type { Refusal } from '../core/reason.ts'
import { err, type Result } from '../core/result.ts'
import { fromSnapshot, snapshotText } from '../core/snapshot.ts'
import type { Run, Tree } from '../core/tree.ts'
import { GENESIS } from '../ledger/chain.ts'
import type { Snapshot, Store, TreeKey } from '../store/store.ts'
import { type Answer, Attempt, answerAll, indexOf, type Pending } from './attempt.ts'

/** Commands of one tree that are decided and appended together: about a millisecond of work. */
const BATCH_MAX = 64
/** Writers that keep being overtaken by another process give up after this many tries. */
const CONFLICTS_MAX = 200
/**
 * Entries after which a snapshot saves folding them again. A snapshot costs as much as the tree is
 * large, so it waits until nothing has happened for a while and the history has doubled since the
 * last; a tree that is never idle gets one when its history is eight times as long.
 */
const SNAPSHOT_FIRST = 1_000
const SNAPSHOT_IDLE_GROWTH = 2
const SNAPSHOT_BUSY_GROWTH = 8
const IDLE_MS = 1_000
/** A settlement that ends nothing waits this long for another commit to ride with. */
const LAZY_MS = 5
/** An answer that appended nothing rests on the copy in memory; older copies are compared first. */
const FRESH_MS = 250

interface Look {
  /** Compare with the store first. */
  readonly fresh: boolean
  readonly resolve: (tree: Tree | null) => void
  readonly reject: (error: unknown) => void
}

export interface LiveOptions {
  readonly store: Store
  readonly clock: () => Instant
  /**
   * Told of every durable entry once, in order: this process's before its commands are answered,
   * another's when the copy is next loaded. Not told of what stood in the tree when it was first
   * loaded.
   */
  readonly appended: (tree: Tree, entries: readonly Entry[]) => void
}

/**
 * The one writer of a run tree in this process. Commands that arrive while an append is under way
 * are decided together and appended once. A conflict (another process was first) or a failure of
 * the store throws the copy in memory away and loads it again: recovery and the normal path share
 * this code.
 *
 * INVARIANT: no answer is given before the entries that it rests on are durable.
 * INVARIANT: only `#drain` loads, compares or changes the copy, one thing at a time.
 */
export class LiveTree {
  readonly key: TreeKey
  readonly #options: LiveOptions
  #tree: Tree | null = null
  #hash = GENESIS
  #loaded = false
  #checkedAtMs = 0
  #snapshotSeq = 0
  /** The last entry that `appended` was told of; null before the first load. */
  #toldSeq: number | null = null
  #queue: Pending[] = []
  #looks: Look[] = []
  /** Denials that repeated since they were last written: sequence number of the denial → times. */
  #repeats: ReadonlyMap<number, number> = new Map()
  #draining = false
  #lazy: NodeJS.Timeout | null = null

  constructor(key: TreeKey, options: LiveOptions) {
    this.key = key
    this.#options = options
  }

  /** Rejects with a StoreError when it is unknown whether the entries are stored: fail closed. */
  execute(command: Command): Promise<Result<Reply, Refusal>> {
    return this.#enqueue(command)
  }

  /** Writes how often denials have repeated. `close` does so itself, in the same batch. */
  async fold(): Promise<void> {
    if (this.hasRepeats) await this.#enqueue(null)
  }

  /** Denials have repeated since that was last written. */
  get hasRepeats(): boolean {
    return this.#repeats.size > 0
  }

  /**
   * The tree with everything that is durable, loaded if need be. Not to be kept across an await: it
   * changes in place.
   */
  read(options: { fresh: boolean } = { fresh: false }): Promise<Tree | null> {
    if (this.#loaded && !this.#draining && !options.fresh) return Promise.resolve(this.#tree)
    const { promise, resolve, reject } = Promise.withResolvers<Tree | null>()
    this.#looks.push({ ...options, resolve, reject })
    void this.#drain()
    return promise
  }

  /** Saves a snapshot if that is worth it and nothing is going on. */
  saveSnapshotIfIdle(): void {
    const idleMs = performance.now() - this.#checkedAtMs
    if (this.#tree !== null && !this.isBusy && idleMs > IDLE_MS) {
      this.#saveSnapshot(SNAPSHOT_IDLE_GROWTH)
    }
  }

  /**
   * The copy in memory, without waiting; null if there is none. It may be ahead of what is durable,
   * so only what is decided again, or only shown, may rest on it.
   */
  peek(): Tree | null {
    return this.#loaded ? this.#tree : null
  }

  get isLoaded(): boolean {
    return this.#loaded
  }

  get isBusy(): boolean {
    return this.#draining || this.#queue.length > 0 || this.#looks.length > 0
  }

  #enqueue(command: Command | null): Promise<Result<Reply, Refusal>> {
    const { promise, resolve, reject } = Promise.withResolvers<Result<Reply, Refusal>>()
    this.#queue.push({ command, resolve, reject })
    if (command?.do === 'settle' && !this.#isUrgent(command)) this.#drainSoon()
    else void this.#drain()
    return promise
  }

  /** A settlement that may end a lease, or that a tree waits for, is not kept waiting. */
  #isUrgent(command: Extract<Command, { do: 'settle' }>): boolean {
    const tree = this.#tree
    const call = tree?.calls.get(command.call)
    if (tree == null || call === undefined || tree.phase !== 'open') return true
    for (let id: RunId | null = call.run; id !== null; ) {
      const run: Run = tree.runs.get(id)!
      if (run.untilCall === call.id) return true
      id = run.parent
    }
    return false
  }

  #drainSoon(): void {
    if (this.#lazy !== null || this.#draining) return
    this.#lazy = setTimeout(() => {
      this.#lazy = null
      void this.#drain()
    }, LAZY_MS)
  }

  async #drain(): Promise<void> {
    if (this.#draining) return
    this.#draining = true
    if (this.#lazy !== null) clearTimeout(this.#lazy)
    this.#lazy = null
    // The rest of this tick joins the batch.
    await null
    while (this.#queue.length > 0 || this.#looks.length > 0) {
      if (this.#looks.length > 0) await this.#look(this.#looks.splice(0))
      const batch = this.#queue.splice(0, BATCH_MAX)
      if (batch.length === 0) continue
      try {
        await this.#commit(batch)
      } catch (error) {
        this.#forget()
        for (const each of batch) each.reject(error)
      }
    }
    this.#draining = false
  }

  async #look(looks: readonly Look[]): Promise<void> {
    try {
      if (!this.#loaded) await this.#load()
      else if (looks.some(({ fresh }) => fresh)) await this.#isBehind()
      for (const look of looks) look.resolve(this.#tree)
    } catch (error) {
      this.#forget()
      for (const look of looks) look.reject(error)
    }
  }

  /** Whoever of the batch is not answered when this rejects is rejected too. */
  async #commit(batch: readonly Pending[]): Promise<void> {
    let open = batch
    for (let conflicts = 0; conflicts < CONFLICTS_MAX; ) {
      if (!this.#loaded) await this.#load()
      const attempt = this.#attempt(open)
      if (attempt.poison !== null) {
        // What cannot be folded has spoiled the copy: without it, from the beginning.
        const { index, thrown } = attempt.poison
        this.#forget()
        open[index]!.reject(thrown)
        open = open.filter((_, at) => at !== index)
        if (open.length === 0) return
        continue
      }
      if (attempt.rows.length === 0) {
        if (this.#isOld(attempt.answers) && (await this.#isBehind())) continue
      } else {
        const appended = await this.#append(attempt)
        if (!appended.ok && appended.error === 'locked') return this.#refuseLocked(open, attempt)
        if (!appended.ok) {
          conflicts++
          continue
        }
      }
      this.#repeats = attempt.repeats
      // What did not fit goes first next time.
      this.#queue.unshift(...open.slice(attempt.answers.length))
      answerAll(open, attempt.answers)
      return
    }
    throw new Error(`gave up after ${CONFLICTS_MAX} conflicts with another process`)
  }

  /**
   * A lock forbids something of the batch. What opens a tree is refused whole; in a tree that there
   * is each command is tried alone, so that only what the lock is about is refused.
   */
  async #refuseLocked(batch: readonly Pending[], { rows }: Attempt): Promise<void> {
    const opens = rows[0]!.seq === 1
    if (!opens && batch.length > 1) {
      for (const each of batch) await this.#commit([each])
      return
    }
    const message = 'a bulk revocation has locked this: nothing of the kind is opened now'
    for (const each of batch) each.resolve(err({ code: 'locked', message }))
  }

  #attempt(batch: readonly Pending[]): Attempt {
    const { clock } = this.#options
    const attempt = new Attempt({ tree: this.#tree, hash: this.#hash, repeats: this.#repeats })
    attempt.run(batch, clock)
    this.#tree = attempt.tree
    return attempt
  }

  async #append(attempt: Attempt): Promise<Result<void, 'conflict' | 'locked'>> {
    const { rows, entries } = attempt
    const expectedSeq = rows[0]!.seq - 1
    const batch = { ...this.key, expectedSeq, rows, ...indexOf(entries) }
    const appended = await this.#options.store.append(batch)
    if (!appended.ok) {
      this.#forget()
      return appended
    }
    this.#hash = rows.at(-1)!.hash
    this.#checkedAtMs = performance.now()
    this.#toldSeq = rows.at(-1)!.seq
    this.#options.appended(this.#tree!, entries)
    this.#saveSnapshot(SNAPSHOT_BUSY_GROWTH)
    return appended
  }

  /** A stored outcome is handed out only on the latest word; a denial may be a moment old. */
  #isOld(answers: readonly Answer[]): boolean {
    const isExact = answers.some(
      (answer) => !('thrown' in answer) && answer.ok && answer.value.kind === 'replay',
    )
    return isExact || performance.now() - this.#checkedAtMs > FRESH_MS
  }

  #forget(): void {
    this.#tree = null
    this.#hash = GENESIS
    this.#loaded = false
  }

  /** Whether another process has appended meanwhile; if so, the copy is loaded again. */
  async #isBehind(): Promise<boolean> {
    const head = await this.#options.store.head(this.key)
    this.#checkedAtMs = performance.now()
    if ((head?.seq ?? 0) === (this.#tree?.seq ?? 0)) return false
    this.#forget()
    await this.#load()
    return true
  }

  async #load(): Promise<void> {
    const { store, appended } = this.#options
    const snapshot = await store.loadSnapshot(this.key, RULES_VERSION)
    let tree = revive(snapshot)
    const from = tree === null ? 0 : snapshot!.seq
    let hash = tree === null ? GENESIS : snapshot!.hash
    const rows = await store.load(this.key, Math.min(from, this.#toldSeq ?? from))
    const missed: Entry[] = []
    for (const row of rows) {
      const entry = JSON.parse(row.body) as Entry
      if (this.#toldSeq !== null && row.seq > this.#toldSeq) missed.push(entry)
      if (row.seq <= from) continue
      tree = evolve(tree, entry)
      hash = row.hash
    }
    this.#tree = tree
    this.#hash = hash
    this.#snapshotSeq = from
    this.#toldSeq = tree?.seq ?? 0
    this.#checkedAtMs = performance.now()
    this.#loaded = true
    if (missed.length > 0) appended(tree!, missed)
  }

  #saveSnapshot(growth: number): void {
    const tree = this.#tree!
    if (tree.seq < Math.max(SNAPSHOT_FIRST, growth * this.#snapshotSeq)) return
    this.#snapshotSeq = tree.seq
    const body = snapshotText(tree)
    const snapshot = { seq: tree.seq, hash: this.#hash, rules: RULES_VERSION, body }
    // A cache: what cannot be saved is folded again next time.
    this.#options.store.saveSnapshot(this.key, snapshot).catch(() => {})
  }
}

/** A snapshot that cannot be read is none: the entries are folded from the first. */
function revive(snapshot: Snapshot | null): Tree | null {
  if (snapshot === null) return null
  try {
    const tree = fromSnapshot(JSON.parse(snapshot.body))
    return tree.seq === snapshot.seq ? tree : null
  } catch {
    return null
  }
}
