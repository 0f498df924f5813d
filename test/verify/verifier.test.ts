import { createPublicKey } from 'node:crypto'
import { inspect } from 'node:util'
import { decodeJwt, SignJWT } from 'jose'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { freshKeys } from '../../src/authority/keys.ts'
import { issueBadge } from '../../src/badge/badge.ts'
import { TXN_TOUCHES_BYTES_MAX } from '../../src/badge/txn.ts'
import type { Result } from '../../src/core/result.ts'
import { type Envelope, type Refusal, Verifier } from '../../src/verify/index.ts'
import { AUDIENCE, type Issuer, startIssuer, TXN } from './support.ts'

let issuer: Issuer
let verifier: Verifier
let ahead = 0
beforeAll(async () => {
  issuer = await startIssuer()
  verifier = new Verifier({
    ...{ issuer: issuer.url, audience: AUDIENCE, clock: () => Date.now() + ahead },
  })
})
afterAll(() => issuer[Symbol.asyncDispose]())
afterEach(() => {
  ahead = 0
  vi.useRealTimers()
})

const codeOf = (result: Result<unknown, Refusal>) => (result.ok ? 'ok' : result.error.code)
const verify = async (token: unknown) => codeOf(await verifier.verify(token))

test('what was signed is what is read', async () => {
  expect(await verifier.verify(issuer.sign())).toEqual({ ok: true, value: TXN })
  const bare = { client: null, touches: null, approval: { lease: null, ask: null }, parents: [] }
  const value = { ...TXN, ...bare }
  expect(await verifier.verify(issuer.sign(bare))).toEqual({ ok: true, value })
  const approval = { lease: { policy: 'read-only' }, ask: null }
  expect(await verifier.verify(issuer.sign({ approval }))).toMatchObject({ value: { approval } })
})

describe('threat 47: refused is', () => {
  const cases: readonly [string, string, () => unknown][] = [
    ['nothing', 'missing', () => undefined],
    ['an empty header', 'missing', () => ''],
    ['two headers', 'missing', () => [issuer.sign(), issuer.sign()]],
    ['two tokens in one header', 'malformed', () => `${issuer.sign()}, ${issuer.sign()}`],
    ['a long text', 'malformed', () => 'x'.repeat(20_000)],
    ['a text that is no token', 'malformed', () => 'eyJ.eyJ.x'],
    ['a changed signature', 'untrusted', () => `${issuer.sign().slice(0, -6)}AAAAAA`],
    ['a changed payload', 'untrusted', () => changed({ sub: 'eve@clord.example' })],
    ['another audience', 'other_audience', () => issuer.sign({}, 'https://other.example/mcp')],
    ['our audience with a slash', 'other_audience', () => issuer.sign({}, `${AUDIENCE}/`)],
    ['another issuer', 'untrusted', () => signed({ claims: { iss: 'https://evil.example' } })],
    ['no algorithm', 'untrusted', () => signed({ alg: 'none' })],
    ['a shared secret that is our public key', 'untrusted', () => signed({ alg: 'HS256' })],
    ['another type of token', 'untrusted', () => signed({ typ: 'JWT' })],
    ['no type', 'untrusted', () => signed({ typ: undefined })],
    ['their key under our name', 'untrusted', () => signed({ theirs: true })],
    ['a key that comes along', 'untrusted', () => signed({ theirs: true, jwk: true })],
    ['a place to look for keys', 'untrusted', () => signed({ theirs: true, jku: true })],
    ['a key that nobody knows', 'untrusted', () => signed({ kid: 'another' })],
    ['a badge', 'untrusted', badge],
    ['no call', 'untrusted', () => signed({ claims: { txn: undefined } })],
    ['no end', 'untrusted', () => signed({ claims: { exp: undefined } })],
    ['a call that is none', 'malformed', () => signed({ claims: { txn: 'run_1' } })],
    ['no context', 'malformed', () => signed({ claims: { tctx: [] } })],
    ['a context without a run', 'malformed', () => signed({ tctx: { run: undefined } })],
    ['a revision that is no number', 'malformed', () => signed({ tctx: { revision: '1' } })],
    ['touches that are none', 'malformed', () => signed({ tctx: { touches: [{}] } })],
    ['an approval by nobody', 'malformed', () => signed({ tctx: { approval: { lease: {} } } })],
    ['parents that are no runs', 'malformed', () => signed({ tctx: { parents: ['x'] } })],
    ['an end that is far away', 'expired', () => signed({ claims: { iat: 1, exp: 4e9 } })],
    ['a token of a time to come', 'expired', () => signed({ claims: { iat: soon(), exp: 4e9 } })],
  ]
  test.each(cases)('%s', async (_, code, token) => {
    const known = issuer.sign()
    expect(await verify(known)).toBe('ok')
    expect(await verify(await token())).toBe(code)
  })
})

