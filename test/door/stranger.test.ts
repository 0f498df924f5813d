import { createPublicKey, generateKeyPairSync } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { SignJWT } from 'jose'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { issueBadge } from '../../src/badge/badge.ts'
import { type Badged, BRANCH, type House, MAINTAINER, openHouse, read } from './support/house.ts'
import { UPSTREAM_SECRET } from './support/shop.ts'

let house: House
let opened: Badged
let ahead = 0
beforeAll(async () => {
  house = await openHouse({ clock: () => Date.now() + ahead })
  opened = await house.open()
})
afterAll(() => house[Symbol.asyncDispose]())

/** One legacy `initialize`: what everybody may do who is somebody. */
async function knock(token: string | null): Promise<Response> {
  return fetch(`${house.daypass.url}/mcp`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      ...(token === null ? {} : { authorization: `Bearer ${token}` }),
    },
    body: JSON.stringify({
      jsonrpc: '2.0',
      id: 1,
      method: 'initialize',
      params: {
        protocolVersion: '2025-11-25',
        capabilities: {},
        clientInfo: { name: 'x', version: '1' },
      },
    }),
  })
}

type Change = Partial<Parameters<typeof issueBadge>[0]>

/** A badge that the authority's own key signs, with something wrong in it. */
async function badgeWith(
  change: Change,
  options: { issuer?: string; audience?: string } = {},
): Promise<string> {
  const { keys, url } = house.daypass
  const { lease, envelope } = await house.run(opened)
  return issueBadge(
    {
      org: opened.org,
      tree: opened.tree,
      run: opened.run,
      lease: lease!.id,
      requester: envelope.requester,
      client: envelope.agent,
      agent: envelope.agent,
      above: [],
      jkt: null,
      issuedAt: Date.now(),
      expiresAt: Date.now() + 600_000,
      ...change,
    },
    {
      key: keys.signing,
      issuer: url,
      audience: `${url}/mcp`,
      jti: 'j',
      revision: 1,
      ...options,
    },
  )
}

test('the badge itself opens the door', async () => {
  expect((await knock(opened.badge)).status).toBe(200)
  expect((await knock(await badgeWith({}))).status).toBe(200)
})

describe('threats 28, 47: 401, with nothing looked at, for', () => {
  const cases: [string, () => Promise<string | null> | string | null][] = [
    ['no badge', () => null],
    ['a made-up one', () => 'sk-anything'],
    ['one of made-up parts', () => 'eyJhbGciOiJub25lIn0.e30.'],
    ['a changed signature', () => `${opened.badge.slice(0, -6)}AAAAAA`],
    ['a changed payload', () => withPayload(opened.badge, (claims) => ({ ...claims, sub: 'eve' }))],
    ['the operator token', () => house.daypass.operatorToken],
    ['another organisation', () => badgeWith({ org: 'other' })],
    ['a run that is not in the tree', () => badgeWith({ run: 'run_other' })],
    ['a tree that does not exist', () => badgeWith({ tree: 'tree_other' })],
    ['another lease', () => badgeWith({ lease: 'lease_other' })],
    ['another audience', () => badgeWith({}, { audience: `${house.daypass.url}/v1` })],
    ['another issuer', () => badgeWith({}, { issuer: 'http://127.0.0.1:1' })],
    ['one that has expired', () => badgeWith({ expiresAt: Date.now() - 1_000 })],
    ['no algorithm', () => signed({ alg: 'none' })],
    ['a shared-secret algorithm under the public key', () => signed({ alg: 'HS256' })],
    ['another type of token', () => signed({ typ: 'JWT' })],
    ['no type', () => signed({ typ: undefined })],
    ['a key that is not ours', () => signed({ key: 'theirs', kid: 'their-key' })],
    ['their key under our name', () => signed({ key: 'theirs' })],
    ['a key that comes along', () => signed({ key: 'theirs', jwk: true })],
    ['no key named', () => signed({ kid: undefined })],
    ['a missing claim', () => signed({ without: 'lease' })],
    ['an expiry that is missing', () => signed({ without: 'exp' })],
  ]
  test.each(cases)('%s', async (_, token) => {
    const response = await knock(await token())
    expect(response.status).toBe(401)
    expect(response.headers.get('www-authenticate')).toMatch(/^Bearer/)
    expect(await response.text()).not.toContain('clord')
  })

  test('a badge after its expiry, even one that was verified before', async () => {
    const run = await house.open({ expiresInSeconds: 60 })
    expect((await knock(run.badge)).status).toBe(200)
    // For some time it still says why the run is over.
    ahead = 61_000
    const client = await house.client(run.badge)
    const { text } = read(
      await client.callTool({ name: 'shop.read', arguments: { repo: 'clord' } }),
    )
    expect(text).toContain('Ended: this lease is over because its time has run out.')
    // As long as an amendment could have kept the lease alive, and a little longer.
    const longest = house.daypass.config.limits.maxExpiresInSeconds * 1000
    ahead = longest + 9 * 60_000
    expect((await knock(run.badge)).status).toBe(200)
    ahead = longest + 11 * 60_000
    expect((await knock(run.badge)).status).toBe(401)
    ahead = 0
  })
})

