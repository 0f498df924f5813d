import { closeSync, fsyncSync, mkdirSync, openSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import type { CallId, Instant, OrgId, RunId, TreeId } from '../core/id.ts'
import { err, ok, type Result } from '../core/result.ts'
import * as check from './check.ts'
import {
  type Answered,
  type Flat,
  OP,
  pushAppend,
  toError,
  toFailure,
  VERDICT,
} from './sqlite-protocol.ts'
import { Reader } from './sqlite-reader.ts'
import { WriterThread } from './sqlite-thread.ts'
import * as store from './store.ts'

export interface SqliteOptions {
  /** Path of the database; made, with its directory, if it does not exist. */
  readonly file: string
  /** How long a write waits for another process. */
  readonly busyTimeoutMs?: number
  /** Size the database may grow to; absent: what the disk has. */
  readonly databaseBytesMax?: number
  /** What to do with a database that holds less than it once did, see `sqlite-mark.ts`. */
  readonly rollback?: 'refuse' | 'accept'
}

const BUSY_TIMEOUT_MS = 10_000

/**
 * Opens a store on one SQLite file. Several processes may open the same file on one machine.
 * Rejects with a `StoreError` if the file is not ours, newer, damaged or rolled back.
 *
 * Writes run in a thread of their own (`sqlite-worker.ts`), so that waiting for the disk never
 * stops the event loop. Reads run here (`sqlite-reader.ts`). The thread does not keep the process
 * alive unless a write waits for its answer.
 */
export async function openSqlite(options: SqliteOptions): Promise<store.Store> {
  const file = resolve(options.file)
  create(file)
  const writer = new WriterThread({
    file,
    busyTimeoutMs: options.busyTimeoutMs ?? BUSY_TIMEOUT_MS,
    databaseBytesMax: options.databaseBytesMax ?? 0,
    rollback: options.rollback ?? 'refuse',
  })
  await writer.ready
  try {
    return new SqliteStore(writer, new Reader(file))
  } catch (error) {
    await writer.close(Promise.resolve())
    throw toError(toFailure(error))
  }
}

/** The file is readable for its owner only: it names people and what they did. */
function create(file: string): void {
  const directory = dirname(file)
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 })
    closeSync(openSync(file, 'a', 0o600))
    if (process.platform === 'win32') return
    // Without this the name of a new file can be lost with the machine's power.
    const fd = openSync(directory, 'r')
    fsyncSync(fd)
    closeSync(fd)
  } catch (error) {
    throw new store.StoreError('io', `\`${file}\` cannot be made`, { cause: error })
  }
}

class SqliteStore implements store.Store {
  readonly #writer: WriterThread
  readonly #reader: Reader
  /** Reads that take more than one turn of the loop. */
  readonly #reading = new Set<Promise<unknown>>()
  #closed = false
  #readerClosed: Promise<void> | null = null

  constructor(writer: WriterThread, reader: Reader) {
    this.#writer = writer
    this.#reader = reader
  }

  async append(batch: store.Batch): Promise<Result<void, 'conflict' | 'locked'>> {
    check.checkBatch(batch)
    const verdict = await this.#writer.write((flat) => pushAppend(flat, batch))
    return verdict === VERDICT.locked ? err('locked') : answer(verdict, 'conflict')
  }

  async load(tree: store.TreeKey, afterSeq: number): Promise<store.Row[]> {
    return this.#slow(this.#read().load(tree, afterSeq))
  }

  async head(tree: store.TreeKey): Promise<store.Head | null> {
    return this.#read().head(tree)
  }

  async heads(org: OrgId, trees: readonly TreeId[]): Promise<Map<TreeId, store.Head>> {
    return this.#slow(this.#read().heads(org, trees))
  }

  async listTrees(query: store.TreeQuery): Promise<store.Page<store.TreeInfo, store.TreeCursor>> {
    return this.#read().listTrees(query)
  }

  async treeOfRun(org: OrgId, run: RunId): Promise<TreeId | null> {
    return this.#read().treeOfRun(org, run)
  }

  async orgs(): Promise<OrgId[]> {
    return this.#read().orgs()
  }

  async saveSnapshot({ org, tree }: store.TreeKey, snapshot: store.Snapshot): Promise<void> {
    check.checkSnapshot({ org, tree }, snapshot)
    const { seq, hash, rules, body } = snapshot
    await this.#write([OP.saveSnapshot, org, tree, seq, hash, rules, body])
  }

  async loadSnapshot(tree: store.TreeKey, rules: number): Promise<store.Snapshot | null> {
    return this.#read().loadSnapshot(tree, rules)
  }

