import { readFileSync } from 'node:fs'
import { isAbsolute, resolve } from 'node:path'
import { formatProblem, isRecord, type Path, YamlReader } from '../catalog/yaml-reader.ts'
import { err, ok, type Result } from '../core/result.ts'
import type { UpstreamConfig } from '../gateway/upstream.ts'
import { parseDuration } from '../lease-file/duration.ts'
import { DEFAULT_LEASE_LIMITS, type LeaseLimits } from '../lease-file/limits.ts'

/** One server of `daypass.yaml`: how to reach it, and what its calls are about. */
export interface ServerConfig {
  readonly name: string
  readonly upstream: UpstreamConfig
  /**
   * Name of a catalog that ships with Daypass, or a path of one's own; null: every tool is denied.
   */
  readonly catalog: string | null
  readonly bind: unknown
}

export interface Config {
  readonly servers: readonly ServerConfig[]
  readonly approvals: {
    /** The requester may answer their own request. */
    readonly self: boolean
    /**
     * A lease that only reads, for at most this long, needs nobody. 0: every lease needs a person.
     */
    readonly readOnlySeconds: number
    readonly answerSeconds: number
  }
  readonly limits: LeaseLimits
}

const APPROVALS = { self: true, readOnlySeconds: 0, answerSeconds: 300 } as const
export const EMPTY_CONFIG: Config = {
  servers: [],
  approvals: APPROVALS,
  limits: DEFAULT_LEASE_LIMITS,
}

/** Reads a configuration file. Problems read `daypass.yaml:14:5: …`. */
export function loadConfig(file: string): Result<Config, string[]> {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch {
    return err([`can't read \`${file}\`; write one with \`daypass init\``])
  }
  return parseConfig(text, file)
}

/** Reads the text of `daypass.yaml`. Relative paths are relative to the file's folder. */
export function parseConfig(text: string, file: string): Result<Config, string[]> {
  const reader = new YamlReader(text, file)
  const root = reader.root()
  const folder = resolve(file, '..')
  const map = root === null ? {} : (reader.map([], root) ?? {})
  only(reader, [], map, ['version', 'servers', 'approvals', 'limits'])
  if (map.version !== undefined && map.version !== 1) {
    reader.fail(['version'], `this build reads version 1, not ${JSON.stringify(map.version)}`)
  }
  const servers = readServers(reader, map.servers, folder)
  const approvals = readApprovals(reader, map.approvals)
  const limits = readLimits(reader, map.limits)
  if (reader.problems.length > 0) return err(reader.problems.map(formatProblem))
  return ok({ servers, approvals, limits })
}

function only(reader: YamlReader, path: Path, map: object, known: readonly string[]): void {
  for (const key of Object.keys(map)) {
    if (known.includes(key)) continue
    reader.fail([...path, key], `unknown field \`${key}\`; known: ${known.join(', ')}`, 'key')
  }
}

function readServers(reader: YamlReader, value: unknown, folder: string): ServerConfig[] {
  if (value === undefined) return []
  const servers = reader.map(['servers'], value) ?? {}
  return Object.entries(servers).flatMap(([name, item]) => {
    const path = ['servers', name]
    const map = reader.map(path, item)
    if (map === undefined) return []
    only(reader, path, map, [
      ...['command', 'env', 'cwd', 'url', 'headers', 'catalog', 'bind', 'timeout', 'prefix'],
    ])
    if (map.catalog !== undefined && typeof map.catalog !== 'string') {
      reader.fail([...path, 'catalog'], 'must be the name or the path of a catalog')
    }
    const upstream = readUpstream(reader, path, map, folder)
    if (upstream === undefined) return []
    const prefix = readPrefix(reader, path, map.prefix, Object.keys(servers).length)
    const catalog = typeof map.catalog === 'string' ? map.catalog : null
    const config = prefix ? upstream : { ...upstream, prefix }
    return [{ name, upstream: config, catalog, bind: absolute(map.bind, folder) }]
  })
}

/** Without prefix two servers could present the same name, so one that goes without is alone. */
function readPrefix(reader: YamlReader, path: Path, value: unknown, servers: number): boolean {
  if (value === undefined || value === true) return true
  if (value !== false) reader.fail([...path, 'prefix'], 'must be true or false')
  else if (servers > 1) {
    const why =
      'only a server that is alone can go without: the names of two could not be told apart'
    reader.fail([...path, 'prefix'], why)
  }
  return false
}

