import { decodeJwt, decodeProtectedHeader } from 'jose'
import type * as oauth from 'oauth4webapi'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  allow,
  askAt,
  Browser,
  CALLBACK,
  callTool,
  discover,
  getTokens,
  leaseOf,
  MIRA,
  type Place,
  redeem,
  register,
  runIn,
  startPlace,
} from './support.ts'

let place: Place
let as: oauth.AuthorizationServer
beforeAll(async () => {
  place = await startPlace()
  as = await discover(place)
})
afterAll(() => place.stop())

const LEE = { person: 'lee@clord.example', via: 'terminal' } as const
const trees = async () => (await place.daypass.authority.list({ open: true, limit: 500 })).length
const entity = { entities: [{ name: 'a', entityType: 'b', observations: [] }] }

/** A page that asks for the lease of a template. */
async function asking(parameters: Readonly<Record<string, string>>, where = { place, as }) {
  const client = await register(where.as)
  const asked = await askAt(where.as, client, parameters)
  const browser = new Browser(where.place)
  return { client, asked, browser, page: await browser.open(asked.url) }
}

describe('the consent page is the lease prompt', () => {
  test('a client that knows nothing of Daypass gets the badge of the run', async () => {
    const { client, asked, browser, page } = await asking({ scope: 'lease:read-notes' })
    expect(page.status).toBe(200)
    expect(page.text).toContain('look something up')
    expect(page.text).toContain('Allow for 15 minutes')
    const { url: led } = await browser.press(page, 'answer=allow')
    expect(led.href.startsWith(`${CALLBACK}?`)).toBe(true)
    const tokens = await redeem(as, client, { asked, led })
    expect(tokens.scope).toBe('lease:read-notes')
    expect(decodeProtectedHeader(tokens.access_token)).toMatchObject({
      ...{ alg: 'EdDSA', typ: 'at+jwt', kid: place.daypass.keys.signing.kid },
    })
    const claims = decodeJwt(tokens.access_token)
    expect(claims).toMatchObject({
      ...{ iss: place.url, aud: `${place.url}/mcp`, sub: MIRA, client_id: client.client_id },
      ...{ org: 'local', act: { sub: 'notes-agent' } },
    })
    expect(tokens.authorization_details).toMatchObject([
      { type: 'daypass_lease', identifier: claims.lease, run: claims.run },
    ])
    const called = await callTool(place, tokens.access_token, 'notes.read_graph')
    expect(called.text).toContain('entities')
    const denied = await callTool(place, tokens.access_token, 'notes.create_entities', entity)
    expect(denied.isError).toBe(true)
    expect(denied.text).toContain('Denied: memory.write')
  })

  test('who names no lease lets the person choose, and nothing is opened before the yes', async () => {
    const before = await trees()
    const { client, asked, browser, page: choice } = await asking({})
    expect(choice.text).toContain('keep the notes in order')
    expect(choice.text).toContain('look something up')
    const page = await browser.open(`${choice.url.pathname}?template=write-notes`)
    expect(page.text).toContain('Allow for 30 minutes')
    expect(await trees()).toBe(before)
    const { url: led } = await browser.press(page, 'answer=allow')
    expect(await trees()).toBe(before + 1)
    const tokens = await redeem(as, client, { asked, led })
    expect(tokens.scope).toBe('lease:write-notes')
    const wrote = await callTool(place, tokens.access_token, 'notes.create_entities', entity)
    expect(wrote.isError).not.toBe(true)
  })

  test('a yes after a change shows what is left first, and is used the second time', async () => {
    const before = await trees()
    const { client, asked, browser, page } = await asking({ scope: 'lease:write-notes' })
    const less = { keep: ['memory.read'], calls: ['5'], expires: ['10m'] }
    const changed = await browser.press(page, 'answer=allow', less)
    expect(changed.status).toBe(409)
    expect(changed.text).toContain('your yes was not used')
    expect(changed.text).toContain('Allow for 10 minutes')
    expect(await trees()).toBe(before)
    const { url: led } = await browser.press(changed, 'answer=allow')
    const tokens = await redeem(as, client, { asked, led })
    const { terms } = await leaseOf(place, runIn(tokens))
    expect(terms).toMatchObject({ maxToolCalls: 5, expiresInSeconds: 600 })
    expect(terms.grants.flatMap(({ actions }) => actions)).toEqual(['memory.read'])
    const denied = await callTool(place, tokens.access_token, 'notes.create_entities', entity)
    expect(denied.isError).toBe(true)
  })

  test.each([
    ['more calls', { calls: ['21'] }, 'only 20 or less'],
    ['a longer life', { expires: ['31m'] }, 'only 1800 or less'],
    ['no number', { calls: ['-1'] }, 'write a whole number from 1'],
    ['no time', { expires: ['for ever'] }, 'unknown duration'],
    ['nothing at all', { keep: [] }, 'nothing would be left'],
  ])('%s is not for the page to give', async (_, changes, words) => {
    const before = await trees()
    const { browser, page } = await asking({ scope: 'lease:write-notes' })
    const seen = await browser.press(page, 'answer=update', changes)
    expect(seen.status).toBe(422)
    expect(seen.text).toContain(words)
    const forced = await browser.press(page, 'answer=allow', changes)
    expect(forced.status).toBe(422)
    expect(await trees()).toBe(before)
  })

  test('an action that the template lacks is not added by ticking it', async () => {
    const { client, asked, browser, page } = await asking({ scope: 'lease:read-notes' })
    const ticked = { keep: ['memory.read', 'memory.write', 'production.deploy'] }
    const { url: led } = await browser.press(page, 'answer=allow', ticked)
    const tokens = await redeem(as, client, { asked, led })
    const { terms } = await leaseOf(place, runIn(tokens))
    expect(terms.grants.flatMap(({ actions }) => actions)).toEqual(['memory.read'])
  })

  test('two presses of the yes are one run and one way back', async () => {
    const before = await trees()
    const { browser, page } = await asking({ scope: 'lease:read-notes' })
    const led = await Promise.all([
      browser.press(page, 'answer=allow'),
      browser.press(page, 'answer=allow'),
    ])
    expect(await trees()).toBe(before + 1)
    expect(led.some(({ url }) => url.searchParams.has('code'))).toBe(true)
  })

  test('a no leads back with an error, the state and the issuer, and opens nothing', async () => {
    const before = await trees()
    const { asked, browser, page } = await asking({ scope: 'lease:read-notes' })
    const { url: led } = await browser.press(page, 'answer=refuse')
    expect(led.href.startsWith(`${CALLBACK}?`)).toBe(true)
    expect(Object.fromEntries(led.searchParams)).toMatchObject({
      ...{ error: 'access_denied', state: asked.state, iss: place.url },
    })
    expect(await trees()).toBe(before)
  })

  test('a template that is not there is not offered, and a no is all there is to say', async () => {
    const { browser, page } = await asking({ scope: 'lease:everything' })
    expect(page.text).toContain('No lease here is for what it asks')
    expect(page.text).not.toContain('value="allow"')
    const { url: led } = await browser.press(page, 'answer=refuse')
    expect(led.searchParams.get('error')).toBe('access_denied')
  })
})

