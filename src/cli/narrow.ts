import type { Terms } from '../core/lease.ts'
import { deniesAction, matchesAction } from '../core/pattern.ts'
import { err, ok, type Result } from '../core/result.ts'
import type { Vocabulary } from '../core/vocabulary.ts'
import { pattern } from '../lease-file/actions.ts'
import { formatDuration, parseDuration } from '../lease-file/duration.ts'
import { type Permission, permissionsOf } from '../lease-file/permissions.ts'

/** What can be made less before a lease is approved. Nothing here makes anything more. */

/** One question of the walk: what is asked, and what becomes of the terms with an answer. */
export interface NarrowStep {
  readonly question: (terms: Terms) => string | null
  /** An empty answer keeps things as they are and never comes here. */
  readonly apply: (terms: Terms, answer: string) => Result<Terms, string>
}

/** The walk in the order of the prompt's lines. */
export function narrowSteps(vocabulary: Vocabulary): readonly NarrowStep[] {
  return [
    {
      question: (terms) => `drop an action [1-${permissionsOf(terms, vocabulary).length}]`,
      apply: (terms, answer) => dropOne(terms, answer, vocabulary),
    },
    {
      question: ({ maxToolCalls }) => `calls [${maxToolCalls ?? 'no limit'}]`,
      apply: (terms, answer) =>
        less(answer, terms.maxToolCalls, (maxToolCalls) => ({ ...terms, maxToolCalls })),
    },
    {
      question: ({ workSeconds }) =>
        `minutes [${workSeconds === null ? 'no limit' : Math.floor(workSeconds / 60)}]`,
      apply: (terms, answer) => {
        const most = terms.workSeconds === null ? null : Math.floor(terms.workSeconds / 60)
        return less(answer, most, (minutes) => ({ ...terms, workSeconds: minutes * 60 }))
      },
    },
    {
      question: ({ expiresInSeconds }) => `expires [${formatDuration(expiresInSeconds)}]`,
      apply: (terms, answer) => {
        const read = parseDuration(answer)
        if (!read.ok) return err(`${read.error}; write 30m, 1h30m or 2h`)
        if (read.value > terms.expiresInSeconds) return err('only less is possible here')
        return ok({ ...terms, expiresInSeconds: read.value })
      },
    },
  ]
}

/** The permissions by number, as they can be dropped. */
export function numbered(terms: Terms, vocabulary: Vocabulary): string[] {
  return permissionsOf(terms, vocabulary).map(({ phrase }, index) => `${index + 1} ${phrase}`)
}

function dropOne(terms: Terms, answer: string, vocabulary: Vocabulary): Result<Terms, string> {
  const permissions = permissionsOf(terms, vocabulary)
  const permission = /^\d{1,4}$/.test(answer) ? permissions[Number(answer) - 1] : undefined
  if (permission === undefined) return err(`write a number from 1 to ${permissions.length}`)
  const dropped = drop(terms, permission)
  if (permissionsOf(dropped, vocabulary).length === 0) {
    return err('nothing would be left; refuse instead')
  }
  return ok(dropped)
}

/** Takes a permission away. One that only a pattern gives is denied, which a grant cannot undo. */
function drop(terms: Terms, { name }: Permission): Terms {
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

function less(
  answer: string,
  most: number | null,
  make: (count: number) => Terms,
): Result<Terms, string> {
  if (!/^\d{1,6}$/.test(answer) || Number(answer) === 0) return err('write a whole number from 1')
  const count = Number(answer)
  if (most !== null && count > most) return err(`only less than ${most} is possible here`)
  return ok(make(count))
}
