import { lstatSync } from 'node:fs'
import { join } from 'node:path'
import { canonicalise } from '../core/canonical.ts'
import { err, ok, type Result } from '../core/result.ts'
import { type Args, argument, isGiven } from './arguments.ts'
import type { ServerBinding } from './bindings.ts'
import { canonicalBranch } from './branch-name.ts'
import type { JoinPart, Source, Tool } from './catalog.ts'
import { configSecrets, currentBranch, localBranch, revisionBranches } from './git-probe.ts'
import { collectionsOf } from './mongo.ts'
import { isSecretPath } from './secrets.ts'
import { isRecord } from './yaml-reader.ts'

/** One call while its facts are gathered. Probes are answered once per call. */
export interface Call {
  readonly server: ServerBinding
  readonly tool: Tool
  readonly args: Args
  /** Filled before the rules are applied, for it takes a process. */
  readonly untracked: ReadonlyMap<string, Result<readonly string[], string>>
  branch: Result<string, string> | null
}

/**
 * `null`: the type does not narrow this touch, and a grant that narrows by it will not permit it.
 */
export type Values = readonly string[] | null

/** The canonical values that a source gives for a resource type. */
export function valuesOf(call: Call, type: string, source: Source): Result<Values, string> {
  switch (source.from) {
    case 'text':
      return canonicalList(type, [source.value])
    case 'binding':
      return boundValue(call.server, source.name)
    case 'remote':
      return remoteHost(call, source.arg)
    case 'probe':
      return probed(call, source.probe)
    case 'revision':
      return revision(call, source.arg)
    case 'secrets_of':
      return secretsOf(call, source)
    case 'join':
      return joined(call, type, source.parts)
    case 'host_of':
      return hostOf(effective(call, source.arg))
    case 'collections_of':
      return collections(call, type, source.arg)
    case 'arg':
      return argumentValues(call, type, source)
  }
}

function boundValue(server: ServerBinding, name: string): Result<Values, string> {
  const value = server.values.get(name)
  return value === undefined ? err(`this server is not bound to a ${name}`) : ok([value])
}

function remoteHost(call: Call, arg: string): Result<Values, string> {
  const name = effective(call, arg)
  const host = typeof name === 'string' ? call.server.remotes.get(name) : undefined
  if (host !== undefined) return ok([host])
  const known = [...call.server.remotes.keys()].map((remote) => `\`${remote}\``).join(', ')
  return err(`\`${String(name)}\` is not a bound remote: use ${known || 'none, there is none'}`)
}

function probed(call: Call, probe: (Source & { from: 'probe' })['probe']): Result<Values, string> {
  const tree = call.server.worktree
  if (tree === null) return err('this server is bound to no working tree')
  switch (probe) {
    case 'current_branch': {
      call.branch ??= currentBranch(tree.real)
      return call.branch.ok ? ok([call.branch.value]) : call.branch
    }
    case 'config_secrets':
      return configSecrets(tree.real)
    case 'untracked_secrets':
    case 'ignored_secrets':
      return call.untracked.get(probe) ?? err('the untracked files have not been listed')
  }
}

function revision(call: Call, arg: string): Result<Values, string> {
  const tree = call.server.worktree
  if (tree === null) return err('this server is bound to no working tree')
  const value = effective(call, arg)
  const list = Array.isArray(value) ? value : [value]
  const branches = new Set<string>()
  let any = false
  for (const item of list) {
    if (typeof item !== 'string') return err(`\`${arg}\` must name a revision`)
    const read = revisionBranches(tree.real, item)
    if (!read.ok) return read
    if (read.value === null) any = true
    else for (const branch of read.value) branches.add(branch)
  }
  return ok(any ? null : [...branches])
}

function argumentValues(
  call: Call,
  type: string,
  source: Source & { from: 'arg' },
): Result<Values, string> {
  const members = membersOf(effective(call, source.arg), source)
  if (!members.ok) return members
  const { value } = members
  // No pathspec: the command is not narrowed to paths.
  if (source.as === 'pathspec' && !isGiven(value)) return ok(null)
  if (value === undefined) return err(`\`${source.arg}\` is missing: name the ${type}`)
  const list = Array.isArray(value) ? value : [value]
  if (list.length === 0) return err(`\`${source.arg}\` is empty`)
  if (source.as === 'pathspec') return pathspecs(call, source.arg, list)
  if (source.as === 'value') return canonicalList(type, list)
  const found: string[] = []
  for (const item of list) {
    if (typeof item !== 'string') return err(`\`${source.arg}\` must be a string`)
    const one = source.as === 'full_ref' ? fullRef(source.arg, item) : ownBranch(call, item)
    if (!one.ok) return one
    found.push(one.value)
  }
  return ok(found)
}

function ownBranch(call: Call, name: string): Result<string, string> {
  const tree = call.server.worktree
  return tree === null
    ? err('this server is bound to no working tree')
    : localBranch(tree.real, name)
}

