import type { Serial } from '../catalog/classify.ts'

interface Waiting {
  readonly mode: Serial['mode']
  readonly enter: () => void
}

interface Lock {
  shared: number
  exclusive: boolean
  readonly waiting: Waiting[]
}

/**
 * Locks over working trees, held from the classification of a call until its upstream has answered:
 * a probed branch must still be checked out when the tool runs. First come, first served, so that a
 * writer is not starved by readers.
 */
export class Locks {
  readonly #locks = new Map<string, Lock>()

  /**
   * Keys come in one order for everybody (`serialOf`), so that no two calls wait for each other.
   */
  async acquire(serials: readonly Serial[]): Promise<() => void> {
    const held: Serial[] = []
    for (const serial of serials) {
      await this.#enter(serial)
      held.push(serial)
    }
    return () => {
      for (const serial of held.splice(0)) this.#leave(serial)
    }
  }

  #enter({ key, mode }: Serial): Promise<void> | undefined {
    let lock = this.#locks.get(key)
    if (lock === undefined) {
      lock = { shared: 0, exclusive: false, waiting: [] }
      this.#locks.set(key, lock)
    }
    if (lock.waiting.length === 0 && admits(lock, mode)) {
      take(lock, mode)
      return undefined
    }
    const { promise, resolve } = Promise.withResolvers<void>()
    lock.waiting.push({ mode, enter: resolve })
    return promise
  }

  #leave({ key, mode }: Serial): void {
    const lock = this.#locks.get(key)!
    if (mode === 'shared') lock.shared -= 1
    else lock.exclusive = false
    while (lock.waiting.length > 0 && admits(lock, lock.waiting[0]!.mode)) {
      const next = lock.waiting.shift()!
      take(lock, next.mode)
      next.enter()
    }
    if (lock.shared === 0 && !lock.exclusive) this.#locks.delete(key)
  }
}

function admits(lock: Lock, mode: Serial['mode']): boolean {
  return !lock.exclusive && (mode === 'shared' || lock.shared === 0)
}

function take(lock: Lock, mode: Serial['mode']): void {
  if (mode === 'shared') lock.shared += 1
  else lock.exclusive = true
}
