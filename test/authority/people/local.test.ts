import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Browser, MIRA, type Site, signInByLink, startSite } from './support.ts'

let site: Site
beforeAll(async () => {
  site = await startSite()
})
afterAll(() => site.stop())

const MINUTE = 60_000
const HOUR = 60 * MINUTE

const isSignedIn = async (browser: Browser) =>
  (await browser.api(site, 'GET', '/v1/runs')).status === 200

describe('the link from the terminal', () => {
  test('signs the operator in, in the browser that confirms it', async () => {
    const browser = new Browser()
    expect(await isSignedIn(browser)).toBe(false)
    const page = await signInByLink(site, browser)
    expect(page.title).toBe(`Signed in as ${MIRA}`)
    for (const role of ['requester', 'approver', 'auditor', 'admin']) {
      expect(page.text).toContain(`<dt>${role}</dt>`)
    }
    expect(await isSignedIn(browser)).toBe(true)
    expect(await isSignedIn(new Browser())).toBe(false)
  })

  test('is not used up by a program that previews it', async () => {
    const { url } = await site.daypass.signInLinks!.make()
    for (const method of ['HEAD', 'GET', 'GET']) {
      const preview = new Browser()
      expect((await preview.open(url, { method })).status).toBe(200)
      expect(preview.seen).toEqual([])
    }
    const browser = new Browser()
    await browser.press(await browser.open(url), '/sign-in/link')
    expect(await isSignedIn(browser)).toBe(true)
  })

  test('works once, whoever confirms it first', async () => {
    const { url } = await site.daypass.signInLinks!.make()
    const browsers = Array.from({ length: 8 }, () => new Browser())
    const pages = await Promise.all(browsers.map((browser) => browser.open(url)))
    const answers = await Promise.all(
      browsers.map((browser, i) => browser.press(pages[i]!, '/sign-in/link')),
    )
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1)
    expect(answers.filter(({ status }) => status === 410)).toHaveLength(7)
    const late = await new Browser().open(url)
    expect([late.status, late.title]).toEqual([410, 'This link is used up or too old'])
  })

  test('is dead after 10 minutes', async () => {
    const { url } = await site.daypass.signInLinks!.make()
    const browser = new Browser()
    const page = await browser.open(url)
    site.pass(10 * MINUTE)
    expect((await browser.press(page, '/sign-in/link')).status).toBe(410)
    expect((await browser.open(url)).status).toBe(410)
    expect(await isSignedIn(browser)).toBe(false)
  })

  test('threat 73: a button on a page of somebody else does not use it', async () => {
    const { url } = await site.daypass.signInLinks!.make()
    const code = new URL(url).searchParams.get('code')!
    for (const origin of [null, 'null', 'https://evil.example', 'http://127.0.0.1:1']) {
      const browser = new Browser()
      const page = await browser.post(`${site.url}/sign-in/link`, { code }, origin)
      expect([page.status, page.title]).toEqual([403, 'Nothing was changed'])
      expect(browser.seen).toEqual([])
    }
    expect((await new Browser().open(url)).status).toBe(200)
  })

  test('is made only for the operator, who has the token', async () => {
    const make = (headers: Record<string, string>) =>
      fetch(`${site.url}/sign-in/links`, { method: 'POST', headers })
    expect((await make({})).status).toBe(401)
    expect((await make({ authorization: 'Bearer made-up' })).status).toBe(401)
    const browser = new Browser()
    await signInByLink(site, browser)
    const bySession = await browser.api(site, 'POST', '/sign-in/links')
    expect(bySession.status).toBe(403)
    expect(bySession.headers.get('content-type')).toBe('application/problem+json')
    const made = await make({ authorization: `Bearer ${site.daypass.operatorToken}` })
    expect(made.status).toBe(201)
    const { url } = (await made.json()) as { url: string }
    const other = new Browser()
    await other.press(await other.open(url), '/sign-in/link')
    expect(await isSignedIn(other)).toBe(true)
  })
})

