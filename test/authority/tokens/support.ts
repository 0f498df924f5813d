import * as oauth from 'oauth4webapi'
import type { House } from '../../door/support/house.ts'

/** A strict client that knows nothing of Daypass: what it gets is what the standards say. */

export const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange'
export const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token'
/** The client of whoever has a badge. */
export const HOLDER: oauth.Client = { client_id: 'daypass' }

export type KeyPair = Awaited<ReturnType<typeof oauth.generateKeyPair>>

export interface Caller {
  readonly client: oauth.Client
  readonly auth: oauth.ClientAuth
  readonly keys?: KeyPair
}

export const BARE: Caller = { client: HOLDER, auth: oauth.None() }

const insecure = { [oauth.allowInsecureRequests]: true }

export async function discover({ daypass }: House): Promise<oauth.AuthorizationServer> {
  const issuer = new URL(daypass.url)
  const response = await oauth.discoveryRequest(issuer, { algorithm: 'oauth2', ...insecure })
  return oauth.processDiscoveryResponse(issuer, response)
}

/** A request to the token endpoint; throws `ResponseBodyError` for an error of OAuth. */
export async function token(
  as: oauth.AuthorizationServer,
  caller: Caller,
  grant: string,
  params: Record<string, string>,
): Promise<oauth.TokenEndpointResponse> {
  const { client, auth, keys } = caller
  const dpop = keys === undefined ? {} : { DPoP: oauth.DPoP(client, keys) }
  const options = { ...insecure, ...dpop }
  const response = await oauth.genericTokenEndpointRequest(as, client, auth, grant, params, options)
  return oauth.processGenericTokenEndpointResponse(as, client, response)
}

export interface Refused {
  readonly error: string
  readonly error_description: string
  readonly reason?: string
  readonly run?: string
  readonly interval?: number
}

/** The error of a request that must not succeed. */
export async function refused(request: Promise<unknown>): Promise<Refused> {
  try {
    await request
  } catch (error) {
    if (error instanceof oauth.ResponseBodyError) return error.cause as unknown as Refused
    throw error
  }
  throw new Error('this should have been refused')
}

/** Delegation: the parent's badge for a child's with this lease. */
export function exchange(
  as: oauth.AuthorizationServer,
  badge: string,
  lease: Record<string, unknown>,
  more: { caller?: Caller; params?: Record<string, string> } = {},
): Promise<oauth.TokenEndpointResponse> {
  const details = JSON.stringify([{ type: 'daypass_lease', ...lease }])
  return token(as, more.caller ?? BARE, EXCHANGE, {
    ...{ subject_token: badge, subject_token_type: ACCESS_TOKEN, authorization_details: details },
    ...more.params,
  })
}

export async function introspect(
  as: oauth.AuthorizationServer,
  badge: string,
  { client, auth }: Caller = BARE,
): Promise<oauth.IntrospectionResponse> {
  const response = await oauth.introspectionRequest(as, client, auth, badge, insecure)
  return oauth.processIntrospectionResponse(as, client, response)
}

export async function revoke(
  as: oauth.AuthorizationServer,
  badge: string,
  { client, auth }: Caller = BARE,
): Promise<void> {
  const response = await oauth.revocationRequest(as, client, auth, badge, insecure)
  return oauth.processRevocationResponse(response)
}
