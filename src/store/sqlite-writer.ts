import type { DatabaseSync, StatementSync } from 'node:sqlite'
import { type Failure, type Flat, OP, toFailure, VERDICT, type Verdict } from './sqlite-protocol.ts'
import { LIMITS, StoreError } from './store.ts'

/**
 * Failures of one write, not of the disk: the others of its transaction can be tried without it.
 */
const OF_ONE_WRITE: readonly Failure['code'][] = ['constraint', 'internal']

type Position = { at: number }

/** Executes writes on a connection that nobody else uses. Synchronous; one transaction a call. */
export class Writer {
  /** Transactions that were committed. */
  commits = 0
  /** Set once the disk may hold something else than this connection believes. */
  #broken: Failure | null = null
  readonly #db: DatabaseSync
  readonly #sql: Statements

  constructor(db: DatabaseSync) {
    this.#db = db
    this.#sql = prepare(db)
  }

  /** Executes all writes of all messages in one transaction; one verdict a write, in order. */
  write(messages: readonly Flat[]): Verdict[] {
    const verdicts: Verdict[] = []
    const failure = this.#transaction(() => {
      for (const flat of messages) {
        for (const position = { at: 0 }; position.at < flat.length; ) {
          verdicts.push(this.#one(flat, position))
        }
      }
    })
    if (failure === null) return verdicts
    if (OF_ONE_WRITE.includes(failure.code)) return this.#eachAlone(messages)
    return split(messages).map(() => failure)
  }

  /**
   * One write of the transaction cannot be stored. Each one runs in its own transaction, so that
   * only the bad one fails.
   */
  #eachAlone(messages: readonly Flat[]): Verdict[] {
    return split(messages).map(({ flat, from }) => {
      let verdict: Verdict = VERDICT.done
      const failure = this.#transaction(() => {
        verdict = this.#one(flat, { at: from })
      })
      return failure ?? verdict
    })
  }

  /** Null when committed. Otherwise nothing of `work` is visible. */
  #transaction(work: () => void): Failure | null {
    if (this.#broken !== null) return this.#broken
    let committing = false
    try {
      this.#sql.begin.run()
      work()
      committing = true
      this.#sql.commit.run()
      this.commits++
      return null
    } catch (error) {
      const failure = toFailure(error)
      if (!this.#rollBack() || (committing && !HARMLESS.includes(failure.code))) {
        this.#broken = {
          code: 'broken',
          message: `the store stopped writing after a failure, open it again: ${failure.message}`,
        }
      }
      return failure
    }
  }

  #rollBack(): boolean {
    try {
      // SQLite itself rolls back when the disk is full or fails.
      if (this.#db.isTransaction) this.#sql.rollback.run()
      return true
    } catch {
      return false
    }
  }

  #one(flat: Flat, position: Position): Verdict {
    const code = flat[position.at]
    if (code === OP.append) return this.#append(flat, position)
    const from = position.at + 1
    position.at = from + (PARAMETERS[code as keyof typeof PARAMETERS] ?? Number.NaN)
    const p = flat.slice(from, position.at)
    const sql = this.#sql
    switch (code) {
      case OP.saveSnapshot:
        sql.saveSnapshot.run(...p)
        return VERDICT.done
      case OP.putResult:
        return this.#putResult(p)
      case OP.dropResults:
        sql.dropResults.run(...p)
        return VERDICT.done
      case OP.putReceipt:
        return sql.putReceipt.run(...p).changes === 1 ? VERDICT.done : VERDICT.refused
      case OP.setSetting:
        return this.#setSetting(p)
      case OP.beat:
        sql.beat.run(...p)
        return VERDICT.done
      case OP.sweep:
        sql.sweepResults.run(p[0] as number)
        sql.sweepArtifacts.run(p[0] as number)
        sql.sweepBeats.run((p[0] as number) - LIMITS.beatKeptMs)
        return VERDICT.done
      default:
        return this.#artifact(code, p)
    }
  }

  #artifact(code: Flat[number] | undefined, p: Flat): Verdict {
    const sql = this.#sql
    switch (code) {
      case OP.putArtifact:
        sql.putArtifact.run(...p)
        return VERDICT.done
      case OP.consumeArtifact:
        return sql.consumeArtifact.run(...p).changes === 1 ? VERDICT.done : VERDICT.refused
      case OP.dropArtifact:
        sql.dropArtifact.run(...p)
        return VERDICT.done
      case OP.dropArtifactsOf:
        sql.dropArtifactsOf.run(...p)
        return VERDICT.done
      default:
        throw new Error(`unknown write ${String(code)}`)
    }
  }

  #append(flat: Flat, position: Position): Verdict {
    const end = endOfAppend(flat, position.at)
    let i = position.at + 1
    position.at = end
    const org = flat[i++] as string
    const tree = flat[i++] as string
    const expectedSeq = flat[i++] as number
    const count = flat[i++] as number
    const sql = this.#sql
    // INVARIANT: the transaction is IMMEDIATE, so nobody writes between this look and the inserts.
    const last = sql.lastSeq.get(org, tree) as { seq: number } | undefined
    if ((last?.seq ?? 0) !== expectedSeq) return VERDICT.refused
    if (this.#isLocked(org, flat, end)) return VERDICT.locked
    for (let seq = expectedSeq + 1; seq <= expectedSeq + count; seq++, i += 4) {
      sql.insert.run(org, tree, seq, flat[i]!, flat[i + 1]!, flat[i + 2]!, flat[i + 3]!)
    }
    if (expectedSeq === 0) {
      const root = flat[i] as string
      sql.open.run(org, tree, root, flat[i + 1]!, flat[i + 2]!, flat[i + 3]!, flat[i + 4]!)
      this.#openRun(org, tree, root)
      i += 5
    }
    const closedAt = flat[i++]
    if (closedAt !== null) sql.close.run(closedAt as number, org, tree)
    const runs = flat[i++] as number
    for (const last = i + runs; i < last; i++) this.#openRun(org, tree, flat[i] as string)
    return VERDICT.done
  }

  /** The keys that must not be there are the last of an append, behind their number. */
  #isLocked(org: string, flat: Flat, end: number): boolean {
    for (let i = end - 1; typeof flat[i] === 'string'; i--) {
      if (this.#sql.setting.get(org, flat[i] as string) !== undefined) return true
    }
    return false
  }

  #openRun(org: string, tree: string, run: string): void {
    if (this.#sql.openRun.run(org, run, tree).changes === 1) return
    throw new StoreError('constraint', `run \`${run}\` belongs to another tree`)
  }

  #putResult(p: Flat): Verdict {
    const [org, tree, call, expiresAt, bytes] = p as [string, string, string, number, Uint8Array]
    const others = this.#sql.otherResultBytes.get(org, tree, call, org, tree)?.bytes as number
    if (others + bytes.byteLength > LIMITS.resultBytesPerTree) return VERDICT.refused
    this.#sql.dropResult.run(org, tree, call)
    this.#sql.putResult.run(org, tree, call, expiresAt, bytes)
    return VERDICT.done
  }

  #setSetting(p: Flat): Verdict {
    const [org, key, expected, value] = p as [string, string, string | null, string | null]
    const found = this.#sql.setting.get(org, key) as { value: string } | undefined
    if ((found?.value ?? null) !== expected) return VERDICT.refused
    if (value === null) this.#sql.dropSetting.run(org, key)
    else this.#sql.putSetting.run(org, key, value)
    return VERDICT.done
  }
}

