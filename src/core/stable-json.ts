/**
 * JSON text with members in the order of their names. Whatever of a verdict is text made of data is
 * made with this: the ledger stores entries with members sorted, and a replay must not depend on
 * the order in which somebody once wrote them.
 */
export function stableJson(value: unknown): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null'
  if (Array.isArray(value)) return `[${value.map(stableJson).join(',')}]`
  const members = Object.entries(value)
    .filter(([, member]) => member !== undefined)
    .sort(([left], [right]) => (left < right ? -1 : 1))
    .map(([name, member]) => `${JSON.stringify(name)}:${stableJson(member)}`)
  return `{${members.join(',')}}`
}

/** The names of a record in the order in which `stableJson` writes them. */
export function sortedNames(record: Readonly<Record<string, unknown>>): string[] {
  return Object.keys(record).sort()
}
