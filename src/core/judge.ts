import { canonicalJson } from './canonical-json.ts'
import {
  actionLeft,
  callsLeft,
  chainOf,
  denialOf,
  isExpired,
  untilOwners,
  usdLeft,
} from './chain.ts'
import type { Command } from './command.ts'
import { type Facts, isHighRisk } from './facts.ts'
import { actionShortfall, type CompiledGrant, namesAction, permits } from './grant.ts'
import type { AskId, CallId, Instant } from './id.ts'
import { ASKS_PER_RUN_MAX } from './limits.ts'
import { isAmount, isMore } from './money.ts'
import { matchesAction } from './pattern.ts'
import { REASONS, type Reason } from './reason.ts'
import type { Call, Lease, Run, Tree } from './tree.ts'
import { isWorkExhausted } from './work.ts'

type Authorize = Extract<Command, { do: 'authorize' }>

/** The answer to one call. `determined` says which line of which lease decided, for people. */
export type Verdict =
  | { readonly kind: 'allow'; readonly grants: readonly number[]; readonly ask: AskId | null }
  | { readonly kind: 'deny'; readonly reason: Reason; readonly determined: string }
  /** A person must say yes to exactly this call. `pending`: already asked. */
  | { readonly kind: 'ask'; readonly binding: string; readonly pending: AskId | null }
  /** The same call again: in flight (join it), or answered (hand the stored outcome out). */
  | { readonly kind: 'join' | 'replay'; readonly call: CallId }
  /** The same call goes on: next `input_required` round, or a safe retry. Spends nothing. */
  | { readonly kind: 'resume'; readonly call: CallId }

type Denied = Extract<Verdict, { kind: 'deny' }>

function deny(reason: Reason, determined: string): Denied {
  return { kind: 'deny', reason, determined }
}

/** The index of a grant that stands for "no grant, but `on_exceed: ask`" in `determined.grants`. */
export const EXCEEDED = -1

/**
 * May this run make this call now? The normative decision order of SPEC: each step has its own
 * reason codes, the first failure wins, and nothing is spent before the last step.
 */
export function judge(tree: Tree, c: Authorize, now: Instant): Verdict {
  const run = tree.runs.get(c.run)
  if (run === undefined) return deny('run_unknown', c.run)
  if (tree.phase === 'closed') return deny('tree_closed', tree.id)
  if (run.lease === null && tree.phase !== 'open') return deny('lease_ended', 'revoked')
  const chain = chainOf(tree, run)
  const early =
    judgeLeases(chain, now) ??
    judgeTool(chain, c.facts) ??
    judgeGuardrail(c.facts) ??
    judgeDenials(chain, c.facts)
  if (early !== null) return early
  const granted = judgeGrants(chain, c.facts)
  if ('kind' in granted) return granted
  return (
    judgeRetry(tree, chain, c) ??
    judgeBudget(chain, c.facts, now) ??
    judgeAsk(tree, chain, c, granted.grants, now) ?? {
      kind: 'allow',
      grants: granted.grants,
      ask: needsAsk(chain, c.facts, granted.grants) ? approvedAsk(tree, run, c.facts) : null,
    }
  )
}

/** Step 2. Death is this comparison with `now`; background jobs only tidy. */
function judgeLeases(chain: readonly Run[], now: Instant): Denied | null {
  let first: Denied | null = null
  for (let depth = 0; depth < chain.length; depth++) {
    const failure = leaseFailure(chain[depth]!, depth === 0, now)
    if (failure !== null && (first === null || isBefore(failure, first))) first = failure
  }
  return first
}

function leaseFailure({ id, lease }: Run, own: boolean, now: Instant): Denied | null {
  if (lease === null || lease.state === 'requested') {
    return deny(own ? 'lease_requested' : 'ancestor_ended', id)
  }
  if (lease.state === 'ended') {
    return deny(own ? 'lease_ended' : 'ancestor_ended', lease.endReason ?? id)
  }
  if (isExpired(lease, now)) return deny(own ? 'lease_expired' : 'ancestor_expired', id)
  if (lease.state === 'active') return null
  return deny(own ? 'lease_suspended' : 'ancestor_suspended', lease.suspendedWhy ?? id)
}

/** Which of two failures the decision order names: the order of REASONS is normative. */
function isBefore(left: Denied, right: Denied): boolean {
  return REASONS.indexOf(left.reason) < REASONS.indexOf(right.reason)
}

