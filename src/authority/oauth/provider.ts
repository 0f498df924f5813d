import {
  type AccessToken,
  type AdapterPayload,
  type Client,
  type ClientCredentials,
  type Configuration,
  errors,
  interactionPolicy,
  type KoaContextWithOIDC,
  Provider,
  type RefreshToken,
} from 'oidc-provider'
import { GRANT_TYPES, LEASE_TYPE, normalizeClient } from './clients.ts'
import { devicePages } from './device-page.ts'
import { errorPage } from './error-page.ts'
import { isChainUsable } from './introspect.ts'
import { audienceOf, type OAuthParts, readAccount, runOf } from './parts.ts'
import { publicFetch } from './public-fetch.ts'
import { ROUTES } from './routes.ts'
import { sealWith } from './seal.ts'
import { storageOf } from './storage.ts'
import { badgeFor, detailsFor, grantSeconds, resourceServerFor, rotate } from './tokens.ts'
import { readWish } from './wish.ts'

const CODE_SECONDS = 60
/** From the request of a device to its badge, a person's answer included. */
const DEVICE_SECONDS = 900
/** A page that waits for a person. */
const INTERACTION_SECONDS = 3_600
/** Sessions of oidc-provider hold the form of a device's code, and nobody's sign-in. */
const SESSION_SECONDS = 600
/** What is fetched of a client, in bytes. */
const KEYS_BYTES_MAX = 64 * 1024
const DOCUMENT_BYTES_MAX = 16 * 1024

/**
 * The authorization server: oidc-provider, held to what OAuth 2.1 and MCP ask for. It signs with
 * one key; after a rotation another provider is made, on the same storage.
 */
export function createProvider(parts: OAuthParts): Provider {
  const provider = new Provider(parts.url, configurationOf(parts))
  // Whether the way here was encrypted is what our URL says, and no client's header.
  provider.proxy = true
  provider.use(async (ctx, next) => {
    await next()
    // What leases there are is for people who are signed in. And `openid` is no scope of ours.
    const { oidc, body } = ctx as KoaContextWithOIDC & { body: { scopes_supported?: string[] } }
    if (oidc?.route === 'discovery') delete body.scopes_supported
    if (ctx.status !== 404 || body !== undefined) return
    ctx.status = 404
    ctx.body = { error: 'invalid_request', error_description: 'there is no such endpoint' }
  })
  return provider
}

function configurationOf(parts: OAuthParts): Configuration {
  const { keys, settings, store, clock } = parts
  const seconds = grantSeconds(parts)
  const signing = keys.signing.privateKey.export({ format: 'jwk' })
  return {
    adapter: storageOf({
      store,
      clock,
      seal: sealWith(keys.derive('oauth artifacts')),
      grantEnded: (grant) => endRun(grant, parts),
    }),
    clients: [...parts.clients],
    jwks: { keys: [{ ...signing, kid: keys.signing.kid, alg: 'EdDSA', use: 'sig' }] },
    cookies: {
      keys: [keys.derive('oauth cookies').toString('base64url')],
      short: { httpOnly: true, sameSite: 'lax', signed: true },
      long: { httpOnly: true, sameSite: 'lax', signed: true },
    },
    routes: ROUTES,
    scopes: [],
    responseTypes: ['code'],
    pkce: { required: () => true },
    clientAuthMethods: ['none', 'client_secret_basic', 'client_secret_post', 'private_key_jwt'],
    clientDefaults: { id_token_signed_response_alg: 'EdDSA' },
    extraClientMetadata: {
      // Names that RFC 7591 has and we do not read: with them, every client passes the validator.
      properties: ['software_id', 'software_version'],
      validator: (_, __, ___, metadata) => checkClient(metadata, settings),
    },
    enabledJWA: { clientAuthSigningAlgValues: ['ES256', 'PS256', 'RS256', 'Ed25519', 'EdDSA'] },
    features: featuresOf(parts),
    formats: { customizers: { jwt: badgeFor(parts) } },
    ttl: {
      AccessToken: (_, token) => token.resourceServer?.accessTokenTTL ?? CODE_SECONDS,
      AuthorizationCode: CODE_SECONDS,
      DeviceCode: DEVICE_SECONDS,
      Interaction: INTERACTION_SECONDS,
      Session: SESSION_SECONDS,
      Grant: seconds,
      RefreshToken: seconds,
    },
    // Each authorization is a run of its own, so no earlier yes stands for a new one (threat 43).
    loadExistingGrant: async (ctx) => {
      const grantId = ctx.oidc.result?.consent?.grantId
      return grantId === undefined ? undefined : ctx.oidc.provider.Grant.find(grantId)
    },
    interactions: { policy: leasePolicy(), url: (_, { uid }) => `/consent/${uid}` },
    expiresWithSession: () => false,
    issueRefreshToken: (_, client) => client.grantTypeAllowed(GRANT_TYPES.refresh),
    rotateRefreshToken: rotate(parts),
    findAccount: (_, id) => ({ accountId: id, claims: async () => ({ sub: id }) }),
    fetch: publicFetch(parts.publicFetch),
    fetchResponseBodyLimits: {
      'client_id metadata document': DOCUMENT_BYTES_MAX,
      jwks_uri: KEYS_BYTES_MAX,
      sector_identifier_uri: KEYS_BYTES_MAX,
    },
    renderError: errorPage,
  }
}

