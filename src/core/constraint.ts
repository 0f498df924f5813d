import { canonicalise } from './canonical.ts'
import { compareDecimals, type Decimal, parseDecimal } from './decimal.ts'
import type { Json } from './id.ts'
import type { Constraint } from './lease.ts'
import {
  containsResource,
  matchesResource,
  parseResourcePattern,
  type ResourcePattern,
} from './pattern.ts'
import { err, ok, type Result } from './result.ts'
import { quote } from './text.ts'

/** Longer lists of values are refused: each call is compared with each of them. */
export const VALUES_MAX = 256

/** Deeper `each` and deeper values are refused: recursion must end (threat 17). */
export const EACH_DEPTH_MAX = 4
export const JSON_DEPTH_MAX = 32

/** Where in the constraint the fault is, such as `one_of[2]` or `each.max`; "" is the whole. */
export interface ConstraintFault {
  readonly path: string
  readonly message: string
}

/** A constraint with bounds and patterns parsed once. */
export interface CompiledConstraint {
  readonly source: Constraint
  readonly max: Decimal | null
  readonly min: Decimal | null
  readonly pattern: ResourcePattern | null
  readonly each: CompiledConstraint | null
}

const MEMBERS = ['exact', 'one_of', 'not_one_of', 'max', 'min', 'pattern', 'each'] as const

/** Parses a constraint of untrusted origin; a member that is unknown or mistyped is refused. */
export function parseConstraint(json: unknown): Result<Constraint, ConstraintFault> {
  return parseAt(json, '', 0)
}

function parseAt(json: unknown, path: string, depth: number): Result<Constraint, ConstraintFault> {
  const fail = (at: string, message: string) => err({ path: joinPath(path, at), message })
  if (!isPlainObject(json)) {
    return fail('', `not a constraint; write a mapping with one of ${MEMBERS.join(', ')}`)
  }
  const names = Object.keys(json)
  if (names.length === 0) return fail('', `an empty constraint; write one of ${MEMBERS.join(', ')}`)
  const parsed: { -readonly [K in keyof Constraint]: Constraint[K] } = {}
  for (const name of names) {
    const value = json[name]
    switch (name) {
      case 'exact':
        if (!isExactJson(value, 0)) return fail(name, INEXACT)
        parsed.exact = value
        break
      case 'one_of':
      case 'not_one_of': {
        const fault = valuesFault(value, name)
        if (fault !== null) return fail(name + fault.at, fault.message)
        parsed[name] = value as readonly Json[]
        break
      }
      case 'max':
      case 'min': {
        const fault = boundFault(value)
        if (fault !== null) return fail(name, fault)
        parsed[name] = value as string | number
        break
      }
      case 'pattern': {
        if (typeof value !== 'string') return fail(name, 'not a string; write a pattern')
        const pattern = parseResourcePattern(value)
        if (!pattern.ok) return fail(name, pattern.error)
        parsed.pattern = value
        break
      }
      case 'each': {
        if (depth >= EACH_DEPTH_MAX) return fail(name, `more than ${EACH_DEPTH_MAX} levels of each`)
        const inner = parseAt(value, joinPath(path, name), depth + 1)
        if (!inner.ok) return inner
        parsed.each = inner.value
        break
      }
      default:
        return fail(name, `unknown constraint ${quote(name)}; write one of ${MEMBERS.join(', ')}`)
    }
  }
  const empty = emptyRange(parsed)
  return empty === null ? ok(parsed) : fail('', empty)
}

const INEXACT =
  'not an exact value; numbers must be finite and within 2^53, others are written as strings'

function joinPath(base: string, at: string): string {
  return base === '' || at === '' ? base + at : `${base}.${at}`
}

function valuesFault(value: unknown, name: string): { at: string; message: string } | null {
  if (!Array.isArray(value) || value.length === 0) {
    return { at: '', message: 'not a list with values; write `[a, b]`' }
  }
  if (value.length > VALUES_MAX) return { at: '', message: `more than ${VALUES_MAX} values` }
  for (const [index, each] of value.entries()) {
    if (!isExactJson(each, 0)) return { at: `[${index}]`, message: INEXACT }
    if (name === 'not_one_of' && typeof each === 'object' && each !== null) {
      return { at: `[${index}]`, message: 'not a plain value; not_one_of excludes plain values' }
    }
  }
  return null
}

