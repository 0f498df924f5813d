import { BadgeReader } from '../badge/reader.ts'
import type { Instant } from '../core/id.ts'
import type { Tree } from '../core/tree.ts'
import type { Runs } from '../runs/runs.ts'
import { badgeLifeMs } from './badges.ts'
import type { Keys } from './keys.ts'

/** The reader of our own badges: by our own keys, for our own gateway, of runs that there are. */
export function badgeReader(of: {
  /** The public URL. */
  readonly url: string
  readonly keys: Keys
  readonly clock: () => Instant
  readonly runs: Runs
  readonly maxExpiresInSeconds: number
}): BadgeReader {
  const { url, keys, clock, runs } = of
  const overlapMs = badgeLifeMs(of.maxExpiresInSeconds)
  return new BadgeReader({
    verifier: {
      issuer: url,
      audience: `${url}/mcp`,
      keyOf: (kid) => keys.keyOf(kid, { now: clock(), overlapMs }),
    },
    clock,
    isKnown: async (badge) => {
      const live = runs.tree(badge)
      const isIts = (tree: Tree | null) => tree?.runs.get(badge.run)?.lease?.id === badge.lease
      return isIts(await live.read()) || isIts(await live.read({ fresh: true }))
    },
  })
}
