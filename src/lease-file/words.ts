import type { Json } from '../core/id.ts'
import type { Constraint, Grant } from '../core/lease.ts'
import { deniesAction } from '../core/pattern.ts'
import type { ActionWord, Vocabulary } from '../core/vocabulary.ts'
import { knownActions, pattern } from './actions.ts'
import { printable } from './printable.ts'

/**
 * How a person reads one action, e.g. `open PR`. One that nobody knows says so: denying `deploy`
 * must not read like denying `production.deploy`. A pattern says that it is one.
 */
export function phraseOf(vocabulary: Vocabulary, action: string): string {
  const word = vocabulary.actions.get(action)
  if (word !== undefined) return word.phrase
  return action.includes('*')
    ? `everything named ${printable(action)}`
    : `unknown \`${printable(action)}\``
}

/** How a person reads that an action has happened, e.g. `PR is opened`. */
export function doneOf(vocabulary: Vocabulary, action: string): string {
  const done = vocabulary.actions.get(action)?.done
  if (done != null) return done
  const name = printable(action)
  return `${action.includes('*') ? `anything named ${name}` : `\`${name}\``} has succeeded`
}

/** How a person reads granted action patterns: what they match by name, then the rest of each. */
export function phrasesOf(vocabulary: Vocabulary, patterns: readonly string[]): string[] {
  const phrases = patterns.flatMap((text) => {
    if (!text.includes('*')) return [phraseOf(vocabulary, text)]
    const known = knownActions(vocabulary, text).map((action) => phraseOf(vocabulary, action))
    return [...known, known.length === 0 ? phraseOf(vocabulary, text) : restOf(text)]
  })
  return [...new Set(phrases)]
}

/** What a pattern matches beyond the actions that are known today. */
export function restOf(text: string): string {
  return `everything else named ${printable(text)}`
}

/** How a person reads denials. A name that only has descendants denies all of them. */
export function denialPhrases(vocabulary: Vocabulary, patterns: readonly string[]): string[] {
  const phrases = patterns.map((text) => {
    if (text.includes('*') || vocabulary.actions.has(text)) return phraseOf(vocabulary, text)
    const parsed = pattern(text)
    const above = [...vocabulary.actions.keys()].some((action) => deniesAction(parsed, action))
    return above ? `everything under ${printable(text)}` : phraseOf(vocabulary, text)
  })
  return [...new Set(phrases)]
}

/** How a person reads one grant: `open PR on repo clord, branch agent/x`. */
export function describeGrant(grant: Grant, vocabulary: Vocabulary): string {
  return `${phrasesOf(vocabulary, grant.actions).join(', ')} ${describeScope(grant, vocabulary)}`
}

/** Where and how a grant holds: `on repo clord, branch agent/x, where amount is at most 100.00`. */
export function describeScope(
  grant: Pick<Grant, 'resources' | 'where'>,
  vocabulary: Vocabulary,
): string {
  const where = describeWhere(grant.where)
  const on = describeResources(grant.resources, vocabulary)
  return `on ${on === '' ? 'no resources' : on}${where === '' ? '' : `, where ${where}`}`
}

/** `repo clord, branch agent/x`; several values of a type are set apart by semicolons. */
export function describeResources(
  resources: Readonly<Record<string, readonly string[]>>,
  vocabulary: Vocabulary,
): string {
  const types = Object.entries(resources)
  const several = types.some(([, values]) => values.length > 1)
  return types
    .map(([type, values]) => {
      const word = resourceWord(vocabulary, type)
      if (values.includes('**')) return `any ${word}`
      return `${values.length === 1 ? word : plural(word)} ${values.map(printable).join(', ')}`
    })
    .join(several ? '; ' : ', ')
}

/** The singular word of a resource type. */
export function resourceWord(vocabulary: Vocabulary, type: string): string {
  return vocabulary.resourceTypes.get(type) ?? printable(type)
}

/** `3 branches`, `1 repo`. */
export function counted(count: number, word: string): string {
  return `${count} ${count === 1 ? word : plural(word)}`
}

function plural(word: string): string {
  if (/[^aeiou]y$/.test(word)) return `${word.slice(0, -1)}ies`
  return /(?:s|x|ch|sh)$/.test(word) ? `${word}es` : `${word}s`
}

function describeWhere(where: Grant['where']): string {
  return Object.entries(where)
    .map(([name, constraint]) => `${printable(name)} ${describeConstraint(constraint)}`)
    .join(' and ')
}

/** How a person reads one constraint: `is at most 100.00`, `is one of EUR, USD`. */
export function describeConstraint(constraint: Constraint): string {
  const list = (values: readonly Json[]) => values.map(valueWord).join(', ')
  const parts: string[] = []
  if (constraint.exact !== undefined) parts.push(`is ${valueWord(constraint.exact)}`)
  if (constraint.one_of !== undefined) parts.push(`is one of ${list(constraint.one_of)}`)
  if (constraint.not_one_of !== undefined) parts.push(`is none of ${list(constraint.not_one_of)}`)
  if (constraint.max !== undefined) parts.push(`is at most ${printable(String(constraint.max))}`)
  if (constraint.min !== undefined) parts.push(`is at least ${printable(String(constraint.min))}`)
  if (constraint.pattern !== undefined) parts.push(`matches ${printable(constraint.pattern)}`)
  if (constraint.each !== undefined) parts.push(`each ${describeConstraint(constraint.each)}`)
  return parts.join(' and ')
}

/** Texts that read as one word stand bare; everything else stands as JSON, so that types differ. */
function valueWord(value: Json): string {
  const bare = typeof value === 'string' && /^[\p{L}\p{N}_./@:-]+$/u.test(value)
  const plain = bare && !/^(?:true|false|null|-?\d+(?:\.\d+)?)$/.test(value)
  return printable(plain ? value : JSON.stringify(value))
}

/** The word of an action, or null if the vocabulary does not know it. */
export function wordOf(vocabulary: Vocabulary, action: string): ActionWord | null {
  return vocabulary.actions.get(action) ?? null
}
