import { realpathSync } from 'node:fs'
import type { ServerBinding } from './bindings.ts'
import type { Argument, ArgumentType, Test, Tool } from './catalog.ts'
import { isProven } from './proofs.ts'
import { isRecord } from './yaml-reader.ts'

export type Args = Readonly<Record<string, unknown>>

/** Own members only: `__proto__` and `constructor` are names like any other. */
export function argument(args: Args, name: string): unknown {
  return Object.hasOwn(args, name) ? args[name] : undefined
}

/**
 * Checks the arguments of a call against the catalog, or gives words for the caller. An argument
 * that the catalog does not know could change what the call does, so it is refused, not passed
 * over.
 */
export function argumentFault(server: ServerBinding, tool: Tool, args: Args): string | null {
  for (const name of Object.keys(args)) {
    const spec = tool.args.get(name)
    if (spec === undefined)
      return `\`${name}\` is not an argument that the catalog knows: leave it out`
    const fault = valueFault(server, name, spec, args[name])
    if (fault !== null) return fault
  }
  for (const [name, spec] of tool.args) {
    if (spec.required && !Object.hasOwn(args, name)) return missingWords(server, name, spec)
  }
  return null
}

function missingWords(server: ServerBinding, name: string, spec: Argument): string {
  return spec.types.includes('worktree')
    ? `give \`${name}\` explicitly: \`${server.worktree?.path ?? ''}\``
    : `\`${name}\` is missing`
}

function valueFault(
  server: ServerBinding,
  name: string,
  spec: Argument,
  value: unknown,
): string | null {
  if (spec.types.includes('worktree')) return worktreeFault(server, name, value)
  if (!spec.types.some((type) => hasType(type, value))) {
    return `\`${name}\` must be ${spec.types.join(' or ')}`
  }
  if (spec.oneOf !== null && !spec.oneOf.includes(value as string)) {
    return `\`${name}\` must be one of ${spec.oneOf.map((word) => `\`${word}\``).join(', ')}`
  }
  return null
}

/** The tree may have been replaced by a link since it was bound, so it is resolved at use. */
function worktreeFault(server: ServerBinding, name: string, value: unknown): string | null {
  const tree = server.worktree
  if (tree === null) return 'this server is bound to no working tree'
  if (value !== tree.path && value !== tree.real) {
    return `\`${name}\` must be the bound working tree: \`${tree.path}\``
  }
  try {
    if (realpathSync.native(tree.path) === tree.real) return null
  } catch {
    // Gone: told below.
  }
  return `the bound working tree \`${tree.path}\` is not where it was`
}

function hasType(type: ArgumentType, value: unknown): boolean {
  switch (type) {
    case 'string':
      return typeof value === 'string'
    case 'boolean':
      return typeof value === 'boolean'
    case 'integer':
      return Number.isSafeInteger(value) && !Object.is(value, -0)
    case 'number':
      return typeof value === 'number' && Number.isFinite(value) && !Object.is(value, -0)
    case 'strings':
      return Array.isArray(value) && value.every((item) => typeof item === 'string')
    case 'object':
      return isRecord(value)
    case 'objects':
      return Array.isArray(value) && value.every(isRecord)
    case 'null':
      return value === null
    case 'worktree':
      return false
  }
}

/** Whether a rule applies: all its tests hold, with defaults for what is absent. */
export function applies(tool: Tool, tests: readonly Test[], args: Args): boolean {
  return tests.every((test) => holds(tool, test, args))
}

function holds(tool: Tool, test: Test, args: Args): boolean {
  const value = argument(args, test.arg)
  if ('given' in test) return isGiven(value) === test.given
  const effective = value === undefined ? tool.args.get(test.arg)?.default : value
  if ('proof' in test) {
    return effective !== undefined && isProven(test.proof, effective) === test.holds
  }
  if ('anyOf' in test) return test.anyOf.some((item) => item === effective)
  return !test.noneOf.some((item) => item === effective)
}

/** An empty list is nothing given: servers test for length. */
export function isGiven(value: unknown): boolean {
  return value !== undefined && !(Array.isArray(value) && value.length === 0)
}
