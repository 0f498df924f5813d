import { createPublicKey, hkdfSync, type KeyObject, randomBytes } from 'node:crypto'
import {
  chmodSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import type { Instant } from '../core/id.ts'
import { err, ok, type Result } from '../core/result.ts'
import {
  generateSigningKey,
  type PublicKeyInfo,
  publicKeyOf,
  readPublicKey,
  readSigningKey,
  type SigningKey,
} from '../ledger/sign.ts'

/** The private half, in PEM. */
export const KEY_FILE = 'authority.pem'
/**
 * Since when there is this authority. A key may sign for all of that time: the receipt of a run
 * that has closed is made when somebody wants it, by the key that is in use then.
 */
const MADE_FILE = 'authority.made'
/** Public halves of the keys before: receipts by them stay verifiable. */
const RETIRED_FOLDER = 'retired'
const SECRET_BYTES = 32
/** Whoever rotates is done long before. */
const ROTATION_MS = 60_000

/** A public key in a JWKS (RFC 7517, RFC 8037). */
export interface PublicJwks {
  readonly keys: readonly {
    readonly kty: 'OKP'
    readonly crv: 'Ed25519'
    readonly x: string
    readonly kid: string
    readonly alg: 'EdDSA'
    readonly use: 'sig'
  }[]
}

interface Ring {
  readonly signing: SigningKey
  readonly madeAt: Instant
  /** Newest first. */
  readonly retired: readonly PublicKeyInfo[]
}

/**
 * The keys of the authority: made at first start, readable by its user only. One Ed25519 key signs
 * badges and receipts, until `rotateKey` puts another in its place; a secret of 32 bytes is the
 * root of everything symmetric, and stays.
 *
 * A rotation may be made by another process: every question looks whether the file is still the one
 * that was read.
 */
export class Keys {
  readonly #folder: string | null
  readonly #secret: Buffer
  #ring: Ring
  #stamp: string
  readonly #publicKeys = new Map<string, KeyObject>()

  /** Use `loadKeys` or `freshKeys`. */
  constructor(of: { folder: string | null; stamp: string; secret: Buffer; ring: Ring }) {
    if (of.secret.length !== SECRET_BYTES) {
      throw new Error('the file `secret` does not hold 32 bytes')
    }
    this.#folder = of.folder
    this.#secret = of.secret
    this.#ring = of.ring
    this.#stamp = of.stamp
  }

  /** The key that signs now. */
  get signing(): SigningKey {
    return this.#now().signing
  }

  /** Its public half, as it is pinned. */
  get info(): PublicKeyInfo {
    const { signing, madeAt } = this.#now()
    return publicKeyOf(signing, { validFrom: madeAt, validUntil: null })
  }

  /** All public keys, the one in use first: who checks receipts needs every one. */
  get all(): readonly PublicKeyInfo[] {
    return [this.info, ...this.#now().retired]
  }

  /**
   * The public key that verifies what was signed under this name; null: none, or it was retired
   * more than `overlapMs` ago, when the last badge that it signed had expired.
   */
  keyOf(kid: string, { now, overlapMs }: { now: Instant; overlapMs: number }): KeyObject | null {
    const info = this.#verifying(now, overlapMs).find((each) => each.kid === kid)
    if (info === undefined) return null
    const known = this.#publicKeys.get(kid)
    if (known !== undefined) return known
    const key = createPublicKey({ format: 'jwk', key: { ...info.publicKey } })
    this.#publicKeys.set(kid, key)
    return key
  }

  /** The keys that `keyOf` knows, as `/oauth/jwks` publishes them. */
  jwks({ now, overlapMs }: { now: Instant; overlapMs: number }): PublicJwks {
    const keys = this.#verifying(now, overlapMs).map(
      ({ kid, publicKey }) => ({ ...publicKey, kid, alg: 'EdDSA', use: 'sig' }) as const,
    )
    return { keys }
  }

  /** A key of 32 bytes for one purpose, derived from the root secret (RFC 5869). */
  derive(purpose: string): Buffer {
    return Buffer.from(hkdfSync('sha256', this.#secret, '', `daypass ${purpose}`, 32))
  }

  #verifying(now: Instant, overlapMs: number): PublicKeyInfo[] {
    return this.all.filter(({ validUntil }) => validUntil === null || now < validUntil + overlapMs)
  }

  #now(): Ring {
    const stamp = stampOf(this.#folder)
    if (stamp !== this.#stamp && this.#folder !== null) {
      this.#ring = readRing(this.#folder)
      this.#stamp = stamp
    }
    return this.#ring
  }
}

/** Reads the keys of a folder, or makes them. Throws when a file does not hold what it should. */
export function loadKeys(folder: string, now: Instant): Keys {
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  chmodSync(folder, 0o700)
  readOrMake(join(folder, KEY_FILE), () => generateSigningKey().unsafePem())
  readOrMake(join(folder, MADE_FILE), () => String(now))
  const secret = readOrMake(join(folder, 'secret'), () => randomBytes(SECRET_BYTES).toString('hex'))
  const stamp = stampOf(folder)
  return new Keys({
    folder,
    stamp,
    secret: Buffer.from(secret.trim(), 'hex'),
    ring: readRing(folder),
  })
}

/** Keys that live only as long as the process: for a run without a folder. */
export function freshKeys(now: Instant): Keys {
  const ring = { signing: generateSigningKey(), madeAt: now, retired: [] }
  return new Keys({ folder: null, stamp: '', secret: randomBytes(SECRET_BYTES), ring })
}

/**
 * The public keys of a folder, the one in use first; empty: it has none yet. Makes nothing. Throws
 * when a file does not hold what it should.
 */
export function publicKeysIn(folder: string): readonly PublicKeyInfo[] {
  if (!existsSync(join(folder, KEY_FILE))) return []
  const { signing, madeAt, retired } = readRing(folder)
  return [publicKeyOf(signing, { validFrom: madeAt, validUntil: null }), ...retired]
}

/**
 * Puts a new signing key in the place of the one of a folder. The private half of the old one is
 * gone then; its public half is kept, with the time until which it was in use. A crash in between
 * leaves the old key in use.
 */
export function rotateKey(
  folder: string,
  now: Instant,
): Result<{ readonly from: PublicKeyInfo; readonly to: PublicKeyInfo }, string> {
  const { signing, madeAt } = readRing(folder)
  const retired = join(folder, RETIRED_FOLDER)
  mkdirSync(retired, { recursive: true, mode: 0o700 })
  const from = publicKeyOf(signing, { validFrom: madeAt, validUntil: now })
  const file = join(retired, `${signing.kid}.json`)
  // Who makes this file rotates: of two at once, one would sign with a key that is lost.
  if (existsSync(file) && now - statSync(file).mtimeMs > ROTATION_MS) unlinkSync(file)
  try {
    const text = `${JSON.stringify(from, null, 2)}\n`
    writeFileSync(file, text, { mode: 0o600, flag: 'wx', flush: true })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    return err('another rotation is under way, or broke off; try again in a minute')
  }
  const next = generateSigningKey()
  replace(join(folder, KEY_FILE), next.unsafePem())
  return ok({ from, to: publicKeyOf(next, { validFrom: madeAt, validUntil: null }) })
}

function readRing(folder: string): Ring {
  const file = join(folder, KEY_FILE)
  const read = readSigningKey(readFileSync(file, 'utf8'))
  if (!read.ok) throw new Error(`\`${file}\`: ${read.error}`)
  const made = join(folder, MADE_FILE)
  const madeAt = existsSync(made) ? Number(readFileSync(made, 'utf8')) : 0
  // A rotation that broke off has left a note on the key that is still in use.
  const retired = readRetired(folder).filter(({ kid }) => kid !== read.value.kid)
  return { signing: read.value, madeAt, retired }
}

function readRetired(folder: string): PublicKeyInfo[] {
  const retired = join(folder, RETIRED_FOLDER)
  if (!existsSync(retired)) return []
  return readdirSync(retired)
    .filter((name) => name.endsWith('.json'))
    .map((name) => {
      const file = join(retired, name)
      const key = readPublicKey(JSON.parse(readFileSync(file, 'utf8')))
      if (!key.ok) throw new Error(`\`${file}\`: ${key.error}`)
      if (key.value.validUntil === null) throw new Error(`\`${file}\`: it has no \`validUntil\``)
      return key.value
    })
    .sort((a, b) => b.validUntil! - a.validUntil!)
}

/** Which file the signing key was read from: a rotation puts another in its place. */
function stampOf(folder: string | null): string {
  if (folder === null) return ''
  const { ino, mtimeMs } = statSync(join(folder, KEY_FILE))
  return `${ino} ${mtimeMs}`
}

function replace(path: string, text: string): void {
  const draft = draftOf(path)
  writeFileSync(draft, text, { mode: 0o600, flag: 'wx', flush: true })
  renameSync(draft, path)
}

/** Two processes that start at once agree on one file: whoever links it first has made it. */
function readOrMake(path: string, make: () => string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
  const draft = draftOf(path)
  writeFileSync(draft, make(), { mode: 0o600, flag: 'wx', flush: true })
  try {
    linkSync(draft, path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  } finally {
    unlinkSync(draft)
  }
  return readFileSync(path, 'utf8')
}

function draftOf(path: string): string {
  return `${path}.${process.pid}.${randomBytes(4).toString('hex')}`
}
