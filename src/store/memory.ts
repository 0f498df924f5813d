import type { CallId, Instant, OrgId, RunId, TreeId } from '../core/id.ts'
import { err, ok, type Result } from '../core/result.ts'
import * as check from './check.ts'
import { MemoryArtifacts } from './memory-artifacts.ts'
import * as store from './store.ts'

/**
 * The store without a disk: for tests, and for trying Daypass out. It keeps the whole contract but
 * durability: what it holds lives as long as its `MemoryDisk`.
 */
export class MemoryDisk {
  readonly trees = new Map<string, StoredTree>()
  /** `org`, `run` → the tree. */
  readonly runs = new Map<string, TreeId>()
  readonly settings = new Map<string, string>()
  readonly artifacts = new MemoryArtifacts()
  readonly beats = new Map<string, Instant>()
  epoch = 0
}

interface StoredTree {
  info: store.TreeInfo
  readonly rows: store.Row[]
  snapshot: store.Snapshot | null
  readonly results: Map<CallId, store.StoredResult>
  readonly receipts: Map<number, store.StoredReceipt>
}

interface Waiting {
  /** Checks everything before it changes anything, so that it is done whole or not at all. */
  readonly work: () => void
  readonly reject: (error: store.StoreError) => void
}

export interface MemoryStore extends store.Store {
  /** The machine loses power: what waits is lost, and this store is of no use any more. */
  crash(): void
}

export function openMemory(options: { readonly disk?: MemoryDisk } = {}): MemoryStore {
  return new Memory(options.disk ?? new MemoryDisk())
}

/** Joins names to a key that no other names make. */
const keyOf = (...names: string[]): string => JSON.stringify(names)

class Memory implements MemoryStore {
  readonly #disk: MemoryDisk
  #waiting: Waiting[] = []
  #state: 'open' | 'closed' | 'broken' = 'open'
  #idle: Promise<void> = Promise.resolve()
  #commits = 0
  #writes = 0

  constructor(disk: MemoryDisk) {
    this.#disk = disk
  }

  async append(batch: store.Batch): Promise<Result<void, 'conflict' | 'locked'>> {
    check.checkBatch(batch)
    const copy = structuredClone(batch)
    return this.#write(() => this.#append(copy))
  }

