import { createPublicKey, hkdfSync, type KeyObject, randomBytes } from 'node:crypto'
import { chmodSync, linkSync, mkdirSync, readFileSync, unlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Instant } from '../core/id.ts'
import {
  generateSigningKey,
  type PublicKeyInfo,
  publicKeyOf,
  readSigningKey,
  type SigningKey,
} from '../ledger/sign.ts'

/**
 * The keys of the authority: made at first start, readable by its user only. One Ed25519 key signs
 * badges and receipts; a secret of 32 bytes is the root of everything symmetric.
 */
export interface Keys {
  readonly signing: SigningKey
  readonly publicKey: KeyObject
  /** The public half, as it is pinned. */
  readonly info: PublicKeyInfo
  /** A key of 32 bytes for one purpose, derived from the root secret (RFC 5869). */
  derive(purpose: string): Buffer
}

const SECRET_BYTES = 32

/** Reads the keys of a folder, or makes them. Throws when a file does not hold what it should. */
export function loadKeys(folder: string, now: Instant): Keys {
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  chmodSync(folder, 0o700)
  const file = join(folder, 'authority.pem')
  const read = readSigningKey(readOrMake(file, () => generateSigningKey().unsafePem()))
  if (!read.ok) throw new Error(`\`${file}\`: ${read.error}`)
  const secret = readOrMake(join(folder, 'secret'), () => randomBytes(SECRET_BYTES).toString('hex'))
  const madeAt = readOrMake(join(folder, 'authority.made'), () => String(now))
  return keysOf(read.value, Buffer.from(secret.trim(), 'hex'), Number(madeAt))
}

/** Keys that live only as long as the process: for a run without a folder. */
export function freshKeys(now: Instant): Keys {
  return keysOf(generateSigningKey(), randomBytes(SECRET_BYTES), now)
}

function keysOf(signing: SigningKey, secret: Buffer, madeAt: Instant): Keys {
  if (secret.length !== SECRET_BYTES) throw new Error('the file `secret` does not hold 32 bytes')
  return {
    signing,
    publicKey: createPublicKey(signing.privateKey),
    info: publicKeyOf(signing, { validFrom: madeAt, validUntil: null }),
    derive: (purpose) => Buffer.from(hkdfSync('sha256', secret, '', `daypass ${purpose}`, 32)),
  }
}

/** Two processes that start at once agree on one file: whoever links it first has made it. */
function readOrMake(path: string, make: () => string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
  const draft = `${path}.${process.pid}.${randomBytes(4).toString('hex')}`
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