describe('the way back', () => {
  test('leads to the page of ours that asked for a sign-in', async () => {
    const browser = new Browser()
    const back = '/consent/some-request?step=2'
    const asked = await browser.open(`${site.url}/sign-in?return=${encodeURIComponent(back)}`)
    expect(asked.title).toBe('Sign in from your terminal')
    const page = await signInByLink(site, browser)
    expect(page.url.href).toBe(site.url + back)
    // It is gone once: the next sign-in is another one.
    expect((await signInByLink(site, browser)).url.pathname).toBe('/sign-in')
  })

  test('who is signed in already is led there at once', async () => {
    const browser = new Browser()
    await signInByLink(site, browser)
    const page = await browser.open(`${site.url}/sign-in?return=/consent/x`)
    expect(page.url.pathname).toBe('/consent/x')
  })

  test('never leads to a page of others (open redirect)', async () => {
    const places = ['https://evil.example/', '//evil.example/', '/\\evil.example', 'javascript:1']
    for (const place of places) {
      const browser = new Browser()
      await browser.open(`${site.url}/sign-in?return=${encodeURIComponent(place)}`)
      expect((await signInByLink(site, browser)).url.href).toBe(`${site.url}/sign-in`)
      const page = await browser.open(`${site.url}/sign-in?return=${encodeURIComponent(place)}`)
      expect(page.url.origin).toBe(site.url)
      expect(page.title).toBe(`Signed in as ${MIRA}`)
    }
  })

  test('a way back that this browser was not given is none', async () => {
    const browser = new Browser()
    const name = `daypass-sign-in-${new URL(site.url).port}`
    browser.cookies.set(name, Buffer.from('{"back":"//evil.example"}').toString('base64url'))
    expect((await signInByLink(site, browser)).url.href).toBe(`${site.url}/sign-in`)
  })
})

describe('a session', () => {
  test('is a cookie that no script and no other site can use', async () => {
    const browser = new Browser()
    await signInByLink(site, browser)
    const set = browser.seen.find(
      (line) => line.startsWith('daypass-') && !line.includes('sign-in'),
    )
    expect(set).toMatch(/^daypass-\d+=[\w-]{43}; Path=\/; HttpOnly; SameSite=Lax$/)
  })

  test('is another one after each sign-in, and the one before is over', async () => {
    const browser = new Browser()
    await signInByLink(site, browser)
    const before = new Map(browser.cookies)
    await signInByLink(site, browser)
    expect(browser.cookies).not.toEqual(before)
    const old = new Browser()
    for (const [name, value] of before) old.cookies.set(name, value)
    expect(await isSignedIn(old)).toBe(false)
    expect(await isSignedIn(browser)).toBe(true)
  })

  test('a value that somebody planted before does not become one', async () => {
    const name = `daypass-${new URL(site.url).port}`
    const browser = new Browser()
    browser.cookies.set(name, 'A'.repeat(43))
    await signInByLink(site, browser)
    const planted = new Browser()
    planted.cookies.set(name, 'A'.repeat(43))
    expect(await isSignedIn(planted)).toBe(false)
    expect(browser.cookies.get(name)).not.toBe('A'.repeat(43))
  })

  test('is over when nobody has used it for two hours', async () => {
    const browser = new Browser()
    await signInByLink(site, browser)
    site.pass(2 * HOUR - MINUTE)
    expect(await isSignedIn(browser)).toBe(true)
    site.pass(2 * HOUR - MINUTE)
    expect(await isSignedIn(browser)).toBe(true)
    site.pass(2 * HOUR)
    expect(await isSignedIn(browser)).toBe(false)
  })

  test('is over after twelve hours, however much it is used', async () => {
    const browser = new Browser()
    await signInByLink(site, browser)
    for (let hours = 1; hours < 12; hours++) {
      site.pass(HOUR)
      expect(await isSignedIn(browser)).toBe(true)
    }
    site.pass(HOUR)
    expect(await isSignedIn(browser)).toBe(false)
  })

  test('ends when its person signs out, also for a copy of the cookie', async () => {
    const browser = new Browser()
    const page = await signInByLink(site, browser)
    const copy = new Browser()
    for (const [name, value] of browser.cookies) copy.cookies.set(name, value)
    expect((await browser.press(page, '/sign-in/out')).title).toBe('Signed out')
    expect(browser.cookies.size).toBe(0)
    expect(await isSignedIn(copy)).toBe(false)
  })

  test('threat 73: no other page signs its person out', async () => {
    const browser = new Browser()
    const page = await signInByLink(site, browser)
    const csrf = /name="csrf" value="([^"]+)"/.exec(page.text)![1]!
    const other = new Browser()
    const theirs = /name="csrf" value="([^"]+)"/.exec((await signInByLink(site, other)).text)![1]!
    const out = `${site.url}/sign-in/out`
    for (const [token, origin] of [
      [csrf, 'https://evil.example'],
      [csrf, null],
      [theirs, site.url],
      ['', site.url],
      [csrf.slice(1), site.url],
    ] as const) {
      expect((await browser.post(out, { csrf: token }, origin)).status).toBe(403)
    }
    expect(await isSignedIn(browser)).toBe(true)
    expect((await browser.post(out, { csrf }, site.url)).title).toBe('Signed out')
  })

  test('threat 73: what it changes must come from a page of ours', async () => {
    const browser = new Browser()
    await signInByLink(site, browser)
    const cookie = [...browser.cookies].map((pair) => pair.join('=')).join('; ')
    const revoke = (origin: string | null) =>
      fetch(`${site.url}/v1/runs/run_00000000000000000000/revoke`, {
        method: 'POST',
        headers: {
          cookie,
          'content-type': 'application/json',
          ...(origin === null ? {} : { origin }),
        },
        body: '{}',
      })
    for (const origin of [null, 'null', 'https://evil.example', 'http://127.0.0.1:1']) {
      expect((await revoke(origin)).status).toBeOneOf([401, 403])
    }
    expect((await revoke(site.url)).status).toBe(404)
  })

  test('threat 28: a wrong token does not fall back to the cookie beside it', async () => {
    const browser = new Browser()
    await signInByLink(site, browser)
    const cookie = [...browser.cookies].map((pair) => pair.join('=')).join('; ')
    for (const authorization of ['Bearer made-up', 'Basic bWlyYTp4', 'Bearer', 'DPoP x', '']) {
      const headers = { cookie, authorization }
      expect((await fetch(`${site.url}/v1/runs`, { headers })).status).toBe(401)
    }
  })
})

