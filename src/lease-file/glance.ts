import type { Terms } from '../core/lease.ts'
import type { ActionWord, Vocabulary } from '../core/vocabulary.ts'
import { knownActions } from './actions.ts'
import { isPermitted } from './check.ts'
import type { Permission } from './permissions.ts'
import { counted, resourceWord } from './words.ts'

/** One of the six answers that a tired approver reads first. */
export interface Glance {
  readonly question: 'Write' | 'Delete' | 'Invite' | 'Deploy' | 'Secrets' | 'Net'
  /** `no`, `asks`, `yes`, `1 branch`, `2 hosts`, or `unclear` when an unknown action may do it. */
  readonly answer: string
}

const QUESTIONS: readonly [Glance['question'], NonNullable<ActionWord['glance']>][] = [
  ['Write', 'write'],
  ['Delete', 'delete'],
  ['Invite', 'invite'],
  ['Deploy', 'deploy'],
  ['Secrets', 'secrets'],
  ['Net', 'network'],
]

/** Types by which an answer is counted, the narrowest first. */
const COUNTED = [
  'branches',
  'environments',
  'users',
  'emails',
  'accounts',
  'secrets',
  'paths',
  'repos',
]

interface Seen {
  readonly terms: Terms
  readonly vocabulary: Vocabulary
  readonly hosts: Readonly<Record<string, readonly string[]>>
}

/** Answers whether the run can write, delete, invite, deploy, read secrets, reach the network. */
export function glanceOf(permissions: readonly Permission[], seen: Seen): Glance[] {
  return QUESTIONS.map(([question, topic]) => {
    const about = permissions.filter((permission) => concerns(permission, topic, seen))
    const free = about.filter((permission) => !permission.asks)
    if (free.length > 0) return { question, answer: howMuch(free, topic, seen) }
    const unclear = permissions.filter((each) => isUnclear(each, seen))
    if (unclear.some((each) => !each.asks)) return { question, answer: 'unclear' }
    const asks = about.length > 0 || unclear.length > 0 || canAsk(topic, seen)
    return { question, answer: asks ? 'asks' : 'no' }
  })
}

/** Nobody knows what an unknown action does. What a pattern matches today is listed by name. */
function isUnclear(permission: Permission, { vocabulary }: Seen): boolean {
  return permission.word === null && knownActions(vocabulary, permission.name).length === 0
}

/** With `on_exceed: ask` a call outside the lease can still be allowed, by a fresh yes. */
function canAsk(topic: NonNullable<ActionWord['glance']>, { terms, vocabulary }: Seen): boolean {
  if (terms.onExceed !== 'ask') return false
  return [...vocabulary.actions].some(([action, word]) => {
    const about = word.glance === topic || (topic === 'network' && word.sends !== null)
    return about && isPermitted(terms, action)
  })
}

function concerns(
  permission: Permission,
  topic: NonNullable<ActionWord['glance']>,
  seen: Seen,
): boolean {
  if (permission.word?.glance === topic) return true
  if (topic !== 'network') return false
  return permission.word?.sends != null || hostsOf(permission.name, seen).length > 0
}

function hostsOf(action: string, seen: Seen): readonly string[] {
  return Object.hasOwn(seen.hosts, action) ? seen.hosts[action]! : []
}

function howMuch(
  free: readonly Permission[],
  topic: NonNullable<ActionWord['glance']>,
  seen: Seen,
): string {
  if (topic === 'network') {
    const unknown = free.some((permission) => hostsOf(permission.name, seen).length === 0)
    const hosts = new Set(free.flatMap((permission) => hostsOf(permission.name, seen)))
    return unknown ? 'yes' : counted(hosts.size, 'host')
  }
  const grants = [...new Set(free.flatMap((permission) => permission.grants))]
  for (const type of COUNTED) {
    const values = grants.map((index) => seen.terms.grants[index]!.resources[type] ?? null)
    // A pattern is not a number of things, and a grant without the type is not bounded by it.
    if (values.some((each) => each === null || each.some((text) => text.includes('*')))) continue
    const distinct = new Set(values.flatMap((each) => each ?? []))
    return counted(distinct.size, resourceWord(seen.vocabulary, type))
  }
  return 'yes'
}
