import { hash, randomBytes } from 'node:crypto'
import type { Instant } from '../../core/id.ts'
import { type ArtifactKey, INSTALLATION, type Store } from '../../store/store.ts'

const CODE_BYTES = 32
/** Long enough to copy it from a terminal, short enough that an old scrollback opens nothing. */
export const LINK_MS = 10 * 60_000

/**
 * One-time links that the operator's terminal shows: whoever opens one and confirms is the operator
 * in that browser. The store has the digest of the code.
 */
export class SignInLinks {
  readonly #store: Store
  readonly #clock: () => Instant
  readonly #url: string

  constructor(options: { store: Store; clock: () => Instant; url: string }) {
    this.#store = options.store
    this.#clock = options.clock
    this.#url = options.url
  }

  async make(): Promise<{ url: string; expiresAt: Instant }> {
    const code = randomBytes(CODE_BYTES).toString('base64url')
    const expiresAt = this.#clock() + LINK_MS
    const artifact = { grant: null, handle: null, body: '', expiresAt }
    await this.#store.putArtifact({ ...keyOf(code), ...artifact })
    return { url: `${this.#url}/sign-in/link?code=${code}`, expiresAt }
  }

  /** Whether the code would still be taken. */
  async isGood(code: string): Promise<boolean> {
    const stored = await this.#store.getArtifact(keyOf(code))
    return stored !== null && stored.consumedAt === null && this.#clock() < stored.expiresAt
  }

  /** Uses the code up; of several that try, one succeeds. */
  async use(code: string): Promise<boolean> {
    if (!(await this.isGood(code))) return false
    return (await this.#store.consumeArtifact(keyOf(code), this.#clock())).ok
  }
}

function keyOf(code: string): ArtifactKey {
  return { org: INSTALLATION, kind: 'sign_in_link', id: hash('sha256', code, 'base64url') }
}
