import { canonicalJson } from './canonical-json.ts'
import { actionLeft, callsLeft, chainOf, endOf, isOver, isUsable } from './chain.ts'
import { type Decision, done, mayAnswer, type Of, refuse } from './decision.ts'
import type { Dossier } from './entry.ts'
import { compileGrant, grantContained, namesAction, permits, smallestGrant } from './grant.ts'
import type { Instant } from './id.ts'
import type { Grant, Terms } from './lease.ts'
import { ESCALATIONS_PER_RUN_MAX } from './limits.ts'
import type { Reason } from './reason.ts'
import { err } from './result.ts'
import { spentOn } from './spent.ts'
import type { Denial, Run, Tree } from './tree.ts'
import { validateTerms } from './validate.ts'

/**
 * Escalation: a run asks for more. The engine composes the dossier from what it saw: what was tried
 * and denied, and the smallest grants that would have allowed it. That is all it ever offers.
 */

/** Denials that more authority would have prevented. */
const LIFTABLE: ReadonlySet<Reason> = new Set([
  'no_grant',
  'resource_unresolved',
  'constraint_failed',
  'ancestor_no_grant',
])
const FINAL: ReadonlySet<Reason> = new Set(['denied_by_lease', 'denied_by_ancestor'])

export function decideEscalate(tree: Tree, command: Of<'escalate'>, now: Instant): Decision {
  const run = tree.runs.get(command.run)
  if (run === undefined) return refuse('run_unknown', `no run ${command.run} in this tree`)
  if (tree.escalations.has(command.escalation)) {
    return refuse('id_taken', `${command.escalation} exists already`)
  }
  if (!chainOf(tree, run).every((each) => isUsable(each, now))) {
    return refuse('lease_not_active', 'this lease, or one above it, is not active')
  }
  const lease = run.lease!
  if (run.escalationsOpened >= ESCALATIONS_PER_RUN_MAX) {
    return refuse('escalations_exhausted', `at most ${ESCALATIONS_PER_RUN_MAX} escalations a run`)
  }
  const denials = [...tree.denials.values()].filter((denial) => denial.run === run.id)
  const about = denials.filter((denial) => LIFTABLE.has(denial.reason))
  const offered = about
    .map((denial) => ({ denial, grants: missingGrants(run, denial) }))
    .filter(({ grants }) => grants.length > 0 && grants.every((g) => isWanted(command.wants, g)))
  const offer = distinct(offered.flatMap(({ grants }) => grants))
  if (offer.length === 0 && command.more.calls === 0 && command.more.seconds === 0) {
    return refuseEmpty(command, denials)
  }
  const dossier: Dossier = {
    tried: offered.map(({ denial }) => denial.seq),
    offer,
    more: command.more,
    left: {
      calls: callsLeft(lease),
      seconds: Math.floor((lease.expiresAt! - now) / 1000),
    },
    wantedMore: command.wants.some((want) => !grantContained(want, offer)),
    before: run.escalationsOpened,
  }
  const deadline = now + command.answerSeconds * 1000
  const here = { seq: tree.seq + 1, at: now } as const
  return done({ ...here, type: 'escalation.opened', command, dossier, deadline })
}

/** Why there is nothing to offer, in the words that help most. */
function refuseEmpty(command: Of<'escalate'>, denials: readonly Denial[]): Decision {
  const wanted = denials.filter(({ facts }) => names(command, facts))
  if (wanted.some(({ reason }) => FINAL.has(reason))) {
    return refuse('denied_for_good', 'this lease forbids it; no approval lifts that in this run')
  }
  if (wanted.some(({ reason }) => reason === 'ancestor_no_grant')) {
    return refuse('exceeds_ancestor', 'a run above this one lacks it: it must escalate first')
  }
  return refuse('nothing_denied', 'make the call first: what was denied is what can be asked for')
}

function names(command: Of<'escalate'>, facts: Denial['facts']): boolean {
  const wanted = new Set(command.wants.flatMap((grant) => grant.actions))
  return facts.touches.some((touch) => wanted.has(touch.action))
}

/** The grants that the denied call lacked in this run's own lease: literal, one per touch. */
function missingGrants(run: Run, denial: Denial): Grant[] {
  const { grants } = run.lease!.compiled
  const { touches, args } = denial.facts
  const missing = touches
    .filter((touch) => !grants.some((grant) => permits(grant, touch, args) === null))
    .map((touch) => smallestGrant(touch, args))
  // A value that no pattern can express literally cannot be granted by escalation.
  return missing.includes(null) ? [] : (missing as Grant[])
}

function isWanted(wants: readonly Grant[], grant: Grant): boolean {
  return grantContained(grant, wants)
}

function distinct(grants: readonly Grant[]): Grant[] {
  return [...new Map(grants.map((grant) => [canonicalJson(grant), grant])).values()]
}

