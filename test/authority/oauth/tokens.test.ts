import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { decodeJwt, decodeProtectedHeader } from 'jose'
import * as oauth from 'oauth4webapi'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { rotateKey } from '../../../src/authority/keys.ts'
import {
  allow,
  askAt,
  Browser,
  CALLBACK,
  callTool,
  discover,
  getTokens,
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

const refresh = (client: oauth.Client, token: string, more: Record<string, string> = {}) =>
  postToken(as, {
    ...{ grant_type: 'refresh_token', client_id: client.client_id, refresh_token: token, ...more },
  })
const redemption = (client: oauth.Client, led: URL, verifier: string) => ({
  grant_type: 'authorization_code',
  client_id: client.client_id,
  code: led.searchParams.get('code')!,
  redirect_uri: CALLBACK,
  code_verifier: verifier,
})
const endings = async (run: Parameters<typeof leaseOf>[1]) => {
  const { key } = (await place.daypass.authority.find(run))!
  const entries = await place.daypass.authority.entries(key)
  return entries.filter(({ type }) => type === 'lease.ended')
}

describe('authorization requests', () => {
  test('threat 40: a redirect URI that is not registered is refused at both endpoints', async () => {
    const client = await register(as, { redirect_uris: ['https://app.example/callback'] })
    for (const redirect_uri of [
      'https://app.example/callback/',
      'https://app.example/callback?x=1',
      'https://APP.example/callback',
      'https://app.example:8443/callback',
      'https://app.example.evil.test/callback',
      'https://app.example/callback/../evil',
    ]) {
      const { url } = await askAt(as, client, { redirect_uri })
      const page = await new Browser(place).open(url)
      expect(page.url.origin).toBe(place.url)
      expect(page.status).toBe(400)
      expect(page.text).toContain('invalid_redirect_uri')
    }
    const { client: other, asked, led } = await allow(place, as)
    const form = redemption(other, led, asked.verifier)
    const answer = await postToken(as, { ...form, redirect_uri: `${CALLBACK}/` })
    expect(answer).toMatchObject({ status: 400, body: { error: 'invalid_grant' } })
  })

  test('RFC 8252: the port of a program on this computer is free, its path and host are not', async () => {
    const client = await register(as)
    const ask = async (redirect_uri: string) =>
      new Browser(place).open((await askAt(as, client, { redirect_uri })).url)
    expect((await ask('http://127.0.0.1:50123/callback')).text).toContain('127.0.0.1:50123')
    for (const uri of ['http://127.0.0.1:50123/other', 'http://localhost:33418/callback']) {
      expect((await ask(uri)).text).toContain('invalid_redirect_uri')
    }
    const web = await register(as, {
      redirect_uris: ['http://127.0.0.1:33418/callback', 'https://app.example/callback'],
    })
    const { url } = await askAt(as, web, { redirect_uri: 'http://127.0.0.1:50123/callback' })
    expect((await new Browser(place).open(url)).text).toContain('invalid_redirect_uri')
  })

  test('threat 41: PKCE is neither omitted nor plain', async () => {
    const client = await register(as)
    const without = { code_challenge: '', code_challenge_method: '' }
    for (const parameters of [without, { code_challenge_method: 'plain' }]) {
      const { url } = await askAt(as, client, parameters)
      const { url: led } = await new Browser(place).open(url)
      expect(led.searchParams.get('error')).toBe('invalid_request')
    }
    const { client: mine, led } = await allow(place, as)
    for (const verifier of ['', oauth.generateRandomCodeVerifier()]) {
      const { status } = await postToken(as, redemption(mine, led, verifier))
      expect(status).toBe(400)
    }
  })

  test('only a code is a response, and only this gateway a resource (RFC 8707)', async () => {
    const client = await register(as)
    const error = async (parameters: Record<string, string>) => {
      const { url } = await askAt(as, client, parameters)
      return (await new Browser(place).open(url)).url.searchParams.get('error')
    }
    expect(await error({ resource: 'https://elsewhere.example/mcp' })).toBe('invalid_target')
    expect(await error({ resource: `${place.url}/v1` })).toBe('invalid_target')
    const { url } = await askAt(as, client, { response_type: 'token' })
    const { url: led, text } = await new Browser(place).open(url)
    expect(`${led.hash}${led.search}${text}`).toContain('unsupported_response_type')
  })

  test('threat 45: every answer names its issuer (RFC 9207)', async () => {
    const { led, client, asked } = await allow(place, as)
    expect(led.searchParams.get('iss')).toBe(place.url)
    const forged = new URL(led)
    forged.searchParams.set('iss', 'https://evil.example')
    expect(() => oauth.validateAuthResponse(as, client, forged, asked.state)).toThrow(/iss/)
    const { url } = await askAt(as, client, { resource: 'https://elsewhere.example' })
    expect((await new Browser(place).open(url)).url.searchParams.get('iss')).toBe(place.url)
  })
})

describe('what a client may say of itself', () => {
  const wrong = async (metadata: object) => {
    const response = await fetch(as.registration_endpoint!, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ token_endpoint_auth_method: 'none', ...metadata }),
    })
    const body = (await response.json()) as Record<string, unknown>
    return { status: response.status, body }
  }

  test.each([
    ...['javascript:alert(1)', 'data:text/html,x', 'file:///etc/passwd', 'vbscript:x'],
    ...['ms-msdt:/id PCWDiagnostic', 'shell:startup', 'http://app.example/callback', 'unknown:/x'],
    ...['https://user:pass@app.example/callback', 'https://app.example/callback#x', 'not a uri'],
  ])('threat 49: `%s` is no place to send an answer to', async (uri) => {
    const answer = await wrong({ redirect_uris: ['https://app.example/callback', uri] })
    expect(answer).toMatchObject({ status: 400, body: { error: 'invalid_redirect_uri' } })
    expect(answer.body.error_description).toContain('must be https')
  })

  test('programs with a scheme of their own are native, everything on the web is not', async () => {
    for (const uri of ['cursor://anysphere.cursor-mcp/callback', 'com.example.app:/callback']) {
      expect((await register(as, { redirect_uris: [uri] })).application_type).toBe('native')
    }
    const web = await register(as, {
      redirect_uris: ['https://app.example/callback'],
      application_type: 'native',
    } as never)
    expect(web.application_type).toBe('web')
  })

  test('a scope and unknown grant types that it registers give it nothing, and break nothing', async () => {
    const client = await register(as, {
      scope: 'lease:write-notes admin',
      grant_types: ['authorization_code', 'urn:ietf:params:oauth:grant-type:jwt-bearer'],
    } as never)
    expect(client.scope).toBeUndefined()
    expect(client.grant_types).toEqual(['authorization_code'])
  })
})

