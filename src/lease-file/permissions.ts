import type { Terms } from '../core/lease.ts'
import { containsAction, containsDenial, overlapsDenial } from '../core/pattern.ts'
import type { ActionWord, Vocabulary } from '../core/vocabulary.ts'
import { knownActions, listsAction, pattern } from './actions.ts'
import { isPermitted } from './check.ts'
import { phraseOf, restOf, wordOf } from './words.ts'

/** Something that terms let a run do, after denials and ceiling took away their part. */
export interface Permission {
  /** An action, or a pattern for the actions of that name that nobody knows. */
  readonly name: string
  readonly phrase: string
  /** Null: unknown, so what it does is unknown too. */
  readonly word: ActionWord | null
  /** Each call only with a fresh approval. */
  readonly asks: boolean
  /** Indices of the grants that give it. */
  readonly grants: readonly number[]
}

/** Everything that terms permit, in the order in which they were written. */
export function permissionsOf(terms: Terms, vocabulary: Vocabulary): Permission[] {
  const found = new Map<string, { asks: boolean; rest: boolean; grants: number[] }>()
  const add = (name: string, index: number, kind: { asks: boolean; rest: boolean }) => {
    const one = found.get(name) ?? { ...kind, grants: [] }
    if (!one.grants.includes(index)) one.grants.push(index)
    found.set(name, one)
  }
  for (const [index, grant] of terms.grants.entries()) {
    for (const text of grant.actions) {
      const actions = text.includes('*') ? knownActions(vocabulary, text) : [text]
      for (const action of actions.filter((each) => isPermitted(terms, each))) {
        add(action, index, { asks: listsAction(terms.ask, action), rest: false })
      }
      if (!text.includes('*') || !isRestPermitted(terms, text)) continue
      add(text, index, { asks: containsAction(terms.ask.map(pattern), pattern(text)), rest: true })
    }
  }
  return [...found].map(([name, { asks, rest, grants }]) => {
    const known = rest && knownActions(vocabulary, name).length > 0
    const phrase = known ? restOf(name) : phraseOf(vocabulary, name)
    return { name, phrase, word: rest ? null : wordOf(vocabulary, name), asks, grants }
  })
}

/** Whether actions that a pattern matches beyond the known ones can be left; rather yes than no. */
function isRestPermitted(terms: Terms, text: string): boolean {
  const parsed = pattern(text)
  if (terms.deny.length > 0 && containsDenial(terms.deny.map(pattern), parsed)) return false
  const wide = terms.ceiling?.filter((each) => each.includes('*'))
  return wide === undefined || wide.some((each) => overlapsDenial(parsed, pattern(each)))
}
