import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  Browser,
  type CompanyIdp,
  type Site,
  signInAt,
  startIdp,
  startSite,
  type Users,
} from './support.ts'

const RULES = `  roles:
    claim: groups
    map: { requester: [staff], approver: [leads], auditor: [audit] }
  org:
    claim: tenant
    map: { T-1: acme, T-2: globex }
`
const known = (name: string, groups: string[], tenant: unknown = 'T-1') => ({
  ...{ email: `${name}@clord.example`, email_verified: true, groups, tenant },
})
const USERS: Users = {
  mira: known('Mira', ['staff']),
  sam: known('sam', ['staff', 'leads']),
  guest: known('guest', ['visitors']),
  stranger: known('stranger', ['staff'], 'T-9'),
  nobody: { groups: ['staff'], tenant: 'T-1' },
  unverified: { ...known('sam', ['leads']), email_verified: false },
}

let idp: CompanyIdp
let site: Site
beforeAll(async () => {
  idp = await startIdp(RULES)
  site = await startSite(idp.yaml)
  idp.serve(site.url, USERS)
})
afterAll(async () => {
  await site.stop()
  await idp.down()
})

const isSignedIn = async (browser: Browser) =>
  (await browser.api(site, 'GET', '/v1/runs')).status === 200
const cookieName = () => `daypass-${new URL(site.url).port}`
const attemptName = () => `daypass-sign-in-${new URL(site.url).port}`

describe('sign-in at the identity provider', () => {
  test('makes somebody a person with the roles and organisation of their claims', async () => {
    const browser = new Browser()
    const page = await signInAt(site, browser, 'sam')
    expect(page.title).toBe('Signed in as sam@clord.example')
    expect(page.text).toContain('<dt>approver</dt>')
    expect(page.text).toContain('<dt>requester</dt>')
    expect(page.text).not.toContain('<dt>admin</dt>')
    expect(page.text).toContain('<dd>acme</dd>')
    expect(await isSignedIn(browser)).toBe(true)
  })

  test('uses PKCE, a state, a nonce, and asks for no more than it reads', async () => {
    const browser = new Browser()
    await browser.open(`${site.url}/sign-in`)
    const asked = browser.went.find(({ origin }) => origin === idp.issuer)!.searchParams
    expect(Object.fromEntries(asked)).toEqual({
      client_id: 'daypass',
      response_type: 'code',
      redirect_uri: `${site.url}/sign-in/callback`,
      scope: 'openid email profile',
      code_challenge: expect.stringMatching(/^[\w-]{43}$/),
      code_challenge_method: 'S256',
      state: expect.stringMatching(/^[\w-]{43}$/),
      nonce: expect.stringMatching(/^[\w-]{43}$/),
    })
    const again = new Browser()
    await again.open(`${site.url}/sign-in`)
    const other = again.went.find(({ origin }) => origin === idp.issuer)!.searchParams
    for (const secret of ['state', 'nonce', 'code_challenge']) {
      expect(other.get(secret)).not.toBe(asked.get(secret))
    }
  })

  test('goes on with the page that asked for it', async () => {
    const path = `/sign-in?return=${encodeURIComponent('/consent/abc?x=1')}`
    const page = await signInAt(site, new Browser(), 'mira', path)
    expect(page.url.href).toBe(`${site.url}/consent/abc?x=1`)
  })

  test('has no other way in: a link from the terminal is for one person only', async () => {
    expect(site.daypass.signInLinks).toBeNull()
    expect((await new Browser().open(`${site.url}/sign-in/link?code=x`)).status).toBe(404)
    const headers = { authorization: `Bearer ${site.daypass.operatorToken}` }
    const made = await fetch(`${site.url}/sign-in/links`, { method: 'POST', headers })
    expect(made.status).toBe(404)
  })
})

describe('whom the configuration does not know', () => {
  test.each([
    ['guest', 'You have no role here', 'no_role'],
    ['stranger', 'Your organisation is not served here', 'org_unknown'],
    ['nobody', 'Nobody says who you are', 'no_name'],
    ['unverified', 'Your e-mail address is not verified', 'email_unverified'],
  ])('%s is told so and has no session', async (user, title, code) => {
    const browser = new Browser()
    const page = await signInAt(site, browser, user)
    expect([page.status, page.title]).toEqual([403, title])
    expect(page.text).toContain(`<code>${code}</code>`)
    expect(browser.cookies.has(cookieName())).toBe(false)
    expect(await isSignedIn(browser)).toBe(false)
  })

  test('can sign in as somebody else, whom the provider asks for again', async () => {
    const browser = new Browser()
    const refused = await signInAt(site, browser, 'guest')
    expect(refused.text).toContain('href="/sign-in?anew"')
    const page = await signInAt(site, browser, 'mira', '/sign-in?anew')
    expect(page.title).toBe('Signed in as mira@clord.example')
  })
})