describe('codes', () => {
  test('threat 42: a code that comes twice fails, and what came of it is revoked', async () => {
    const { client, asked, led } = await allow(place, as)
    const tokens = await redeem(as, client, { asked, led })
    const run = runIn(tokens)
    expect((await callTool(place, tokens.access_token, 'notes.read_graph')).status).toBe(200)
    const again = await postToken(as, redemption(client, led, asked.verifier))
    expect(again).toMatchObject({ status: 400, body: { error: 'invalid_grant' } })
    expect((await leaseOf(place, run)).state).toBe('ended')
    const used = await callTool(place, tokens.access_token, 'notes.read_graph')
    expect(used.text).toContain('revoked')
    const renewed = await refresh(client, tokens.refresh_token!)
    expect(renewed).toMatchObject({ status: 400, body: { error: 'invalid_grant' } })
    // A third time has nothing left to revoke.
    await postToken(as, redemption(client, led, asked.verifier))
    expect(await endings(run)).toHaveLength(1)
  })

  test('threat 42: of two who redeem one code at once, none keeps a badge of use', async () => {
    const { client, asked, led } = await allow(place, as)
    const answers = await Promise.all(
      [1, 2, 3].map(() => postToken(as, redemption(client, led, asked.verifier))),
    )
    expect(answers.filter(({ status }) => status === 200).length).toBeLessThanOrEqual(1)
    const won = answers.find(({ status }) => status === 200)
    if (won !== undefined) {
      const badge = won.body.access_token as string
      expect((await callTool(place, badge, 'notes.read_graph')).text).toMatch(/revoked/)
    }
    const [newest] = await place.daypass.authority.list({ open: false, limit: 1 })
    expect((await leaseOf(place, newest!.root)).state).toBe('ended')
    expect(await endings(newest!.root)).toHaveLength(1)
  })

  test('a code is for the client that asked, and a run that has ended gives no badge', async () => {
    const { asked, led } = await allow(place, as)
    const stranger = await register(as)
    const stolen = await postToken(as, redemption(stranger, led, asked.verifier))
    expect(stolen).toMatchObject({ status: 400, body: { error: 'invalid_grant' } })
    const { client, asked: mine, led: back } = await allow(place, as)
    const [newest] = await place.daypass.authority.list({ open: true, limit: 1 })
    await place.daypass.authority.revoke(newest!.root, { by: { server: 'test' }, reason: 'over' })
    const late = await postToken(as, redemption(client, back, mine.verifier))
    expect(late).toMatchObject({ status: 400, body: { error: 'invalid_grant' } })
  })
})

