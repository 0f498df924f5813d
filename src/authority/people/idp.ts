import type { ClientAuth, Configuration } from 'openid-client'
import type { Instant } from '../../core/id.ts'
import { err, ok, type Result } from '../../core/result.ts'
import type { PeopleConfig } from '../config.ts'
import type { Claims } from './claims.ts'

type Oidc = typeof import('openid-client')

/** Loaded when somebody signs in: most processes never need it. */
const loadOidc = (): Promise<Oidc> => import('openid-client')

/** A person waits for it. */
const TIMEOUT_SECONDS = 10
/** Endpoints of a provider change rarely; its keys are fetched anew when one is unknown. */
const METADATA_MS = 3_600_000

/** What a sign-in that has begun must come back with. Secret: only this browser has it. */
export interface Attempt {
  readonly state: string
  readonly nonce: string
  readonly verifier: string
}

export type IdpFault =
  | { readonly kind: 'unreachable' }
  /** The provider said no, by an OAuth error code. */
  | { readonly kind: 'refused'; readonly code: string }
  /** What came back does not belong to this sign-in, or is not the provider's. */
  | { readonly kind: 'invalid' }

/**
 * Sign-in at the people's identity provider: OpenID Connect, authorization code with PKCE (RFC
 * 7636), `state`, `nonce`; `iss` of the answer is compared (RFC 9207, threat 45), the ID token's
 * signature is checked although it came over TLS.
 */
export class Idp {
  readonly #config: PeopleConfig
  readonly #redirectUri: string
  readonly #clock: () => Instant
  #metadata: { readonly found: Promise<Configuration>; readonly at: Instant } | null = null

  constructor(options: { config: PeopleConfig; redirectUri: string; clock: () => Instant }) {
    this.#config = options.config
    this.#redirectUri = options.redirectUri
    this.#clock = options.clock
  }

  /** Where to send the browser. `anew`: the person shall say again who they are. */
  async begin(options: {
    readonly anew: boolean
  }): Promise<Result<{ url: string; attempt: Attempt }, IdpFault>> {
    const oidc = await loadOidc()
    const [state, nonce] = [oidc.randomState(), oidc.randomNonce()]
    const verifier = oidc.randomPKCECodeVerifier()
    try {
      const url = oidc.buildAuthorizationUrl(await this.#provider(), {
        redirect_uri: this.#redirectUri,
        scope: 'openid email profile',
        state,
        nonce,
        code_challenge: await oidc.calculatePKCECodeChallenge(verifier),
        code_challenge_method: 'S256',
        ...(options.anew ? { prompt: 'login' } : {}),
      })
      return ok({ url: url.href, attempt: { state, nonce, verifier } })
    } catch (error) {
      return err(faultOf(error))
    }
  }

  /** What the provider says of the person. `query`: with which the browser came back. */
  async finish(query: string, attempt: Attempt): Promise<Result<Claims, IdpFault>> {
    const { authorizationCodeGrant, fetchUserInfo } = await loadOidc()
    const url = new URL(this.#redirectUri + query)
    try {
      const provider = await this.#provider()
      const tokens = await authorizationCodeGrant(provider, url, {
        pkceCodeVerifier: attempt.verifier,
        expectedState: attempt.state,
        expectedNonce: attempt.nonce,
        idTokenExpected: true,
      })
      const told = tokens.claims()!
      if (provider.serverMetadata().userinfo_endpoint === undefined) return ok(told)
      // Many providers keep e-mail and groups out of the ID token. `sub` is compared (§5.3.2).
      const more = await fetchUserInfo(provider, tokens.access_token, told.sub)
      return ok({ ...more, ...told })
    } catch (error) {
      return err(faultOf(error))
    }
  }

  #provider(): Promise<Configuration> {
    const now = this.#clock()
    if (this.#metadata === null || now - this.#metadata.at >= METADATA_MS) {
      const found = this.#discover()
      this.#metadata = { found, at: now }
      found.catch(() => {
        if (this.#metadata?.found === found) this.#metadata = null
      })
    }
    return this.#metadata.found
  }

  async #discover(): Promise<Configuration> {
    const oidc = await loadOidc()
    const { issuer, clientId, clientSecret } = this.#config
    const url = new URL(issuer)
    // The configuration takes http only for this machine.
    const execute = url.protocol === 'http:' ? [oidc.allowInsecureRequests] : []
    return oidc.discovery(url, clientId, {}, authBy(oidc, clientSecret.unsafeValue()), {
      execute: [...execute, oidc.enableNonRepudiationChecks],
      timeout: TIMEOUT_SECONDS,
    })
  }
}

/** As OpenID Connect says when nothing is agreed on (`client_secret_basic`), if it is taken. */
function authBy({ ClientSecretBasic, ClientSecretPost }: Oidc, secret: string): ClientAuth {
  return (as, client, body, headers) => {
    const methods = as.token_endpoint_auth_methods_supported
    const isBasic = methods === undefined || methods.includes('client_secret_basic')
    return (isBasic ? ClientSecretBasic : ClientSecretPost)(secret)(as, client, body, headers)
  }
}

/** It is down, or something else answers in its place. `fetch` fails with a bare `TypeError`. */
const NO_ANSWER = new Set([
  'OAUTH_TIMEOUT',
  'OAUTH_ABORT',
  'OAUTH_RESPONSE_IS_NOT_CONFORM',
  'OAUTH_RESPONSE_IS_NOT_JSON',
])
/** Codes are shown to people (RFC 6749 §4.1.2.1). */
const ERROR_CODE = /^[\w.-]{1,64}$/

function faultOf(error: unknown): IdpFault {
  const { name, code, error: said } = error as { name?: string; code?: string; error?: string }
  if (code === 'OAUTH_AUTHORIZATION_RESPONSE_ERROR' || code === 'OAUTH_RESPONSE_BODY_ERROR') {
    return { kind: 'refused', code: ERROR_CODE.test(said ?? '') ? said! : 'unknown' }
  }
  const isSilent = code === undefined ? name === 'TypeError' : NO_ANSWER.has(code)
  return { kind: isSilent ? 'unreachable' : 'invalid' }
}
