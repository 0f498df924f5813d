import type { Badge } from '../../badge/badge.ts'
import type { BadgeReader } from '../../badge/reader.ts'
import { canonicalJson } from '../../core/canonical-json.ts'
import type { RunId } from '../../core/id.ts'
import type { RefusalCode } from '../../core/reason.ts'
import { ok, type Result } from '../../core/result.ts'
import { parseStrictJson } from '../../core/strict-json.ts'
import type { Authority } from '../authority.ts'
import { type DelegationParts, delegate, type LeaseFields } from '../delegation.ts'
import { answered, HOLD_MS } from './answered.ts'
import { LEASE_TYPE } from './clients.ts'
import {
  badgeAnswer,
  checkTarget,
  fault,
  type OAuthFault,
  refusedAs,
  type TokenAnswer,
  type TokenRequest,
} from './grant.ts'
import { audienceOf } from './parts.ts'

const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token'
/** Names of `authorization_details` that are not the lease's (RFC 9396 §2). */
const DETAIL_NAMES = new Set(['type', 'locations'])
/** A lease nests grants, constraints and lists of them. */
const DEPTH_MAX = 16

export const EXCHANGE_PARAMS = [
  ...['subject_token', 'subject_token_type', 'requested_token_type', 'resource', 'audience'],
  ...['scope', 'actor_token', 'actor_token_type', 'authorization_details', 'run'],
]

export interface ExchangeParts extends Omit<DelegationParts, 'authority'> {
  readonly url: string
  readonly badges: BadgeReader
  readonly authorityOf: (org: string) => Authority
  /** Shorter in tests. */
  readonly holdMs?: number
}

/**
 * Token exchange (RFC 8693) is delegation: the subject token is the parent's badge, the
 * authorization details are the child's lease, the answer is the child's badge, whose `act` names
 * the chain. Nobody gets more than the subject token's run has (threat 51).
 */
export async function exchange(request: TokenRequest, parts: ExchangeParts): Promise<TokenAnswer> {
  const { params, jkt } = request
  const wrong = checkForm(request, parts)
  if (!wrong.ok) return wrong
  const parent = await subjectOf(request, parts)
  if (!parent.ok) return parent
  const authority = parts.authorityOf(parent.value.org)
  const child =
    params.run === undefined
      ? await openChild(params.authorization_details, parent.value, { ...parts, authority })
      : await knownChild(params.run, parent.value, authority)
  if (!child.ok) return child
  const run = await answered(authority, child.value, { holdMs: parts.holdMs ?? HOLD_MS })
  if (!run.ok) return run
  // Who speaks for the agent speaks for it under the same name; a bare badge is nobody's client.
  const client = parent.value.client === parent.value.agent ? null : request.client
  const badge = await authority.badgeFor(run.value.id, { client, jkt })
  if (!badge.ok) return refusedAs('access_denied', badge.error)
  const answer = badgeAnswer(badge.value, run.value, { ...parts, now: parts.clock(), jkt })
  return ok({ ...answer, issued_token_type: ACCESS_TOKEN })
}

/** RFC 8693 §2.1. What we do not do is refused: an actor token must not be taken for nothing. */
function checkForm(request: TokenRequest, parts: ExchangeParts): Result<true, OAuthFault> {
  const { params } = request
  if (params.subject_token_type !== ACCESS_TOKEN) {
    return fault('invalid_request', `\`subject_token_type\` must be ${ACCESS_TOKEN}`)
  }
  if ((params.requested_token_type ?? ACCESS_TOKEN) !== ACCESS_TOKEN) {
    return fault('invalid_request', `\`requested_token_type\` must be ${ACCESS_TOKEN}`)
  }
  if (params.actor_token !== undefined || params.actor_token_type !== undefined) {
    return fault('invalid_request', 'the actor is the agent of the lease; leave `actor_token` out')
  }
  if (params.scope !== undefined) {
    const how = 'a subagent has a lease of its own: write it in `authorization_details`'
    return fault('invalid_scope', how)
  }
  return checkTarget(request, parts)
}

