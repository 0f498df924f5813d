import type { Constraint, Delegate, Terms } from '../core/lease.ts'
import type { Located, Spot } from './source.ts'

/** A lease as written: every part with its place, aliases not yet replaced, nothing added. */
export interface LeaseDraft {
  readonly spot: Spot
  /** Names of the fields that were written, right or wrong: these are not missing. */
  readonly written: ReadonlySet<string>
  readonly agent: Located<string> | null
  readonly user: Located<string> | null
  readonly purpose: Located<string> | null
  readonly subject: Located<string> | null
  readonly grants: readonly GrantDraft[]
  readonly deny: readonly Located<string>[]
  readonly ask: readonly Located<string>[]
  readonly onExceed: Terms['onExceed']
  readonly expiresIn: Located<number> | null
  readonly until: readonly Located<string>[]
  readonly maxToolCalls: number | null
  readonly limits: readonly { readonly action: Located<string>; readonly count: number }[]
  readonly workSeconds: number | null
  readonly usd: string | null
  readonly delegate: Delegate | null
  readonly requireReceipt: boolean
}

/** One grant as written; `sugar` is the one made of the fields `actions` and `resources`. */
export interface GrantDraft {
  readonly sugar: boolean
  readonly spot: Spot
  readonly actions: readonly Located<string>[]
  readonly resources: Readonly<Record<string, readonly string[]>>
  readonly where: Readonly<Record<string, Constraint>>
}

/** The essay's identity envelope as written. */
export interface EnvelopeDraft {
  readonly spot: Spot
  readonly written: ReadonlySet<string>
  readonly agent: Located<string> | null
  readonly requestedBy: Located<string> | null
  readonly approvedBy: readonly Located<string>[]
  readonly purpose: Located<string> | null
  readonly expiresAt: Located<number> | null
  readonly allowed: readonly Located<string>[]
  readonly blocked: readonly Located<string>[]
  readonly labels: Readonly<Record<string, string>>
}