describe('authorization details (RFC 9396)', () => {
  const details = (more: object) => JSON.stringify([{ type: 'daypass_lease', ...more }])

  test('name the template and leave away what the client does not need', async () => {
    const authorization_details = details({
      ...{ template: 'write-notes', drop: ['memory.delete'], max_tool_calls: 3, expires_in: '5m' },
    })
    const { client, asked, browser, page } = await asking({ authorization_details })
    expect(page.text).toContain('Allow for 5 minutes')
    const { url: led } = await browser.press(page, 'answer=allow')
    const tokens = await redeem(as, client, { asked, led })
    const { terms } = await leaseOf(place, runIn(tokens))
    expect(terms).toMatchObject({ maxToolCalls: 3, expiresInSeconds: 300 })
    expect(terms.grants.flatMap(({ actions }) => actions)).not.toContain('memory.delete')
  })

  test.each([
    ['an unknown field', details({ template: 'read-notes', also: ['production.deploy'] })],
    ['an unknown type', JSON.stringify([{ type: 'payment', template: 'read-notes' }])],
    ['two leases', JSON.stringify([1, 2].map(() => ({ type: 'daypass_lease', template: 'x' })))],
    ['no template', details({})],
    ['another template than the scope', details({ template: 'write-notes' })],
    ['no JSON', '{'],
  ])('%s is refused before anybody is asked', async (_, authorization_details) => {
    const parameters = { scope: 'lease:read-notes', authorization_details }
    const { page } = await asking(parameters)
    expect(page.url.href.startsWith(CALLBACK)).toBe(true)
    expect(page.url.searchParams.get('error')).toBe('invalid_authorization_details')
  })
})

