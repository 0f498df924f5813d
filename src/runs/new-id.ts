import { randomBytes } from 'node:crypto'

/** RFC 4648 base32 in lower case, without the letters and digits that look alike in small type. */
const ALPHABET = 'abcdefghijkmnpqrstuvwxyz23456789'
/** 20 characters are 100 bits: nobody guesses one, and no two are ever equal. */
const LENGTH = 20

/** A fresh random id, e.g. `run_7k3m…`. */
export function newId<P extends string>(prefix: P): `${P}_${string}` {
  let text = ''
  for (const byte of randomBytes(LENGTH)) text += ALPHABET[byte & 31]
  return `${prefix}_${text}`
}