  #append(batch: store.Batch): Result<void, 'conflict' | 'locked'> {
    const { org, tree, expectedSeq, rows, opened, closedAt, runs = [], unless = [] } = batch
    const found = this.#find({ org, tree })
    if ((found?.rows.length ?? 0) !== expectedSeq) return err('conflict')
    if (unless.some((key) => this.#disk.settings.has(keyOf(org, key)))) return err('locked')
    const opens = opened === undefined ? runs : [opened.root, ...runs]
    for (const run of opens) {
      const other = this.#disk.runs.get(keyOf(org, run))
      if (other !== undefined && other !== tree) {
        throw new store.StoreError('constraint', `run \`${run}\` belongs to another tree`)
      }
    }
    const stored = found ?? this.#open(batch, opened as store.Opened)
    stored.rows.push(...rows)
    for (const run of opens) this.#disk.runs.set(keyOf(org, run), tree)
    if (closedAt !== undefined) stored.info = { ...stored.info, closedAt }
    return ok(undefined)
  }

  #open({ org, tree }: store.TreeKey, opened: store.Opened): StoredTree {
    const stored: StoredTree = {
      info: { org, tree, ...opened, closedAt: null, epoch: this.#disk.epoch },
      rows: [],
      snapshot: null,
      results: new Map(),
      receipts: new Map(),
    }
    this.#disk.trees.set(keyOf(org, tree), stored)
    return stored
  }

  async load(tree: store.TreeKey, afterSeq: number): Promise<store.Row[]> {
    this.#checkOpen()
    return structuredClone(this.#find(tree)?.rows.slice(afterSeq) ?? [])
  }

  async head(tree: store.TreeKey): Promise<store.Head | null> {
    this.#checkOpen()
    const last = this.#find(tree)?.rows.at(-1)
    return last === undefined ? null : { seq: last.seq, hash: last.hash }
  }

  async heads(org: OrgId, trees: readonly TreeId[]): Promise<Map<TreeId, store.Head>> {
    if (trees.length > store.LIMITS.headsPerCall) {
      throw new TypeError(`at most ${store.LIMITS.headsPerCall} trees a call`)
    }
    const heads = new Map<TreeId, store.Head>()
    for (const tree of trees) {
      const head = await this.head({ org, tree })
      if (head !== null) heads.set(tree, head)
    }
    return heads
  }

  async listTrees(query: store.TreeQuery): Promise<store.Page<store.TreeInfo, store.TreeCursor>> {
    this.#checkOpen()
    check.checkLimit(query.limit)
    const { org, open, limit, after } = query
    const place = (tree: store.TreeCursor) => [tree.openedAt, tree.tree]
    const found = [...this.#disk.trees.values()]
      .map(({ info }) => info)
      .filter((info) => info.org === org)
      .filter((info) => open === undefined || open === (info.closedAt === null))
      .filter((info) => after === undefined || compare(place(info), place(after)) < 0)
      .sort((a, b) => compare(place(b), place(a)))
    return page(found, limit, ({ openedAt, tree }) => ({ openedAt, tree }))
  }

  async treeOfRun(org: OrgId, run: RunId): Promise<TreeId | null> {
    this.#checkOpen()
    return this.#disk.runs.get(keyOf(org, run)) ?? null
  }

  async orgs(): Promise<OrgId[]> {
    this.#checkOpen()
    return [...new Set([...this.#disk.trees.values()].map(({ info }) => info.org))].sort()
  }

  async saveSnapshot(tree: store.TreeKey, snapshot: store.Snapshot): Promise<void> {
    check.checkSnapshot(tree, snapshot)
    const copy = { ...snapshot }
    return this.#write(() => {
      this.#known(tree).snapshot = copy
    })
  }

  async loadSnapshot(tree: store.TreeKey, rules: number): Promise<store.Snapshot | null> {
    this.#checkOpen()
    const stored = this.#find(tree)
    const snapshot = stored?.snapshot
    if (snapshot == null || snapshot.rules !== rules) return null
    return stored?.rows[snapshot.seq - 1]?.hash === snapshot.hash ? { ...snapshot } : null
  }

  async putResult(key: store.CallKey, result: store.StoredResult): Promise<Result<void, 'full'>> {
    check.checkResult(key, result)
    if (result.bytes.byteLength > store.LIMITS.resultBytes) return err('full')
    const copy = { bytes: new Uint8Array(result.bytes), expiresAt: result.expiresAt }
    return this.#write((): Result<void, 'full'> => {
      const { results } = this.#known(key)
      let bytes = copy.bytes.byteLength - (results.get(key.call)?.bytes.byteLength ?? 0)
      for (const other of results.values()) bytes += other.bytes.byteLength
      if (bytes > store.LIMITS.resultBytesPerTree) return err('full')
      results.set(key.call, copy)
      return ok(undefined)
    })
  }

  async getResult(key: store.CallKey): Promise<store.StoredResult | null> {
    this.#checkOpen()
    return structuredClone(this.#find(key)?.results.get(key.call)) ?? null
  }

  async dropResults(tree: store.TreeKey): Promise<void> {
    check.checkTree(tree)
    return this.#write(() => this.#find(tree)?.results.clear())
  }

  async putReceipt(
    tree: store.TreeKey,
    receipt: store.StoredReceipt,
  ): Promise<Result<void, 'exists'>> {
    check.checkReceipt(tree, receipt)
    const copy = { ...receipt }
    return this.#write((): Result<void, 'exists'> => {
      const { receipts } = this.#known(tree)
      if (receipts.has(copy.number)) return err('exists')
      receipts.set(copy.number, copy)
      return ok(undefined)
    })
  }

  async getReceipt(tree: store.TreeKey, number: number): Promise<store.StoredReceipt | null> {
    this.#checkOpen()
    return structuredClone(this.#find(tree)?.receipts.get(number)) ?? null
  }

  async listReceipts(
    query: store.ReceiptQuery,
  ): Promise<store.Page<store.ReceiptInfo, store.ReceiptCursor>> {
    this.#checkOpen()
    check.checkLimit(query.limit)
    const { org, limit, after } = query
    const place = (receipt: store.ReceiptCursor) => [receipt.at, receipt.tree, receipt.number]
    const found = [...this.#disk.trees.values()]
      .filter(({ info }) => info.org === org)
      .flatMap(({ info: { tree }, receipts }) =>
        [...receipts.values()].map(({ number, at }) => ({ org, tree, number, at })),
      )
      .filter((info) => after === undefined || compare(place(info), place(after)) < 0)
      .sort((a, b) => compare(place(b), place(a)))
    return page(found, limit, ({ at, tree, number }) => ({ at, tree, number }))
  }

  async getSetting(org: OrgId, key: string): Promise<string | null> {
    this.#checkOpen()
    return this.#disk.settings.get(keyOf(org, key)) ?? null
  }

  async listSettings(org: OrgId, prefix: string): Promise<store.Setting[]> {
    this.#checkOpen()
    return [...this.#disk.settings]
      .map(([names, value]) => ({ names: JSON.parse(names) as [OrgId, string], value }))
      .filter(({ names: [of, key] }) => of === org && key.startsWith(prefix))
      .map(({ names: [, key], value }) => ({ key, value }))
      .sort((a, b) => compare([a.key], [b.key]))
      .slice(0, store.LIMITS.pageItems)
  }

  async setSetting(change: store.SettingChange): Promise<Result<void, 'conflict'>> {
    check.checkSetting(change)
    const { expected, value } = change
    const key = keyOf(change.org, change.key)
    return this.#write((): Result<void, 'conflict'> => {
      if ((this.#disk.settings.get(key) ?? null) !== expected) return err('conflict')
      if (value === null) this.#disk.settings.delete(key)
      else this.#disk.settings.set(key, value)
      return ok(undefined)
    })
  }

  async putArtifact(artifact: store.Artifact): Promise<void> {
    check.checkArtifact(artifact)
    const copy = { ...artifact }
    return this.#write(() => this.#disk.artifacts.put(copy))
  }

  async getArtifact(key: store.ArtifactKey): Promise<store.StoredArtifact | null> {
    this.#checkOpen()
    return this.#disk.artifacts.get(key)
  }

  async findArtifact(name: store.ArtifactHandle): Promise<store.StoredArtifact | null> {
    this.#checkOpen()
    return this.#disk.artifacts.find(name)
  }

  async consumeArtifact(key: store.ArtifactKey, at: Instant): Promise<Result<void, 'gone'>> {
    check.checkArtifactKey(key)
    check.checkCount(at, 'at')
    const copy = { ...key }
    return this.#write(() => this.#disk.artifacts.consume(copy, at))
  }

  async dropArtifact(key: store.ArtifactKey): Promise<void> {
    check.checkArtifactKey(key)
    const copy = { ...key }
    return this.#write(() => this.#disk.artifacts.drop(copy))
  }

  async dropArtifactsOf(org: OrgId, grant: string): Promise<void> {
    check.checkName(org, 'org')
    check.checkName(grant, 'grant')
    return this.#write(() => this.#disk.artifacts.dropOf(org, grant))
  }

  async beat(executor: string, at: Instant): Promise<void> {
    check.checkName(executor, 'executor')
    check.checkCount(at, 'at')
    return this.#write(() => {
      this.#disk.beats.set(executor, Math.max(at, this.#disk.beats.get(executor) ?? 0))
    })
  }

  async lastBeat(executor: string): Promise<Instant | null> {
    this.#checkOpen()
    return this.#disk.beats.get(executor) ?? null
  }

  async sweep(now: Instant): Promise<void> {
    check.checkCount(now, 'now')
    return this.#write(() => {
      for (const { results } of this.#disk.trees.values()) {
        for (const [call, { expiresAt }] of results) if (expiresAt <= now) results.delete(call)
      }
      this.#disk.artifacts.sweep(now)
      for (const [executor, at] of this.#disk.beats) {
        if (at < now - store.LIMITS.beatKeptMs) this.#disk.beats.delete(executor)
      }
    })
  }

