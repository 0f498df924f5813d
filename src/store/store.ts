import type { CallId, Instant, OrgId, RunId, TreeId } from '../core/id.ts'
import type { Result } from '../core/result.ts'

/**
 * Where the entries of run trees live, and the few things that belong to them. This page is the
 * contract. `memory.ts` and `sqlite.ts` implement it and pass one suite,
 * `test/store/contract.ts`, which has a test for each clause.
 *
 * ATOMICITY. A batch is stored whole or not at all: its rows, the index row of its tree and its
 * runs. Batches of different trees share a transaction when they wait together, and still each
 * one succeeds, conflicts or fails on its own.
 *
 * CONFLICT. A batch is stored only if the tree's last row has sequence number `expectedSeq` (0:
 * the tree does not exist). Otherwise the answer is `conflict` and nothing of the batch is
 * stored. Of several writers at one sequence number, in one process or many, exactly one wins. A
 * conflict is an answer, not a failure: load the new rows, decide again, append again. The store
 * never retries.
 *
 * LOCKS. A batch may name settings that must not be there (`unless`). If one is, the answer is
 * `locked` and nothing of the batch is stored. The look and the rows are one transaction: once a
 * setting is stored, no batch that names it is, in any process.
 *
 * ORDER. Sequence numbers of a tree count from 1 without gaps. Calls of one process take effect
 * in the order in which they are made, so a caller may send a second batch of a tree before the
 * first is answered.
 *
 * DURABILITY. When a write resolves, it survives the death of the process and of the machine.
 *
 * VISIBILITY. A read that starts after a write has resolved, in any process, sees the write. A
 * read may see a write whose promise has not resolved yet.
 *
 * FAILURE. A rejected promise (`StoreError`) means *unknown*: the write may or may not be there,
 * now or after a restart. The caller must not act as if it were stored (nothing runs) and must
 * not act as if it were not (nothing is retried blindly): it forgets its copy of the tree and
 * loads it again. A store that cannot know what its disk holds answers every later write with
 * `broken`, until reopened.
 *
 * CONCURRENCY. Every method may be called at any time. A store that is closed rejects with
 * `closed`; `close` answers what was called before it.
 *
 * LIMITS. What exceeds `LIMITS` or has the wrong shape is refused with a TypeError and not
 * stored: it is a mistake of the caller.
 */
export interface Store {
  append(batch: Batch): Promise<Result<void, 'conflict' | 'locked'>>

  /** The rows after `afterSeq`, in order; empty if there are none. A prefix of what is stored. */
  load(tree: TreeKey, afterSeq: number): Promise<Row[]>
  /** The last row's position; null if the tree does not exist. */
  head(tree: TreeKey): Promise<Head | null>
  /** `head` for many trees: what a node polls to see the writes of others. Absent: not stored. */
  heads(org: OrgId, trees: readonly TreeId[]): Promise<Map<TreeId, Head>>

  /** Trees of one organisation, newest first. */
  listTrees(query: TreeQuery): Promise<Page<TreeInfo, TreeCursor>>
  treeOfRun(org: OrgId, run: RunId): Promise<TreeId | null>
  /**
   * Organisations that have a tree. For background jobs; a request has its `org` from the badge.
   */
  orgs(): Promise<OrgId[]>

  /** A cache of the fold: replaces the one before, may be lost, never feeds `verify`. */
  saveSnapshot(tree: TreeKey, snapshot: Snapshot): Promise<void>
  /** Null if there is none, if `rules` differ, or if its row is not stored with its hash. */
  loadSnapshot(tree: TreeKey, rules: number): Promise<Snapshot | null>

  /**
   * Keeps the outcome of a call for retries; replaces the one before. The bytes are opaque: the
   * caller encrypts. `full`: the result, or all results of the tree, would be too large.
   */
  putResult(call: CallKey, result: StoredResult): Promise<Result<void, 'full'>>
  /** Returned as stored, even when expired: the caller compares with its own `now`. */
  getResult(call: CallKey): Promise<StoredResult | null>
  dropResults(tree: TreeKey): Promise<void>

