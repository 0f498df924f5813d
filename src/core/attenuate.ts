import { compare } from './decimal.ts'
import { grantExcess } from './grant.ts'
import type { Delegate, Terms } from './lease.ts'
import {
  type ActionPattern,
  containsAction,
  containsDenial,
  matchesAction,
  overlapsDenial,
  parseActionPattern,
} from './pattern.ts'
import { err, ok, type Result } from './result.ts'
import { quote } from './text.ts'

/** In which respect a child's lease is wider than its parent's, in the words of the lease file. */
export type Dimension =
  | 'user'
  | 'grants'
  | 'deny'
  | 'ask'
  | 'ceiling'
  | 'on_exceed'
  | 'expires_in'
  | 'max_tool_calls'
  | 'limits'
  | 'budget.minutes'
  | 'budget.usd'
  | 'delegate'
  | 'require_receipt'
  | 'approvers'
  | 'not_narrower'

export interface Widening {
  readonly dimension: Dimension
  /** The parent's value, the child's value, and what to write. */
  readonly message: string
}

type Check = (child: Terms, parent: Terms) => string | null

/**
 * Whether the child's terms are narrower than the parent's: no wider in any dimension, and less in
 * at least one. The first dimension that fails is named. Having less depth to delegate is no merit
 * of the child (it always has), so it alone does not make a lease narrower. Terms are valid
 * (`validateTerms`).
 *
 * `until` cannot widen: the success of an action ends every lease of the chain that names it,
 * whoever called it. An event of the child's own makes it narrower.
 */
export function attenuates(child: Terms, parent: Terms): Result<true, Widening> {
  const widening = firstWidening(child, parent, CHECKS)
  if (widening !== null) return err(widening)
  const comparable = CHECKS.filter(([dimension]) => dimension !== 'delegate')
  const endsEarlier = patterns(child.until).some(
    (event) => !containsAction(patterns(parent.until), event),
  )
  if (!endsEarlier && firstWidening(parent, child, comparable) === null) {
    const message =
      "the child's lease permits all that the parent's does; " +
      'leave out a grant, or write fewer calls or a shorter time'
    return err({ dimension: 'not_narrower', message })
  }
  return ok(true)
}

function firstWidening(
  child: Terms,
  parent: Terms,
  checks: readonly (readonly [Dimension, Check])[],
): Widening | null {
  for (const [dimension, check] of checks) {
    const message = check(child, parent)
    if (message !== null) return { dimension, message }
  }
  return null
}

function checkUser(child: Terms, parent: Terms): string | null {
  if (child.user === parent.user) return null
  return `the parent works for ${quote(parent.user)}, the child for ${quote(child.user)}; write the parent's`
}

function checkGrants(child: Terms, parent: Terms): string | null {
  for (const grant of child.grants) {
    const excess = grantExcess(grant, parent.grants)
    if (excess !== null) return excess
  }
  return null
}

function checkDeny(child: Terms, parent: Terms): string | null {
  const own = patterns(child.deny)
  const missing = patterns(parent.deny).find((denial) => !containsDenial(own, denial))
  if (missing === undefined) return null
  return `the parent denies ${quote(missing.text)}, the child does not; add it to the child's denials`
}

/** What the parent needs an approval for, and the child may do, the child needs one for as well. */
function checkAsk(child: Terms, parent: Terms): string | null {
  const own = patterns(child.ask)
  const unasked = grantedActions(child).filter((action) => !containsAction(own, action))
  for (const ask of patterns(parent.ask)) {
    if (containsAction(own, ask)) continue
    const action = unasked.find((each) => overlapsDenial(each, ask))
    if (action !== undefined) {
      return (
        `the parent asks before each ${quote(ask.text)}, the child may do ${quote(action.text)} ` +
        `unasked; add ${quote(ask.text)} to the child's ask`
      )
    }
  }
  return null
}

/** Either the child's ceiling or each of its grants lies below the parent's ceiling. */
function checkCeiling(child: Terms, parent: Terms): string | null {
  if (parent.ceiling === null) return null
  const limit = patterns(parent.ceiling)
  const isBelow = (action: ActionPattern) => containsAction(limit, action)
  if (child.ceiling !== null && patterns(child.ceiling).every(isBelow)) return null
  const above = grantedActions(child).find((action) => !isBelow(action))
  if (above === undefined) return null
  return (
    `the parent's ceiling is ${parent.ceiling.map(quote).join(', ') || 'nothing'}, ` +
    `the child may do ${quote(above.text)}; repeat the ceiling or leave the action out`
  )
}

/**
 * A suspended run stops; a denied call leaves it running; an ask may grant what the lease lacks.
 */
const EXCEED_ORDER = ['suspend', 'deny', 'ask']

