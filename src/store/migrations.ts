import type { DatabaseSync } from 'node:sqlite'
import { StoreError } from './store.ts'

/** "DAYP": marks the file as ours, so that no other program's database is migrated. */
const APPLICATION_ID = 0x44415950

/**
 * One string a version; released ones never change. Every key starts with `org`. An older process
 * may have the file open while a newer one migrates it: what the older one writes must stay
 * valid.
 *
 * `entries` is a rowid table with a unique index: rows of all trees are appended at one place,
 * and only the index is written at random. `WITHOUT ROWID` on the same key is 2.5 times slower.
 * It has no foreign key, because that costs a look-up a row: the writer opens the tree in the
 * same transaction.
 */
const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE store (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    id TEXT NOT NULL,
    epoch INTEGER NOT NULL
  ) STRICT;
  INSERT INTO store (one, id, epoch) VALUES (1, lower(hex(randomblob(16))), 0);

  CREATE TABLE trees (
    org TEXT NOT NULL,
    tree TEXT NOT NULL,
    root TEXT NOT NULL,
    opened_at INTEGER NOT NULL,
    closed_at INTEGER,
    requester TEXT NOT NULL,
    agent TEXT NOT NULL,
    purpose TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    result_bytes INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (org, tree)
  ) STRICT;
  CREATE INDEX trees_by_time ON trees (org, opened_at, tree);
  CREATE INDEX trees_open ON trees (org, opened_at, tree) WHERE closed_at IS NULL;
  CREATE INDEX trees_closed ON trees (org, opened_at, tree) WHERE closed_at IS NOT NULL;

  CREATE TABLE entries (
    id INTEGER PRIMARY KEY,
    org TEXT NOT NULL,
    tree TEXT NOT NULL,
    seq INTEGER NOT NULL,
    at INTEGER NOT NULL,
    type TEXT NOT NULL,
    body TEXT NOT NULL,
    hash TEXT NOT NULL
  ) STRICT;
  CREATE UNIQUE INDEX entries_by_tree ON entries (org, tree, seq);

  CREATE TABLE runs (
    org TEXT NOT NULL,
    run TEXT NOT NULL,
    tree TEXT NOT NULL,
    PRIMARY KEY (org, run),
    FOREIGN KEY (org, tree) REFERENCES trees (org, tree)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE snapshots (
    org TEXT NOT NULL,
    tree TEXT NOT NULL,
    seq INTEGER NOT NULL,
    hash TEXT NOT NULL,
    rules INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (org, tree),
    FOREIGN KEY (org, tree) REFERENCES trees (org, tree)
  ) STRICT;

  CREATE TABLE results (
    org TEXT NOT NULL,
    tree TEXT NOT NULL,
    call TEXT NOT NULL,
    expires_at INTEGER NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (org, tree, call),
    FOREIGN KEY (org, tree) REFERENCES trees (org, tree)
  ) STRICT;
  CREATE INDEX results_by_expiry ON results (expires_at);
  CREATE TRIGGER results_added AFTER INSERT ON results BEGIN
    UPDATE trees SET result_bytes = result_bytes + length(new.bytes)
      WHERE org = new.org AND tree = new.tree;
  END;
  CREATE TRIGGER results_dropped AFTER DELETE ON results BEGIN
    UPDATE trees SET result_bytes = result_bytes - length(old.bytes)
      WHERE org = old.org AND tree = old.tree;
  END;

  CREATE TABLE receipts (
    org TEXT NOT NULL,
    tree TEXT NOT NULL,
    number INTEGER NOT NULL,
    at INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (org, tree, number),
    FOREIGN KEY (org, tree) REFERENCES trees (org, tree)
  ) STRICT;
  CREATE INDEX receipts_by_time ON receipts (org, at, tree, number);

  CREATE TABLE settings (
    org TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (org, key)
  ) STRICT;

  CREATE TABLE executors (
    executor TEXT PRIMARY KEY,
    at INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX executors_by_time ON executors (at);
  `,
  `
  CREATE TABLE artifacts (
    org TEXT NOT NULL,
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    grant_id TEXT,
    handle TEXT,
    expires_at INTEGER NOT NULL,
    consumed_at INTEGER,
    body TEXT NOT NULL,
    PRIMARY KEY (org, kind, id)
  ) STRICT;
  CREATE INDEX artifacts_by_grant ON artifacts (org, grant_id) WHERE grant_id IS NOT NULL;
  CREATE UNIQUE INDEX artifacts_by_handle ON artifacts (org, kind, handle)
    WHERE handle IS NOT NULL;
  CREATE INDEX artifacts_by_expiry ON artifacts (expires_at);
  `,
]

export const SCHEMA_VERSION = MIGRATIONS.length

/**
 * Brings the database to this program's schema. Several processes may do it at once: the first one
 * migrates, the others wait for it and find nothing left to do.
 */
export function migrate(db: DatabaseSync): void {
  db.exec('BEGIN IMMEDIATE')
  try {
    const version = pragma(db, 'user_version')
    const application = pragma(db, 'application_id')
    const objects = db.prepare('SELECT count(*) AS n FROM sqlite_schema').get()?.n
    if (application !== APPLICATION_ID && (version !== 0 || objects !== 0)) {
      throw new StoreError(
        'corrupt',
        'the file is a database of another program: name another file',
      )
    }
    if (version > SCHEMA_VERSION) {
      throw new StoreError(
        'schema',
        `the database was written by a newer Daypass (schema ${version}, this one knows ` +
          `${SCHEMA_VERSION}): upgrade Daypass, or name another file`,
      )
    }
    for (const sql of MIGRATIONS.slice(version)) db.exec(sql)
    db.exec(`PRAGMA application_id = ${APPLICATION_ID}; PRAGMA user_version = ${SCHEMA_VERSION}`)
    db.exec('COMMIT')
  } catch (error) {
    if (db.isTransaction) db.exec('ROLLBACK')
    throw error
  }
}

function pragma(db: DatabaseSync, name: string): number {
  return Number(db.prepare(`PRAGMA ${name}`).get()?.[name])
}
