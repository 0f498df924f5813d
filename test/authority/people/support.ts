import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Provider } from 'oidc-provider'
import { type Daypass, startDaypass } from '../../../src/server.ts'

export const MIRA = 'mira@clord.example'

/** What the identity provider says of its users; the name is what they log in as. */
export type Users = Readonly<Record<string, Readonly<Record<string, unknown>>>>

export interface Site {
  readonly daypass: Daypass
  readonly url: string
  readonly folder: string
  /** Turns the clock of Daypass forward. */
  pass(ms: number): void
  stop(): Promise<void>
}

/** A whole server in memory; `yaml` is its configuration. */
export async function startSite(yaml = '', operator = MIRA): Promise<Site> {
  const folder = mkdtempSync(join(tmpdir(), 'daypass-people-'))
  writeFileSync(join(folder, 'client-secret'), CLIENT_SECRET)
  writeFileSync(join(folder, 'daypass.yaml'), `version: 1\n${yaml}`)
  let late = 0
  const started = await startDaypass({
    ...{ folder: null, configFile: join(folder, 'daypass.yaml'), operator },
    clock: () => Date.now() + late,
  })
  if (!started.ok) throw new Error(started.error.join('\n'))
  const daypass = started.value
  return {
    ...{ daypass, folder, url: daypass.url },
    pass: (ms) => {
      late += ms
    },
    stop: async () => {
      await daypass.close()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

const CLIENT_SECRET = 'a secret that only the two of them know'

/** The identity provider of a company: another oidc-provider, with its own people. */
export interface CompanyIdp {
  readonly issuer: string
  /** The section `people:` for it. */
  readonly yaml: string
  /** From now on Daypass is a client of it. */
  serve(daypass: string, users: Users): void
  /** Nothing listens there any more, until it is up again. */
  down(): Promise<void>
  up(): Promise<void>
}

export async function startIdp(rules: string): Promise<CompanyIdp> {
  const http = createServer()
  await new Promise<void>((done) => http.listen(0, '127.0.0.1', done))
  const { port } = http.address() as AddressInfo
  const issuer = `http://127.0.0.1:${port}`
  return {
    issuer,
    yaml: `people:
  issuer: ${issuer}
  client_id: daypass
  client_secret: file:client-secret
${rules}`,
    serve: (daypass, users) => serveIdp(http, { issuer, daypass, users }),
    down: () =>
      new Promise((done) => {
        http.close(() => done())
        http.closeAllConnections()
      }),
    up: () => new Promise((done) => http.listen(port, '127.0.0.1', done)),
  }
}

function serveIdp(http: Server, of: { issuer: string; daypass: string; users: Users }): void {
  const provider = new Provider(of.issuer, {
    clients: [
      {
        client_id: 'daypass',
        client_secret: CLIENT_SECRET,
        redirect_uris: [`${of.daypass}/sign-in/callback`],
      },
    ],
    // One of them in the ID token would hide that the others come from the userinfo endpoint.
    claims: {
      openid: ['sub', 'groups', 'tenant'],
      email: ['email', 'email_verified'],
      profile: [],
    },
    findAccount: (_, id) =>
      of.users[id] === undefined
        ? undefined
        : { accountId: id, claims: () => ({ sub: id, ...of.users[id] }) },
    cookies: { keys: ['only for tests'] },
    pkce: { required: () => true },
    ttl: { Interaction: 600, Session: 600, Grant: 600, AccessToken: 60, IdToken: 60 },
  })
  http.on('request', provider.callback())
}

export interface Page {
  readonly url: URL
  readonly status: number
  readonly headers: Headers
  readonly text: string
  /** The `h1`. */
  readonly title: string
}

/** A browser without JavaScript. As in real ones, all ports of a host share their cookies. */
export class Browser {
  readonly cookies = new Map<string, string>()
  /** Every `Set-Cookie` as it came. */
  readonly seen: string[] = []
  /** Where it went, redirects included. */
  readonly went: URL[] = []

  open(url: string | URL, init: { method?: string } = {}): Promise<Page> {
    return this.#go(init.method ?? 'GET', new URL(url), null, null)
  }

  /** Presses the first button of the form that posts to `action`, with some fields filled in. */
  press(page: Page, action: string, fields: Record<string, string> = {}): Promise<Page> {
    const form = [...page.text.matchAll(/<form\b([^>]*)>([\s\S]*?)<\/form>/g)]
      .map(([, attributes, inner]) => ({ at: attributeOf(attributes!, 'action') ?? '', inner }))
      .find(({ at }) => new URL(at, page.url).pathname.includes(action))
    if (form === undefined) throw new Error(`no form for ${action} on the page:\n${page.text}`)
    const body = new URLSearchParams(fieldsOf(form.inner!))
    for (const [name, value] of Object.entries(fields)) body.set(name, value)
    return this.#go('POST', new URL(form.at, page.url), body, page.url.origin)
  }

  /** Sends a form as a page of `origin` does; null: as no browser does. */
  post(url: string, fields: Record<string, string>, origin: string | null): Promise<Page> {
    return this.#go('POST', new URL(url), new URLSearchParams(fields), origin)
  }

  /** A request to the API as a script of our own page would send it. */
  async api(site: Site, method: string, path: string, body?: unknown): Promise<Response> {
    const headers = { cookie: this.#cookie(), origin: site.url, 'content-type': 'application/json' }
    const sent = body === undefined ? null : JSON.stringify(body)
    return fetch(site.url + path, { method, headers, body: sent })
  }

  #cookie(): string {
    return [...this.cookies].map(([name, value]) => `${name}=${value}`).join('; ')
  }

  async #go(
    method: string,
    url: URL,
    body: URLSearchParams | null,
    origin: string | null,
  ): Promise<Page> {
    this.went.push(url)
    const headers = new Headers({ accept: 'text/html', cookie: this.#cookie() })
    if (origin !== null) headers.set('origin', origin)
    const response = await fetch(url, { method, headers, body, redirect: 'manual' })
    for (const line of response.headers.getSetCookie()) this.#keep(line)
    const location = response.headers.get('location')
    const text = await response.text()
    if (location !== null) return this.#go('GET', new URL(location, url), null, null)
    const title = /<h1>([^<]*)<\/h1>/.exec(text)?.[1] ?? ''
    return { url, status: response.status, headers: response.headers, text, title }
  }

  #keep(line: string): void {
    this.seen.push(line)
    const pair = line.split('; ', 1)[0]!
    const [name, value] = [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)]
    const isGone = /; max-age=0(?:;|$)/i.test(line) || /expires=Thu, 01 Jan 1970/i.test(line)
    if (isGone || value === '') this.cookies.delete(name)
    else this.cookies.set(name, value)
  }
}

function attributeOf(tag: string, name: string): string | null {
  const value = new RegExp(`\\b${name}="([^"]*)"`).exec(tag)?.[1]
  return value === undefined ? null : value.replaceAll('&amp;', '&')
}

function fieldsOf(form: string): [string, string][] {
  return [...form.matchAll(/<input\b[^>]*>/g)].flatMap(([tag]) => {
    const name = attributeOf(tag, 'name')
    return name === null ? [] : [[name, attributeOf(tag, 'value') ?? ''] as [string, string]]
  })
}

/** Signs in with the link of the terminal, and is where that leads. */
export async function signInByLink(site: Site, browser: Browser): Promise<Page> {
  const { url } = await site.daypass.signInLinks!.make()
  return browser.press(await browser.open(url), '/sign-in/link')
}

/** Signs in at the identity provider as `user`, from the page that asks for it. */
export async function signInAt(site: Site, browser: Browser, user: string, path = '/sign-in') {
  const login = await browser.open(site.url + path)
  let page = await browser.press(login, '/interaction/', { login: user, password: 'any' })
  // The provider ends the session of whoever was there before, by a form that sends itself.
  if (page.text.includes('/session/end')) page = await browser.press(page, '/session/end')
  // And asks each person once whether Daypass may know who they are.
  if (page.text.includes('value="consent"')) page = await browser.press(page, '/interaction/')
  return page
}
