import { DEPTH_MAX } from '../core/limits.ts'

/** What a lease file may ask for at most. The organisation's configuration can lower each. */
export interface LeaseLimits {
  readonly maxExpiresInSeconds: number
  readonly maxToolCalls: number
  readonly maxDepth: number
  readonly maxChildren: number
}

/** A lease is for one piece of work: longer than a working day only by configuration. */
export const DEFAULT_LEASE_LIMITS: LeaseLimits = {
  maxExpiresInSeconds: 8 * 3600,
  maxToolCalls: 10_000,
  maxDepth: DEPTH_MAX,
  maxChildren: 64,
}

/** A lease is read by a person: more text than this is not a lease, and costs the parser. */
export const TEXT_BYTES_MAX = 64 * 1024
/** Items of one list or map. Matching is linear in them. */
export const ITEMS_MAX = 200
/** A purpose is one sentence; a longer one pushes the permissions off the screen. */
export const PURPOSE_CHARACTERS_MAX = 400
/** Names, addresses, patterns. */
export const VALUE_CHARACTERS_MAX = 1024
/** Problems reported for one file: nobody reads more, and a hostile file must not fill a screen. */
export const PROBLEMS_MAX = 50
/** A file holds a lease, or an envelope, or one of each. */
export const DOCUMENTS_MAX = 2
