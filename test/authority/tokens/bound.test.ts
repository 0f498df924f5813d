import * as oauth from 'oauth4webapi'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Badged, type House, openHouse } from '../../door/support/house.ts'

type KeyPair = Awaited<ReturnType<typeof oauth.generateKeyPair>>

/** Badges that are bound to a key, at the gateway, by a strict client that is not ours. */

let house: House
let opened: Badged
let keys: KeyPair
let bound: string
beforeAll(async () => {
  house = await openHouse()
  opened = await house.open()
  keys = await oauth.generateKeyPair('ES256')
  const holder = { client: 'https://agent.example/client.json', jkt: await thumbprintOf(keys) }
  const badge = await house.daypass.authority.badgeFor(opened.run, holder)
  if (!badge.ok) throw new Error(badge.error.message)
  bound = badge.value.token
})
afterAll(() => house[Symbol.asyncDispose]())

const client: oauth.Client = { client_id: 'https://agent.example/client.json' }

async function thumbprintOf(pair: KeyPair): Promise<string> {
  return oauth.DPoP(client, pair).calculateThumbprint()
}

const body = JSON.stringify({
  jsonrpc: '2.0',
  id: 1,
  method: 'initialize',
  params: {
    protocolVersion: '2025-11-25',
    capabilities: {},
    clientInfo: { name: 'x', version: '1' },
  },
})
const accept = 'application/json, text/event-stream'
const headers = () => new Headers({ 'content-type': 'application/json', accept })

function knock(token: string, pair: KeyPair | null): Promise<Response> {
  const url = new URL(`${house.daypass.url}/mcp`)
  return oauth.protectedResourceRequest(token, 'POST', url, headers(), body, {
    [oauth.allowInsecureRequests]: true,
    ...(pair === null ? {} : { DPoP: oauth.DPoP(client, pair) }),
  })
}

/** A request whose proof the test has in its hands. */
async function send(authorization: string, proofs: readonly string[]): Promise<Response> {
  const list = new Headers(headers())
  list.set('authorization', authorization)
  for (const proof of proofs) list.append('dpop', proof)
  return fetch(`${house.daypass.url}/mcp`, { method: 'POST', headers: list, body })
}

/** The proof that the client made for its last request. */
async function proofOf(token: string, pair: KeyPair, path = '/mcp'): Promise<string> {
  let proof = ''
  const url = new URL(`${house.daypass.url}${path}`)
  await oauth.protectedResourceRequest(token, 'POST', url, headers(), body, {
    [oauth.allowInsecureRequests]: true,
    DPoP: oauth.DPoP(client, pair),
    [oauth.customFetch]: async (_url, options) => {
      proof = (options.headers as Record<string, string>).dpop!
      return new Response('{}')
    },
  })
  return proof
}

test('who has the key comes in, as often as they prove it', async () => {
  for (let i = 0; i < 3; i++) expect((await knock(bound, keys)).status).toBe(200)
})

async function status(answer: Promise<Response>): Promise<number> {
  return answer.then(
    (response) => response.status,
    (error: unknown) => (error as oauth.WWWAuthenticateChallengeError).status,
  )
}

describe('threat 44, 48: a bound badge opens nothing', () => {
  test('as a bearer', async () => {
    expect(await status(knock(bound, null))).toBe(401)
    expect((await send(`Bearer ${bound}`, [await proofOf(bound, keys)])).status).toBe(401)
  })

  test('with the proof of another key', async () => {
    expect(await status(knock(bound, await oauth.generateKeyPair('ES256')))).toBe(401)
  })

  test('with a proof that was used, even by the same client', async () => {
    const proof = await proofOf(bound, keys)
    expect((await send(`DPoP ${bound}`, [proof])).status).toBe(200)
    const again = await send(`DPoP ${bound}`, [proof])
    expect(again.status).toBe(401)
    expect(again.headers.get('www-authenticate')).toMatch(
      /^DPoP error="invalid_token", resource_metadata="[^"]+", algs="ES256 Ed25519 EdDSA"$/,
    )
  })

  test('with a proof for another URL, or for another badge', async () => {
    const elsewhere = await proofOf(bound, keys, '/oauth/token')
    expect((await send(`DPoP ${bound}`, [elsewhere])).status).toBe(401)
    const other = await proofOf(opened.badge, keys)
    expect((await send(`DPoP ${bound}`, [other])).status).toBe(401)
  })

  test('without a proof, or with two', async () => {
    expect((await send(`DPoP ${bound}`, [])).status).toBe(401)
    const two = [await proofOf(bound, keys), await proofOf(bound, keys)]
    expect((await send(`DPoP ${bound}`, two)).status).not.toBe(200)
  })
})

test('a badge that is not bound proves nothing by a proof', async () => {
  expect(await status(knock(opened.badge, null))).toBe(200)
  expect(await status(knock(opened.badge, keys))).toBe(401)
})
