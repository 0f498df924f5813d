import { isMap, isScalar, type YAMLMap } from 'yaml'
import { parseDecimal } from '../core/decimal.ts'
import type { Delegate, Terms } from '../core/lease.ts'
import type { Vocabulary } from '../core/vocabulary.ts'
import type { LeaseDraft } from './draft.ts'
import { formatDuration, parseDuration } from './duration.ts'
import {
  type Field,
  type Fields,
  readCount,
  readFields,
  readMap,
  readText,
  readTruth,
  readWord,
} from './fields.ts'
import { checkPattern, readActions, readGrants } from './grants.ts'
import { type LeaseLimits, PURPOSE_CHARACTERS_MAX } from './limits.ts'
import type { Located, Source } from './source.ts'

/** Every field of a lease, in the order of the specification. */
export const LEASE_FIELDS = [
  'version',
  'agent',
  'subject',
  'purpose',
  'user',
  'resources',
  'actions',
  'grants',
  'deny',
  'ask',
  'on_exceed',
  'expires_in',
  'until',
  'max_tool_calls',
  'limits',
  'budget',
  'delegate',
  'require_receipt',
] as const

/** Reads the map under `lease:`. Problems are noted in the source; what was wrong is left out. */
export function readLease(
  source: Source,
  map: YAMLMap,
  options: {
    readonly vocabulary: Vocabulary
    readonly limits: LeaseLimits
    readonly defaults?: { readonly onExceed?: Terms['onExceed'] }
  },
): LeaseDraft {
  const fields = readFields(source, map, { of: 'the lease', known: LEASE_FIELDS, see: 'lease' })
  readVersion(source, fields)
  const actions = (name: string) => {
    const field = fields.all.get(name)
    return field === undefined ? [] : readActions(source, field)
  }
  const onExceed = fields.all.get('on_exceed')
  const words = ['deny', 'ask', 'suspend'] as const
  return {
    spot: fields.spot,
    written: new Set(fields.all.keys()),
    agent: readName(source, fields, { name: 'agent', example: 'agent: repo-maintenance-agent' }),
    subject: readName(source, fields, { name: 'subject', example: 'subject: my-run' }),
    user: readName(source, fields, { name: 'user', example: 'user: maintainer@example.com' }),
    purpose: readPurpose(source, fields),
    grants: readGrants(source, fields, options.vocabulary),
    deny: actions('deny'),
    ask: actions('ask'),
    onExceed:
      onExceed === undefined
        ? (options.defaults?.onExceed ?? 'deny')
        : (readWord(source, onExceed, { words, see: 'on_exceed' })?.value ?? 'deny'),
    expiresIn: readExpiresIn(source, fields, options.limits),
    until: actions('until'),
    maxToolCalls: readMaxToolCalls(source, fields, options.limits),
    limits: readLimits(source, fields, options.limits),
    ...readBudget(source, fields),
    delegate: readDelegate(source, fields, options.limits),
    requireReceipt: readRequireReceipt(source, fields),
  }
}

function readVersion(source: Source, fields: Fields): void {
  const field = fields.all.get('version')
  if (field === undefined) return
  if (isScalar(field.value) && field.value.value === 1) return
  const message = 'unknown version of the lease language'
  const hint = 'this Daypass knows version: 1'
  source.error(field.spot, { code: 'unknown_version', message, hint, see: 'versions' })
}

/** Reads a text field that names somebody or something; null if it is absent or wrong. */
export function readName(
  source: Source,
  fields: Fields,
  options: { readonly name: string; readonly example: string },
): Located<string> | null {
  const field = fields.all.get(options.name)
  if (field === undefined) return null
  return readText(source, field, { wanted: 'a text', example: options.example, see: 'lease' })
}

/** Reads the purpose: one sentence, which becomes the title of the prompt. */
export function readPurpose(source: Source, fields: Fields): Located<string> | null {
  const example = 'purpose: update dependency and open PR'
  const purpose = readName(source, fields, { name: 'purpose', example })
  if (purpose === null || purpose.value.length <= PURPOSE_CHARACTERS_MAX) return purpose
  source.error(purpose.spot, {
    code: 'too_long',
    message: `\`purpose\` has more than ${PURPOSE_CHARACTERS_MAX} characters`,
    hint: 'say the task in one sentence',
    see: 'lease',
  })
  return null
}

