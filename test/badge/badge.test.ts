import { generateKeyPairSync } from 'node:crypto'
import * as fc from 'fast-check'
import { decodeJwt, decodeProtectedHeader, SignJWT } from 'jose'
import { describe, expect, test } from 'vitest'
import {
  type Badge,
  type BadgeVerifier,
  issueBadge,
  tokenHash,
  verifyBadge,
} from '../../src/badge/badge.ts'

const NOW = Date.parse('2026-06-23T01:42:00Z')
const pair = generateKeyPairSync('ed25519')
const issuer = 'http://127.0.0.1:4816'
const audience = `${issuer}/mcp`
const verifier: BadgeVerifier = {
  issuer,
  audience,
  keyOf: (kid) => (kid === 'key-1' ? pair.publicKey : null),
}
const badge: Badge = {
  org: 'clord',
  tree: 'tree_1',
  run: 'run_1',
  lease: 'lease_1',
  requester: 'mira@clord.example',
  client: 'https://agent.example/client.json',
  agent: 'repo-maintenance-agent',
  above: [],
  jkt: null,
  issuedAt: NOW,
  expiresAt: NOW + 600_000,
}
const key = { kid: 'key-1', privateKey: pair.privateKey }

function issue(more: Partial<Badge> = {}, options: object = {}): Promise<string> {
  const given = { key, issuer, audience, jti: 'badge_1', revision: 1, ...options }
  return issueBadge({ ...badge, ...more }, given)
}

test('says what it was issued for', async () => {
  const token = await issue()
  expect(decodeProtectedHeader(token)).toEqual({ alg: 'EdDSA', typ: 'at+jwt', kid: 'key-1' })
  expect(await verifyBadge(token, verifier, NOW)).toEqual({ ok: true, value: badge })
})

test('says it in the words of the standards', async () => {
  const above = [
    { agent: 'planner', run: 'run_parent' },
    { agent: 'lead', run: 'run_root' },
  ] as const
  const token = await issue({ above, jkt: 'thumbprint' }, { revision: 3 })
  expect(decodeJwt(token)).toEqual({
    iss: issuer,
    aud: audience,
    sub: 'mira@clord.example',
    client_id: 'https://agent.example/client.json',
    jti: 'badge_1',
    iat: NOW / 1000,
    exp: NOW / 1000 + 600,
    ...{ org: 'clord', tree: 'tree_1', run: 'run_1', lease: 'lease_1' },
    cnf: { jkt: 'thumbprint' },
    act: {
      ...{ sub: 'repo-maintenance-agent', run: 'run_1' },
      act: { sub: 'planner', run: 'run_parent', act: { sub: 'lead', run: 'run_root' } },
    },
    authorization_details: [
      { type: 'daypass_lease', locations: [audience], identifier: 'lease_1', revision: 3 },
    ],
  })
  const verified = await verifyBadge(token, verifier, NOW)
  expect(verified).toEqual({ ok: true, value: { ...badge, above, jkt: 'thumbprint' } })
})

/** Claims of a good badge with something wrong in them, under a good signature. */
function withClaims(change: Record<string, unknown>): Promise<string> {
  return issue().then((token) =>
    new SignJWT({ ...decodeJwt(token), ...change })
      .setProtectedHeader({ alg: 'EdDSA', typ: 'at+jwt', kid: 'key-1' })
      .sign(pair.privateKey),
  )
}

/** Runs under each other, one deeper than a tree can be. */
function deepAct(levels: number): object {
  const within = levels === 1 ? {} : { act: deepAct(levels - 1) }
  return { sub: 'a', run: levels === 6 ? 'run_1' : `run_${levels}x`, ...within }
}

test.each([
  ['two audiences', { aud: [audience, 'https://other.example'] }, 'bad_signature'],
  ['an audience in a list', { aud: [audience] }, 'bad_signature'],
  ['no actor', { act: undefined }, 'bad_signature'],
  ['an actor that is none', { act: 'agent' }, 'malformed'],
  ['an actor in another run', { act: { sub: 'agent', run: 'run_2' } }, 'malformed'],
  ['a nested actor that is none', { act: { sub: 'a', run: 'run_1', act: null } }, 'malformed'],
  ['more actors than a tree has levels', { act: deepAct(6) }, 'malformed'],
  ['a binding that is not known', { cnf: { 'x5t#S256': 'abc' } }, 'malformed'],
  ['a binding that is none', { cnf: null }, 'malformed'],
  ['an empty binding', { cnf: { jkt: '' } }, 'malformed'],
])('a badge with %s is refused', async (_, change, fault) => {
  expect(await verifyBadge(await withClaims({}), verifier, NOW)).toMatchObject({ ok: true })
  const verified = await verifyBadge(await withClaims(change), verifier, NOW)
  expect(verified).toEqual({ ok: false, error: fault })
})

describe('time', () => {
  test.each([
    [599_999, true],
    [600_000, false],
    [600_001, false],
    [10 ** 10, false],
  ])('%d ms after it was issued: %s', async (ms, good) => {
    const verified = await verifyBadge(await issue(), verifier, NOW + ms)
    expect(verified).toMatchObject(good ? { ok: true } : { ok: false, error: 'expired' })
  })
})

describe('is refused', () => {
  const cases: [string, string, () => Promise<string>][] = [
    [
      'under a key that is not known',
      'unknown_key',
      () => issue({}, { key: { ...key, kid: 'k2' } }),
    ],
    ['for another audience', 'bad_signature', () => issue({}, { audience: issuer })],
    ['from another issuer', 'bad_signature', () => issue({}, { issuer: audience })],
    ['with an id of another kind', 'malformed', () => issue({ run: 'tree_1' as never })],
    ['without an organisation', 'malformed', () => issue({ org: '' })],
    ['without a requester', 'malformed', () => issue({ requester: '' })],
  ]
  test.each(cases)('%s', async (_, fault, token) => {
    expect(await verifyBadge(await token(), verifier, NOW)).toEqual({ ok: false, error: fault })
  })

  test('whichever character of it is changed', async () => {
    const token = await issue()
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.'
    await fc.assert(
      fc.asyncProperty(
        // The last character of the signature has bits that mean nothing.
        fc.nat({ max: token.length - 2 }),
        fc.constantFrom(...alphabet),
        async (at, character) => {
          fc.pre(token[at] !== character)
          const changed = token.slice(0, at) + character + token.slice(at + 1)
          expect(await verifyBadge(changed, verifier, NOW)).toMatchObject({ ok: false })
        },
      ),
      { numRuns: 500 },
    )
  })

  test('whatever else it is', async () => {
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: 'binary' }), async (text) => {
        expect(await verifyBadge(text, verifier, NOW)).toMatchObject({ ok: false })
      }),
    )
  })
})

test('threat 52: what it is looked up by does not give it away', async () => {
  const token = await issue()
  expect(tokenHash(token)).toMatch(/^[\w-]{43}$/)
  expect(token).not.toContain(tokenHash(token))
  expect(tokenHash(`${token}x`)).not.toBe(tokenHash(token))
})
