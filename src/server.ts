import { randomBytes } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { join, resolve } from 'node:path'
import { getRequestListener } from '@hono/node-server'
import { createApi } from './authority/api/api.ts'
import { Authorities } from './authority/authorities.ts'
import type { Authority } from './authority/authority.ts'
import { createAuthzen, isAuthzen } from './authority/authzen.ts'
import { badgeReader } from './authority/badge-reader.ts'
import { badgeLifeMs } from './authority/badges.ts'
import { desksOf, hostsByAction, vocabularyOf } from './authority/catalogs.ts'
import { type Config, EMPTY_CONFIG, loadConfig } from './authority/config.ts'
import { Front } from './authority/front.ts'
import { freshKeys, type Keys, loadKeys } from './authority/keys.ts'
import type { Log } from './authority/log.ts'
import { type MachineList, Machines, readMachines } from './authority/oauth/machines.ts'
import { createOAuth } from './authority/oauth/oauth.ts'
import type { PublicFetchOptions } from './authority/oauth/public-fetch.ts'
import { HOLDER, registerOwn } from './authority/oauth/register.ts'
import { asset } from './authority/pages/layout.ts'
import { createPeople, isSignIn, type People } from './authority/people/people.ts'
import { Pinning } from './authority/pinning.ts'
import { type Policy, policyOf } from './authority/policy.ts'
import { Programs, programsOf } from './authority/programs.ts'
import { promptBuckets } from './authority/rates.ts'
import { type Readiness, readinessOf } from './authority/readiness.ts'
import { hiding } from './authority/secret.ts'
import { listen, settled } from './authority/serve.ts'
import { catalogOf, statusOf } from './authority/status.ts'
import { Templates } from './authority/templates.ts'
import { Txns, tellIssuer } from './authority/txn.ts'
import type { BadgeReader } from './badge/reader.ts'
import { type Pins, readPins } from './catalog/pin.ts'
import type { Instant, OrgId } from './core/id.ts'
import { err, ok, type Result } from './core/result.ts'
import type { Vocabulary } from './core/vocabulary.ts'
import { Rounds } from './gateway/call-key.ts'
import { type Desk, Desks } from './gateway/desk.ts'
import { createMcpHandler } from './gateway/http-server.ts'
import { InFlight } from './gateway/in-flight.ts'
import { JudgedDoor } from './gateway/judged-door.ts'
import { Locks } from './gateway/locks.ts'
import type { ClientInfo } from './gateway/negotiate.ts'
import type { CallParts } from './gateway/passage.ts'
import { Results } from './gateway/results.ts'
import { Tasks } from './gateway/tasks.ts'
import type { UpstreamConfig } from './gateway/upstream.ts'
import { Upstreams } from './gateway/upstreams.ts'
import { newId } from './runs/new-id.ts'
import { Runs } from './runs/runs.ts'
import { openMemory } from './store/memory.ts'
import { openSqlite } from './store/sqlite.ts'
import type { Store } from './store/store.ts'
import { VERSION } from './version.ts'

export { type Owner, own, ownerOf } from './owner.ts'

/** The one organisation of a local installation. */
export const LOCAL_ORG = 'local'

export interface DaypassOptions {
  /**
   * `.daypass`: database, keys, pins, receipts. Null: everything in memory, gone with the process.
   */
  readonly folder: string | null
  /** `daypass.yaml`; null: no servers. */
  readonly configFile: string | null
  /** Who the operator's token stands for. */
  readonly operator: string
  /** Servers of the configuration to leave out. */
  readonly without?: readonly string[]
  /** Start the servers of the configuration; questions about runs do not need them. */
  readonly servers?: boolean
  readonly port?: number
  /** Listen as `server:` of the configuration says, and tell what happens. Else: on loopback. */
  readonly serve?: { readonly log: (hide: (text: string) => string) => Log }
  readonly clock?: () => Instant
  /**
   * What to do with a database that has lost entries; accepting the loss ends every lease in it.
   */
  readonly rollback?: 'refuse' | 'accept'
  /** How long a call is held while a person is asked. */
  readonly askHoldMs?: number
  /** How documents of OAuth clients are fetched, where not from the public internet; for tests. */
  readonly publicFetch?: PublicFetchOptions
  /** What stands between everything and the store; tests make it fail here. */
  readonly aroundStore?: (store: Store) => Store
}

