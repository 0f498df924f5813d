import { inspect } from 'node:util'
import { calculateJwkThumbprint } from 'jose'
import { describe, expect, test } from 'vitest'
import {
  generateSigningKey,
  isSignedBy,
  kidWords,
  publicKeyOf,
  readPublicKey,
  readSigningKey,
  signContent,
  thumbprint,
} from '../../src/ledger/sign.ts'

const key = generateSigningKey()
const info = publicKeyOf(key, { validFrom: 0, validUntil: null })

describe('key', () => {
  test('the kid is the RFC 7638 thumbprint (vector of RFC 8037 A.3, and jose)', async () => {
    const x = '11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo'
    const kid = 'kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k'
    expect(thumbprint({ kty: 'OKP', crv: 'Ed25519', x })).toBe(kid)
    expect(key.kid).toBe(await calculateJwkThumbprint({ ...info.publicKey }))
    expect(kidWords(kid)).toBe('90fa cafe a9b1 5566')
  })

  test('threat 78: a key never prints its secret', () => {
    const secret = key.unsafePem().split('\n')[1]!
    const seen = [
      JSON.stringify({ key }),
      inspect({ key }, { depth: 9, showHidden: true }),
      `${key}`,
    ]
    for (const text of seen) expect(text).not.toContain(secret.slice(20, 50))
    expect(seen[0]).toContain(key.kid)
    expect(JSON.stringify(info)).not.toContain('"d"')
  })

  test('is kept and read as PEM', () => {
    const read = readSigningKey(key.unsafePem())
    expect(read.ok && read.value.kid).toBe(key.kid)
    expect(readSigningKey('-----BEGIN PRIVATE KEY-----\nsecret').ok).toBe(false)
    expect(JSON.stringify(readSigningKey('not a secret'))).not.toContain('secret')
  })

  test('a public key in JSON is read, and refused when anything is off', () => {
    const json = JSON.parse(JSON.stringify(info))
    expect(readPublicKey(json)).toEqual({ ok: true, value: { ...info, name: null } })
    const wrong = [
      null,
      {},
      { ...json, kid: `${json.kid}x` },
      { ...json, validFrom: 'yesterday' },
      { ...json, validUntil: undefined },
      { ...json, publicKey: { ...json.publicKey, crv: 'X25519' } },
      { ...json, publicKey: { ...json.publicKey, x: 'AAAA' } },
    ]
    for (const each of wrong) expect(readPublicKey(each).ok).toBe(false)
  })
})

describe('signature', () => {
  const signed = { domain: 'd', content: { b: 1, a: [2] } }
  const signature = signContent(signed.domain, signed.content, key)
  const holds = (change: object, by = info.publicKey) =>
    isSignedBy(by, { ...signed, signature, ...change })

  test('holds for this key, domain and content, in any order of members', () => {
    expect(holds({})).toBe(true)
    expect(holds({ content: { a: [2], b: 1 } })).toBe(true)
  })

  test('does not hold for anything else', () => {
    expect(holds({ domain: 'e' })).toBe(false)
    expect(holds({ content: { b: 1, a: [3] } })).toBe(false)
    expect(holds({ signature: { ...signature, alg: 'none' } })).toBe(false)
    expect(holds({ signature: { ...signature, kid: 'x' } })).toBe(false)
    expect(holds({ signature: { ...signature, value: '' } })).toBe(false)
    const other = generateSigningKey()
    const otherInfo = publicKeyOf(other, { validFrom: 0, validUntil: null })
    expect(holds({}, otherInfo.publicKey)).toBe(false)
  })

  test('has one spelling', () => {
    for (const value of [`${signature.value}=`, `${signature.value}\n`, ` ${signature.value}`]) {
      expect(holds({ signature: { ...signature, value } })).toBe(false)
    }
  })
})
