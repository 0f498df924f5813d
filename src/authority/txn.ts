import { errors } from 'jose'
import { issueTxn, type Txn, type TxnFault, verifyTxn } from '../badge/txn.ts'
import { canonicalise } from '../core/canonical.ts'
import { chainOf, isExpired } from '../core/chain.ts'
import type { Touch } from '../core/facts.ts'
import type { Instant } from '../core/id.ts'
import type { Reason } from '../core/reason.ts'
import { err, type Result } from '../core/result.ts'
import type { Call, Run, Tree } from '../core/tree.ts'
import { audienceOf, type UpstreamConfig } from '../gateway/upstream-open.ts'
import type { Keys } from './keys.ts'

/** Transaction tokens of this authority: signed for its gateway, and read when a tool asks. */
export class Txns {
  readonly #url: string
  readonly #keys: Keys
  readonly #clock: () => Instant
  readonly #overlapMs: number

  /** `overlapMs`: how long after its retirement a key still verifies. */
  constructor(of: { url: string; keys: Keys; clock: () => Instant; overlapMs: number }) {
    this.#url = of.url
    this.#keys = of.keys
    this.#clock = of.clock
    this.#overlapMs = of.overlapMs
  }

  readonly sign = (txn: Txn, audience: string): string => {
    const now = this.#clock()
    return issueTxn(txn, { key: this.#keys.signing, issuer: this.#url, audience, now })
  }

  /**
   * Who asks with a token: the tool that was called with it, whichever it is. An expired token
   * still names its call; what may be done is decided on the state.
   */
  async read(token: string | null): Promise<Result<Txn, TxnFault>> {
    if (token === null) return err('malformed')
    const now = this.#clock()
    return verifyTxn(token, {
      issuer: this.#url,
      audience: null,
      names: true,
      now,
      keys: ({ kid = '' }) => {
        const key = this.#keys.keyOf(kid, { now, overlapMs: this.#overlapMs })
        if (key === null) throw new errors.JWKSNoMatchingKey()
        return key
      },
    })
  }
}

/** What a tool is about to do in a call. */
export interface Deed {
  readonly action: string
  readonly type: string
  readonly id: string
}

/** Why not: a reason of the decision order; or the call is over, or was never allowed this. */
export type DeedRefusal = Reason | 'call_unknown' | 'call_over' | 'not_this_call'

/**
 * Whether a call may do this now. Pure; nothing is spent: the call was allowed, paid for and, where
 * it had to be, approved. So it is asked whether it still is under way, under leases that all are
 * in force, and whether this is what it was allowed to do. Null: it may.
 */
export function refusalOf(
  tree: Tree | null,
  txn: Pick<Txn, 'tree' | 'run' | 'call'>,
  deed: Deed,
  now: Instant,
): DeedRefusal | null {
  const run = tree?.runs.get(txn.run)
  if (tree == null || tree.id !== txn.tree || run === undefined) return 'run_unknown'
  if (tree.phase === 'closed') return 'tree_closed'
  const over = chainOf(tree, run).map((each, depth) => leaseRefusal(each, depth === 0, now))
  const first = over.find((each) => each !== null)
  if (first != null) return first
  const call = tree.calls.get(txn.call)
  if (call === undefined || call.run !== run.id) return 'call_unknown'
  if (call.state !== 'in_flight' && call.state !== 'deferred') return 'call_over'
  return touchesOf(call).some((touch) => covers(touch, deed)) ? null : 'not_this_call'
}

function leaseRefusal({ lease }: Run, isOwn: boolean, now: Instant): Reason | null {
  if (lease === null || lease.state === 'requested' || lease.state === 'ended') {
    return isOwn ? 'lease_ended' : 'ancestor_ended'
  }
  if (isExpired(lease, now)) return isOwn ? 'lease_expired' : 'ancestor_expired'
  if (lease.state === 'active') return null
  return isOwn ? 'lease_suspended' : 'ancestor_suspended'
}

/** A call keeps what it does as text; see `doesOf` of the core. */
function touchesOf({ does }: Call): readonly Touch[] {
  const [, , touches] = JSON.parse(does) as [string, string, readonly Touch[]]
  return touches
}

function covers({ action, resources, within }: Touch, deed: Deed): boolean {
  if (action !== deed.action) return false
  const value = canonicalise(deed.type, deed.id)
  if (!value.ok) return false
  return [resources, within].some(
    (all) => Object.hasOwn(all, deed.type) && all[deed.type]!.includes(value.value),
  )
}

/**
 * A server that is a child of ours is told in its environment whose tokens to believe, and as whom:
 * the address of a local installation is another one at each start.
 */
export function tellIssuer(name: string, upstream: UpstreamConfig, issuer: string): UpstreamConfig {
  if (upstream.kind !== 'stdio' || upstream.envelope !== true) return upstream
  const told = { DAYPASS_ISSUER: issuer, DAYPASS_AUDIENCE: audienceOf(name, upstream) }
  return { ...upstream, env: { ...upstream.env, ...told } }
}