/** A commit that failed for one of these has written no commit record. */
const HARMLESS: readonly Failure['code'][] = ['full', 'busy', 'constraint']

const PARAMETERS = {
  [OP.saveSnapshot]: 6,
  [OP.putResult]: 5,
  [OP.dropResults]: 2,
  [OP.putReceipt]: 5,
  [OP.setSetting]: 4,
  [OP.beat]: 2,
  [OP.sweep]: 1,
  [OP.putArtifact]: 7,
  [OP.consumeArtifact]: 4,
  [OP.dropArtifact]: 3,
  [OP.dropArtifactsOf]: 2,
} as const

/** Where the write after this append starts. */
function endOfAppend(flat: Flat, from: number): number {
  const rows = flat[from + 4] as number
  const opened = flat[from + 3] === 0 ? 5 : 0
  const runs = from + 5 + rows * 4 + opened + 1
  const locks = runs + 1 + (flat[runs] as number)
  return locks + 1 + (flat[locks] as number)
}

/** The writes of the messages, one by one. */
function split(messages: readonly Flat[]): { flat: Flat; from: number }[] {
  const writes: { flat: Flat; from: number }[] = []
  for (const flat of messages) {
    for (let from = 0; from < flat.length; ) {
      writes.push({ flat, from })
      const code = flat[from] as keyof typeof PARAMETERS | typeof OP.append
      from = code === OP.append ? endOfAppend(flat, from) : from + 1 + PARAMETERS[code]
      // The thread dies of it, and everything that waits is answered, instead of waiting for ever.
      if (Number.isNaN(from)) throw new Error(`unknown write ${String(code)}`)
    }
  }
  return writes
}

