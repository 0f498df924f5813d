import type { LookupAddress, LookupOptions } from 'node:dns'
import type * as oauth from 'oauth4webapi'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { isPublicAddress, publicFetch } from '../../../src/authority/oauth/public-fetch.ts'
import { type Documents, json, serveDocuments } from './documents.ts'
import { askAt, Browser, CALLBACK, discover, type Place, redeem, startPlace } from './support.ts'

let documents: Documents
let place: Place
let as: oauth.AuthorizationServer
beforeAll(async () => {
  documents = await serveDocuments()
  place = await startPlace({ loopbackCa: documents.ca })
  as = await discover(place)
})
afterAll(async () => {
  await place.stop()
  await documents.stop()
})
beforeEach(() => {
  documents.seen.length = 0
})

let count = 0
/** A client that is named by an address that nobody has fetched before. */
function published(metadata: (id: string) => object = () => ({})): oauth.Client {
  const client_id = `${documents.url}/client-${++count}.json`
  documents.answer = json({
    client_id,
    client_name: 'Published client',
    redirect_uris: [CALLBACK],
    token_endpoint_auth_method: 'none',
    ...metadata(client_id),
  })
  return { client_id, token_endpoint_auth_method: 'none' }
}

async function open(client: oauth.Client, at = { place, as }) {
  const asked = await askAt(at.as, client, { scope: 'lease:read-notes' })
  const browser = new Browser(at.place)
  return { asked, browser, page: await browser.open(asked.url) }
}

describe('a client that is named by the address of its description (CIMD)', () => {
  test('is fetched, shown with where it is published, and gets its badge', async () => {
    const client = published()
    const { asked, browser, page } = await open(client)
    expect(page.text).toContain('Published client')
    expect(page.text).toContain(new URL(documents.url).host)
    const { url: led } = await browser.press(page, 'answer=allow')
    const tokens = await redeem(as, client, { asked, led })
    expect(tokens.scope).toBe('lease:read-notes')
    expect(documents.seen).toHaveLength(1)
  })

  test.each([
    ['says it is another client', () => ({ client_id: 'https://other.example/client' })],
    ['has a shared secret', () => ({ client_secret: 'x', token_endpoint_auth_method: 'none' })],
    ['sends its answer to a strange scheme', () => ({ redirect_uris: ['ms-msdt:/x'] })],
    ['is longer than any description', () => ({ client_name: 'x'.repeat(20_000) })],
  ])('one that %s is refused', async (_, metadata) => {
    const { page } = await open(published(metadata))
    expect(page.status).toBe(400)
    expect(page.text).toContain('This request is refused')
  })

  test('threat 38: a redirect is not followed, to wherever it leads', async () => {
    const client = published()
    for (const location of ['http://169.254.169.254/latest/meta-data', `${documents.url}/again`]) {
      documents.answer = (_, res) => void res.writeHead(302, { location }).end()
      expect(
        (await open({ ...client, client_id: `${client.client_id}?${location}` })).page.status,
      ).toBe(400)
    }
    expect(documents.seen.filter((path) => path === '/again')).toEqual([])
  })

  test('threat 38: without the option for tests, this machine is not asked', async () => {
    const own = await startPlace()
    try {
      const server = await discover(own)
      for (const host of ['127.0.0.1', 'localhost', '[::1]', '169.254.169.254', '10.0.0.1']) {
        const { port } = new URL(documents.url)
        const client = { client_id: `https://${host}:${port}/client.json` }
        const { page } = await open(client, { place: own, as: server })
        expect(page.status, host).toBe(400)
      }
      expect(documents.seen).toEqual([])
    } finally {
      await own.stop()
    }
  })

  test('threat 38: a name that leads into the network is refused where it is connected to', async () => {
    const asked: string[] = []
    /** Answers with a public address first and with this machine from then on. */
    const rebinding = (
      host: string,
      options: LookupOptions,
      done: (error: null, found: LookupAddress[] | string, family?: number) => void,
    ) => {
      asked.push(host)
      const found = [{ address: asked.length === 1 ? '93.184.215.14' : '127.0.0.1', family: 4 }]
      if (options.all) done(null, found)
      else done(null, found[0]!.address, 4)
    }
    const fetch = publicFetch({ lookup: rebinding as never })
    const { port } = new URL(documents.url)
    const signal = AbortSignal.timeout(300)
    // The first is let through, to an address that does not answer from here.
    await expect(fetch(`https://clients.example:${port}/a`, { signal })).rejects.toThrow()
    await expect(fetch(`https://clients.example:${port}/b`)).rejects.toMatchObject({
      cause: { message: '`clients.example` is not on the public internet' },
    })
    expect(asked).toHaveLength(2)
    expect(documents.seen).toEqual([])
  })

  test('threat 38: one bad address among good ones is enough', async () => {
    const mixed = (
      _: string,
      __: LookupOptions,
      done: (error: null, found: LookupAddress[]) => void,
    ) =>
      done(
        null,
        ['93.184.215.14', '10.0.0.7'].map((address) => ({ address, family: 4 })),
      )
    const fetch = publicFetch({ lookup: mixed as never })
    await expect(fetch('https://clients.example/a')).rejects.toMatchObject({
      cause: { message: '`clients.example` is not on the public internet' },
    })
  })
})

test.each([
  ...['0.0.0.0', '10.1.2.3', '100.64.0.1', '127.0.0.1', '127.255.255.254', '169.254.169.254'],
  ...['172.16.0.1', '172.31.255.255', '192.0.0.8', '192.0.2.1', '192.168.1.1', '198.18.0.1'],
  ...['198.51.100.7', '203.0.113.9', '224.0.0.1', '240.0.0.1', '255.255.255.255', '::', '::1'],
  ...['::ffff:127.0.0.1', '::ffff:8.8.8.8', '64:ff9b::7f00:1', 'fc00::1', 'fd12:3456::1'],
  ...['fe80::1', 'ff02::1', '2001:db8::1', '2002:7f00:1::', '2001::1', '3fff::1', '::7f00:1'],
  ...['fe80::1%eth0', 'localhost', '', '0x7f.1', '2130706433'],
])('`%s` is not of the public internet', (address) => {
  expect(isPublicAddress(address)).toBe(false)
})

test.each(['8.8.8.8', '1.1.1.1', '93.184.215.14', '172.32.0.1', '2606:4700:4700::1111'])(
  '`%s` is of the public internet',
  (address) => expect(isPublicAddress(address)).toBe(true),
)