/** At the end: how long outcomes may take to be known, and answers to reach their clients. */
const SETTLE_MS = 2_000
const ANSWER_MS = 250

/** Everything, put together: the only place that constructs the parts. */
export interface Daypass {
  /** The public URL. */
  readonly url: string
  /** Where commands on this machine reach it. */
  readonly localUrl: string
  readonly operatorToken: string
  /** Of the local organisation, which is the operator's. */
  readonly authority: Authority
  /** Of every organisation, by its name. */
  readonly authorities: Authorities
  /** One-time links for the operator's browser; null: people sign in at their identity provider. */
  readonly signInLinks: People['links']
  readonly runs: Runs
  readonly door: JudgedDoor
  readonly upstreams: Upstreams
  readonly desks: Desks
  /** Server → its catalog and what it is bound to. */
  readonly bound: ReadonlyMap<string, Desk>
  readonly config: Config
  readonly keys: Keys
  /** Whose badge it is: of the gateway and of every endpoint that takes one. */
  readonly badges: BadgeReader
  /** Transaction tokens, which tools show when they ask. */
  readonly txns: Txns
  readonly vocabulary: Vocabulary
  /** Action → hosts, as the prompt shows them. */
  readonly hosts: Readonly<Record<string, readonly string[]>>
  /** The templates beside the configuration, and what the configuration says to a request. */
  readonly templates: Templates
  readonly policy: Policy
  /** Whether this process can do its work. */
  readonly readiness: () => Promise<Readiness>
  /**
   * Lets no new call in, and waits for those in flight, at most so long. Returns how many are left:
   * `close` makes their outcome unknown.
   */
  drain(waitMs: number): Promise<number>
  /** Stops taking requests, lets what is in flight settle, and closes the store. */
  close(): Promise<void>
}

/**
 * Starts everything in this process. Problems of the configuration are for a person to read;
 * rejects when the machine does not let it start.
 */
export async function startDaypass(options: DaypassOptions): Promise<Result<Daypass, string[]>> {
  const configured = options.configFile === null ? ok(EMPTY_CONFIG) : loadConfig(options.configFile)
  if (!configured.ok) return configured
  const config = withoutServers(configured.value, options)
  const folder = resolve(options.configFile ?? '.', '..')
  const guarded = [options.folder, options.configFile, join(folder, 'templates')]
  const { desks, problems } = desksOf(
    config.servers,
    folder,
    guarded.filter((path) => path !== null).map((path) => resolve(path)),
  )
  const pins = readPinsOf(options.folder)
  if (!pins.ok) problems.push(pins.error)
  const programs = Programs.open(programsOf(config.servers, options.configFile), options.folder)
  if (!programs.ok) problems.push(programs.error)
  const machines = readMachines(config.machines, LOCAL_ORG)
  if (!machines.ok) problems.push(...machines.error)
  if (problems.length > 0 || !pins.ok || !programs.ok || !machines.ok) return err(problems)
  const clock = options.clock ?? Date.now
  let store: Store | null = null
  try {
    const keys = options.folder === null ? freshKeys(clock()) : loadKeys(options.folder, clock())
    store = await openStore(options)
    const accepted = { pins: pins.value, programs: programs.value, machines: machines.value }
    return ok(await assemble({ options, config, desks, ...accepted, clock, keys, store }))
  } catch (error) {
    // A port in use, a damaged key, a database that was restored: nothing stays open.
    await store?.close()
    throw error
  }
}

async function openStore({ folder, rollback, aroundStore }: DaypassOptions): Promise<Store> {
  const file = folder === null ? null : join(folder, 'daypass.db')
  const store =
    file === null ? openMemory() : await openSqlite({ file, rollback: rollback ?? 'refuse' })
  return aroundStore === undefined ? store : aroundStore(store)
}

interface Parts {
  readonly options: DaypassOptions
  readonly config: Config
  readonly desks: ReadonlyMap<string, Desk>
  readonly pins: Pins
  readonly programs: Programs
  readonly machines: MachineList
  readonly clock: () => Instant
  readonly keys: Keys
  readonly store: Store
}

