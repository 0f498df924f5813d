import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { looksSecret } from '../authority/secret.ts'
import { isRecord } from '../catalog/yaml-reader.ts'
import { visible } from '../lease-file/printable.ts'
import { EXIT, Failure } from './exit.ts'

/** Where clients keep their servers, and under which member. */
const PLACES = [
  { file: '.mcp.json', member: 'mcpServers' },
  { file: '.vscode/mcp.json', member: 'servers' },
  { file: '.cursor/mcp.json', member: 'mcpServers' },
] as const

/** A server as it will stand in `daypass.yaml`. */
export interface ImportedServer {
  readonly name: string
  readonly command: readonly string[] | null
  readonly url: string | null
  readonly env: Readonly<Record<string, string>>
  readonly headers: Readonly<Record<string, string>>
}

export interface Imported {
  readonly file: string
  readonly servers: readonly ImportedServer[]
  /** What a person should know or do. */
  readonly notes: readonly string[]
}

/** Reads the servers of a client configuration in this folder. Null: there is none. */
export function importServers(folder: string): Imported | null {
  const place = PLACES.find(({ file }) => existsSync(join(folder, file)))
  if (place === undefined) return null
  const root = readJson(join(folder, place.file), place.file)
  const found = isRecord(root) ? (root[place.member] ?? root.mcpServers ?? root.servers) : undefined
  if (!isRecord(found)) {
    throw new Failure(
      `\`${place.file}\` has no \`${place.member}\`; nothing was written`,
      EXIT.usage,
    )
  }
  const notes: string[] = []
  const servers: ImportedServer[] = []
  for (const [given, value] of Object.entries(found)) {
    const name = freeName(given, servers, notes)
    const server = isRecord(value) ? importOne(name, value, notes) : null
    if (server === null) notes.push(`${visible(given)}: neither a command nor a URL; left out`)
    else servers.push(server)
  }
  return { file: place.file, servers, notes }
}

/** VS Code allows comments; whole lines of them are taken out. */
function readJson(path: string, file: string): unknown {
  const text = readFileSync(path, 'utf8').replace(/^\s*\/\/.*$/gm, '')
  try {
    return JSON.parse(text)
  } catch {
    throw new Failure(`\`${file}\` is not JSON; nothing was written`, EXIT.usage)
  }
}

/** Tools are `server.tool`, so a server's name has no dot, no blank and no capital. */
function freeName(given: string, taken: readonly ImportedServer[], notes: string[]): string {
  const plain = given
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^[^a-z]+|-+$/g, '')
    .slice(0, 28)
  const base = plain === '' ? 'server' : plain
  let name = base
  for (let n = 2; taken.some((server) => server.name === name); n++) name = `${base}-${n}`
  if (name !== given) notes.push(`${visible(given)} is called ${name} here`)
  return name
}

function importOne(
  name: string,
  value: Record<string, unknown>,
  notes: string[],
): ImportedServer | null {
  const secrets = new SecretKeeper(name, notes)
  if (typeof value.url === 'string') {
    const headers = secrets.texts(value.headers, (key) => `${name}_${key}`)
    return { name, command: null, url: secrets.url(value.url), env: {}, headers }
  }
  if (typeof value.command !== 'string') return null
  const args = Array.isArray(value.args) ? value.args.filter((arg) => typeof arg === 'string') : []
  const command = [value.command, ...secrets.words(args)].map((word) =>
    word.replace(/\$\{workspaceFolder\}/g, '.'),
  )
  return { name, command, url: null, env: secrets.texts(value.env, (key) => key), headers: {} }
}

/** Values that are certainly no secret. Everything else is taken for one. */
const HARMLESS =
  /^(?:|true|false|on|off|yes|no|\d{1,5}|stdio|https?|sse|trace|debug|info|warn|error|development|production|test)$/i

/** Secrets of a client configuration are not copied: the environment holds them, or nobody does. */
class SecretKeeper {
  readonly #server: string
  readonly #notes: string[]

  constructor(server: string, notes: string[]) {
    this.#server = server
    this.#notes = notes
  }

  texts(value: unknown, nameOf: (key: string) => string): Record<string, string> {
    if (!isRecord(value)) return {}
    return Object.fromEntries(
      Object.entries(value).map(([key, text]) => [key, this.#text(String(text), nameOf(key))]),
    )
  }

  #text(text: string, wanted: string): string {
    if (HARMLESS.test(text)) return text
    // `${NAME}`, `${env:NAME}` and `Bearer ${NAME}` name a variable already.
    const named = text.replace(/\$\{(?:env:)?([A-Za-z_]\w*)(?::-[^}]*)?\}/g, 'env:$1')
    if (named !== text && /^(?:[A-Za-z]+ )?env:\w+$/.test(named)) return named
    // A folder is no secret, and without it the server would not start.
    if (/^\.{0,2}\/[^:@?]*$/.test(text)) return text
    const name = wanted.toUpperCase().replace(/\W+/g, '_')
    const scheme = /^(Bearer|Basic|Token) /i.exec(text)?.[0] ?? ''
    this.#notes.push(
      `${this.#server}: a value was not copied; put ${scheme === '' ? 'it' : 'the token'} into ` +
        `the environment as ${name}`,
    )
    return `${scheme}env:${name}`
  }

  /** The words of a command are in `ps` and in the file: a secret among them is left out. */
  words(args: readonly string[]): string[] {
    return args.map((word, index) => {
      const secret = looksSecret(word, args[index - 1])
      if (secret === null) return word
      this.#notes.push(
        `${this.#server}: a word of its command looks like a secret and was left out`,
      )
      return secret === 'assigned' ? `${word.slice(0, word.indexOf('='))}=LEFT-OUT` : 'LEFT-OUT'
    })
  }

  url(text: string): string {
    if (!URL.canParse(text)) return text
    const url = new URL(text)
    if (url.username === '' && url.password === '' && url.search === '') return text
    this.#notes.push(`${this.#server}: user, password and query of its URL were left out`)
    return `${url.origin}${url.pathname}`
  }
}
