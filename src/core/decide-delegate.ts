import { attenuates } from './attenuate.ts'
import { actionLeft, callsLeft, chainOf, endOf, isUsable, reservationOf, usdLeft } from './chain.ts'
import { type Decision, done, type Of, refuse } from './decision.ts'
import type { Instant } from './id.ts'
import { ASKS_PER_RUN_MAX, CHILDREN_PER_RUN_MAX, DEPTH_MAX, RUNS_PER_TREE_MAX } from './limits.ts'
import { isMore } from './money.ts'
import type { Lease, Tree } from './tree.ts'

/**
 * Delegation: a child gets less than its parent has, for a named task, out of the parent's budget.
 * The comparison of terms is a courtesy to whoever asks; authority is bounded by `judge`, which
 * wants a grant from every lease of the chain at every call.
 */
export function decideDelegate(tree: Tree, command: Of<'delegate'>, now: Instant): Decision {
  const parent = tree.runs.get(command.parent)
  if (parent === undefined) return refuse('run_unknown', `no run ${command.parent} in this tree`)
  if (tree.runs.has(command.run)) return refuse('run_exists', `${command.run} exists already`)
  if ([...tree.runs.values()].some(({ lease }) => lease?.id === command.lease)) {
    return refuse('id_taken', `${command.lease} exists already`)
  }
  const dead = chainOf(tree, parent).find((run) => !isUsable(run, now))
  if (dead !== undefined) return refuse('lease_not_active', `the lease of ${dead.id} is not active`)
  const lease = parent.lease!
  const { delegate } = lease.terms
  if (delegate === null) return refuse('cannot_delegate', 'this lease allows no subagents')
  if (parent.depth + 1 > DEPTH_MAX) {
    return refuse('depth_exceeded', `a run tree is at most ${DEPTH_MAX} levels below its root`)
  }
  const alive = parent.children.filter((id) => tree.runs.get(id)!.lease!.state !== 'ended')
  if (alive.length >= delegate.maxChildren) {
    return refuse('too_many_children', `at most ${delegate.maxChildren} subagents at a time`)
  }
  if (parent.children.length >= CHILDREN_PER_RUN_MAX) {
    return refuse('too_many_children', `at most ${CHILDREN_PER_RUN_MAX} subagents in a run`)
  }
  if (tree.runs.size >= RUNS_PER_TREE_MAX) {
    return refuse('too_many_children', `at most ${RUNS_PER_TREE_MAX} runs in a run tree`)
  }
  if (delegate.ask && parent.asksOpened >= ASKS_PER_RUN_MAX) {
    return refuse('too_many_children', `a person was asked ${ASKS_PER_RUN_MAX} times already`)
  }
  if (delegate.ask && command.rule.policy !== null) {
    return refuse('policy_not_allowed', 'a person must approve each subagent of this lease')
  }
  const narrower = attenuates(command.terms, lease.terms)
  if (!narrower.ok) {
    return refuse('not_narrower', `${narrower.error.dimension}: ${narrower.error.message}`)
  }
  const lack = lackOf(command.terms, lease)
  if (lack !== null) return refuse('budget_exceeds_parent', lack)
  const ends = endOf(command.terms, lease, now + command.terms.expiresInSeconds * 1000)
  if (ends <= now) {
    return refuse('request_expired', 'the fixed end of this lease is over; write a later one')
  }
  const expiresAt = delegate.ask ? null : ends
  return done({ seq: tree.seq + 1, at: now, type: 'run.delegated', command, expiresAt })
}

/** What the parent cannot reserve for the child, in words; null if it can reserve all. */
function lackOf(terms: Lease['terms'], parent: Lease): string | null {
  const wanted = reservationOf(terms, parent.terms)
  const calls = callsLeft(parent) ?? Number.POSITIVE_INFINITY
  if (wanted.calls > calls) {
    return `the parent has ${calls} calls left; the subagent wants ${wanted.calls}`
  }
  for (const [action, count] of Object.entries(wanted.byAction)) {
    const left = actionLeft(parent, action)
    if (left !== null && count > left) {
      return `the parent has ${left} calls of ${action} left; the subagent wants ${count}`
    }
  }
  const usd = usdLeft(parent)
  if (usd !== null && isMore(wanted.usd, usd)) {
    return `the parent has ${usd} USD left; the subagent wants ${wanted.usd}`
  }
  return null
}
