import { attenuates } from '../core/attenuate.ts'
import type { Terms } from '../core/lease.ts'
import { containsAction, deniesAction, matchesAction } from '../core/pattern.ts'
import { err, ok, type Result } from '../core/result.ts'
import type { Vocabulary } from '../core/vocabulary.ts'
import { pattern } from './actions.ts'
import { isPermitted } from './check.ts'
import { permissionsOf } from './permissions.ts'

/** What can be made less before a lease is approved. Nothing here makes anything more. */
export interface Narrowing {
  /** Names of permissions (`permissionsOf`) to take away. */
  readonly drop?: readonly string[]
  readonly maxToolCalls?: number
  /** Time of work. */
  readonly workSeconds?: number
  readonly expiresInSeconds?: number
}

/** The terms with less. The error says what would have been more, or was not there to drop. */
export function narrowTerms(
  terms: Terms,
  narrowing: Narrowing,
  vocabulary: Vocabulary,
): Result<Terms, string> {
  const { drop = [], maxToolCalls, workSeconds, expiresInSeconds } = narrowing
  const there = new Set(permissionsOf(terms, vocabulary).map(({ name }) => name))
  const unknown = drop.find((name) => !there.has(name))
  if (unknown !== undefined) return err(`\`${unknown}\` is not allowed anyway; drop another`)
  const wrong =
    excess('tool calls', maxToolCalls, terms.maxToolCalls) ??
    excess('seconds of work', workSeconds, terms.workSeconds) ??
    excess('seconds', expiresInSeconds, terms.expiresInSeconds)
  if (wrong !== null) return err(wrong)
  const narrowed = drop.reduce(dropOne, terms)
  if (drop.length > 0 && permissionsOf(narrowed, vocabulary).length === 0) {
    return err('nothing would be left; refuse instead')
  }
  return ok({
    ...narrowed,
    maxToolCalls: maxToolCalls ?? terms.maxToolCalls,
    workSeconds: workSeconds ?? terms.workSeconds,
    expiresInSeconds: expiresInSeconds ?? terms.expiresInSeconds,
  })
}

function excess(unit: string, count: number | undefined, most: number | null): string | null {
  if (count === undefined) return null
  if (!Number.isSafeInteger(count) || count < 1) return `${unit}: write a whole number from 1`
  return most !== null && count > most ? `${unit}: only ${most} or less is possible here` : null
}

/** Takes a permission away. One that only a pattern gives is denied, which a grant cannot undo. */
function dropOne(terms: Terms, name: string): Terms {
  const byPattern = terms.grants.some((grant) =>
    grant.actions.some((text) => text !== name && text.includes('*') && covers(text, name)),
  )
  const grants = terms.grants
    .map((grant) => ({ ...grant, actions: grant.actions.filter((text) => text !== name) }))
    .filter((grant) => grant.actions.length > 0)
  const deny = byPattern && !name.includes('*') ? [...terms.deny, name] : terms.deny
  const keeps = (text: string) => text !== name && !deniedBy(deny, text)
  return {
    ...terms,
    grants,
    deny,
    ask: terms.ask.filter(keeps),
    until: terms.until.filter(keeps),
    limits: Object.fromEntries(Object.entries(terms.limits).filter(([action]) => keeps(action))),
  }
}

function covers(text: string, name: string): boolean {
  return !name.includes('*') && matchesAction(pattern(text), name)
}

function deniedBy(deny: readonly string[], text: string): boolean {
  return !text.includes('*') && deny.some((name) => deniesAction(pattern(name), text))
}

/**
 * Whether terms are the original or less of it, in every respect: as `attenuates` judges a child,
 * and beyond that in what only a child's parent would hold (events, approvers, the fixed end).
 */
export function isWithin(terms: Terms, original: Terms): Result<true, string> {
  // A child has one level less to delegate than its parent; here nothing is delegated.
  const { delegate } = original
  const above = delegate === null ? null : { ...delegate, maxDepth: delegate.maxDepth + 1 }
  const judged = attenuates(terms, { ...original, delegate: above })
  if (!judged.ok && judged.error.dimension !== 'not_narrower') {
    return err(`${judged.error.dimension}: ${judged.error.message}`)
  }
  const event = original.until.find(
    (text) =>
      !containsAction(terms.until.map(pattern), pattern(text)) &&
      // What is not permitted any more cannot happen.
      (text.includes('*') || isPermitted(terms, text)),
  )
  if (event !== undefined) return err(`until: \`${event}\` must end it`)
  if (original.approvers !== null && terms.approvers === null) {
    return err(`approvers: ${original.approvers.join(', ')} must approve it`)
  }
  const { notAfter } = original
  if (notAfter !== null && (terms.notAfter === null || terms.notAfter > notAfter)) {
    return err(`its fixed end is ${new Date(notAfter).toISOString()}`)
  }
  return ok(true)
}
