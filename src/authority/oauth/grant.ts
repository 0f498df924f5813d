import type { Refusal } from '../../core/reason.ts'
import { err, ok, type Result } from '../../core/result.ts'
import type { Run } from '../../core/tree.ts'
import type { IssuedBadge } from '../badges.ts'
import { LEASE_TYPE } from './clients.ts'
import { audienceOf } from './parts.ts'

/** What our own grant types and endpoints have in common. */

/** A request of a client that has authenticated. */
export interface TokenRequest {
  /** The form. A parameter that came twice has been refused. */
  readonly params: Readonly<Record<string, string | undefined>>
  readonly client: string
  /** Of the key that a DPoP proof of this request proves; null: there is no proof. */
  readonly jkt: string | null
}

/** An error of RFC 6749 §5.2, with what a program can read beside. */
export interface OAuthFault {
  readonly error: string
  readonly description: string
  readonly more?: Readonly<Record<string, string | number>>
}

export type TokenAnswer = Result<Readonly<Record<string, unknown>>, OAuthFault>

export function fault(error: string, description: string, more?: OAuthFault['more']) {
  return err({ error, description, ...(more === undefined ? {} : { more }) })
}

/** A refusal of the core, as the token endpoint says it. */
export function refusedAs(error: string, { code, message }: Refusal) {
  return fault(error, message, { reason: code })
}

/**
 * The body of an error. RFC 6749 §5.2: of printable ASCII, a description has neither quotation
 * marks nor backslashes.
 */
export function faultBody({ error, description, more }: OAuthFault): Record<string, unknown> {
  const plain = description
    .replaceAll('"', "'")
    .replaceAll('\\', '/')
    .replace(/[^\x20-\x7e]/g, '?')
  return { error, error_description: plain, ...more }
}

/** RFC 8707 §2, RFC 8693 §2.1: where a badge is for. It may be left out; there is one place. */
export function checkTarget(
  { params }: TokenRequest,
  { url }: { readonly url: string },
): Result<true, OAuthFault> {
  for (const name of ['resource', 'audience']) {
    const target = params[name]
    if (target === undefined || target === audienceOf(url)) continue
    return fault('invalid_target', `badges are for ${audienceOf(url)} only`)
  }
  return ok(true)
}

/** What a lease is, for whoever holds its badge (RFC 9396 §7.1). It informs. */
export function leaseDetails(run: Run, { url }: { readonly url: string }) {
  const { id: identifier, revision, terms } = run.lease!
  const { purpose, grants, deny, ask } = terms
  const actions = [...new Set(grants.flatMap((grant) => grant.actions))]
  const about = { identifier, run: run.id, revision, purpose, actions, grants, deny, ask }
  return { type: LEASE_TYPE, locations: [audienceOf(url)], ...about }
}

/** The answer with a badge (RFC 6749 §5.1): good for as long as its lease is now. */
export function badgeAnswer(
  badge: IssuedBadge,
  run: Run,
  of: { readonly url: string; readonly now: number; readonly jkt: string | null },
) {
  return {
    access_token: badge.token,
    token_type: of.jkt === null ? 'Bearer' : 'DPoP',
    expires_in: Math.max(0, Math.floor((run.lease!.expiresAt! - of.now) / 1000)),
    authorization_details: [leaseDetails(run, of)],
  }
}
