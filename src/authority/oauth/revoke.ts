import { ok, type Result } from '../../core/result.ts'
import { fault, type OAuthFault } from './grant.ts'
import { type BadgeParts, isHolder } from './introspect.ts'

/**
 * Revocation (RFC 7009) of a badge ends its run and every run below it. Resolves when no node can
 * allow another call of them. A token that is none of ours, or that is over, is no error (§2.2).
 */
export async function revoke(
  token: string,
  client: string,
  parts: BadgeParts,
): Promise<Result<true, OAuthFault>> {
  const badge = await parts.badges.verify(token)
  if (badge === null) return ok(true)
  const machine = parts.machineNamed(client)
  const opened = machine?.org === badge.org && badge.requester === client
  if (!isHolder(client, badge) && !opened) {
    return fault('unauthorized_client', 'this badge was issued to another client')
  }
  const by = { agent: badge.agent }
  const reason = `its badge was revoked by ${client}`
  const revoked = await parts.authorityOf(badge.org).revoke(badge.run, { by, reason })
  if (revoked.ok || revoked.error.code === 'lease_ended') return ok(true)
  return fault('server_error', revoked.error.message)
}
