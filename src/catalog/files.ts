import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { canonicalise } from '../core/canonical.ts'
import type { Touch } from '../core/facts.ts'
import { err, ok, type Result } from '../core/result.ts'
import { type Guarded, locate, type Place, type Root, type ServerBinding } from './bindings.ts'
import type { ActionKind, Catalog, FileUse } from './catalog.ts'
import { currentBranch, hooksFolder } from './git-probe.ts'
import { isGitInternal, isHookPath, isSecretPath } from './secrets.ts'

/** A listing or move of more is not judged path by path. Bounds the cost of one call. */
const FOLDERS_MAX = 256
const MOVED_MAX = 1000

type Use = 'read' | 'list' | 'write' | 'delete'

/** Collects what the file uses of one call touch: one touch per action and root, with its paths. */
export class FileTouches {
  readonly #catalog: Catalog
  readonly #found = new Map<string, { touch: Touch; paths: Set<string>; secrets: Set<string> }>()
  readonly #branches = new Map<string, Result<string, string>>()

  readonly #guarded: readonly Guarded[]

  constructor(catalog: Catalog, guarded: readonly Guarded[]) {
    this.#catalog = catalog
    this.#guarded = guarded
  }

  touches(): readonly Touch[] {
    return [...this.#found.values()].map(({ touch, paths, secrets }) => {
      const { action, resources } = touch
      if (secrets.size > 0) return { ...touch, resources: { ...resources, secrets: [...secrets] } }
      if (action.startsWith('file.')) return { ...touch, resources: { paths: [...paths] } }
      // A repository touch without paths is one of the whole repository.
      return paths.size > 0 ? { ...touch, within: { paths: [...paths] } } : touch
    })
  }

  /** Adds one use of a place; returns words when its facts cannot be sound. */
  add(use: Use, place: Place, path: string | null): string | null {
    const { root } = place
    const at = path ?? '.'
    if (use !== 'read' && use !== 'list' && at === '.') {
      return `\`${root.path}\` itself cannot be written or moved: name a path in it`
    }
    if (this.#isGuarded(use, join(root.real, at))) {
      return `\`${at}\` is Daypass's own, which no run reads or changes`
    }
    if (isGitInternal(at)) return this.#addGit(use, root, at)
    // The root may itself lie in a folder of secrets, e.g. `~/.ssh`.
    const secret = use !== 'list' && isSecretPath(join(root.real, at))
    if (secret) return this.#addSecret(use, root, at)
    if (root.repo === null) {
      if (path === null) return `\`${root.path}\` holds too many folders to be judged at once`
      return this.#put(use === 'list' ? 'file.read' : `file.${use}`, root, {
        path: join(root.name, at),
      })
    }
    const hook =
      use === 'write' && isHook(root, at) ? this.#put('repo.internals.write', root, {}) : null
    const branch = this.#branch(root)
    if (!branch.ok) return branch.error
    const action = use === 'read' || use === 'list' ? 'repo.read' : `repo.file.${use}`
    return hook ?? this.#put(action, root, { path, branch: branch.value })
  }

  /** Names may be listed; a folder around what is guarded cannot be moved or deleted either. */
  #isGuarded(use: Use, path: string): boolean {
    if (use === 'list') return false
    const isChange = use !== 'read'
    return this.#guarded.some(
      ({ real, secret }) =>
        ((isChange || secret) && (path === real || path.startsWith(`${real}/`))) ||
        (isChange && use === 'delete' && real.startsWith(`${path}/`)),
    )
  }

  /** Reading git's own files shows any branch, and credentials in the config. */
  #addGit(use: Use, root: Root, path: string): string | null {
    if (root.repo === null) {
      return `\`${path}\` lies in a git directory: bind its working tree with \`repo\``
    }
    if (use === 'write' || use === 'delete') return this.#put('repo.internals.write', root, {})
    const name = path.split('/').at(-1)?.toLowerCase() ?? ''
    const secret = use === 'read' && (name.startsWith('config') || name === 'credentials')
    return secret
      ? this.#put('secret.read', root, { secret: path })
      : this.#put('repo.read', root, {})
  }

  #addSecret(use: Use, root: Root, path: string): string | null {
    const secret = root.repo === null ? join(root.name, path) : path
    return this.#put(use === 'read' ? 'secret.read' : 'secret.write', root, { secret })
  }

  #branch(root: Root): Result<string, string> {
    const known = this.#branches.get(root.real)
    if (known !== undefined) return known
    const branch = currentBranch(root.real)
    this.#branches.set(root.real, branch)
    return branch
  }

  #put(
    action: string,
    root: Root,
    at: { path?: string | null; branch?: string; secret?: string },
  ): string | null {
    const kind: ActionKind | undefined = this.#catalog.actions.get(action)
    if (kind === undefined) return `the catalog does not say what \`${action}\` means`
    const whole = at.path === undefined || at.path === null
    const key = `${action}\n${root.real}\n${whole}\n${at.branch ?? ''}`
    let found = this.#found.get(key)
    if (found === undefined) {
      const resources: Record<string, readonly string[]> = {}
      if (root.repo !== null) resources.repos = [root.repo]
      if (at.branch !== undefined) resources.branches = [at.branch]
      found = {
        touch: { action, ...kind, resources, within: {}, hosts: [] },
        paths: new Set(),
        secrets: new Set(),
      }
      this.#found.set(key, found)
    }
    if (at.path !== undefined && at.path !== null) found.paths.add(at.path)
    if (at.secret !== undefined) found.secrets.add(at.secret)
    return null
  }
}

