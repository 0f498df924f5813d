import { execFileSync } from 'node:child_process'
import { readFileSync, statSync } from 'node:fs'
import { resolve } from 'node:path'
import { inspect } from 'node:util'
import { err, ok, type Result } from '../core/result.ts'

/** A key or a token is small; a file or program that gives more was named by mistake. */
const SECRET_BYTES_MAX = 64 * 1024
/** How long a password manager may take; it is asked at start, when nobody can be asked back. */
const EXEC_SECONDS = 10
/** Shorter values occur in ordinary words, so that hiding them would hide everything. */
const HIDDEN_CHARACTERS_MIN = 6

const HIDDEN = '[secret]'
const VARIABLE = /(?<!\w)env:([A-Za-z_][A-Za-z0-9_]*)/g

/**
 * A value that is never written anywhere: as text, as JSON and to `console` it is `[secret]`
 * (threat 78).
 */
export class Secret {
  readonly #value: string

  constructor(value: string) {
    this.#value = value
  }

  /** The value itself, for the one request or process that needs it. */
  unsafeValue(): string {
    return this.#value
  }

  toString(): string {
    return HIDDEN
  }

  toJSON(): string {
    return HIDDEN
  }

  [inspect.custom](): string {
    return HIDDEN
  }
}

const SECRET_FLAG = /^--?[\w-]*(?:key|token|secret|pass(?:word)?|auth|credential)s?(=|$)/i
const SECRET_WORD =
  /^(?:gh[pousr]_|github_pat_|glpat-|sk-|xox[abps]-|AKIA|eyJ)|^[A-Za-z0-9+/_-]{32,}={0,2}$/

/**
 * Whether a word of a command is a secret by its looks or by the flag before it, or assigns one
 * (`--token=…`); null: neither.
 */
export function looksSecret(word: string, before: string | undefined): 'value' | 'assigned' | null {
  if (SECRET_FLAG.exec(word)?.[1] === '=') return 'assigned'
  if (SECRET_WORD.test(word)) return 'value'
  const isAfterFlag = before !== undefined && SECRET_FLAG.test(before) && !before.includes('=')
  return isAfterFlag && !word.startsWith('-') ? 'value' : null
}

/** Whether a text stands for a secret instead of being one. */
export function isReference(text: string): boolean {
  return /^(?:env|file|exec):\S/.test(text)
}

/**
 * A text of the configuration with its secrets: `file:PATH` and `exec:PROGRAM ARGUMENT…` stand
 * for the whole text, `env:NAME` also for a part of it. Errors name the reference, never a value,
 * nor what a program wrote.
 */
export function resolveText(
  text: string,
  from: { readonly folder: string; readonly env: NodeJS.ProcessEnv },
): Result<{ readonly text: string; readonly secrets: readonly string[] }, string> {
  if (text.startsWith('file:')) return whole(readSecretFile(text, from.folder))
  if (text.startsWith('exec:')) return whole(askProgram(text, from))
  const secrets: string[] = []
  let missing: string | null = null
  const resolved = text.replace(VARIABLE, (_, name: string) => {
    const found = from.env[name]
    if (found === undefined) missing = name
    else secrets.push(found)
    return found ?? ''
  })
  if (missing !== null) return err(`the environment has no \`${missing}\``)
  return ok({ text: resolved, secrets })
}

function whole(read: Result<string, string>): Result<{ text: string; secrets: string[] }, string> {
  return read.ok ? ok({ text: read.value, secrets: [read.value] }) : read
}

function readSecretFile(text: string, folder: string): Result<string, string> {
  try {
    const path = resolve(folder, text.slice('file:'.length))
    if (statSync(path).size > SECRET_BYTES_MAX) return err(`\`${text}\` is too large for a secret`)
    return ok(readFileSync(path, 'utf8').trim())
  } catch {
    return err(`can't read \`${text}\``)
  }
}

/** No shell reads this: words are separated by spaces, and mean nothing but themselves. */
function askProgram(
  text: string,
  { folder, env }: { readonly folder: string; readonly env: NodeJS.ProcessEnv },
): Result<string, string> {
  const [program = '', ...args] = text.slice('exec:'.length).split(/ +/)
  try {
    const answer = execFileSync(program, args, {
      cwd: folder,
      env,
      encoding: 'utf8',
      maxBuffer: SECRET_BYTES_MAX,
      timeout: EXEC_SECONDS * 1000,
      killSignal: 'SIGKILL',
      // What it complains about may be the secret.
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim()
    return answer === '' ? err(`\`${program}\` gave no secret`) : ok(answer)
  } catch (error) {
    const { code, status } = error as { code?: string; status?: number | null }
    if (code === 'ENOENT') return err(`no program \`${program}\`; write its path after \`exec:\``)
    if (code === 'ETIMEDOUT') return err(`\`${program}\` gave no secret in ${EXEC_SECONDS} s`)
    if (code === 'ENOBUFS') return err(`\`${program}\` gave too much for a secret`)
    return err(`\`${program}\` failed${typeof status === 'number' ? ` (exit ${status})` : ''}`)
  }
}

/** What hides these secrets in a text that somebody else wrote, such as a server's last words. */
export function hiding(secrets: readonly Secret[]): (text: string) => string {
  const values = secrets
    .map((secret) => secret.unsafeValue())
    .filter((value) => value.length >= HIDDEN_CHARACTERS_MIN)
    // The longer first: one can be a part of another.
    .sort((a, b) => b.length - a.length)
  return (text) => values.reduce((shown, value) => shown.replaceAll(value, HIDDEN), text)
}
