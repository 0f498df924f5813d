import type { Command } from '../core/command.ts'
import { decide } from '../core/decide.ts'
import type { Reply } from '../core/decision.ts'
import type { Entry } from '../core/entry.ts'
import { evolve } from '../core/evolve.ts'
import type { Instant, RunId } from '../core/id.ts'
import { RULES_VERSION } from '../core/limits.ts'
import type { Refusal } from '../core/reason.ts'
import { err, ok, type Result } from '../core/result.ts'
import { fromSnapshot, toSnapshot } from '../core/snapshot.ts'
import type { Run, Tree } from '../core/tree.ts'
import { GENESIS, toRows } from '../ledger/chain.ts'
import type { Opened, Store, TreeKey } from '../store/store.ts'

/** Commands of one tree that may be decided and appended together. */
const BATCH_MAX = 512
/** Writers that keep being overtaken by another process give up after this many tries. */
const CONFLICTS_MAX = 200
/** Entries after which a snapshot saves folding them again. */
const SNAPSHOT_EVERY = 1_000
/** A settlement that ends nothing waits this long for another commit to ride with. */
const LAZY_MS = 5
/** A reply that appended nothing rests on the copy in memory; older copies are compared first. */
const FRESH_MS = 250

interface Pending {
  readonly command: Command
  readonly resolve: (reply: Result<Reply, Refusal>) => void
  readonly reject: (error: unknown) => void
}

export interface LiveOptions {
  readonly store: Store
  readonly clock: () => Instant
  /** Called once for each durable batch, before the commands of it are answered. */
  readonly appended: (tree: Tree, entries: readonly Entry[]) => void
}

/**
 * The one writer of a run tree in this process. Commands that arrive while an append is under way are
 * decided together and appended once. A conflict (another process was first) or a failure of the store
 * throws the copy in memory away and loads it again: recovery and the normal path share this code.
 *
 * INVARIANT: no reply is given before the entries that it rests on are durable.
 */
export class LiveTree {
  readonly key: TreeKey
  readonly #options: LiveOptions
  #tree: Tree | null = null
  #hash = GENESIS
  #loaded = false
  #checkedAt = 0
  #snapshotSeq = 0
  #queue: Pending[] = []
  #draining = false
  #lazy: NodeJS.Timeout | null = null

  constructor(key: TreeKey, options: LiveOptions) {
    this.key = key
    this.#options = options
  }

