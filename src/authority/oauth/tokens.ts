import { decodeJwt } from 'jose'
import {
  type AccessToken,
  type AuthorizationDetail,
  type ClientCredentials,
  errors,
  type Grant,
  type JWTStructured,
  type KoaContextWithOIDC,
  type ResourceServer,
} from 'oidc-provider'
import type { Terms } from '../../core/lease.ts'
import { LEASE_TYPE } from './clients.ts'
import { audienceOf, type OAuthParts, readAccount, runOf } from './parts.ts'

/**
 * What the authorization server hands out is the badge of a run. What a badge says comes from
 * `BadgeOffice`, and only while the lease of the run is active; oidc-provider signs it with the
 * same key.
 */

/**
 * How long a badge lives whose client can get another. One that cannot gets it for as long as its
 * lease can live.
 */
const RENEWED_SECONDS = 3_600
/** A code or a refresh token is good a little longer than its run, to say why there is no badge. */
const MARGIN_SECONDS = 600

export function grantSeconds({ leaseSecondsMax }: Pick<OAuthParts, 'leaseSecondsMax'>): number {
  return leaseSecondsMax + MARGIN_SECONDS
}

type Ctx = KoaContextWithOIDC

/** RFC 8707: this gateway is the only resource there is a token for. */
export function resourceServerFor(parts: OAuthParts) {
  return (ctx: Ctx, resource: string): ResourceServer => {
    if (resource !== audienceOf(parts.url)) {
      throw new errors.InvalidTarget(`tokens are for ${audienceOf(parts.url)} only`)
    }
    const canRenew = ctx.oidc.client?.grantTypeAllowed('refresh_token') === true
    return {
      scope: parts.templates
        .all()
        .map(({ scope }) => scope)
        .join(' '),
      audience: resource,
      accessTokenFormat: 'jwt',
      accessTokenTTL: canRenew ? RENEWED_SECONDS : grantSeconds(parts),
      jwt: { sign: { alg: 'EdDSA', kid: parts.keys.signing.kid } },
    }
  }
}

/** Makes the token the badge of its grant's run. Throws `invalid_grant` when there is none. */
export function badgeFor(parts: OAuthParts) {
  return async (
    ctx: Ctx,
    token: AccessToken | ClientCredentials,
    made: JWTStructured,
  ): Promise<void> => {
    const grant = ctx.oidc.entities.Grant
    // A grant type of its own (token exchange, machines) makes its own claims.
    if (grant === undefined || token.kind !== 'AccessToken') return
    const { authority, run } = runOfGrant(grant, parts)
    const jkt = (token as AccessToken & { jkt?: string }).jkt ?? null
    if (parts.settings.requireDpop && jkt === null) {
      throw new errors.InvalidDpopProof('badges are bound to a key here: send a DPoP proof')
    }
    const issued = await authority.badgeFor(run, { client: token.clientId ?? null, jkt })
    if (!issued.ok) throw new errors.InvalidGrant(issued.error.message)
    const claims = decodeJwt(issued.value.token)
    const { scope, exp } = made.payload
    made.payload = {
      ...claims,
      ...(scope === undefined ? {} : { scope }),
      exp: Math.min(claims.exp!, exp as number),
    }
  }
}

/** A refresh token is used up only if there is a badge to give for it. */
export function rotate(parts: OAuthParts) {
  return async (ctx: Ctx): Promise<boolean> => {
    const { authority, run } = runOfGrant(ctx.oidc.entities.Grant, parts)
    const lease = (await authority.find(run))?.run.lease
    if (lease?.state === 'active' && parts.clock() < lease.expiresAt!) return true
    throw new errors.InvalidGrant('the lease of this run is not active')
  }
}

/** What the lease is, as the token response says it (RFC 9396 §7.1). It informs. */
export function detailsFor(parts: OAuthParts) {
  return async (ctx: Ctx): Promise<AuthorizationDetail[]> => {
    if (ctx.oidc.params?.authorization_details !== undefined) {
      const why = 'a badge is for the lease that was approved; ask for another run'
      throw new errors.InvalidAuthorizationDetails(why)
    }
    const { authority, run } = runOfGrant(ctx.oidc.entities.Grant, parts)
    const lease = (await authority.find(run))?.run.lease
    if (lease == null) throw new errors.InvalidGrant('this run has no lease')
    const { id: identifier, revision, terms } = lease
    const about = { identifier, run, revision, actions: actionsOf(terms) }
    return [{ type: LEASE_TYPE, locations: [audienceOf(parts.url)], ...about }]
  }
}

function actionsOf({ grants }: Terms): string[] {
  return [...new Set(grants.flatMap(({ actions }) => actions))]
}

function runOfGrant(grant: Grant | undefined, parts: OAuthParts) {
  const run = runOf(grant?.rar)
  if (grant?.accountId === undefined || run === null) {
    throw new errors.InvalidGrant('this grant is for no run')
  }
  return { run, authority: parts.authorityOf(readAccount(grant.accountId).org) }
}