test('threat 66: a run that a header names is nobody', async () => {
  const other = await house.open()
  const before = (await house.entries(other)).length
  const response = await fetch(`${house.daypass.url}/mcp`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${opened.badge}`,
      'content-type': 'application/json',
      accept: 'application/json',
      'mcp-protocol-version': '2026-07-28',
      'mcp-method': 'tools/call',
      'mcp-name': 'shop.read',
      'x-run-id': other.run,
      'x-daypass-run': other.run,
    },
    body: JSON.stringify({
      jsonrpc: '2.0',
      id: 1,
      method: 'tools/call',
      params: {
        name: 'shop.read',
        arguments: { repo: 'clord' },
        _meta: {
          'io.modelcontextprotocol/protocolVersion': '2026-07-28',
          'io.modelcontextprotocol/clientCapabilities': {},
          run: other.run,
        },
      },
    }),
  })
  expect(await response.text()).toContain('read clord')
  expect(await house.entries(other)).toHaveLength(before)
})

describe('the API of the operator', () => {
  const pages = [
    ['GET', '/v1/status'],
    ['GET', '/v1/catalog'],
    ['GET', '/v1/trees'],
    ['GET', '/v1/approvals'],
    ['POST', '/v1/runs'],
    ['POST', '/v1/revocations'],
    ['POST', '/v1/runs/RUN/badge'],
    ['POST', '/v1/runs/RUN/approve'],
    ['POST', '/v1/runs/RUN/resume'],
    ['POST', '/v1/runs/RUN/asks/ask_x/approve'],
    ['GET', '/v1/catalog/shop/push'],
    ['POST', '/v1/catalog/shop/push/pin'],
    ['GET', '/v1/nothing'],
  ] as const
  test.each(pages)('threat 72: %s %s is closed to a badge', async (method, page) => {
    const path = page.replace('RUN', opened.run)
    const body = method === 'POST' ? {} : undefined
    const answer = await house.api(method, path, body, opened.badge)
    expect(answer.status).toBe(page === '/v1/nothing' ? 404 : 403)
    for (const token of ['', 'x', `${house.daypass.operatorToken}x`]) {
      expect((await house.api(method, path, body, token)).status).toBe(401)
    }
  })

  test('says what it does not know', async () => {
    expect((await house.api('GET', '/v1/runs/run_other')).status).toBe(404)
    expect((await house.api('POST', '/v1/runs/run_other/revoke', {})).status).toBe(404)
    expect((await house.api('POST', `/v1/runs/${opened.run}/explode`, {})).status).toBe(404)
    expect((await house.api('GET', `/v1/runs/${opened.run}/receipt`)).status).toBe(409)
  })
})

test('threat 78: no secret is in what is stored, shown or answered', async () => {
  const run = await house.open({ until: ['pull_request.create'] })
  const client = await house.client(run.badge)
  const onBranch = { repo: 'clord', branch: BRANCH }
  const answers = [
    await client.callTool({ name: 'shop.push', arguments: onBranch }),
    await client.callTool({ name: 'shop.drop', arguments: onBranch }),
    await client.callTool({ name: 'shop.push', arguments: { repo: 'clord', branch: 'main' } }),
  ]
  await client.callTool({ name: 'shop.open_pr', arguments: onBranch })
  const { authority, operatorToken, keys } = house.daypass
  const receipt = await authority.close(run)
  const pages = await Promise.all(
    ['/v1/status', '/v1/catalog', '/v1/trees', `/v1/runs/${run.run}`].map(async (path) =>
      (await house.api('GET', path)).text(),
    ),
  )
  const written = JSON.stringify([answers, receipt, await house.entries(run), pages])
  // The database, its log included, as bytes; and every other file but the keys themselves.
  const folder = join(house.folder, '.daypass')
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter(
    (file) => file.isFile() && !['secret', 'authority.pem'].includes(file.name),
  )
  const bytes = files.map((file) => readFileSync(join(file.parentPath, file.name), 'latin1')).join()
  const pem = readFileSync(join(folder, 'authority.pem'), 'utf8')
  const secrets = [UPSTREAM_SECRET, run.badge, operatorToken, pem.split('\n')[1]!]
  for (const secret of [...secrets, keys.derive('results').toString('hex')]) {
    expect(written).not.toContain(secret)
    expect(bytes).not.toContain(secret)
  }
  expect(bytes).toContain(run.run)
})

test('a revoked badge tells its holder so, and opens nothing', async () => {
  const run = await house.open()
  const client = await house.client(run.badge)
  await house.daypass.authority.revoke(run.run, { by: MAINTAINER, reason: 'stop' })
  const { text } = read(await client.callTool({ name: 'shop.read', arguments: { repo: 'clord' } }))
  expect(text).toContain('Ended: this lease is over because it was revoked (stop). (lease_ended)')
})

interface Forgery {
  readonly alg?: string
  readonly typ?: string | undefined
  readonly kid?: string | undefined
  readonly key?: 'ours' | 'theirs'
  readonly jwk?: boolean
  readonly without?: string
}

const theirs = generateKeyPairSync('ed25519')

/** A token with the claims of a good badge and a header of the forger's choice. */
async function signed(forgery: Forgery): Promise<string> {
  const { keys } = house.daypass
  const claims = payloadOf(opened.badge)
  if (forgery.without !== undefined) delete claims[forgery.without]
  const header = {
    alg: forgery.alg ?? 'EdDSA',
    ...('typ' in forgery ? {} : { typ: 'at+jwt' }),
    ...(forgery.typ === undefined ? {} : { typ: forgery.typ }),
    ...('kid' in forgery ? {} : { kid: keys.signing.kid }),
    ...(forgery.kid === undefined ? {} : { kid: forgery.kid }),
    ...(forgery.jwk ? { jwk: theirs.publicKey.export({ format: 'jwk' }) } : {}),
  }
  if (header.alg === 'none') {
    const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
    return `${part(header)}.${part(claims)}.`
  }
  const ours = createPublicKey(keys.signing.privateKey)
  const shared = ours.export({ type: 'spki', format: 'der' })
  const own = forgery.key === 'theirs' ? theirs.privateKey : keys.signing.privateKey
  const key = header.alg === 'HS256' ? new Uint8Array(shared) : own
  return new SignJWT(claims).setProtectedHeader(header as { alg: string }).sign(key)
}

function payloadOf(token: string): Record<string, unknown> {
  return JSON.parse(Buffer.from(token.split('.')[1]!, 'base64url').toString())
}

function withPayload(token: string, change: (claims: Record<string, unknown>) => object): string {
  const [header, , signature] = token.split('.')
  const payload = Buffer.from(JSON.stringify(change(payloadOf(token)))).toString('base64url')
  return `${header}.${payload}.${signature}`
}
