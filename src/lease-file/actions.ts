import {
  type ActionPattern,
  deniesAction,
  matchesAction,
  parseActionPattern,
} from '../core/pattern.ts'
import { expandActions, type Vocabulary } from '../core/vocabulary.ts'

/** Parses a pattern that was parsed before; anything else is a bug of the caller. */
export function pattern(text: string): ActionPattern {
  const parsed = parseActionPattern(text)
  if (!parsed.ok) throw new Error(parsed.error)
  return parsed.value
}

/** Whether a list of action patterns permits an action. */
export function listsAction(patterns: readonly string[], action: string): boolean {
  return patterns.some((text) => matchesAction(pattern(text), action))
}

/** Whether a list of denials blocks an action, as one of them or as its descendant. */
export function deniesAny(patterns: readonly string[], action: string): boolean {
  return patterns.some((text) => deniesAction(pattern(text), action))
}

/** The actions of the vocabulary that a pattern matches, in the vocabulary's order. */
export function knownActions(vocabulary: Vocabulary, text: string): string[] {
  const parsed = pattern(text)
  return [...vocabulary.actions.keys()].filter((action) => matchesAction(parsed, action))
}

/**
 * Replaces aliases in denials. A denial covers descendants, so it also covers what aliases beneath
 * it stand for: `secrets` blocks `secret.read`, because `secrets.read` is another name of it.
 */
export function expandDenials(vocabulary: Vocabulary, names: readonly string[]): string[] {
  const denials = names.flatMap((name) => {
    const parsed = pattern(name)
    const beneath = [...vocabulary.aliases.keys()].filter((alias) => deniesAction(parsed, alias))
    const stands = expandActions(vocabulary, beneath)
    const known = [...vocabulary.actions.keys()].some((action) => deniesAction(parsed, action))
    // The name of an alias is no action, so it is kept only where it blocks something itself.
    return vocabulary.aliases.has(name) && !known ? stands : [name, ...stands]
  })
  return [...new Set(denials)]
}

/** Whether the vocabulary has anything that the name can mean, as a grant. */
export function isKnown(vocabulary: Vocabulary, name: string): boolean {
  return vocabulary.aliases.has(name) || knownActions(vocabulary, name).length > 0
}

/** Whether the vocabulary has anything that the name can block. */
export function isKnownDenial(vocabulary: Vocabulary, name: string): boolean {
  const parsed = pattern(name)
  const names = [...vocabulary.actions.keys(), ...vocabulary.aliases.keys()]
  return names.some((action) => deniesAction(parsed, action))
}
