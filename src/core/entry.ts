import type { Command } from './command.ts'
import type { AskId, CallId, EscalationId, Instant, RunId } from './id.ts'
import type { Grant, Terms } from './lease.ts'
import type { Reason } from './reason.ts'

type Of<K extends Command['do']> = Extract<Command, { do: K }>

/** Where an entry stands. `seq` counts from 1 without gaps; `at` never goes back. */
interface Position {
  readonly seq: number
  readonly at: Instant
}

/**
 * An entry that a command produced carries the command, so that the ledger alone can replay the
 * decision. Entries that follow from it in the same batch carry the `cause`, its sequence number.
 */
interface Led<C extends Command> extends Position {
  readonly command: C
}
interface Follows extends Position {
  readonly cause: number
}

export type EndReason =
  | 'completed'
  | 'expired'
  | 'revoked'
  | 'exhausted'
  | 'event'
  | 'refused'
  | 'parent_ended'

/** What let a call through: indices of the grants in the lease, per touch, and the ask if any. */
export interface Determined {
  readonly grants: readonly number[]
  readonly ask: AskId | null
}

/** Composed by the engine, not by the model. */
export interface Dossier {
  /** Sequence numbers of the denials that this escalation is about. */
  readonly tried: readonly number[]
  /** The smallest grants that would have allowed them: what is offered, never more. */
  readonly offer: readonly Grant[]
  readonly more: { readonly calls: number; readonly seconds: number }
  readonly left: { readonly calls: number | null; readonly seconds: number }
  /** The agent asked for more than it was denied. */
  readonly wantedMore: boolean
  /** Escalations of this run before this one. */
  readonly before: number
}

export type Entry =
  | (Led<Of<'open'>> & { readonly type: 'tree.opened' })
  | (Led<Of<'request'>> & { readonly type: 'lease.requested' })
  | (Led<Of<'approve'>> & { readonly type: 'lease.approved'; readonly expiresAt: Instant })
  | (Led<Of<'authorize'>> & {
      readonly type: 'call.allowed'
      readonly privileged: boolean
      readonly determined: Determined
      readonly deadline: Instant
    })
  | (Led<Of<'authorize'>> & {
      readonly type: 'call.resumed'
      readonly call: CallId
      readonly deadline: Instant
    })
  | (Led<Of<'authorize'>> & {
      readonly type: 'call.denied'
      readonly reason: Reason
      readonly determined: string
    })
  | (Led<Of<'fold'>> & { readonly type: 'call.denied_again' })
  | (Led<Of<'authorize'>> & {
      readonly type: 'ask.opened'
      readonly binding: string
      readonly deadline: Instant
    })
  | (Led<Of<'approve_call'>> & { readonly type: 'ask.approved'; readonly deadline: Instant })
  | (Led<Of<'refuse_call'>> & { readonly type: 'ask.refused' })
  | (Led<Of<'settle'>> & { readonly type: 'call.settled'; readonly overrun: string | null })
  /** A real outcome or a person's word on a call that was settled `unknown`. */
  | (Led<Of<'settle'> | Of<'resolve'>> & { readonly type: 'call.resolved' })
  | (Led<Of<'delegate'>> & { readonly type: 'run.delegated'; readonly expiresAt: Instant | null })
  | (Led<Of<'escalate'>> & {
      readonly type: 'escalation.opened'
      readonly dossier: Dossier
      readonly deadline: Instant
    })
  | (Led<Of<'amend'>> & {
      readonly type: 'lease.amended'
      readonly run: RunId
      readonly escalation: EscalationId
      readonly revision: number
      readonly terms: Terms
      readonly expiresAt: Instant
    })
  | (Led<Of<'refuse_escalation'>> & { readonly type: 'escalation.refused' })
  | (Led<Of<'suspend'>> & { readonly type: 'lease.suspended' })
  | (Follows & {
      readonly type: 'run.suspended'
      readonly run: RunId
      readonly why: 'denials' | 'until_unknown' | 'overrun' | 'exceeded'
    })
  | (Led<Of<'resume'>> & { readonly type: 'lease.resumed' })
  | (Led<Of<'revoke'> | Of<'expire'> | Of<'end'> | Of<'refuse'>> & Ended)
  | (Follows & Ended)
  | (Led<Of<'close'>> & { readonly type: 'tree.closing'; readonly waitUntil: Instant })
  | (Led<Of<'close'>> & {
      readonly type: 'tree.closed'
      /** Calls that never answered; their outcome is `unknown` and their budget stays spent. */
      readonly unanswered: readonly CallId[]
    })

/** `endedAt` is the moment of death; the entry's `at` is when it was observed. */
interface Ended {
  readonly type: 'lease.ended'
  readonly run: RunId
  readonly reason: EndReason
  readonly endedAt: Instant
  readonly note: string | null
}

export type EntryType = Entry['type']
export type EntryOf<T extends EntryType> = Extract<Entry, { type: T }>
