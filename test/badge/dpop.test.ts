import { generateKeyPairSync, hash, type KeyObject, randomUUID } from 'node:crypto'
import { calculateJwkThumbprint, type JWK, SignJWT } from 'jose'
import { describe, expect, test } from 'vitest'
import { SeenProofs, verifyProof } from '../../src/badge/dpop.ts'

const NOW = Date.parse('2026-06-23T01:42:00Z')
const url = 'https://daypass.example/mcp'
const token = 'a.b.c'

interface Pair {
  readonly privateKey: KeyObject
  readonly publicKey: KeyObject
}

const own: Pair = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const other: Pair = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const jwk = (pair: Pair) => pair.publicKey.export({ format: 'jwk' }) as JWK
const jkt = await calculateJwkThumbprint(jwk(own))

interface Made {
  readonly claims?: Record<string, unknown>
  readonly header?: Record<string, unknown>
  readonly key?: KeyObject | Uint8Array
}

function prove({ claims = {}, header = {}, key = own.privateKey }: Made = {}): Promise<string> {
  const ath = hash('sha256', token, 'base64url')
  const iat = NOW / 1000
  return new SignJWT({ jti: randomUUID(), htm: 'POST', htu: url, iat, ath, ...claims })
    .setProtectedHeader({ alg: 'ES256', typ: 'dpop+jwt', jwk: jwk(own), ...header })
    .sign(key)
}

async function check(proof: string, key: { jkt?: string } = {}, seen = fresh()) {
  const request = { proof, method: 'POST', url, use: { token, jkt, ...key } }
  const checked = await verifyProof(request, seen, NOW)
  if (checked.ok) expect(checked.value).toBe(request.use.jkt)
  return checked.ok ? 'good' : checked.error
}

function fresh(): SeenProofs {
  return new SeenProofs(NOW - 3_600_000)
}

test('a proof for this request by the key of the badge is good', async () => {
  expect(await check(await prove())).toBe('good')
  const pair = generateKeyPairSync('ed25519')
  for (const alg of ['EdDSA', 'Ed25519']) {
    const proof = await prove({ header: { alg, jwk: jwk(pair) }, key: pair.privateKey })
    expect(await check(proof, { jkt: await calculateJwkThumbprint(jwk(pair)) })).toBe('good')
  }
})

test('with a request for a token it is about no token, and says which key it is to be bound to', async () => {
  const proof = await prove({ claims: { ath: undefined } })
  const request = { proof, method: 'POST', url, use: null }
  const seen = fresh()
  expect(await verifyProof(request, seen, NOW)).toEqual({ ok: true, value: jkt })
  expect(await verifyProof(request, seen, NOW)).toEqual({ ok: false, error: 'replayed' })
})

