import type { Instant } from '../core/id.ts'
import type { Desk, Desks } from '../gateway/desk.ts'
import type { Upstreams } from '../gateway/upstreams.ts'
import type { Store } from '../store/store.ts'
import { VERSION } from '../version.ts'
import type { Config } from './config.ts'
import type { Keys } from './keys.ts'
import { hiding } from './secret.ts'

interface StatusParts {
  readonly options: { readonly folder: string | null; readonly operator: string }
  readonly config: Config
  readonly desks: ReadonlyMap<string, Desk>
  readonly clock: () => Instant
  readonly keys: Keys
  readonly store: Store
}

/** Health of servers, store and clock, for `doctor`. */
export function statusOf(parts: StatusParts, upstreams: Upstreams) {
  const { options, config, clock, keys, store, desks } = parts
  return {
    version: VERSION,
    folder: options.folder,
    operator: options.operator,
    now: clock(),
    key: keys.signing.kid,
    store: { kind: options.folder === null ? 'memory' : 'sqlite', ...store.counters() },
    servers: hidden(upstreams.health(), config),
    uncatalogued: [...desks].filter(([, desk]) => desk.catalog === null).map(([name]) => name),
  }
}

/** What servers say about themselves, without the secrets that they were given (threat 78). */
export function hidden<T>(said: T, { secrets }: Pick<Config, 'secrets'>): T {
  const hide = hiding(secrets)
  const text = JSON.stringify(said, (_, value) => (typeof value === 'string' ? hide(value) : value))
  return JSON.parse(text) as T
}

/** How what the servers present compares with what was accepted, for `catalog check`. */
export function catalogOf({ desks: all }: Pick<StatusParts, 'desks'>, desks: Desks) {
  const servers = [...all.keys()].map((name) => [name, [...desks.checks(name).values()]])
  return { servers: Object.fromEntries(servers) }
}
