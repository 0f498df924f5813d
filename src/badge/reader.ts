import type { Instant } from '../core/id.ts'
import { type Badge, type BadgeVerifier, tokenHash, verifyBadge } from './badge.ts'
import { SeenProofs, verifyProof } from './dpop.ts'

/** Badges that were verified; a cache, since state is decided on at every use. */
const VERIFIED_MAX = 10_000

/** How a badge came with a request. */
export interface Presented {
  readonly scheme: 'bearer' | 'dpop'
  readonly token: string
  /** The `DPoP` header; null: there is none. */
  readonly proof: string | null
  readonly method: string
  /** Of the endpoint, as below the issuer: `/mcp`. */
  readonly path: string
}

/** `Bearer` and `DPoP` credentials (RFC 6750 §2.1, RFC 9449 §7.1); null: neither. */
export function presentedIn(
  headers: { readonly authorization: string | null; readonly dpop: string | null },
  request: { readonly method: string; readonly path: string },
): Presented | null {
  const match = /^(bearer|dpop) ([A-Za-z0-9._~+/-]+=*)$/i.exec(headers.authorization ?? '')
  if (match === null) return null
  const scheme = match[1]!.toLowerCase() as Presented['scheme']
  return { scheme, token: match[2]!, proof: headers.dpop, ...request }
}

export interface BadgeReaderOptions {
  readonly verifier: BadgeVerifier
  readonly clock: () => Instant
  /**
   * Whether there is such a run with this lease. Rejects when nobody can say: the request fails,
   * and the client keeps its badge.
   */
  readonly isKnown: (badge: Badge) => Promise<boolean>
}

/**
 * Whose badge this is. The signature is verified once for each badge; the proof of one that is
 * bound to a key, each time. What the badge's run may do is decided elsewhere, each time.
 */
export class BadgeReader {
  readonly #options: BadgeReaderOptions
  readonly #verified = new Map<string, Badge>()
  readonly #seen: SeenProofs

  constructor(options: BadgeReaderOptions) {
    this.#options = options
    this.#seen = new SeenProofs(options.clock())
  }

  /**
   * At once for a bearer that was seen before. Null: unknown, expired, or used by somebody else.
   */
  read(presented: Presented): Badge | null | Promise<Badge | null> {
    const known = this.#verified.get(tokenHash(presented.token))
    if (known === undefined) return this.#readNew(presented)
    return this.#options.clock() < known.expiresAt ? this.#used(known, presented) : null
  }

  async #readNew(presented: Presented): Promise<Badge | null> {
    const badge = await this.verify(presented.token)
    if (badge === null) return null
    if (this.#verified.size >= VERIFIED_MAX) {
      this.#verified.delete(this.#verified.keys().next().value!)
    }
    this.#verified.set(tokenHash(presented.token), badge)
    return this.#used(badge, presented)
  }

  /**
   * What a badge says, whoever holds it: for endpoints that are asked about badges of others. A run
   * that nobody knows is nobody (threat 28).
   */
  async verify(token: string): Promise<Badge | null> {
    const { verifier, clock, isKnown } = this.#options
    const verified = await verifyBadge(token, verifier, clock())
    return verified.ok && (await isKnown(verified.value)) ? verified.value : null
  }

  /**
   * A bound badge is no bearer (RFC 9449 §7.2), and one that is not bound proves nothing by a proof
   * (§7.1).
   */
  #used(badge: Badge, presented: Presented): Badge | null | Promise<Badge | null> {
    const { scheme, token, proof, method, path } = presented
    if (badge.jkt === null) return scheme === 'bearer' ? badge : null
    if (scheme !== 'dpop' || proof === null) return null
    const { verifier, clock } = this.#options
    const url = `${verifier.issuer}${path}`
    const use = { proof, method, url, use: { token, jkt: badge.jkt } }
    return verifyProof(use, this.#seen, clock()).then((proven) => (proven.ok ? badge : null))
  }
}
