import { createHash } from 'node:crypto'
import type { OrgId, RunId, TreeId } from '../../src/core/id.ts'
import type { Batch, Opened, Row, Store, TreeKey } from '../../src/store/store.ts'

export const ORG: OrgId = 'acme'

export const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex')

/** A row as a ledger makes it: the hash follows from the one before and the body. */
export function row(seq: number, options: { before?: string; note?: string } = {}): Row {
  const { before = '0'.repeat(64), note = '' } = options
  const body = JSON.stringify({ note, seq, text: 'ä"\n\u0000€😀' })
  return { seq, at: 1_000_000 + seq, type: 'call.allowed', body, hash: sha256(before + body) }
}

export function rows(from: number, count: number, options: { note?: string } = {}): Row[] {
  const made: Row[] = []
  for (let seq = from; seq < from + count; seq++) {
    made.push(row(seq, { ...options, ...(made.at(-1) && { before: made.at(-1)!.hash }) }))
  }
  return made
}

export function key(name: string, org: OrgId = ORG): TreeKey & { tree: TreeId } {
  return { org, tree: `tree_${name}` }
}

export function opened(name: string, openedAt = 1_000_000): Opened {
  return {
    root: `run_${name}` as RunId,
    openedAt,
    requester: 'maintainer@example.com',
    agent: 'repo-maintenance-agent',
    purpose: 'update dependency',
  }
}

/** The batch that opens a tree, with `count` rows. */
export function opening(name: string, options: Partial<Batch> & { count?: number } = {}): Batch {
  const { count = 1, ...rest } = options
  return { ...key(name), expectedSeq: 0, rows: rows(1, count), opened: opened(name), ...rest }
}

/** A batch of one row (or `count`) behind `expectedSeq`. */
export function next(
  name: string,
  expectedSeq: number,
  options: Partial<Batch> & { count?: number; note?: string } = {},
): Batch {
  const { count = 1, note = '', ...rest } = options
  return { ...key(name), expectedSeq, rows: rows(expectedSeq + 1, count, { note }), ...rest }
}

/** The sequence numbers that the tree holds, as they are returned. */
export async function seqs(store: Store, name: string, org: OrgId = ORG): Promise<number[]> {
  return (await store.load(key(name, org), 0)).map(({ seq }) => seq)
}

export const upTo = (count: number): number[] => Array.from({ length: count }, (_, i) => i + 1)

export const CONFLICT = { ok: false, error: 'conflict' }
export const OK = { ok: true, value: undefined }
