import type { Actor, Outcome } from '../core/command.ts'
import type { Dossier, EndReason } from '../core/entry.ts'
import type { CallId, EscalationId, Instant, LeaseId, OrgId, RunId, TreeId } from '../core/id.ts'
import type { Grant } from '../core/lease.ts'
import type { Reason } from '../core/reason.ts'

/**
 * What a receipt says, as plain JSON. INVARIANT: a function of the entries alone, so that anybody
 * who has them can compute it again (`fold.ts`). Lists are in the order in which things happened
 * first.
 */
export interface ReceiptBody {
  readonly org: OrgId
  readonly tree: TreeId
  /** The root run. */
  readonly run: RunId
  readonly rules: number
  readonly openedAt: Instant
  /** Null: the tree is not closed, and this is no receipt yet. */
  readonly closedAt: Instant | null
  readonly identity: Identity
  /** Parents before children. */
  readonly runs: readonly RunPart[]
  /** 1. Tools called: what was allowed, whatever came of it. */
  readonly tools: readonly ToolPart[]
  readonly actions: readonly ActionPart[]
  readonly privileged: readonly CallPart[]
  /** Calls that nobody knows the outcome of. */
  readonly unknown: readonly CallPart[]
  /** 2. Resources touched. */
  readonly resources: readonly ResourcePart[]
  /** 3. Files changed. */
  readonly files: readonly FilePart[]
  /** 4. External systems contacted, as `host` or `host:port`. */
  readonly hosts: readonly string[]
  /** 5. Approvals requested, and the answers. */
  readonly approvals: readonly ApprovalPart[]
  /** 6. Denied actions; equal ones are counted. */
  readonly denied: readonly DeniedPart[]
  /** 7. Why the root's lease ended. */
  readonly ended: EndPart | null
  /** 8. What was left when it ended, and is gone. */
  readonly revoked: RevokedPart
  readonly suspensions: readonly SuspensionPart[]
  readonly escalations: readonly EscalationPart[]
  readonly unused: readonly UnusedPart[]
  readonly counts: Counts
}

/** Who asked, who said yes, which agent, what for. Requester and approver are never one field. */
export interface Identity {
  readonly requester: string
  readonly approver: Actor | null
  /** The person or service the work is for; null before a lease was requested. */
  readonly user: string | null
  readonly agent: string
  readonly client: string | null
  readonly purpose: string
  /** SHA-256 (hex) of the prompt that was answered. */
  readonly promptHash: string | null
  /** `run_id`, `subject` and so on of the lease document: as claimed there. */
  readonly labels: Readonly<Record<string, string>>
}

export interface RunPart {
  readonly run: RunId
  readonly parent: RunId | null
  readonly depth: number
  readonly agent: string
  readonly purpose: string
  readonly requester: string
  readonly lease: LeaseId | null
  readonly revision: number
  readonly openedAt: Instant
  readonly approvedAt: Instant | null
  readonly expiresAt: Instant | null
  readonly ended: EndPart | null
  readonly calls: number
  readonly denied: number
  readonly budget: BudgetPart | null
}

/** A pause of a run: by whom, or by which rule of the engine, and how it went on. */
export interface SuspensionPart {
  readonly run: RunId
  readonly at: Instant
  readonly why: string
  /** Null: the engine. */
  readonly by: Actor | null
  /** Null: it was not resumed. */
  readonly resumedAt: Instant | null
  readonly resumedBy: Actor | null
}

/**
 * `below`: spent by the runs below. A limit or what is left of it is null where there is no limit.
 */
export interface BudgetPart {
  readonly calls: Amount<number>
  readonly usd: Amount<string>
  readonly work: { readonly limitMs: number | null; readonly usedMs: number }
  readonly limits: readonly (Amount<number> & { readonly action: string })[]
}

export interface Amount<T> {
  readonly limit: T | null
  readonly used: T
  readonly below: T
  readonly left: T | null
}

export interface ToolPart {
  readonly tool: string
  readonly calls: number
}

export interface ActionPart {
  readonly action: string
  readonly calls: number
  readonly privileged: number
  readonly asked: number
  readonly irreversible: boolean
  readonly byRun: readonly { readonly run: RunId; readonly calls: number }[]
  readonly tools: readonly string[]
  readonly hosts: readonly string[]
  /** Short words that came with outcomes, such as the number of a pull request. */
  readonly notes: readonly string[]
}

