import { type Store, StoreError } from './store.ts'

/** The methods that write: each one is tested as "not persisted" and "persisted but errored". */
export const WRITES = [
  'append',
  'saveSnapshot',
  'putResult',
  'dropResults',
  'putReceipt',
  'setSetting',
  'putArtifact',
  'consumeArtifact',
  'dropArtifact',
  'dropArtifactsOf',
  'beat',
  'sweep',
] as const satisfies readonly (keyof Store)[]

export type WriteName = (typeof WRITES)[number]

/** What goes wrong, for tests. A hook may throw, wait, or wait forever. */
export interface FaultHooks {
  /** Throwing here means: failed, and nothing was stored. */
  before?(write: WriteName, parameters: readonly unknown[]): void | Promise<void>
  /** Throwing here means: stored, and reported as failed. */
  after?(write: WriteName, parameters: readonly unknown[]): void | Promise<void>
}

/**
 * A store in which writes fail as the hooks say. For tests of whoever writes: both failures look
 * the same to the caller, and it has to be right in both.
 */
export function withFaults(store: Store, hooks: FaultHooks): Store {
  const isWrite = (name: string | symbol): name is WriteName =>
    (WRITES as readonly (string | symbol)[]).includes(name)
  return new Proxy(store, {
    get(target, name) {
      const method = Reflect.get(target, name, target)
      if (typeof method !== 'function') return method
      if (!isWrite(name)) return method.bind(target)
      return async (...parameters: unknown[]) => {
        await hooks.before?.(name, parameters)
        const result = await method.apply(target, parameters)
        await hooks.after?.(name, parameters)
        return result
      }
    },
  })
}

/** The errors of a failing disk, as a store reports them. */
export function diskFull(): StoreError {
  return new StoreError('full', 'the disk, or the size limit of the database, is full')
}

export function diskFailed(): StoreError {
  return new StoreError('io', 'the disk failed')
}
