import type { Door } from './door.ts'
import type { Upstreams } from './upstreams.ts'

/** What every transport needs to answer a client. */
export interface Gate {
  readonly door: Door
  readonly upstreams: Upstreams
  /** Our own name and version, as clients see it. */
  readonly serverInfo: { readonly name: string; readonly version: string }
}
