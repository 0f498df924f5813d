import { hash } from 'node:crypto'
import { type Adapter, type AdapterPayload, errors } from 'oidc-provider'
import type { Instant } from '../../core/id.ts'
import { INSTALLATION, type Store, type StoredArtifact } from '../../store/store.ts'
import type { Seal } from './seal.ts'

/**
 * Where the authorization server keeps its codes, tokens, requests and clients: the `artifacts` of
 * our store. A name that is a secret is stored as its digest only, and bodies are sealed, so the
 * database alone redeems nothing (threat 52).
 */
export interface StorageOptions {
  readonly store: Store
  readonly seal: Seal
  readonly clock: () => Instant
  /**
   * A grant is over, because its code or a refresh token was used twice. Resolves when no badge of
   * it is of use any more.
   */
  readonly grantEnded: (grant: AdapterPayload) => Promise<void>
}

/** A client registers again after this long: what nobody uses must not fill the disk. */
const CLIENT_SECONDS = 90 * 24 * 3600

/** One adapter a kind of artifact, as oidc-provider asks for it. */
export function storageOf(options: StorageOptions): (kind: string) => Adapter {
  return (kind) => new Artifacts(kind, options)
}

class Artifacts implements Adapter {
  readonly #kind: string
  readonly #options: StorageOptions

  constructor(kind: string, options: StorageOptions) {
    this.#kind = kind
    this.#options = options
  }

  async upsert(id: string, payload: AdapterPayload, expiresIn?: number): Promise<void> {
    const { store, seal, clock } = this.#options
    const key = this.#key(id)
    const seconds = expiresIn ?? CLIENT_SECONDS
    await store.putArtifact({
      ...key,
      grant: payload.grantId === undefined ? null : digest(payload.grantId),
      handle: handleOf(payload),
      expiresAt: clock() + Math.max(0, seconds) * 1000,
      body: seal.close(JSON.stringify({ id, payload }), `${key.kind} ${key.id}`),
    })
    // A proof is used by being remembered: of two that arrive at once, the second is a replay.
    if (this.#kind === 'ReplayDetection') await this.consume(id)
  }

  async find(id: string): Promise<AdapterPayload | undefined> {
    return this.#open(await this.#options.store.getArtifact(this.#key(id)))?.payload
  }

  async findByUid(uid: string): Promise<AdapterPayload | undefined> {
    return this.#findByHandle(uid)
  }

  async findByUserCode(userCode: string): Promise<AdapterPayload | undefined> {
    return this.#findByHandle(userCode)
  }

  /**
   * Of several who use one code or refresh token, one wins. All others end the grant, whether they
   * come at once or later: one of them has stolen it (threats 42, 46).
   */
  async consume(id: string): Promise<void> {
    const { store, clock } = this.#options
    const key = this.#key(id)
    const consumed = await store.consumeArtifact(key, clock())
    if (consumed.ok) return
    const grantId = this.#open(await store.getArtifact(key))?.payload.grantId
    if (grantId !== undefined) await this.#as('Grant').destroy(grantId)
    if (this.#kind === 'PushedAuthorizationRequest') throw new errors.InvalidRequestUri()
    throw new errors.InvalidGrant('already used')
  }

  async destroy(id: string): Promise<void> {
    const { store, grantEnded } = this.#options
    if (this.#kind === 'Grant') {
      const grant = await this.find(id)
      // Before it is forgotten which run it was.
      if (grant !== undefined) await grantEnded(grant)
      await store.dropArtifactsOf(INSTALLATION, digest(id))
    }
    await store.dropArtifact(this.#key(id))
  }

  async revokeByGrantId(grantId: string): Promise<void> {
    await this.#options.store.dropArtifactsOf(INSTALLATION, digest(grantId))
  }

  async #findByHandle(handle: string): Promise<AdapterPayload | undefined> {
    const name = { org: INSTALLATION, kind: this.#kind, handle: digest(handle) }
    return this.#open(await this.#options.store.findArtifact(name))?.payload
  }

  #open(found: StoredArtifact | null): { id: string; payload: AdapterPayload } | null {
    const { seal, clock } = this.#options
    if (found === null || clock() >= found.expiresAt) return null
    const text = seal.open(found.body, `${found.kind} ${found.id}`)
    if (text === null) return null
    const opened = JSON.parse(text) as { id: string; payload: AdapterPayload }
    if (found.consumedAt !== null) opened.payload.consumed = Math.floor(found.consumedAt / 1000)
    return opened
  }

  #as(kind: string): Artifacts {
    return new Artifacts(kind, this.#options)
  }

  #key(id: string) {
    return { org: INSTALLATION, kind: this.#kind, id: digest(id) }
  }
}

/** Sessions are found by their uid too, and codes of devices by what the person types. */
function handleOf(payload: AdapterPayload): string | null {
  const handle = payload.userCode ?? (payload.kind === 'Session' ? payload.uid : undefined)
  return handle === undefined ? null : digest(handle)
}

function digest(text: string): string {
  return hash('sha256', text, 'base64url')
}
