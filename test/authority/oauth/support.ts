import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import * as oauth from 'oauth4webapi'
import type { RunId } from '../../../src/core/id.ts'
import type { Lease } from '../../../src/core/tree.ts'
import { type Daypass, startDaypass } from '../../../src/server.ts'

export const MIRA = 'mira@clord.example'
export const HTTP = { [oauth.allowInsecureRequests]: true }
/** Where a client of the tests listens, or would. */
export const CALLBACK = 'http://127.0.0.1:33418/callback'

/** How long the tool server may take to start; machines under load are slow. */
const READY_MS = 30_000
const MEMORY = fileURLToPath(
  new URL(
    '../../../node_modules/@modelcontextprotocol/server-memory/dist/index.js',
    import.meta.url,
  ),
)
const TEMPLATES = {
  'read-notes': `lease:
  agent: notes-agent
  purpose: look something up
  resources: { memories: [notes] }
  actions: [memory.read]
  expires_in: 15m
`,
  'write-notes': `lease:
  agent: notes-agent
  purpose: keep the notes in order
  resources: { memories: [notes] }
  actions: [memory.read, memory.write, memory.delete]
  expires_in: 30m
  max_tool_calls: 20
`,
}

export interface Place {
  readonly daypass: Daypass
  readonly url: string
  readonly folder: string
  /** Closes the server and opens it again on the same database and port. */
  restart(): Promise<Place>
  stop(): Promise<void>
}

export interface PlaceOptions {
  /** Further lines of `daypass.yaml`. */
  readonly yaml?: string
  readonly clock?: () => number
  /** PEM: documents of clients may come from this machine, under this certificate authority. */
  readonly loopbackCa?: string
}

/** A whole server with one tool server behind it and two templates, in a folder of its own. */
export async function startPlace(options: PlaceOptions = {}): Promise<Place> {
  const folder = mkdtempSync(join(tmpdir(), 'daypass-oauth-'))
  mkdirSync(join(folder, 'templates'))
  for (const [name, text] of Object.entries(TEMPLATES)) {
    writeFileSync(join(folder, 'templates', `${name}.yaml`), text)
  }
  const memory = join(folder, 'memory.json')
  const yaml = `version: 1
servers:
  notes:
    command: [${JSON.stringify(process.execPath)}, ${JSON.stringify(MEMORY)}]
    catalog: memory
    bind: { memory: notes }
    env: { MEMORY_FILE_PATH: ${JSON.stringify(memory)} }
${options.yaml ?? ''}`
  writeFileSync(join(folder, 'daypass.yaml'), yaml)
  return open(folder, options, 0)
}