  async putResult(key: store.CallKey, result: store.StoredResult): Promise<Result<void, 'full'>> {
    check.checkResult(key, result)
    if (result.bytes.byteLength > store.LIMITS.resultBytes) return err('full')
    // A copy: what is sent is copied with the whole buffer that it is a part of.
    const bytes = new Uint8Array(result.bytes)
    const { org, tree, call } = key
    return answer(
      await this.#write([OP.putResult, org, tree, call, result.expiresAt, bytes]),
      'full',
    )
  }

  async getResult(call: store.TreeKey & { call: CallId }): Promise<store.StoredResult | null> {
    return this.#read().getResult(call)
  }

  async dropResults({ org, tree }: store.TreeKey): Promise<void> {
    check.checkTree({ org, tree })
    await this.#write([OP.dropResults, org, tree])
  }

  async putReceipt(
    { org, tree }: store.TreeKey,
    receipt: store.StoredReceipt,
  ): Promise<Result<void, 'exists'>> {
    check.checkReceipt({ org, tree }, receipt)
    const { number, at, body } = receipt
    return answer(await this.#write([OP.putReceipt, org, tree, number, at, body]), 'exists')
  }

  async getReceipt(tree: store.TreeKey, number: number): Promise<store.StoredReceipt | null> {
    return this.#read().getReceipt(tree, number)
  }

  async listReceipts(
    query: store.ReceiptQuery,
  ): Promise<store.Page<store.ReceiptInfo, store.ReceiptCursor>> {
    return this.#read().listReceipts(query)
  }

  async getSetting(org: OrgId, key: string): Promise<string | null> {
    return this.#read().getSetting(org, key)
  }

  async listSettings(org: OrgId, prefix: string): Promise<store.Setting[]> {
    return this.#read().listSettings(org, prefix)
  }

  async setSetting(change: store.SettingChange): Promise<Result<void, 'conflict'>> {
    check.checkSetting(change)
    const { org, key, expected, value } = change
    return answer(await this.#write([OP.setSetting, org, key, expected, value]), 'conflict')
  }

  async putArtifact(artifact: store.Artifact): Promise<void> {
    check.checkArtifact(artifact)
    const { org, kind, id, grant, handle, expiresAt, body } = artifact
    await this.#write([OP.putArtifact, org, kind, id, grant, handle, expiresAt, body])
  }

  async getArtifact(key: store.ArtifactKey): Promise<store.StoredArtifact | null> {
    return this.#read().getArtifact(key)
  }

  async findArtifact(name: store.ArtifactHandle): Promise<store.StoredArtifact | null> {
    return this.#read().findArtifact(name)
  }

  async consumeArtifact(key: store.ArtifactKey, at: Instant): Promise<Result<void, 'gone'>> {
    check.checkArtifactKey(key)
    check.checkCount(at, 'at')
    return answer(await this.#write([OP.consumeArtifact, at, key.org, key.kind, key.id]), 'gone')
  }

  async dropArtifact(key: store.ArtifactKey): Promise<void> {
    check.checkArtifactKey(key)
    await this.#write([OP.dropArtifact, key.org, key.kind, key.id])
  }

  async dropArtifactsOf(org: OrgId, grant: string): Promise<void> {
    check.checkName(org, 'org')
    check.checkName(grant, 'grant')
    await this.#write([OP.dropArtifactsOf, org, grant])
  }

  async beat(executor: string, at: Instant): Promise<void> {
    check.checkName(executor, 'executor')
    check.checkCount(at, 'at')
    await this.#write([OP.beat, executor, at])
  }

  async lastBeat(executor: string): Promise<Instant | null> {
    return this.#read().lastBeat(executor)
  }

  async sweep(now: Instant): Promise<void> {
    check.checkCount(now, 'now')
    await this.#write([OP.sweep, now])
  }

  async epoch(): Promise<number> {
    return this.#read().epoch()
  }

  counters(): store.Counters {
    const { commits, writes, pending } = this.#writer
    return { commits, writes, pending }
  }

  async close(): Promise<void> {
    this.#closed = true
    // First: the last connection to close removes the write-ahead log, and must be able to write.
    this.#readerClosed ??= this.#closeReader()
    await Promise.all([this.#readerClosed, this.#writer.close(this.#readerClosed)])
  }

  async #closeReader(): Promise<void> {
    await Promise.allSettled(this.#reading)
    this.#reader.close()
  }

  #slow<T>(read: Promise<T>): Promise<T> {
    this.#reading.add(read)
    const done = () => this.#reading.delete(read)
    read.then(done, done)
    return read
  }

  #read(): Reader {
    if (this.#closed) throw new store.StoreError('closed', 'the store is closed')
    return this.#reader
  }

  #write(flat: Flat): Promise<Answered> {
    return this.#writer.write((all) => {
      for (const value of flat) all.push(value)
    })
  }
}

function answer<E>(verdict: Answered, refused: E): Result<void, E> {
  return verdict === VERDICT.done ? ok(undefined) : err(refused)
}