function readUpstream(
  reader: YamlReader,
  path: Path,
  map: Record<string, unknown>,
  folder: string,
): UpstreamConfig | undefined {
  const timeoutMs = readTime(reader, [...path, 'timeout'], map.timeout)
  const timing = timeoutMs === undefined ? {} : { timeoutMs: timeoutMs * 1000 }
  if ((map.url === undefined) === (map.command === undefined)) {
    return reader.fail(path, 'write either `command: [program, argument]` or `url: https://…`')
  }
  if (map.url !== undefined) {
    if (typeof map.url !== 'string' || !/^https?:\/\//.test(map.url)) {
      return reader.fail([...path, 'url'], 'must be an http or https URL')
    }
    const headers = readTexts(reader, [...path, 'headers'], map.headers)
    return { kind: 'http', url: map.url, headers, ...timing }
  }
  const words = Array.isArray(map.command) ? map.command : [map.command]
  if (words.length === 0 || words.some((word) => typeof word !== 'string')) {
    return reader.fail([...path, 'command'], 'must be a list of words: `[program, argument]`')
  }
  const [command = '', ...args] = words as string[]
  if (!Array.isArray(map.command) && /\s/.test(command)) {
    return reader.fail([...path, 'command'], 'no shell reads this: write a list of words')
  }
  const env = readTexts(reader, [...path, 'env'], map.env)
  const cwd = typeof map.cwd === 'string' ? resolve(folder, map.cwd) : folder
  return { kind: 'stdio', command, args, env, cwd, ...timing }
}

/** Texts in which `env:NAME` and `file:PATH` stand for secrets; they are read here, once. */
function readTexts(reader: YamlReader, path: Path, value: unknown): Record<string, string> {
  if (value === undefined) return {}
  const texts: Record<string, string> = {}
  for (const [key, text] of Object.entries(reader.map(path, value) ?? {})) {
    if (typeof text !== 'string') {
      reader.fail([...path, key], 'must be a text; put numbers in quotes')
      continue
    }
    texts[key] = resolveSecrets(reader, [...path, key], text)
  }
  return texts
}

function resolveSecrets(reader: YamlReader, path: Path, text: string): string {
  if (text.startsWith('file:')) {
    try {
      return readFileSync(text.slice('file:'.length), 'utf8').trim()
    } catch {
      reader.fail(path, `can't read \`${text}\``)
      return ''
    }
  }
  return text.replace(/(?<![\w])env:([A-Za-z_][A-Za-z0-9_]*)/g, (_, name: string) => {
    const found = process.env[name]
    if (found === undefined) reader.fail(path, `the environment has no \`${name}\``)
    return found ?? ''
  })
}

/** Folders in `bind` may be written relative to the file. */
function absolute(bind: unknown, folder: string): unknown {
  if (!isRecord(bind)) return bind
  const place = (path: unknown) =>
    typeof path === 'string' && !isAbsolute(path) ? resolve(folder, path) : path
  const roots = Array.isArray(bind.roots)
    ? {
        roots: bind.roots.map((root) =>
          isRecord(root) ? { ...root, path: place(root.path) } : root,
        ),
      }
    : {}
  const worktree = bind.worktree === undefined ? {} : { worktree: place(bind.worktree) }
  return { ...bind, ...roots, ...worktree }
}

function readApprovals(reader: YamlReader, value: unknown): Config['approvals'] {
  if (value === undefined) return APPROVALS
  const path = ['approvals']
  const map = reader.map(path, value) ?? {}
  only(reader, path, map, ['self', 'read_only_under', 'answer_within'])
  if (map.self !== undefined && typeof map.self !== 'boolean') {
    reader.fail([...path, 'self'], 'must be true or false')
  }
  return {
    self: typeof map.self === 'boolean' ? map.self : APPROVALS.self,
    readOnlySeconds:
      readTime(reader, [...path, 'read_only_under'], map.read_only_under) ??
      APPROVALS.readOnlySeconds,
    answerSeconds:
      readTime(reader, [...path, 'answer_within'], map.answer_within) ?? APPROVALS.answerSeconds,
  }
}

function readLimits(reader: YamlReader, value: unknown): LeaseLimits {
  if (value === undefined) return DEFAULT_LEASE_LIMITS
  const path = ['limits']
  const map = reader.map(path, value) ?? {}
  only(reader, path, map, ['max_expires_in'])
  const longest = readTime(reader, [...path, 'max_expires_in'], map.max_expires_in)
  return longest === undefined
    ? DEFAULT_LEASE_LIMITS
    : { ...DEFAULT_LEASE_LIMITS, maxExpiresInSeconds: longest }
}

function readTime(reader: YamlReader, path: Path, value: unknown): number | undefined {
  if (value === undefined) return undefined
  const parsed = typeof value === 'string' ? parseDuration(value) : null
  if (parsed?.ok) return parsed.value
  return reader.fail(path, 'must be a duration such as 30m, 1h30m or 8h')
}