  /** A receipt is written once: `exists` if there is one with this number. */
  putReceipt(tree: TreeKey, receipt: StoredReceipt): Promise<Result<void, 'exists'>>
  getReceipt(tree: TreeKey, number: number): Promise<StoredReceipt | null>
  /** Receipts and addenda of an organisation, newest first. */
  listReceipts(query: ReceiptQuery): Promise<Page<ReceiptInfo, ReceiptCursor>>

  getSetting(org: OrgId, key: string): Promise<string | null>
  /** Settings whose key begins with `prefix`, by key; at most `pageItems`. */
  listSettings(org: OrgId, prefix: string): Promise<Setting[]>
  /** Compare-and-set; null is "not set", before and after. */
  setSetting(change: SettingChange): Promise<Result<void, 'conflict'>>

  /**
   * Keeps an artifact of the authorization server; replaces the one before. What is consumed stays
   * consumed. A handle that another artifact of its kind has fails the write.
   */
  putArtifact(artifact: Artifact): Promise<void>
  /** Returned as stored, even when expired: the caller compares with its own `now`. */
  getArtifact(key: ArtifactKey): Promise<StoredArtifact | null>
  findArtifact(name: ArtifactHandle): Promise<StoredArtifact | null>
  /** Uses an artifact up; of several callers one wins. `gone`: used before, or not there. */
  consumeArtifact(key: ArtifactKey, at: Instant): Promise<Result<void, 'gone'>>
  dropArtifact(key: ArtifactKey): Promise<void>
  /** Drops every artifact that came from one grant. */
  dropArtifactsOf(org: OrgId, grant: string): Promise<void>

  /** This executor lives. Never goes back. */
  beat(executor: string, at: Instant): Promise<void>
  /** Null: never seen, or forgotten. Both mean that nobody should wait for it. */
  lastBeat(executor: string): Promise<Instant | null>

  /**
   * Drops results and artifacts that have expired at `now`, and executors that were not seen for
   * `beatKeptMs`.
   */
  sweep(now: Instant): Promise<void>

  /**
   * Rises by one whenever the operator accepts a database that has lost entries (restored from a
   * backup). A tree whose `epoch` is smaller may have spent and revoked things that are forgotten.
   */
  epoch(): Promise<number>

  counters(): Counters
  /** Finishes what was called before, then closes. May be called twice. */
  close(): Promise<void>
}

export interface TreeKey {
  readonly org: OrgId
  readonly tree: TreeId
}

export interface CallKey extends TreeKey {
  readonly call: CallId
}

export interface Row {
  /** Counts from 1 in its tree. */
  readonly seq: number
  readonly at: Instant
  readonly type: string
  /** The entry as canonical JSON. Stored and returned byte for byte. */
  readonly body: string
  /** Chain hash, 64 hex digits in lower case. */
  readonly hash: string
}

export interface Head {
  readonly seq: number
  readonly hash: string
}

export interface Batch extends TreeKey {
  readonly expectedSeq: number
  /** At least one, numbered from `expectedSeq + 1`. */
  readonly rows: readonly Row[]
  /** The index row of the tree. Present exactly when `expectedSeq` is 0. */
  readonly opened?: Opened
  /** Marks the tree as closed in the index. */
  readonly closedAt?: Instant
  /**
   * Runs that this batch opens; the root is one without being named. A run that another tree has
   * already fails the batch: ids are drawn at random, so this is never an accident.
   */
  readonly runs?: readonly RunId[]
  /** Keys of settings of the organisation; the batch is stored only if none of them is set. */
  readonly unless?: readonly string[]
}

export interface Opened {
  readonly root: RunId
  readonly openedAt: Instant
  readonly requester: string
  readonly agent: string
  readonly purpose: string
}

export interface TreeInfo extends TreeKey, Opened {
  readonly closedAt: Instant | null
  /** Epoch of the store when the tree was opened. */
  readonly epoch: number
}

export interface TreeQuery {
  readonly org: OrgId
  /** Only trees that are open (or, if false, closed). */
  readonly open?: boolean
  readonly limit: number
  readonly after?: TreeCursor
}

export interface TreeCursor {
  readonly openedAt: Instant
  readonly tree: TreeId
}