  /** Rejects with a StoreError when it is unknown whether the entries are stored: fail closed. */
  execute(command: Command): Promise<Result<Reply, Refusal>> {
    const { promise, resolve, reject } = Promise.withResolvers<Result<Reply, Refusal>>()
    this.#queue.push({ command, resolve, reject })
    if (command.do === 'settle' && !this.#isUrgent(command)) this.#drainSoon()
    else void this.#drain()
    return promise
  }

  /** The tree as this process knows it, loaded if need be. Not to be kept across an await. */
  async read(): Promise<Tree | null> {
    if (!this.#loaded && !this.#draining) await this.#load()
    while (!this.#loaded) await this.#idle()
    return this.#tree
  }

  /** The copy in memory, without waiting; null if there is none. */
  peek(): Tree | null {
    return this.#loaded ? this.#tree : null
  }

  get isBusy(): boolean {
    return this.#draining || this.#queue.length > 0
  }

  /** Loads again what another process may have appended. */
  async refresh(): Promise<void> {
    if (this.#draining || !this.#loaded) return
    await this.#isBehind()
  }

  async #idle(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve))
    if (!this.#loaded && !this.#draining) await this.#load()
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
    while (this.#queue.length > 0) {
      const batch = this.#queue.splice(0, BATCH_MAX)
      try {
        await this.#commit(batch)
      } catch (error) {
        this.#forget()
        for (const each of batch) each.reject(error)
      }
    }
    this.#draining = false
  }

  async #commit(batch: readonly Pending[]): Promise<void> {
    for (let attempt = 0; attempt < CONFLICTS_MAX; attempt++) {
      if (!this.#loaded) await this.#load()
      const before = this.#tree?.seq ?? 0
      const entries: Entry[] = []
      const replies = batch.map(({ command }) => this.#decide(command, entries))
      if (entries.length === 0) {
        if (this.#options.clock() - this.#checkedAt > FRESH_MS && (await this.#isBehind())) continue
        return answerAll(batch, replies)
      }
      const rows = toRows(this.#hash, entries)
      const appended = await this.#options.store.append({
        ...this.key,
        expectedSeq: before,
        rows,
        ...indexOf(entries),
      })
      if (!appended.ok) {
        this.#forget()
        continue
      }
      this.#hash = rows.at(-1)!.hash
      this.#checkedAt = this.#options.clock()
      this.#options.appended(this.#tree!, entries)
      answerAll(batch, replies)
      this.#saveSnapshot()
      return
    }
    throw new Error(`gave up after ${CONFLICTS_MAX} conflicts with another process`)
  }

  /** Threat 18: a command that makes `decide` throw is rejected alone. */
  #decide(command: Command, entries: Entry[]): Result<Reply, Refusal> | Thrown {
    let decided: ReturnType<typeof decide>
    try {
      decided = decide(this.#tree, command, this.#options.clock())
    } catch (thrown) {
      return { thrown }
    }
    if (!decided.ok) return err(decided.error)
    for (const entry of decided.value.entries) {
      this.#tree = evolve(this.#tree, entry)
      entries.push(entry)
    }
    return ok(decided.value.reply)
  }

  #forget(): void {
    this.#tree = null
    this.#hash = GENESIS
    this.#loaded = false
  }

  /** Whether another process has appended meanwhile; if so, the copy is thrown away. */
  async #isBehind(): Promise<boolean> {
    const head = await this.#options.store.head(this.key)
    this.#checkedAt = this.#options.clock()
    if ((head?.seq ?? 0) === (this.#tree?.seq ?? 0)) return false
    this.#forget()
    await this.#load()
    return true
  }

  async #load(): Promise<void> {
    const { store } = this.#options
    const snapshot = await store.loadSnapshot(this.key, RULES_VERSION)
    let tree = snapshot === null ? null : fromSnapshot(JSON.parse(snapshot.body))
    let hash = snapshot?.hash ?? GENESIS
    const rows = await store.load(this.key, snapshot?.seq ?? 0)
    for (const row of rows) {
      tree = evolve(tree, JSON.parse(row.body) as Entry)
      hash = row.hash
    }
    this.#tree = tree
    this.#hash = hash
    this.#snapshotSeq = snapshot?.seq ?? 0
    this.#checkedAt = this.#options.clock()
    this.#loaded = true
  }

  #saveSnapshot(): void {
    const tree = this.#tree!
    if (tree.seq - this.#snapshotSeq < SNAPSHOT_EVERY) return
    this.#snapshotSeq = tree.seq
    const body = JSON.stringify(toSnapshot(tree))
    const snapshot = { seq: tree.seq, hash: this.#hash, rules: RULES_VERSION, body }
    // A cache: what cannot be saved is folded again next time.
    this.#options.store.saveSnapshot(this.key, snapshot).catch(() => {})
  }
}

interface Thrown {
  readonly thrown: unknown
}

function answerAll(
  batch: readonly Pending[],
  replies: readonly (Result<Reply, Refusal> | Thrown)[],
): void {
  for (const [index, each] of batch.entries()) {
    const reply = replies[index]!
    if ('thrown' in reply) each.reject(reply.thrown)
    else each.resolve(reply)
  }
}

/** What the index of the store learns from a batch. */
function indexOf(entries: readonly Entry[]) {
  const index: { opened?: Opened; closedAt?: Instant; runs?: RunId[] } = {}
  for (const entry of entries) {
    if (entry.type === 'tree.opened') {
      const { run: root, envelope } = entry.command
      const { requester, agent, purpose } = envelope
      index.opened = { root, openedAt: entry.at, requester, agent, purpose }
    }
    if (entry.type === 'run.delegated') index.runs = [...(index.runs ?? []), entry.command.run]
    if (entry.type === 'tree.closed') index.closedAt = entry.at
  }
  return index
}