function featuresOf(parts: OAuthParts): Configuration['features'] {
  const { keys, settings, url } = parts
  return {
    devInteractions: { enabled: false },
    userinfo: { enabled: false },
    rpInitiatedLogout: { enabled: false },
    pushedAuthorizationRequests: { enabled: true },
    introspection: { enabled: true, allowedPolicy: mayKnow(parts) },
    revocation: {
      enabled: true,
      allowedPolicy: (_, client, { clientId }) => clientId === client.clientId,
    },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => audienceOf(url),
      useGrantedResource: () => true,
      getResourceServerInfo: resourceServerFor(parts),
    },
    richAuthorizationRequests: {
      enabled: true,
      types: { [LEASE_TYPE]: { validate: checkDetails } },
      authorizationDetailsForGrantSource: (ctx) => ctx.oidc.grant?.rar,
      authorizationDetailsForAccessToken: detailsFor(parts),
      authorizationDetailsForIntrospection: (_, token) => token.rar,
    },
    dPoP: { enabled: true, nonceSecret: keys.derive('dpop nonce'), requireNonce: () => false },
    deviceFlow: { enabled: true, charset: 'base-20', mask: '****-****', ...devicePages },
    registration: {
      enabled: settings.dynamicRegistration,
      initialAccessToken: false,
      issueRegistrationAccessToken: false,
    },
    clientIdMetadataDocument: {
      enabled: settings.clientMetadata,
      ack: 'draft-02',
      // What may be fetched is decided where the connection is made: see `publicFetch`.
      allowFetch: async () => true,
    },
  }
}

/**
 * One thing is asked: whether this run may be. Sign-in is part of the page, and not remembered
 * here; a client that asks for a fresh one gets the same page.
 */
function leasePolicy(): interactionPolicy.Prompt[] {
  const { Check, Prompt } = interactionPolicy
  const why = 'a person must say yes to each run'
  const lease = new Check('lease', why, 'consent_required', (ctx) => {
    return ctx.oidc.result?.consent === undefined
  })
  const login = new Prompt({ name: 'login', requestable: true })
  return [login, new Prompt({ name: 'consent', requestable: true }, lease)]
}

/** Refresh tokens: of the client itself, and no longer than the run they are for can act. */
function mayKnow(parts: OAuthParts) {
  return async (
    _: unknown,
    client: Client,
    token: AccessToken | RefreshToken | ClientCredentials,
  ) => {
    const { clientId, rar, accountId } = token as RefreshToken
    const run = runOf(rar)
    if (clientId !== client.clientId || run === null || accountId === undefined) return false
    const found = await parts.authorityOf(readAccount(accountId).org).find(run)
    return found !== null && isChainUsable(found.tree, found.run, parts.clock())
  }
}

/** At the token endpoint, `detailsFor` refuses them, and token exchange reads its own. */
function checkDetails(ctx: KoaContextWithOIDC): void {
  if (ctx.oidc.route === 'token') return
  const { scope, authorization_details: text } = ctx.oidc.params as Record<string, string>
  const wish = readWish(scope, JSON.parse(text ?? '[]'))
  if (!wish.ok) throw new errors.InvalidAuthorizationDetails(wish.error)
}

/** A code or a refresh token was used twice: whoever has a badge of the run keeps no use of it. */
async function endRun(grant: AdapterPayload, parts: OAuthParts): Promise<void> {
  const run = runOf(grant.rar)
  if (run === null || grant.accountId === undefined) return
  const reason = 'a code or a refresh token of it was used twice: one of the two was stolen'
  // Refused: it is over already.
  const authority = parts.authorityOf(readAccount(grant.accountId).org)
  await authority.revoke(run, { by: { server: 'oauth' }, reason })
}

function checkClient(metadata: object, settings: OAuthParts['settings']): void {
  if (normalizeClient(metadata as Record<string, unknown>, settings)) return
  const refused = new errors.InvalidRedirectUri()
  refused.error_description =
    'a redirect URI must be https, http on a loopback address, or the scheme of a known program'
  throw refused
}