function readExpiresIn(
  source: Source,
  fields: Fields,
  limits: LeaseLimits,
): Located<number> | null {
  const field = fields.all.get('expires_in')
  if (field === undefined) return null
  const most = formatDuration(limits.maxExpiresInSeconds)
  const hint = `write 30m, 1h30m or 2h; at most ${most} here`
  const see = 'durations'
  const scalar = isScalar(field.value) ? field.value.value : undefined
  if (typeof scalar === 'number') {
    const message = `\`expires_in\` has no unit: \`${scalar}\``
    source.error(field.spot, { code: 'unknown_duration', message, hint, see })
    return null
  }
  const text = readText(source, field, { wanted: 'a duration', example: 'expires_in: 30m', see })
  if (text === null) return null
  const seconds = parseDuration(text.value)
  if (!seconds.ok) {
    source.error(text.spot, { code: 'unknown_duration', message: seconds.error, hint, see })
    return null
  }
  if (seconds.value <= limits.maxExpiresInSeconds) return { value: seconds.value, spot: text.spot }
  const message = `\`expires_in\` is longer than a lease can live here`
  source.error(text.spot, { code: 'too_long_lived', message, hint: `write at most ${most}`, see })
  return null
}

function readMaxToolCalls(source: Source, fields: Fields, limits: LeaseLimits): number | null {
  const field = fields.all.get('max_tool_calls')
  if (field === undefined) return null
  const range = { min: 1, max: limits.maxToolCalls, example: 'max_tool_calls: 30', see: 'budget' }
  return readCount(source, field, range)?.value ?? null
}

function readLimits(source: Source, fields: Fields, limits: LeaseLimits): LeaseDraft['limits'] {
  const field = fields.all.get('limits')
  const map = field && readMap(source, field, 'budget')
  return [...(map?.all.values() ?? [])].flatMap((each) => {
    const example = `${each.name}: 1`
    const count = readCount(source, each, {
      min: 1,
      max: limits.maxToolCalls,
      example,
      see: 'budget',
    })
    const action = { value: each.name, spot: each.key }
    if (!checkPattern(source, action)) return []
    return count === null ? [] : [{ action, count: count.value }]
  })
}

function readBudget(source: Source, fields: Fields): Pick<LeaseDraft, 'workSeconds' | 'usd'> {
  const field = fields.all.get('budget')
  if (field === undefined) return { workSeconds: null, usd: null }
  const map = readInner(source, field, { known: ['minutes', 'usd'], example: '{ minutes: 20 }' })
  const minutes = map?.all.get('minutes')
  const range = { min: 1, max: 30 * 24 * 60, example: 'minutes: 20', see: 'budget' }
  const count = minutes === undefined ? null : readCount(source, minutes, range)
  const usd = map?.all.get('usd')
  return {
    workSeconds: count === null ? null : count.value * 60,
    usd: usd === undefined ? null : readMoney(source, usd),
  }
}

function readMoney(source: Source, at: Field): string | null {
  const text = isScalar(at.value) && typeof at.value.value === 'string' ? at.value.value : null
  const decimal = text === null ? null : parseDecimal(text)
  if (text !== null && decimal?.ok === true && !text.startsWith('-')) return text
  const written = isScalar(at.value) ? (at.value.source ?? '') : ''
  const not = written === '' ? '' : `, not \`${written}\``
  const quoted = /^\d+(\.\d+)?$/.test(written) ? written : '2.00'
  source.error(at.spot, {
    code: 'bad_decimal',
    message: `\`${at.name}\` must be money as a decimal text${not}`,
    hint: `write ${at.name}: "${quoted}"`,
    see: 'budget',
  })
  return null
}

function readDelegate(source: Source, fields: Fields, limits: LeaseLimits): Delegate | null {
  const field = fields.all.get('delegate')
  if (field === undefined) return null
  const example = '{ max_depth: 1, max_children: 2, ask: true }'
  const map = readInner(source, field, { known: ['max_depth', 'max_children', 'ask'], example })
  if (map === null) return null
  const count = (name: string, max: number) => {
    const each = map.all.get(name)
    // Absent means the least that delegation can mean.
    if (each === undefined) return 1
    return (
      readCount(source, each, { min: 1, max, example: `${name}: 1`, see: 'delegation' })?.value ?? 1
    )
  }
  const ask = map.all.get('ask')
  return {
    maxDepth: count('max_depth', limits.maxDepth),
    maxChildren: count('max_children', limits.maxChildren),
    ask: ask === undefined ? true : (readTruth(source, ask, 'delegation')?.value ?? true),
  }
}

function readRequireReceipt(source: Source, fields: Fields): boolean {
  const field = fields.all.get('require_receipt')
  return field === undefined ? true : (readTruth(source, field, 'receipt')?.value ?? true)
}

function readInner(
  source: Source,
  field: Field,
  options: { readonly known: readonly string[]; readonly example: string },
): Fields | null {
  const see = field.name === 'delegate' ? 'delegation' : field.name
  if (isMap(field.value) && field.value.items.length > 0) {
    return readFields(source, field.value, { of: `\`${field.name}\``, known: options.known, see })
  }
  source.error(field.spot, {
    code: 'wrong_type',
    message: `\`${field.name}\` must be a map`,
    hint: `write ${field.name}: ${options.example}`,
    see,
  })
  return null
}
