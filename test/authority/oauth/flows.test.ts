import { decodeJwt } from 'jose'
import * as oauth from 'oauth4webapi'
import * as oidc from 'openid-client'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  askAt,
  Browser,
  CALLBACK,
  callTool,
  discover,
  HTTP,
  leaseOf,
  type Place,
  postToken,
  redeem,
  register,
  runIn,
  startPlace,
} from './support.ts'

let place: Place
let as: oauth.AuthorizationServer
beforeAll(async () => {
  place = await startPlace()
  as = await discover(place)
})
afterAll(() => place.stop())

const DEVICE = 'urn:ietf:params:oauth:grant-type:device_code'

describe('pushed authorization requests (RFC 9126), oauth4webapi', () => {
  test('what was pushed is asked, once', async () => {
    const client = await register(as)
    const asked = await askAt(as, client, { scope: 'lease:read-notes' })
    const pushed = await oauth.processPushedAuthorizationResponse(
      ...([as, client] as const),
      await oauth.pushedAuthorizationRequest(
        ...([as, client, oauth.None(), asked.url.searchParams, HTTP] as const),
      ),
    )
    const url = new URL(as.authorization_endpoint!)
    url.searchParams.set('client_id', client.client_id)
    url.searchParams.set('request_uri', pushed.request_uri)
    const browser = new Browser(place)
    const { url: led } = await browser.press(await browser.open(url), 'answer=allow')
    const tokens = await redeem(as, client, { asked, led })
    expect(tokens.scope).toBe('lease:read-notes')
    const again = await browser.open(url)
    expect(again.url.searchParams.has('code')).toBe(false)
    expect(again.text).not.toContain('value="allow"')
  })

  test('what would be refused at the page is refused at once', async () => {
    const client = await register(as)
    const asked = await askAt(as, client, { resource: 'https://elsewhere.example/' })
    const response = await oauth.pushedAuthorizationRequest(
      ...([as, client, oauth.None(), asked.url.searchParams, HTTP] as const),
    )
    expect(response.status).toBe(400)
    expect(await response.json()).toMatchObject({ error: 'invalid_target' })
  })
})

describe('proof of possession (RFC 9449), oauth4webapi', () => {
  test('a badge that is bound is of no use without its key, and refreshed with it only', async () => {
    const client = await register(as)
    const asked = await askAt(as, client, { scope: 'lease:read-notes' })
    const browser = new Browser(place)
    const { url: led } = await browser.press(await browser.open(asked.url), 'answer=allow')
    const key = await oauth.generateKeyPair('ES256')
    const proof = oauth.DPoP(client, key)
    const tokens = await withNonce(
      (DPoP) => redeem(as, client, { asked, led, options: { DPoP } }),
      proof,
    )
    expect(tokens.token_type).toBe('dpop')
    expect(decodeJwt(tokens.access_token).cnf).toMatchObject({
      jkt: await proof.calculateThumbprint(),
    })
    const asBearer = await callTool(place, tokens.access_token, 'notes.read_graph')
    expect(asBearer.status).toBe(401)
    const other = oauth.DPoP(client, await oauth.generateKeyPair('ES256'))
    const renew = async (DPoP: oauth.DPoPHandle) =>
      oauth.processRefreshTokenResponse(
        ...([as, client] as const),
        await oauth.refreshTokenGrantRequest(
          ...([as, client, oauth.None(), tokens.refresh_token!] as const),
          { DPoP, ...HTTP },
        ),
      )
    await expect(withNonce(renew, other)).rejects.toMatchObject({ error: 'invalid_grant' })
    const renewed = await withNonce(renew, proof)
    expect(renewed.token_type).toBe('dpop')
    const called = await oauth.protectedResourceRequest(
      ...([renewed.access_token, 'POST', new URL(`${place.url}/mcp`)] as const),
      new Headers({
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
      }),
      JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'initialize', params: INITIALIZE }),
      { DPoP: proof, ...HTTP },
    )
    expect(called.status).toBe(200)
    await called.body?.cancel()
  })

  test('can be demanded: without a proof there is no badge', async () => {
    const own = await startPlace({ yaml: 'oauth: { require_dpop: true }\n' })
    try {
      const server = await discover(own)
      const client = await register(server, { dpop_bound_access_tokens: false } as never)
      const asked = await askAt(server, client, { scope: 'lease:read-notes' })
      const browser = new Browser(own)
      const { url: led } = await browser.press(await browser.open(asked.url), 'answer=allow')
      const bare = await postToken(server, {
        ...{ grant_type: 'authorization_code', client_id: client.client_id },
        ...{ code: led.searchParams.get('code')!, redirect_uri: CALLBACK },
        code_verifier: asked.verifier,
      })
      expect(bare).toMatchObject({ status: 400, body: { error: 'invalid_grant' } })
      const proof = oauth.DPoP(client, await oauth.generateKeyPair('EdDSA'))
      const tokens = await withNonce(
        (DPoP) => redeem(server, client, { asked, led, options: { DPoP } }),
        proof,
      )
      expect(tokens.token_type).toBe('dpop')
      const metadata = await fetch(`${own.url}/.well-known/oauth-protected-resource/mcp`)
      expect(await metadata.json()).toMatchObject({ dpop_bound_access_tokens_required: true })
    } finally {
      await own.stop()
    }
  })
})

