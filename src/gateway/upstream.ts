import type { UpstreamTool } from './door.ts'
import { isObject, type JsonObject } from './jsonrpc.ts'
import type { Names } from './names.ts'
import { type ClientInfo, type Introduction, negotiate } from './negotiate.ts'
import { paramHeaders } from './param-headers.ts'
import { type SessionOptions, SessionUpstream } from './session-upstream.ts'
import { type CallOptions, failure, type Link, type UpstreamReply } from './upstream-link.ts'
import { audienceOf, forUpstream, linkTo, type UpstreamConfig } from './upstream-open.ts'
import { Watches } from './watches.ts'

export type { UpstreamConfig } from './upstream-open.ts'

export type Listing = 'tools' | 'prompts' | 'resources' | 'resourceTemplates'

export type Health =
  | { readonly state: 'starting'; readonly attempt: number; readonly message: string | null }
  | {
      readonly state: 'up'
      readonly version: string
      readonly serverInfo: JsonObject
      /** Tools that it lists and that cannot be offered, and other things worth knowing. */
      readonly notes: readonly string[]
    }
  | {
      readonly state: 'failed'
      readonly message: string
      readonly exitCode: number | string | null
      /** The end of what it wrote to stderr. */
      readonly stderr: string
    }
  | { readonly state: 'closed' }

/** First pause before a restart; doubles each time. */
const RESTART_MIN_MS = 250
const RESTART_MAX_MS = 30_000
/** A child that dies this often in a row stays down until somebody looks. */
const RESTARTS_MAX = 6
/** One that has never been up is more likely misconfigured than unlucky. */
const FIRST_STARTS_MAX = 2
/** One that lived this long has proven itself, and starts over with the shortest pause. */
const STABLE_AFTER_MS = 60_000
/** Listings are asked for again after this long, should the upstream not announce changes. */
const LISTING_FRESH_MS = 60_000
const LISTING_TIMEOUT_MS = 30_000
/** Bounds on a listing: an upstream that pages for ever must not hold the gateway. */
const LISTING_PAGES_MAX = 100
const LISTING_ITEMS_MAX = 10_000

const METHOD_OF = {
  tools: 'tools/list',
  prompts: 'prompts/list',
  resources: 'resources/list',
  resourceTemplates: 'resources/templates/list',
} as const satisfies Record<Listing, string>

interface Listed {
  /** Null when the upstream could not say. */
  readonly items: Promise<readonly JsonObject[] | null>
  readonly at: number
}

/** One upstream server: started, negotiated with, listed, and started again when it dies. */
export class Upstream {
  readonly name: string
  /** Resources that somebody wants to hear of. */
  readonly watches: Watches
  readonly #config: UpstreamConfig
  readonly #names: Names
  readonly #client: ClientInfo
  readonly #onChange: (listing: Listing) => void
  #link: Link | null = null
  #introduction: Introduction | null = null
  #health: Health = { state: 'starting', attempt: 1, message: null }
  #settled = Promise.withResolvers<void>()
  #attempts = 0
  #upSince = 0
  #legacyOnly = false
  #cancelRestart: (() => void) | null = null
  #wasUp = false
  #toolsText = ''
  #starting: Promise<void> | null = null
  #tools = new Map<string, UpstreamTool>()
  readonly #listed = new Map<Listing, Listed>()

  constructor(
    name: string,
    config: UpstreamConfig,
    options: { client: ClientInfo; names: Names; onChange: (listing: Listing) => void },
  ) {
    this.name = name
    this.#config = config
    this.#names = options.names
    this.watches = new Watches({
      era: () => this.#introduction?.protocol.era ?? null,
      call: (method, params) => this.call(method, params, { timeoutMs: LISTING_TIMEOUT_MS }),
      listen: (uris) => this.#link?.listen(uris),
    })
    this.#client = options.client
    this.#onChange = options.onChange
  }

  get health(): Health {
    return this.#health
  }

  /** Null until it has been negotiated. */
  get introduction(): Introduction | null {
    return this.#introduction
  }

  /** The tools of the latest listing, by the upstream's own name. */
  get tools(): ReadonlyMap<string, UpstreamTool> {
    return this.#tools
  }

  start(): void {
    this.#starting = this.#connect()
  }

  /** Resolves when it is up or has failed; never rejects. */
  ready(): Promise<void> {
    return this.#settled.promise
  }

  /** Whether it declares a capability, such as `prompts`. */
  offers(capability: string): boolean {
    return this.#introduction?.capabilities[capability] !== undefined
  }

  get kind(): UpstreamConfig['kind'] {
    return this.#config.kind
  }

  /** For whom the transaction tokens of its calls are; null: they carry none. */
  get audience(): string | null {
    return this.#config.envelope === true ? audienceOf(this.name, this.#config) : null
  }