/** Step 3. */
function judgeTool(chain: readonly Run[], facts: Facts): Denied | null {
  if (facts.status === 'unknown') return deny('tool_unknown', facts.tool)
  if (facts.status === 'unmapped' && !isNamed(chain, facts)) {
    return deny('tool_unmapped', facts.tool)
  }
  if (facts.status === 'changed') return deny('definition_changed', facts.tool)
  if (facts.fault !== null) return deny('facts_unsound', facts.fault)
  if (facts.touches.length === 0) return deny('facts_unsound', 'the catalog names no action')
  if (facts.usd !== null && !isAmount(facts.usd)) {
    return deny('facts_unsound', `the price \`${facts.usd}\` is not an amount`)
  }
  return null
}

/**
 * Whether every lease of the chain names a tool that no catalog has, by exactly its own name: a
 * pattern was not written with it in mind. All that is known of the call is that it is this tool's.
 */
function isNamed(chain: readonly Run[], { tool, touches }: Facts): boolean {
  const isItself = touches.length === 1 && touches[0]!.action === tool
  return isItself && chain.every(({ lease }) => namesTool(lease!, tool))
}

/** Whether a grant of the lease names this tool, and not by a pattern. */
export function namesTool({ compiled }: Lease, tool: string): boolean {
  return compiled.grants.some(({ actions }) =>
    actions.some((pattern) => pattern.literal && pattern.text === tool),
  )
}

/** Step 4. */
function judgeGuardrail(facts: Facts): Denied | null {
  if (facts.guardrail === null || facts.guardrail.verdict === 'allow') return null
  return deny('guardrail_denied', facts.guardrail.policy)
}

/** Step 5. A denial anywhere up the chain beats every grant. */
function judgeDenials(chain: readonly Run[], facts: Facts): Denied | null {
  for (const [depth, { lease }] of chain.entries()) {
    const pattern = denialOf(lease!, facts)
    if (pattern !== null)
      return deny(depth === 0 ? 'denied_by_lease' : 'denied_by_ancestor', pattern)
  }
  return null
}

/** Step 6. Every touch is permitted by a grant of the lease and by a grant of each ancestor. */
function judgeGrants(chain: readonly Run[], facts: Facts): Denied | { grants: number[] } {
  const { grants, failure } = grantsOf(chain[0]!.lease!, facts)
  if (failure !== null) {
    // Only a root run's own lease can be exceeded: a child never reaches past its ancestors.
    const isAskable = chain.length === 1 && chain[0]!.lease!.terms.onExceed === 'ask'
    if (!isAskable || failure.reason === 'outside_ceiling') return failure
  }
  for (let depth = 1; depth < chain.length; depth++) {
    const { lease, id } = chain[depth]!
    const above = grantsOf(lease!, facts).failure
    if (above !== null) return deny('ancestor_no_grant', `${id}: ${above.determined}`)
  }
  return { grants }
}

/** The grant of each touch, and of the touches without one the failure that comes first. */
function grantsOf(lease: Lease, facts: Facts): { grants: number[]; failure: Denied | null } {
  const grants: number[] = []
  let first: Denied | null = null
  for (const touch of facts.touches) {
    const found = failureOf(lease, touch, facts)
    grants.push(typeof found === 'number' ? found : EXCEEDED)
    if (typeof found === 'number') continue
    if (first === null || isBefore(found, first)) first = found
  }
  return { grants, failure: first }
}

/** The index of the grant that permits the touch, or the denial of the grant that came closest. */
function failureOf(lease: Lease, touch: Facts['touches'][number], facts: Facts): number | Denied {
  const { ceiling, grants } = lease.compiled
  if (ceiling !== null && !ceiling.some((pattern) => matchesAction(pattern, touch.action))) {
    return deny('outside_ceiling', touch.action)
  }
  let closest: Denied | null = null
  for (let index = 0; index < grants.length; index++) {
    const grant = grants[index] as CompiledGrant
    const failure = permits(grant, touch, facts.args)
    if (failure === null) return index
    if (!namesAction(grant, touch.action)) continue
    const here = deny(failure.reason, failure.detail)
    if (closest === null || isBefore(closest, here)) closest = here
  }
  return closest ?? deny('no_grant', actionShortfall(touch.action).detail)
}

