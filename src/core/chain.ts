import type { EndReason } from './entry.ts'
import type { Facts } from './facts.ts'
import type { CallId, Instant } from './id.ts'
import { minus, plus } from './money.ts'
import { deniesAction, matchesAction } from './pattern.ts'
import type { Lease, Run, Spent, Tree } from './tree.ts'
import { isWorkExhausted } from './work.ts'

/** Questions about a tree that both `decide` and `evolve` ask. No function here changes it. */

/** The run and its ancestors, the run first. */
export function chainOf(tree: Tree, run: Run): Run[] {
  const chain = [run]
  for (let up = run.parent; up !== null; ) {
    const parent = tree.runs.get(up)!
    chain.push(parent)
    up = parent.parent
  }
  return chain
}

/** Every run below `run`, parents before children. */
export function descendantsOf(tree: Tree, run: Run): Run[] {
  return run.children.flatMap((id) => {
    const child = tree.runs.get(id)!
    return [child, ...descendantsOf(tree, child)]
  })
}

export function isExpired(lease: Lease, now: Instant): boolean {
  return lease.expiresAt !== null && now >= lease.expiresAt
}

/** What the lease has left, reservations of children counted as gone. Null: not limited. */
export function callsLeft(lease: Lease): number | null {
  const { maxToolCalls } = lease.terms
  if (maxToolCalls === null) return null
  return maxToolCalls - lease.spent.calls - lease.held.calls - lease.spentBelow.calls
}

export function actionLeft(lease: Lease, action: string): number | null {
  if (!Object.hasOwn(lease.terms.limits, action)) return null
  const gone = (spent: Spent) => spent.byAction[action] ?? 0
  const limit = lease.terms.limits[action]!
  return limit - gone(lease.spent) - gone(lease.held) - gone(lease.spentBelow)
}

export function usdLeft(lease: Lease): string | null {
  if (lease.terms.usd === null) return null
  const gone = plus(plus(lease.spent.usd, lease.held.usd), lease.spentBelow.usd)
  return minus(lease.terms.usd, gone)
}

/** What a child's lease takes out of its parent's budget while it lives. */
export function reservationOf(childTerms: Lease['terms'], parentTerms: Lease['terms']): Spent {
  const byAction: Record<string, number> = {}
  for (const action of Object.keys(parentTerms.limits)) {
    byAction[action] = Object.hasOwn(childTerms.limits, action) ? childTerms.limits[action]! : 0
  }
  return {
    calls: parentTerms.maxToolCalls === null ? 0 : (childTerms.maxToolCalls ?? 0),
    byAction,
    usd: parentTerms.usd === null ? '0' : (childTerms.usd ?? '0'),
  }
}

/** The action pattern that denies one of the touches, if any. */
export function denialOf(lease: Lease, facts: Pick<Facts, 'touches'>): string | null {
  for (const touch of facts.touches) {
    const at = lease.compiled.deny.findIndex((pattern) => deniesAction(pattern, touch.action))
    if (at >= 0) return lease.terms.deny[at]!
  }
  return null
}

/** Runs of the chain whose lease ends when one of these actions succeeds; the topmost last. */
export function untilOwners(chain: readonly Run[], actions: readonly string[]): Run[] {
  return chain.filter(
    ({ lease }) =>
      lease !== null &&
      lease.compiled.until.some((p) => actions.some((action) => matchesAction(p, action))),
  )
}

/** The death that is due for a lease that has not ended, or null. */
export function deathOf(
  tree: Tree,
  run: Run,
  now: Instant,
  /** A call whose outcome is being recorded: no longer in flight. */
  settling: CallId | null = null,
): { reason: EndReason; endedAt: Instant; note: string | null } | null {
  const lease = run.lease
  if (lease === null || lease.state === 'ended') return null
  if (lease.state === 'requested') {
    const answerBy = lease.requestedAt + lease.rule.answerSeconds * 1000
    if (now < answerBy) return null
    return { reason: 'refused', endedAt: answerBy, note: 'nobody answered in time' }
  }
  if (isExpired(lease, now)) {
    return { reason: 'expired', endedAt: lease.expiresAt!, note: null }
  }
  if (openCallsOf(tree, run).some((call) => call !== settling)) return null
  if (isWorkExhausted(lease, now)) {
    return { reason: 'exhausted', endedAt: now, note: 'no minutes of work left' }
  }
  if (callsLeft(lease) === 0 && lease.held.calls === 0) {
    return { reason: 'exhausted', endedAt: now, note: 'no tool calls left' }
  }
  return null
}

/** Calls of this run and of the runs below it that are in flight, or go on in a later request. */
export function openCallsOf(tree: Tree, run: Run): CallId[] {
  return [run, ...descendantsOf(tree, run)].flatMap((each) => [...each.inFlight, ...each.deferred])
}