const INITIALIZE = {
  protocolVersion: '2025-11-25',
  capabilities: {},
  clientInfo: { name: 'test', version: '1' },
}

/** Once more where the server asks for a nonce (RFC 9449 §8). */
async function withNonce<T>(
  request: (proof: oauth.DPoPHandle) => Promise<T>,
  proof: oauth.DPoPHandle,
): Promise<T> {
  try {
    return await request(proof)
  } catch (error) {
    if (!oauth.isDPoPNonceError(error)) throw error
    return request(proof)
  }
}

describe('devices (RFC 8628), openid-client', () => {
  const device = async () => {
    const client = await register(as, {
      ...{ client_name: 'Terminal of the build', redirect_uris: [], response_types: [] },
      grant_types: [DEVICE, 'refresh_token'],
    } as never)
    const config = await oidc.discovery(new URL(place.url), client.client_id, {}, oidc.None(), {
      ...{ algorithm: 'oauth2', execute: [oidc.allowInsecureRequests] },
    })
    const scope = 'lease:write-notes'
    const shown = await oidc.initiateDeviceAuthorization(config, { scope })
    return { config, shown, client }
  }
  const typed = async (browser: Browser, userCode: string) => {
    const input = await browser.open('/oauth/device')
    const confirm = await browser.press(input, '', { user_code: [userCode] })
    return { input, confirm }
  }

  test('a person types the code, sees the prompt, narrows it, and the device gets the badge', async () => {
    const { config, shown } = await device()
    const waiting = oidc.pollDeviceAuthorizationGrant(config, { ...shown, interval: 1 })
    const browser = new Browser(place)
    const { confirm } = await typed(browser, shown.user_code.toLowerCase())
    expect(confirm.text).toContain(shown.user_code)
    expect(confirm.text).toContain('Terminal of the build')
    const page = await browser.press(confirm, 'confirm=yes')
    expect(page.text).toContain('keep the notes in order')
    expect(page.text).toContain('the device that showed you the code')
    const changed = await browser.press(page, 'answer=update', { keep: ['memory.read'] })
    const done = await browser.press(changed, 'answer=allow')
    expect(done.text).toContain('The device goes on by itself')
    const tokens = await waiting
    expect(tokens.scope).toBe('lease:write-notes')
    const { terms } = await leaseOf(place, runIn(tokens as never))
    expect(terms.grants.flatMap(({ actions }) => actions)).toEqual(['memory.read'])
    const called = await callTool(place, tokens.access_token, 'notes.read_graph')
    expect(called.text).toContain('entities')
  })

  test('a no reaches the device, and a code is typed once', async () => {
    const { config, shown } = await device()
    const waiting = oidc.pollDeviceAuthorizationGrant(config, { ...shown, interval: 1 })
    const refused = expect(waiting).rejects.toMatchObject({ error: 'access_denied' })
    const browser = new Browser(place)
    const { confirm } = await typed(browser, shown.user_code)
    const page = await browser.press(confirm, 'confirm=yes')
    await browser.press(page, 'answer=refuse')
    await refused
    const again = await typed(browser, shown.user_code)
    expect(again.confirm.text).toContain('no code that waits')
  })

  test('threat 43: an address with the code in it still shows the form, and a guess nothing', async () => {
    const { shown } = await device()
    const browser = new Browser(place)
    const page = await browser.open(shown.verification_uri_complete!)
    expect(page.url.search).toBe('')
    expect(page.text).not.toContain(shown.user_code)
    const guess = await typed(browser, 'BCDF-GHJK')
    expect(guess.confirm.text).toContain('no code that waits')
    expect(guess.confirm.text).not.toContain('Terminal of the build')
  })
})