/** The badge that is exchanged, if this client may use it. */
async function subjectOf(
  { params, client, jkt }: TokenRequest,
  { badges }: ExchangeParts,
): Promise<Result<Badge, OAuthFault>> {
  const badge = await badges.verify(params.subject_token ?? '')
  if (badge === null) {
    return fault('invalid_request', 'the subject token is no badge of ours, or has expired')
  }
  // Where a badge was made out to a client, another one must not use it (RFC 8693 §5).
  const isBare = badge.client === badge.agent
  if (!isBare && badge.client !== client) {
    return fault('invalid_request', 'the subject token was issued to another client')
  }
  if (badge.jkt !== null && badge.jkt !== jkt) {
    return fault(
      'invalid_dpop_proof',
      'the subject token is bound to a key: prove that you have it',
    )
  }
  return ok(badge)
}

async function openChild(
  details: string | undefined,
  parent: Badge,
  parts: ExchangeParts & { readonly authority: Authority },
): Promise<Result<RunId, OAuthFault>> {
  const lease = leaseIn(details, parts)
  if (!lease.ok) return lease
  const opened = await delegate(parts, { parent: parent.run, lease: lease.value })
  return opened.ok ? ok(opened.value.run) : refusedAs(errorOf(opened.error.code), opened.error)
}

/** The lease of the one object of the details: its other fields are those of a lease file. */
function leaseIn(
  text: string | undefined,
  { url }: { readonly url: string },
): Result<LeaseFields, OAuthFault> {
  const invalid = (why: string) => fault('invalid_authorization_details', why)
  if (text === undefined) return invalid('`authorization_details` must hold the narrower lease')
  // Two readers must not understand it differently (threat 9): one has read it before us.
  const read = parseStrictJson(text, { depthMax: DEPTH_MAX, numbers: 'exact' })
  if (!read.ok) return invalid(`\`authorization_details\` is not sound JSON: ${read.error.fault}`)
  const details = read.value
  const only: unknown = Array.isArray(details) && details.length === 1 ? details[0] : null
  if (typeof only !== 'object' || only === null || Array.isArray(only)) {
    return invalid('`authorization_details` must hold one object: a badge is for one lease')
  }
  const { type, locations } = only as Record<string, unknown>
  if (type !== LEASE_TYPE) return invalid(`the type must be \`${LEASE_TYPE}\``)
  if (locations !== undefined && canonicalJson(locations as never) !== here(url)) {
    return invalid(`\`locations\` must be ${audienceOf(url)} alone`)
  }
  return ok(Object.fromEntries(Object.entries(only).filter(([name]) => !DETAIL_NAMES.has(name))))
}

function here(url: string): string {
  return canonicalJson([audienceOf(url)])
}

/** What the client wrote is wrong, rather than that it may not delegate, or no longer. */
const ABOUT_DETAILS: ReadonlySet<RefusalCode> = new Set<RefusalCode>([
  ...(['malformed', 'not_narrower', 'budget_exceeds_parent', 'request_expired'] as const),
])
const ABOUT_PARENT: ReadonlySet<RefusalCode> = new Set<RefusalCode>([
  ...(['lease_not_active', 'lease_ended', 'run_unknown', 'tree_closed'] as const),
])

function errorOf(code: RefusalCode): string {
  if (ABOUT_DETAILS.has(code)) return 'invalid_authorization_details'
  return ABOUT_PARENT.has(code) ? 'invalid_grant' : 'access_denied'
}

/** A child that this parent has asked for before: its lease is as it was then. */
async function knownChild(
  id: string,
  parent: Badge,
  authority: Authority,
): Promise<Result<RunId, OAuthFault>> {
  const run = (await authority.find(id as RunId))?.run
  if (run?.parent === parent.run) return ok(run.id)
  return fault('invalid_request', '`run` names no subagent of this badge')
}
