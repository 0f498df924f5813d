import type { Instant, Json } from './id.ts'

/**
 * The terms of a lease: plain JSON, as it is stored in the ledger, hashed and shown. Everything is
 * already resolved: sugar is expanded, aliases are replaced, durations are seconds.
 */
export interface Terms {
  readonly version: 1
  readonly agent: string
  readonly purpose: string
  /** The person or service the work is for. */
  readonly user: string
  readonly grants: readonly Grant[]
  /** Action patterns. A denial beats every grant and covers the descendants of what it names. */
  readonly deny: readonly string[]
  /** Action patterns whose calls need a fresh approval each, beside a grant. */
  readonly ask: readonly string[]
  /** What happens to a call that no grant permits. */
  readonly onExceed: 'deny' | 'ask' | 'suspend'
  readonly expiresInSeconds: number
  /** The lease is over then, however late it is approved and however often it is amended. */
  readonly notAfter: Instant | null
  /** Action patterns; the lease ends when a call of one of them has succeeded. */
  readonly until: readonly string[]
  readonly maxToolCalls: number | null
  /** Calls per action. Keys are exact actions. */
  readonly limits: Readonly<Record<string, number>>
  /** Seconds of work; the clock stands still while the lease is suspended or waits for an ask. */
  readonly workSeconds: number | null
  /** Decimal string, e.g. `"2.00"`. */
  readonly usd: string | null
  /** Absent: no subagents. */
  readonly delegate: Delegate | null
  readonly requireReceipt: boolean
  /** Action patterns; a call outside all of them is denied whatever the grants say. */
  readonly ceiling: readonly string[] | null
  /** Who must say yes, if the document names somebody. */
  readonly approvers: readonly string[] | null
  /** `run_id`, `subject`, `started_at` of an envelope: shown, never judged. */
  readonly labels: Readonly<Record<string, string>>
}

export interface Delegate {
  readonly maxDepth: number
  readonly maxChildren: number
  /** A human approves each child's lease. */
  readonly ask: boolean
}

/** One line of permission: actions × resources × argument constraints (RFC 9396, one object). */
export interface Grant {
  readonly actions: readonly string[]
  /** Resource type → patterns. `{}` permits only calls that touch no resource. */
  readonly resources: Readonly<Record<string, readonly string[]>>
  /** Argument name → constraint. */
  readonly where: Readonly<Record<string, Constraint>>
}

/**
 * All members present must hold. Numbers and money are compared exactly as decimals; `max` and
 * `min` take a decimal string or an integer. `each` applies to every element of an array.
 */
export interface Constraint {
  readonly exact?: Json
  readonly one_of?: readonly Json[]
  readonly not_one_of?: readonly Json[]
  readonly max?: string | number
  readonly min?: string | number
  readonly pattern?: string
  readonly each?: Constraint
}