/** One call that was allowed. */
export interface CallPart {
  readonly seq: number
  readonly at: Instant
  readonly call: CallId
  readonly run: RunId
  /** The run that delegated, so that every call names both. */
  readonly parentRun: RunId | null
  readonly tool: string
  readonly actions: readonly string[]
  readonly resources: readonly ResourcePart[]
  /** Finer positions inside the resources, such as paths in a repository. */
  readonly within: readonly ResourcePart[]
  readonly hosts: readonly string[]
  /** Null: not settled. `did_not_happen`: unknown at first, then a person said so. */
  readonly outcome: Outcome | 'did_not_happen' | null
  readonly settledAt: Instant | null
  readonly note: string | null
  /** A person's word on an outcome that was unknown. */
  readonly resolvedBy: Actor | null
  readonly ask: { readonly id: string; readonly by: string | null } | null
  /** How often the same call went on: next rounds and safe retries. They spend nothing. */
  readonly resumed: number
}

export interface ResourcePart {
  readonly type: string
  readonly values: readonly string[]
}

export interface FilePart {
  readonly path: string
  /** Every call that would have changed it has an unknown outcome. */
  readonly uncertain: boolean
}

export interface ApprovalPart {
  readonly of: 'lease' | 'subagent' | 'call' | 'escalation'
  /** Id of the lease, ask or escalation. */
  readonly id: string
  readonly run: RunId
  readonly agent: string
  readonly requestedAt: Instant
  /** `not_needed`: the parent's lease lets it delegate without asking. */
  readonly answer: 'allowed' | 'refused' | 'unanswered' | 'not_needed'
  readonly answeredAt: Instant | null
  readonly by: Actor | null
  /** The answer carries a passkey assertion. */
  readonly passkey: boolean
  readonly reason: string | null
  readonly promptHash: string | null
  /** What was asked for. */
  readonly actions: readonly string[]
  readonly resources: readonly ResourcePart[]
  /** Of an allowed ask: the call was then made. */
  readonly used: boolean
}

export interface DeniedPart {
  readonly seq: number
  readonly run: RunId
  readonly parentRun: RunId | null
  readonly tool: string
  readonly actions: readonly string[]
  readonly resources: readonly ResourcePart[]
  readonly within: readonly ResourcePart[]
  readonly reason: Reason
  readonly determined: string
  readonly times: number
  readonly firstAt: Instant
  readonly lastAt: Instant
}

export interface EndPart {
  readonly reason: EndReason
  readonly note: string | null
  /** Whose command ended it; null where time, a success or the parent did. */
  readonly by: Actor | null
  readonly endedAt: Instant
  readonly observedAt: Instant
  readonly expiresAt: Instant | null
  /** The success that ended it. */
  readonly event: { readonly call: CallId; readonly actions: readonly string[] } | null
}

export interface RevokedPart {
  /** Null: without limit until the end. */
  readonly calls: number | null
  /** Until the lease would have run out by itself, by expiry or by minutes of work. */
  readonly seconds: number
  /** Action patterns that the root's lease granted. */
  readonly permissions: number
  /** Leases that were active once, each with a badge that names it. */
  readonly badges: number
}

/** What was tried, why more was asked for, and what came of it. */
export interface EscalationPart {
  readonly id: EscalationId
  readonly run: RunId
  readonly at: Instant
  /** Unchecked words of the agent. */
  readonly words: string
  readonly wants: readonly Grant[]
  /** Composed by the engine. */
  readonly dossier: Dossier
  readonly tried: readonly Omit<DeniedPart, 'parentRun' | 'times' | 'lastAt'>[]
  readonly answer: 'allowed' | 'refused' | 'unanswered'
  readonly by: Actor | null
  readonly reason: string | null
  readonly granted: readonly Grant[]
  readonly more: { readonly calls: number; readonly seconds: number } | null
}

/** Granted and never used. What was never tried, the next lease of this kind can leave out. */
export interface UnusedPart {
  readonly run: RunId
  readonly action: string
  readonly resources: readonly ResourcePart[]
  readonly tried: TriedPart
}

/**
 * What came of trying what was never used: the answer of the last person who was asked (`allowed`:
 * and the call was then not made), or a denial without anybody being asked. Null: never tried.
 */
export type TriedPart = 'unanswered' | 'refused' | 'allowed' | 'denied' | null

export interface Counts {
  readonly entries: number
  readonly runs: number
  readonly calls: number
  readonly privileged: number
  readonly unknown: number
  readonly denied: number
  readonly allowed: number
  readonly refused: number
}
