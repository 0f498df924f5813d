import { mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeEach, describe, expect, test } from 'vitest'
import { freshKeys, loadKeys, publicKeysIn, rotateKey } from '../../../src/authority/keys.ts'

const home = mkdtempSync(join(tmpdir(), 'daypass-keys-'))
afterAll(() => rmSync(home, { recursive: true, force: true }))

const NOW = Date.now()
const overlapMs = 3_600_000
const at = (ms: number) => ({ now: NOW + ms, overlapMs })

let folder: string
let count = 0
beforeEach(() => {
  folder = join(home, String(count++))
})

function rotated(ms = 0) {
  const result = rotateKey(folder, NOW + ms)
  if (!result.ok) throw new Error(result.error)
  return result.value
}

test('another key signs after a rotation, in a process that runs as in one that starts', () => {
  const running = loadKeys(folder, NOW - 1_000)
  const before = running.signing.kid
  const secret = running.derive('results')
  const { from, to } = rotated()
  expect(from).toMatchObject({ kid: before, validFrom: NOW - 1_000, validUntil: NOW })
  for (const keys of [running, loadKeys(folder, NOW)]) {
    expect(keys.signing.kid).toBe(to.kid)
    expect(keys.info).toEqual(to)
    expect(keys.all).toMatchObject([to, from])
    // What is sealed in the store stays readable.
    expect(keys.derive('results')).toEqual(secret)
  }
  expect(publicKeysIn(folder)).toMatchObject([to, from])
})

test('the old key verifies as long as its badges can be good, and no longer', () => {
  const keys = loadKeys(folder, NOW - 1_000)
  const before = keys.signing.kid
  rotated()
  expect(keys.keyOf(keys.signing.kid, at(10 * overlapMs))?.asymmetricKeyType).toBe('ed25519')
  expect(keys.keyOf(before, at(overlapMs - 1))?.asymmetricKeyType).toBe('ed25519')
  expect(keys.keyOf(before, at(overlapMs))).toBeNull()
  expect(keys.keyOf('other', at(0))).toBeNull()
  // For receipts it is known for ever.
  expect(keys.all.map(({ kid }) => kid)).toContain(before)
})

test('the JWKS has both keys while they overlap, and nothing private', () => {
  const keys = loadKeys(folder, NOW - 1_000)
  const before = keys.signing.kid
  rotated()
  const both = keys.jwks(at(0)).keys
  expect(both.map(({ kid }) => kid)).toEqual([keys.signing.kid, before])
  for (const key of both) {
    expect(Object.keys(key).sort()).toEqual(['alg', 'crv', 'kid', 'kty', 'use', 'x'])
  }
  expect(keys.jwks(at(overlapMs)).keys.map(({ kid }) => kid)).toEqual([keys.signing.kid])
})

test('the private half of the old key is nowhere any more', () => {
  const old = loadKeys(folder, NOW - 1_000).signing.unsafePem()
  const secretPart = old.split('\n')[1]!
  rotated()
  for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    if (name === 'retired') continue
    expect(readFileSync(join(folder, name), 'utf8')).not.toContain(secretPart)
  }
})

test('keys are listed newest first, over several rotations', () => {
  loadKeys(folder, NOW - 1_000)
  const kids = [0, 1_000, 2_000].map((ms) => rotated(ms).from.kid)
  const listed = publicKeysIn(folder)
  expect(listed.slice(1).map(({ kid }) => kid)).toEqual(kids.reverse())
  expect(listed.slice(1).map(({ validUntil }) => validUntil! - NOW)).toEqual([2_000, 1_000, 0])
})

describe('a rotation that broke off', () => {
  test('leaves the old key in use, and another can be made a minute later', () => {
    const keys = loadKeys(folder, NOW - 1_000)
    const { signing, info } = keys
    const retired = join(folder, 'retired')
    rotated()
    // As it was before the new key was in place.
    const note = join(retired, `${signing.kid}.json`)
    writeFileSync(join(folder, 'authority.pem'), signing.unsafePem())
    expect(loadKeys(folder, NOW).all).toEqual([info])
    expect(rotateKey(folder, NOW)).toMatchObject({ ok: false })
    expect(loadKeys(folder, NOW).signing.kid).toBe(signing.kid)
    utimesSync(note, NOW / 1000 - 61, NOW / 1000 - 61)
    expect(rotateKey(folder, NOW)).toMatchObject({ ok: true })
  })

  test('or that leaves something damaged is said, not passed over', () => {
    loadKeys(folder, NOW - 1_000)
    const { from } = rotated()
    const file = join(folder, 'retired', `${from.kid}.json`)
    writeFileSync(file, JSON.stringify({ ...from, validUntil: null }))
    expect(() => loadKeys(folder, NOW)).toThrow('validUntil')
    writeFileSync(file, JSON.stringify({ ...from, kid: 'other' }))
    expect(() => loadKeys(folder, NOW)).toThrow('thumbprint')
  })
})

test('keys without a folder are there for their process only', () => {
  const keys = freshKeys(NOW)
  expect(keys.all).toEqual([keys.info])
  expect(keys.keyOf(keys.signing.kid, at(0))?.asymmetricKeyType).toBe('ed25519')
  expect(freshKeys(NOW).signing.kid).not.toBe(keys.signing.kid)
})
