import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type JsonWebKey,
  type KeyObject,
  sign,
  verify,
} from 'node:crypto'
import { inspect } from 'node:util'
import { canonicalJson } from '../core/canonical-json.ts'
import type { Instant } from '../core/id.ts'
import { err, ok, type Result } from '../core/result.ts'

/** An Ed25519 public key as a JWK (RFC 8037). */
export interface PublicJwk {
  readonly kty: 'OKP'
  readonly crv: 'Ed25519'
  readonly x: string
}

/** A key that receipts may be signed with, and when. Retired keys are kept. */
export interface PublicKeyInfo {
  /** RFC 7638 thumbprint: computed, never believed. */
  readonly kid: string
  readonly publicKey: PublicJwk
  readonly validFrom: Instant
  /** Null: in use. */
  readonly validUntil: Instant | null
  /** What people call it, e.g. `clord-authority-2026-05`. */
  readonly name?: string | null
}

export interface Signature {
  readonly alg: 'Ed25519'
  readonly kid: string
  /** base64url, 64 bytes. */
  readonly value: string
}

/** The authority's key. Prints as its `kid`; only `unsafePem` gives the secret. */
export class SigningKey {
  readonly kid: string
  readonly #privateKey: KeyObject

  constructor(privateKey: KeyObject) {
    if (privateKey.type !== 'private' || privateKey.asymmetricKeyType !== 'ed25519') {
      throw new TypeError('not an Ed25519 private key')
    }
    this.#privateKey = privateKey
    this.kid = thumbprint(jwkOf(privateKey))
  }

  get privateKey(): KeyObject {
    return this.#privateKey
  }

  /** The secret itself, for the one file that keeps it. */
  unsafePem(): string {
    return this.#privateKey.export({ format: 'pem', type: 'pkcs8' }) as string
  }

  toJSON(): string {
    return `[signing key ${this.kid}]`
  }

  [inspect.custom](): string {
    return this.toJSON()
  }
}

/** Draws a new key. */
export function generateSigningKey(): SigningKey {
  return new SigningKey(generateKeyPairSync('ed25519').privateKey)
}

/** Reads a key that `unsafePem` wrote. The error never repeats the text. */
export function readSigningKey(pem: string): Result<SigningKey, string> {
  try {
    return ok(new SigningKey(createPrivateKey(pem)))
  } catch {
    return err('not an Ed25519 private key in PEM (PKCS #8)')
  }
}

/** The public half, as it is handed out and pinned. */
export function publicKeyOf(
  key: SigningKey,
  validity: { readonly validFrom: Instant; readonly validUntil: Instant | null },
): PublicKeyInfo {
  const { validFrom, validUntil } = validity
  return { kid: key.kid, publicKey: jwkOf(key.privateKey), validFrom, validUntil }
}

/**
 * Reads a public key that was handed out as `PublicKeyInfo` in JSON. The `kid` must be its
 * thumbprint.
 */
export function readPublicKey(json: unknown): Result<PublicKeyInfo, string> {
  const { kid, publicKey, validFrom, validUntil, name } = (json ?? {}) as Partial<PublicKeyInfo>
  const { kty, crv, x } = (publicKey ?? {}) as Partial<PublicJwk>
  if (kty !== 'OKP' || crv !== 'Ed25519' || typeof x !== 'string') {
    return err('not an Ed25519 public key: `publicKey` is not such a JWK')
  }
  const jwk = { kty, crv, x } as const
  try {
    createPublicKey({ format: 'jwk', key: jwk })
  } catch {
    return err('not an Ed25519 public key: `publicKey.x` is not a point')
  }
  if (kid !== thumbprint(jwk)) return err('the `kid` is not the thumbprint of the key')
  const isUntil = validUntil === null || Number.isSafeInteger(validUntil)
  if (!Number.isSafeInteger(validFrom) || !isUntil) {
    return err('`validFrom` and `validUntil` are not milliseconds')
  }
  const shown = typeof name === 'string' ? name : null
  const until = validUntil as Instant | null
  return ok({
    kid,
    publicKey: jwk,
    validFrom: validFrom as Instant,
    validUntil: until,
    name: shown,
  })
}

/** JWK thumbprint, base64url SHA-256 (RFC 7638; members of OKP keys: RFC 8037 section 2). */
export function thumbprint({ crv, kty, x }: PublicJwk): string {
  return createHash('sha256').update(canonicalJson({ crv, kty, x })).digest('base64url')
}

function jwkOf(key: KeyObject): PublicJwk {
  const { x } = createPublicKey(key).export({ format: 'jwk' })
  return { kty: 'OKP', crv: 'Ed25519', x: x! }
}

/**
 * What is signed: a domain, so that no signature means two things, and the canonical JSON of the
 * content with the algorithm and key it is signed with.
 */
function signedBytes(
  domain: string,
  content: unknown,
  { alg, kid }: Pick<Signature, 'alg' | 'kid'>,
): Buffer {
  return Buffer.from(`${domain}\n${canonicalJson({ alg, content, kid })}`)
}

export function signContent(domain: string, content: unknown, key: SigningKey): Signature {
  const head = { alg: 'Ed25519', kid: key.kid } as const
  const value = sign(null, signedBytes(domain, content, head), key.privateKey)
  return { ...head, value: value.toString('base64url') }
}

/**
 * Whether the signature over the content is this key's. The key's own `kid` is computed, not read.
 */
export function isSignedBy(
  key: PublicJwk,
  signed: { readonly domain: string; readonly content: unknown; readonly signature: Signature },
): boolean {
  const { domain, content, signature } = signed
  if (signature.alg !== 'Ed25519' || signature.kid !== thumbprint(key)) return false
  const value = Buffer.from(signature.value, 'base64url')
  // Only one spelling: base64url decoders ignore what does not belong.
  if (value.length !== 64 || value.toString('base64url') !== signature.value) return false
  try {
    const publicKey = createPublicKey({ format: 'jwk', key: key as unknown as JsonWebKey })
    return verify(null, signedBytes(domain, content, signature), publicKey, value)
  } catch {
    return false
  }
}

/** The first 16 hex digits of a thumbprint, in groups, for eyes. */
export function kidWords(kid: string): string {
  const hex = Buffer.from(kid, 'base64url').toString('hex').slice(0, 16)
  return hex.match(/.{4}/g)?.join(' ') ?? kid
}
