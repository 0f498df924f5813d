import { randomBytes } from 'node:crypto'
import { resolve } from 'node:path'
import { Authorities } from './authority/authorities.ts'
import { badgeReader } from './authority/badge-reader.ts'
import { badgeLifeMs } from './authority/badges.ts'
import { hostsByAction, vocabularyOf } from './authority/catalogs.ts'
import type { Config } from './authority/config.ts'
import type { Keys } from './authority/keys.ts'
import type { Log } from './authority/log.ts'
import { type MachineList, Machines } from './authority/oauth/machines.ts'
import type { PublicFetchOptions } from './authority/oauth/public-fetch.ts'
import { Pinning } from './authority/pinning.ts'
import { policyOf } from './authority/policy.ts'
import type { Programs } from './authority/programs.ts'
import { promptBuckets } from './authority/rates.ts'
import { Templates } from './authority/templates.ts'
import { Txns, tellIssuer } from './authority/txn.ts'
import type { BadgeReader } from './badge/reader.ts'
import type { Pins } from './catalog/pin.ts'
import type { Instant } from './core/id.ts'
import type { Vocabulary } from './core/vocabulary.ts'
import { Rounds } from './gateway/call-key.ts'
import { type Desk, Desks } from './gateway/desk.ts'
import { InFlight } from './gateway/in-flight.ts'
import { JudgedDoor } from './gateway/judged-door.ts'
import { Locks } from './gateway/locks.ts'
import type { CallParts } from './gateway/passage.ts'
import { Results } from './gateway/results.ts'
import { Tasks } from './gateway/tasks.ts'
import type { UpstreamConfig } from './gateway/upstream.ts'
import { Upstreams } from './gateway/upstreams.ts'
import type { Runs } from './runs/runs.ts'
import type { Store } from './store/store.ts'
import { VERSION } from './version.ts'

export const SERVER_INFO = { name: 'daypass', version: VERSION }

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

/** What was read and opened before anything is put together. */
export interface Parts {
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

/** What decides, enforces and issues, without what speaks HTTP. */
export type Engine = ReturnType<typeof engineOf>

/** Puts it together. `url`: the public one; `runs` has started. */
export function engineOf(
  parts: Parts,
  { runs, url }: { readonly runs: Runs; readonly url: string },
) {
  const { options, config, clock, keys, store } = parts
  const vocabulary = vocabularyOf(parts.desks.values())
  const hosts = hostsByAction(parts.desks.values())
  const templates = templatesOf(parts, vocabulary)
  const policy = policyOf({ ...config, templates }, { vocabulary, hosts, bound: parts.desks })
  const upstreams = upstreamsOf(parts, url)
  const desks = new Desks({
    ...{ desks: parts.desks, upstreams, pins: parts.pins, programs: parts.programs, store },
  })
  const authorities = new Authorities({
    ...{ runs, store, keys, clock },
    issuer: () => url,
    leaseSecondsMax: config.limits.maxExpiresInSeconds,
    ...{ mayAdd: policy.mayAdd, prompts: promptBuckets(config.rates, clock) },
  })
  const badges = badgeReader({ url, keys, clock, runs, ...config.limits })
  const overlapMs = badgeLifeMs(config.limits.maxExpiresInSeconds)
  const txns = new Txns({ url, keys, clock, overlapMs })
  const door = doorOf(parts, { badges, runs, desks, upstreams, vocabulary, signTxn: txns.sign })
  const pinning = new Pinning({
    ...{ desks, bound: parts.desks, upstreams, folder: options.folder },
    ...{ pins: parts.pins, programs: parts.programs },
    pinned: () => door.toolsChanged(),
  })
  const machines = new Machines(parts.machines, { url, keys, clock, overlapMs })
  const operatorToken = randomBytes(32).toString('base64url')
  return {
    ...{ url, runs, vocabulary, hosts, templates, policy, upstreams, desks, authorities },
    ...{ badges, txns, door, pinning, machines, operatorToken },
  }
}

function templatesOf({ options, config, clock }: Parts, vocabulary: Vocabulary): Templates {
  const folder = options.configFile === null ? null : resolve(options.configFile, '..')
  const { limits, policy } = config
  return new Templates({ folder, vocabulary, limits, onExceed: policy.on_exceed, clock })
}

function upstreamsOf({ config, desks }: Parts, issuer: string): Upstreams {
  const configs = config.servers.map(({ name, upstream }) => {
    const told = tellIssuer(name, upstream, issuer)
    return [name, asCatalogued(told, desks.get(name))] as const
  })
  return new Upstreams(Object.fromEntries(configs), { client: SERVER_INFO })
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