async function open(folder: string, options: PlaceOptions, port: number): Promise<Place> {
  const started = await startDaypass({
    folder: join(folder, '.daypass'),
    configFile: join(folder, 'daypass.yaml'),
    operator: MIRA,
    port,
    ...(options.clock === undefined ? {} : { clock: options.clock }),
    ...(options.loopbackCa === undefined
      ? {}
      : { publicFetch: { loopbackCa: options.loopbackCa } }),
  })
  if (!started.ok) throw new Error(started.error.join('\n'))
  const daypass = started.value
  await daypass.upstreams.ready(READY_MS)
  return {
    daypass,
    url: daypass.url,
    folder,
    restart: async () => {
      await daypass.close()
      return open(folder, options, Number(new URL(daypass.url).port))
    },
    stop: async () => {
      await daypass.close()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** What a browser shows: where it is, and what is there; or where it was led away to. */
export interface Shown {
  readonly url: URL
  readonly status: number
  readonly headers: Headers
  readonly text: string
}

/** A browser without JavaScript: cookies, redirects, forms. */
export class Browser {
  readonly #jar = new Map<string, { value: string; path: string }>()
  readonly #home: string
  /** The person's proof for our own pages; null: nobody is signed in. */
  #token: string | null

  constructor(place: Place, who: 'operator' | 'nobody' = 'operator') {
    this.#home = place.url
    this.#token = who === 'operator' ? place.daypass.operatorToken : null
  }

  /** The same place after a restart, which has another operator's token. */
  moveTo({ daypass }: Place): void {
    this.#token = daypass.operatorToken
  }

  open(url: string | URL): Promise<Shown> {
    return this.#go('GET', new URL(url, this.#home), null)
  }

  /** Presses a button of the form on a page, with fields changed before. */
  press(
    page: Shown,
    button: string,
    changes: Readonly<Record<string, string[]>> = {},
    origin: string = this.#home,
  ) {
    const { action, fields } = formOf(page.text)
    const given = new URLSearchParams(fields.filter(([name]) => !Object.hasOwn(changes, name)))
    for (const [name, values] of Object.entries(changes)) {
      for (const value of values) given.append(name, value)
    }
    const [name, value] = button.split('=', 2) as [string, string | undefined]
    if (value !== undefined) given.append(name, value)
    return this.#go('POST', new URL(action, page.url), given, origin)
  }

  async #go(
    method: 'GET' | 'POST',
    url: URL,
    body: URLSearchParams | null,
    origin: string = this.#home,
  ): Promise<Shown> {
    if (url.origin !== this.#home) return { url, status: 0, headers: new Headers(), text: '' }
    const headers = new Headers({ accept: 'text/html' })
    const cookies = [...this.#jar].filter(([, { path }]) => url.pathname.startsWith(path))
    headers.set('cookie', cookies.map(([name, { value }]) => `${name}=${value}`).join('; '))
    if (method === 'POST') headers.set('origin', origin)
    const isPage = url.pathname.startsWith('/consent/')
    if (isPage && this.#token !== null) headers.set('authorization', `Bearer ${this.#token}`)
    const response = await fetch(url, { method, headers, body, redirect: 'manual' })
    for (const line of response.headers.getSetCookie()) this.#keep(line)
    const location = response.headers.get('location')
    const text = await response.text()
    if (location !== null) return this.#go('GET', new URL(location, url), null)
    return { url, status: response.status, headers: response.headers, text }
  }

  #keep(line: string): void {
    const [pair = '', ...attributes] = line.split('; ')
    const [name, value] = [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)]
    const path = attributes.find((each) => /^path=/i.test(each))?.slice(5) ?? '/'
    const isGone = attributes.some((each) => /^expires=Thu, 01 Jan 1970/i.test(each))
    if (isGone || value === '') this.#jar.delete(name)
    else this.#jar.set(name, { value, path })
  }
}

/** The first form of a page that posts: where to, and its fields as they are filled in. */
function formOf(text: string): { action: string; fields: [string, string][] } {
  const form = /<form[^>]*method="post"[^>]*action="([^"]*)"[^>]*>([\s\S]*?)<\/form>/.exec(text)
  if (form === null) throw new Error(`no form on the page:\n${text}`)
  const fields = [...form[2]!.matchAll(/<input\b[^>]*>/g)].flatMap(([tag]) => {
    const attribute = (name: string) => new RegExp(`\\b${name}="([^"]*)"`).exec(tag)?.[1]
    const name = attribute('name')
    const isTick = /type="(?:checkbox|radio)"/.test(tag)
    if (name === undefined || (isTick && !/\bchecked\b/.test(tag))) return []
    return [[name, unescaped(attribute('value') ?? 'on')] as [string, string]]
  })
  return { action: unescaped(form[1]!), fields }
}

function unescaped(text: string): string {
  const named = { quot: '"', amp: '&', lt: '<', gt: '>', '#39': "'" } as Record<string, string>
  return text.replace(/&(quot|amp|lt|gt|#39);/g, (_, name: string) => named[name]!)
}

/** The server as a strict client finds it. */
export async function discover(place: Place): Promise<oauth.AuthorizationServer> {
  const issuer = new URL(place.url)
  const response = await oauth.discoveryRequest(issuer, { algorithm: 'oauth2', ...HTTP })
  return oauth.processDiscoveryResponse(issuer, response)
}

/** A client that has just registered itself. */
export async function register(
  as: oauth.AuthorizationServer,
  more: Partial<oauth.Client> = {},
): Promise<oauth.Client> {
  const metadata = {
    client_name: 'Notes client',
    redirect_uris: [CALLBACK],
    grant_types: ['authorization_code', 'refresh_token'],
    token_endpoint_auth_method: 'none',
    ...more,
  }
  const response = await oauth.dynamicClientRegistrationRequest(as, metadata as never, HTTP)
  return oauth.processDynamicClientRegistrationResponse(response)
}

export interface Asked {
  readonly url: URL
  readonly verifier: string
  readonly state: string
}

/** The address at which a person is asked, with PKCE and a state. */
export async function askAt(
  as: oauth.AuthorizationServer,
  client: oauth.Client,
  parameters: Readonly<Record<string, string>> = {},
): Promise<Asked> {
  const verifier = oauth.generateRandomCodeVerifier()
  const state = oauth.generateRandomState()
  const url = new URL(as.authorization_endpoint!)
  const all = {
    client_id: client.client_id,
    response_type: 'code',
    redirect_uri: CALLBACK,
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
    state,
    ...parameters,
  }
  for (const [name, value] of Object.entries(all))
    if (value !== '') url.searchParams.set(name, value)
  return { url, verifier, state }
}

/** Redeems the code at the address to which the browser was led. */
export async function redeem(
  as: oauth.AuthorizationServer,
  client: oauth.Client,
  { asked, led, options = {} }: { asked: Asked; led: URL; options?: object },
): Promise<oauth.TokenEndpointResponse> {
  const callback = oauth.validateAuthResponse(as, client, led, asked.state)
  const response = await oauth.authorizationCodeGrantRequest(
    ...([as, client, oauth.None(), callback, CALLBACK, asked.verifier] as const),
    { ...HTTP, ...options },
  )
  return oauth.processAuthorizationCodeResponse(as, client, response)
}

/** Calls a tool of the gateway with a badge, as plain JSON-RPC of the current revision. */
export async function callTool(
  place: Place,
  badge: string,
  name: string,
  args: object = {},
  headers: Record<string, string> = {},
): Promise<{ status: number; text: string; isError: boolean | undefined }> {
  const version = '2026-07-28'
  const meta = {
    'io.modelcontextprotocol/protocolVersion': version,
    'io.modelcontextprotocol/clientCapabilities': {},
  }
  const params = { name, arguments: args, _meta: meta }
  const response = await fetch(`${place.url}/mcp`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${badge}`,
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      'mcp-protocol-version': version,
      'mcp-method': 'tools/call',
      'mcp-name': name,
      ...headers,
    },
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params }),
  })
  const text = await response.text()
  const parsed = text.startsWith('{') ? JSON.parse(text) : {}
  return { status: response.status, text, isError: parsed.result?.isError }
}

/** Registers a client, asks, and says yes: everything up to the address with the code. */
export async function allow(
  place: Place,
  as: oauth.AuthorizationServer,
  parameters: Readonly<Record<string, string>> = {},
  more: Partial<oauth.Client> = {},
): Promise<{ client: oauth.Client; asked: Asked; led: URL; browser: Browser }> {
  const client = await register(as, more)
  const asked = await askAt(as, client, { scope: 'lease:read-notes', ...parameters })
  const browser = new Browser(place)
  const { url: led } = await browser.press(await browser.open(asked.url), 'answer=allow')
  return { client, asked, led, browser }
}

/** The same, and the badge for it. */
export async function getTokens(
  place: Place,
  as: oauth.AuthorizationServer,
  parameters: Readonly<Record<string, string>> = {},
) {
  const { client, asked, led } = await allow(place, as, parameters)
  const tokens = await redeem(as, client, { asked, led })
  return { client, asked, led, tokens, run: runIn(tokens) }
}

/** The run that a token response is for. */
export function runIn(tokens: oauth.TokenEndpointResponse): RunId {
  return (tokens.authorization_details as unknown as { run: RunId }[])[0]!.run
}

export async function leaseOf(place: Place, run: RunId): Promise<Lease> {
  return (await place.daypass.authority.find(run))!.run.lease!
}

/** Posts a form to the token endpoint as a client without a secret; the answer as it is. */
export async function postToken(
  as: oauth.AuthorizationServer,
  form: Readonly<Record<string, string>>,
): Promise<{ status: number; body: Record<string, unknown> }> {
  const response = await fetch(as.token_endpoint!, {
    method: 'POST',
    body: new URLSearchParams(form),
  })
  return { status: response.status, body: (await response.json()) as Record<string, unknown> }
}