describe('what comes back is of this sign-in, or nothing', () => {
  /** A browser at the provider, and the address at which it would come back with a code. */
  async function begun(user = 'sam'): Promise<{ browser: Browser; back: URL }> {
    const browser = new Browser()
    const login = await browser.open(`${site.url}/sign-in`)
    const kept = browser.cookies.get(attemptName())!
    const page = await browser.press(login, '/interaction/', { login: user, password: 'x' })
    if (page.text.includes('value="consent"')) await browser.press(page, '/interaction/')
    const back = browser.went.find(({ pathname }) => pathname === '/sign-in/callback')!
    // As if the answer had not arrived yet; the code itself has been used by now.
    browser.cookies.set(attemptName(), kept)
    browser.cookies.delete(cookieName())
    return { browser, back }
  }

  test('threat 42: a code that was used signs nobody in', async () => {
    const { browser, back } = await begun()
    const page = await browser.open(back)
    expect(page.status).toBe(403)
    expect(page.text).toContain('<code>invalid_grant</code>')
    expect(await isSignedIn(browser)).toBe(false)
  })

  test('threat 45: an answer that names another issuer, or none, is refused', async () => {
    for (const iss of ['https://evil.example', `${idp.issuer}/`, null]) {
      const { browser, back } = await begun()
      if (iss === null) back.searchParams.delete('iss')
      else back.searchParams.set('iss', iss)
      const page = await browser.open(back)
      expect([page.status, page.title]).toEqual([400, 'The answer was not for this sign-in'])
      expect(await isSignedIn(browser)).toBe(false)
    }
  })

  test('another state, none or two are refused', async () => {
    for (const change of [
      (back: URL) => back.searchParams.set('state', 'A'.repeat(43)),
      (back: URL) => back.searchParams.delete('state'),
      (back: URL) => back.searchParams.append('state', 'x'),
    ]) {
      const { browser, back } = await begun()
      change(back)
      expect((await browser.open(back)).status).toBe(400)
      expect(await isSignedIn(browser)).toBe(false)
    }
  })

  test('threat 73: the answer of somebody else does not sign this browser in as them', async () => {
    const { back } = await begun('sam')
    const victim = new Browser()
    const page = await victim.open(back)
    expect([page.status, page.title]).toEqual([400, 'This sign-in was not finished in time'])
    // Nor when the victim is about to sign in themselves.
    await victim.open(`${site.url}/sign-in`)
    expect((await victim.open(back)).status).toBe(400)
    expect(await isSignedIn(victim)).toBe(false)
  })

  test('an attempt is over after ten minutes, and after its one answer', async () => {
    const { browser, back } = await begun()
    site.pass(10 * 60_000)
    const late = await browser.open(back)
    expect(late.title).toBe('This sign-in was not finished in time')
    expect(browser.cookies.has(attemptName())).toBe(false)
    expect((await browser.open(back)).title).toBe('This sign-in was not finished in time')
  })

  test('what the provider refuses is said, as a code', async () => {
    const browser = new Browser()
    await browser.open(`${site.url}/sign-in`)
    const state = browser.went
      .find(({ origin }) => origin === idp.issuer)!
      .searchParams.get('state')
    const back = new URL(`${site.url}/sign-in/callback`)
    back.search = String(new URLSearchParams({ error: 'access_denied', state: state! }))
    back.searchParams.set('iss', idp.issuer)
    const page = await browser.open(back)
    expect([page.status, page.title]).toEqual([403, 'Your identity provider did not let you in'])
    expect(page.text).toContain('<code>access_denied</code>')
  })

  test('threat 73: an error code is no markup', async () => {
    const browser = new Browser()
    await browser.open(`${site.url}/sign-in`)
    const state = browser.went
      .find(({ origin }) => origin === idp.issuer)!
      .searchParams.get('state')
    const back = new URL(`${site.url}/sign-in/callback`)
    const error = '<script>alert(1)</script>'
    back.search = String(new URLSearchParams({ error, state: state!, iss: idp.issuer }))
    const { text } = await browser.open(back)
    expect(text).not.toContain('<script')
    expect(text).toContain('<code>unknown</code>')
  })
})

describe('a person who has signed in', () => {
  test('signs out here; the provider may still know them', async () => {
    const browser = new Browser()
    const page = await signInAt(site, browser, 'mira')
    const out = await browser.press(page, '/sign-in/out')
    expect(out.title).toBe('Signed out')
    expect(out.text).toContain('identity provider may still know you')
    expect(await isSignedIn(browser)).toBe(false)
  })

  test('without a role for it does nothing of it', async () => {
    const browser = new Browser()
    await signInAt(site, browser, 'mira')
    const revoke = await browser.api(site, 'POST', '/v1/revocations', { everything: true })
    expect(revoke.status).toBe(403)
  })
})

describe('when the provider is down', () => {
  test('that is said, nobody is let in, and the next try can succeed', async () => {
    const other = await startIdp(RULES)
    const late = await startSite(other.yaml)
    try {
      const browser = new Browser()
      await other.down()
      const page = await browser.open(`${late.url}/sign-in`)
      expect([page.status, page.title]).toEqual([503, 'Your identity provider does not answer'])
      expect(browser.cookies.size).toBe(0)
      await other.up()
      other.serve(late.url, USERS)
      const back = await signInAt(late, browser, 'sam')
      expect(back.title).toBe('Signed in as sam@clord.example')
    } finally {
      await late.stop()
      await other.down()
    }
  })
})
