import { type Document, isMap, isScalar, type YAMLMap } from 'yaml'
import type { Instant } from '../core/id.ts'
import type { Terms } from '../core/lease.ts'
import type { Vocabulary } from '../core/vocabulary.ts'
import { checkTerms } from './check.ts'
import type { EnvelopeDraft, LeaseDraft } from './draft.ts'
import { formatDuration } from './duration.ts'
import { ENVELOPE_FIELDS, ENVELOPE_ONLY, readEnvelope } from './envelope-document.ts'
import { LEASE_FIELDS, readLease } from './lease-document.ts'
import type { LeaseLimits } from './limits.ts'
import { didYouMean, type Problem } from './problem.ts'
import { resolveTerms, secondsUntil } from './resolve.ts'
import { readDocuments, type Source, spotOf } from './source.ts'

export interface ParseOptions {
  /** The name that problems carry. */
  readonly file: string
  readonly vocabulary: Vocabulary
  readonly now: Instant
  readonly limits: LeaseLimits
  /** Reads an envelope that is over, to show it; such terms must not be requested. */
  readonly allowPast?: boolean
  readonly defaults?: LeaseDefaults
}

/** What holds where the file does not say. */
export interface LeaseDefaults {
  readonly onExceed?: Terms['onExceed']
  /** Whom the work is for; absent: the file must say. */
  readonly user?: string
}

/** What a lease file says. */
export interface ParsedLease {
  /** Null if there is any error: a file that is read in part is not a lease. */
  readonly terms: Terms | null
  /** An envelope without a lease: a ceiling, and no resources. */
  readonly ceilingOnly: boolean
  /** An envelope's claim of who asks; the caller refuses it unless this person is signed in. */
  readonly requestedBy: string | null
  /** An envelope's `expires_at`: the lease must be over then, however late it is approved. */
  readonly notAfter: Instant | null
  /** In the order of the file. */
  readonly problems: readonly Problem[]
}

/** Reads a lease file: a lease, an identity envelope, or one envelope and one lease. */
export function parseLease(text: string, options: ParseOptions): ParsedLease {
  const { source, documents } = readDocuments(text, options.file)
  const { lease, envelope } = readParts(source, documents, options)
  const secondsLeft = envelope?.expiresAt ? checkEnd(source, envelope, options) : null
  const { vocabulary } = options
  const user = options.defaults?.user ?? null
  let terms: Terms | null = null
  if (lease !== null || envelope !== null) {
    terms = resolveTerms(source, { lease, envelope, vocabulary, secondsLeft, user })
    if (terms !== null) checkTerms(source, { lease, envelope, terms, vocabulary })
  }
  return {
    terms: source.failed() ? null : terms,
    ceilingOnly: envelope !== null && lease === null,
    requestedBy: envelope?.requestedBy?.value ?? null,
    notAfter: envelope?.expiresAt?.value ?? null,
    problems: source.problems.toSorted((a, b) => a.line - b.line || a.column - b.column),
  }
}

interface ReadParts {
  lease: LeaseDraft | null
  envelope: EnvelopeDraft | null
}

function readParts(
  source: Source,
  documents: readonly Document.Parsed[],
  options: ParseOptions,
): ReadParts {
  const parts: ReadParts = { lease: null, envelope: null }
  for (const document of documents) {
    const root = document.contents
    const kind = isMap(root) ? kindOf(root) : 'other'
    if (kind === 'envelope' && parts.envelope === null) {
      parts.envelope = readEnvelope(source, root as YAMLMap)
    } else if (kind === 'lease' && parts.lease === null) {
      parts.lease = readRoot(source, root as YAMLMap, options)
    } else if (kind === 'other') {
      refuseRoot(source, root)
    } else {
      const hint = 'write one lease, or one envelope and one lease'
      refuse(source, root, `a second ${kind} in one file`, hint)
    }
  }
  return parts
}

function kindOf(root: YAMLMap): 'lease' | 'envelope' | 'other' {
  if (hasKey(root, 'lease')) return 'lease'
  return ENVELOPE_ONLY.some((name) => hasKey(root, name)) ? 'envelope' : 'other'
}

