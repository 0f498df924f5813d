import type { DatabaseSync } from 'node:sqlite'
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads'
import { openMark } from './sqlite-mark.ts'
import { openWriting } from './sqlite-open.ts'
import {
  CLOSE,
  type Flat,
  type FromWorker,
  type ToWorker,
  toFailure,
  type WriterOptions,
} from './sqlite-protocol.ts'
import { Writer } from './sqlite-writer.ts'

/**
 * The thread that owns the writing connection. Whenever it is idle it takes everything that waits
 * and stores it in one transaction; the next batch gathers while the disk syncs. No timer, no batch
 * size to tune.
 */

/** Pages in the write-ahead log worth a checkpoint when nothing else is to do: 1 MB. */
const PAGES_WHEN_IDLE = 256
/** Pages that are too many to wait for a pause: 64 MB of disk, and reads search a longer index. */
const PAGES_MAX = 16_384
/** A pause this long means that callers are busy elsewhere. */
const IDLE_MS = 20

const options = workerData as WriterOptions
const port = parentPort
if (port === null) throw new Error('this file is the entry point of a thread')

const send = (message: FromWorker): void => port.postMessage(message)

try {
  serve(openWriting(options))
} catch (error) {
  send({ kind: 'failed', failure: toFailure(error) })
  port.close()
}

function serve(db: DatabaseSync): void {
  const writer = new Writer(db)
  const mark = openMark({ db, file: options.file })
  const walSize = db.prepare('PRAGMA wal_checkpoint(NOOP)')
  // PASSIVE never waits for a reader and never makes one wait.
  const checkpoint = db.prepare('PRAGMA wal_checkpoint(PASSIVE)')
  let idle: NodeJS.Timeout | undefined

  const waiting = (): number => {
    const { log, checkpointed } = walSize.get() as { log: number; checkpointed: number }
    return log - checkpointed
  }
  const tidy = (): void => {
    clearTimeout(idle)
    try {
      if (waiting() >= PAGES_WHEN_IDLE) checkpoint.run()
      const waitMs = mark.write()
      if (waitMs > 0) idle = setTimeout(tidy, waitMs)
    } catch {
      // The rows are safe in the log. A disk that fails says so at the next write.
    }
  }
  const tooLong = (): boolean => {
    try {
      return waiting() >= PAGES_MAX
    } catch {
      return false
    }
  }

  port?.on('message', (first: ToWorker) => {
    clearTimeout(idle)
    const { writes, close } = take(first)
    if (writes.length > 0) {
      const verdicts = writer.write(writes)
      send({ kind: 'verdicts', verdicts, commits: writer.commits })
    }
    if (close) {
      try {
        mark.close()
      } catch {
        // A mark that lags behind sees less, and is never wrong.
      }
      db.close()
      send({ kind: 'closed' })
      port?.close()
      return
    }
    if (tooLong()) tidy()
    else idle = setTimeout(tidy, IDLE_MS)
  })
  send({ kind: 'ready' })
}

/** Everything that waits now. */
function take(first: ToWorker): { writes: Flat[]; close: boolean } {
  const writes: Flat[] = []
  let next: ToWorker | undefined = first
  while (next !== undefined && next !== CLOSE) {
    writes.push(next)
    next = receiveMessageOnPort(port!)?.message
  }
  return { writes, close: next === CLOSE }
}
