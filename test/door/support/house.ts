import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { stringify } from 'yaml'
import type { Presented } from '../../../src/authority/pinning.ts'
import type { Entry } from '../../../src/core/entry.ts'
import type { Terms } from '../../../src/core/lease.ts'
import type { Run } from '../../../src/core/tree.ts'
import { promptOf } from '../../../src/lease-file/prompt.ts'
import { type Daypass, type DaypassOptions, startDaypass } from '../../../src/server.ts'
import type { TreeKey } from '../../../src/store/store.ts'
import { MAINTAINER, termsOf } from '../../runs/support.ts'
import { SHOP_CATALOG, type Shop, startShop, UPSTREAM_SECRET } from './shop.ts'

export { MAINTAINER } from '../../runs/support.ts'

export const BRANCH = 'agent/dependency-update'
export const SHOP_TOOLS = ['read', 'slow', 'push', 'refuse', 'confirm', 'drop', 'open_pr']

export const ON_BRANCH = { repos: ['clord'], branches: [BRANCH] }

/** Reads and pushes; what the tests add overrides. */
export function shopTerms(more: Partial<Terms> = {}): Terms {
  return termsOf({
    grants: [
      { actions: ['repo.read'], resources: { repos: ['clord'] }, where: {} },
      { actions: ['repo.push', 'pull_request.create'], resources: ON_BRANCH, where: {} },
    ],
    ...more,
  })
}

export interface Badged extends TreeKey {
  readonly run: Run['id']
  readonly badge: string
}

/** A running Daypass in a folder of its own, with a real upstream behind it. */
export interface House extends AsyncDisposable {
  readonly folder: string
  readonly shop: Shop
  daypass: Daypass
  /** A run with an approved lease and its badge. */
  open(more?: Partial<Terms>): Promise<Badged>
  client(badge: string, era?: 'auto' | 'legacy'): Promise<Client>
  /** A request to the API of the operator. */
  api(method: string, path: string, body?: unknown, token?: string): Promise<Response>
  entries(key: TreeKey): Promise<Entry[]>
  run(badged: Badged): Promise<Run>
  /** Stops, and starts again on the same folder and port. */
  restart(more?: Partial<DaypassOptions>): Promise<void>
}

export interface HouseOptions extends Partial<DaypassOptions> {
  /** More servers, as they stand in `daypass.yaml`. */
  readonly moreServers?: Record<string, unknown>
  /** More of `daypass.yaml`, and the lease templates beside it, by name. */
  readonly config?: Record<string, unknown>
  readonly templates?: Record<string, unknown>
  /** Leave the definitions of the shop's tools as they are: not accepted. */
  readonly unpinned?: boolean
}

export async function openHouse(options: HouseOptions = {}): Promise<House> {
  const { moreServers = {}, unpinned = false, config = {}, templates = {}, ...rest } = options
  const folder = mkdtempSync(join(tmpdir(), 'daypass-door-'))
  const shop = await startShop()
  writeFileSync(join(folder, 'shop.yaml'), SHOP_CATALOG)
  const headers = { authorization: `Bearer ${UPSTREAM_SECRET}` }
  const servers = { shop: { url: shop.url, headers, catalog: 'shop.yaml' }, ...moreServers }
  writeFileSync(join(folder, 'daypass.yaml'), stringify({ version: 1, servers, ...config }))
  mkdirSync(join(folder, 'templates'))
  for (const [name, lease] of Object.entries(templates)) {
    writeFileSync(join(folder, 'templates', `${name}.yaml`), stringify({ lease }))
  }
  const start = async (port: number, more: Partial<DaypassOptions> = {}) => {
    const started = await startDaypass({
      folder: join(folder, '.daypass'),
      configFile: join(folder, 'daypass.yaml'),
      operator: MAINTAINER.person,
      port,
      ...rest,
      ...more,
    })
    if (!started.ok) throw new Error(started.error.join('\n'))
    await started.value.upstreams.ready(20_000)
    return started.value
  }
  const clients: Client[] = []
  const closeClients = () => Promise.all(clients.splice(0).map((c) => c.close().catch(() => {})))
  const house: House = {
    folder,
    shop,
    daypass: await start(0),
    open: (more) => open(house.daypass, shopTerms(more)),
    client: async (badge, era = 'auto') => {
      const client = await connect(house.daypass, badge, era)
      clients.push(client)
      return client
    },
    api: (method, path, body, token = house.daypass.operatorToken) =>
      fetch(`${house.daypass.url}${path}`, {
        method,
        headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      }),
    entries: (key) => house.daypass.authority.entries(key),
    run: async ({ run }) => (await house.daypass.authority.find(run))!.run,
    restart: async (more) => {
      const port = Number(new URL(house.daypass.url).port)
      await closeClients()
      await house.daypass.close()
      house.daypass = await start(port, more)
    },
    [Symbol.asyncDispose]: async () => {
      await closeClients()
      await house.daypass.close()
      await shop[Symbol.asyncDispose]()
      rmSync(folder, { recursive: true, force: true })
    },
  }
  if (!unpinned) await pinShop(house)
  return house
}

export async function pinShop(house: House, tools: readonly string[] = SHOP_TOOLS): Promise<void> {
  for (const tool of tools) {
    const path = `/v1/catalog/shop/${tool}`
    const { check } = (await (await house.api('GET', path)).json()) as Presented
    const response = await house.api('POST', `${path}/pin`, { hash: check.definition })
    if (!response.ok) throw new Error(await response.text())
  }
}

async function open({ authority, vocabulary, hosts }: Daypass, terms: Terms): Promise<Badged> {
  const requester = MAINTAINER.person
  const { agent, purpose } = terms
  const context = { vocabulary, hosts, requester, agent, client: 'test', warnings: [] }
  const opened = await authority.open({
    terms,
    prompt: (run) => promptOf(terms, { ...context, run, outside: 'not_watched' }),
    envelope: { requester, agent, purpose, client: null },
    rule: { policy: null, approvers: null, self: true, answerSeconds: 300 },
  })
  if (!opened.ok) throw new Error(opened.error.message)
  const { run, promptHash, org, tree } = opened.value
  const approved = await authority.approve(run, { by: MAINTAINER, promptHash })
  if (!approved.ok) throw new Error(approved.error.message)
  const badge = await authority.badge(run)
  if (!badge.ok) throw new Error(badge.error.message)
  return { org, tree, run, badge: badge.value }
}

async function connect({ url }: Daypass, badge: string, era: 'auto' | 'legacy'): Promise<Client> {
  const options = era === 'auto' ? { versionNegotiation: { mode: 'auto' as const } } : {}
  const capabilities = { elicitation: { form: {} } }
  const client = new Client({ name: 'test', version: '1' }, { ...options, capabilities })
  const headers = { authorization: `Bearer ${badge}` }
  const transport = new StreamableHTTPClientTransport(new URL(`${url}/mcp`), {
    requestInit: { headers },
  })
  await client.connect(transport)
  return client
}

/** The text of a tool result, and what it says about the decision. */
export function read(result: unknown): { text: string; decision: Record<string, unknown> } {
  const { content, _meta } = result as { content?: { text: string }[]; _meta?: object }
  const decision = (_meta as Record<string, Record<string, unknown>>)?.['daypass/decision'] ?? {}
  return { text: content?.[0]?.text ?? '', decision }
}

/** Waits until a condition holds; fails the test when it never does. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  what: string,
): Promise<void> {
  for (let i = 0; i < 400; i++) {
    if (await condition()) return
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  throw new Error(`never happened: ${what}`)
}
