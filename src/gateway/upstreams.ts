import type { UpstreamTool } from './door.ts'
import { isServerName, type Names, PREFIXED, plainNames } from './names.ts'
import type { ClientInfo } from './negotiate.ts'
import { type Health, type Listing, Upstream, type UpstreamConfig } from './upstream.ts'

/** Called with the server and which of its listings may read differently now. */
export type ListingChanged = (server: string, listing: Listing) => void

/** How long a tool can be called after its definition has changed unannounced (threat 29). */
const RELIST_MS = 60_000

/** All upstreams of a gateway, by the name under which clients see their tools. */
export class Upstreams {
  readonly #all = new Map<string, Upstream>()
  readonly #listeners = new Set<ListingChanged>()
  /** How clients name what is here. */
  readonly names: Names
  #relist: NodeJS.Timeout | null = null

  /** Throws for a server name that could not be told apart from another (`[a-z][a-z0-9-]*`). */
  constructor(
    configs: Readonly<Record<string, UpstreamConfig>>,
    options: { readonly client: ClientInfo },
  ) {
    this.names = namesOf(configs)
    for (const [name, config] of Object.entries(configs)) {
      if (!isServerName(name)) {
        const rule = 'lower-case letters, digits and hyphens, a letter first, at most 32 characters'
        throw new Error(`\`${name}\` cannot name a server; use ${rule}`)
      }
      const onChange = (listing: Listing): void => {
        for (const listener of this.#listeners) listener(name, listing)
      }
      const { client } = options
      this.#all.set(name, new Upstream(name, config, { client, onChange, names: this.names }))
    }
  }

  /** Starts every upstream; returns at once. */
  start(): void {
    for (const upstream of this.#all.values()) upstream.start()
    // A client that only calls never lists, so nothing else would look at the definitions again.
    this.#relist ??= setInterval(() => {
      for (const upstream of this.#all.values()) void upstream.refreshTools()
    }, RELIST_MS)
    this.#relist.unref()
  }

  get(server: string): Upstream | undefined {
    return this.#all.get(server)
  }

  all(): Iterable<Upstream> {
    return this.#all.values()
  }

  /** A tool as listed now. Synchronous: it is looked up for every call. */
  tool(server: string, tool: string): UpstreamTool | undefined {
    return this.#all.get(server)?.tools.get(tool)
  }

  /** Every tool of every upstream that is up, in the order of the configuration. */
  tools(): UpstreamTool[] {
    const tools: UpstreamTool[] = []
    for (const upstream of this.#all.values()) tools.push(...upstream.tools.values())
    return tools
  }

  /** Resolves when each upstream is up or has failed, at the latest after `waitMs`. */
  async ready(waitMs: number): Promise<void> {
    const settled = Promise.all([...this.#all.values()].map((upstream) => upstream.ready()))
    const { promise, resolve } = Promise.withResolvers<void>()
    const timer = setTimeout(resolve, waitMs)
    await Promise.race([settled, promise])
    clearTimeout(timer)
  }

  onListingChanged(listener: ListingChanged): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  health(): Record<string, Health> {
    return Object.fromEntries([...this.#all].map(([name, upstream]) => [name, upstream.health]))
  }

  async close(): Promise<void> {
    if (this.#relist !== null) clearInterval(this.#relist)
    await Promise.all([...this.#all.values()].map((upstream) => upstream.close()))
  }
}

/** Throws for plain names beside a second server: they could not be told apart (threat 31). */
function namesOf(configs: Readonly<Record<string, UpstreamConfig>>): Names {
  const all = Object.entries(configs)
  const plain = all.find(([, { prefix }]) => prefix === false)
  if (plain === undefined) return PREFIXED
  if (all.length > 1) throw new Error(`\`${plain[0]}\` can go without prefix only when it is alone`)
  return plainNames(plain[0])
}