describe('openid-client', () => {
  test('the code flow from discovery to refresh, with the resource named', async () => {
    const config = await oidc.dynamicClientRegistration(
      new URL(place.url),
      {
        ...{ client_name: 'Strict client', redirect_uris: [CALLBACK] },
        grant_types: ['authorization_code', 'refresh_token'],
        token_endpoint_auth_method: 'client_secret_basic',
      },
      oidc.ClientSecretBasic(),
      { algorithm: 'oauth2', execute: [oidc.allowInsecureRequests] },
    )
    const verifier = oidc.randomPKCECodeVerifier()
    const state = oidc.randomState()
    const resource = `${place.url}/mcp`
    const url = oidc.buildAuthorizationUrl(config, {
      ...{ redirect_uri: CALLBACK, scope: 'lease:read-notes', state, resource },
      code_challenge: await oidc.calculatePKCECodeChallenge(verifier),
      code_challenge_method: 'S256',
    })
    const browser = new Browser(place)
    const { url: led } = await browser.press(await browser.open(url), 'answer=allow')
    const checks = { pkceCodeVerifier: verifier, expectedState: state }
    const tokens = await oidc.authorizationCodeGrant(config, led, checks, { resource })
    const renewed = await oidc.refreshTokenGrant(config, tokens.refresh_token!, { resource })
    expect(decodeJwt(renewed.access_token).run).toBe(runIn(tokens as never))
    // RFC 6749 §10.3: what is authenticated with a secret does not go without.
    const bare = await postToken(as, {
      ...{ grant_type: 'refresh_token', refresh_token: renewed.refresh_token! },
      client_id: config.clientMetadata().client_id,
    })
    expect(bare.body.error).toBe('invalid_client')
  })
})

describe('metadata', () => {
  const json = async (path: string) => {
    const response = await fetch(`${place.url}${path}`)
    expect(response.status, path).toBe(200)
    expect(response.headers.get('access-control-allow-origin'), path).toBe('*')
    return (await response.json()) as Record<string, unknown>
  }

  test('RFC 8414, at the root and below the resource, and where older clients look', async () => {
    const root = await json('/.well-known/oauth-authorization-server')
    expect(root).toMatchObject({
      issuer: place.url,
      authorization_endpoint: `${place.url}/oauth/authorize`,
      token_endpoint: `${place.url}/oauth/token`,
      registration_endpoint: `${place.url}/oauth/register`,
      pushed_authorization_request_endpoint: `${place.url}/oauth/par`,
      device_authorization_endpoint: `${place.url}/oauth/device/authorize`,
      jwks_uri: `${place.url}/oauth/jwks`,
      response_types_supported: ['code'],
      code_challenge_methods_supported: ['S256'],
      authorization_response_iss_parameter_supported: true,
      client_id_metadata_document_supported: true,
      authorization_details_types_supported: ['daypass_lease'],
    })
    expect(root.grant_types_supported).toEqual(
      expect.arrayContaining(['authorization_code', 'refresh_token', DEVICE]),
    )
    expect(root.grant_types_supported).not.toContain('implicit')
    for (const path of [
      '/.well-known/oauth-authorization-server/mcp',
      '/.well-known/openid-configuration',
      '/.well-known/openid-configuration/mcp',
    ]) {
      expect(await json(path), path).toEqual(root)
    }
  })

  test('RFC 9728, below the resource and at the root, and a 401 leads there', async () => {
    const below = await json('/.well-known/oauth-protected-resource/mcp')
    expect(below).toMatchObject({
      resource: `${place.url}/mcp`,
      authorization_servers: [place.url],
      bearer_methods_supported: ['header'],
    })
    expect(await json('/.well-known/oauth-protected-resource')).toEqual(below)
    const other = await fetch(`${place.url}/.well-known/oauth-protected-resource/v1`)
    expect(other.status).toBe(404)
    const challenge = (await fetch(`${place.url}/mcp`, { method: 'POST' })).headers
    expect(challenge.get('www-authenticate')).toContain(
      `resource_metadata="${place.url}/.well-known/oauth-protected-resource/mcp"`,
    )
    const resource = new URL(`${place.url}/mcp`)
    const response = await oauth.resourceDiscoveryRequest(resource, HTTP)
    expect((await oauth.processResourceDiscoveryResponse(resource, response)).resource).toBe(
      resource.href,
    )
  })

  test('registration and documents of clients can be switched off', async () => {
    const yaml = 'oauth: { dynamic_registration: false, client_metadata: false }\n'
    const own = await startPlace({ yaml })
    try {
      const server = await discover(own)
      expect(server.registration_endpoint).toBeUndefined()
      expect(server.client_id_metadata_document_supported).not.toBe(true)
      const response = await fetch(`${own.url}/oauth/register`, { method: 'POST', body: '{}' })
      expect(response.status).toBe(404)
      expect(await response.json()).toMatchObject({ error: 'invalid_request' })
    } finally {
      await own.stop()
    }
  })

  test('threat 37: the names in proxy headers are not believed', async () => {
    const response = await fetch(`${place.url}/.well-known/oauth-authorization-server`, {
      headers: { 'x-forwarded-host': 'evil.example', 'x-forwarded-proto': 'https' },
    })
    expect(await response.json()).toMatchObject({ issuer: place.url })
  })
})