export function decideAmend(tree: Tree, command: Of<'amend'>, now: Instant): Decision {
  const escalation = tree.escalations.get(command.escalation)
  if (escalation === undefined) {
    return refuse('escalation_unknown', `no escalation ${command.escalation} in this tree`)
  }
  const run = tree.runs.get(escalation.run)!
  if (isOver(tree, run, now)) {
    return refuse('lease_ended', 'the run is over: this escalation is void')
  }
  if (escalation.state !== 'pending' || now >= escalation.deadline) {
    return refuse('escalation_not_pending', 'this escalation is answered or has run out')
  }
  if ('policy' in command.by) {
    return refuse('policy_not_allowed', 'a person must answer an escalation')
  }
  const unfit = mayAnswer(tree, run, command.by)
  if (unfit !== null) return err(unfit)
  const { dossier } = escalation
  const isOffered =
    command.offer.every((grant) => grantContained(grant, dossier.offer)) &&
    command.more.calls <= dossier.more.calls &&
    command.more.seconds <= dossier.more.seconds
  if (!isOffered) return refuse('binding_mismatch', 'more than the engine offered; look again')
  const lease = run.lease!
  const excess = excessOf(tree, run, command)
  if (excess !== null) return excess
  const terms = amended(tree, run, command)
  const valid = validateTerms(terms)
  if (!valid.ok) return refuse('malformed', `with this the lease is not valid: ${valid.error[0]}`)
  const spent = spentAbove(lease.terms, terms)
  if (spent !== undefined) {
    return refuse('budget_exceeds_parent', `the parent has no calls of ${spent} left`)
  }
  const parent = run.parent === null ? null : tree.runs.get(run.parent)!.lease!
  return done({
    seq: tree.seq + 1,
    at: now,
    type: 'lease.amended',
    command,
    run: run.id,
    escalation: escalation.id,
    revision: lease.revision + 1,
    terms,
    expiresAt: endOf(terms, parent, lease.expiresAt! + command.more.seconds * 1000),
  })
}

/** INVARIANT: the only function that widens terms, and only by what an approver granted. */
function amended(tree: Tree, run: Run, command: Of<'amend'>): Terms {
  const { terms } = run.lease!
  const { calls, seconds } = command.more
  return {
    ...terms,
    grants: [...terms.grants, ...command.offer],
    expiresInSeconds: terms.expiresInSeconds + seconds,
    maxToolCalls: terms.maxToolCalls === null ? null : terms.maxToolCalls + calls,
    limits: { ...terms.limits, ...limitsFromAbove(tree, run, command.offer) },
  }
}

/**
 * Calls of a granted action that the parent counts must come out of the parent's count: the child
 * gets a limit of its own, at most what the parent has left, and reserves it.
 */
function limitsFromAbove(
  tree: Tree,
  run: Run,
  offer: readonly Grant[],
): Readonly<Record<string, number>> {
  if (run.parent === null) return {}
  const parent = tree.runs.get(run.parent)!.lease!
  const { terms, reserved } = run.lease!
  const counted = Object.keys(parent.terms.limits).filter((action) => offersAction(offer, action))
  return Object.fromEntries(
    counted.map((action): [string, number] => {
      const most = spentOn(reserved, action) + actionLeft(parent, action)!
      const own = Object.hasOwn(terms.limits, action) ? terms.limits[action]! : most
      return [action, Math.max(0, Math.min(own, most))]
    }),
  )
}

function offersAction(offer: readonly Grant[], action: string): boolean {
  return offer.some((grant) => {
    const compiled = compileGrant(grant)
    return compiled.ok && namesAction(compiled.value, action)
  })
}

/**
 * An action that the amendment would limit to nothing: what the approver grants could not be used.
 */
function spentAbove(before: Terms, after: Terms): string | undefined {
  return Object.keys(after.limits).find(
    (action) => !Object.hasOwn(before.limits, action) && after.limits[action] === 0,
  )
}

/** A child cannot be given what its ancestors lack. */
function excessOf(tree: Tree, run: Run, command: Of<'amend'>): Decision | null {
  for (const ancestor of chainOf(tree, run).slice(1)) {
    const { grants } = ancestor.lease!.terms
    if (!command.offer.every((grant) => grantContained(grant, grants))) {
      return refuse('exceeds_ancestor', `${ancestor.id} lacks it: escalate there first`)
    }
  }
  const parent = run.parent === null ? null : tree.runs.get(run.parent)!.lease!
  const left = parent === null ? null : callsLeft(parent)
  if (left !== null && command.more.calls > left) {
    return refuse('budget_exceeds_parent', `the parent has ${left} calls left`)
  }
  return null
}

export function decideRefuseEscalation(
  tree: Tree,
  command: Of<'refuse_escalation'>,
  now: Instant,
): Decision {
  const escalation = tree.escalations.get(command.escalation)
  if (escalation === undefined) {
    return refuse('escalation_unknown', `no escalation ${command.escalation} in this tree`)
  }
  if (escalation.state !== 'pending') {
    return refuse('escalation_not_pending', 'this escalation is answered already')
  }
  if (isOver(tree, tree.runs.get(escalation.run)!, now)) {
    return refuse('lease_ended', 'the run is over: this escalation is void')
  }
  if (!('person' in command.by)) {
    return refuse('not_an_approver', 'only a person can answer an escalation')
  }
  return done({ seq: tree.seq + 1, at: now, type: 'escalation.refused', command })
}
