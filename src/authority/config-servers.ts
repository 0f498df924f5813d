import { isAbsolute, resolve } from 'node:path'
import { isRecord, type Path } from '../catalog/yaml-reader.ts'
import type { UpstreamConfig } from '../gateway/upstream.ts'
import type { ConfigFile } from './config-schema.ts'

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

/** What reading a part of the configuration needs beside the part. */
export interface Reading {
  /** Relative paths are relative to it. */
  readonly folder: string
  fail(path: Path, message: string, at?: 'value' | 'key'): undefined
  /** A text with what `env:`, `file:` and `exec:` stand for. */
  resolve(path: Path, text: string): string
}

type ServerEntry = NonNullable<ConfigFile['servers']>[string]

export function readServers(servers: ConfigFile['servers'], reading: Reading): ServerConfig[] {
  const all = Object.entries(servers ?? {})
  return all.flatMap(([name, entry]) => {
    const path = ['servers', name]
    const upstream = readUpstream(path, entry, reading)
    if (upstream === undefined) return []
    // Without prefix two servers could present the same name, so one that goes without is alone.
    if (entry.prefix === false && all.length > 1) {
      const why =
        'only a server that is alone can go without: the names of two could not be told apart'
      reading.fail([...path, 'prefix'], why)
    }
    const config = {
      ...upstream,
      ...(entry.prefix === false ? { prefix: false } : {}),
      ...(entry.envelope === true ? { envelope: true } : {}),
    }
    const bind = absolute(entry.bind, reading.folder)
    return [{ name, upstream: config, catalog: entry.catalog ?? null, bind }]
  })
}

function readUpstream(
  path: Path,
  entry: ServerEntry,
  reading: Reading,
): UpstreamConfig | undefined {
  const timing = entry.timeout === undefined ? {} : { timeoutMs: entry.timeout * 1000 }
  if ((entry.url === undefined) === (entry.command === undefined)) {
    const write = 'write either `command: [program, argument]` or `url: https://…`'
    return reading.fail(path, write, 'key')
  }
  if (entry.url !== undefined) {
    const headers = resolveAll([...path, 'headers'], entry.headers, reading)
    return { kind: 'http', url: entry.url, headers, ...timing }
  }
  const words = typeof entry.command === 'string' ? [entry.command] : entry.command!
  const [command = '', ...args] = words
  if (typeof entry.command === 'string' && /\s/.test(command)) {
    return reading.fail([...path, 'command'], 'no shell reads this: write a list of words')
  }
  const env = resolveAll([...path, 'env'], entry.env, reading)
  const cwd = entry.cwd === undefined ? reading.folder : resolve(reading.folder, entry.cwd)
  return { kind: 'stdio', command, args, env, cwd, ...timing }
}

function resolveAll(
  path: Path,
  texts: Readonly<Record<string, string>> | undefined,
  reading: Reading,
): Record<string, string> {
  const all = Object.entries(texts ?? {})
  return Object.fromEntries(all.map(([key, text]) => [key, reading.resolve([...path, key], text)]))
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