describe('the pages', () => {
  test('threat 73: nothing loads but our stylesheet, nobody frames them', async () => {
    const browser = new Browser()
    const signedIn = await signInByLink(site, browser)
    const pages = [
      signedIn,
      await new Browser().open(`${site.url}/sign-in`),
      await new Browser().open((await site.daypass.signInLinks!.make()).url),
      await new Browser().open(`${site.url}/sign-in/link?code=none`),
      await new Browser().open(`${site.url}/sign-in/nowhere`),
    ]
    for (const { headers, text, url } of pages) {
      expect(headers.get('content-security-policy')).toBe(
        "default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'; " +
          "form-action 'self'",
      )
      expect(headers.get('x-frame-options')).toBe('DENY')
      expect(headers.get('x-content-type-options')).toBe('nosniff')
      expect(headers.get('cache-control')).toBe('no-store')
      // With `no-referrer` the browser would send `Origin: null` with our own forms.
      expect(headers.get('referrer-policy')).toBe('same-origin')
      expect(text).not.toMatch(/<script|\sstyle=|\son\w+=|javascript:/i)
      const style = /<link rel="stylesheet" href="([^"]+)">/.exec(text)![1]!
      const sheet = await fetch(new URL(style, url))
      expect(sheet.headers.get('content-type')).toBe('text/css; charset=utf-8')
      expect(sheet.status).toBe(200)
    }
  })

  test('threat 73: the name of the person is text', async () => {
    const name = `"><img src=x onerror=alert(1)>@clord.example`
    const odd = await startSite('', name)
    try {
      const { text } = await signInByLink(odd, new Browser())
      expect(text).not.toContain('<img')
      expect(text).toContain('&quot;&gt;&lt;img')
    } finally {
      await odd.stop()
    }
  })
})

describe('what is no form', () => {
  test('is answered by a page, never by a failure', async () => {
    const browser = new Browser()
    await signInByLink(site, browser)
    const cookie = [...browser.cookies].map((pair) => pair.join('=')).join('; ')
    const types = ['multipart/form-data', 'multipart/form-data; boundary=x', 'application/json', '']
    for (const path of ['/sign-in/link', '/sign-in/out']) {
      for (const type of types) {
        for (const body of ['', '{', '--x\r\nbroken', 'code=%E0%A4%A&csrf[]=1', '\u0000']) {
          const headers = { origin: site.url, cookie, 'content-type': type }
          const { status } = await fetch(site.url + path, { method: 'POST', headers, body })
          expect(status).toBeOneOf([403, 410])
        }
      }
    }
    for (const path of ['/sign-in?return=%E0%A4%A', '/sign-in/link?code=%', '/sign-in/%00']) {
      const { status } = await fetch(site.url + path, { headers: { cookie: '%=%; =; a' } })
      expect(status).toBeOneOf([200, 404, 410])
    }
    const large = { method: 'POST', headers: { origin: site.url }, body: 'x'.repeat(9_000) }
    expect((await fetch(`${site.url}/sign-in/link`, large)).status).toBe(413)
    expect(await isSignedIn(browser)).toBe(true)
  })
})

describe('who tries too often', () => {
  test('is told on a page when to come again; signed-in people go on', async () => {
    const own = await startSite('limits: { sign_in: 10 }\n')
    try {
      const browser = new Browser()
      await signInByLink(own, browser)
      const tried = await Promise.all(
        Array.from({ length: 20 }, () => new Browser().open(`${own.url}/sign-in/link?code=guess`)),
      )
      const refused = tried.filter(({ status }) => status === 429)
      expect(refused.length).toBeGreaterThanOrEqual(10)
      expect(refused[0]!.title).toBe('Too many requests from your address')
      const seconds = refused[0]!.headers.get('retry-after')
      expect(refused[0]!.text).toContain(`Try again in ${seconds} s.`)
      expect(refused[0]!.headers.get('content-security-policy')).toContain("default-src 'none'")
      expect((await browser.api(own, 'GET', '/v1/runs')).status).toBe(200)
    } finally {
      await own.stop()
    }
  })
})