function boundFault(value: unknown): string | null {
  if (typeof value !== 'string' && typeof value !== 'number') {
    return 'not a number; write an integer or a decimal string such as "100.00"'
  }
  if (typeof value === 'number' && !Number.isInteger(value)) {
    return `\`${value}\` is not exact; write it as a decimal string, in quotes`
  }
  const parsed = parseDecimal(value)
  return parsed.ok ? null : parsed.error
}

function emptyRange({ max, min }: Constraint): string | null {
  const upper = bound(max)
  const lower = bound(min)
  if (upper === null || lower === null || compareDecimals(lower, upper) <= 0) return null
  return `min \`${min}\` is above max \`${max}\`, so nothing satisfies it; lower min or raise max`
}

function bound(value: string | number | undefined): Decimal | null {
  if (value === undefined) return null
  const parsed = parseDecimal(value)
  if (!parsed.ok) throw new Error(parsed.error)
  return parsed.value
}

function isPlainObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** JSON whose numbers are what was written (threat 11), to a bounded depth. */
function isExactJson(value: unknown, depth: number): value is Json {
  if (depth > JSON_DEPTH_MAX) return false
  if (value === null || typeof value === 'boolean') return true
  if (typeof value === 'string') return value.isWellFormed()
  if (typeof value === 'number') return isExactNumber(value)
  if (Array.isArray(value)) return value.every((each) => isExactJson(each, depth + 1))
  return isPlainObject(value) && Object.values(value).every((each) => isExactJson(each, depth + 1))
}

function isExactNumber(value: number): boolean {
  return (
    Number.isFinite(value) && Math.abs(value) <= Number.MAX_SAFE_INTEGER && !Object.is(value, -0)
  )
}

/** Parses bounds and patterns once. Throws on a constraint that `parseConstraint` refuses. */
export function compileConstraint(constraint: Constraint): CompiledConstraint {
  const pattern = constraint.pattern === undefined ? null : parseResourcePattern(constraint.pattern)
  if (pattern !== null && !pattern.ok) throw new Error(pattern.error)
  return {
    source: constraint,
    max: bound(constraint.max),
    min: bound(constraint.min),
    pattern: pattern === null ? null : pattern.value,
    each: constraint.each === undefined ? null : compileConstraint(constraint.each),
  }
}

/** Whether the argument satisfies the constraint; an absent one never does. */
export function satisfies(constraint: Constraint, value: Json | undefined): boolean {
  return satisfiesCompiled(compileConstraint(constraint), value)
}

/**
 * All members hold. Types are strict: `"10"` is not `10` for `exact` and the lists; bounds take
 * either, and compare exactly. `not_one_of` holds only for values of a type that it lists, so that
 * a list or another spelling cannot slip past it. An empty list does not satisfy `each`: to many
 * tools an empty list means "all".
 */
export function satisfiesCompiled(
  constraint: CompiledConstraint,
  value: Json | undefined,
): boolean {
  if (value === undefined) return false
  if (typeof value === 'number' && !isExactNumber(value)) return false
  const { source } = constraint
  if (source.exact !== undefined && !jsonEqual(source.exact, value)) return false
  if (source.one_of !== undefined && !source.one_of.some((one) => jsonEqual(one, value))) {
    return false
  }
  if (source.not_one_of !== undefined && !isOutside(source.not_one_of, value)) return false
  if ((constraint.max !== null || constraint.min !== null) && !isWithin(constraint, value)) {
    return false
  }
  if (
    constraint.pattern !== null &&
    !(isPlain(value) && matchesResource(constraint.pattern, value))
  ) {
    return false
  }
  if (constraint.each === null) return true
  const { each } = constraint
  if (!Array.isArray(value) || value.length === 0) return false
  return value.every((element: Json) => satisfiesCompiled(each, element))
}

