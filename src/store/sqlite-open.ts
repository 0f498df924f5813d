import { DatabaseSync } from 'node:sqlite'
import { migrate } from './migrations.ts'
import { checkMark } from './sqlite-mark.ts'
import type { WriterOptions } from './sqlite-protocol.ts'
import { StoreError } from './store.ts'

/** Opens the writing connection; leaves nothing open when it fails. */
export function openWriting({
  file,
  busyTimeoutMs,
  databaseBytesMax,
  rollback,
}: WriterOptions): DatabaseSync {
  const db = new DatabaseSync(file, { timeout: busyTimeoutMs })
  try {
    const mode = db.prepare('PRAGMA journal_mode = WAL').get()?.journal_mode
    if (mode !== 'wal') {
      throw new StoreError('io', `the file system of \`${file}\` cannot hold a database with WAL`)
    }
    // fullfsync: on macOS a plain fsync leaves the data in the drive's cache.
    db.exec(`
      PRAGMA synchronous = FULL;
      PRAGMA fullfsync = 1;
      PRAGMA checkpoint_fullfsync = 1;
      PRAGMA foreign_keys = 1;
      PRAGMA trusted_schema = 0;
      PRAGMA wal_autocheckpoint = 0;
    `)
    migrate(db)
    if (databaseBytesMax > 0) {
      const page = Number(db.prepare('PRAGMA page_size').get()?.page_size)
      db.exec(`PRAGMA max_page_count = ${Math.max(1, Math.floor(databaseBytesMax / page))}`)
    }
    checkMark({ db, file, rollback })
    return db
  } catch (error) {
    db.close()
    throw error
  }
}