function isHook(root: Root, path: string): boolean {
  if (isHookPath(path)) return true
  const folder = hooksFolder(root.real)
  return folder !== null && (folder === '' || path === folder || path.startsWith(`${folder}/`))
}

/** Adds what one file use of a rule touches; returns words when that cannot be told. */
export function addFileUse(
  into: FileTouches,
  server: ServerBinding,
  use: FileUse,
  args: Readonly<Record<string, unknown>>,
): string | null {
  if (use.use === 'list_roots') {
    return firstFault(server.roots, (root) =>
      into.add('list', { root, path: '.', real: root.real, kind: 'folder' }, '.'),
    )
  }
  const values = Object.hasOwn(args, use.arg) ? args[use.arg] : undefined
  const paths = (Array.isArray(values) ? values : [values]) as string[]
  if (paths.length === 0) return `\`${use.arg}\` is empty: name a path`
  return firstFault(paths, (path) => {
    const place = locate(server, path)
    if (!place.ok) return place.error
    if (use.use === 'move') return addMove(into, server, place.value, args[use.to] as string)
    if (use.use === 'tree') return addTree(into, place.value)
    if (use.use === 'mkdir') return addFolder(into, place.value)
    return into.add(use.use, place.value, place.value.path)
  })
}

function firstFault<T>(items: readonly T[], check: (item: T) => string | null): string | null {
  for (const item of items) {
    const fault = check(item)
    if (fault !== null) return fault
  }
  return null
}

/**
 * A recursive listing shows the names in every folder beneath. Links are not followed by the
 * server.
 */
function addTree(into: FileTouches, place: Place): string | null {
  if (place.kind !== 'folder') return into.add('list', place, place.path)
  const folders = walk(place, { max: FOLDERS_MAX, folders: true })
  if (!folders.ok) return into.add('list', place, null)
  return firstFault(folders.value, (path) => into.add('list', place, path))
}

/** `mkdir -p` also makes the folders in between. */
function addFolder(into: FileTouches, place: Place): string | null {
  const parts = place.path.split('/')
  const made = parts
    .map((_, index) => parts.slice(0, index + 1).join('/'))
    .filter((path) => path === place.path || !existsSync(join(place.root.real, path)))
  return firstFault(made, (path) => into.add('write', place, path))
}

/**
 * Moving takes everything beneath away and puts it elsewhere under other names, so a secret must
 * not become a harmless name: the source counts as read too.
 */
function addMove(
  into: FileTouches,
  server: ServerBinding,
  source: Place,
  destination: string,
): string | null {
  const target = locate(server, destination)
  if (!target.ok) return target.error
  let beneath: readonly string[] = [source.path]
  if (source.kind === 'folder') {
    const files = walk(source, { max: MOVED_MAX, folders: false })
    if (!files.ok) return files.error
    beneath = [source.path, ...files.value]
  }
  return firstFault(beneath, (path) => {
    const moved = join(target.value.path, path.slice(source.path.length))
    return (
      into.add('read', source, path) ??
      into.add('delete', source, path) ??
      into.add('write', target.value, moved)
    )
  })
}

/** Relative paths beneath a folder, itself included when folders are asked for. */
function walk(
  place: Place,
  options: { max: number; folders: boolean },
): Result<readonly string[], string> {
  const found: string[] = options.folders ? [place.path] : []
  const queue = [place.path]
  try {
    for (let path = queue.pop(); path !== undefined; path = queue.pop()) {
      for (const entry of readdirSync(join(place.root.real, path), { withFileTypes: true })) {
        const child = path === '.' ? entry.name : `${path}/${entry.name}`
        const canonical = canonicalise('paths', child)
        if (!canonical.ok || canonical.value !== child) {
          return err(`\`${place.path}\` holds a name that cannot be judged`)
        }
        if (entry.isDirectory()) queue.push(child)
        if (!options.folders || entry.isDirectory()) found.push(child)
        if (found.length > options.max) {
          return err(`\`${place.path}\` holds more than ${options.max} entries: take smaller steps`)
        }
      }
    }
  } catch {
    return err(`\`${place.path}\` cannot be listed`)
  }
  return ok(found)
}
