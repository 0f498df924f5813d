import type { Terms } from '../core/lease.ts'
import { err, type Result } from '../core/result.ts'
import type { Vocabulary } from '../core/vocabulary.ts'
import { formatDuration, parseDuration } from '../lease-file/duration.ts'
import { narrowTerms } from '../lease-file/narrow.ts'
import { permissionsOf } from '../lease-file/permissions.ts'

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
      apply: (terms, answer) => dropNumber(terms, answer, vocabulary),
    },
    {
      question: ({ maxToolCalls }) => `calls [${maxToolCalls ?? 'no limit'}]`,
      apply: (terms, answer) =>
        less(answer, terms.maxToolCalls, (maxToolCalls) =>
          narrowTerms(terms, { maxToolCalls }, vocabulary),
        ),
    },
    {
      question: ({ workSeconds }) =>
        `minutes [${workSeconds === null ? 'no limit' : Math.floor(workSeconds / 60)}]`,
      apply: (terms, answer) => {
        const most = terms.workSeconds === null ? null : Math.floor(terms.workSeconds / 60)
        return less(answer, most, (minutes) =>
          narrowTerms(terms, { workSeconds: minutes * 60 }, vocabulary),
        )
      },
    },
    {
      question: ({ expiresInSeconds }) => `expires [${formatDuration(expiresInSeconds)}]`,
      apply: (terms, answer) => {
        const read = parseDuration(answer)
        if (!read.ok) return err(`${read.error}; write 30m, 1h30m or 2h`)
        if (read.value > terms.expiresInSeconds) return err('only less is possible here')
        return narrowTerms(terms, { expiresInSeconds: read.value }, vocabulary)
      },
    },
  ]
}

/** The permissions by number, as they can be dropped. */
export function numbered(terms: Terms, vocabulary: Vocabulary): string[] {
  return permissionsOf(terms, vocabulary).map(({ phrase }, index) => `${index + 1} ${phrase}`)
}

function dropNumber(terms: Terms, answer: string, vocabulary: Vocabulary): Result<Terms, string> {
  const permissions = permissionsOf(terms, vocabulary)
  const permission = /^\d{1,4}$/.test(answer) ? permissions[Number(answer) - 1] : undefined
  if (permission === undefined) return err(`write a number from 1 to ${permissions.length}`)
  return narrowTerms(terms, { drop: [permission.name] }, vocabulary)
}

function less(
  answer: string,
  most: number | null,
  make: (count: number) => Result<Terms, string>,
): Result<Terms, string> {
  if (!/^\d{1,6}$/.test(answer) || Number(answer) === 0) return err('write a whole number from 1')
  const count = Number(answer)
  if (most !== null && count > most) return err(`only less than ${most} is possible here`)
  return make(count)
}
