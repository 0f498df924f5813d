import { join } from 'node:path'
import { createLocalJWKSet, decodeProtectedHeader, jwtVerify } from 'jose'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { publicKeysIn, rotateKey } from '../../../src/authority/keys.ts'
import { verifyReceipt } from '../../../src/ledger/verify.ts'
import { type Badged, type House, MAINTAINER, openHouse, read } from '../../door/support/house.ts'
import { discover, exchange } from './support.ts'

let house: House
let ahead = 0
beforeAll(async () => {
  house = await openHouse({ clock: () => Date.now() + ahead })
})
afterAll(() => house[Symbol.asyncDispose]())

const HOUR = 3_600_000

function rotate(): void {
  const rotated = rotateKey(join(house.folder, '.daypass'), Date.now() + ahead)
  if (!rotated.ok) throw new Error(rotated.error)
}

async function jwks() {
  const response = await fetch((await discover(house)).jwks_uri!)
  return (await response.json()) as { keys: { kid: string }[] }
}

async function reads({ badge }: Badged): Promise<string> {
  const client = await house.client(badge)
  return read(await client.callTool({ name: 'shop.read', arguments: { repo: 'clord' } })).text
}

async function receiptOf(run: Badged) {
  const { authority } = house.daypass
  await authority.end(run.run, { by: MAINTAINER, note: 'done' })
  return authority.close(run)
}

test('a key rotates under a server that runs; badges and receipts of the old one stay good', async () => {
  const delegate = { maxDepth: 1, maxChildren: 2, ask: false }
  const [before, closed] = [await house.open({ delegate }), await house.open()]
  const early = await receiptOf(closed)
  // This one closes before the rotation, and nobody asks for its receipt until after it.
  const late = await house.open()
  await house.daypass.authority.end(late.run, { by: MAINTAINER, note: 'done' })
  await house.daypass.runs.close(late)
  rotate()
  const after = await house.open()
  const kidOf = ({ badge }: Badged) => decodeProtectedHeader(badge).kid
  expect(kidOf(after)).not.toBe(kidOf(before))
  expect((await jwks()).keys.map(({ kid }) => kid)).toEqual([kidOf(after), kidOf(before)])
  const keys = createLocalJWKSet(await jwks())
  for (const each of [before, after]) {
    expect(await reads(each)).toContain('read clord')
    const { payload } = await jwtVerify(each.badge, keys, { typ: 'at+jwt' })
    expect(payload.run).toBe(each.run)
  }
  // An old badge is exchanged for one that the new key signs.
  const lease = { purpose: 'x', actions: ['repo.read'], resources: { repos: ['clord'] } }
  const child = await exchange(await discover(house), before.badge, { ...lease, max_tool_calls: 1 })
  expect(decodeProtectedHeader(child.access_token).kid).toBe(kidOf(after))
  const pinned = publicKeysIn(join(house.folder, '.daypass'))
  const receipts = [early, await receiptOf(before), await house.daypass.authority.close(late)]
  expect(receipts.map(({ signature }) => signature.kid)).toEqual([
    ...[kidOf(before), kidOf(after), kidOf(after)],
  ])
  for (const receipt of receipts) {
    const report = verifyReceipt(JSON.parse(JSON.stringify(receipt)), { keys: pinned })
    expect(report.verdict).toBe('verified')
  }
})

test('a badge of the old key is worthless once every badge that it signed has expired', async () => {
  const before = await house.open({ expiresInSeconds: 8 * 3600 })
  expect(await reads(before)).toContain('read clord')
  rotate()
  const [, old] = (await jwks()).keys
  expect(decodeProtectedHeader(before.badge).kid).toBe(old!.kid)
  ahead = 9 * HOUR
  expect((await jwks()).keys).toHaveLength(1)
  await expect(house.client(before.badge)).rejects.toThrow()
  expect(house.daypass.keys.keyOf(old!.kid, { now: Date.now() + ahead, overlapMs: 0 })).toBeNull()
})
