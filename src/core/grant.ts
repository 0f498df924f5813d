import { canonicalJson, sortedNames } from './canonical-json.ts'
import {
  type CompiledConstraint,
  compileConstraint,
  constraintContained,
  parseConstraint,
  satisfiesCompiled,
} from './constraint.ts'
import type { Touch } from './facts.ts'
import type { Json } from './id.ts'
import type { Constraint, Grant } from './lease.ts'
import {
  type ActionPattern,
  containsAction,
  containsResource,
  matchesAction,
  matchesResource,
  parseActionPattern,
  parseResourcePattern,
  type ResourcePattern,
} from './pattern.ts'
import { err, ok, type Result } from './result.ts'
import { quote } from './text.ts'

/**
 * A grant with everything parsed once, at approval. Types and arguments in the order of their
 * names.
 */
export interface CompiledGrant {
  readonly grant: Grant
  readonly actions: readonly ActionPattern[]
  readonly resources: readonly CompiledResources[]
  readonly where: readonly CompiledArgument[]
}

interface CompiledResources {
  readonly type: string
  readonly patterns: readonly ResourcePattern[]
}

interface CompiledArgument {
  readonly name: string
  readonly constraint: CompiledConstraint
}

/** Why a grant does not permit a touch, and what is missing, for an authorised caller. */
export interface Shortfall {
  readonly reason: 'no_grant' | 'resource_unresolved' | 'constraint_failed'
  readonly detail: string
}

type Args = Readonly<Record<string, Json>>
type Values = Readonly<Record<string, readonly string[]>>

/** Parses the patterns and constraints of a grant. The error names the place and what to write. */
export function compileGrant(grant: Grant): Result<CompiledGrant, string> {
  const actions: ActionPattern[] = []
  for (const text of grant.actions) {
    const action = parseActionPattern(text)
    if (!action.ok) return err(`actions: ${action.error}`)
    actions.push(action.value)
  }
  const resources: CompiledResources[] = []
  for (const type of sortedNames(grant.resources)) {
    const texts = grant.resources[type]!
    const patterns: ResourcePattern[] = []
    for (const text of texts) {
      const pattern = parseResourcePattern(text)
      if (!pattern.ok) return err(`resources.${type}: ${pattern.error}`)
      patterns.push(pattern.value)
    }
    resources.push({ type, patterns })
  }
  const where: CompiledArgument[] = []
  for (const name of sortedNames(grant.where)) {
    const source = grant.where[name]!
    const constraint = parseConstraint(source)
    if (!constraint.ok) {
      const { path, message } = constraint.error
      return err(`where.${name}${path === '' ? '' : `.${path}`}: ${message}`)
    }
    where.push({ name, constraint: compileConstraint(constraint.value) })
  }
  return ok({ grant, actions, resources, where })
}

/**
 * Whether the grant permits the touch with these arguments: null if it does, else what is missing,
 * in the order action, resources, constraints. Permitted means all of: the action matches; each
 * type of `touch.resources` is named and each of its values matches; each type that the grant names
 * is in
 * `resources` or `within`, has values, and each matches; each constrained argument is present and
 * satisfies. Does not allocate when it permits. Which shortfall is named does not depend on the
 * order of members (see `canonicalJson`).
 */
export function permits(grant: CompiledGrant, touch: Touch, args: Args): Shortfall | null {
  if (!namesAction(grant, touch.action)) return actionShortfall(touch.action)
  let failing: string | null = null
  for (const type in touch.resources) {
    if (!Object.hasOwn(touch.resources, type)) continue
    const isFirst = failing === null || type < failing
    if (isFirst && resourceShortfall(grant, touch, type) !== null) failing = type
  }
  if (failing !== null) return resourceShortfall(grant, touch, failing)
  for (const { type, patterns } of grant.resources) {
    if (Object.hasOwn(touch.within, type)) {
      const shortfall = valuesShortfall(type, patterns, touch.within[type]!)
      if (shortfall !== null) return shortfall
    } else if (!Object.hasOwn(touch.resources, type)) {
      return unresolvedShortfall(type)
    }
  }
  for (const { name, constraint } of grant.where) {
    if (!Object.hasOwn(args, name)) return argumentShortfall(name, constraint, undefined)
    if (!satisfiesCompiled(constraint, args[name])) {
      return argumentShortfall(name, constraint, args[name])
    }
  }
  return null
}

/** Whether the grant names the action, whatever its resources. */
export function namesAction(grant: CompiledGrant, action: string): boolean {
  for (const pattern of grant.actions) if (matchesAction(pattern, action)) return true
  return false
}

function resourceShortfall(grant: CompiledGrant, touch: Touch, type: string): Shortfall | null {
  const patterns = patternsOf(grant, type)
  const values = touch.resources[type]!
  if (patterns === null) return unnamedShortfall(type, values)
  return valuesShortfall(type, patterns, values)
}

function patternsOf(grant: CompiledGrant, type: string): readonly ResourcePattern[] | null {
  for (const resources of grant.resources) if (resources.type === type) return resources.patterns
  return null
}

function valuesShortfall(
  type: string,
  patterns: readonly ResourcePattern[],
  values: readonly string[],
): Shortfall | null {
  if (values.length === 0) return unresolvedShortfall(type)
  for (const value of values) {
    if (!matchesOne(patterns, value)) {
      const granted = list(patterns.map((pattern) => pattern.text))
      const detail = `${quote(value)} is outside ${type}: ${granted}; ask for a grant that names it`
      return { reason: 'no_grant', detail }
    }
  }
  return null
}

