import { type Acting, issueBadge } from '../badge/badge.ts'
import { chainOf } from '../core/chain.ts'
import type { Instant } from '../core/id.ts'
import type { Refusal } from '../core/reason.ts'
import { err, ok, type Result } from '../core/result.ts'
import type { Lease, Run, Tree } from '../core/tree.ts'
import { newId } from '../runs/new-id.ts'
import type { Keys } from './keys.ts'

/**
 * A badge outlives the longest life of its lease by this much, so that an agent reads why it ended
 * instead of a 401.
 */
const BADGE_MARGIN_MS = 10 * 60_000

/** Who a badge is made out to. */
export interface Holder {
  /** The OAuth client that asked for it; null: none did, it goes to the agent itself. */
  readonly client: string | null
  /** RFC 7638 thumbprint of the key that it is bound to (RFC 9449 §6.1); null: a bearer. */
  readonly jkt: string | null
}

/** Whoever has it: as an agent gets it in its environment. */
export const BEARER: Holder = { client: null, jkt: null }

export interface IssuedBadge {
  readonly token: string
  readonly expiresAt: Instant
}

export interface BadgeOfficeOptions {
  readonly keys: Keys
  readonly clock: () => Instant
  /** Issuer and audience: one URL serves both. */
  readonly issuer: () => string
  /** The longest life of a lease, amendments included. */
  readonly leaseSecondsMax: number
}

/** How long a badge can stay good: for as long, the key that signed it must be known. */
export function badgeLifeMs(leaseSecondsMax: number): number {
  return leaseSecondsMax * 1000 + BADGE_MARGIN_MS
}

/** Makes badges out. Whether somebody should have one is decided before. */
export class BadgeOffice {
  readonly #options: BadgeOfficeOptions

  constructor(options: BadgeOfficeOptions) {
    this.#options = options
  }

  /** The badge of a run whose lease is active. */
  async issue(tree: Tree, run: Run, holder: Holder): Promise<Result<IssuedBadge, Refusal>> {
    const { keys, clock, issuer } = this.#options
    const { lease, envelope } = run
    if (lease?.state !== 'active') {
      return err({ code: 'lease_not_active', message: 'this lease is not active' })
    }
    const expiresAt = this.#lastEnd(lease) + BADGE_MARGIN_MS
    const token = await issueBadge(
      {
        ...{ org: tree.org, tree: tree.id, run: run.id, lease: lease.id, expiresAt },
        requester: envelope.requester,
        client: holder.client ?? envelope.agent,
        agent: envelope.agent,
        above: aboveOf(tree, run),
        jkt: holder.jkt,
        issuedAt: clock(),
      },
      {
        key: keys.signing,
        issuer: issuer(),
        audience: `${issuer()}/mcp`,
        jti: newId('badge'),
        revision: lease.revision,
      },
    )
    return ok({ token, expiresAt })
  }

  /**
   * The latest moment to which a lease can be amended. A badge is in the environment of the agent
   * and cannot be replaced there, so the first one is good for every amendment.
   */
  #lastEnd({ approvedAt, expiresAt, terms }: Lease): Instant {
    const seconds = Math.max(terms.expiresInSeconds, this.#options.leaseSecondsMax)
    const last = Math.max(approvedAt! + seconds * 1000, expiresAt!)
    return Math.min(last, terms.notAfter ?? last)
  }
}

/** Who delegated to this run, from its parent to the root. */
export function aboveOf(tree: Tree, run: Run): Acting[] {
  return chainOf(tree, run)
    .slice(1)
    .map(({ id, envelope }) => ({ agent: envelope.agent, run: id }))
}
