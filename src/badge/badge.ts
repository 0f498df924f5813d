import { hash, type KeyObject } from 'node:crypto'
import { type JWTPayload, jwtVerify, SignJWT } from 'jose'
import type { Instant, LeaseId, OrgId, RunId, TreeId } from '../core/id.ts'
import { DEPTH_MAX } from '../core/limits.ts'
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
  /** `client_id`: the OAuth client that asked for it; where none did, the agent. */
  readonly client: string
  /** `act.sub`: the agent of the run. */
  readonly agent: string
  /**
   * The nested `act`: who delegated, from the parent to the root. They inform, nobody is judged.
   */
  readonly above: readonly Acting[]
  /**
   * `cnf.jkt`: thumbprint of the key of which each use needs a proof (RFC 9449); null: a bearer.
   */
  readonly jkt: string | null
  readonly issuedAt: Instant
  readonly expiresAt: Instant
}

/** An agent of the chain, and the run it acts in. */
export interface Acting {
  readonly agent: string
  readonly run: RunId
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

/** RFC 9396: the type of authorization details that say what a lease is. */
export const LEASE_DETAILS = 'daypass_lease'

/** RFC 9068 §2.1: tells an access token from an ID token that the same key signed. */
const TYPE = 'at+jwt'
const ALGORITHM = 'EdDSA'

export interface IssueOptions {
  readonly key: BadgeKey
  readonly issuer: string
  readonly audience: string
  /** Drawn by the caller. */
  readonly jti: string
  /** Of the lease when the badge was issued. It informs: the lease may have been amended since. */
  readonly revision: number
}

/** Signs a badge (RFC 9068 §2.2). Times are rounded to whole seconds, the expiry up. */
export function issueBadge(badge: Badge, options: IssueOptions): Promise<string> {
  return new SignJWT(claimsOf(badge, options))
    .setProtectedHeader({ alg: ALGORITHM, typ: TYPE, kid: options.key.kid })
    .setIssuer(options.issuer)
    .setAudience(options.audience)
    .setJti(options.jti)
    .sign(options.key.privateKey)
}

function claimsOf(badge: Badge, { audience, revision }: IssueOptions): JWTPayload {
  const { org, tree, run, lease, jkt } = badge
  const details = { type: LEASE_DETAILS, locations: [audience], identifier: lease, revision }
  return {
    ...{ org, tree, run, lease },
    sub: badge.requester,
    client_id: badge.client,
    act: actOf([{ agent: badge.agent, run }, ...badge.above]),
    authorization_details: [details],
    ...(jkt === null ? {} : { cnf: { jkt } }),
    iat: Math.floor(badge.issuedAt / 1000),
    exp: Math.ceil(badge.expiresAt / 1000),
  }
}

/** RFC 8693 §4.1: the outermost is who acts now, those within are who acted before. */
export function actOf([first, ...rest]: readonly Acting[]): object | undefined {
  if (first === undefined) return undefined
  const before = actOf(rest)
  return { sub: first.agent, run: first.run, ...(before === undefined ? {} : { act: before }) }
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
        currentDate: new Date(now),
        requiredClaims: ['aud', 'exp', 'iat', 'jti', 'sub', 'client_id', 'org', 'act'],
      },
    )
    // One audience, not one of several: a badge for the gateway is a badge for nothing else.
    if (payload.aud !== verifier.audience) return err('bad_signature')
    const badge = badgeOf(payload)
    return badge === null ? err('malformed') : ok(badge)
  } catch (error) {
    const code = (error as { code?: string }).code
    return err(code === 'ERR_JWT_EXPIRED' ? 'expired' : fault)
  }
}

function badgeOf(payload: JWTPayload): Badge | null {
  const { org, tree, run, lease, sub, client_id: client, exp, iat } = payload
  const chain = actorsOf(payload.act)
  const jkt = payload.cnf === undefined ? null : (payload.cnf as { jkt?: unknown })?.jkt
  if (!isText(org) || !isText(sub) || !isText(client) || chain === null) return null
  if (!isId(tree, 'tree_') || !isId(run, 'run_') || !isId(lease, 'lease_')) return null
  // A binding that is not understood must not be taken for none.
  if (jkt !== null && !isText(jkt)) return null
  const [own, ...above] = chain
  if (own?.run !== run) return null
  return {
    org,
    tree: tree as TreeId,
    run: run as RunId,
    lease: lease as LeaseId,
    requester: sub,
    client,
    agent: own.agent,
    above,
    jkt,
    issuedAt: iat! * 1000,
    expiresAt: exp! * 1000,
  }
}

/** The chain of actors; null: it is none. */
function actorsOf(act: unknown): Acting[] | null {
  const actors: Acting[] = []
  for (let next = act; next !== undefined; ) {
    const { sub, run, act: before } = (next ?? {}) as Record<string, unknown>
    if (!isText(sub) || !isId(run, 'run_') || actors.length > DEPTH_MAX) return null
    actors.push({ agent: sub, run: run as RunId })
    next = before
  }
  return actors
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