describe('threat 48: a proof is refused', () => {
  test('the second time', async () => {
    const seen = fresh()
    const proof = await prove()
    expect(await check(proof, {}, seen)).toBe('good')
    expect(await check(proof, {}, seen)).toBe('replayed')
    expect(await check(await prove(), {}, seen)).toBe('good')
  })

  test('for one of many uses at once', async () => {
    const seen = fresh()
    const proof = await prove()
    const checks = await Promise.all(Array.from({ length: 20 }, () => check(proof, {}, seen)))
    expect(checks.filter((each) => each === 'good')).toHaveLength(1)
  })

  test.each([
    ['another method', { htm: 'GET' }, 'other_request'],
    ['a method in lower case', { htm: 'post' }, 'other_request'],
    ['another path', { htu: 'https://daypass.example/oauth/token' }, 'other_request'],
    ['another host', { htu: 'https://evil.example/mcp' }, 'other_request'],
    ['another scheme', { htu: 'http://daypass.example/mcp' }, 'other_request'],
    ['a user in the URL', { htu: 'https://a@daypass.example/mcp' }, 'other_request'],
    ['no URL', { htu: undefined }, 'other_request'],
    ['another badge', { ath: hash('sha256', 'x', 'base64url') }, 'other_request'],
    ['no badge', { ath: undefined }, 'other_request'],
    ['no id', { jti: undefined }, 'invalid'],
    ['an id that is no text', { jti: 7 }, 'invalid'],
    ['an id too long to remember', { jti: 'x'.repeat(257) }, 'invalid'],
    ['no time', { iat: undefined }, 'not_recent'],
    ['a time that is none', { iat: 'now' }, 'invalid'],
    ['a time past', { iat: NOW / 1000 - 61 }, 'not_recent'],
    ['a time to come', { iat: NOW / 1000 + 61 }, 'not_recent'],
    ['an end that is over', { exp: NOW / 1000 - 1 }, 'invalid'],
  ])('with %s', async (_, claims, fault) => {
    expect(await check(await prove({ claims }))).toBe(fault)
  })

  test('by another key than the badge is bound to', async () => {
    const header = { jwk: jwk(other) }
    expect(await check(await prove({ header, key: other.privateKey }))).toBe('other_key')
    // The key that it carries is not the one that signed.
    expect(await check(await prove({ key: other.privateKey }))).toBe('invalid')
  })

  test.each([
    ['of another type', { typ: 'JWT' }],
    ['of no type', { typ: undefined }],
    ['without a key', { jwk: undefined }],
    ['with its private key', { jwk: own.privateKey.export({ format: 'jwk' }) }],
  ])('%s', async (_, header) => {
    expect(await check(await prove({ header }))).toBe('invalid')
  })

  test('under a shared secret, or under none', async () => {
    const secret = new Uint8Array(32)
    const octets = { kty: 'oct', k: Buffer.from(secret).toString('base64url') }
    const proof = await prove({ header: { alg: 'HS256', jwk: octets }, key: secret })
    expect(await check(proof)).toBe('invalid')
    const [, payload] = (await prove()).split('.')
    const header = { alg: 'none', typ: 'dpop+jwt', jwk: jwk(own) }
    const head = Buffer.from(JSON.stringify(header)).toString('base64url')
    expect(await check(`${head}.${payload}.`)).toBe('invalid')
  })

  test('when it is no proof at all', async () => {
    for (const text of ['', 'x', `${await prove()}, ${await prove()}`, 'a'.repeat(1_000_000)]) {
      expect(await check(text)).toBe('invalid')
    }
  })
})

test('query, fragment, default port and the case of the host make no other URL', async () => {
  for (const htu of [`${url}?a=1`, `${url}#x`, 'HTTPS://DAYPASS.example:443/mcp']) {
    expect(await check(await prove({ claims: { htu } }))).toBe('good')
  }
})

describe('what was seen', () => {
  test('is remembered for as long as it could be used again, and not for ever', () => {
    const seen = new SeenProofs(NOW)
    const minute = 60_000
    for (let at = 0; at <= 10 * minute; at += 1_000) {
      const jti = `at ${at}`
      expect(seen.add({ jkt, jti }, NOW + at)).toBe(true)
      // Made a minute ahead of our clock: good for two minutes.
      const before = Math.max(0, at - 2 * minute)
      expect(seen.add({ jkt, jti: `at ${before}` }, NOW + at)).toBe(false)
    }
    expect(seen.add({ jkt, jti: 'at 0' }, NOW + 10 * minute)).toBe(true)
  })

  test('before a restart is not believed again', () => {
    const seen = new SeenProofs(NOW)
    expect(seen.isRecent(NOW - 1_000, NOW + 1_000)).toBe(false)
    expect(seen.isRecent(NOW, NOW + 1_000)).toBe(true)
  })

  test('is bounded, and one key that fills its part closes the door for itself only', () => {
    const seen = new SeenProofs(NOW)
    let taken = 0
    while (taken < 100_000 && seen.add({ jkt: 'flood', jti: String(taken) }, NOW)) taken++
    expect(taken).toBe(50_000)
    expect(seen.add({ jkt, jti: '1' }, NOW)).toBe(true)
    for (let key = 0; key < 4; key++) {
      for (let n = 0; n < 50_000; n++) seen.add({ jkt: `flood ${key}`, jti: String(n) }, NOW)
    }
    expect(seen.add({ jkt, jti: '2' }, NOW)).toBe(false)
    // Four minutes later both generations are gone.
    seen.add({ jkt, jti: '3' }, NOW + 120_000)
    expect(seen.add({ jkt, jti: '4' }, NOW + 240_000)).toBe(true)
  })
})
