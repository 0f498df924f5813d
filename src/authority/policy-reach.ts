import type { Terms } from '../core/lease.ts'
import {
  type ActionPattern,
  containsDenial,
  deniesAction,
  overlapsDenial,
} from '../core/pattern.ts'
import type { ActionWord } from '../core/vocabulary.ts'
import { expandDenials, pattern } from '../lease-file/actions.ts'
import { type Permission, permissionsOf } from '../lease-file/permissions.ts'
import type { PolicyConfig } from './config.ts'
import type { Reading } from './read-only.ts'

/** What a lease could do, for rules of the configuration: rather too much than too little. */

export type Effect = NonNullable<NonNullable<PolicyConfig['longest']>[number]['effects']>[number]

/** Which leases a rule is about. */
export interface About {
  readonly actions?: readonly string[] | undefined
  readonly effects?: readonly Effect[] | undefined
  readonly templates?: readonly string[] | undefined
}

/**
 * Whether a rule is about a lease: each of the members that it has must apply, and a member applies
 * when the lease can do any of what it lists. Rules only prohibit, so an action covers its
 * descendants, as in a denial, and an action that nobody knows has every effect.
 */
export function isAbout(
  rule: About,
  lease: { readonly terms: Terms; readonly template: string | null },
  reading: Reading,
): boolean {
  const { terms, template } = lease
  if (rule.templates !== undefined && !(template !== null && rule.templates.includes(template))) {
    return false
  }
  if (rule.actions !== undefined && !reaches(terms, rule.actions, reading)) return false
  return rule.effects?.some((effect) => hasEffect(terms, effect, reading)) ?? true
}

/** Whether some call that the terms permit, also after an ask, could be one of these actions. */
export function reaches(terms: Terms, actions: readonly string[], reading: Reading): boolean {
  const { vocabulary } = reading
  const wanted = expandDenials(vocabulary, actions).map(pattern)
  const permissions = permissionsOf(terms, vocabulary)
  return wanted.some(
    (action) => permissions.some(({ name }) => names(name, action)) || canAskFor(terms, action),
  )
}

function names(permission: string, wanted: ActionPattern): boolean {
  return permission.includes('*')
    ? overlapsDenial(pattern(permission), wanted)
    : deniesAction(wanted, permission)
}

/** With `on_exceed: ask` everything that is not denied can be asked for. */
function canAskFor({ onExceed, deny }: Terms, action: ActionPattern): boolean {
  return onExceed === 'ask' && !containsDenial(deny.map(pattern), action)
}

export function hasEffect(terms: Terms, effect: Effect, reading: Reading): boolean {
  if (terms.onExceed === 'ask') return true
  const permissions = permissionsOf(terms, reading.vocabulary)
  return permissions.some((permission) => permissionHas(permission, effect, reading))
}

function permissionHas({ name, word }: Permission, effect: Effect, reading: Reading): boolean {
  if (word === null) return true
  const kinds = [...reading.bound.values()].map(({ catalog }) => catalog?.actions.get(name)?.effect)
  if (kinds.some((kind) => kind === effect)) return true
  switch (effect) {
    case 'write':
      return changes(word) || kinds.includes('destructive')
    case 'destructive':
      return word.glance === 'delete' || word.irreversible !== null
    case 'egress':
      return word.glance === 'network' || word.sends !== null || Object.hasOwn(reading.hosts, name)
    default:
      return true
  }
}

function changes({ glance, irreversible }: ActionWord): boolean {
  const isChange = glance !== null && glance !== 'network' && glance !== 'secrets'
  return isChange || irreversible !== null
}
