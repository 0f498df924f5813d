import { type Batch, StoreError, type StoreErrorCode } from './store.ts'

/**
 * What travels between the store and its writer thread: one flat array a tick, because copying one
 * array of strings and numbers is the cheapest message there is. A write is its code, then its
 * parameters; counts come before what they count.
 */
export type Flat = (string | number | null | Uint8Array)[]

export const OP = {
  append: 0,
  saveSnapshot: 1,
  putResult: 2,
  dropResults: 3,
  putReceipt: 4,
  setSetting: 5,
  beat: 6,
  sweep: 7,
  putArtifact: 8,
  consumeArtifact: 9,
  dropArtifact: 10,
  dropArtifactsOf: 11,
} as const

/** One a write, in the order of the writes. `refused` stands for conflict, full and exists. */
export const VERDICT = { done: 0, refused: 1, locked: 2 } as const
export type Answered = 0 | 1 | 2
export type Verdict = Answered | Failure

/** An error in a form that keeps its code when it is copied between threads. */
export interface Failure {
  readonly code: StoreErrorCode
  readonly message: string
}

export type FromWorker =
  | { readonly kind: 'ready' }
  | { readonly kind: 'failed'; readonly failure: Failure }
  | { readonly kind: 'verdicts'; readonly verdicts: Verdict[]; readonly commits: number }
  | { readonly kind: 'closed' }

export const CLOSE = 'close'
export type ToWorker = Flat | typeof CLOSE

/** What the writer thread is started with. */
export interface WriterOptions {
  readonly file: string
  readonly busyTimeoutMs: number
  /** 0: no limit but the disk's. */
  readonly databaseBytesMax: number
  readonly rollback: 'refuse' | 'accept'
}

/** Adds an append to the message. The sequence numbers of the rows follow from `expectedSeq`. */
export function pushAppend(flat: Flat, batch: Batch): void {
  const { opened, runs = [], unless = [] } = batch
  flat.push(OP.append, batch.org, batch.tree, batch.expectedSeq, batch.rows.length)
  for (const row of batch.rows) flat.push(row.at, row.type, row.body, row.hash)
  if (opened !== undefined) {
    flat.push(opened.root, opened.openedAt, opened.requester, opened.agent, opened.purpose)
  }
  flat.push(batch.closedAt ?? null, runs.length)
  for (const run of runs) flat.push(run)
  flat.push(unless.length)
  for (const key of unless) flat.push(key)
}

/** SQLite's primary result codes, by what they mean to a caller. */
const CODES: Readonly<Record<number, readonly [StoreErrorCode, string]>> = {
  5: ['busy', 'another process holds the database'],
  6: ['busy', 'another connection holds a table'],
  8: ['io', 'the database cannot be written'],
  10: ['io', 'the disk failed'],
  11: ['corrupt', 'the database is damaged'],
  13: ['full', 'the disk, or the size limit of the database, is full'],
  14: ['io', 'the database cannot be opened'],
  19: ['constraint', 'the write contradicts what is stored'],
  26: ['corrupt', 'the file is no database'],
}

/** Names what went wrong; anything that is not known to be harmless is `internal`. */
export function toFailure(error: unknown): Failure {
  if (error instanceof StoreError) return { code: error.code, message: error.message }
  const text = error instanceof Error ? error.message : String(error)
  const number = errcode(error)
  if (number === null) return { code: 'internal', message: text }
  const [code, words] = CODES[number & 0xff] ?? ['internal', 'the database refused']
  return { code, message: `${words} (SQLite ${number}: ${text})` }
}

export function toError(failure: Failure): StoreError {
  return new StoreError(failure.code, failure.message)
}

function errcode(error: unknown): number | null {
  if (!(error instanceof Error) || !('errcode' in error)) return null
  return typeof error.errcode === 'number' ? error.errcode : null
}