export interface Page<T, C> {
  readonly items: readonly T[]
  /** Null: this was the last page. */
  readonly next: C | null
}

export interface Snapshot {
  readonly seq: number
  /** Hash of the row `seq`. */
  readonly hash: string
  readonly rules: number
  readonly body: string
}

export interface StoredResult {
  readonly bytes: Uint8Array
  readonly expiresAt: Instant
}

export interface StoredReceipt {
  /** 0 is the receipt, 1 and more are its addenda. */
  readonly number: number
  readonly at: Instant
  readonly body: string
}

export interface ReceiptInfo extends TreeKey {
  readonly number: number
  readonly at: Instant
}

export interface ReceiptQuery {
  readonly org: OrgId
  readonly limit: number
  readonly after?: ReceiptCursor
}

export interface ReceiptCursor {
  readonly at: Instant
  readonly tree: TreeId
  readonly number: number
}

export interface Setting {
  readonly key: string
  readonly value: string
}

export interface SettingChange {
  readonly org: OrgId
  readonly key: string
  readonly expected: string | null
  readonly value: string | null
}

/** What the authorization server calls a code, a token, a session, a client. */
export interface ArtifactKey {
  readonly org: OrgId
  readonly kind: string
  /** Where it is a secret, its digest: what is stored must not be of use to a reader. */
  readonly id: string
}

export interface ArtifactHandle {
  readonly org: OrgId
  readonly kind: string
  readonly handle: string
}

export interface Artifact extends ArtifactKey {
  /** The grant with which it is dropped. */
  readonly grant: string | null
  /** A second name by which it is found. */
  readonly handle: string | null
  readonly expiresAt: Instant
  /** Opaque: the caller encrypts. */
  readonly body: string
}

export interface StoredArtifact extends Artifact {
  readonly consumedAt: Instant | null
}

/** What the store has done since it was opened. */
export interface Counters {
  /** Transactions, each with one sync of the disk. */
  readonly commits: number
  readonly writes: number
  /** Writes that wait for an answer now. */
  readonly pending: number
}

/** Settings of the installation as a whole, not of one organisation. */
export const INSTALLATION: OrgId = ''

/** Each bounds what one caller can make the store hold, or how long one call can hold it up. */
export const LIMITS = {
  /** A decision makes a handful; a parent's end makes one a child. */
  rowsPerBatch: 10_000,
  runsPerBatch: 10_000,
  /** Looked up one by one while everybody who writes waits. */
  locksPerBatch: 10_000,
  /** Arguments of a call are captured by the lease's constraints, never whole. */
  bodyBytes: 1_048_576,
  snapshotBytes: 64 * 1_048_576,
  receiptBytes: 64 * 1_048_576,
  settingBytes: 1_048_576,
  /** A client, or a request that waits for a person. */
  artifactBytes: 262_144,
  /** Ids, keys and words of the index. */
  nameBytes: 4_096,
  resultBytes: 1_048_576,
  /** A run that asks for large results again and again fills the disk of everybody. */
  resultBytesPerTree: 16 * 1_048_576,
  pageItems: 1_000,
  headsPerCall: 100_000,
  /** Writes that may wait. More means that the disk does not keep up; callers are told at once. */
  pendingWrites: 65_536,
  /** An executor that is silent for this long is not coming back. */
  beatKeptMs: 7 * 24 * 3_600_000,
} as const

export type StoreErrorCode =
  /** The disk or the database's size limit is full. */
  | 'full'
  /** The disk failed. */
  | 'io'
  /** Another process holds the database for longer than the store waits. */
  | 'busy'
  /** The file is damaged, or no database of Daypass. */
  | 'corrupt'
  /** The file was written by a newer Daypass. */
  | 'schema'
  /** The file holds less than it once did. */
  | 'rolled_back'
  /** What the batch says contradicts what is stored. */
  | 'constraint'
  | 'overloaded'
  | 'broken'
  | 'closed'
  | 'internal'

/** Failure of a write means "unknown", see FAILURE above. */
export class StoreError extends Error {
  readonly code: StoreErrorCode

  constructor(code: StoreErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'StoreError'
    this.code = code
  }
}
