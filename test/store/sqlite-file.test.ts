import { chmod, copyFile, mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { SCHEMA_VERSION } from '../../src/store/migrations.ts'
import { openSqlite, type SqliteOptions } from '../../src/store/sqlite.ts'
import { openWriting } from '../../src/store/sqlite-open.ts'
import { OP } from '../../src/store/sqlite-protocol.ts'
import { WriterThread } from '../../src/store/sqlite-thread.ts'
import type { Store } from '../../src/store/store.ts'
import { key, next, OK, ORG, opening, row, seqs, upTo } from './fixtures.ts'

let directory: string
let file: string
const stores: Store[] = []
const raws: DatabaseSync[] = []

async function open(options: Partial<SqliteOptions> = {}): Promise<Store> {
  const store = await openSqlite({ file, ...options })
  stores.push(store)
  return store
}

function raw(): DatabaseSync {
  const db = new DatabaseSync(file)
  raws.push(db)
  return db
}

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'daypass-store-'))
  file = join(directory, 'new', 'daypass.db')
})
afterEach(async () => {
  for (const db of raws.splice(0)) if (db.isOpen) db.close()
  for (const store of stores.splice(0)) await store.close()
  await rm(directory, { recursive: true })
})

describe('the file', () => {
  test('it, its log and its new directory belong to the owner only', async () => {
    const store = await open()
    await store.append(opening('a'))
    await store.close()
    await (await open()).append(next('a', 1))
    const mode = async (path: string) => ((await stat(path)).mode & 0o777).toString(8)
    expect(await mode(join(directory, 'new'))).toBe('700')
    for (const end of ['', '-wal', '-shm', '-mark']) expect(await mode(file + end)).toBe('600')
  })

  test('a newer schema is refused, and not touched', async () => {
    await (await open()).close()
    raw().exec(`PRAGMA user_version = ${SCHEMA_VERSION + 1}`)
    await expect(open()).rejects.toMatchObject({
      code: 'schema',
      message: expect.stringContaining('newer Daypass'),
    })
    expect(raw().prepare('PRAGMA user_version').get()?.user_version).toBe(SCHEMA_VERSION + 1)
  })

  test('a database of another program is refused, and not touched', async () => {
    await mkdir(join(directory, 'new'))
    raw().exec('CREATE TABLE theirs (x)')
    await expect(open()).rejects.toMatchObject({ code: 'corrupt' })
    const tables = raw().prepare('SELECT name FROM sqlite_schema').all()
    expect(tables.map(({ name }) => name)).toEqual(['theirs'])
  })

  test('a file that is no database is refused', async () => {
    await mkdir(join(directory, 'new'))
    await writeFile(file, 'something else entirely, and long enough for a header'.repeat(99))
    await expect(open()).rejects.toMatchObject({ code: 'corrupt' })
  })

  test('a path that cannot be is refused', async () => {
    await writeFile(join(directory, 'new'), 'a file, not a directory')
    await expect(open()).rejects.toMatchObject({ code: 'io' })
    file = directory
    await expect(open()).rejects.toMatchObject({ code: 'io' })
  })

  test('writes are synced in full, foreign keys hold, tables are strict', async () => {
    await mkdir(join(directory, 'new'))
    const options = { file, busyTimeoutMs: 7, databaseBytesMax: 0, rollback: 'refuse' } as const
    const db = openWriting(options)
    raws.push(db)
    const value = (name: string) => Object.values(db.prepare(`PRAGMA ${name}`).get() ?? {})[0]
    const names = ['journal_mode', 'synchronous', 'foreign_keys', 'wal_autocheckpoint', 'fullfsync']
    // synchronous 2 is FULL: the log is synced before a commit returns.
    expect(names.map(value)).toEqual(['wal', 2, 1, 0, 1])
    expect(value('busy_timeout')).toBe(7)
    const tables = db.prepare("SELECT name, strict FROM pragma_table_list WHERE schema = 'main'")
    const ours = tables.all().filter(({ name }) => !/^sqlite_/.test(`${name}`))
    expect(ours.length).toBeGreaterThan(5)
    expect(ours.filter(({ strict }) => !strict)).toEqual([])
  })
})