test('a token is good for a minute, and for the skew of two clocks', async () => {
  const token = issuer.sign()
  ahead = 59_000
  expect(await verify(token)).toBe('ok')
  ahead = 67_000
  expect(await verify(token)).toBe('expired')
  const late = issuer.sign({ leaseExpiresAt: Date.now() + 2_000 })
  ahead = 9_000
  expect(await verify(late)).toBe('expired')
})

test('what would not fit into a header stays at home, and the rest travels', async () => {
  const paths = Array.from({ length: 200 }, (_, index) => `src/some/folder/file-${index}.ts`)
  const touch = { ...TXN.touches![0]!, within: { paths } }
  const token = issuer.sign({ touches: [touch] })
  expect(token.length).toBeLessThan(2 * TXN_TOUCHES_BYTES_MAX)
  expect(await verifier.verify(token)).toMatchObject({ ok: true, value: { touches: null } })
  expect(decodeJwt(token).scope).toBe('repo.push')
})

describe('the keys', () => {
  test('are fetched once', async () => {
    const fresh = new Verifier({ issuer: issuer.url, audience: AUDIENCE })
    const before = issuer.looks()
    for (let i = 0; i < 50; i++) expect(codeOf(await fresh.verify(issuer.sign()))).toBe('ok')
    expect(issuer.looks() - before).toBe(1)
  })

  test('are looked for again when one is not known, and not for every forgery', async () => {
    vi.useFakeTimers({ toFake: ['Date'] })
    const rotated = await startIssuer()
    const own = new Verifier({ issuer: rotated.url, audience: AUDIENCE })
    expect(codeOf(await own.verify(rotated.sign()))).toBe('ok')
    rotated.keys = freshKeys(Date.now())
    for (let i = 0; i < 20; i++) expect(codeOf(await own.verify(rotated.sign()))).toBe('untrusted')
    expect(rotated.looks()).toBe(1)
    vi.advanceTimersByTime(6_000)
    expect(codeOf(await own.verify(rotated.sign()))).toBe('ok')
    expect(rotated.looks()).toBe(2)
    await rotated[Symbol.asyncDispose]()
  })

  test('without them nothing is believed', async () => {
    const gone = await startIssuer()
    const token = gone.sign()
    await gone[Symbol.asyncDispose]()
    const own = new Verifier({ issuer: gone.url, audience: AUDIENCE })
    expect(codeOf(await own.verify(token))).toBe('keys_unavailable')
  })
})

describe('asking', () => {
  const need = { action: 'repo.push', type: 'repos', id: 'clord' }
  const asked = async () => {
    const envelope = await verifier.verify(issuer.sign())
    if (!envelope.ok) throw new Error(envelope.error.code)
    return codeOf(await verifier.ask(envelope.value, need))
  }
  const answers = (status: number, body: unknown, headers: Record<string, string> = {}) => {
    issuer.answer = (_, res) => res.writeHead(status, headers).end(JSON.stringify(body))
  }

  test('says which run, action, resource and call, with the token of the call', async () => {
    let seen: unknown
    issuer.answer = async (req, res) => {
      const chunks: Buffer[] = []
      for await (const chunk of req) chunks.push(chunk)
      const { method, url, headers } = req
      const token = headers.authorization!.replace('Bearer ', '')
      const body = JSON.parse(Buffer.concat(chunks).toString())
      seen = { method, url, call: decodeJwt(token).txn, body }
      res.end('{"decision":true}')
    }
    expect(await asked()).toBe('ok')
    expect(seen).toEqual({
      ...{ method: 'POST', url: '/access/v1/evaluation', call: 'call_1' },
      body: {
        subject: { type: 'run', id: 'run_1' },
        action: { name: 'repo.push' },
        resource: { type: 'repos', id: 'clord' },
        context: { txn: 'call_1' },
      },
    })
  })

  test('a no has its reason', async () => {
    answers(200, { decision: false, context: { reason: 'lease_ended' } })
    expect(await asked()).toBe('lease_ended')
  })

  test.each([
    ['no decision', 200, {}],
    ['a decision that is no boolean', 200, { decision: 'true' }],
    ['a yes that is an error', 500, { decision: true }],
    ['a yes that is another success', 201, { decision: true }],
    ['a refusal', 401, { status: 401 }],
    ['nothing', 200, null],
    ['a no without words', 200, { decision: false }],
  ])('%s is a no', async (_, status, body) => {
    answers(status, body)
    expect(await asked()).toBe('unavailable')
  })

  test('a redirect is not followed, and text is no answer', async () => {
    const other = await startIssuer()
    other.answer = (_, res) => res.end('{"decision":true}')
    answers(307, {}, { location: `${other.url}/access/v1/evaluation` })
    expect(await asked()).toBe('unavailable')
    issuer.answer = (_, res) => res.end('yes')
    expect(await asked()).toBe('unavailable')
    issuer.answer = (req) => req.socket.destroy()
    expect(await asked()).toBe('unavailable')
    await other[Symbol.asyncDispose]()
  })

  test('what did not come out of it is not asked about', async () => {
    await expect(verifier.ask(TXN as Envelope, need)).rejects.toThrow(TypeError)
  })
})

