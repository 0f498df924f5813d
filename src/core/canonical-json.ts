/**
 * Canonical JSON (RFC 8785): members sorted by UTF-16 code units, no white space, numbers as
 * ECMAScript prints them. The ledger hashes it, and whatever of a verdict is text made of data is
 * made with it: a replay must not depend on the order in which somebody once wrote members.
 *
 * Our own, because core depends on nothing, and because every entry passes here before its call may
 * run: the `canonicalize` package takes twice as long. The tests hold the two against each other.
 *
 * Throws on what JSON does not have (`undefined`, functions, infinities, half a surrogate pair):
 * whoever signs must not guess.
 */
export function canonicalJson(value: unknown): string {
  switch (typeof value) {
    case 'string':
      return text(value)
    case 'number':
      if (!Number.isFinite(value)) throw new TypeError(`not JSON: ${value}`)
      return `${value}`
    case 'boolean':
      return value ? 'true' : 'false'
    case 'object':
      if (value === null) return 'null'
      return Array.isArray(value) ? list(value) : members(value as Record<string, unknown>)
    default:
      throw new TypeError(`not JSON: ${typeof value}`)
  }
}

/** Anything that needs an escape, or that could be half a surrogate pair. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: JSON escapes exactly these
const UNPLAIN = /[\u0000-\u001f"\\\ud800-\udfff]/

function text(value: string): string {
  if (!UNPLAIN.test(value)) return `"${value}"`
  if (!value.isWellFormed()) throw new TypeError('not JSON: half a surrogate pair')
  return JSON.stringify(value)
}

function list(values: readonly unknown[]): string {
  let out = '['
  for (let index = 0; index < values.length; index++) {
    out += (index === 0 ? '' : ',') + canonicalJson(values[index])
  }
  return `${out}]`
}

function members(value: Record<string, unknown>): string {
  const names = sortedNames(value)
  let out = '{'
  for (let index = 0; index < names.length; index++) {
    const name = names[index]!
    out += `${(index === 0 ? '' : ',') + text(name)}:${canonicalJson(value[name])}`
  }
  return `${out}}`
}

/**
 * More names than this are left to the engine, whose sort is slower for few and faster for many.
 */
const FEW = 16

/** The names of a record by UTF-16 code units, which is how JavaScript compares strings. */
export function sortedNames(record: Readonly<Record<string, unknown>>): string[] {
  const names = Object.keys(record)
  if (names.length > FEW) return names.sort()
  for (let index = 1; index < names.length; index++) {
    const name = names[index]!
    let to = index
    for (; to > 0 && names[to - 1]! > name; to--) names[to] = names[to - 1]!
    names[to] = name
  }
  return names
}