describe('limits of the disk', () => {
  test('full: the batch is not there; reading works, and writing when there is room', async () => {
    const store = await open({ databaseBytesMax: 3_000_000 })
    await store.append(opening('a'))
    const result = { bytes: new Uint8Array(1_000_000), expiresAt: 1 }
    await store.putResult({ ...key('a'), call: 'call_1' }, result)
    const body = JSON.stringify('x'.repeat(100_000))
    let seq = 1
    const fill = async () => {
      for (; seq < 99; seq++) {
        await store.append({ ...next('a', seq), rows: [{ ...row(seq + 1), body }] })
      }
    }
    await expect(fill()).rejects.toMatchObject({ code: 'full' })
    expect(seq).toBeGreaterThan(5)
    expect(await seqs(store, 'a')).toEqual(upTo(seq))
    await store.sweep(1)
    expect(await store.append({ ...next('a', seq), rows: [{ ...row(seq + 1), body }] })).toEqual(OK)
    expect(await seqs(store, 'a')).toEqual(upTo(seq + 1))
  })

  test('the log is written back in a pause', async () => {
    const store = await open()
    const body = JSON.stringify('x'.repeat(100_000))
    await store.append(opening('a'))
    for (const seq of upTo(20)) {
      await store.append({ ...next('a', seq), rows: [{ ...row(seq + 1), body }] })
    }
    const db = raw()
    const behind = () => {
      const wal = db.prepare('PRAGMA wal_checkpoint(NOOP)').get() as Record<string, number>
      return (wal.log ?? 0) - (wal.checkpointed ?? 0)
    }
    for (let i = 0; i < 100 && behind() > 0; i++) await sleep(20)
    expect(behind()).toBe(0)
    expect((await stat(file)).size).toBeGreaterThan(2_000_000)
  })

  test('the log does not grow without end when there is no pause', async () => {
    const store = await open()
    const body = JSON.stringify('x'.repeat(1_000_000))
    await store.append(opening('a'))
    for (let seq = 1; seq < 200; ) {
      const sent = upTo(5).map(() => {
        const batch = { ...next('a', seq), rows: [{ ...row(seq + 1), body }] }
        seq++
        return store.append(batch)
      })
      await Promise.all(sent)
    }
    expect((await stat(`${file}-wal`)).size).toBeLessThan(80_000_000)
  })
})

describe('a lock of another process', () => {
  test('a write waits for it', async () => {
    const store = await open()
    const db = raw()
    db.exec('BEGIN IMMEDIATE')
    let done = false
    const answer = store.append(opening('a')).then((result) => {
      done = true
      return result
    })
    await sleep(150)
    expect(done).toBe(false)
    expect(await store.head(key('a'))).toBeNull()
    db.exec('COMMIT')
    expect(await answer).toEqual(OK)
  })

  test('a write does not wait for ever, and the store lives on', async () => {
    const store = await open({ busyTimeoutMs: 50 })
    const db = raw()
    db.exec('BEGIN IMMEDIATE')
    const waiting = [store.append(opening('a')), store.append(opening('b'))]
    const outcomes = await Promise.allSettled(waiting)
    const busy = { status: 'rejected', reason: { code: 'busy' } }
    expect(outcomes).toMatchObject([busy, busy])
    db.exec('COMMIT')
    expect(await store.append(opening('a'))).toEqual(OK)
    expect(await seqs(store, 'a')).toEqual([1])
  })
})

