import type { Actor, Outcome } from '../core/command.ts'
import type { Entry } from '../core/entry.ts'
import type { CallId, Instant, Json, OrgId, RunId, TreeId } from '../core/id.ts'
import { headOf } from './chain.ts'
import { foldReceipt } from './fold.ts'
import type { ReceiptBody } from './receipt-body.ts'
import { type Signature, type SigningKey, signContent } from './sign.ts'

export type { ReceiptBody } from './receipt-body.ts'

export const RECEIPT_FORMAT = 'daypass-receipt'
export const ADDENDUM_FORMAT = 'daypass-addendum'
export const FORMAT_VERSION = 1
export const RECEIPT_DOMAIN = 'daypass-receipt-v1'
export const ADDENDUM_DOMAIN = 'daypass-addendum-v1'

/**
 * The signed account of a closed run tree, with everything that is needed to compute it again. The
 * signature covers all but the entries; those are bound by `head`, the hash of the last of them.
 */
export interface Receipt {
  readonly format: typeof RECEIPT_FORMAT
  readonly version: typeof FORMAT_VERSION
  readonly body: ReceiptBody
  readonly entries: readonly Entry[]
  readonly head: string
  /** SHA-256 (hex) of the canonical JSON → the prompt that somebody was asked. */
  readonly prompts: Readonly<Record<string, Json>>
  readonly signature: Signature
}

/** What became known after the tree was closed. Continues the chain of the receipt. */
export interface Addendum {
  readonly format: typeof ADDENDUM_FORMAT
  readonly version: typeof FORMAT_VERSION
  readonly body: AddendumBody
  readonly entries: readonly Entry[]
  readonly head: string
  readonly signature: Signature
}

export interface AddendumBody {
  readonly org: OrgId
  readonly tree: TreeId
  readonly run: RunId
  /** Counts from 1. */
  readonly number: number
  /** The head of the receipt, or of the addendum before this one. */
  readonly follows: string
  readonly outcomes: readonly LateOutcome[]
}

export interface LateOutcome {
  readonly seq: number
  readonly at: Instant
  readonly call: CallId
  readonly outcome: Outcome | 'did_not_happen'
  readonly note: string | null
  /** A person's word; null: the real outcome came late. */
  readonly by: Actor | null
}

/**
 * Issues the receipt of a closed tree. The same entries and key give the same bytes, so after a
 * crash it can be issued again. Throws if the tree is not closed: that is a mistake of the caller.
 */
export function issueReceipt(of: {
  readonly entries: readonly Entry[]
  readonly prompts: Readonly<Record<string, Json>>
  readonly key: SigningKey
}): Receipt {
  const { entries, key } = of
  if (entries.at(-1)?.type !== 'tree.closed') throw new Error('the tree is not closed')
  const content = {
    format: RECEIPT_FORMAT,
    version: FORMAT_VERSION,
    body: foldReceipt(entries),
    head: headOf(entries),
    prompts: promptsOf(entries, of.prompts),
  } as const
  return { ...content, entries, signature: signContent(RECEIPT_DOMAIN, content, key) }
}

/** The prompts that these entries name, of those there are. */
function promptsOf(
  entries: readonly Entry[],
  prompts: Readonly<Record<string, Json>>,
): Record<string, Json> {
  const named = entries.flatMap((entry) =>
    entry.type === 'lease.requested' || entry.type === 'run.delegated'
      ? [entry.command.promptHash]
      : [],
  )
  const kept = [...new Set(named)].filter((hash) => Object.hasOwn(prompts, hash))
  return Object.fromEntries(kept.map((hash) => [hash, prompts[hash]!]))
}

/** Signs what was recorded after the receipt (or after the addendum before this one). */
export function issueAddendum(of: {
  /** Of the receipt. */
  readonly org: OrgId
  readonly tree: TreeId
  readonly run: RunId
  readonly number: number
  readonly follows: string
  readonly entries: readonly Entry[]
  readonly key: SigningKey
}): Addendum {
  const { org, tree, run, number, follows, entries, key } = of
  if (entries.length === 0) throw new Error('an addendum without entries')
  const content = {
    format: ADDENDUM_FORMAT,
    version: FORMAT_VERSION,
    body: { org, tree, run, number, follows, outcomes: lateOutcomes(entries) },
    head: headOf(entries, follows),
  } as const
  return { ...content, entries, signature: signContent(ADDENDUM_DOMAIN, content, key) }
}

/** What entries after `tree.closed` say about calls whose outcome was unknown. */
export function lateOutcomes(entries: readonly Entry[]): LateOutcome[] {
  return entries.flatMap((entry): LateOutcome[] => {
    if (entry.type !== 'call.resolved') return []
    const { command, seq, at } = entry
    const { call } = command
    if (command.do === 'settle') {
      return [{ seq, at, call, outcome: command.outcome, note: command.note, by: null }]
    }
    const outcome = command.happened ? 'succeeded' : 'did_not_happen'
    return [{ seq, at, call, outcome, note: null, by: command.by }]
  })
}
