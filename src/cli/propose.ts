import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, realpathSync } from 'node:fs'
import { basename, join, relative, resolve } from 'node:path'
import { CATALOG_FOLDER, shippedCatalogs } from '../authority/catalogs.ts'
import { needsOf } from '../catalog/bindings.ts'
import type { Catalog } from '../catalog/catalog.ts'
import { loadCatalog } from '../catalog/load.ts'
import type { ImportedServer } from './import-servers.ts'

/** Which catalog fits a server, and what its calls are about. */
export interface Proposal {
  readonly catalog: string | null
  readonly bind: Readonly<Record<string, unknown>> | null
  readonly notes: readonly string[]
}

/** Recognises servers whose catalog ships with Daypass, by the package in their command. */
export function proposeFor(server: ImportedServer, folder: string): Proposal {
  const { command, name } = server
  const catalog = command === null ? null : catalogOf(command)
  if (catalog === null || command === null) {
    const how = 'no catalog, so calls are denied, or ask each time where a lease names the tool;'
    const note = `${name}: ${how} write one: daypass catalog draft ${name}`
    return { catalog: null, bind: null, notes: [note] }
  }
  const needs = needsOf(catalog)
  const bind: Record<string, unknown> = {}
  const notes: string[] = []
  if (needs.has('roots')) {
    const roots = rootsOf(command, folder)
    if (roots.length === 0) notes.push(`${name}: write its folders under bind.roots`)
    bind.roots = roots
  }
  const top = gitTop(folder)
  if (needs.has('worktree')) {
    if (top === null) notes.push(`${name}: this folder is no git repository; write bind.worktree`)
    else bind.worktree = near(folder, top)
  }
  if (needs.has('repo') && top !== null) bind.repo = basename(top)
  if (needs.has('remotes') && top !== null) bind.remotes = remotesOf(top)
  return { catalog: catalog.name, bind, notes }
}

function catalogOf(command: readonly string[]): Catalog | null {
  for (const name of shippedCatalogs()) {
    const file = join(CATALOG_FOLDER, `${name}.yaml`)
    const loaded = loadCatalog(readFileSync(file, 'utf8'), file)
    if (loaded.ok && command.some((word) => isPackage(word, loaded.value.server.package))) {
      return loaded.value
    }
  }
  return null
}

/** A package as runners take it (`name@1.2`), as a path below node_modules, or as its program. */
function isPackage(word: string, name: string): boolean {
  const own = name.split('/').at(-1)!
  if (word === name || word.startsWith(`${name}@`)) return true
  if (word.includes(`node_modules/${name}/`)) return true
  return [own, `mcp-${own}`].includes(basename(word))
}

/** The folders that a file server is given, each in a repository or with a name of its own. */
function rootsOf(command: readonly string[], folder: string) {
  const at = command.findLastIndex((word) => /server-filesystem/.test(word))
  return command
    .slice(at + 1)
    .filter((word) => !word.startsWith('-') && existsSync(resolve(folder, word)))
    .map((word) => {
      const path = resolve(folder, word)
      const top = gitTop(path)
      const place = near(folder, path)
      if (top !== null) return { path: place, repo: basename(top) }
      return { path: place, name: basename(path).replace(/[^\w.-]+/g, '-') || 'root' }
    })
}

function near(folder: string, path: string): string {
  const shown = relative(realpathSync(folder), realpathSync(path))
  return shown.startsWith('..') ? path : `./${shown}`.replace(/\/$/, '')
}

function gitTop(folder: string): string | null {
  return git(folder, ['rev-parse', '--show-toplevel'])
}

/** Remote name to host. A remote on this machine has none. */
function remotesOf(top: string): Record<string, string> {
  const lines = git(top, ['remote', '-v'])?.split('\n') ?? []
  const hosts = lines.flatMap((line) => {
    const [name, url] = line.split(/\s+/)
    const host = url === undefined ? null : hostOf(url)
    return name === undefined || host === null ? [] : [[name, host] as const]
  })
  return Object.fromEntries(hosts)
}

function hostOf(url: string): string | null {
  if (/^[a-z+]+:\/\//i.test(url) && URL.canParse(url)) return new URL(url).host || null
  return /^(?:[^@/]+@)?([^:/]+):/.exec(url)?.[1] ?? null
}

function git(cwd: string, args: readonly string[]): string | null {
  try {
    const text = execFileSync('git', args, {
      cwd,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
      timeout: 5_000,
    }).trim()
    return text === '' ? null : text
  } catch {
    // No git, or no repository: nothing is proposed.
    return null
  }
}
