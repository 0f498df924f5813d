import type { Terms } from '../../core/lease.ts'
import { type Narrowing, narrowTerms } from '../../lease-file/narrow.ts'
import { parseLease } from '../../lease-file/parse.ts'
import type { Problem as LeaseProblem } from '../../lease-file/problem.ts'
import { termsFor } from '../templates.ts'
import type { InputOf } from './endpoint.ts'
import type { Endpoints } from './endpoints.ts'
import type { ApiParts, Asked } from './parts.ts'
import { Problem } from './problem.ts'

/** Terms as a caller wants to ask for them, and where they come from. */
export interface LeaseWish {
  readonly terms: Terms
  readonly template: string | null
  readonly warnings: readonly LeaseProblem[]
}

type Reading = Pick<ApiParts, 'vocabulary' | 'limits'>

/** Reads a lease document: the text of a YAML file, or the fields under `lease:` as JSON. */
export function readDocument(
  document: string | Readonly<Record<string, unknown>>,
  { vocabulary, limits }: Reading,
  { requester, now }: { readonly requester: string; readonly now: number },
): LeaseWish {
  // JSON is YAML, so both forms pass the same reader and its limits.
  const text = typeof document === 'string' ? document : JSON.stringify({ lease: document })
  const parsed = parseLease(text, { file: 'lease', vocabulary, limits, now })
  const errors = parsed.problems.filter(({ severity }) => severity === 'error')
  if (parsed.terms === null || errors.length > 0) {
    const problems = errors.map(({ code, line, column, message, hint }) => ({
      ...{ code, line, column, message, hint },
    }))
    const first = errors[0]?.message ?? 'this is not a lease'
    throw new Problem(400, 'lease_invalid', first, { more: { problems } })
  }
  if (parsed.requestedBy !== null && parsed.requestedBy !== requester) {
    const message = `the envelope is requested by somebody else than ${requester}`
    throw new Problem(403, 'requester_mismatch', message)
  }
  return { terms: parsed.terms, template: null, warnings: parsed.problems }
}

/** What is asked for: a template or a document, made less if the caller wants. */
export function readWish(
  { template, lease, narrow }: InputOf<Endpoints['requestRun']>['body'],
  parts: ApiParts,
  { now, requester }: Pick<Asked, 'now'> & { readonly requester: string },
): LeaseWish {
  if ((template === undefined) === (lease === undefined)) {
    throw new Problem(400, 'malformed', 'name a `template`, or write a `lease`')
  }
  const wish =
    lease === undefined
      ? fromTemplate(template!, parts, requester)
      : readDocument(lease, parts, { requester, now })
  if (narrow === undefined) return wish
  const narrowed = narrowTerms(wish.terms, narrow as Narrowing, parts.vocabulary)
  if (!narrowed.ok) throw new Problem(400, 'not_narrower', narrowed.error)
  return { ...wish, terms: narrowed.value }
}

function fromTemplate(name: string, { templates }: ApiParts, requester: string): LeaseWish {
  const found = templates.get(name)
  if (found !== null) {
    return { terms: termsFor(found, requester), warnings: found.warnings, template: name }
  }
  const known = templates.all().map((each) => each.name)
  const message = `no template \`${name}\`; there are: ${known.join(', ') || 'none'}`
  throw new Problem(404, 'template_unknown', message)
}
