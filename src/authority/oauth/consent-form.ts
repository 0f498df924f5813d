import type { Terms } from '../../core/lease.ts'
import { err, ok, type Result } from '../../core/result.ts'
import type { Vocabulary } from '../../core/vocabulary.ts'
import { parseDuration } from '../../lease-file/duration.ts'
import { type Narrowing, narrowTerms } from '../../lease-file/narrow.ts'
import { permissionsOf } from '../../lease-file/permissions.ts'

/**
 * The fields of the consent page. The page shows what is ticked, so what is not ticked is taken
 * away; and the yes names the hash of what was shown, so fields that changed since are shown again
 * instead of approved.
 */
export type Fields = URLSearchParams

/** Minutes as a person writes them; more is no minute of a lease. */
const WHOLE = /^[1-9]\d{0,6}$/

/** What the fields leave of the terms; an error in words for who filled them in. */
export function narrowBy(
  terms: Terms,
  fields: Fields,
  vocabulary: Vocabulary,
): Result<Terms, string> {
  const kept = new Set(fields.getAll('keep'))
  const drop = permissionsOf(terms, vocabulary)
    .map(({ name }) => name)
    .filter((name) => !kept.has(name))
  const calls = wholeOf(fields, 'calls', 'tool calls')
  const minutes = wholeOf(fields, 'minutes', 'minutes of work')
  const expires = lifeOf(fields)
  for (const field of [calls, minutes, expires]) if (!field.ok) return field
  if (!calls.ok || !minutes.ok || !expires.ok) return err('malformed')
  const less: Narrowing = {
    ...(drop.length === 0 ? {} : { drop }),
    ...(calls.value === null ? {} : { maxToolCalls: calls.value }),
    ...(minutes.value === null ? {} : { workSeconds: minutes.value * 60 }),
    ...(expires.value === null ? {} : { expiresInSeconds: expires.value }),
  }
  return narrowTerms(terms, less, vocabulary)
}

/** Null: left as it is. */
function wholeOf(fields: Fields, name: string, what: string): Result<number | null, string> {
  const text = fields.get(name)?.trim() ?? ''
  if (text === '') return ok(null)
  return WHOLE.test(text) ? ok(Number(text)) : err(`${what}: write a whole number from 1`)
}

function lifeOf(fields: Fields): Result<number | null, string> {
  const text = fields.get('expires')?.trim() ?? ''
  if (text === '') return ok(null)
  const read = parseDuration(text)
  return read.ok ? read : err(`expires: ${read.error}; write 30m, 1h30m or 2h`)
}
