import { isMap, isNode, isScalar, isSeq, type Node, type YAMLMap } from 'yaml'
import { canonicalise } from '../core/canonical.ts'
import { parseConstraint } from '../core/constraint.ts'
import type { Json } from '../core/id.ts'
import type { Constraint } from '../core/lease.ts'
import { parseActionPattern, parseResourcePattern } from '../core/pattern.ts'
import type { Vocabulary } from '../core/vocabulary.ts'
import type { GrantDraft } from './draft.ts'
import { type Field, type Fields, readFields, readMap, readTexts } from './fields.ts'
import { ITEMS_MAX } from './limits.ts'
import { didYouMean } from './problem.ts'
import { type Located, type Source, type Spot, spotOf } from './source.ts'

const GRANT_FIELDS = ['actions', 'resources', 'where'] as const

/**
 * Reads every grant of a lease: the one written as `actions` and `resources` of the lease itself,
 * then those under `grants`.
 */
export function readGrants(source: Source, fields: Fields, vocabulary: Vocabulary): GrantDraft[] {
  const grants: GrantDraft[] = []
  const actions = fields.all.get('actions')
  const resources = fields.all.get('resources')
  if (actions !== undefined || resources !== undefined) {
    const spot = (actions ?? resources)!.key
    grants.push({ sugar: true, spot, ...readScope(source, { actions, resources }, vocabulary) })
  }
  const more = fields.all.get('grants')
  return more === undefined ? grants : [...grants, ...readList(source, more, vocabulary)]
}

function readList(source: Source, at: Field, vocabulary: Vocabulary): GrantDraft[] {
  const items: readonly unknown[] = isSeq(at.value) ? at.value.items : []
  const maps = items.filter((item): item is YAMLMap => isMap(item))
  if (items.length === 0 || maps.length !== items.length || items.length > ITEMS_MAX) {
    source.error(at.spot, {
      code: items.length === 0 && isSeq(at.value) ? 'empty_list' : 'wrong_type',
      message: `\`grants\` must be a list of 1 to ${ITEMS_MAX} grants`,
      hint: 'write - actions: [repo.read], with resources: { repos: [name] } under it',
      see: 'grants',
    })
    return []
  }
  return maps.flatMap((map) => {
    const known = GRANT_FIELDS
    const { all, spot } = readFields(source, map, { of: 'a grant', known, see: 'grants' })
    const actions = all.get('actions')
    if (actions === undefined) {
      const hint = 'write actions: [repo.read]'
      const message = 'this grant names no `actions`'
      source.error({ ...spot, length: 1 }, { code: 'missing_field', message, hint, see: 'grants' })
      return []
    }
    const scope = readScope(source, { actions, resources: all.get('resources') }, vocabulary)
    const where = all.get('where')
    return [{ ...scope, sugar: false, spot, where: where ? readWhere(source, where) : {} }]
  })
}

function readScope(
  source: Source,
  at: { readonly actions: Field | undefined; readonly resources: Field | undefined },
  vocabulary: Vocabulary,
): Pick<GrantDraft, 'actions' | 'resources' | 'where'> {
  return {
    actions: at.actions === undefined ? [] : readActions(source, at.actions),
    resources: at.resources === undefined ? {} : readResources(source, at.resources, vocabulary),
    where: {},
  }
}

/** Reads a list of action patterns. */
export function readActions(source: Source, at: Field): Located<string>[] {
  const forbids = at.name === 'deny' || at.name === 'blocked_tools'
  const example = `${at.name}: [${forbids ? 'secret.read' : 'repo.read'}]`
  const texts = readTexts(source, at, { example, see: 'patterns' }) ?? []
  return texts.filter((text) => checkPattern(source, text))
}

/** Whether a text is an action pattern; if not, that is noted. */
export function checkPattern(source: Source, text: Located<string>): boolean {
  const parsed = parseActionPattern(text.value)
  if (!parsed.ok) {
    source.error(text.spot, { code: 'bad_pattern', ...advice(parsed.error), see: 'patterns' })
  }
  return parsed.ok
}

function readResources(
  source: Source,
  at: Field,
  vocabulary: Vocabulary,
): Record<string, readonly string[]> {
  const map = readMap(source, at, 'resources')
  const resources: [string, string[]][] = []
  for (const field of map?.all.values() ?? []) {
    if (!/^[a-z][a-z0-9_]*$/.test(field.name)) {
      const message = `\`${field.name}\` can't be a resource type`
      const hint = 'write small letters, digits and _, such as base_branches'
      source.error(field.key, { code: 'bad_type', message, hint, see: 'resources' })
      continue
    }
    warnUnknownType(source, field, vocabulary)
    const example = `${field.name}: [name]`
    const texts = readTexts(source, field, { example, see: 'resources' }) ?? []
    resources.push([field.name, texts.flatMap((text) => readPattern(source, field.name, text))])
  }
  return Object.fromEntries(resources)
}

