import { randomFillSync } from 'node:crypto'

/** RFC 4648 base32 in lower case, without the letters and digits that look alike in small type. */
const ALPHABET = 'abcdefghijkmnpqrstuvwxyz23456789'
/** 20 characters are 100 bits: nobody guesses one, and no two are ever equal. */
const LENGTH = 20
/** Drawn at once, for many ids: each draw is a call into the system. */
const pool = Buffer.alloc(128 * LENGTH)
let used = pool.length

/** A fresh random id, e.g. `run_7k3m…`. */
export function newId<P extends string>(prefix: P): `${P}_${string}` {
  if (used === pool.length) {
    randomFillSync(pool)
    used = 0
  }
  used += LENGTH
  return idFrom(prefix, pool.subarray(used - LENGTH, used))
}

/**
 * The id that 20 bytes make. Where they are a keyed digest, it is as hard to guess as a random one
 * and the same each time.
 */
export function idFrom<P extends string>(prefix: P, bytes: Uint8Array): `${P}_${string}` {
  let text = ''
  for (let i = 0; i < LENGTH; i++) text += ALPHABET[bytes[i]! & 31]
  return `${prefix}_${text}`
}
