import { hash } from 'node:crypto'
import { canonicalJson } from '../core/canonical-json.ts'
import type { Entry } from '../core/entry.ts'
import { err, ok, type Result } from '../core/result.ts'

/**
 * The chain: the hash of an entry covers its bytes and the hash before it, so the hash of the last
 * one covers the whole history of a run tree.
 */

/** The hash before the first entry. */
export const GENESIS = '0'.repeat(64)

/** Keeps these hashes apart from every other SHA-256 over JSON. */
const ENTRY_DOMAIN = 'daypass-entry-v1'

/** An entry as a store keeps it; `src/store/store.ts` has the same shape. */
export interface ChainRow {
  readonly seq: number
  readonly at: number
  readonly type: string
  /** The entry as canonical JSON. */
  readonly body: string
  /** Chain hash, 64 hex digits in lower case. */
  readonly hash: string
}

/** A place in a chain. Sequence number 0 is before the first entry. */
export interface ChainHead {
  readonly seq: number
  readonly hash: string
}

export const START: ChainHead = { seq: 0, hash: GENESIS }

/** Why rows are not the chain they claim to be. */
export interface ChainFault {
  readonly seq: number
  readonly message: string
}

/** The bytes of an entry that are stored and hashed: canonical JSON (RFC 8785). */
export function canonicalBody(entry: Entry): string {
  return canonicalJson(entry)
}

/** The hash (hex) of an entry's body that follows the entry with hash `previous`. */
export function chainHash(previous: string, body: string): string {
  return hash('sha256', `${ENTRY_DOMAIN}\n${previous}\n${body}`, 'hex')
}

/** Entries as rows that follow the entry with hash `previous`. */
export function toRows(previous: string, entries: readonly Entry[]): ChainRow[] {
  let last = previous
  return entries.map((entry) => {
    const body = canonicalBody(entry)
    last = chainHash(last, body)
    return { seq: entry.seq, at: entry.at, type: entry.type, body, hash: last }
  })
}

/**
 * Rows as entries. Checks while reading that they follow `after` without a gap, that every hash is
 * right and that the columns beside the body say what it says. A row that fails is no history to
 * decide on: the tree is unusable until somebody has looked.
 */
export function fromRows(
  rows: readonly ChainRow[],
  after: ChainHead = START,
): Result<Entry[], ChainFault> {
  const entries: Entry[] = []
  let last = after
  for (const row of rows) {
    const seq = last.seq + 1
    const fail = (message: string) => err({ seq, message: `entry ${seq}: ${message}` })
    if (row.seq !== seq) return fail(`missing; the store has ${row.seq} in its place`)
    if (chainHash(last.hash, row.body) !== row.hash) return fail('its hash does not match')
    let entry: Entry
    try {
      entry = JSON.parse(row.body)
    } catch {
      return fail('not JSON')
    }
    if (entry?.seq !== row.seq || entry.at !== row.at || entry.type !== row.type) {
      return fail('its columns do not match its body')
    }
    entries.push(entry)
    last = row
  }
  return ok(entries)
}

/** The hash of the last of these entries: binds all of them. */
export function headOf(entries: readonly Entry[], previous: string = GENESIS): string {
  return entries.reduce((last, entry) => chainHash(last, canonicalBody(entry)), previous)
}
