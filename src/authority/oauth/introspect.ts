import { actOf, type Badge } from '../../badge/badge.ts'
import type { BadgeReader } from '../../badge/reader.ts'
import { chainOf, isUsable } from '../../core/chain.ts'
import type { Instant } from '../../core/id.ts'
import type { Run, Tree } from '../../core/tree.ts'
import type { Authority } from '../authority.ts'
import { leaseDetails } from './grant.ts'
import type { Machine } from './machines.ts'
import { audienceOf } from './parts.ts'

/** RFC 7662 §2.2: all that is said of a token that is not active, or of somebody else. */
const INACTIVE = { active: false } as const

export interface BadgeParts {
  readonly url: string
  readonly badges: BadgeReader
  readonly authorityOf: (org: string) => Authority
  readonly clock: () => Instant
  readonly machineNamed: (client: string) => Machine | null
}

/**
 * Introspection (RFC 7662) of a badge. It is active only while its run can act: its lease and every
 * lease above it is. Whoever may not know of it is told that it is not.
 */
export async function introspect(
  token: string,
  client: string,
  parts: BadgeParts,
): Promise<Readonly<Record<string, unknown>>> {
  const badge = await parts.badges.verify(token)
  if (badge === null || !mayAsk(client, badge, parts)) return INACTIVE
  const found = await parts.authorityOf(badge.org).find(badge.run)
  const now = parts.clock()
  if (found === null || !isChainUsable(found.tree, found.run, now)) {
    return INACTIVE
  }
  const { org, tree, run, lease, requester, agent, above, jkt } = badge
  return {
    active: true,
    iss: parts.url,
    aud: audienceOf(parts.url),
    sub: requester,
    client_id: badge.client,
    token_type: jkt === null ? 'Bearer' : 'DPoP',
    iat: badge.issuedAt / 1000,
    // No later than the lease, which the badge outlives.
    exp: Math.floor(Math.min(badge.expiresAt, found.run.lease!.expiresAt!) / 1000),
    ...(jkt === null ? {} : { cnf: { jkt } }),
    act: actOf([{ agent, run }, ...above]),
    ...{ org, tree, run, lease },
    authorization_details: [leaseDetails(found.run, parts)],
  }
}

/** The lease of a run, and every lease above it, is active and not expired. */
export function isChainUsable(tree: Tree, run: Run, now: Instant): boolean {
  return chainOf(tree, run).every((each) => isUsable(each, now))
}

/** The client that it was issued to, and machines that audit the organisation. */
function mayAsk(client: string, badge: Badge, parts: BadgeParts): boolean {
  if (isHolder(client, badge)) return true
  const machine = parts.machineNamed(client)
  if (machine === null || machine.org !== badge.org) return false
  return badge.requester === client || machine.roles.has('auditor') || machine.roles.has('admin')
}

/** The client of everybody who has a badge that no client was given: as agents get it. */
export const HOLDER_CLIENT = 'daypass'

/** Whether the client stands for the badge's agent. */
export function isHolder(client: string, badge: Badge): boolean {
  if (badge.client === client) return true
  return client === HOLDER_CLIENT && badge.client === badge.agent
}