function hasKey(map: YAMLMap, name: string): boolean {
  return map.items.some((pair) => isScalar(pair.key) && pair.key.value === name)
}

function readRoot(source: Source, root: YAMLMap, options: ParseOptions): LeaseDraft | null {
  const lease = root.items.find((pair) => isScalar(pair.key) && pair.key.value === 'lease')
  if (!isMap(lease?.value)) {
    const hint = 'write its fields under it, each indented by two spaces'
    refuse(source, lease?.key, '`lease:` has no fields', hint)
    return null
  }
  for (const pair of root.items) {
    const name = isScalar(pair.key) ? String(pair.key.value) : ''
    if (pair === lease) continue
    if (ENVELOPE_ONLY.includes(name)) {
      const hint = 'write the envelope above it, with a line `---` between them'
      refuse(source, pair.key, `\`${name}\` belongs to an envelope, not beside \`lease:\``, hint)
    } else if ((LEASE_FIELDS as readonly string[]).includes(name)) {
      refuse(source, pair.key, `\`${name}\` stands beside \`lease:\``, 'indent it by two spaces')
    } else {
      const meant = didYouMean(name, LEASE_FIELDS)
      const hint =
        meant === null ? 'a lease is all under `lease:`' : `did you mean ${meant}, indented?`
      source.error(spotOf(pair.key, START), {
        code: 'unknown_field',
        message: `unknown field \`${name}\` beside \`lease:\``,
        hint,
        see: 'files',
      })
    }
  }
  return readLease(source, lease.value, options)
}

const START = { offset: 0, length: 1 }

function refuse(source: Source, node: unknown, message: string, hint: string): void {
  const spot = spotOf(node, START)
  source.error(
    { ...spot, length: isMap(node) ? 1 : spot.length },
    {
      code: 'bad_structure',
      message,
      hint,
      see: 'files',
    },
  )
}

/** Neither kind: most often the line `lease:` is missing or misspelt. */
function refuseRoot(source: Source, root: unknown): void {
  if (!isMap(root)) {
    refuse(source, root, 'this is not a lease', 'a lease starts with the line `lease:`')
    return
  }
  const key = root.items[0]?.key
  const name = isScalar(key) ? String(key.value) : ''
  const fields: readonly string[] = [...LEASE_FIELDS, ...ENVELOPE_FIELDS]
  if (fields.includes(name)) {
    refuse(source, key, 'the line `lease:` is missing', 'write it first, and indent all under it')
    return
  }
  const meant = didYouMean(name, ['lease', ...fields])
  const hint = meant === null ? 'a lease starts with the line `lease:`' : `did you mean ${meant}?`
  source.error(spotOf(key ?? root, START), {
    code: 'unknown_field',
    message: `this is not a lease: unknown field \`${name}\``,
    hint,
    see: 'files',
  })
}

/** An envelope's end, as seconds from now. Over, or too far away, it cannot be requested. */
function checkEnd(source: Source, envelope: EnvelopeDraft, options: ParseOptions): number {
  const { value, spot } = envelope.expiresAt!
  const left = secondsUntil(value, options.now)
  const most = options.limits.maxExpiresInSeconds
  if (left <= 0) {
    if (options.allowPast) return secondsMeant(envelope)
    source.error(spot, {
      code: 'expired',
      message: `\`expires_at\` is over since ${new Date(value).toISOString()}`,
      hint: `write a later time, at most ${formatDuration(most)} from now`,
      see: 'envelope',
    })
  } else if (left > most) {
    source.error(spot, {
      code: 'too_long_lived',
      message: '`expires_at` is further away than a lease can live here',
      hint: `write a time at most ${formatDuration(most)} from now`,
      see: 'envelope',
    })
  }
  return Math.max(1, left)
}

/** How long an envelope that is over was meant to last, to show it; never requested. */
function secondsMeant(envelope: EnvelopeDraft): number {
  const { started_at: started } = envelope.labels
  const end = envelope.expiresAt!.value
  return started === undefined ? 1 : Math.max(1, secondsUntil(end, Date.parse(started)))
}