test('threat 78: an envelope does not print its token', async () => {
  const token = issuer.sign()
  const verified = await verifier.verify(token)
  const signature = token.split('.')[2]!
  expect(inspect([verified, verifier], { depth: 9 }) + JSON.stringify(verified)).not.toContain(
    signature,
  )
})

describe('a verifier that could verify nothing is not made', () => {
  test.each([
    ['no issuer', { audience: AUDIENCE }],
    ['no audience', { issuer: 'https://daypass.example' }],
    ['an issuer that is no URL', { issuer: 'daypass', audience: AUDIENCE }],
    ['keys over an open network', { issuer: 'http://daypass.example', audience: AUDIENCE }],
    ['keys from a file', { issuer: 'file:///keys', audience: AUDIENCE }],
  ])('%s', (_, options) => {
    expect(() => new Verifier(options)).toThrow(TypeError)
  })

  test('the environment says it, too', () => {
    vi.stubEnv('DAYPASS_ISSUER', 'https://daypass.example/')
    vi.stubEnv('DAYPASS_AUDIENCE', 'notes')
    expect(new Verifier()).toMatchObject({ issuer: 'https://daypass.example', audience: 'notes' })
    vi.unstubAllEnvs()
  })
})

const soon = () => Math.floor(Date.now() / 1000) + 30
const theirs = freshKeys(0)

function changed(claims: object): string {
  const [head, body, signature] = issuer.sign().split('.') as [string, string, string]
  const payload = JSON.parse(Buffer.from(body, 'base64url').toString())
  const other = Buffer.from(JSON.stringify({ ...payload, ...claims })).toString('base64url')
  return `${head}.${other}.${signature}`
}

interface Forgery {
  readonly alg?: string
  readonly typ?: string | undefined
  readonly kid?: string
  readonly theirs?: boolean
  readonly jwk?: boolean
  readonly jku?: boolean
  readonly claims?: Readonly<Record<string, unknown>>
  readonly tctx?: Readonly<Record<string, unknown>>
}

/** A token with the claims of a good one, and what the forger changes. */
async function signed(forgery: Forgery): Promise<string> {
  const { signing } = issuer.keys
  const good = decodeJwt(issuer.sign())
  const tctx = { ...(good.tctx as object), ...forgery.tctx }
  const claims = JSON.parse(JSON.stringify({ ...good, tctx, ...forgery.claims }))
  const typ = 'typ' in forgery ? forgery.typ : 'txntoken+jwt'
  const header = {
    alg: forgery.alg ?? 'EdDSA',
    ...(typ === undefined ? {} : { typ }),
    kid: forgery.kid ?? signing.kid,
    ...(forgery.jwk ? { jwk: { ...theirs.info.publicKey } } : {}),
    ...(forgery.jku ? { jku: 'https://evil.example/jwks' } : {}),
  }
  if (header.alg === 'none') {
    const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
    return `${part(header)}.${part(claims)}.`
  }
  const shared = createPublicKey(signing.privateKey).export({ type: 'spki', format: 'der' })
  const own = forgery.theirs ? theirs.signing.privateKey : signing.privateKey
  const key = header.alg === 'HS256' ? new Uint8Array(shared) : own
  return new SignJWT(claims).setProtectedHeader(header).sign(key)
}

/** Signed by the same key, for the same audience. */
function badge(): Promise<string> {
  const { org, tree, run, lease, requester, agent } = TXN
  const more = { client: agent, above: [], jkt: null, issuedAt: Date.now() }
  return issueBadge(
    { org, tree, run, lease, requester, agent, ...more, expiresAt: Date.now() + 60_000 },
    {
      ...{ key: issuer.keys.signing, issuer: issuer.url, audience: AUDIENCE, jti: 'j' },
      revision: 1,
    },
  )
}
