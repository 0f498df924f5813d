import type { KoaContextWithOIDC, Provider } from 'oidc-provider'
import { SeenProofs, verifyProof } from '../../badge/dpop.ts'
import { ok, type Result } from '../../core/result.ts'
import { clientCredentials, MACHINE_PARAMS, type MachineGrantParts } from './client-credentials.ts'
import { GRANT_TYPES } from './clients.ts'
import { EXCHANGE_PARAMS, type ExchangeParts, exchange } from './exchange.ts'
import { fault, faultBody, type OAuthFault, type TokenAnswer, type TokenRequest } from './grant.ts'
import { HOLDER_CLIENT, introspect } from './introspect.ts'
import { revoke } from './revoke.ts'

export interface OwnGrantParts extends ExchangeParts, MachineGrantParts {
  /** Every badge is bound to a key of its client. */
  readonly requireDpop: boolean
}

/** The client of whoever has a badge and no client of their own: a badge proves itself. */
export const HOLDER = {
  client_id: HOLDER_CLIENT,
  token_endpoint_auth_method: 'none',
  grant_types: [GRANT_TYPES.exchange],
  redirect_uris: [],
  response_types: [],
} as const

type Grant = (request: TokenRequest) => Promise<TokenAnswer>

/**
 * Adds what oidc-provider does not do: our grant types, and introspection and revocation of badges.
 * It has authenticated the client by then, in each of these.
 */
export function registerOwn(provider: Provider, parts: OwnGrantParts): void {
  const seen = new SeenProofs(parts.clock())
  const add = (type: string, names: readonly string[], grant: Grant) => {
    const handler = async (ctx: KoaContextWithOIDC) => answer(ctx, grant, { seen, ...parts })
    provider.registerGrantType(type, handler, [...names])
  }
  add(GRANT_TYPES.exchange, EXCHANGE_PARAMS, (request) => exchange(request, parts))
  add(GRANT_TYPES.machine, MACHINE_PARAMS, (request) => clientCredentials(request, parts))
  provider.use(async (ctx, next) => {
    await next()
    const { oidc } = ctx as KoaContextWithOIDC
    if (isAboutBadge(ctx as KoaContextWithOIDC, 'introspection')) {
      ctx.status = 200
      ctx.body = await introspect(tokenOf(oidc), oidc.client!.clientId, badgeParts(parts))
    } else if (isAboutBadge(ctx as KoaContextWithOIDC, 'revocation')) {
      const done = await revoke(tokenOf(oidc), oidc.client!.clientId, badgeParts(parts))
      ctx.status = done.ok ? 200 : 400
      ctx.body = done.ok ? '' : faultBody(done.error)
    }
  })
}

function badgeParts(parts: OwnGrantParts) {
  return { ...parts, machineNamed: (client: string) => parts.machines.named(client) }
}

/**
 * oidc-provider refuses structured tokens at both endpoints, once it knows the client and that
 * there is a token. Those are ours to answer.
 */
function isAboutBadge(ctx: KoaContextWithOIDC, route: string): boolean {
  const isRefused = (ctx.body as { error?: string } | null)?.error === 'unsupported_token_type'
  return ctx.oidc?.route === route && isRefused && ctx.oidc.client !== undefined
}

function tokenOf({ params }: KoaContextWithOIDC['oidc']): string {
  return params!.token as string
}

interface Answering extends OwnGrantParts {
  readonly seen: SeenProofs
}

async function answer(ctx: KoaContextWithOIDC, grant: Grant, parts: Answering): Promise<void> {
  const jkt = await provenKey(ctx, parts)
  const params = ctx.oidc.params as TokenRequest['params']
  const client = ctx.oidc.client!.clientId
  const answered = jkt.ok ? await grant({ params, client, jkt: jkt.value }) : jkt
  ctx.status = answered.ok ? 200 : 400
  ctx.body = answered.ok ? answered.value : faultBody(answered.error)
}

/**
 * The key to which the token is to be bound (RFC 9449 §5); null: a bearer is wanted, and allowed.
 */
async function provenKey(
  ctx: KoaContextWithOIDC,
  { seen, clock, requireDpop, url }: Answering,
): Promise<Result<string | null, OAuthFault>> {
  const proof = ctx.get('dpop')
  if (proof === '') {
    const isNeeded = requireDpop || ctx.oidc.client!.dpopBoundAccessTokens === true
    if (!isNeeded) return ok(null)
    return fault('invalid_dpop_proof', 'tokens are bound to a key here: send a DPoP proof')
  }
  const request = { proof, method: ctx.method, url: `${url}${ctx.path}`, use: null }
  const proven = await verifyProof(request, seen, clock())
  if (proven.ok) return proven
  return fault('invalid_dpop_proof', `the DPoP proof is not good: ${proven.error}`)
}
