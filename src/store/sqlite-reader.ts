import { DatabaseSync, type StatementSync } from 'node:sqlite'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { CallId, Instant, OrgId, RunId, TreeId } from '../core/id.ts'
import { checkLimit } from './check.ts'
import { toError, toFailure } from './sqlite-protocol.ts'
import * as store from './store.ts'

/** Rows read before other work gets its turn: about a millisecond. */
const ROWS_PER_TURN = 500
const HEADS_PER_TURN = 250
/** Reads wait only while another process opens, recovers or closes the file; the loop waits too. */
const BUSY_TIMEOUT_MS = 1_000

/**
 * The reads, on a connection of their own in the caller's thread: a look-up takes microseconds,
 * less than asking a thread that may be waiting for the disk. What can be long is read in slices,
 * and other work runs between them; no transaction is held meanwhile, so checkpoints are not held
 * up. Slices are consistent because rows never change: what is read is a prefix.
 */
export class Reader {
  readonly #db: DatabaseSync
  readonly #prepared = new Map<string, StatementSync>()

  constructor(file: string) {
    this.#db = new DatabaseSync(file, { readOnly: true, timeout: BUSY_TIMEOUT_MS })
  }

  close(): void {
    this.#db.close()
  }

  async load({ org, tree }: store.TreeKey, afterSeq: number): Promise<store.Row[]> {
    const rows: store.Row[] = []
    for (let after = afterSeq; ; ) {
      const slice = this.#all(LOAD, org, tree, after, ROWS_PER_TURN) as unknown as store.Row[]
      for (const { seq, at, type, body, hash } of slice) rows.push({ seq, at, type, body, hash })
      if (slice.length < ROWS_PER_TURN) return rows
      after = rows[rows.length - 1]!.seq
      await nextTurn()
    }
  }

  async head({ org, tree }: store.TreeKey): Promise<store.Head | null> {
    return this.#head(org, tree)
  }

  async heads(org: OrgId, trees: readonly TreeId[]): Promise<Map<TreeId, store.Head>> {
    if (trees.length > store.LIMITS.headsPerCall) {
      throw new TypeError(`at most ${store.LIMITS.headsPerCall} trees a call`)
    }
    const heads = new Map<TreeId, store.Head>()
    for (let i = 0; i < trees.length; i++) {
      if (i > 0 && i % HEADS_PER_TURN === 0) await nextTurn()
      const tree = trees[i] as TreeId
      const head = this.#head(org, tree)
      if (head !== null) heads.set(tree, head)
    }
    return heads
  }

  async listTrees(query: store.TreeQuery) {
    const { org, open, limit, after } = query
    checkLimit(limit)
    const where =
      open === undefined ? '' : open ? 'AND closed_at IS NULL' : 'AND closed_at IS NOT NULL'
    const from = after === undefined ? '' : 'AND (opened_at, tree) < (?, ?)'
    const sql = `${TREES} ${where} ${from} ORDER BY opened_at DESC, tree DESC LIMIT ?`
    const cursor = after === undefined ? [] : [after.openedAt, after.tree]
    const found = this.#all(sql, org, ...cursor, limit + 1) as unknown as store.TreeInfo[]
    const items = found.slice(0, limit).map((tree) => ({ ...tree }))
    return page(items, found.length > limit, ({ openedAt, tree }) => ({ openedAt, tree }))
  }

  async treeOfRun(org: OrgId, run: RunId): Promise<TreeId | null> {
    const found = this.#get('SELECT tree FROM runs WHERE org = ? AND run = ?', org, run)
    return (found?.tree as TreeId | undefined) ?? null
  }

  async orgs(): Promise<OrgId[]> {
    return this.#all(ORGS).map(({ org }) => org as OrgId)
  }

  async loadSnapshot({ org, tree }: store.TreeKey, rules: number): Promise<store.Snapshot | null> {
    const found = this.#get(SNAPSHOT, org, tree, rules)
    return found === undefined ? null : ({ ...found } as unknown as store.Snapshot)
  }

  async getResult({ org, tree, call }: store.TreeKey & { call: CallId }) {
    const found = this.#get(RESULT, org, tree, call)
    return found === undefined ? null : ({ ...found } as unknown as store.StoredResult)
  }

  async getReceipt({ org, tree }: store.TreeKey, number: number) {
    const found = this.#get(RECEIPT, org, tree, number)
    return found === undefined ? null : ({ ...found } as unknown as store.StoredReceipt)
  }