describe('refresh tokens', () => {
  test('rotate, and give another badge of the same run', async () => {
    const { client, tokens, run } = await getTokens(place, as)
    expect(tokens.expires_in).toBeLessThanOrEqual(3600)
    const renewed = await refresh(client, tokens.refresh_token!)
    expect(renewed.status).toBe(200)
    expect(renewed.body.refresh_token).not.toBe(tokens.refresh_token)
    const badge = renewed.body.access_token as string
    expect(decodeJwt(badge).run).toBe(run)
    expect(decodeJwt(badge).jti).not.toBe(decodeJwt(tokens.access_token).jti)
    expect((await callTool(place, badge, 'notes.read_graph')).text).toContain('entities')
  })

  test('threat 46: one that comes twice ends its whole family and the run, once', async () => {
    const { client, tokens, run } = await getTokens(place, as)
    const first = await refresh(client, tokens.refresh_token!)
    const reused = await refresh(client, tokens.refresh_token!)
    expect(reused).toMatchObject({ status: 400, body: { error: 'invalid_grant' } })
    expect((await refresh(client, first.body.refresh_token as string)).status).toBe(400)
    for (const badge of [tokens.access_token, first.body.access_token as string]) {
      expect((await callTool(place, badge, 'notes.read_graph')).text).toContain('revoked')
    }
    await refresh(client, tokens.refresh_token!)
    expect(await endings(run)).toHaveLength(1)
  })

  test('threat 46: a race of two for one refresh token ends the run, once', async () => {
    const { client, tokens, run } = await getTokens(place, as)
    const race = [1, 2, 3, 4].map(() => refresh(client, tokens.refresh_token!))
    const answers = await Promise.all(race)
    expect(answers.filter(({ status }) => status === 200).length).toBeLessThanOrEqual(1)
    expect((await leaseOf(place, run)).state).toBe('ended')
    expect(await endings(run)).toHaveLength(1)
    for (const { body } of answers) {
      if (typeof body.refresh_token !== 'string') continue
      expect((await refresh(client, body.refresh_token)).status).toBe(400)
    }
  })

  test('give nothing once the lease is over, and are not used up while it is suspended', async () => {
    const { client, tokens, run } = await getTokens(place, as)
    const by = { person: 'lee@clord.example', via: 'terminal' } as const
    const { authority } = place.daypass
    await authority.command(run, { do: 'suspend', run, by, reason: 'a look' })
    const paused = await refresh(client, tokens.refresh_token!)
    expect(paused).toMatchObject({ status: 400, body: { error: 'invalid_grant' } })
    await authority.command(run, { do: 'resume', run, by })
    const renewed = await refresh(client, tokens.refresh_token!)
    expect(renewed.status).toBe(200)
    await authority.revoke(run, { by, reason: 'enough' })
    const late = await refresh(client, renewed.body.refresh_token as string)
    expect(late).toMatchObject({ status: 400, body: { error: 'invalid_grant' } })
  })

  test.each([
    ['invalid_scope', { scope: 'lease:read-notes lease:write-notes' }],
    ['invalid_target', { resource: 'https://elsewhere.example/mcp' }],
    [
      'invalid_authorization_details',
      {
        authorization_details: JSON.stringify([{ type: 'daypass_lease', template: 'write-notes' }]),
      },
    ],
  ])('threat 51: nothing wider comes of them: %s', async (error, more) => {
    const { client, tokens } = await getTokens(place, as)
    const wider = await refresh(client, tokens.refresh_token!, more)
    expect(wider).toMatchObject({ status: 400, body: { error } })
    expect(wider.body.access_token).toBeUndefined()
  })

  test('are not for a client that does not ask for them; its badge lives as long as its lease can', async () => {
    const { client, asked, led } = await allow(
      place,
      as,
      {},
      { grant_types: ['authorization_code'] },
    )
    const tokens = await redeem(as, client, { asked, led })
    expect(tokens.refresh_token).toBeUndefined()
    expect(tokens.expires_in).toBeGreaterThan(3600)
  })
})

