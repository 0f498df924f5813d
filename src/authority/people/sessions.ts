import { hash, randomBytes } from 'node:crypto'
import type { Instant } from '../../core/id.ts'
import { type ArtifactKey, INSTALLATION, type Store } from '../../store/store.ts'
import { ROLES, type Role } from '../caller.ts'
import type { Cookie } from './cookies.ts'

const ID_BYTES = 32
/** A browser that nobody has used for so long is not trusted to have the same person before it. */
const IDLE_MS = 2 * 3_600_000
/** Roles are those of the sign-in: what the identity provider takes away is gone after this. */
const LONGEST_MS = 12 * 3_600_000
/** Use is written down this often at most, so that reading a page is not a write. */
const TOUCH_MS = 60_000

/** Who has signed in. */
export interface Person {
  readonly org: string
  readonly person: string
  readonly roles: ReadonlySet<Role>
}

/** A browser in which a person is signed in. */
export interface Session extends Person {
  /** Digest of the secret in the cookie: names the session and does not open it. */
  readonly id: string
  readonly expiresAt: Instant
}

interface Kept {
  readonly org: string
  readonly person: string
  readonly roles: readonly Role[]
  /** Digest of the rules by which the roles were given. */
  readonly rules: string
  readonly startedAt: Instant
  readonly usedAt: Instant
}

export interface SessionOptions {
  readonly store: Store
  readonly cookie: Cookie
  readonly clock: () => Instant
  /** What gives roles now. A session under other rules is none: people sign in again. */
  readonly rules: string
}

/**
 * The sessions of people, in the store: they outlive the process, and every node sees their end.
 * The cookie has 256 random bits; the store has their digest, so that a copy of it opens nothing.
 */
export class Sessions {
  readonly #options: SessionOptions

  constructor(options: SessionOptions) {
    this.#options = options
  }

  /**
   * Signs a person in: a new session, whatever the browser had before (session fixation), whose
   * session ends. Returns the value of `Set-Cookie`.
   */
  async start(person: Person, before: Headers): Promise<string> {
    await this.end(before)
    const secret = randomBytes(ID_BYTES).toString('base64url')
    const now = this.#options.clock()
    const kept = { ...person, roles: [...person.roles], startedAt: now, usedAt: now }
    await this.#put(idOf(secret), { ...kept, rules: this.#options.rules })
    return this.#options.cookie.set(secret)
  }

  /** The session of a request; null: nobody is signed in. Counts as use. */
  async of(headers: Headers): Promise<Session | null> {
    const secret = this.#options.cookie.read(headers)
    if (secret === null) return null
    const id = idOf(secret)
    const stored = await this.#options.store.getArtifact(keyOf(id))
    const now = this.#options.clock()
    if (stored === null || stored.consumedAt !== null || now >= stored.expiresAt) return null
    const kept = JSON.parse(stored.body) as Kept
    if (kept.rules !== this.#options.rules) return null
    const used = now - kept.usedAt < TOUCH_MS ? kept : { ...kept, usedAt: now }
    if (used !== kept) await this.#put(id, used)
    const roles = new Set(ROLES.filter((role) => kept.roles.includes(role)))
    return { id, org: kept.org, person: kept.person, roles, expiresAt: endOf(used) }
  }

  /** Signs out. Returns the value of `Set-Cookie`. */
  async end(headers: Headers): Promise<string> {
    const { cookie, store, clock } = this.#options
    const secret = cookie.read(headers)
    // Used up, not dropped: a request that has just read it cannot write it back to life.
    if (secret !== null) await store.consumeArtifact(keyOf(idOf(secret)), clock())
    return cookie.clear()
  }

  #put(id: string, kept: Kept): Promise<void> {
    const artifact = { grant: null, handle: null, expiresAt: endOf(kept) }
    return this.#options.store.putArtifact({
      ...keyOf(id),
      ...artifact,
      body: JSON.stringify(kept),
    })
  }
}

function endOf({ startedAt, usedAt }: Kept): Instant {
  return Math.min(usedAt + IDLE_MS, startedAt + LONGEST_MS)
}

/** A cookie says nothing about the organisation, so sessions are found in the installation. */
function keyOf(id: string): ArtifactKey {
  return { org: INSTALLATION, kind: 'session', id }
}

function idOf(secret: string): string {
  return hash('sha256', secret, 'base64url')
}
