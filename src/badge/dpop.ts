import { hash } from 'node:crypto'
import { calculateJwkThumbprint, EmbeddedJWK, type JWTPayload, jwtVerify } from 'jose'
import type { Instant } from '../core/id.ts'
import { err, ok, type Result } from '../core/result.ts'
import { tokenHash } from './badge.ts'

/**
 * Proof of possession (RFC 9449): a badge that is bound to a key is of use only to who has the key.
 * Each request brings a proof of its own, made for this method, this URL and this badge.
 */

export type ProofFault =
  /** No proof, or none that a JOSE library can verify. */
  | 'invalid'
  /** Made for another method, URL or badge. */
  | 'other_request'
  /** Made with another key than the badge is bound to. */
  | 'other_key'
  /** Made too long ago, or for the future. */
  | 'not_recent'
  /** Used before, or there are too many to tell. */
  | 'replayed'

/** Asymmetric, and offered by every client library (RFC 9449 §4.3, 5). */
export const PROOF_ALGORITHMS = ['ES256', 'Ed25519', 'EdDSA']
/** RFC 9449 §4.2: keeps a proof from being any other kind of JWT, and the other way round. */
const TYPE = 'dpop+jwt'
/** How far the clocks of client and server may be apart, the way of the request included. */
const RECENT_MS = 60_000
/** A proof is a few hundred bytes; a longer one is somebody's payload. */
const PROOF_CHARS_MAX = 4_096
const JTI_CHARS_MAX = 256

export interface ProofRequest {
  /** The `DPoP` header. */
  readonly proof: string
  readonly method: string
  /** The URL of the endpoint as clients know it, without query and fragment. */
  readonly url: string
  /** That is used with it, and the key that it is bound to; null: one is asked for (§5). */
  readonly use: { readonly token: string; readonly jkt: string } | null
}

/**
 * Checks a proof (RFC 9449 §4.3): of a use of a token at a protected resource (§7), or with a
 * request for a token (§5). The answer is the thumbprint of the key.
 */
export async function verifyProof(
  request: ProofRequest,
  seen: SeenProofs,
  now: Instant,
): Promise<Result<string, ProofFault>> {
  if (request.proof.length > PROOF_CHARS_MAX) return err('invalid')
  let payload: JWTPayload
  let jkt: string
  try {
    // §4.3, 2 to 7: one JWT, typed, asymmetric, signed by the public key that it carries.
    const verified = await jwtVerify(request.proof, EmbeddedJWK, {
      algorithms: PROOF_ALGORITHMS,
      typ: TYPE,
      currentDate: new Date(now),
    })
    payload = verified.payload
    jkt = await calculateJwkThumbprint(verified.protectedHeader.jwk!)
  } catch {
    return err('invalid')
  }
  const { jti, iat, htm, htu, ath } = payload
  if (typeof jti !== 'string' || jti === '' || jti.length > JTI_CHARS_MAX) return err('invalid')
  if (htm !== request.method || bareUrl(htu) !== bareUrl(request.url)) return err('other_request')
  const { use } = request
  // §7.1: the hash of the token keeps a proof from being used with another one.
  if (use !== null && ath !== tokenHash(use.token)) return err('other_request')
  if (use !== null && jkt !== use.jkt) return err('other_key')
  if (typeof iat !== 'number' || !seen.isRecent(iat * 1000, now)) return err('not_recent')
  // Last, so that only good proofs take up room.
  return seen.add({ jkt, jti }, now) ? ok(jkt) : err('replayed')
}

/** §4.3, 9: compared after normalisation (RFC 3986 §6.2.2, §6.2.3), without query and fragment. */
function bareUrl(text: unknown): string | null {
  const url = typeof text === 'string' ? URL.parse(text) : null
  if (url === null) return null
  url.search = ''
  url.hash = ''
  return url.href
}

/** Proofs of all keys that are remembered at once: 100 bytes each. */
const SEEN_MAX = 200_000
/** Of one key: an agent that floods the memory closes the door for itself only. */
const SEEN_PER_KEY_MAX = 50_000

/**
 * Proofs that were used (RFC 9449 §11.1). Two generations, each as long as a proof can stay good:
 * what is forgotten is too old to be used again. Full means that nothing more is believed.
 */
export class SeenProofs {
  readonly #since: Instant
  #young = new Map<string, Set<string>>()
  #old = new Map<string, Set<string>>()
  #youngSize = 0
  #oldSize = 0
  #turnedAt: Instant

  /** `now`: proofs from before were perhaps seen by a process that is gone. */
  constructor(now: Instant) {
    this.#since = Math.floor(now / 1000) * 1000
    this.#turnedAt = now
  }

  /** `at` is when the proof says that it was made. */
  isRecent(at: Instant, now: Instant): boolean {
    return at >= this.#since && Math.abs(now - at) <= RECENT_MS
  }

  /** False: seen before, or no room to remember it. */
  add({ jkt, jti }: { readonly jkt: string; readonly jti: string }, now: Instant): boolean {
    this.#turn(now)
    const id = hash('sha256', jti, 'base64url')
    const young = this.#young.get(jkt) ?? new Set()
    const old = this.#old.get(jkt)
    if (young.has(id) || old?.has(id)) return false
    if (young.size + (old?.size ?? 0) >= SEEN_PER_KEY_MAX) return false
    if (this.#youngSize + this.#oldSize >= SEEN_MAX) return false
    young.add(id)
    this.#young.set(jkt, young)
    this.#youngSize++
    return true
  }

  /** A proof made `RECENT_MS` ahead of our clock is good for twice as long. */
  #turn(now: Instant): void {
    if (now - this.#turnedAt < 2 * RECENT_MS) return
    this.#old = this.#young
    this.#oldSize = this.#youngSize
    this.#young = new Map()
    this.#youngSize = 0
    this.#turnedAt = now
  }
}
