import { createPublicKey } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { visible } from '../lease-file/printable.ts'
import {
  kidWords,
  type PublicKeyInfo,
  publicKeyOf,
  readPublicKey,
  readSigningKey,
  thumbprint,
} from '../ledger/sign.ts'
import { dayOf } from '../ledger/words.ts'
import { EXIT, Failure } from './exit.ts'
import { needProject } from './project.ts'
import { openTerminal } from './terminal.ts'

const TRUST = 'trust'
const KEY_FILE = 'authority.pem'
const NO_KEY = 'no key yet; the first run makes one'

/** The public half of this project's own key; null: it has none yet. Makes nothing. */
export function ownPublicKey(folder: string): PublicKeyInfo | null {
  const file = join(folder, KEY_FILE)
  if (!existsSync(file)) return null
  const key = readSigningKey(readFileSync(file, 'utf8'))
  if (!key.ok) throw new Failure(`\`${file}\`: ${key.error}`)
  const made = join(folder, 'authority.made')
  const validFrom = existsSync(made) ? Number(readFileSync(made, 'utf8')) : 0
  return publicKeyOf(key.value, { validFrom, validUntil: null })
}

/**
 * Keys that somebody pinned here. One that cannot be read is a failure: it may be the retired one.
 */
export function pinnedKeys(folder: string): PublicKeyInfo[] {
  const trust = join(folder, TRUST)
  if (!existsSync(trust)) return []
  return readdirSync(trust)
    .filter((name) => name.endsWith('.json'))
    .map((name) => readKeyFile(join(trust, name)))
}

/** A public key in a file: as `daypass key export` writes it, or in PEM. */
export function readKeyFile(file: string): PublicKeyInfo {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch {
    throw new Failure(`can't read the key \`${file}\``, EXIT.usage)
  }
  if (text.includes('-----BEGIN')) return readPem(text, file)
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    throw new Failure(`\`${file}\` is neither JSON nor PEM`, EXIT.usage)
  }
  const key = readPublicKey(json)
  if (!key.ok) throw new Failure(`\`${file}\`: ${key.error}`, EXIT.usage)
  return key.value
}

/** PEM says nothing of validity: whoever hands it in vouches for all of it. */
function readPem(text: string, file: string): PublicKeyInfo {
  const wrong = new Failure(`\`${file}\` is not an Ed25519 public key in PEM`, EXIT.usage)
  if (text.includes('PRIVATE KEY')) throw wrong
  try {
    const { kty, crv, x } = createPublicKey(text).export({ format: 'jwk' })
    if (kty !== 'OKP' || crv !== 'Ed25519' || x === undefined) throw wrong
    const publicKey = { kty, crv, x } as const
    return { kid: thumbprint(publicKey), publicKey, validFrom: 0, validUntil: null, name: null }
  } catch {
    throw wrong
  }
}

/**
 * `daypass trust add FILE`: receipts signed with this key are checked without `--key` from now on.
 */
export function trustAdd(file: string, options: { config?: string; json?: boolean }): number {
  const terminal = openTerminal()
  const { folder } = needProject(options.config)
  const key = readKeyFile(file)
  const trust = join(folder, TRUST)
  mkdirSync(trust, { recursive: true, mode: 0o700 })
  const named = { ...key, name: key.name ?? basename(file).replace(/\.[^.]*$/, '') }
  writeFileSync(join(trust, `${key.kid}.json`), `${JSON.stringify(named, null, 2)}\n`, {
    mode: 0o600,
  })
  if (options.json) terminal.json(named)
  else
    terminal.say(
      `${terminal.paint('green', '+')} Pinned ${kidWords(key.kid)}  ${visible(named.name)}`,
    )
  return EXIT.ok
}

/** `daypass trust list`. */
export function trustList(options: { config?: string; json?: boolean }): number {
  const terminal = openTerminal()
  const { folder } = needProject(options.config)
  const own = ownPublicKey(folder)
  const keys = pinnedKeys(folder)
  if (options.json) {
    terminal.json({ own, pinned: keys })
    return EXIT.ok
  }
  if (own !== null) terminal.say(`${kidWords(own.kid)}  this project`)
  for (const key of keys) terminal.say(`${kidWords(key.kid)}  ${visible(key.name ?? '')}`)
  if (own === null && keys.length === 0) terminal.say('No key yet. Pin one: daypass trust add FILE')
  return EXIT.ok
}

/** `daypass key`: which key signs the receipts of this project. */
export function keyShow(options: { config?: string; json?: boolean }): number {
  const terminal = openTerminal()
  const { folder } = needProject(options.config)
  const key = ownPublicKey(folder)
  if (key === null) throw new Failure(NO_KEY)
  const file = join(folder, KEY_FILE)
  if (options.json) {
    terminal.json({ ...key, file })
    return EXIT.ok
  }
  const since = key.validFrom === 0 ? '' : `, since ${dayOf(key.validFrom)}`
  terminal.say(`${kidWords(key.kid)}${since}`)
  terminal.say(`  private half: ${file}\n  public half: daypass key export`)
  return EXIT.ok
}

/** `daypass key export`: the public key, for whoever is to check our receipts. */
export function keyExport(options: { config?: string; name?: string }): number {
  const terminal = openTerminal()
  const { folder } = needProject(options.config)
  const key = ownPublicKey(folder)
  if (key === null) throw new Failure(NO_KEY)
  terminal.out(JSON.stringify({ ...key, name: options.name ?? null }, null, 2))
  return EXIT.ok
}
