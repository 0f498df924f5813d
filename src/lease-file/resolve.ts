import type { Instant } from '../core/id.ts'
import type { Grant, Terms } from '../core/lease.ts'
import { containsAction } from '../core/pattern.ts'
import { expandActions, type Vocabulary } from '../core/vocabulary.ts'
import { expandDenials, pattern } from './actions.ts'
import type { EnvelopeDraft, GrantDraft, LeaseDraft } from './draft.ts'
import type { Located, Source } from './source.ts'

/** The agent of a lease that names none, such as the essay's shortest one. */
const AGENT_UNNAMED = 'agent'

interface Parts {
  readonly lease: LeaseDraft | null
  readonly envelope: EnvelopeDraft | null
  readonly vocabulary: Vocabulary
  /** Seconds that an envelope leaves, from `now` on; null without one. */
  readonly secondsLeft: number | null
  /** Whom the work is for where the file does not say; null: it must. */
  readonly user: string | null
}

/** Makes the terms of what was read without an error; null if a needed part is missing. */
export function resolveTerms(source: Source, parts: Parts): Terms | null {
  const { lease, envelope, vocabulary } = parts
  const who = resolveNames(source, parts)
  const expiresInSeconds = resolveExpiry(source, parts)
  const grants = lease === null ? ceilingGrants(parts) : resolveGrants(source, lease, vocabulary)
  if (source.failed() || who === null || expiresInSeconds === null) return null
  const denials = [...(lease?.deny ?? []), ...(envelope?.blocked ?? [])]
  const labels = { ...(lease?.subject && { subject: lease.subject.value }), ...envelope?.labels }
  return {
    version: 1,
    ...who,
    grants,
    deny: expandDenials(vocabulary, values(denials)),
    ask: expandActions(vocabulary, values(lease?.ask ?? [])),
    onExceed: lease?.onExceed ?? 'deny',
    expiresInSeconds,
    notAfter: envelope?.expiresAt?.value ?? null,
    until: expandActions(vocabulary, values(lease?.until ?? [])),
    maxToolCalls: lease?.maxToolCalls ?? null,
    limits: resolveLimits(lease, vocabulary),
    workSeconds: lease?.workSeconds ?? null,
    usd: lease?.usd ?? null,
    delegate: lease?.delegate ?? null,
    requireReceipt: lease?.requireReceipt ?? true,
    ceiling: envelope === null ? null : expandActions(vocabulary, values(envelope.allowed)),
    approvers:
      envelope === null || envelope.approvedBy.length === 0 ? null : values(envelope.approvedBy),
    labels,
  }
}

function values(located: readonly Located<string>[]): string[] {
  return located.map((each) => each.value)
}

function resolveNames(
  source: Source,
  { lease, envelope, user: whom }: Parts,
): Pick<Terms, 'agent' | 'purpose' | 'user'> | null {
  const purpose = lease?.purpose ?? envelope?.purpose ?? null
  const user = lease?.user?.value ?? envelope?.requestedBy?.value ?? whom
  const agent = lease?.agent ?? envelope?.agent ?? null
  sameIn(source, 'purpose', lease?.purpose, envelope?.purpose)
  sameIn(source, 'agent', lease?.agent, envelope?.agent)
  if (envelope !== null) {
    need(source, envelope, {
      name: 'allowed_tools',
      is: envelope.allowed[0] ?? null,
      hint: 'allowed_tools: [repo.read]',
    })
    need(source, envelope, { name: 'agent', is: agent, hint: 'agent: repo-maintenance-agent' })
    need(source, envelope, {
      name: 'requested_by',
      is: envelope.requestedBy,
      hint: 'requested_by: maintainer@example.com',
    })
  } else if (lease !== null) {
    need(source, lease, { name: 'user', is: user, hint: 'user: maintainer@example.com' })
  }
  const at = lease ?? envelope
  if (at === null) return null
  need(source, at, { name: 'purpose', is: purpose, hint: 'purpose: update dependency and open PR' })
  if (purpose === null || user === null) return null
  return { agent: agent?.value ?? AGENT_UNNAMED, purpose: purpose.value, user }
}

/** Notes a missing field, at the first character of the map that lacks it. */
function need(
  source: Source,
  at: LeaseDraft | EnvelopeDraft,
  field: { readonly name: string; readonly is: unknown; readonly hint: string },
): void {
  if (field.is !== null || at.written.has(field.name)) return
  source.error(
    { offset: at.spot.offset, length: 1 },
    {
      code: 'missing_field',
      message: `\`${field.name}\` is missing`,
      hint: `write ${field.hint}`,
      see: 'requestedBy' in at ? 'envelope' : 'lease',
    },
  )
}