function checkOnExceed(child: Terms, parent: Terms): string | null {
  if (EXCEED_ORDER.indexOf(child.onExceed) <= EXCEED_ORDER.indexOf(parent.onExceed)) return null
  return `the parent has \`${parent.onExceed}\`, the child \`${child.onExceed}\`; write \`${parent.onExceed}\``
}

function checkExpiry(child: Terms, parent: Terms): string | null {
  const time = atMost(child.expiresInSeconds, parent.expiresInSeconds, 's')
  if (time !== null || parent.notAfter === null) return time
  if (child.notAfter !== null && child.notAfter <= parent.notAfter) return null
  return "the parent ends at a fixed time and the child may not; write the parent's or an earlier one"
}

function checkCalls(child: Terms, parent: Terms): string | null {
  return atMost(child.maxToolCalls, parent.maxToolCalls, ' calls')
}

function checkWork(child: Terms, parent: Terms): string | null {
  return atMost(child.workSeconds, parent.workSeconds, 's')
}

/** Null is unlimited. */
function atMost(child: number | null, parent: number | null, unit: string): string | null {
  if (parent === null || (child !== null && child <= parent)) return null
  const own = child === null ? 'no limit' : `${child}${unit}`
  return `the parent has ${parent}${unit}, the child ${own}; write ${parent}${unit} or less`
}

function checkUsd(child: Terms, parent: Terms): string | null {
  if (parent.usd === null) return null
  if (child.usd !== null && compare(child.usd, parent.usd) <= 0) return null
  const own = child.usd === null ? 'no limit' : `"${child.usd}"`
  return `the parent has "${parent.usd}", the child ${own}; write "${parent.usd}" or less`
}

/** A limited action that the child may do needs a limit in the child too. */
function checkLimits(child: Terms, parent: Terms): string | null {
  const granted = grantedActions(child)
  for (const [action, limit] of Object.entries(parent.limits)) {
    const own = Object.hasOwn(child.limits, action) ? child.limits[action]! : null
    if (own === null && !granted.some((pattern) => matchesAction(pattern, action))) continue
    const excess = atMost(own, limit, ' calls')
    if (excess !== null) return `${quote(action)}: ${excess}`
  }
  return null
}

/** Each level may delegate one level less than the one above. */
function checkDelegate(child: Terms, parent: Terms): string | null {
  if (child.delegate === null) return null
  if (parent.delegate === null || parent.delegate.maxDepth <= 1) {
    return "the parent leaves no level below the child; leave out the child's delegate"
  }
  const levels = parent.delegate.maxDepth - 1
  return delegateExcess(child.delegate, { ...parent.delegate, maxDepth: levels })
}

function delegateExcess(child: Delegate, limit: Delegate): string | null {
  const depth = atMost(child.maxDepth, limit.maxDepth, ' levels')
  if (depth !== null) return `max_depth: ${depth} (one less than the parent's own)`
  const children = atMost(child.maxChildren, limit.maxChildren, ' children')
  if (children !== null) return `max_children: ${children}`
  if (!limit.ask || child.ask) return null
  return 'ask: the parent asks before each delegation, the child does not; write `ask: true`'
}

function checkReceipt(child: Terms, parent: Terms): string | null {
  if (!parent.requireReceipt || child.requireReceipt) return null
  return 'the parent requires a receipt, the child does not; write `require_receipt: true`'
}

/** A child that names nobody is approved by whom the configuration says, as any lease. */
function checkApprovers(child: Terms, parent: Terms): string | null {
  const { approvers } = parent
  if (approvers === null || child.approvers === null) return null
  const other = child.approvers.find((person) => !approvers.includes(person))
  if (other === undefined) return null
  const own = approvers.map(quote).join(', ')
  return `the parent names ${own}, the child ${quote(other)}; write one of the parent's`
}

const CHECKS: readonly (readonly [Dimension, Check])[] = [
  ['user', checkUser],
  ['grants', checkGrants],
  ['deny', checkDeny],
  ['ask', checkAsk],
  ['ceiling', checkCeiling],
  ['on_exceed', checkOnExceed],
  ['expires_in', checkExpiry],
  ['max_tool_calls', checkCalls],
  ['limits', checkLimits],
  ['budget.minutes', checkWork],
  ['budget.usd', checkUsd],
  ['delegate', checkDelegate],
  ['require_receipt', checkReceipt],
  ['approvers', checkApprovers],
]

function grantedActions(terms: Terms): ActionPattern[] {
  return terms.grants.flatMap((grant) => patterns(grant.actions))
}

function patterns(texts: readonly string[]): ActionPattern[] {
  return texts.map((text) => {
    const parsed = parseActionPattern(text)
    if (!parsed.ok) throw new Error(`invalid terms: ${parsed.error}`)
    return parsed.value
  })
}