describe('the thread', () => {
  test('when it dies, everything that waits is rejected, and everything after', async () => {
    const entry = new URL('./dying-worker.ts', import.meta.url)
    const options = { file, busyTimeoutMs: 1, databaseBytesMax: 0, rollback: 'refuse' } as const
    const thread = new WriterThread(options, entry)
    await thread.ready
    const waiting = [1, 2].map((n) => thread.write((flat) => flat.push(OP.sweep, n)))
    waiting.push(thread.write((flat) => flat.push(OP.beat, 'e', 1)))
    const outcomes = await Promise.allSettled(waiting)
    const broken = { status: 'rejected', reason: { code: 'broken' } }
    expect(outcomes).toMatchObject([broken, broken, broken])
    const late = thread.write((flat) => flat.push(OP.sweep, 1))
    await expect(late).rejects.toMatchObject({ code: 'broken' })
    await thread.close(Promise.resolve())
  })
})

describe('the writer', () => {
  test('a write that it does not know stops it; no caller is left without answer', async () => {
    const options = { file, busyTimeoutMs: 1, databaseBytesMax: 0, rollback: 'refuse' } as const
    await (await open()).close()
    const thread = new WriterThread(options)
    await thread.ready
    const good = thread.write((flat) => flat.push(OP.beat, 'e', 1))
    const bad = thread.write((flat) => flat.push(99, 'what'))
    const broken = { status: 'rejected', reason: { code: 'broken' } }
    expect(await Promise.allSettled([good, bad])).toMatchObject([broken, broken])
    expect(await (await open()).lastBeat('e')).toBeNull()
  })
})

describe('a database that comes back with less', () => {
  const backup = () => join(directory, 'backup.db')

  /** Backs up after one entry of tree `a`, then goes on, then puts the backup in place. */
  async function restore(): Promise<void> {
    const before = await open()
    await before.append(opening('a'))
    await before.close()
    await copyFile(file, backup())
    const after = await open()
    await after.append(next('a', 1, { note: 'revoked' }))
    await after.close()
    await copyFile(backup(), file)
  }

  test('is refused', async () => {
    await restore()
    await expect(open()).rejects.toMatchObject({
      code: 'rolled_back',
      message: expect.stringContaining('holds 1 entries and has held 2'),
    })
    await expect(open()).rejects.toMatchObject({ code: 'rolled_back' })
  })

  test('is opened in a new epoch when the loss is accepted', async () => {
    await restore()
    const store = await open({ rollback: 'accept' })
    expect(await store.epoch()).toBe(1)
    await store.append(opening('b'))
    const { items } = await store.listTrees({ org: ORG, limit: 9 })
    expect(items.map(({ tree, epoch }) => [tree, epoch])).toEqual([
      ['tree_b', 1],
      ['tree_a', 0],
    ])
    await store.close()
    const again = await open({ rollback: 'accept' })
    expect(await again.epoch()).toBe(1)
  })

  test('is refused when its log was left behind', async () => {
    const before = await open()
    await before.append(opening('a'))
    await before.close()
    const store = await open()
    await store.append(next('a', 1))
    const marked = async () => (await readFile(`${file}-mark`, 'utf8')).split(' ')[1]
    for (let i = 0; i < 200 && (await marked()) !== '2\n'; i++) await sleep(20)
    await copyFile(file, backup())
    await store.close()
    await copyFile(backup(), file)
    await expect(open()).rejects.toMatchObject({
      code: 'rolled_back',
      message: expect.stringContaining('holds 1 entries and has held 2'),
    })
  })

  test('a new database in its place is a new database', async () => {
    await restore()
    await rm(file)
    const store = await open()
    expect(await store.head(key('a'))).toBeNull()
    await store.append(opening('a'))
  })

  test('a mark that cannot be read is not guessed at', async () => {
    await restore()
    await writeFile(`${file}-mark`, 'half a ma')
    await expect(open()).rejects.toMatchObject({ code: 'corrupt' })
    await rm(`${file}-mark`)
    await mkdir(`${file}-mark`)
    await chmod(`${file}-mark`, 0o700)
    await expect(open()).rejects.toMatchObject({ code: 'io' })
  })
})
