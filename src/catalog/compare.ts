import type { Json } from '../core/id.ts'
import type { ToolDefinition } from './pin.ts'
import { isRecord } from './yaml-reader.ts'

/** One place where two definitions of a tool differ. A side that is undefined is not there. */
export interface DefinitionChange {
  /** E.g. `inputSchema.properties.path.description`. */
  readonly where: string
  readonly before: Json | undefined
  readonly after: Json | undefined
}

/** What steers the model and the arguments comes first; everything else after it, by name. */
const FIRST = ['description', 'inputSchema', 'annotations']

/**
 * Every difference between the definition that was accepted and the one that is presented, by
 * member. Null: none was accepted, so all of the other is a difference.
 */
export function compareDefinitions(
  before: ToolDefinition | null,
  after: ToolDefinition,
): readonly DefinitionChange[] {
  const base = before ?? { name: after.name }
  const rank = (name: string) => (FIRST.includes(name) ? FIRST.indexOf(name) : FIRST.length)
  return namesOf(base, after)
    .sort((a, b) => rank(a) - rank(b))
    .flatMap((name) => compare(base[name] as Json, after[name] as Json, joined('', name)))
}

function compare(
  before: Json | undefined,
  after: Json | undefined,
  where: string,
): DefinitionChange[] {
  if (isRecord(before) && isRecord(after)) {
    return namesOf(before, after).flatMap((name) =>
      compare(before[name] as Json, after[name] as Json, joined(where, name)),
    )
  }
  if (Array.isArray(before) && Array.isArray(after) && before.length === after.length) {
    return before.flatMap((item: Json, at) => compare(item, after[at] as Json, `${where}[${at}]`))
  }
  return JSON.stringify(before) === JSON.stringify(after) ? [] : [{ where, before, after }]
}

function namesOf(before: object, after: object): string[] {
  return [...new Set([...Object.keys(before), ...Object.keys(after)])].sort()
}

/** A name with a dot must not read like a member of a member. */
function joined(path: string, name: string): string {
  if (!/^[A-Za-z_$][\w$-]*$/.test(name)) return `${path}[${JSON.stringify(name)}]`
  return path === '' ? name : `${path}.${name}`
}