function sameIn(
  source: Source,
  name: string,
  one: Located<string> | null | undefined,
  other: Located<string> | null | undefined,
): void {
  if (one == null || other == null || one.value === other.value) return
  source.error(one.spot, {
    code: 'contradiction',
    message: `the lease and the envelope name a different \`${name}\``,
    hint: `write it once, or write \`${other.value}\` in both`,
    see: 'envelope',
  })
}

function resolveExpiry(source: Source, parts: Parts): number | null {
  const { lease, envelope, secondsLeft } = parts
  const inLease = lease?.expiresIn?.value ?? null
  if (envelope !== null) {
    need(source, envelope, {
      name: 'expires_at',
      is: envelope.expiresAt,
      hint: 'expires_at: 2026-06-23T02:12:00Z',
    })
  } else if (lease !== null) {
    need(source, lease, {
      name: 'expires_in',
      is: inLease,
      hint: 'expires_in: 30m: a lease has an end',
    })
  }
  const both = [inLease, secondsLeft].filter((each) => each !== null)
  return both.length === 0 ? null : Math.min(...both)
}

/** An envelope alone names no resources, so it permits only calls that touch none. */
function ceilingGrants({ envelope, vocabulary }: Parts): Grant[] {
  const actions = expandActions(vocabulary, values(envelope?.allowed ?? []))
  return actions.length === 0 ? [] : [{ actions, resources: {}, where: {} }]
}

function resolveGrants(source: Source, lease: LeaseDraft, vocabulary: Vocabulary): Grant[] {
  const asked = askedBeyondGrants(lease, vocabulary)
  const sugar = lease.grants.find((grant) => grant.sugar)
  if (sugar === undefined && asked.length > 0) {
    source.error(asked[0]!.spot, {
      code: 'ask_not_granted',
      message: `\`ask\` names \`${asked[0]!.value}\`, which no grant permits`,
      hint: 'add it to the actions of a grant, so that its resources are known',
      see: 'ask',
    })
  }
  const grants = lease.grants.map((grant) =>
    resolveGrant(grant, grant === sugar ? asked : [], vocabulary),
  )
  const empty = lease.grants.find((_grant, index) => grants[index]!.actions.length === 0)
  if (empty?.sugar && !lease.written.has('actions')) {
    const message = '`resources` without `actions` permits nothing'
    const hint = 'write actions: [repo.read]'
    source.error(empty.spot, { code: 'missing_field', message, hint, see: 'grants' })
  }
  if (lease.grants.length === 0 && !lease.written.has('grants')) {
    need(source, lease, { name: 'actions', is: null, hint: 'actions: [repo.read]' })
  }
  return grants
}

function resolveGrant(
  grant: GrantDraft,
  asked: readonly Located<string>[],
  vocabulary: Vocabulary,
): Grant {
  const actions = expandActions(vocabulary, [...values(grant.actions), ...values(asked)])
  return { actions, resources: grant.resources, where: grant.where }
}

/**
 * `ask` means "allowed, each call only with a fresh approval": an action that no grant permits is
 * added to the lease's own grant. A pattern with `*` only marks what is granted: it adds nothing,
 * because nobody can see what it would add.
 */
function askedBeyondGrants(lease: LeaseDraft, vocabulary: Vocabulary): Located<string>[] {
  const granted = lease.grants.flatMap((grant) => expandActions(vocabulary, values(grant.actions)))
  const parents = granted.map(pattern)
  return lease.ask.flatMap(({ value, spot }) =>
    expandActions(vocabulary, [value])
      .filter((action) => !action.includes('*') && !containsAction(parents, pattern(action)))
      .map((action) => ({ value: action, spot })),
  )
}

function resolveLimits(lease: LeaseDraft | null, vocabulary: Vocabulary): Record<string, number> {
  const limits = lease?.limits ?? []
  return Object.fromEntries(
    limits.map(({ action, count }) => [expandActions(vocabulary, [action.value])[0]!, count]),
  )
}

/** Whole seconds until an envelope's end; not more than zero when it is over. */
export function secondsUntil(end: Instant, now: Instant): number {
  return Math.floor((end - now) / 1000)
}
