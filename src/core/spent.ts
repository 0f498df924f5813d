import { minus, plus } from './money.ts'
import type { Spent } from './tree.ts'

/**
 * Counted budgets. The records per action have no prototype: an action may be named `__proto__`.
 */

export function nothingSpent(): Spent {
  return { calls: 0, byAction: Object.create(null), usd: '0' }
}

export function spentOn(spent: Spent, action: string): number {
  return Object.hasOwn(spent.byAction, action) ? spent.byAction[action]! : 0
}

/** Adds `part` to `total`, in place. */
export function addSpent(total: Spent, part: Spent): void {
  total.calls += part.calls
  for (const action of Object.keys(part.byAction)) {
    total.byAction[action] = spentOn(total, action) + part.byAction[action]!
  }
  total.usd = plus(total.usd, part.usd)
}

/** Takes `part` out of `total`, in place. */
export function takeSpent(total: Spent, part: Spent): void {
  total.calls -= part.calls
  for (const action of Object.keys(part.byAction)) {
    total.byAction[action] = spentOn(total, action) - part.byAction[action]!
  }
  total.usd = minus(total.usd, part.usd)
}

/** The part that is counted by whoever limits these actions. */
export function limitedTo(used: Spent, limits: Readonly<Record<string, number>>): Spent {
  const part = { ...nothingSpent(), calls: used.calls, usd: used.usd }
  for (const action of Object.keys(used.byAction)) {
    if (Object.hasOwn(limits, action)) part.byAction[action] = used.byAction[action]!
  }
  return part
}
