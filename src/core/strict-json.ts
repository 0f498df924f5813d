import { err, ok, type Result } from './result.ts'

/**
 * Why a text is refused. `deep`: it nests too deep; `inexact`: it has half a surrogate pair, or a
 * number that a double cannot hold; `repeated`: an object names a member twice.
 */
export type JsonFault = 'deep' | 'syntax' | 'inexact' | 'repeated'

export interface StrictOptions {
  /** Deeper text can exhaust the stack of whoever walks it. */
  readonly depthMax: number
  /** `exact`: refuse what reads as another number than the text says. */
  readonly numbers: 'exact' | 'any'
}

/**
 * Parses JSON that two readers cannot understand differently. The value of a refused text, where
 * there is one, serves to say whose it is; nothing may rest on it.
 *
 * A repeated member vanishes in `JSON.parse`, so fewer members survive than the text has colons;
 * that also finds repetitions that differ only in escapes (`"a"` and `"\u0061"`).
 */
export function parseStrictJson(
  text: string,
  { depthMax, numbers }: StrictOptions,
): Result<unknown, { readonly fault: JsonFault; readonly value?: unknown }> {
  const { members, depth } = measure(text, depthMax)
  if (depth > depthMax) return err({ fault: 'deep' })
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return err({ fault: 'syntax' })
  }
  const survived = countMembers(value, numbers === 'exact')
  if (survived === null) return err({ fault: 'inexact', value })
  return survived === members ? ok(value) : err({ fault: 'repeated', value })
}

/** Whether JSON text nests deeper than that. Short text cannot, so it costs nothing. */
export function isDeeper(text: string, depthMax: number): boolean {
  return text.length > 2 * depthMax && measure(text, depthMax).depth > depthMax
}

/**
 * Counts members and measures nesting of JSON text: one member for each colon outside of strings.
 * Stops at the limit. Text that is not JSON gives some number; `JSON.parse` refuses it afterwards.
 */
function measure(text: string, depthMax: number): { members: number; depth: number } {
  let members = 0
  let depth = 0
  let deepest = 0
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i)
    if (c === 0x22) {
      i = endOfString(text, i + 1)
    } else if (c === 0x3a) {
      members++
    } else if (c === 0x7b || c === 0x5b) {
      if (++depth > deepest) deepest = depth
      if (deepest > depthMax) break
    } else if (c === 0x7d || c === 0x5d) {
      depth--
    }
  }
  return { members, depth: deepest }
}

/** The index of the closing quote of the string whose content starts at `start`. */
function endOfString(text: string, start: number): number {
  let quote = text.indexOf('"', start)
  while (quote !== -1) {
    let backslashes = 0
    while (text.charCodeAt(quote - 1 - backslashes) === 0x5c && quote - 1 - backslashes >= start) {
      backslashes++
    }
    if (backslashes % 2 === 0) return quote
    quote = text.indexOf('"', quote + 1)
  }
  return text.length
}

/** Members that survived parsing, or null for a value that is not what the text says. */
function countMembers(value: unknown, exact: boolean): number | null {
  // Half a surrogate pair has no UTF-8, so it can be neither recorded nor sent on.
  if (typeof value === 'string') return value.isWellFormed() ? 0 : null
  if (typeof value === 'number') {
    if (!exact) return 0
    return Number.isFinite(value) && (!Number.isInteger(value) || Number.isSafeInteger(value))
      ? 0
      : null
  }
  if (typeof value !== 'object' || value === null) return 0
  const list = Array.isArray(value)
  const items: unknown[] = list ? value : Object.values(value)
  if (!list && !Object.keys(value).every((name) => name.isWellFormed())) return null
  let total = list ? 0 : items.length
  for (const item of items) {
    const inner = countMembers(item, exact)
    if (inner === null) return null
    total += inner
  }
  return total
}
