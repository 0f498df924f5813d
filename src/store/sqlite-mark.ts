import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs'
import type { DatabaseSync } from 'node:sqlite'
import { StoreError } from './store.ts'

/**
 * A file beside the database that says how many entries it has held. A database that comes back
 * with fewer was restored from a backup, or lost its write-ahead log: leases that were revoked
 * would live again and budgets would be whole. So it is not opened until the operator accepts the
 * loss, which starts a new epoch (see `Store.epoch`).
 *
 * The mark lags behind by up to `MARK_EVERY_MS`; a loss smaller than that, or a backup that
 * brings back the mark as well, is not seen.
 */

const MARK_EVERY_MS = 2_000

interface Mark {
  /** Names the database, so that a new one in its place is not taken for an old one. */
  readonly id: string
  readonly entries: number
}

const fileOf = (database: string): string => `${database}-mark`

/** Refuses a database that has lost entries; or, if the loss is accepted, starts a new epoch. */
export function checkMark(options: {
  readonly db: DatabaseSync
  readonly file: string
  readonly rollback: 'refuse' | 'accept'
}): void {
  const { db, file, rollback } = options
  const mark = read(fileOf(file))
  const now = measure(db)
  if (mark === null || mark.id !== now.id || mark.entries <= now.entries) return
  if (rollback === 'refuse') {
    throw new StoreError(
      'rolled_back',
      `the database holds ${now.entries} entries and has held ${mark.entries}: it was restored ` +
        'from a backup, or lost its write-ahead log. Leases that ended could be alive in it. ' +
        'Bring back the newer file, or open it accepting the loss, which ends every lease in it',
    )
  }
  db.exec('UPDATE store SET epoch = epoch + 1')
  write(fileOf(file), now)
}

/** Keeps the mark up to date. */
export function openMark(options: { readonly db: DatabaseSync; readonly file: string }) {
  const count = options.db.prepare('SELECT max(id) AS n FROM entries')
  const { id } = measure(options.db)
  let written = read(fileOf(options.file))
  let writtenAtMs = Number.NEGATIVE_INFINITY

  const update = (): void => {
    const entries = Number(count.get()?.n ?? 0)
    if (written?.id === id && written.entries >= entries) return
    written = { id, entries }
    write(fileOf(options.file), written)
  }
  return {
    /**
     * Cheap when called often. Returns 0, or in how many milliseconds it wants to be called
     * again.
     */
    write(): number {
      const waitMs = writtenAtMs + MARK_EVERY_MS - performance.now()
      if (waitMs > 0) return waitMs
      writtenAtMs = performance.now()
      update()
      return 0
    },
    close: update,
  }
}

function measure(db: DatabaseSync): Mark {
  const { id } = db.prepare('SELECT id FROM store').get() as { id: string }
  const entries = Number(db.prepare('SELECT max(id) AS n FROM entries').get()?.n ?? 0)
  return { id, entries }
}

/** Null: there is none. One that cannot be read is a mistake of somebody and not guessed at. */
function read(file: string): Mark | null {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null
    throw new StoreError('io', `\`${file}\` cannot be read`, { cause: error })
  }
  const found = /^([0-9a-f]{32}) (\d{1,15})\n$/.exec(text)
  if (found === null) {
    throw new StoreError('corrupt', `\`${file}\` is damaged: delete it if the database is current`)
  }
  return { id: found[1] as string, entries: Number(found[2]) }
}

/** Replaces the file, so that a crash leaves the old one or the new one. */
function write(file: string, mark: Mark): void {
  const draft = `${file}.${process.pid}`
  const fd = openSync(draft, 'w', 0o600)
  try {
    writeSync(fd, `${mark.id} ${mark.entries}\n`)
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
  renameSync(draft, file)
}