/** Step 7. A known key is a retry: it joins, hands out, goes on or is refused; it never spends. */
function judgeRetry(tree: Tree, chain: readonly Run[], c: Authorize): Verdict | null {
  const known = chain[0]!.keys.get(c.key)
  if (known === undefined) return null
  const call = tree.calls.get(known)!
  if (call.tool !== c.facts.tool || call.argsDigest !== c.facts.argsDigest) {
    return deny('key_reused', call.id)
  }
  switch (call.state) {
    case 'in_flight':
      return { kind: 'join', call: call.id }
    case 'succeeded':
    case 'failed':
      return { kind: 'replay', call: call.id }
    case 'deferred':
    case 'free':
      return judgeResumption(chain, call, c.facts)
    case 'frozen':
      return call.idempotent ? judgeResumption(chain, call, c.facts) : deny('call_frozen', call.id)
  }
}

/**
 * A call that goes on spends nothing and is not asked again, so it must still be the call that was
 * allowed: with the same arguments a probe may find other resources by now. It is also executed
 * again, so another call that may end the lease must not be in flight.
 */
function judgeResumption(chain: readonly Run[], call: Call, facts: Facts): Verdict {
  if (call.does !== doesOf(facts)) return deny('key_reused', call.id)
  return judgeUntil(chain, call.actions, call.id) ?? { kind: 'resume', call: call.id }
}

/** Everything about a call that a verdict rests on, as text. */
export function doesOf({ tool, definition, touches, argsDigest, usd }: Facts): string {
  return canonicalJson([tool, definition, touches, argsDigest, usd])
}

/** A call that may end a lease of the chain is in flight alone. */
function judgeUntil(
  chain: readonly Run[],
  actions: readonly string[],
  itself: CallId | null,
): Denied | null {
  const isPending = ({ untilCall }: Run) => untilCall !== null && untilCall !== itself
  const owner = untilOwners(chain, actions).find(isPending)
  return owner === undefined ? null : deny('until_pending', owner.untilCall!)
}

/** Step 8. Calls in flight and budgets that children hold count as spent. */
function judgeBudget(chain: readonly Run[], facts: Facts, now: Instant): Denied | null {
  const lease = chain[0]!.lease!
  const left = callsLeft(lease)
  if (left !== null && left < 1) return deny('calls_exhausted', String(lease.terms.maxToolCalls))
  const actions = facts.touches.map((touch) => touch.action)
  for (const action of new Set(actions)) {
    const limit = actionLeft(lease, action)
    if (limit !== null && limit < 1) {
      return deny('limit_reached', `${action}: ${lease.terms.limits[action]}`)
    }
  }
  for (const { lease: each } of chain) {
    if (isWorkExhausted(each!, now)) return deny('work_exhausted', String(each!.terms.workSeconds))
  }
  const usd = usdLeft(lease)
  if (usd !== null && facts.usd !== null && isMore(facts.usd, usd)) {
    return deny('usd_exhausted', `${facts.usd} of ${usd} left`)
  }
  return judgeUntil(chain, actions, null)
}

function needsAsk(chain: readonly Run[], facts: Facts, grants: readonly number[]): boolean {
  if (grants.includes(EXCEEDED) || facts.status === 'unmapped') return true
  if (chain.length > 1 && isHighRisk(facts.touches)) return true
  return chain.some(({ lease }) =>
    facts.touches.some((touch) =>
      lease!.compiled.ask.some((pattern) => matchesAction(pattern, touch.action)),
    ),
  )
}

/** What a yes is bound to: the run, the lease as it is, and everything about the call. */
export function bindingOf(run: Run, facts: Facts): string {
  return canonicalJson([run.id, run.lease!.revision, doesOf(facts)])
}

function approvedAsk(tree: Tree, run: Run, facts: Facts): AskId {
  return tree.askByBinding.get(bindingOf(run, facts))!
}

/** Step 9. Null: no ask is needed, or a person has said yes to exactly this call. */
function judgeAsk(
  tree: Tree,
  chain: readonly Run[],
  c: Authorize,
  grants: readonly number[],
  now: Instant,
): Verdict | null {
  if (!needsAsk(chain, c.facts, grants)) return null
  const run = chain[0]!
  const binding = bindingOf(run, c.facts)
  // No ask has the id of none.
  const ask = tree.asks.get(tree.askByBinding.get(binding)!)
  if (ask !== undefined) {
    if (ask.state === 'refused') return deny('ask_refused', ask.reason ?? ask.id)
    if (ask.state === 'pending' && now < ask.deadline) {
      return { kind: 'ask', binding, pending: ask.id }
    }
    if (ask.state === 'approved' && now < ask.deadline) return null
  }
  if (run.asksOpened >= ASKS_PER_RUN_MAX) return deny('asks_exhausted', String(ASKS_PER_RUN_MAX))
  return { kind: 'ask', binding, pending: null }
}
