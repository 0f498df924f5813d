import { err, ok, type Result } from '../../core/result.ts'
import { parseDuration } from '../../lease-file/duration.ts'
import type { Narrowing } from '../../lease-file/narrow.ts'
import { LEASE_TYPE } from './clients.ts'

/** Which lease a client asks for, by scope or by authorization details. It is a wish: the person
 * at the page chooses among what it leaves open, and takes away what they like. */
export interface Wish {
  /** Names of templates; null: any that the person may use. */
  readonly templates: readonly string[] | null
  /** What the client itself leaves away. */
  readonly less: Narrowing
}

const SCOPE_PREFIX = 'lease:'
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/
const DETAIL_FIELDS = ['type', 'locations', 'template', 'drop', 'max_tool_calls', 'expires_in']
/** Actions that one request may leave away. */
const DROP_MAX = 200

/** Scopes `lease:<name>` name templates; others are not ours and mean nothing. */
export function scopedTemplates(scope: string | undefined): string[] {
  const words = (scope ?? '').split(' ').filter((word) => word.startsWith(SCOPE_PREFIX))
  return [...new Set(words)].map((word) => word.slice(SCOPE_PREFIX.length))
}

/**
 * Reads `authorization_details` (RFC 9396) with one object of the type `daypass_lease`: `template`,
 * and what to leave away of it: `drop`, `max_tool_calls`, `expires_in`. Unknown fields are refused.
 */
export function readWish(scope: string | undefined, details: unknown): Result<Wish, string> {
  const scoped = scopedTemplates(scope)
  const templates = scoped.length === 0 ? null : scoped
  if (details === undefined) return ok({ templates, less: {} })
  if (!Array.isArray(details) || details.length !== 1) {
    return err('authorization_details must hold one object: a badge is for one lease')
  }
  const detail = details[0] as Record<string, unknown>
  const unknown = Object.keys(detail).find((field) => !DETAIL_FIELDS.includes(field))
  if (detail.type !== LEASE_TYPE || unknown !== undefined) {
    return err(`\`${unknown ?? detail.type}\` is unknown; known: ${DETAIL_FIELDS.join(', ')}`)
  }
  const { template } = detail
  if (typeof template !== 'string' || !NAME.test(template)) {
    return err('`template` must be the name of a lease template')
  }
  if (templates !== null && !templates.includes(template)) {
    return err(`scope and authorization_details name different templates: \`${template}\``)
  }
  const less = readLess(detail)
  return less.ok ? ok({ templates: [template], less: less.value }) : less
}

function readLess(detail: Record<string, unknown>): Result<Narrowing, string> {
  const { drop, max_tool_calls: calls, expires_in: expires } = detail
  const isDrop = Array.isArray(drop) && drop.length <= DROP_MAX
  if (drop !== undefined && !(isDrop && drop.every((name) => typeof name === 'string'))) {
    return err('`drop` must be a list of actions')
  }
  if (calls !== undefined && !(Number.isSafeInteger(calls) && (calls as number) > 0)) {
    return err('`max_tool_calls` must be a whole number from 1')
  }
  const seconds = typeof expires === 'string' ? parseDuration(expires) : null
  if (expires !== undefined && !seconds?.ok) {
    return err('`expires_in` must be a duration such as 30m')
  }
  return ok({
    ...(drop === undefined ? {} : { drop: drop as string[] }),
    ...(calls === undefined ? {} : { maxToolCalls: calls as number }),
    ...(seconds?.ok ? { expiresInSeconds: seconds.value } : {}),
  })
}
