import { lstatSync, readdirSync, realpathSync } from 'node:fs'
import { basename, dirname, isAbsolute, join, posix } from 'node:path'
import { canonicalise } from '../core/canonical.ts'
import { err, ok, type Result } from '../core/result.ts'
import type { Catalog, Rule, Source } from './catalog.ts'
import { isRecord } from './yaml-reader.ts'

/**
 * A folder that a file server may serve; in a repository, or a plain one with a name of its own.
 */
export interface Root {
  /** As configured: what an agent writes. */
  readonly path: string
  /** Where it really is; every path is compared with this. */
  readonly real: string
  readonly repo: string | null
  /** First segment of `paths` outside of a repository. */
  readonly name: string
}

export interface Worktree {
  readonly path: string
  readonly real: string
}

/** One configured server: its name, and what the configuration ties its calls to. */
export interface ServerBinding {
  /** As in `daypass.yaml`; tools are `name.tool`. */
  readonly name: string
  readonly roots: readonly Root[]
  readonly worktree: Worktree | null
  /** Remote name → host. */
  readonly remotes: ReadonlyMap<string, string>
  /** Other names a catalog refers to: `repo`, `host`. */
  readonly values: ReadonlyMap<string, string>
  /** Where Daypass keeps itself: no run may change what the next one is judged by. */
  readonly guarded?: readonly Guarded[]
}

/** A file or folder, as it really lies on the disk. */
export interface Guarded {
  readonly real: string
  /** It holds secrets of ours: not even to be read. */
  readonly secret: boolean
}

const MEMBERS = ['roots', 'worktree', 'remotes']

/**
 * Reads the `bind` member of a server in `daypass.yaml`. What the catalog needs must be there, and
 * must exist: a binding that points nowhere would make every call unsound one by one.
 */
export function bindServer(
  name: string,
  bind: unknown,
  catalog: Catalog,
): Result<ServerBinding, string[]> {
  const faults: string[] = []
  if (!/^[a-z][a-z0-9-]*$/.test(name)) {
    faults.push(`server \`${name}\`: a name has lower-case letters, digits and hyphens`)
  }
  const map = bind === undefined ? {} : bind
  if (!isRecord(map)) return err([`server \`${name}\`: \`bind\` must be a map`])
  const roots = readRoots(name, map.roots, faults)
  const worktree = map.worktree === undefined ? null : readFolder(name, map.worktree, faults)
  const remotes = new Map<string, string>()
  for (const [remote, host] of Object.entries(isRecord(map.remotes) ? map.remotes : {})) {
    const canonical = canonicalise('hosts', host)
    if (canonical.ok) remotes.set(remote, canonical.value)
    else faults.push(`server \`${name}\`: remote \`${remote}\`: ${canonical.error}`)
  }
  const values = readValues(name, map, catalog, faults)
  const needs = needsOf(catalog)
  if (needs.has('roots') && roots.length === 0) faults.push(missing(name, 'roots', catalog))
  if (needs.has('worktree') && worktree === null) faults.push(missing(name, 'worktree', catalog))
  if (faults.length > 0) return err(faults)
  return ok({ name, roots, worktree, remotes, values })
}

function missing(name: string, member: string, catalog: Catalog): string {
  return `server \`${name}\`: catalog \`${catalog.name}\` needs \`bind.${member}\``
}

function readValues(
  name: string,
  map: Record<string, unknown>,
  catalog: Catalog,
  faults: string[],
): ReadonlyMap<string, string> {
  const values = new Map<string, string>()
  const wanted = [...needsOf(catalog)].filter((need) => !MEMBERS.includes(need))
  for (const key of Object.keys(map)) {
    if (!MEMBERS.includes(key) && !wanted.includes(key)) {
      faults.push(
        `server \`${name}\`: \`bind.${key}\` means nothing to catalog \`${catalog.name}\``,
      )
    }
  }
  for (const need of wanted) {
    const value = map[need]
    const canonical = canonicalise(need === 'host' ? 'hosts' : need, value)
    if (value === undefined) faults.push(missing(name, need, catalog))
    else if (canonical.ok) values.set(need, canonical.value)
    else faults.push(`server \`${name}\`: \`bind.${need}\`: ${canonical.error}`)
  }
  return values
}

/** Which members of `bind` a catalog's rules use. */
export function needsOf(catalog: Catalog): ReadonlySet<string> {
  const needs = new Set<string>()
  for (const tool of catalog.tools.values()) {
    for (const arg of tool.args.values()) if (arg.types.includes('worktree')) needs.add('worktree')
    for (const rule of tool.rules) for (const need of needsOfRule(rule)) needs.add(need)
  }
  return needs
}

function needsOfRule(rule: Rule): readonly string[] {
  if (rule.do === 'fault') return []
  if (rule.do === 'files') return ['roots']
  const typed = [...rule.resources, ...rule.within].flatMap((item) => item.sources)
  return [...typed, ...rule.hosts].flatMap((source: Source) => {
    if (source.from === 'binding') return [source.name]
    if (source.from === 'join') {
      return source.parts.flatMap((part) => (part.from === 'binding' ? [part.name] : []))
    }
    if (source.from === 'remote') return ['remotes']
    return source.from === 'probe' || source.from === 'revision' ? ['worktree'] : []
  })
}

