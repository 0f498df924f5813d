import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import type { CallId, Instant } from '../core/id.ts'
import type { Store, TreeKey } from '../store/store.ts'
import type { RpcReply } from './jsonrpc.ts'

/** Outcomes kept in memory for retries within the life of the process. */
const KEPT_MAX = 1_000
const KEPT_BYTES_MAX = 64 * 1024
/** Upper bound of a stored outcome's life; the closing of its tree drops it earlier. */
const STORED_MS = 24 * 3_600_000
const NONCE_BYTES = 12
const TAG_BYTES = 16

/**
 * Outcomes of calls, to be handed out again when the same call is repeated. What may be repeated
 * after a restart (the client gave the key) is stored, encrypted with a key that is not in the
 * database.
 */
export class Results {
  readonly #store: Store
  readonly #key: Buffer
  readonly #clock: () => Instant
  readonly #recent = new Map<CallId, RpcReply>()

  /** `key`: 32 bytes. */
  constructor(options: { store: Store; key: Buffer; clock: () => Instant }) {
    this.#store = options.store
    this.#key = options.key
    this.#clock = options.clock
  }

  /** `characters`: about how long the reply is written out. */
  keep(
    key: TreeKey,
    call: CallId,
    reply: RpcReply,
    { durable, characters }: { durable: boolean; characters: number },
  ): void {
    if (characters <= KEPT_BYTES_MAX) {
      this.#recent.set(call, reply)
      if (this.#recent.size > KEPT_MAX) this.#recent.delete(this.#recent.keys().next().value!)
    }
    if (!durable) return
    const text = JSON.stringify(reply)
    const nonce = randomBytes(NONCE_BYTES)
    const cipher = createCipheriv('aes-256-gcm', this.#key, nonce).setAAD(Buffer.from(call))
    const sealed = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()])
    const bytes = Buffer.concat([nonce, cipher.getAuthTag(), sealed])
    const stored = { bytes, expiresAt: this.#clock() + STORED_MS }
    // Too large or not storable: the retry is answered "not kept", and nothing runs twice.
    this.#store.putResult({ ...key, call }, stored).catch(() => {})
  }

  /** What this process has answered lately, settled or not. */
  recent(call: CallId): RpcReply | null {
    return this.#recent.get(call) ?? null
  }

  /** The tree is closed: nothing of it is repeated any more. */
  forget(key: TreeKey, calls: Iterable<CallId>): void {
    for (const call of calls) this.#recent.delete(call)
    // What stays is dropped by the store's own sweep.
    this.#store.dropResults(key).catch(() => {})
  }

  /** Null: not kept. */
  async get(key: TreeKey, call: CallId): Promise<RpcReply | null> {
    const recent = this.#recent.get(call)
    if (recent !== undefined) return recent
    const stored = await this.#store.getResult({ ...key, call })
    if (stored === null || this.#clock() >= stored.expiresAt) return null
    const bytes = Buffer.from(stored.bytes)
    const nonce = bytes.subarray(0, NONCE_BYTES)
    const decipher = createDecipheriv('aes-256-gcm', this.#key, nonce)
      .setAAD(Buffer.from(call))
      .setAuthTag(bytes.subarray(NONCE_BYTES, NONCE_BYTES + TAG_BYTES))
    try {
      const sealed = bytes.subarray(NONCE_BYTES + TAG_BYTES)
      const text = decipher.update(sealed, undefined, 'utf8') + decipher.final('utf8')
      return JSON.parse(text) as RpcReply
    } catch {
      return null
    }
  }
}
