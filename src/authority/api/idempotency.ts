import { hash } from 'node:crypto'
import type { Instant } from '../../core/id.ts'
import type { Store } from '../../store/store.ts'
import type { Caller } from '../caller.ts'
import { nameOf, orgOf } from './access.ts'
import { Problem } from './problem.ts'

/** How long an answer is kept for whoever repeats the request. */
const KEPT_MS = 24 * 3_600_000
/** Keys of one caller that this process takes in that time; each is kept on the disk. */
const KEYS_MAX = 10_000

/** What was asked under a key: the same key must mean the same request. */
export interface Keyed {
  readonly key: string
  readonly caller: Caller
  /** SHA-256 (hex) of method, path and body. */
  readonly digest: string
}

interface Kept {
  readonly digest: string
  /** Null: it was too large to be kept. */
  readonly answer: unknown
}

/**
 * `Idempotency-Key`: the same key with the same request gets the first answer again, and nothing is
 * done a second time, in this process or another. A reservation is taken before the work; of
 * several who want it one wins. A request that was refused has changed nothing and gives its key
 * back; one that failed may have been done, so its key stays taken: nobody repeats it blindly.
 */
export class Idempotency {
  readonly #store: Store
  readonly #clock: () => Instant
  /** Since when, and how many keys, by caller. */
  readonly #taken = new Map<string, { since: Instant; count: number }>()

  constructor({ store, clock }: { readonly store: Store; readonly clock: () => Instant }) {
    this.#store = store
    this.#clock = clock
  }

  async once<T>(keyed: Keyed, work: () => Promise<T>): Promise<T> {
    const org = orgOf(keyed.caller)
    const who = JSON.stringify([keyed.caller.kind, nameOf(keyed.caller)])
    const id = hash('sha256', JSON.stringify([who, keyed.key]), 'hex')
    const [reserved, answered] = [`idempotency`, `idempotency-answer`].map((kind) => ({
      org,
      kind,
      id,
    }))
    const known = await this.#kept(answered!)
    if (known !== null) return replay(known, keyed) as T
    this.#count(org, who)
    const row = { grant: null, handle: null, expiresAt: this.#clock() + KEPT_MS }
    await this.#store.putArtifact({ ...reserved!, ...row, body: '{}' })
    const won = await this.#store.consumeArtifact(reserved!, this.#clock())
    if (!won.ok) {
      const answer = await this.#kept(answered!)
      if (answer !== null) return replay(answer, keyed) as T
      throw new Problem(409, 'idempotency_unknown', UNKNOWN, { headers: { 'retry-after': '1' } })
    }
    const answer = await work().catch(async (error: unknown) => {
      const isRefused = error instanceof Problem && error.status < 500
      if (isRefused) await this.#store.dropArtifact(reserved!)
      throw error
    })
    await this.#keep(answered!, { ...row, kept: { digest: keyed.digest, answer } })
    return answer
  }

  async #kept(key: Parameters<Store['getArtifact']>[0]): Promise<Kept | null> {
    const found = await this.#store.getArtifact(key)
    if (found === null || found.expiresAt <= this.#clock()) return null
    return JSON.parse(found.body) as Kept
  }

  /** The work is done: what cannot be kept is not answered as a failure of it. */
  async #keep(
    key: Parameters<Store['getArtifact']>[0],
    { kept, ...row }: { grant: null; handle: null; expiresAt: Instant; kept: Kept },
  ): Promise<void> {
    try {
      await this.#store.putArtifact({ ...key, ...row, body: JSON.stringify(kept) })
    } catch {
      const short: Kept = { digest: kept.digest, answer: null }
      await this.#store.putArtifact({ ...key, ...row, body: JSON.stringify(short) }).catch(() => {})
    }
  }

  #count(org: string, who: string): void {
    const key = JSON.stringify([org, who])
    const now = this.#clock()
    const found = this.#taken.get(key)
    const fresh = found === undefined || now - found.since > KEPT_MS
    const taken = fresh ? { since: now, count: 0 } : found
    this.#taken.set(key, taken)
    taken.count++
    if (taken.count <= KEYS_MAX) return
    const message = `at most ${KEYS_MAX} idempotency keys in 24 hours; send requests without`
    throw new Problem(429, 'too_many_keys', message, { headers: { 'retry-after': '3600' } })
  }
}

const UNKNOWN =
  'a request with this key is under way, or its outcome is not known: look before you try again'

function replay({ digest, answer }: Kept, keyed: Keyed): unknown {
  if (digest !== keyed.digest) {
    throw new Problem(422, 'key_reused', 'this idempotency key was used for another request')
  }
  if (answer !== null) return answer
  throw new Problem(409, 'answer_not_kept', 'it was done; its answer was too large to be kept')
}
