import type { EndReason } from './entry.ts'
import type { Facts } from './facts.ts'
import type { CallId, Instant } from './id.ts'
import type { Terms } from './lease.ts'
import { minus, plus } from './money.ts'
import { type ActionPattern, deniesAction, matchesAction } from './pattern.ts'
import { nothingSpent, spentOn } from './spent.ts'
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

/**
 * When a lease that begins to live now, or is given more time, dies: after `wanted`, and neither
 * after its own fixed end nor after its parent.
 */
export function endOf(
  { notAfter }: Pick<Terms, 'notAfter'>,
  parent: Lease | null,
  wanted: Instant,
): Instant {
  return Math.min(wanted, notAfter ?? wanted, parent?.expiresAt ?? wanted)
}

export function isExpired(lease: Lease, now: Instant): boolean {
  return lease.expiresAt !== null && now >= lease.expiresAt
}

/** Active and not expired: what a run needs of its own lease and of each ancestor's. */
export function isUsable(run: Run, now: Instant): boolean {
  return run.lease?.state === 'active' && !isExpired(run.lease, now)
}

/** Ended, or dead by the clock although nobody has recorded it; or an ancestor is. */
export function isOver(tree: Tree, run: Run, now: Instant): boolean {
  return chainOf(tree, run).some(
    ({ lease }) => lease === null || lease.state === 'ended' || isExpired(lease, now),
  )
}

/** What the lease has left, reservations of children counted as gone. Null: not limited. */
export function callsLeft(lease: Lease): number | null {
  const { maxToolCalls } = lease.terms
  if (maxToolCalls === null) return null
  return maxToolCalls - lease.spent.calls - lease.held.calls - lease.spentBelow.calls
}

export function actionLeft(lease: Lease, action: string): number | null {
  if (!Object.hasOwn(lease.terms.limits, action)) return null
  const { spent, held, spentBelow } = lease
  const gone = spentOn(spent, action) + spentOn(held, action) + spentOn(spentBelow, action)
  return lease.terms.limits[action]! - gone
}

export function usdLeft(lease: Lease): string | null {
  if (lease.terms.usd === null) return null
  const gone = plus(plus(lease.spent.usd, lease.held.usd), lease.spentBelow.usd)
  return minus(lease.terms.usd, gone)
}

/** What a child's lease takes out of its parent's budget while it lives. */
export function reservationOf(childTerms: Lease['terms'], parentTerms: Lease['terms']): Spent {
  const reserved = nothingSpent()
  for (const action of Object.keys(parentTerms.limits)) {
    const isLimited = Object.hasOwn(childTerms.limits, action)
    reserved.byAction[action] = isLimited ? childTerms.limits[action]! : 0
  }
  reserved.calls = parentTerms.maxToolCalls === null ? 0 : (childTerms.maxToolCalls ?? 0)
  // The sum brings the amount into its one spelling.
  reserved.usd = parentTerms.usd === null ? '0' : plus('0', childTerms.usd ?? '0')
  return reserved
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
  return chain.filter(({ lease }) => lease?.compiled.until.some((p) => matchesAny(p, actions)))
}

function matchesAny(pattern: ActionPattern, actions: readonly string[]): boolean {
  return actions.some((action) => matchesAction(pattern, action))
}

/** When, why and with what note a lease dies. */
export interface Death {
  readonly reason: EndReason
  readonly endedAt: Instant
  readonly note: string | null
}

/**
 * The death that time has brought, whether or not somebody has recorded it: expiry, or a request
 * that nobody answered. It precedes every other death that is recorded later.
 */
export function deathByTime(run: Run, now: Instant): Death | null {
  const lease = run.lease
  if (lease === null || lease.state === 'ended') return null
  if (lease.state === 'requested') {
    const answerBy = lease.requestedAt + lease.rule.answerSeconds * 1000
    if (now < answerBy) return null
    return { reason: 'refused', endedAt: answerBy, note: 'nobody answered in time' }
  }
  return isExpired(lease, now) ? { reason: 'expired', endedAt: lease.expiresAt!, note: null } : null
}

/** The death that is due for a lease that has not ended, or null. */
export function deathOf(
  tree: Tree,
  run: Run,
  now: Instant,
  /** A call whose outcome is being recorded: no longer in flight. */
  settling: CallId | null = null,
): Death | null {
  const lease = run.lease
  if (lease === null || lease.state === 'ended') return null
  const byTime = deathByTime(run, now)
  // A request has spent nothing, so below here it has not died.
  if (byTime !== null) return byTime
  const isSpent = callsLeft(lease) === 0 && lease.held.calls === 0
  if (!isSpent && !isWorkExhausted(lease, now)) return null
  // Looked at last: it walks the runs below, and nearly every settlement ends nothing.
  if (openCallsOf(tree, run).some((call) => call !== settling)) return null
  const note = isSpent ? 'no tool calls left' : 'no minutes of work left'
  return { reason: 'exhausted', endedAt: now, note }
}

/** Calls of this run and of the runs below it that are in flight, or go on in a later request. */
export function openCallsOf(tree: Tree, run: Run): CallId[] {
  return [run, ...descendantsOf(tree, run)].flatMap((each) => [...each.inFlight, ...each.deferred])
}