  async listReceipts({ org, limit, after }: store.ReceiptQuery) {
    checkLimit(limit)
    const from = after === undefined ? '' : 'AND (at, tree, number) < (?, ?, ?)'
    const sql = `SELECT org, tree, number, at FROM receipts WHERE org = ? ${from}
      ORDER BY at DESC, tree DESC, number DESC LIMIT ?`
    const cursor = after === undefined ? [] : [after.at, after.tree, after.number]
    const found = this.#all(sql, org, ...cursor, limit + 1) as unknown as store.ReceiptInfo[]
    const items = found.slice(0, limit).map((receipt) => ({ ...receipt }))
    return page(items, found.length > limit, ({ at, tree, number }) => ({ at, tree, number }))
  }

  async getSetting(org: OrgId, key: string): Promise<string | null> {
    const found = this.#get('SELECT value FROM settings WHERE org = ? AND key = ?', org, key)
    return (found?.value as string | undefined) ?? null
  }

  async getArtifact({ org, kind, id }: store.ArtifactKey) {
    const found = this.#get(`${ARTIFACT} AND id = ?`, org, kind, id)
    return found === undefined ? null : ({ ...found } as unknown as store.StoredArtifact)
  }

  async findArtifact({ org, kind, handle }: store.ArtifactHandle) {
    const found = this.#get(`${ARTIFACT} AND handle = ?`, org, kind, handle)
    return found === undefined ? null : ({ ...found } as unknown as store.StoredArtifact)
  }

  async listSettings(org: OrgId, prefix: string): Promise<store.Setting[]> {
    const sql = `SELECT key, value FROM settings WHERE org = ? AND key >= ?
      AND substr(key, 1, length(?)) = ? ORDER BY key LIMIT ?`
    const found = this.#all(sql, org, prefix, prefix, prefix, store.LIMITS.pageItems)
    return found.map(({ key, value }) => ({ key, value }) as store.Setting)
  }

  async lastBeat(executor: string): Promise<Instant | null> {
    const found = this.#get('SELECT at FROM executors WHERE executor = ?', executor)
    return (found?.at as Instant | undefined) ?? null
  }

  async epoch(): Promise<number> {
    return this.#get('SELECT epoch FROM store')?.epoch as number
  }

  #head(org: OrgId, tree: TreeId): store.Head | null {
    const found = this.#get(HEAD, org, tree)
    return found === undefined ? null : { seq: found.seq as number, hash: found.hash as string }
  }

  #get(sql: string, ...values: (string | number)[]) {
    try {
      return this.#statement(sql).get(...values)
    } catch (error) {
      throw toError(toFailure(error))
    }
  }

  #all(sql: string, ...values: (string | number)[]) {
    try {
      return this.#statement(sql).all(...values)
    } catch (error) {
      throw toError(toFailure(error))
    }
  }

  #statement(sql: string): StatementSync {
    const known = this.#prepared.get(sql)
    if (known !== undefined) return known
    const statement = this.#db.prepare(sql)
    this.#prepared.set(sql, statement)
    return statement
  }
}

function page<T, C>(items: T[], more: boolean, cursor: (last: T) => C): store.Page<T, C> {
  const last = items[items.length - 1]
  return { items, next: more && last !== undefined ? cursor(last) : null }
}

const LOAD = `SELECT seq, at, type, body, hash FROM entries
  WHERE org = ? AND tree = ? AND seq > ? ORDER BY seq LIMIT ?`

const HEAD = 'SELECT seq, hash FROM entries WHERE org = ? AND tree = ? ORDER BY seq DESC LIMIT 1'

const TREES = `SELECT org, tree, root, opened_at AS openedAt, closed_at AS closedAt, requester,
  agent, purpose, epoch FROM trees WHERE org = ?`

/** Jumps from one organisation to the next in the index, instead of reading every tree. */
const ORGS = `WITH RECURSIVE found (org) AS (
    SELECT min(org) FROM trees
    UNION ALL
    SELECT (SELECT min(org) FROM trees WHERE trees.org > found.org) FROM found
      WHERE found.org IS NOT NULL
  ) SELECT org FROM found WHERE org IS NOT NULL`

const SNAPSHOT = `SELECT s.seq, s.hash, s.rules, s.body FROM snapshots s
  JOIN entries e ON e.org = s.org AND e.tree = s.tree AND e.seq = s.seq AND e.hash = s.hash
  WHERE s.org = ? AND s.tree = ? AND s.rules = ?`

const RESULT = `SELECT bytes, expires_at AS expiresAt FROM results
  WHERE org = ? AND tree = ? AND call = ?`

const RECEIPT = `SELECT number, at, body FROM receipts
  WHERE org = ? AND tree = ? AND number = ?`

const ARTIFACT = `SELECT org, kind, id, grant_id AS grant, handle, expires_at AS expiresAt,
  consumed_at AS consumedAt, body FROM artifacts WHERE org = ? AND kind = ?`
