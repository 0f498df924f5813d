import { hash } from 'node:crypto'
import type { Entry } from '../core/entry.ts'
import type { Terms } from '../core/lease.ts'
import type { Run } from '../core/tree.ts'

/** The label under which terms say which template they came from; the prompt shows it. */
export const TEMPLATE_LABEL = 'template'

/** The template that the lease of a run came from; null: none, or no lease. */
export function templateOf({ lease }: Run): string | null {
  return lease === null ? null : templateIn(lease.terms)
}

function templateIn({ labels }: Terms): string | null {
  return Object.hasOwn(labels, TEMPLATE_LABEL) ? labels[TEMPLATE_LABEL]! : null
}

/** What a lock is about: while it stands, nothing of it is opened. */
export type LockScope =
  | { readonly agent: string }
  | { readonly requester: string }
  | { readonly template: string }
  | { readonly everything: true }

/** Settings whose key begins so are locks. */
export const LOCK_PREFIX = 'lock:'

/** The setting that is the lock. Names are hashed: they may be longer than a key. */
export function lockKey(scope: LockScope): string {
  const [kind, value] = Object.entries(scope)[0]!
  return LOCK_PREFIX + (value === true ? kind : `${kind}:${hash('sha256', value, 'hex')}`)
}

/**
 * Locks that forbid these entries. They are looked for in the transaction that stores the entries:
 * a bulk revocation writes its lock first, so what it does not find afterwards was never opened.
 */
export function locksOf(entries: readonly Entry[]): string[] {
  const keys = new Set<string>()
  const add = (scope: LockScope) => keys.add(lockKey(scope))
  for (const entry of entries) {
    if (entry.type === 'tree.opened' || entry.type === 'run.delegated') {
      const { requester, agent } = entry.command.envelope
      add({ everything: true })
      add({ requester })
      add({ agent })
    }
    if (entry.type !== 'lease.requested') continue
    const template = templateIn(entry.command.terms)
    if (template !== null) add({ template })
  }
  return [...keys]
}
