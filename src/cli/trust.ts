import { createPublicKey } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { KEY_FILE, publicKeysIn, rotateKey } from '../authority/keys.ts'
import { visible } from '../lease-file/printable.ts'
import { kidWords, type PublicKeyInfo, readPublicKey, thumbprint } from '../ledger/sign.ts'
import { dayOf } from '../ledger/words.ts'
import { EXIT, Failure } from './exit.ts'
import { needProject } from './project.ts'
import { openTerminal } from './terminal.ts'

const TRUST = 'trust'
const NO_KEY = 'no key yet; the first run makes one'

/** The public halves of this project's keys, the one in use first; empty: it has none yet. */
export function ownKeys(folder: string): readonly PublicKeyInfo[] {
  try {
    return publicKeysIn(folder)
  } catch (error) {
    throw new Failure((error as Error).message)
  }
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
  const own = ownKeys(folder)
  const keys = pinnedKeys(folder)
  if (options.json) {
    terminal.json({ own: own[0] ?? null, retired: own.slice(1), pinned: keys })
    return EXIT.ok
  }
  for (const { kid, validUntil } of own) {
    const until = validUntil === null ? '' : `, until ${dayOf(validUntil)}`
    terminal.say(`${kidWords(kid)}  this project${until}`)
  }
  for (const key of keys) terminal.say(`${kidWords(key.kid)}  ${visible(key.name ?? '')}`)
  if (own.length === 0 && keys.length === 0)
    terminal.say('No key yet. Pin one: daypass trust add FILE')
  return EXIT.ok
}

/** `daypass key`: which key signs the receipts of this project. */
export function keyShow(options: { config?: string; json?: boolean }): number {
  const terminal = openTerminal()
  const { folder } = needProject(options.config)
  const [key, ...retired] = ownKeys(folder)
  if (key === undefined) throw new Failure(NO_KEY)
  const file = join(folder, KEY_FILE)
  if (options.json) {
    terminal.json({ ...key, file, retired })
    return EXIT.ok
  }
  const since = retired[0]?.validUntil ?? key.validFrom
  terminal.say(`${kidWords(key.kid)}${since === 0 ? '' : `, since ${dayOf(since)}`}`)
  terminal.say(`  private half: ${file}\n  public half: daypass key export`)
  for (const { kid, validUntil } of retired) {
    terminal.say(`${kidWords(kid)}, until ${dayOf(validUntil!)}`)
  }
  return EXIT.ok
}

/** `daypass key export`: the public key, for whoever is to check our receipts. */
export function keyExport(options: { config?: string; name?: string }): number {
  const terminal = openTerminal()
  const { folder } = needProject(options.config)
  const [key] = ownKeys(folder)
  if (key === undefined) throw new Failure(NO_KEY)
  terminal.out(JSON.stringify({ ...key, name: options.name ?? null }, null, 2))
  return EXIT.ok
}

/**
 * `daypass key rotate`: another key signs from now on. A server that runs takes it up by itself;
 * badges by the old key stay good until they expire, receipts for ever.
 */
export function keyRotate(options: { config?: string; json?: boolean }): number {
  const terminal = openTerminal()
  const { folder } = needProject(options.config)
  if (ownKeys(folder).length === 0) throw new Failure(NO_KEY)
  const rotated = rotateKey(folder, Date.now())
  if (!rotated.ok) throw new Failure(`nothing was rotated: ${rotated.error}`)
  const { from, to } = rotated.value
  if (options.json) {
    terminal.json({ from, to })
    return EXIT.ok
  }
  terminal.say(`${terminal.paint('green', '+')} ${kidWords(to.kid)} signs from now on`)
  terminal.say(`  ${kidWords(from.kid)} stays known: its badges until they expire, its receipts`)
  terminal.say('  Hand out the new one to whoever checks your receipts: daypass key export')
  return EXIT.ok
}