type Statements = Record<keyof ReturnType<typeof texts>, StatementSync>

function prepare(db: DatabaseSync): Statements {
  const all = texts()
  const names = Object.keys(all) as (keyof typeof all)[]
  return Object.fromEntries(names.map((name) => [name, db.prepare(all[name])])) as Statements
}

function texts() {
  return {
    begin: 'BEGIN IMMEDIATE',
    commit: 'COMMIT',
    rollback: 'ROLLBACK',
    lastSeq: 'SELECT seq FROM entries WHERE org = ? AND tree = ? ORDER BY seq DESC LIMIT 1',
    insert:
      'INSERT INTO entries (org, tree, seq, at, type, body, hash) VALUES (?, ?, ?, ?, ?, ?, ?)',
    open: `INSERT INTO trees (org, tree, root, opened_at, requester, agent, purpose, epoch)
      VALUES (?, ?, ?, ?, ?, ?, ?, (SELECT epoch FROM store))`,
    close: 'UPDATE trees SET closed_at = ? WHERE org = ? AND tree = ?',
    openRun: `INSERT INTO runs (org, run, tree) VALUES (?, ?, ?)
      ON CONFLICT DO UPDATE SET tree = tree WHERE tree = excluded.tree`,
    saveSnapshot: `INSERT OR REPLACE INTO snapshots (org, tree, seq, hash, rules, body)
      VALUES (?, ?, ?, ?, ?, ?)`,
    otherResultBytes: `SELECT coalesce((SELECT -length(bytes) FROM results
      WHERE org = ? AND tree = ? AND call = ?), 0)
      + coalesce((SELECT result_bytes FROM trees WHERE org = ? AND tree = ?), 0) AS bytes`,
    dropResult: 'DELETE FROM results WHERE org = ? AND tree = ? AND call = ?',
    putResult: 'INSERT INTO results (org, tree, call, expires_at, bytes) VALUES (?, ?, ?, ?, ?)',
    dropResults: 'DELETE FROM results WHERE org = ? AND tree = ?',
    putReceipt: `INSERT INTO receipts (org, tree, number, at, body) VALUES (?, ?, ?, ?, ?)
      ON CONFLICT DO NOTHING`,
    setting: 'SELECT value FROM settings WHERE org = ? AND key = ?',
    putSetting: 'INSERT OR REPLACE INTO settings (org, key, value) VALUES (?, ?, ?)',
    dropSetting: 'DELETE FROM settings WHERE org = ? AND key = ?',
    beat: `INSERT INTO executors (executor, at) VALUES (?, ?)
      ON CONFLICT DO UPDATE SET at = max(at, excluded.at)`,
    putArtifact: `INSERT INTO artifacts (org, kind, id, grant_id, handle, expires_at, body)
      VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (org, kind, id) DO UPDATE SET
      grant_id = excluded.grant_id, handle = excluded.handle, expires_at = excluded.expires_at, body = excluded.body`,
    consumeArtifact: `UPDATE artifacts SET consumed_at = ?
      WHERE org = ? AND kind = ? AND id = ? AND consumed_at IS NULL`,
    dropArtifact: 'DELETE FROM artifacts WHERE org = ? AND kind = ? AND id = ?',
    dropArtifactsOf: 'DELETE FROM artifacts WHERE org = ? AND grant_id = ?',
    sweepArtifacts: 'DELETE FROM artifacts WHERE expires_at <= ?',
    sweepResults: 'DELETE FROM results WHERE expires_at <= ?',
    sweepBeats: 'DELETE FROM executors WHERE at < ?',
  } as const
}