async function assemble(parts: Parts): Promise<Daypass> {
  const { options, config, clock, keys, store } = parts
  const vocabulary = vocabularyOf(parts.desks.values())
  const hosts = hostsByAction(parts.desks.values())
  const templates = templatesOf(parts, vocabulary)
  const policy = policyOf({ ...config, templates }, { vocabulary, hosts, bound: parts.desks })
  const serverInfo = { name: 'daypass', version: VERSION }
  const executor = newId('exec')
  const runs = new Runs({ store, clock, executor })
  // Before anything is judged: leases of before a restoration end here (threat 62).
  await runs.start()
  const at = { isServing: options.serve !== undefined, port: options.port }
  const { http, url, localUrl, hostRules } = await listen(config.server, at)
  const upstreams = upstreamsOf(parts, { client: serverInfo, issuer: url })
  const desks = new Desks({
    ...{ desks: parts.desks, upstreams, pins: parts.pins, programs: parts.programs, store },
  })
  const authorities = new Authorities({
    runs,
    store,
    keys,
    clock,
    issuer: () => url,
    leaseSecondsMax: config.limits.maxExpiresInSeconds,
    ...{ mayAdd: policy.mayAdd, prompts: promptBuckets(config.rates, clock) },
  })
  const authority = authorities.of(LOCAL_ORG)
  const badges = badgeReader({ url, keys, clock, runs, ...config.limits })
  const overlapMs = badgeLifeMs(config.limits.maxExpiresInSeconds)
  const txns = new Txns({ url, keys, clock, overlapMs })
  const wired = { runs, desks, upstreams, vocabulary, signTxn: txns.sign }
  const door = doorOf(parts, { badges, ...wired })
  const operatorToken = randomBytes(32).toString('base64url')
  const pinning = new Pinning({
    ...{ desks, bound: parts.desks, upstreams, folder: options.folder },
    ...{ pins: parts.pins, programs: parts.programs },
    pinned: () => door.toolsChanged(),
  })
  const machines = new Machines(parts.machines, { url, keys, clock, overlapMs })
  const people = createPeople({
    ...{ url, store, keys, clock, badges, config: config.people },
    operator: { token: operatorToken, person: options.operator, org: LOCAL_ORG },
    machineOf: (presented) => machines.callerOf(presented),
  })
  const { authenticate } = people
  const api = createApi({
    ...{ authenticate, runs, store, clock, desks, vocabulary, hosts, templates, policy },
    authorityOf: (org) => authorities.of(org),
    limits: config.limits,
    status: () => statusOf(parts, upstreams),
    catalog: () => catalogOf(parts, desks),
    pinning,
  })
  const oauthParts = {
    ...{ url, store, keys, clock, authenticate, vocabulary, hosts, templates },
    ruleFor: policy.ruleFor,
    authorityOf: (org: OrgId) => authorities.of(org),
    settings: config.oauth,
    ...(options.publicFetch === undefined ? {} : { publicFetch: options.publicFetch }),
    leaseSecondsMax: config.limits.maxExpiresInSeconds,
    clients: [HOLDER, ...machines.clients],
  }
  const grants = { badges, machines, limits: config.limits, ...config.oauth, ...oauthParts }
  const oauth = createOAuth(oauthParts, (provider) => registerOwn(provider, grants))
  const metadata = `${url}/.well-known/oauth-protected-resource/mcp`
  const mcp = createMcpHandler(door, upstreams, {
    ...{ serverInfo, hostRules, resourceMetadataUrl: metadata },
  })
  const authzen = createAuthzen({
    ...{ url, authenticate, runs, clock },
    txnOf: (token) => txns.read(token),
    reading: { vocabulary, hosts, bound: parts.desks },
    serves: (server) => desks.serves(server),
  })
  const rest = getRequestListener((request) => {
    const { pathname } = new URL(request.url)
    if (isSignIn(pathname)) return people.fetch(request)
    return asset(pathname) ?? (isAuthzen(pathname) ? authzen : api).fetch(request)
  })
  const readiness = readinessOf({ store, executor, keys, upstreams, clock })
  const front = frontOf(parts, { hosts: hostRules.hosts, readiness })
  http.on('request', (req: IncomingMessage, res: ServerResponse) => {
    const path = req.url?.split('?', 1)[0] ?? ''
    if (front.answers(req, res, path)) return
    if (path === '/mcp') mcp(req, res)
    else if (oauth.serves(path)) oauth.handle(req, res)
    else void rest(req, res)
  })
  if (options.servers !== false) upstreams.start()
  return {
    ...{
      url,
      localUrl,
      readiness,
      operatorToken,
      authority,
      runs,
      door,
      upstreams,
      desks,
      config,
      keys,
      vocabulary,
    },
    ...{ badges, txns, authorities, signInLinks: people.links },
    ...{ bound: parts.desks, hosts, templates, policy },
    drain: (waitMs) => {
      front.drain()
      door.stop()
      return settled(door, waitMs)
    },
    close: async () => {
      mcp.close()
      api.close()
      await upstreams.close()
      await settled(door, SETTLE_MS)
      await runs.stop()
      const closed = new Promise((done) => http.close(done))
      const cut = setTimeout(() => http.closeAllConnections(), ANSWER_MS)
      http.closeIdleConnections()
      await closed
      clearTimeout(cut)
      await store.close()
    },
  }
}