  async epoch(): Promise<number> {
    this.#checkOpen()
    return this.#disk.epoch
  }

  counters(): store.Counters {
    return { commits: this.#commits, writes: this.#writes, pending: this.#waiting.length }
  }

  async close(): Promise<void> {
    if (this.#state === 'open') this.#state = 'closed'
    await this.#idle
  }

  crash(): void {
    this.#state = 'broken'
    const error = new store.StoreError('broken', 'the machine lost power')
    for (const { reject } of this.#waiting.splice(0)) reject(error)
  }

  /** Writes of one turn of the loop are stored together, as on a disk. */
  #write<T>(work: () => T): Promise<T> {
    this.#checkOpen()
    if (this.#waiting.length >= store.LIMITS.pendingWrites) {
      throw new store.StoreError('overloaded', `${this.#waiting.length} writes wait: try later`)
    }
    if (this.#waiting.length === 0) {
      this.#idle = new Promise((done) => {
        setImmediate(() => {
          this.#commit()
          done()
        })
      })
    }
    this.#writes++
    return new Promise<T>((resolve, reject) => {
      this.#waiting.push({ work: () => resolve(work()), reject })
    })
  }

  #commit(): void {
    if (this.#waiting.length === 0) return
    this.#commits++
    for (const { work, reject } of this.#waiting.splice(0)) {
      try {
        work()
      } catch (error) {
        reject(error as store.StoreError)
      }
    }
  }

  #find({ org, tree }: store.TreeKey): StoredTree | undefined {
    return this.#disk.trees.get(keyOf(org, tree))
  }

  #known(key: store.TreeKey): StoredTree {
    const found = this.#find(key)
    if (found !== undefined) return found
    throw new store.StoreError('constraint', `tree \`${key.tree}\` does not exist`)
  }

  #checkOpen(): void {
    if (this.#state === 'open') return
    throw new store.StoreError(this.#state, `the store is ${this.#state}`)
  }
}

function compare(a: readonly (string | number)[], b: readonly (string | number)[]): number {
  for (let i = 0; i < a.length; i++) {
    const [x, y] = [a[i] as string | number, b[i] as string | number]
    if (x !== y) return x < y ? -1 : 1
  }
  return 0
}

function page<T, C>(found: readonly T[], limit: number, cursor: (last: T) => C): store.Page<T, C> {
  const items = found.slice(0, limit).map((item) => ({ ...item }))
  const last = items.at(-1)
  return { items, next: found.length > limit && last !== undefined ? cursor(last) : null }
}