describe('who says yes', () => {
  let other: { place: Place; as: oauth.AuthorizationServer }
  beforeAll(async () => {
    const own = await startPlace({ yaml: 'approvals: { self: false }\n' })
    other = { place: own, as: await discover(own) }
  })
  afterAll(() => other.place.stop())

  test('the page waits for another person where the requester may not, and goes on', async () => {
    const { client, asked, browser, page } = await asking({ scope: 'lease:read-notes' }, other)
    const waiting = await browser.press(page, 'answer=allow')
    expect(waiting.text).toContain('Waits for an approver')
    expect(Number(waiting.headers.get('refresh'))).toBeGreaterThan(0)
    expect((await browser.open(waiting.url)).text).toContain('Waits for an approver')
    const { authority } = other.place.daypass
    const [tree] = await authority.list({ open: true, limit: 1 })
    const { promptHash } = tree!.runs.get(tree!.root)!.lease!
    const answered = await authority.approve(tree!.root, { by: LEE, promptHash })
    expect(answered.ok).toBe(true)
    const { url: led } = await browser.open(waiting.url)
    const tokens = await redeem(other.as, client, { asked, led })
    expect(runIn(tokens)).toBe(tree!.root)
  })

  test('a refusal of theirs reaches the client, with the reason', async () => {
    const { browser, page } = await asking({ scope: 'lease:read-notes' }, other)
    const waiting = await browser.press(page, 'answer=allow')
    const { authority } = other.place.daypass
    const [tree] = await authority.list({ open: true, limit: 1 })
    await authority.refuse(tree!.root, { by: LEE, reason: 'not today' })
    const { url: led } = await browser.open(waiting.url)
    expect(led.searchParams.get('error')).toBe('access_denied')
    expect(led.searchParams.get('error_description')).toBe('not today')
  })

  test('the requester can take it back while it waits', async () => {
    const { browser, page } = await asking({ scope: 'lease:read-notes' }, other)
    const waiting = await browser.press(page, 'answer=allow')
    const { url: led } = await browser.press(waiting, 'answer=refuse')
    expect(led.searchParams.get('error')).toBe('access_denied')
  })

  test('a rule that asks for a role is met by a person who has it', async () => {
    const own = await startPlace({ yaml: 'policy: { approve: [{ roles: [approver] }] }\n' })
    try {
      const { run } = await getTokens(own, await discover(own))
      expect((await leaseOf(own, run)).state).toBe('active')
    } finally {
      await own.stop()
    }
  })

  test('a lease that only reads needs nobody else where the policy says so', async () => {
    const yaml = 'approvals: { self: false }\npolicy: { read_only: { under: 1h } }\n'
    const own = await startPlace({ yaml })
    try {
      const server = await discover(own)
      const { tokens, run } = await getTokens(own, server)
      expect(tokens.access_token).toBeTruthy()
      const [entry] = (
        await own.daypass.authority.entries((await own.daypass.authority.find(run))!.key)
      ).filter(({ type }) => type === 'lease.approved')
      expect(entry).toMatchObject({ command: { by: { policy: 'read_only' } } })
    } finally {
      await own.stop()
    }
  })
})