function templatesOf({ options, config, clock }: Parts, vocabulary: Vocabulary): Templates {
  const folder = options.configFile === null ? null : resolve(options.configFile, '..')
  const { limits, policy } = config
  return new Templates({ folder, vocabulary, limits, onExceed: policy.on_exceed, clock })
}

/** What every request passes first. */
function frontOf(
  { options, config, clock }: Parts,
  wired: { readonly hosts: readonly string[]; readonly readiness: () => Promise<Readiness> },
): Front {
  const log = options.serve?.log(hiding(config.secrets)) ?? null
  const { rates, server } = config
  return new Front({ ...wired, rates, trustProxy: server.trustProxy, clock, log })
}

function upstreamsOf(
  { config, desks }: Parts,
  { client, issuer }: { readonly client: ClientInfo; readonly issuer: string },
): Upstreams {
  const configs = config.servers.map(({ name, upstream }) => {
    const told = tellIssuer(name, upstream, issuer)
    return [name, asCatalogued(told, desks.get(name))] as const
  })
  return new Upstreams(Object.fromEntries(configs), { client })
}

/** The door, with a verifier that knows the authority's own keys, and no others. */
function doorOf(
  { keys, store, clock, options }: Parts,
  wired: Pick<CallParts, 'runs' | 'desks' | 'upstreams' | 'vocabulary' | 'signTxn'> & {
    readonly badges: BadgeReader
  },
): JudgedDoor {
  const { badges, ...shared } = wired
  const results = new Results({ store, key: keys.derive('results'), clock })
  const tasks = new Tasks()
  shared.runs.listen((tree, entries) => {
    const isClosed = entries.some((entry) => entry.type === 'tree.closed')
    if (!isClosed) return
    results.forget({ org: tree.org, tree: tree.id }, tree.calls.keys())
    tasks.forgetAll(tree.runs)
  })
  return new JudgedDoor(
    {
      ...shared,
      ...(options.askHoldMs === undefined ? {} : { askHoldMs: options.askHoldMs }),
      clock,
      locks: new Locks(),
      inFlight: new InFlight(shared.runs),
      results,
      rounds: new Rounds(keys.derive('rounds')),
      tasks,
    },
    { badges, onSessionEnd: () => {} },
  )
}

/**
 * The facts of a catalog rely on the environment that it names, so that comes last; and on the
 * folders that the server is bound to, so no client gives it others.
 */
function asCatalogued(upstream: UpstreamConfig, desk: Desk | undefined): UpstreamConfig {
  const { roots, worktree } = desk?.binding ?? { roots: [], worktree: null }
  const withholdRoots = roots.length > 0 || worktree !== null
  if (upstream.kind !== 'stdio' || !desk?.catalog) return { ...upstream, withholdRoots }
  return { ...upstream, withholdRoots, env: { ...upstream.env, ...desk.catalog.server.env } }
}

function withoutServers(config: Config, { without = [], servers }: DaypassOptions): Config {
  const kept = config.servers.filter(({ name }) => servers !== false && !without.includes(name))
  return { ...config, servers: kept }
}

function readPinsOf(folder: string | null): Result<Pins, string> {
  const file = folder === null ? null : join(folder, 'pins.json')
  if (file === null || !existsSync(file)) return ok(new Map())
  return readPins(readFileSync(file, 'utf8'))
}