describe('threat 52: what is stored', () => {
  test('redeems nothing: no code, token, secret or verifier is in the database', async () => {
    const client = await register(as, { token_endpoint_auth_method: 'client_secret_basic' })
    const { led, tokens, asked } = await getTokens(place, as)
    const secrets = [
      led.searchParams.get('code')!,
      tokens.refresh_token!,
      client.client_secret as string,
      asked.state,
    ]
    const folder = place.folder
    const files = readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .map((file) => join(folder, file))
      .filter((file) => statSync(file).isFile() && /daypass\.db/.test(file))
    expect(files.length).toBeGreaterThan(0)
    for (const file of files) {
      const bytes = readFileSync(file)
      for (const secret of secrets) expect(bytes.includes(secret), file).toBe(false)
    }
  })
})

describe('a restart, and another key', () => {
  test('clients, grants and waiting pages outlive the process', async () => {
    const { client, tokens, run } = await getTokens(place, as)
    const asked = await askAt(as, client, { scope: 'lease:read-notes' })
    const browser = new Browser(place)
    const page = await browser.open(asked.url)
    place = await place.restart()
    const renewed = await refresh(client, tokens.refresh_token!)
    expect(renewed.status).toBe(200)
    expect(decodeJwt(renewed.body.access_token as string).run).toBe(run)
    browser.moveTo(place)
    const { url: led } = await browser.press(page, 'answer=allow')
    expect((await redeem(as, client, { asked, led })).access_token).toBeTruthy()
  })

  test('after a rotation the new key signs, and both are published', async () => {
    const { client, tokens } = await getTokens(place, as)
    const before = decodeProtectedHeader(tokens.access_token).kid
    const rotated = rotateKey(join(place.folder, '.daypass'), Date.now())
    expect(rotated.ok).toBe(true)
    const renewed = await refresh(client, tokens.refresh_token!)
    const badge = renewed.body.access_token as string
    expect(decodeProtectedHeader(badge).kid).not.toBe(before)
    const { keys } = (await (await fetch(as.jwks_uri!)).json()) as { keys: { kid: string }[] }
    expect(keys.map(({ kid }) => kid)).toEqual([decodeProtectedHeader(badge).kid, before])
    expect(JSON.stringify(keys)).not.toContain('"d"')
    for (const each of [badge, tokens.access_token]) {
      expect((await callTool(place, each, 'notes.read_graph')).text).toContain('entities')
    }
  })

  test('RFC 9068: a strict resource server accepts a badge of ours', async () => {
    const { tokens } = await getTokens(place, as)
    const headers = { authorization: `Bearer ${tokens.access_token}` }
    const request = new Request(`${place.url}/mcp`, { headers })
    const claims = await oauth.validateJwtAccessToken(as, request, `${place.url}/mcp`, HTTP)
    expect(claims.client_id).toBeTruthy()
  })
})