describe('threats to the page', () => {
  test('threat 43: an earlier yes never stands for a new request of the same client', async () => {
    const { client, browser } = await allow(place, as)
    const again = await askAt(as, client, { scope: 'lease:read-notes' })
    const page = await browser.open(again.url)
    expect(page.text).toContain('Allow for 15 minutes')
    const silent = await askAt(as, client, { scope: 'lease:read-notes', prompt: 'none' })
    const { url: led } = await browser.open(silent.url)
    expect(led.searchParams.get('error')).toBe('consent_required')
  })

  test('threat 43: the page is open in the browser that was sent to it, and in no other', async () => {
    const { page } = await asking({ scope: 'lease:read-notes' })
    const elsewhere = new Browser(place)
    const stolen = await elsewhere.open(page.url)
    expect(stolen.status).toBe(400)
    expect(stolen.text).toContain('not open here')
    expect((await elsewhere.press(page, 'answer=allow')).status).toBe(400)
    // Nor under the address of another request of the same browser.
    const { browser } = await asking({ scope: 'lease:read-notes' })
    expect((await browser.open(page.url)).status).toBe(400)
  })

  test('threat 43: a form without its token, or with one of another request, is nothing', async () => {
    const before = await trees()
    const { browser, page } = await asking({ scope: 'lease:read-notes' })
    const other = await asking({ scope: 'lease:read-notes' })
    const foreign = /name="csrf" value="([^"]+)"/.exec(other.page.text)![1]!
    for (const csrf of [[], ['x'], [foreign]]) {
      const answered = await browser.press(page, 'answer=allow', { csrf })
      expect(answered.status).toBe(403)
    }
    expect(await trees()).toBe(before)
  })

  test('threat 43: nobody who is not signed in sees or answers it', async () => {
    const client = await register(as)
    const asked = await askAt(as, client, { scope: 'lease:read-notes' })
    const stranger = new Browser(place, 'nobody')
    const page = await stranger.open(asked.url)
    expect(page.url.pathname).toBe('/sign-in')
    expect(page.url.searchParams.get('return')).toMatch(/^\/consent\/[\w-]+$/)
    expect(page.text).not.toContain('look something up')
  })

  test('who is sent to sign in comes back to the prompt, and answers with their session', async () => {
    const { client, asked, browser } = await unsigned()
    const at = await browser.open(asked.url)
    expect(at.url.pathname).toBe('/sign-in')
    const link = await place.daypass.signInLinks!.make()
    const page = await browser.press(await browser.open(link.url), '')
    expect(page.text).toContain('look something up')
    const { url: led } = await browser.press(page, 'answer=allow')
    const tokens = await redeem(as, client, { asked, led })
    expect(decodeJwt(tokens.access_token).sub).toBe(MIRA)
  })

  test('threat 73: a page of another origin does not answer it, cookies or not', async () => {
    const { asked, browser } = await unsigned()
    await browser.open(asked.url)
    const link = await place.daypass.signInLinks!.make()
    const page = await browser.press(await browser.open(link.url), '')
    const before = await trees()
    for (const origin of ['https://evil.example', 'http://127.0.0.1:1', 'null']) {
      const answered = await browser.press(page, 'answer=allow', {}, origin)
      expect(answered.status, origin).toBe(403)
    }
    expect(await trees()).toBe(before)
  })

  test('threat 50: what a client says of itself is text, and where its answer goes is said', async () => {
    const client_name = `</p><script>alert(1)</script><img src=x onerror=alert(1)>\u202e`
    const client = await register(as, { client_name })
    const asked = await askAt(as, client, { scope: 'lease:read-notes' })
    const page = await new Browser(place).open(asked.url)
    expect(page.text).not.toContain('<script')
    expect(page.text).not.toContain('<img')
    expect(page.text).toContain('\\u{202e}')
    expect(page.text).toContain('Nobody has checked that')
    expect(page.text).toContain('127.0.0.1:33418')
    expect(page.text).toContain('Go on only if you have just started it yourself')
  })

  test('the page runs no script, is in no frame, and posts to us and the client only', async () => {
    const { page } = await asking({ scope: 'lease:read-notes' })
    const policy = page.headers.get('content-security-policy')!
    expect(policy).toContain("default-src 'none'")
    expect(policy).toContain("frame-ancestors 'none'")
    expect(policy).toContain("form-action 'self' http://127.0.0.1:33418")
    expect(policy).not.toContain('unsafe')
    expect(page.headers.get('cache-control')).toBe('no-store')
    expect(page.text).not.toMatch(/<script|\sstyle=|\son\w+=/)
  })
})

async function unsigned() {
  const client = await register(as)
  const asked = await askAt(as, client, { scope: 'lease:read-notes' })
  return { client, asked, browser: new Browser(place, 'nobody') }
}
