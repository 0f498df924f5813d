import { hash, type KeyObject } from 'node:crypto'
import { jwtVerify, SignJWT } from 'jose'
import type { Instant, LeaseId, OrgId, RunId, TreeId } from '../core/id.ts'
import { err, ok, type Result } from '../core/result.ts'

/**
 * The badge: an RFC 9068 access token that names a lease. It points at authority and is none
 * itself: every use is decided on the state of the run tree. It is useless after the run.
 */

/** What a badge says once its signature, issuer, audience and time are checked. Made only here. */
export interface Badge {
  readonly org: OrgId
  readonly tree: TreeId
  readonly run: RunId
  readonly lease: LeaseId
  /** `sub`: the requester. */
  readonly requester: string
  /** `client_id`: the agent. */
  readonly agent: string
  readonly expiresAt: Instant
}

export interface BadgeKey {
  readonly kid: string
  readonly privateKey: KeyObject
}

export interface BadgeVerifier {
  readonly issuer: string
  readonly audience: string
  /** Null: unknown `kid`. Keys never come from the token (`jku`, `jwk` are ignored; threat 47). */
  readonly keyOf: (kid: string) => KeyObject | null
}

export type BadgeFault = 'malformed' | 'unknown_key' | 'bad_signature' | 'expired'

/** RFC 9068 §2.1: tells an access token from an ID token that the same key signed. */
const TYPE = 'at+jwt'
const ALGORITHM = 'EdDSA'

/** Signs a badge (RFC 9068 §2.2). `jti` is drawn by the caller. */
export function issueBadge(
  badge: Badge,
  options: { key: BadgeKey; issuer: string; audience: string; now: Instant; jti: string },
): Promise<string> {
  const { org, tree, run, lease } = badge
  return new SignJWT({ org, tree, run, lease, client_id: badge.agent })
    .setProtectedHeader({ alg: ALGORITHM, typ: TYPE, kid: options.key.kid })
    .setIssuer(options.issuer)
    .setAudience(options.audience)
    .setSubject(badge.requester)
    .setIssuedAt(Math.floor(options.now / 1000))
    .setExpirationTime(Math.ceil(badge.expiresAt / 1000))
    .setJti(options.jti)
    .sign(options.key.privateKey)
}

/** Verifies a badge (RFC 9068 §4): type, algorithm, key, signature, issuer, audience, expiry. */
export async function verifyBadge(
  token: string,
  verifier: BadgeVerifier,
  now: Instant,
): Promise<Result<Badge, BadgeFault>> {
  let fault: BadgeFault = 'bad_signature'
  try {
    const { payload } = await jwtVerify(
      token,
      ({ kid }) => {
        const key = typeof kid === 'string' ? verifier.keyOf(kid) : null
        if (key !== null) return key
        fault = 'unknown_key'
        throw new Error('unknown key')
      },
      {
        algorithms: [ALGORITHM],
        typ: TYPE,
        issuer: verifier.issuer,
        audience: verifier.audience,
        currentDate: new Date(now),
        requiredClaims: ['exp', 'iat', 'jti', 'sub', 'client_id', 'org', 'tree', 'run', 'lease'],
      },
    )
    const { org, tree, run, lease, sub, client_id: agent, exp } = payload
    if (!isText(org) || !isText(sub) || !isText(agent)) return err('malformed')
    if (!isId(tree, 'tree_') || !isId(run, 'run_') || !isId(lease, 'lease_'))
      return err('malformed')
    return ok({
      org,
      tree: tree as TreeId,
      run: run as RunId,
      lease: lease as LeaseId,
      requester: sub,
      agent,
      expiresAt: exp! * 1000,
    })
  } catch (error) {
    const code = (error as { code?: string }).code
    return err(code === 'ERR_JWT_EXPIRED' ? 'expired' : fault)
  }
}

/** By what a verified badge is looked up again: tokens themselves are not kept (threat 52). */
export function tokenHash(token: string): string {
  return hash('sha256', token, 'base64url')
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== ''
}

function isId(value: unknown, prefix: string): value is string {
  return typeof value === 'string' && value.startsWith(prefix)
}
