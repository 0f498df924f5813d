import { setTimeout as pause } from 'node:timers/promises'
import type { RunId } from '../../core/id.ts'
import { ok, type Result } from '../../core/result.ts'
import type { Run } from '../../core/tree.ts'
import type { Authority } from '../authority.ts'
import { fault, type OAuthFault } from './grant.ts'

/** How long a client is held while a person is asked: below what clients wait for an answer. */
export const HOLD_MS = 20_000
const LOOK_MS = 200
/** RFC 8628 §3.5: how long a client waits before it asks again. */
const INTERVAL_SECONDS = 5

/**
 * Waits until somebody has said yes to a run. Not yet is `authorization_pending`, with the run that
 * the client names when it asks again; a no is `access_denied` (RFC 8628 §3.5).
 */
export async function answered(
  authority: Authority,
  run: RunId,
  { holdMs }: { readonly holdMs: number },
): Promise<Result<Run, OAuthFault>> {
  const until = performance.now() + holdMs
  for (;;) {
    const found = (await authority.find(run))?.run
    const lease = found?.lease
    if (found === undefined || lease == null) return fault('access_denied', `no run ${run} here`)
    if (lease.state === 'active') return ok(found)
    if (lease.state !== 'requested') {
      const why = lease.endNote ?? lease.suspendedWhy ?? lease.state
      const about = lease.endReason === 'refused' ? 'nobody said yes' : 'this run is not active'
      return fault('access_denied', `${about}: ${why}`, { run, reason: 'lease_not_active' })
    }
    if (performance.now() >= until) {
      const message = 'a person must say yes first; ask again, and name this `run`'
      return fault('authorization_pending', message, { run, interval: INTERVAL_SECONDS })
    }
    await pause(LOOK_MS)
  }
}
