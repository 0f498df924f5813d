import type { Terms } from '../core/lease.ts'
import type { Vocabulary } from '../core/vocabulary.ts'
import type { Desk } from '../gateway/desk.ts'
import { permissionsOf } from '../lease-file/permissions.ts'

/** The policy of the configuration that may approve a lease that only reads. */
export const READ_ONLY_POLICY = 'read_only'

export interface Reading {
  readonly vocabulary: Vocabulary
  readonly hosts: Readonly<Record<string, readonly string[]>>
  readonly bound: ReadonlyMap<string, Desk>
}

/** Whether an action can only read, and reads no secret: in the vocabulary and in every catalog. */
export function onlyReads(action: string, { vocabulary, hosts, bound }: Reading): boolean {
  const word = vocabulary.actions.get(action)
  if (word === undefined || Object.hasOwn(hosts, action)) return false
  const { glance, sends, reaches, irreversible } = word
  if (glance !== null || sends !== null || reaches !== null || irreversible !== null) return false
  return [...bound.values()].every(({ catalog }) => {
    const kind = catalog?.actions.get(action)
    return kind === undefined || kind.effect === 'read'
  })
}

/**
 * Whether everything that the terms permit, also after an ask, only reads. Unknown actions do not.
 */
export function isReadOnly(terms: Terms, reading: Reading): boolean {
  if (terms.onExceed === 'ask') return false
  return permissionsOf(terms, reading.vocabulary).every(
    ({ name, word }) => word !== null && onlyReads(name, reading),
  )
}