  /** Whether the roots of clients are kept from it. */
  get withholdsRoots(): boolean {
    return this.#config.withholdRoots === true
  }

  /** A connection to the same server that belongs to one client. */
  connectFor(options: SessionOptions): SessionUpstream {
    return new SessionUpstream(this.#config, { client: this.#client, ...options })
  }

  /** Whether it tells of changes of single resources. */
  get canWatch(): boolean {
    const resources = this.#introduction?.capabilities.resources
    return isObject(resources) && resources.subscribe === true
  }

  /**
   * Sends one request under an id and a progress token of our own. Never rejects. Of the client's
   * `_meta` everything goes along but what describes the client's own hop.
   */
  async call(
    method: string,
    params: JsonObject,
    options: CallOptions = {},
  ): Promise<UpstreamReply> {
    const link = this.#link
    const introduction = this.#introduction
    if (link === null || introduction === null || this.#health.state !== 'up') {
      return failure('unavailable', this.#unavailable(), { sent: false })
    }
    const timeoutMs = options.timeoutMs ?? this.#config.timeoutMs
    const own = { ...options, timeoutMs, paramHeaders: this.#paramHeaders(method, params) }
    const sent = forUpstream(params, introduction, options)
    const reply = await link.request(method, sent, own)
    if (!('failure' in reply) || reply.failure.why !== 'session_gone') return reply
    // Nothing was done under a session that the upstream forgot: open one, and ask once more.
    if (this.#link === link) this.#lost(link, reply.failure.message)
    await this.#starting
    if (this.#link === null || this.#introduction === null) return reply
    return this.#link.request(method, forUpstream(params, this.#introduction, options), own)
  }

  #paramHeaders(method: string, params: JsonObject): Record<string, string> | undefined {
    if (method !== 'tools/call' || this.#link?.kind !== 'http') return undefined
    if (this.#introduction?.protocol.era !== 'modern') return undefined
    const tool = this.#tools.get(params.name as string)
    return tool === undefined ? undefined : paramHeaders(tool, params)
  }

  /** Entries of a listing, from memory while it is fresh. Empty when it does not offer them. */
  async list(listing: Listing): Promise<readonly JsonObject[]> {
    return (await this.#list(listing)) ?? []
  }

  async #list(listing: Listing): Promise<readonly JsonObject[] | null> {
    const capability = listing === 'resourceTemplates' ? 'resources' : listing
    if (this.#health.state !== 'up' || !this.offers(capability)) return []
    const known = this.#listed.get(listing)
    if (known !== undefined && performance.now() - known.at < LISTING_FRESH_MS) return known.items
    const items = this.#fetchAll(listing)
    this.#listed.set(listing, { items, at: performance.now() })
    return items
  }

  /** Lists the tools again when the listing is old; changes are announced through `onChange`. */
  async refreshTools(): Promise<void> {
    const before = this.#listed.get('tools')
    const items = await this.#list('tools')
    // An upstream that cannot say keeps the tools it had.
    if (items !== null && this.#listed.get('tools') !== before) this.#adopt(items)
  }

  async close(): Promise<void> {
    this.#cancelRestart?.()
    this.#health = { state: 'closed' }
    this.#settled.resolve()
    await this.#link?.close()
    await this.#starting
  }

  #unavailable(): string {
    const health = this.#health
    const why = health.state === 'failed' || health.state === 'starting' ? health.message : null
    return `the server \`${this.name}\` is ${health.state}${why === null ? '' : `: ${why}`}`
  }

  async #connect(): Promise<void> {
    this.#attempts++
    const link = linkTo(this.#config)
    if (link instanceof Error) {
      this.#fail(null, link.message)
      return
    }
    this.#link = link
    let negotiating = true
    try {
      await link.open({
        notification: (method, params) => this.#notified(method, params),
        // While negotiating, the request that fails with it tells.
        closed: (why) => {
          if (!negotiating) this.#lost(link, why)
        },
      })
    } catch (error) {
      // A program that cannot be started will not start a second later.
      this.#fail(link, (error as Error).message)
      return
    }
    const negotiated = await negotiate(link, this.#client, {
      legacyOnly: this.#legacyOnly,
      capabilities: {},
    })
    negotiating = false
    if (this.#isClosed()) return link.close()
    if (negotiated.kind === 'ok') {
      await this.#adoptLink(link, negotiated.introduction)
    } else if (negotiated.kind === 'retry_legacy') {
      this.#legacyOnly = true
      this.#attempts--
      await link.close()
      if (!this.#isClosed()) await this.#connect()
    } else {
      this.#lost(link, negotiated.message)
    }
  }

  async #adoptLink(link: Link, introduction: Introduction): Promise<void> {
    this.#introduction = introduction
    this.#listed.clear()
    const { version } = introduction.protocol
    this.#health = { state: 'up', version, serverInfo: introduction.serverInfo, notes: [] }
    this.#upSince = performance.now()
    this.#wasUp = true
    // What has just been started may be another program, whatever it lists (threat 32).
    this.#toolsText = ''
    this.#adopt(await this.list('tools'))
    if (this.#link !== link || this.#isClosed()) return
    link.listen(this.watches.uris)
    void this.watches.renew()
    this.#settled.resolve()
  }

  /**
   * A connection that is over, for whatever reason. Later reports about the same one are ignored.
   */
  #lost(link: Link, why: string): void {
    if (this.#link !== link || this.#isClosed()) return
    this.#link = null
    void link.close()
    if (this.#upSince > 0 && performance.now() - this.#upSince > STABLE_AFTER_MS) this.#attempts = 0
    this.#upSince = 0
    // A remote server can come back at any time; a child is ours to start, and to stop starting.
    const startsMax = this.#wasUp ? RESTARTS_MAX : FIRST_STARTS_MAX
    if (link.kind === 'stdio' && this.#attempts > startsMax) {
      this.#fail(link, why)
      return
    }
    this.#health = { state: 'starting', attempt: this.#attempts + 1, message: why }
    if (this.#attempts > 1) this.#settled.resolve()
    this.#scheduleRestart()
  }

  #scheduleRestart(): void {
    const pauseMs = Math.min(RESTART_MIN_MS * 2 ** (this.#attempts - 1), RESTART_MAX_MS)
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#starting = promise
    const timer = setTimeout(() => {
      this.#cancelRestart = null
      void this.#connect().then(resolve)
    }, pauseMs)
    timer.unref()
    this.#cancelRestart = () => {
      clearTimeout(timer)
      resolve()
    }
  }

  #fail(link: Link | null, message: string): void {
    if (this.#isClosed()) return
    const { exitCode, stderr } = link?.diagnostics() ?? { exitCode: null, stderr: '' }
    this.#health = { state: 'failed', message, exitCode, stderr }
    this.#link = null
    this.#tools = new Map()
    this.#toolsText = ''
    this.#settled.resolve()
    this.#onChange('tools')
    void link?.close()
  }

  #isClosed(): boolean {
    return this.#health.state === 'closed'
  }

  #notified(method: string, params: JsonObject): void {
    if (method === 'notifications/tools/list_changed') {
      this.#listed.delete('tools')
      void this.refreshTools()
    } else if (method === 'notifications/prompts/list_changed') {
      this.#listed.delete('prompts')
      this.#onChange('prompts')
    } else if (method === 'notifications/resources/list_changed') {
      this.#listed.delete('resources')
      this.#listed.delete('resourceTemplates')
      this.#onChange('resources')
    } else if (method === 'notifications/resources/updated') {
      this.watches.updated(params.uri)
    }
  }

  #adopt(items: readonly JsonObject[]): void {
    const tools = new Map<string, UpstreamTool>()
    const notes: string[] = []
    for (const definition of items) {
      const tool = definition.name
      const name = typeof tool === 'string' ? this.#names.tool(this.name, tool) : null
      if (typeof tool !== 'string' || name === null) {
        notes.push(`the tool \`${String(tool).slice(0, 200)}\` has a name that MCP does not allow`)
      } else if (tools.has(tool)) {
        notes.push(`the tool \`${tool}\` is listed twice; only the first counts`)
      } else {
        tools.set(tool, { server: this.name, tool, name, definition })
      }
    }
    this.#tools = tools
    if (this.#health.state === 'up') this.#health = { ...this.#health, notes }
    const text = JSON.stringify(items)
    if (text === this.#toolsText) return
    this.#toolsText = text
    this.#onChange('tools')
  }

  async #fetchAll(listing: Listing): Promise<readonly JsonObject[] | null> {
    const items: JsonObject[] = []
    let cursor: string | undefined
    for (let page = 0; page < LISTING_PAGES_MAX && items.length < LISTING_ITEMS_MAX; page++) {
      const params = cursor === undefined ? {} : { cursor }
      const reply = await this.call(METHOD_OF[listing], params, { timeoutMs: LISTING_TIMEOUT_MS })
      if (!('result' in reply)) {
        // What failed is asked for again by the next caller.
        this.#listed.delete(listing)
        return null
      }
      const entries = reply.result[listing]
      if (Array.isArray(entries)) items.push(...entries.filter(isObject))
      const next = reply.result.nextCursor
      if (typeof next !== 'string' || next === cursor) break
      cursor = next
    }
    return items.slice(0, LISTING_ITEMS_MAX)
  }
}
