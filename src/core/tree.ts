import type { Actor, ApprovalRule, Envelope, Outcome } from './command.ts'
import type { CompiledTerms } from './compile.ts'
import type { Dossier, EndReason } from './entry.ts'
import type { Facts } from './facts.ts'
import type { AskId, CallId, EscalationId, Instant, LeaseId, OrgId, RunId, TreeId } from './id.ts'
import type { Grant, Terms } from './lease.ts'
import type { Reason } from './reason.ts'

/**
 * A run tree: the fold of its entries. The maps are owned by whoever holds the tree; `evolve`
 * changes them in place (see there), so a tree that was handed to `evolve` must not be used again
 * by others.
 */
export interface Tree {
  readonly org: OrgId
  readonly id: TreeId
  readonly rules: number
  readonly root: RunId
  seq: number
  at: Instant
  phase: 'open' | 'ended' | 'closing' | 'closed'
  /** While closing: when calls that have not answered are given up. */
  waitUntil: Instant | null
  readonly runs: Map<RunId, Run>
  readonly calls: Map<CallId, Call>
  readonly asks: Map<AskId, Ask>
  /** The latest ask for a binding. */
  readonly askByBinding: Map<string, AskId>
  readonly escalations: Map<EscalationId, Escalation>
  /** Denials that are recorded, by what makes them equal. */
  readonly denials: Map<string, Denial>
}

export interface Run {
  readonly id: RunId
  readonly parent: RunId | null
  /** Root is 0. */
  readonly depth: number
  readonly envelope: Envelope
  readonly openedAt: Instant
  readonly children: RunId[]
  lease: Lease | null
  /** Call key → the call that used it first. */
  readonly keys: Map<string, CallId>
  readonly inFlight: Set<CallId>
  /** `input_required` or a task: answered for now, goes on in a later request. */
  readonly deferred: Set<CallId>
  /** The call in flight that will end this run's lease if it succeeds. */
  untilCall: CallId | null
  asksOpened: number
  denialsDistinct: number
  /** How many of them a person has seen: the count at the last resumption. */
  denialsSeen: number
  escalationsOpened: number
}

export interface Lease {
  readonly id: LeaseId
  /** 1 at approval; each approved amendment adds one. */
  revision: number
  state: 'requested' | 'active' | 'suspended' | 'ended'
  terms: Terms
  compiled: CompiledTerms
  readonly promptHash: string
  readonly rule: ApprovalRule
  readonly requestedAt: Instant
  approvedAt: Instant | null
  /** Null too for a child's lease that needed no answer of its own. */
  approvedBy: Actor | null
  /** Known from approval on. */
  expiresAt: Instant | null
  endedAt: Instant | null
  endReason: EndReason | null
  endNote: string | null
  suspendedWhy: string | null
  /** This run's own calls. */
  readonly spent: Spent
  /** What this lease holds of its parent's budget while it lives; nothing for a root. */
  reserved: Spent
  /** Reserved for children that are not ended. */
  readonly held: Spent
  /** Spent by children that ended. */
  readonly spentBelow: Spent
  /** Milliseconds of work before `workSince`. */
  workedMs: number
  /** Null while the clock of work stands still. */
  workSince: Instant | null
}

export interface Spent {
  calls: number
  /**
   * Per action, only for actions that the terms limit. No prototype: an action may be `__proto__`.
   */
  byAction: Record<string, number>
  /** Decimal string. */
  usd: string
}

export interface Call {
  readonly id: CallId
  readonly run: RunId
  readonly key: string
  readonly tool: string
  readonly argsDigest: string
  readonly actions: readonly string[]
  /** Everything the verdict was about, as text: a call that goes on must still do exactly this. */
  readonly does: string
  readonly usd: string
  readonly idempotent: boolean
  /** The ask whose yes this call has used. */
  readonly ask: AskId | null
  /** `frozen`: unknown outcome; `free`: a person said that it did not happen. */
  state: 'in_flight' | 'succeeded' | 'failed' | 'frozen' | 'deferred' | 'free'
  outcome: Outcome | null
  /** Was `unknown` once: an earlier try may have cost, so none of its money comes back. */
  isDoubtful: boolean
  readonly seq: number
  deadline: Instant
  executor: string
}

export interface Ask {
  readonly id: AskId
  readonly run: RunId
  readonly binding: string
  readonly facts: Facts
  readonly openedAt: Instant
  state: 'pending' | 'approved' | 'refused' | 'used'
  /** Pending: when silence refuses. Approved: when the yes goes stale. */
  deadline: Instant
  by: string | null
  reason: string | null
}

export interface Escalation {
  readonly id: EscalationId
  readonly run: RunId
  readonly dossier: Dossier
  readonly words: string
  readonly wants: readonly Grant[]
  state: 'pending' | 'amended' | 'refused'
  readonly deadline: Instant
  by: string | null
  reason: string | null
}

export interface Denial {
  readonly key: string
  readonly seq: number
  readonly run: RunId
  readonly reason: Reason
  readonly facts: Facts
  times: number
  lastAt: Instant
  readonly firstAt: Instant
}
