import { generateKeyPairSync } from 'node:crypto'
import * as fc from 'fast-check'
import { decodeProtectedHeader } from 'jose'
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
  agent: 'repo-maintenance-agent',
  expiresAt: NOW + 600_000,
}
const key = { kid: 'key-1', privateKey: pair.privateKey }

function issue(more: Partial<Badge> = {}, options: object = {}): Promise<string> {
  const given = { key, issuer, audience, now: NOW, jti: 'badge_1', ...options }
  return issueBadge({ ...badge, ...more }, given)
}

test('says what it was issued for', async () => {
  const token = await issue()
  expect(decodeProtectedHeader(token)).toEqual({ alg: 'EdDSA', typ: 'at+jwt', kid: 'key-1' })
  expect(await verifyBadge(token, verifier, NOW)).toEqual({ ok: true, value: badge })
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
