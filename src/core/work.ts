import type { Instant } from './id.ts'
import type { Lease } from './tree.ts'

/**
 * The clock of work, which `budget: minutes` limits. It runs from approval to the end, and stands still
 * while the lease is suspended, and from the opening of an ask until its answer or the next call.
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
  if (lease.workSince === null) return
  lease.workedMs += at - lease.workSince
  lease.workSince = null
}
