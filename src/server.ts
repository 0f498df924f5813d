import { existsSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { type Authorities, LOCAL_ORG } from './authority/authorities.ts'
import type { Authority } from './authority/authority.ts'
import { desksOf } from './authority/catalogs.ts'
import { type Config, EMPTY_CONFIG, loadConfig } from './authority/config.ts'
import { freshKeys, type Keys, loadKeys } from './authority/keys.ts'
import { readMachines } from './authority/oauth/machines.ts'
import type { People } from './authority/people/people.ts'
import type { Policy } from './authority/policy.ts'
import { Programs, programsOf } from './authority/programs.ts'
import type { Readiness } from './authority/readiness.ts'
import { listen, settled } from './authority/serve.ts'
import type { Templates } from './authority/templates.ts'
import type { Txns } from './authority/txn.ts'
import type { BadgeReader } from './badge/reader.ts'
import { type Pins, readPins } from './catalog/pin.ts'
import { err, ok, type Result } from './core/result.ts'
import type { Vocabulary } from './core/vocabulary.ts'
import { type DaypassOptions, engineOf, type Parts } from './engine.ts'
import type { Desk, Desks } from './gateway/desk.ts'
import type { JudgedDoor } from './gateway/judged-door.ts'
import type { Upstreams } from './gateway/upstreams.ts'
import { newId } from './runs/new-id.ts'
import { Runs } from './runs/runs.ts'
import { openMemory } from './store/memory.ts'
import { openSqlite } from './store/sqlite.ts'
import type { Store } from './store/store.ts'
import { surfaceOf } from './surface.ts'

export { LOCAL_ORG } from './authority/authorities.ts'
export type { DaypassOptions } from './engine.ts'
export { type Owner, own, ownerOf } from './owner.ts'

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

async function assemble(parts: Parts): Promise<Daypass> {
  const { options, config, clock, keys, store } = parts
  const runs = new Runs({ store, clock, executor: newId('exec') })
  // Before anything is judged: leases of before a restoration end here (threat 62).
  await runs.start()
  const at = { isServing: options.serve !== undefined, port: options.port }
  const { http, url, localUrl, hostRules } = await listen(config.server, at)
  const engine = engineOf(parts, { runs, url })
  const surface = surfaceOf(parts, engine, hostRules)
  http.on('request', surface.handle)
  const { door, upstreams, authorities } = engine
  if (options.servers !== false) upstreams.start()
  return {
    ...engine,
    ...{ localUrl, config, keys, bound: parts.desks, readiness: surface.readiness },
    ...{ authority: authorities.of(LOCAL_ORG), signInLinks: surface.people.links },
    drain: (waitMs) => {
      surface.drain()
      door.stop()
      return settled(door, waitMs)
    },
    close: async () => {
      surface.close()
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

function withoutServers(config: Config, { without = [], servers }: DaypassOptions): Config {
  const kept = config.servers.filter(({ name }) => servers !== false && !without.includes(name))
  return { ...config, servers: kept }
}

function readPinsOf(folder: string | null): Result<Pins, string> {
  const file = folder === null ? null : join(folder, 'pins.json')
  if (file === null || !existsSync(file)) return ok(new Map())
  return readPins(readFileSync(file, 'utf8'))
}
