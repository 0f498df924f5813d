import { closeSync, fdatasyncSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import type { DatabaseSync } from 'node:sqlite'
import { openSqlite } from '../src/store/sqlite.ts'
import { openWriting } from '../src/store/sqlite-open.ts'
import type { Row, Store } from '../src/store/store.ts'
import { median } from './settings.ts'

/**
 * Durable appends a second, by c trees at once, relative to the least that a durable batched
 * writer can do: plain inserts on the main thread, one transaction a tick. Ratios only: the
 * figures depend on the disk. `node bench/append.ts` prints it alone.
 */

const PARALLEL = [1, 8, 32, 128]
const ROUND_MS = 180
const BODY = JSON.stringify({ text: 'x'.repeat(520) })
const HASH = 'ab'.repeat(32)

const rowAt = (seq: number): Row => ({ seq, at: 1, type: 'call.allowed', body: BODY, hash: HASH })

interface Subject {
  append(tree: `tree_${string}`, seq: number): Promise<unknown>
  close(): Promise<void> | void
}

function bare(file: string): Subject {
  const options = { file, busyTimeoutMs: 1_000, databaseBytesMax: 0, rollback: 'refuse' } as const
  const db: DatabaseSync = openWriting(options)
  const insert = db.prepare(
    'INSERT INTO entries (org, tree, seq, at, type, body, hash) VALUES (?, ?, ?, ?, ?, ?, ?)',
  )
  const [begin, commit] = [db.prepare('BEGIN IMMEDIATE'), db.prepare('COMMIT')]
  let waiting: { tree: string; seq: number; resolve: () => void }[] = []
  const flush = (): void => {
    const batch = waiting
    waiting = []
    begin.run()
    for (const { tree, seq } of batch) insert.run('org', tree, seq, 1, 'call.allowed', BODY, HASH)
    commit.run()
    for (const { resolve } of batch) resolve()
  }
  return {
    append(tree, seq) {
      if (waiting.length === 0) setImmediate(flush)
      return new Promise<void>((resolve) => {
        waiting.push({ tree, seq, resolve })
      })
    },
    close: () => db.close(),
  }
}

async function ours(file: string): Promise<Subject> {
  const store: Store = await openSqlite({ file })
  const opened = { openedAt: 1, requester: 'r', agent: 'a', purpose: 'p' }
  return {
    append: (tree, seq) =>
      store.append({
        org: 'org',
        tree,
        expectedSeq: seq - 1,
        rows: [rowAt(seq)],
        ...(seq === 1 && { opened: { root: `run_${tree}`, ...opened } }),
      }),
    close: () => store.close(),
  }
}

/** Appends a second, and the 99th percentile of the loop's delay in milliseconds. */
async function measure(subject: Subject, parallel: number, round: number) {
  const delay = monitorEventLoopDelay({ resolution: 1 })
  let count = 0
  const startedMs = performance.now()
  const worker = async (i: number): Promise<void> => {
    for (let seq = 1; performance.now() - startedMs < ROUND_MS; seq++) {
      await subject.append(`tree_${round}_${parallel}_${i}`, seq)
      count++
    }
  }
  delay.enable()
  await Promise.all(Array.from({ length: parallel }, (_, i) => worker(i)))
  const seconds = (performance.now() - startedMs) / 1_000
  delay.disable()
  return { rate: count / seconds, delayMs: delay.percentile(99) / 1e6 }
}

export interface AppendFigures {
  readonly parallel: number
  readonly perSecond: number
  /** Relative to the bare batched writer. */
  readonly ratio: number
  readonly loopDelayP99Ms: number
}

/** Appends a second beside those of the bare writer, round by round. */
export async function measureAppends(rounds: number): Promise<AppendFigures[]> {
  const directory = mkdtempSync(join(tmpdir(), 'daypass-bench-'))
  const subjects = {
    bare: bare(join(directory, 'bare.db')),
    ours: await ours(join(directory, 'ours.db')),
  }
  const figures: AppendFigures[] = []
  try {
    for (const parallel of PARALLEL) {
      const seen: { ratio: number; rate: number; delayMs: number }[] = []
      for (let round = 0; round <= rounds; round++) {
        const a = await measure(subjects.bare, parallel, round)
        const b = await measure(subjects.ours, parallel, round)
        if (round > 0) seen.push({ ratio: b.rate / a.rate, rate: b.rate, delayMs: b.delayMs })
      }
      figures.push({
        parallel,
        perSecond: median(seen.map(({ rate }) => rate)),
        ratio: median(seen.map(({ ratio }) => ratio)),
        loopDelayP99Ms: median(seen.map(({ delayMs }) => delayMs)),
      })
    }
  } finally {
    subjects.bare.close()
    await subjects.ours.close()
    rmSync(directory, { recursive: true })
  }
  return figures
}

/** Median milliseconds to append 4 kB to a file and to sync it: the least that durable can mean. */
export function measureSync(count = 500): number {
  const directory = mkdtempSync(join(tmpdir(), 'daypass-bench-'))
  const fd = openSync(join(directory, 'plain'), 'a')
  const page = Buffer.alloc(4_096, 'x')
  try {
    const samples = Array.from({ length: count }, () => {
      const startedMs = performance.now()
      writeSync(fd, page)
      fdatasyncSync(fd)
      return performance.now() - startedMs
    })
    return median(samples)
  } finally {
    closeSync(fd)
    rmSync(directory, { recursive: true })
  }
}

if (import.meta.main) {
  console.log(`fdatasync of 4 kB: ${measureSync().toFixed(3)} ms`)
  console.table(await measureAppends(3))
}
