import { afterEach, beforeEach, describe } from 'vitest'
import type { Store } from '../../src/store/store.ts'
import {
  atomicity,
  closing,
  concurrency,
  conflict,
  durability,
  locks,
  order,
} from './contract-append.ts'
import { artifacts } from './contract-artifacts.ts'
import { failure, limits } from './contract-failure.ts'
import { index, receiptsAndSettings, results, snapshots } from './contract-side.ts'

/** One place where data lives; `open` may be called again and again, also while another is open. */
export interface Place {
  open(): Promise<Store>
  dispose(): Promise<void>
}

/** What every store keeps. The words in capitals are the clauses of `src/store/store.ts`. */
export function contract(name: string, makePlace: () => Promise<Place>): void {
  describe(`the contract of the store, ${name}`, () => {
    let place: Place
    let store: Store
    const others: Store[] = []
    const another = async (): Promise<Store> => {
      const other = await place.open()
      others.push(other)
      return other
    }

    beforeEach(async () => {
      place = await makePlace()
      store = await place.open()
    })
    afterEach(async () => {
      for (const other of others.splice(0)) await other.close()
      await store.close()
      await place.dispose()
    })

    atomicity(() => store)
    conflict(() => store, another)
    locks(() => store, another)
    order(() => store)
    durability(() => store, another)
    failure(() => store)
    concurrency(() => store, another)
    closing(() => store, another)
    limits(() => store)
    index(() => store)
    snapshots(() => store)
    results(() => store)
    receiptsAndSettings(() => store, another)
    artifacts(() => store, another)
  })
}
