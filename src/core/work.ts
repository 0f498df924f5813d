import type { Instant } from './id.ts'
import type { Lease } from './tree.ts'

/**
 * The clock of work, which `budget: minutes` limits. It runs from approval to the end, and stands
 * still while the lease is suspended, and from the opening of an ask until its answer, its
 * deadline, or the next call. A `workSince` in the future is a clock that stands still until then.
 */
export function workedMsAt(lease: Lease, now: Instant): number {
  return lease.workedMs + (lease.workSince === null ? 0 : Math.max(0, now - lease.workSince))
}

export function isWorkExhausted(lease: Lease, now: Instant): boolean {
  const { workSeconds } = lease.terms
  return workSeconds !== null && workedMsAt(lease, now) >= workSeconds * 1000
}

/** The clock of work stands still from here until work goes on. */
export function stopWork(lease: Lease, at: Instant): void {
  lease.workedMs = workedMsAt(lease, at)
  lease.workSince = null
}

/** Work goes on, if it stood still. */
export function startWork(lease: Lease, at: Instant): void {
  if (lease.workSince === null || lease.workSince > at) lease.workSince = at
}

/** Work waits for a person's answer, but not longer than the answer may take. */
export function awaitAnswer(lease: Lease, at: Instant, deadline: Instant): void {
  stopWork(lease, at)
  lease.workSince = deadline
}