function readRoots(name: string, value: unknown, faults: string[]): readonly Root[] {
  if (value === undefined) return []
  if (!Array.isArray(value)) {
    faults.push(`server \`${name}\`: \`bind.roots\` must be a list`)
    return []
  }
  const roots: Root[] = []
  for (const item of value) {
    if (!isRecord(item) || Object.keys(item).some((k) => !['path', 'repo', 'name'].includes(k))) {
      faults.push(
        `server \`${name}\`: a root is \`{ path: …, repo: … }\` or \`{ path: …, name: … }\``,
      )
      continue
    }
    const folder = readFolder(name, item.path, faults)
    if (folder === null) continue
    const repo = item.repo === undefined ? null : canonicalise('repos', item.repo)
    if (repo !== null && !repo.ok) faults.push(`server \`${name}\`: ${repo.error}`)
    const label = typeof item.name === 'string' ? item.name : basename(folder.path)
    const own = canonicalise('paths', label)
    if (!own.ok || own.value.includes('/')) {
      faults.push(`server \`${name}\`: give root \`${folder.path}\` a plain \`name\``)
    }
    if (roots.some((root) => root.repo === null && repo === null && root.name === label)) {
      faults.push(`server \`${name}\`: two roots are named \`${label}\`: give one a \`name\``)
    }
    roots.push({ ...folder, repo: repo?.ok ? repo.value : null, name: label })
  }
  // The innermost root decides, whatever the order of the configuration.
  return roots.sort((a, b) => b.real.length - a.real.length)
}

function readFolder(name: string, value: unknown, faults: string[]): Worktree | null {
  if (typeof value !== 'string' || !isAbsolute(value)) {
    faults.push(`server \`${name}\`: a bound folder is an absolute path`)
    return null
  }
  try {
    const path = posix.normalize(value).replace(/(?<=.)\/$/, '')
    return { path, real: realpathSync.native(path) }
  } catch {
    faults.push(`server \`${name}\`: \`${value}\` does not exist`)
    return null
  }
}

/** A path of a call, where it really leads. */
export interface Place {
  readonly root: Root
  /** Canonical, relative to the root; `.` is the root. */
  readonly path: string
  readonly real: string
  readonly kind: 'file' | 'folder' | 'absent'
}

/** Longer paths are refused by the system too. */
const PATH_CHARS_MAX = 4096
/** Backslash, and control characters: some layer reads them as something else. */
const UNSAFE = /[\\\p{Cc}]/u

/** Resolves a path of a call at the moment of use: symlinks count as what they point to. */
export function locate(server: ServerBinding, raw: string): Result<Place, string> {
  if (!raw.startsWith('/')) {
    return err(`\`${raw}\` is relative, to a folder the server chooses: give an absolute path`)
  }
  if (raw.length > PATH_CHARS_MAX || UNSAFE.test(raw)) return err('the path has unsafe characters')
  if (raw.split('/').includes('..')) {
    return err(`\`${raw}\` has \`..\` in it: write the path it leads to`)
  }
  const path = posix.normalize(raw).replace(/(?<=.)\/$/, '')
  const real = realPath(path)
  if (!real.ok) return real
  const root = server.roots.find(
    ({ real: top }) => real.value.path === top || real.value.path.startsWith(`${top}/`),
  )
  if (root === undefined) {
    const lexical = server.roots.some((r) => path === r.path || path.startsWith(`${r.path}/`))
    const how = lexical
      ? 'leads out of the bound folders through a symlink'
      : 'is in no bound folder'
    return err(`\`${raw}\` ${how}: use ${server.roots.map((r) => `\`${r.path}\``).join(', ')}`)
  }
  const relative = real.value.path === root.real ? '.' : real.value.path.slice(root.real.length + 1)
  const canonical = canonicalise('paths', relative)
  if (!canonical.ok) return canonical
  if (canonical.value !== relative) return err(`\`${relative}\`: write \`${canonical.value}\``)
  return ok({ root, path: relative, real: real.value.path, kind: real.value.kind })
}

/** The real path; of a path that is not there yet, that of its nearest folder plus the rest. */
function realPath(path: string): Result<{ path: string; kind: Place['kind'] }, string> {
  const missingParts: string[] = []
  let here = path
  for (;;) {
    try {
      const real = realpathSync.native(here)
      if (missingParts.length === 0) {
        return ok({ path: real, kind: lstatSync(real).isDirectory() ? 'folder' : 'file' })
      }
      const next = missingParts.at(-1)!
      if (hasTwin(real, next)) {
        return err(`\`${next}\` differs from a name in \`${real}\` only by its Unicode form`)
      }
      return ok({ path: join(real, ...missingParts.reverse()), kind: 'absent' })
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code
      if (code !== 'ENOENT')
        return err(`\`${path}\` cannot be resolved (${code ?? 'unknown error'})`)
      if (isLink(here)) return err(`\`${here}\` is a symlink that leads nowhere`)
      missingParts.push(basename(here))
      here = dirname(here)
    }
  }
}

function isLink(path: string): boolean {
  try {
    return lstatSync(path).isSymbolicLink()
  } catch {
    return false
  }
}

/**
 * server-filesystem takes a name that is equal under Unicode normalisation for the one asked for.
 */
function hasTwin(folder: string, name: string): boolean {
  // Names of ASCII have no other form.
  if (/^[\x20-\x7e]*$/.test(name)) return false
  const form = name.normalize('NFC')
  return readdirSync(folder).some((entry) => entry.normalize('NFC') === form)
}