/** A short name on the far side of a push may be a tag there; the full one cannot. */
function fullRef(arg: string, ref: string): Result<string, string> {
  const name = /^refs\/heads\/(.+)$/.exec(ref)?.[1]
  return name === undefined
    ? err(`\`${arg}\`: write the full name, \`refs/heads/${ref.replace(/^refs\/\w+\//, '')}\``)
    : canonicalBranch(name)
}

function canonicalList(type: string, list: readonly unknown[]): Result<Values, string> {
  const found: string[] = []
  for (const item of list) {
    const canonical =
      type === 'branches' || type === 'base_branches'
        ? typeof item === 'string'
          ? canonicalBranch(item)
          : err(`${type}: must be a string`)
        : canonicalise(type, typeof item === 'number' ? String(item) : item)
    if (!canonical.ok) return canonical
    found.push(canonical.value)
  }
  return ok(found)
}

/**
 * Git pathspecs. A literal file is a position; a folder, a glob or a magic word (`:/`, `:!x`)
 * reaches more than it names, so the touch is of the whole branch. A way out of the repository is
 * refused: `git diff` reads any two files on the disk when one is outside.
 */
function pathspecs(call: Call, arg: string, list: readonly unknown[]): Result<Values, string> {
  const found: string[] = []
  let wide = false
  for (const item of list) {
    const spec = String(item)
    const literal = literalPath(call, arg, spec)
    if (!literal.ok) return literal
    if (literal.value === null) wide = true
    else found.push(literal.value)
  }
  return ok(wide ? null : found)
}

function literalPath(call: Call, arg: string, spec: string): Result<string | null, string> {
  if (spec.startsWith('/') || spec.split('/').includes('..')) {
    return err(`\`${arg}\`: \`${spec}\` must be relative to the working tree, without \`..\``)
  }
  if (spec.startsWith(':') || /[*?[\]]/.test(spec)) return ok(null)
  const canonical = canonicalise('paths', spec)
  if (!canonical.ok) return canonical
  const tree = call.server.worktree
  try {
    if (tree !== null && !lstatSync(join(tree.real, canonical.value)).isDirectory())
      return canonical
  } catch {
    // Absent: it may be a folder that was deleted, with everything beneath.
  }
  return ok(null)
}

/**
 * The secrets that a path argument names; with `wide`, also those that a broad pathspec would
 * catch.
 */
function secretsOf(call: Call, source: Source & { from: 'secrets_of' }): Result<Values, string> {
  const members = membersOf(effective(call, source.arg), source)
  if (!members.ok) return members
  const { value } = members
  const list: readonly unknown[] = Array.isArray(value) ? value : value === undefined ? [] : [value]
  const found = new Set<string>()
  for (const item of list) {
    const spec = String(item)
    if (isSecretPath(spec)) found.add(spec)
    const literal = literalPath(call, source.arg, spec)
    if (!literal.ok) return literal
    if (literal.value !== null || !source.wide) continue
    const untracked = probed(call, 'untracked_secrets')
    if (!untracked.ok) return untracked
    for (const secret of untracked.value ?? []) found.add(secret)
  }
  return ok([...found])
}

/** The argument, or what the server assumes without it. */
function effective(call: Call, arg: string): unknown {
  return argument(call.args, arg) ?? call.tool.args.get(arg)?.default
}

/** With `member`, that member of each object of the argument; every object must have it. */
function membersOf(
  value: unknown,
  source: { readonly arg: string; readonly member: string | null },
): Result<unknown, string> {
  const { arg, member } = source
  if (member === null || value === undefined) return ok(value)
  const list: readonly unknown[] = Array.isArray(value) ? value : [value]
  const found: unknown[] = []
  for (const item of list) {
    const one = isRecord(item) && Object.hasOwn(item, member) ? item[member] : undefined
    if (typeof one !== 'string') return err(`each of \`${arg}\` needs \`${member}\`, a string`)
    found.push(one)
  }
  return ok(found)
}

/** What can stand between two `/` of an address without changing how the rest is read. */
const PLAIN_NAME = /^[A-Za-z0-9._-]+$/

function joined(call: Call, type: string, parts: readonly JoinPart[]): Result<Values, string> {
  const names: string[] = []
  for (const part of parts) {
    if (part.from === 'binding') {
      const bound = boundValue(call.server, part.name)
      if (!bound.ok) return bound
      names.push(...bound.value!)
      continue
    }
    const name = effective(call, part.arg)
    if (typeof name !== 'string' || !PLAIN_NAME.test(name) || name === '.' || name === '..') {
      return err(`\`${part.arg}\` must be a plain name of letters, digits, \`.\`, \`_\` and \`-\``)
    }
    names.push(name)
  }
  return canonicalList(type, [names.join('/')])
}

function hostOf(value: unknown): Result<Values, string> {
  const url = canonicalise('urls', value)
  return url.ok ? ok([new URL(url.value).host]) : url
}

function collections(call: Call, type: string, arg: string): Result<Values, string> {
  const found = collectionsOf(effective(call, arg))
  return found.ok ? canonicalList(type, found.value) : found
}