function warnUnknownType(source: Source, field: Field, vocabulary: Vocabulary): void {
  const types = vocabulary.resourceTypes
  if (types.has(field.name)) return
  const meant = didYouMean(field.name, types.keys())
  source.warn(field.key, {
    code: 'unknown_resource_type',
    message: `unknown resource type \`${field.name}\`: no catalog of Daypass names one`,
    hint: meant === null ? `known are ${[...types.keys()].join(', ')}` : `did you mean ${meant}?`,
    see: 'resources',
  })
}

/**
 * A literal is brought into the form that values have when they are matched (`refs/heads/x` is the
 * branch `x`); one that no value can equal is an error, because it would permit nothing.
 */
function readPattern(source: Source, type: string, text: Located<string>): string[] {
  const parsed = parseResourcePattern(text.value)
  if (!parsed.ok) {
    source.error(text.spot, { code: 'bad_pattern', ...advice(parsed.error), see: 'patterns' })
    return []
  }
  if (text.value.includes('*')) return [text.value]
  const canonical = canonicalise(type, text.value)
  if (canonical.ok) return [canonical.value]
  source.error(text.spot, { code: 'bad_value', ...advice(canonical.error), see: 'resources' })
  return []
}

/** The core says what is wrong and what to write in one sentence; here they stand apart. */
function advice(error: string): { message: string; hint: string } {
  const match = /^(.*?)[;,] (write .*)$/s.exec(error)
  return match === null ? { message: error, hint: '' } : { message: match[1]!, hint: match[2]! }
}

function readWhere(source: Source, at: Field): Record<string, Constraint> {
  const map = readMap(source, at, 'constraints')
  const constraints: [string, Constraint][] = []
  for (const field of map?.all.values() ?? []) {
    if (!isMap(field.value) || field.value.items.length === 0) {
      source.error(field.spot, {
        code: 'wrong_type',
        message: `\`${field.name}\` must be a constraint`,
        hint: `write ${field.name}: { exact: value }, or ${MEMBERS.slice(1).join(', ')}`,
        see: 'constraints',
      })
      continue
    }
    if (hasUnsafeNumber(source, field.value)) continue
    const parsed = parseConstraint(field.value.toJSON() as Json)
    if (parsed.ok) constraints.push([field.name, parsed.value])
    else complain(source, field, parsed.error)
  }
  return Object.fromEntries(constraints)
}

/** YAML would round a number that a double cannot hold, and then another number is compared. */
function hasUnsafeNumber(source: Source, node: Node): boolean {
  if (isMap(node)) return node.items.some((pair) => hasUnsafeNumber(source, pair.value as Node))
  if (isSeq(node)) return node.items.some((item) => hasUnsafeNumber(source, item as Node))
  if (!isScalar(node) || typeof node.value !== 'number') return false
  const written = node.source ?? ''
  if (/^-?\d+(\.\d+)?$/.test(written) && Math.abs(node.value) <= Number.MAX_SAFE_INTEGER)
    return false
  source.error(spotOf(node, { offset: 0, length: 1 }), {
    code: 'bad_number',
    message: `the number \`${written}\` can't be compared exactly`,
    hint: `write it in quotes, as decimal digits: "100.00"`,
    see: 'constraints',
  })
  return true
}

const MEMBERS = ['exact', 'one_of', 'not_one_of', 'max', 'min', 'pattern', 'each']

function complain(
  source: Source,
  field: Field,
  error: { readonly path: string; readonly message: string },
): void {
  const steps = error.path.split(/[/.[\]]/).filter((step) => step !== '')
  const { spot, last, unknown } = locate(field, steps)
  const meant = unknown === null ? null : didYouMean(unknown, MEMBERS)
  const money = last === 'max' || last === 'min'
  const said = advice(error.message)
  source.error(spot, {
    code: unknown === null ? (money ? 'bad_decimal' : 'bad_constraint') : 'unknown_constraint',
    message: `\`${field.name}\`: ${said.message}`,
    hint: meant !== null ? `did you mean ${meant}?` : money ? MONEY_HINT : said.hint,
    see: 'constraints',
  })
}

const MONEY_HINT = 'write money as a decimal text in quotes: "100.00"'

/** The place in the file that a path into the constraint means, as deep as it can be followed. */
function locate(
  field: Field,
  steps: readonly string[],
): { spot: Spot; last: string; unknown: string | null } {
  let node = field.value
  let spot = field.spot
  for (const step of steps) {
    if (isMap(node)) {
      const pair = node.items.find((item) => isScalar(item.key) && item.key.value === step)
      if (pair === undefined) break
      node = pair.value
      spot = spotOf(node, spotOf(pair.key, spot))
    } else if (isSeq(node)) {
      node = node.items[Number(step)]
      spot = spotOf(node, spot)
    }
  }
  const stray = strayMember(field.value)
  if (stray !== null) return { spot: spotOf(stray, spot), last: '', unknown: String(stray.value) }
  return { spot, last: steps.at(-1) ?? '', unknown: null }
}

function strayMember(node: unknown): (Node & { value: unknown }) | null {
  if (!isMap(node)) return null
  for (const { key, value } of node.items) {
    if (isScalar(key) && !MEMBERS.includes(String(key.value))) return key
    if (isScalar(key) && key.value === 'each' && isNode(value)) {
      const inner = strayMember(value)
      if (inner !== null) return inner
    }
  }
  return null
}