function matchesOne(patterns: readonly ResourcePattern[], value: string): boolean {
  for (const pattern of patterns) if (matchesResource(pattern, value)) return true
  return false
}

export function actionShortfall(action: string): Shortfall {
  const detail = `no grant names the action ${quote(action)}; ask for one that does`
  return { reason: 'no_grant', detail }
}

function unnamedShortfall(type: string, values: readonly string[]): Shortfall {
  const detail =
    `the call touches ${type} ${list(values)}, ` +
    `and the grant names no ${type}; ask for a grant with ${type}`
  return { reason: 'no_grant', detail }
}

function unresolvedShortfall(type: string): Shortfall {
  const detail =
    `the grant is limited to certain ${type}, and the call does not say which it touches; ` +
    'pass the argument that names it'
  return { reason: 'resource_unresolved', detail }
}

function argumentShortfall(
  name: string,
  { source }: CompiledConstraint,
  value: Json | undefined,
): Shortfall {
  const argument = `the argument ${quote(name)}`
  const wanted = describe(source)
  const detail =
    value === undefined
      ? `${argument} is missing; pass it so that ${wanted}`
      : `${argument}: ${quote(canonicalJson(value))} does not satisfy ${wanted}`
  return { reason: 'constraint_failed', detail }
}

function describe(constraint: Constraint): string {
  return quote(canonicalJson(constraint))
}

function list(texts: readonly string[]): string {
  const shown = texts.slice(0, 8).map(quote).join(', ')
  return texts.length > 8 ? `${shown} and ${texts.length - 8} more` : shown || 'nothing'
}

/**
 * Whether the child lies in the parents: each of its actions, with all its resources and
 * constraints, within one parent grant. A child may name types that the parent does not (paths
 * within a repository); where a call carries such a type as a resource of its own, the parent's own
 * grant still denies it, since enforcement is the conjunction over the chain. Sound for all else; a
 * no can be wrong where only several parent grants together cover one action pattern.
 */
export function grantContained(child: Grant, parents: readonly Grant[]): boolean {
  return grantExcess(child, parents) === null
}

/** What of the child no parent grant covers, in words; null if it is contained. */
export function grantExcess(child: Grant, parents: readonly Grant[]): string | null {
  const inner = compileGrant(child)
  if (!inner.ok) return inner.error
  const outer: CompiledGrant[] = []
  for (const parent of parents) {
    const compiled = compileGrant(parent)
    if (compiled.ok) outer.push(compiled.value)
  }
  for (const action of inner.value.actions) {
    const candidates = outer.filter((parent) => containsAction(parent.actions, action))
    if (candidates.length === 0) {
      const granted = list(parents.flatMap((parent) => parent.actions))
      return `the parent grants ${granted}, the child ${quote(action.text)}; leave it out`
    }
    const excesses = candidates.map((parent) => excessOver(inner.value, parent))
    if (!excesses.includes(null)) return `${quote(action.text)}: ${excesses[0]}`
  }
  return null
}

function excessOver(child: CompiledGrant, parent: CompiledGrant): string | null {
  for (const { type, patterns } of parent.resources) {
    const own = patternsOf(child, type)
    const granted = list(patterns.map((pattern) => pattern.text))
    if (own === null) {
      return `the parent grants ${type} ${granted}, the child names no ${type}; name some of these`
    }
    const wider = own.find((pattern) => !containsResource(patterns, pattern))
    if (wider !== undefined) {
      return (
        `the parent grants ${type} ${granted}, the child ${quote(wider.text)}; ` +
        'write one of these, or a narrower one'
      )
    }
  }
  for (const { name, constraint } of parent.where) {
    const own = child.where.find((argument) => argument.name === name)
    if (own === undefined) {
      return (
        `the parent constrains ${quote(name)} by ${describe(constraint.source)}, ` +
        'the child not at all; repeat the constraint'
      )
    }
    if (!constraintContained(own.constraint.source, constraint.source)) {
      return (
        `the parent constrains ${quote(name)} by ${describe(constraint.source)}, the child by ` +
        `${describe(own.constraint.source)}; repeat the parent's, or write a narrower one`
      )
    }
  }
  return null
}

/**
 * The grant that permits exactly this touch with exactly these arguments: what an escalation
 * offers. Null if a value cannot be written literally (it has `*`), or if no grant can permit the
 * touch.
 */
export function smallestGrant(touch: Touch, args: Args): Grant | null {
  const resources = literalResources([touch.resources, touch.within])
  if (touch.action.includes('*') || resources === null) return null
  const where = Object.fromEntries(
    Object.entries(args).map(([name, exact]): [string, Constraint] => [name, { exact }]),
  )
  const grant = { actions: [touch.action], resources, where }
  const compiled = compileGrant(grant)
  return compiled.ok && permits(compiled.value, touch, args) === null ? grant : null
}

function literalResources(sources: readonly Values[]): Values | null {
  const all = new Map<string, Set<string>>()
  for (const source of sources) {
    for (const [type, values] of Object.entries(source)) {
      if (values.some((value) => value.includes('*'))) return null
      all.set(type, new Set([...(all.get(type) ?? []), ...values]))
    }
  }
  return Object.fromEntries([...all].map(([type, values]) => [type, [...values]]))
}
