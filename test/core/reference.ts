import type { Entry } from '../../src/core/entry.ts'
import type { Facts } from '../../src/core/facts.ts'
import type { CallId, Instant, RunId } from '../../src/core/id.ts'
import { cents, Reader, sameCall } from './ledger-reader.ts'
import { actionMatches, termsDenial, termsFailure } from './reference-terms.ts'
import type { CommandOf } from './support.ts'

/**
 * A second opinion on `authorize`, written for the tests and for nothing else: it keeps no state,
 * reads the whole ledger for every question, and shares no code with src/core. Slow and plain on
 * purpose.
 */
export interface Opinion {
  readonly kind: 'allow' | 'resume' | 'deny' | 'ask' | 'join' | 'replay'
  readonly reason: string | null
}

const deny = (reason: string): Opinion => ({ kind: 'deny', reason })

/** The opinion on a call, from the entries alone. */
export function opinion(
  entries: readonly Entry[],
  command: CommandOf<'authorize'>,
  clock: Instant,
): Opinion {
  const reader = new Reader(entries)
  const now = Math.max(clock, entries.at(-1)!.at)
  const { run, facts } = command
  if (!reader.knows(run)) return deny('run_unknown')
  if (entries.some(({ type }) => type === 'tree.closed')) return deny('tree_closed')
  const chain = reader.chain(run)
  const early = leasesOpinion(reader, chain, now) ?? factsOpinion(reader, chain, facts)
  if (early !== null) return early
  for (const [depth, each] of chain.entries()) {
    if (termsDenial(reader.terms(each), facts) === undefined) continue
    return deny(depth === 0 ? 'denied_by_lease' : 'denied_by_ancestor')
  }
  const failure = termsFailure(reader.terms(run), facts)
  const mayExceed = chain.length === 1 && reader.terms(run).onExceed === 'ask'
  if (failure !== null && (failure === 'outside_ceiling' || !mayExceed)) return deny(failure)
  if (chain.slice(1).some((each) => termsFailure(reader.terms(each), facts) !== null)) {
    return deny('ancestor_no_grant')
  }
  return (
    retryOpinion(reader, chain, command) ??
    budgetOpinion(reader, chain, facts, now) ??
    askOpinion(reader, chain, facts, now, failure !== null) ?? { kind: 'allow', reason: null }
  )
}

function leasesOpinion(reader: Reader, chain: readonly RunId[], now: Instant): Opinion | null {
  const [own, ...above] = chain.map((run) => ({
    state: reader.state(run),
    isExpired: (reader.expiresAt(run) ?? Number.POSITIVE_INFINITY) <= now,
  }))
  if (own!.state === 'requested') return deny('lease_requested')
  if (own!.state === 'ended') return deny('lease_ended')
  if (own!.isExpired) return deny('lease_expired')
  if (own!.state === 'suspended') return deny('lease_suspended')
  if (above.some(({ state }) => state === 'ended' || state === 'requested')) {
    return deny('ancestor_ended')
  }
  if (above.some(({ isExpired }) => isExpired)) return deny('ancestor_expired')
  return above.some(({ state }) => state === 'suspended') ? deny('ancestor_suspended') : null
}

function factsOpinion(reader: Reader, chain: readonly RunId[], facts: Facts): Opinion | null {
  const statuses = {
    unknown: 'tool_unknown',
    unmapped: 'tool_unmapped',
    changed: 'definition_changed',
  }
  const isNamed =
    facts.touches.map((touch) => touch.action).join() === facts.tool &&
    chain.every((run) =>
      reader.terms(run).grants.some((grant) => grant.actions.includes(facts.tool)),
    )
  if (facts.status !== 'mapped' && !(facts.status === 'unmapped' && isNamed)) {
    return deny(statuses[facts.status])
  }
  if (facts.fault !== null || facts.touches.length === 0) return deny('facts_unsound')
  return facts.guardrail?.verdict === 'deny' ? deny('guardrail_denied') : null
}

function retryOpinion(
  reader: Reader,
  chain: readonly RunId[],
  command: CommandOf<'authorize'>,
): Opinion | null {
  const first = reader.allowed(command.run).find((entry) => entry.command.key === command.key)
  if (first === undefined) return null
  const { facts, call } = first.command
  const isSame = facts.tool === command.facts.tool && facts.argsDigest === command.facts.argsDigest
  if (!isSame) return deny('key_reused')
  const state = reader.callState(call)
  if (state === 'in_flight') return { kind: 'join', reason: null }
  if (state === 'succeeded' || state === 'failed') return { kind: 'replay', reason: null }
  if (state === 'frozen' && !facts.idempotent) return deny('call_frozen')
  if (!sameCall(facts, command.facts)) return deny('key_reused')
  const actions = facts.touches.map((touch) => touch.action)
  return untilOpinion(reader, chain, actions, call) ?? { kind: 'resume', reason: null }
}

function untilOpinion(
  reader: Reader,
  chain: readonly RunId[],
  actions: readonly string[],
  itself: CallId | null,
): Opinion | null {
  const owners = chain.filter((run) =>
    reader.terms(run).until.some((p) => actions.some((action) => actionMatches(p, action))),
  )
  return owners.some((run) => reader.untilPending(run, itself)) ? deny('until_pending') : null
}

function budgetOpinion(
  reader: Reader,
  chain: readonly RunId[],
  facts: Facts,
  now: Instant,
): Opinion | null {
  const run = chain[0]!
  const terms = reader.terms(run)
  if (terms.maxToolCalls !== null && reader.callsUsed(run) >= terms.maxToolCalls) {
    return deny('calls_exhausted')
  }
  const actions = facts.touches.map((touch) => touch.action)
  for (const [action, limit] of Object.entries(terms.limits)) {
    if (actions.includes(action) && reader.actionUsed(run, action) >= limit) {
      return deny('limit_reached')
    }
  }
  for (const each of chain) {
    const { workSeconds } = reader.terms(each)
    if (workSeconds !== null && reader.worked(each, now) >= workSeconds * 1000) {
      return deny('work_exhausted')
    }
  }
  if (cents(facts.usd ?? '0') > reader.usdLeft(run)) return deny('usd_exhausted')
  return untilOpinion(reader, chain, actions, null)
}

function askOpinion(
  reader: Reader,
  chain: readonly RunId[],
  facts: Facts,
  now: Instant,
  isExceeding: boolean,
): Opinion | null {
  const isRisky = facts.touches.some(
    ({ effect, reversible }) =>
      effect === 'destructive' || effect === 'egress' || (effect === 'write' && !reversible),
  )
  const isAsked = chain.some((run) =>
    reader.terms(run).ask.some((p) => facts.touches.some((t) => actionMatches(p, t.action))),
  )
  const isUnmapped = facts.status === 'unmapped'
  if (!isExceeding && !isAsked && !isUnmapped && !(isRisky && chain.length > 1)) return null
  const run = chain[0]!
  const state = reader.askState(run, facts, now)
  if (state === 'refused') return deny('ask_refused')
  if (state === 'pending') return { kind: 'ask', reason: null }
  if (state === 'approved') return null
  return reader.asksOpened(run) >= 20 ? deny('asks_exhausted') : { kind: 'ask', reason: null }
}