function isOutside(excluded: readonly Json[], value: Json): boolean {
  if (typeof value === 'object' && value !== null) return false
  if (typeof value === 'string' && !isPlain(value)) return false
  const type = jsonType(value)
  return (
    excluded.some((each) => jsonType(each) === type) &&
    !excluded.some((each) => jsonEqual(each, value))
  )
}

function isWithin(constraint: CompiledConstraint, value: Json): boolean {
  if (typeof value !== 'string' && typeof value !== 'number') return false
  const decimal = parseDecimal(value)
  if (!decimal.ok) return false
  const { max, min } = constraint
  return (
    (max === null || compareDecimals(decimal.value, max) <= 0) &&
    (min === null || compareDecimals(decimal.value, min) >= 0)
  )
}

/** A string that reads as what it is: no hidden characters, no way out of a directory. */
function isPlain(value: Json): value is string {
  return typeof value === 'string' && canonicalise('plain', value).ok
}

type JsonType = 'null' | 'boolean' | 'number' | 'string' | 'array' | 'object'

function jsonType(value: Json): JsonType {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'array'
  return typeof value as JsonType
}

/** Same JSON value; members in any order. Ends with the shallower of the two. */
function jsonEqual(left: Json, right: Json): boolean {
  if (Object.is(left, right)) return true
  if (Array.isArray(left)) {
    return (
      Array.isArray(right) &&
      left.length === right.length &&
      left.every((each: Json, index) => jsonEqual(each, right[index]!))
    )
  }
  if (!isPlainObject(left) || !isPlainObject(right)) return false
  const names = Object.keys(left)
  return (
    names.length === Object.keys(right).length &&
    names.every(
      (name) => Object.hasOwn(right, name) && jsonEqual(left[name] as Json, right[name] as Json),
    )
  )
}

/**
 * Whether every value that satisfies `child` satisfies `parent`. Sound: yes is always right. Where
 * the child lists its values (`exact`, `one_of`, a pattern without `*`) the answer is exact;
 * otherwise each member of the parent must follow from the child's member of the same name (or, for
 * `not_one_of`, from the child refusing each value and other types). So a no can be wrong where
 * only several members together narrow the child, or where the child admits nothing at all.
 */
export function constraintContained(child: Constraint, parent: Constraint): boolean {
  if (!parseConstraint(child).ok || !parseConstraint(parent).ok) return false
  return contained(compileConstraint(child), compileConstraint(parent))
}

function contained(child: CompiledConstraint, parent: CompiledConstraint): boolean {
  const values = listedValues(child)
  if (values !== null) {
    return values.every((one) => !satisfiesCompiled(child, one) || satisfiesCompiled(parent, one))
  }
  const { source } = parent
  if (source.exact !== undefined || source.one_of !== undefined) return false
  if (source.not_one_of !== undefined && !excludes(child, source.not_one_of)) return false
  if (parent.max !== null) {
    if (child.max === null || compareDecimals(child.max, parent.max) > 0) return false
  }
  if (parent.min !== null) {
    if (child.min === null || compareDecimals(child.min, parent.min) < 0) return false
  }
  if (parent.pattern !== null) {
    if (child.pattern === null || !containsResource([parent.pattern], child.pattern)) return false
  }
  if (parent.each === null) return true
  return child.each !== null && contained(child.each, parent.each)
}

function listedValues({ source, pattern }: CompiledConstraint): readonly Json[] | null {
  if (source.exact !== undefined) return [source.exact]
  if (source.one_of !== undefined) return source.one_of
  return pattern?.literal ? [pattern.text] : null
}

/** The child admits none of the values, and only types that the parent's list has. */
function excludes(child: CompiledConstraint, values: readonly Json[]): boolean {
  if (values.some((value) => satisfiesCompiled(child, value))) return false
  const types = new Set(values.map(jsonType))
  const { source } = child
  const isListed = (type: JsonType) => types.has(type)
  if (source.not_one_of?.map(jsonType).every(isListed)) return true
  if (child.pattern !== null) return types.has('string')
  return (child.max !== null || child.min !== null) && types.has('string') && types.has('number')
}
