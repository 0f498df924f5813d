import { isSeq, type YAMLMap } from 'yaml'
import type { Instant } from '../core/id.ts'
import type { EnvelopeDraft } from './draft.ts'
import { type Fields, readFields, readText, readTexts } from './fields.ts'
import { readActions } from './grants.ts'
import { readName, readPurpose } from './lease-document.ts'
import type { Located, Source } from './source.ts'

/** Every field of an identity envelope. */
export const ENVELOPE_FIELDS = [
  'run_id',
  'subject',
  'agent',
  'requested_by',
  'approved_by',
  'purpose',
  'started_at',
  'expires_at',
  'allowed_tools',
  'blocked_tools',
] as const

/** Fields that only an envelope has: they tell it from a lease whose `lease:` was forgotten. */
export const ENVELOPE_ONLY = [
  'run_id',
  'requested_by',
  'approved_by',
  'started_at',
  'expires_at',
  'allowed_tools',
  'blocked_tools',
]

const SEE = 'envelope'

/** Reads an identity envelope. Whether its `expires_at` is over is judged by the caller. */
export function readEnvelope(source: Source, map: YAMLMap): EnvelopeDraft {
  const fields = readFields(source, map, { of: 'the envelope', known: ENVELOPE_FIELDS, see: SEE })
  const actions = (name: string) => {
    const field = fields.all.get(name)
    return field === undefined ? [] : readActions(source, field)
  }
  return {
    spot: fields.spot,
    written: new Set(fields.all.keys()),
    agent: readName(source, fields, { name: 'agent', example: 'agent: repo-maintenance-agent' }),
    requestedBy: readName(source, fields, {
      name: 'requested_by',
      example: 'requested_by: maintainer@example.com',
    }),
    approvedBy: readApprovers(source, fields),
    purpose: readPurpose(source, fields),
    expiresAt: readInstant(source, fields, 'expires_at'),
    allowed: actions('allowed_tools'),
    blocked: actions('blocked_tools'),
    labels: readLabels(source, fields),
  }
}

/** One approver or a list of them. It names who must say yes, and never claims that they did. */
function readApprovers(source: Source, fields: Fields): Located<string>[] {
  const field = fields.all.get('approved_by')
  if (field === undefined) return []
  const example = 'approved_by: lead@example.com'
  if (isSeq(field.value)) return readTexts(source, field, { example, see: SEE }) ?? []
  const one = readText(source, field, { wanted: 'a text', example, see: SEE })
  return one === null ? [] : [one]
}

function readLabels(source: Source, fields: Fields): Record<string, string> {
  const labels: [string, string][] = []
  for (const name of ['run_id', 'subject']) {
    const label = readName(source, fields, { name, example: `${name}: agt_run_1` })
    if (label !== null) labels.push([name, label.value])
  }
  const started = fields.all.get('started_at')
  if (started !== undefined && readInstant(source, fields, 'started_at') !== null) {
    const text = readText(source, started, { wanted: 'a time', example: EXAMPLE, see: SEE })
    if (text !== null) labels.push(['started_at', text.value])
  }
  return Object.fromEntries(labels)
}

const EXAMPLE = '2026-06-23T02:12:00Z'
const RFC3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,3})?(Z|[+-]\d\d:\d\d)$/

/** A moment as in RFC 3339 with its zone; without one, nobody knows when it is. */
function readInstant(source: Source, fields: Fields, name: string): Located<Instant> | null {
  const field = fields.all.get(name)
  if (field === undefined) return null
  const example = `${name}: ${EXAMPLE}`
  const text = readText(source, field, { wanted: 'a time', example, see: SEE })
  if (text === null) return null
  const instant = RFC3339.test(text.value) ? Date.parse(text.value) : Number.NaN
  if (!Number.isNaN(instant) && isCalendarDay(text.value))
    return { value: instant, spot: text.spot }
  source.error(text.spot, {
    code: 'bad_time',
    message: `unknown time \`${text.value}\``,
    hint: `write date, time and zone: ${EXAMPLE}`,
    see: SEE,
  })
  return null
}

/** `Date.parse` takes 30 February for 2 March. */
function isCalendarDay(text: string): boolean {
  const day = new Date(`${text.slice(0, 10)}T00:00:00Z`)
  return !Number.isNaN(day.getTime()) && day.toISOString().startsWith(text.slice(0, 10))
}
