import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Provider } from 'oidc-provider'
import { PROOF_ALGORITHMS } from '../../badge/dpop.ts'
import { badgeLifeMs } from '../badges.ts'
import { LEASE_TYPE } from './clients.ts'
import type { Consent } from './consent.ts'
import { messagePage } from './consent-page.ts'
import { redirect, sendPage, sendPublicJson } from './http.ts'
import { audienceOf, type OAuthParts } from './parts.ts'
import { ROUTES } from './routes.ts'

const RESOURCE_METADATA = '/.well-known/oauth-protected-resource'
const SERVER_METADATA = '/.well-known/oauth-authorization-server'
const OPENID_METADATA = '/.well-known/openid-configuration'

/** Adds what oidc-provider does not do itself, such as token exchange. Called for each provider. */
export type Extend = (provider: Provider) => void

export interface OAuth {
  /** Whether a path is one of the authorization server's. */
  serves(path: string): boolean
  /** Serves a request of such a path. Answers whatever happens. */
  handle(req: IncomingMessage, res: ServerResponse): void
}

/** What takes a moment to load, and most processes never need. */
interface Server {
  /** The provider that signs with today's key. */
  readonly provider: () => Provider
  readonly consent: Consent
}

/**
 * The OAuth 2.1 authorization server whose consent page is the lease prompt: `/oauth/*`,
 * `/consent/*`, and the metadata of RFC 8414 and RFC 9728.
 */
export function createOAuth(parts: OAuthParts, extend: Extend = () => {}): OAuth {
  let loading: Promise<Server> | null = null
  const server = (): Promise<Server> => {
    loading ??= load(parts, extend)
    return loading
  }
  const handle = (req: IncomingMessage, res: ServerResponse): void => {
    serve(parts, { req, res, server }).catch(() => {
      if (res.headersSent) res.destroy()
      else sendPage(res, 500, messagePage('That failed', 'Nothing was allowed. Try again.'))
    })
  }
  return { serves, handle }
}

async function load(parts: OAuthParts, extend: Extend): Promise<Server> {
  const [{ createProvider }, { Consent }] = await Promise.all([
    import('./provider.ts'),
    import('./consent.ts'),
  ])
  let current: { readonly kid: string; readonly provider: Provider } | null = null
  const provider = (): Provider => {
    const { kid } = parts.keys.signing
    if (current?.kid === kid) return current.provider
    const made = createProvider(parts)
    extend(made)
    current = { kid, provider: made }
    return made
  }
  return { provider, consent: new Consent(parts, provider) }
}

function serves(path: string): boolean {
  const roots = [RESOURCE_METADATA, SERVER_METADATA, OPENID_METADATA]
  const isMetadata = roots.some((root) => path === root || path.startsWith(`${root}/`))
  return isMetadata || path.startsWith('/oauth/') || path.startsWith('/consent/')
}

/** The well-known address itself, or with the path of the resource behind it (RFC 8414 §3.1). */
function isAt(path: string, root: string): boolean {
  return path === root || path === `${root}/mcp`
}

async function serve(
  parts: OAuthParts,
  to: {
    readonly req: IncomingMessage
    readonly res: ServerResponse
    readonly server: () => Promise<Server>
  },
): Promise<void> {
  const { req, res, server } = to
  const path = (req.url ?? '/').split('?', 1)[0]!
  if (path.startsWith('/consent/')) await (await server()).consent.serve(req, res)
  else if (isAt(path, RESOURCE_METADATA)) sendPublicJson(res, resourceMetadata(parts))
  else if (path === ROUTES.jwks && req.method === 'GET') {
    const overlapMs = badgeLifeMs(parts.leaseSecondsMax)
    sendPublicJson(res, parts.keys.jwks({ now: parts.clock(), overlapMs }))
  } else if (path === ROUTES.code_verification && req.method === 'GET') {
    // With the code in the address, one press would be enough for somebody else's device.
    if (req.url !== path) redirect(res, path)
    else await callProvider((await server()).provider(), parts, { req, res })
  } else {
    // The metadata of older clients, which look below the resource or for OpenID Connect.
    if (isAt(path, SERVER_METADATA) || isAt(path, OPENID_METADATA)) req.url = SERVER_METADATA
    await callProvider((await server()).provider(), parts, { req, res })
  }
}

async function callProvider(
  provider: Provider,
  { url }: OAuthParts,
  { req, res }: { req: IncomingMessage; res: ServerResponse },
): Promise<void> {
  // oidc-provider believes these; here they say what our own URL says.
  const { protocol, host } = new URL(url)
  req.headers['x-forwarded-proto'] = protocol.slice(0, -1)
  req.headers['x-forwarded-host'] = host
  delete req.headers['x-forwarded-for']
  if ((req.url ?? '').startsWith(ROUTES.authorization)) dropSession(req)
  await provider.callback()(req, res)
}

/** Nobody is signed in with oidc-provider: each page asks our own sessions. */
function dropSession(req: IncomingMessage): void {
  const cookies = (req.headers.cookie ?? '').split(/; */)
  req.headers.cookie = cookies.filter((each) => !each.startsWith('_session')).join('; ')
}

/** RFC 9728: what a client finds after a 401. */
function resourceMetadata({ url, settings }: OAuthParts) {
  return {
    resource: audienceOf(url),
    resource_name: 'Daypass',
    authorization_servers: [url],
    bearer_methods_supported: ['header'],
    authorization_details_types_supported: [LEASE_TYPE],
    dpop_signing_alg_values_supported: PROOF_ALGORITHMS,
    ...(settings.requireDpop ? { dpop_bound_access_tokens_required: true } : {}),
  }
}
