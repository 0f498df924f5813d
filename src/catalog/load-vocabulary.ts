import { parse } from 'yaml'
import type { ActionWord, Vocabulary } from '../core/vocabulary.ts'
import { isRecord } from './yaml-reader.ts'

const GLANCES = ['write', 'delete', 'invite', 'deploy', 'secrets', 'network'] as const

/**
 * Reads `catalog/actions.yaml`. The file ships with Daypass, so a fault in it is a bug and throws;
 * members that this version does not know are passed over, for they only add words.
 */
export function loadVocabulary(text: string): Vocabulary {
  const root: unknown = parse(text, { maxAliasCount: 0 })
  if (!isRecord(root) || !isRecord(root.actions))
    throw new Error('vocabulary: `actions` is missing')
  const actions = new Map(
    Object.entries(root.actions).map(([name, word]) => [name, readWord(name, word)] as const),
  )
  const aliases = new Map<string, readonly string[]>()
  for (const [name, list] of Object.entries(isRecord(root.aliases) ? root.aliases : {})) {
    if (actions.has(name)) throw new Error(`vocabulary: \`${name}\` is an action and an alias`)
    if (!Array.isArray(list)) throw new Error(`vocabulary: alias \`${name}\` must be a list`)
    for (const action of list) {
      if (!actions.has(String(action))) {
        throw new Error(
          `vocabulary: alias \`${name}\` names the unknown action \`${String(action)}\``,
        )
      }
    }
    aliases.set(name, list.map(String))
  }
  const types = Object.entries(isRecord(root.resources) ? root.resources : {})
  return {
    actions,
    aliases,
    resourceTypes: new Map(types.map(([type, word]) => [type, String(word)])),
  }
}

function readWord(name: string, word: unknown): ActionWord {
  if (!isRecord(word) || typeof word.phrase !== 'string') {
    throw new Error(`vocabulary: action \`${name}\` has no phrase`)
  }
  const glance = GLANCES.find((known) => known === word.glance) ?? null
  if (word.glance !== undefined && glance === null) {
    throw new Error(`vocabulary: action \`${name}\` has an unknown glance`)
  }
  const text = (value: unknown) => (typeof value === 'string' ? value : null)
  return {
    phrase: word.phrase,
    done: text(word.done),
    glance,
    sends: text(word.sends),
    reaches: text(word.reaches),
    irreversible: text(word.irreversible),
  }
}
