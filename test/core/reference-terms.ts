import type { Facts, Touch } from '../../src/core/facts.ts'
import type { Grant, Terms } from '../../src/core/lease.ts'

/** Patterns, as regular expressions over segments that each carry their separator in front. */
function segmentsRegex(pattern: string, separator: '.' | '/'): string {
  const dot = separator === '.' ? '\\.' : '/'
  const other = separator === '.' ? '[^.]' : '[^/]'
  return pattern
    .split(separator)
    .map((segment) => {
      if (segment === '**') return `(?:${dot}${other}+)*`
      const literal = segment.replace(/[.+?^${}()|[\]\\]/gu, '\\$&').replaceAll('*', `${other}*`)
      return `${dot}(?=${other})${literal}`
    })
    .join('')
}

export function actionMatches(pattern: string, action: string): boolean {
  return new RegExp(`^${segmentsRegex(pattern, '.')}$`, 'u').test(`.${action}`)
}

export function actionDenied(pattern: string, action: string): boolean {
  return new RegExp(`^${segmentsRegex(pattern, '.')}(?:\\.[^.]+)*$`, 'u').test(`.${action}`)
}

function resourceMatches(pattern: string, value: string): boolean {
  return new RegExp(`^${segmentsRegex(pattern, '/')}$`, 'u').test(`/${value}`)
}

/** Null if the grant permits the touch; else the reason, and how close the grant came. */
function grantFailure(grant: Grant, touch: Touch, args: Facts['args']): string | null {
  if (!grant.actions.some((pattern) => actionMatches(pattern, touch.action))) return 'other_action'
  const matches = (type: string, value: string) =>
    grant.resources[type]!.some((pattern) => resourceMatches(pattern, value))
  for (const [type, values] of Object.entries(touch.resources)) {
    if (!Object.keys(grant.resources).includes(type)) return 'no_grant'
    if (!values.every((value) => matches(type, value))) return 'no_grant'
  }
  for (const type of Object.keys(grant.resources)) {
    if (!Object.keys(touch.resources).includes(type)) return 'resource_unresolved'
  }
  for (const [name, constraint] of Object.entries(grant.where)) {
    if (Object.keys(constraint).join() !== 'exact')
      throw new Error('the reference knows `exact` only')
    const holds = JSON.stringify(args[name]) === JSON.stringify(constraint.exact)
    if (!holds) return 'constraint_failed'
  }
  return null
}

const CLOSER = ['other_action', 'no_grant', 'resource_unresolved', 'constraint_failed']

/** Null if each touch has a grant; else the first reason in the decision order. */
export function termsFailure(terms: Terms, facts: Facts): string | null {
  const reasons = facts.touches.map((touch) => {
    const { ceiling } = terms
    if (ceiling !== null && !ceiling.some((p) => actionMatches(p, touch.action))) {
      return 'outside_ceiling'
    }
    const failures = terms.grants.map((grant) => grantFailure(grant, touch, facts.args))
    if (failures.includes(null)) return null
    const closest = Math.max(0, ...failures.map((failure) => CLOSER.indexOf(failure!)))
    return closest <= 1 ? 'no_grant' : CLOSER[closest]!
  })
  const order = ['outside_ceiling', 'no_grant', 'resource_unresolved', 'constraint_failed']
  return order.find((reason) => reasons.includes(reason)) ?? null
}

/** The denied action pattern, if a touch has one. */
export function termsDenial(terms: Terms, facts: Facts): string | undefined {
  return terms.deny.find((pattern) => facts.touches.some((t) => actionDenied(pattern, t.action)))
}
