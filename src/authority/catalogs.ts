import { existsSync, readdirSync, readFileSync, realpathSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { parse } from 'yaml'
import { bindServer } from '../catalog/bindings.ts'
import type { Catalog, Source } from '../catalog/catalog.ts'
import { loadCatalog } from '../catalog/load.ts'
import { loadVocabulary } from '../catalog/load-vocabulary.ts'
import { formatProblem, isRecord } from '../catalog/yaml-reader.ts'
import { err, ok, type Result } from '../core/result.ts'
import type { Vocabulary } from '../core/vocabulary.ts'
import type { Desk } from '../gateway/desk.ts'
import type { ServerConfig } from './config.ts'

/**
 * Catalogs that ship with Daypass: beside the sources in a checkout, beside `dist` in a package.
 */
export const CATALOG_FOLDER = resolve(import.meta.dirname, '..', '..', 'catalog')

export function shippedVocabulary(): Vocabulary {
  return loadVocabulary(readFileSync(join(CATALOG_FOLDER, 'actions.yaml'), 'utf8'))
}

/** Names of the catalogs that ship with Daypass. */
export function shippedCatalogs(): string[] {
  return readdirSync(CATALOG_FOLDER)
    .filter((file) => file.endsWith('.yaml') && file !== 'actions.yaml')
    .map((file) => basename(file, '.yaml'))
}

/**
 * The words of a project: those that ship, and for actions that only a catalog of its own has, what
 * that catalog says of their effect.
 */
export function vocabularyOf(desks: Iterable<Pick<Desk, 'catalog'>>): Vocabulary {
  const shipped = shippedVocabulary()
  const actions = new Map(shipped.actions)
  for (const { catalog } of desks) {
    for (const [action, { effect, reversible }] of catalog?.actions ?? []) {
      if (actions.has(action)) continue
      actions.set(action, {
        phrase: action,
        done: null,
        glance: GLANCE[effect],
        sends: effect === 'egress' ? 'data' : null,
        reaches: null,
        irreversible: effect === 'read' || reversible ? null : 'the catalog says so',
      })
    }
  }
  return { ...shipped, actions }
}

/**
 * The words of a project for whoever only shows its runs: no server is needed, nor the secrets that
 * the configuration names. What cannot be read adds no words.
 */
export function vocabularyOfFile(configFile: string): Vocabulary {
  const catalogs = ownCatalogs(configFile).flatMap((file) => {
    try {
      const loaded = loadCatalog(readFileSync(file, 'utf8'), file)
      return loaded.ok ? [{ catalog: loaded.value }] : []
    } catch {
      return []
    }
  })
  return vocabularyOf(catalogs)
}

/** The files of the catalogs that a configuration names and that do not ship with Daypass. */
function ownCatalogs(configFile: string): string[] {
  let root: unknown
  try {
    root = parse(readFileSync(configFile, 'utf8'), { maxAliasCount: 0 })
  } catch {
    return []
  }
  const servers = isRecord(root) && isRecord(root.servers) ? Object.values(root.servers) : []
  const shipped = shippedCatalogs()
  return servers.flatMap((server) => {
    const name = isRecord(server) ? server.catalog : undefined
    if (typeof name !== 'string' || shipped.includes(name)) return []
    return [resolve(dirname(configFile), name)]
  })
}

const GLANCE = { read: null, write: 'write', destructive: 'delete', egress: 'network' } as const

/** The desks of all servers of a configuration, and what is wrong with the others. */
export function desksOf(
  servers: readonly ServerConfig[],
  folder: string,
  guarded: readonly string[] = [],
): { desks: Map<string, Desk>; problems: string[] } {
  const desks = new Map<string, Desk>()
  const problems: string[] = []
  for (const server of servers) {
    const desk = deskOf(server, folder)
    if (desk.ok) desks.set(server.name, desk.value)
    else problems.push(...desk.error)
  }
  const own = servers.flatMap(({ catalog }) =>
    catalog === null || shippedCatalogs().includes(catalog) ? [] : [resolve(folder, catalog)],
  )
  const paths = [...guarded, ...own].flatMap((path) => {
    const real = realOf(path)
    return real === null ? [] : [{ real, secret: path.endsWith('.daypass') }]
  })
  for (const [name, desk] of desks) {
    desks.set(name, { ...desk, binding: { ...desk.binding, guarded: paths } })
  }
  return { desks, problems }
}

/** Where a path really lies, or would lie: its folder is there before it is. */
function realOf(path: string): string | null {
  try {
    return realpathSync(path)
  } catch {
    return existsSync(dirname(path)) ? join(realpathSync(dirname(path)), basename(path)) : null
  }
}

/** Loads a server's catalog, by name or by path, and ties it to what the configuration says. */
export function deskOf(server: ServerConfig, folder: string): Result<Desk, string[]> {
  const { name, catalog: wanted, bind } = server
  if (wanted === null) {
    const binding = { name, roots: [], worktree: null, remotes: new Map(), values: new Map() }
    return ok({ binding, catalog: null })
  }
  const file = shippedCatalogs().includes(wanted)
    ? join(CATALOG_FOLDER, `${wanted}.yaml`)
    : resolve(folder, wanted)
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch {
    const known = shippedCatalogs().join(', ')
    return err([`server \`${name}\`: no catalog \`${wanted}\`; write a path, or one of: ${known}`])
  }
  const loaded = loadCatalog(text, file)
  if (!loaded.ok) return err(loaded.error.map(formatProblem))
  const bound = bindServer(name, bind, loaded.value)
  return bound.ok ? ok({ binding: bound.value, catalog: loaded.value }) : bound
}

/** Action → hosts that some tool of some server sends data to, for the prompt. */
export function hostsByAction(desks: Iterable<Desk>): Record<string, string[]> {
  const hosts = new Map<string, Set<string>>()
  for (const desk of desks) {
    for (const tool of desk.catalog?.tools.values() ?? []) {
      for (const rule of tool.rules) {
        if (rule.do !== 'touch') continue
        const reached = rule.hosts.flatMap((source) => hostsOf(desk, source))
        for (const action of rule.actions) {
          hosts.set(action, new Set([...(hosts.get(action) ?? []), ...reached]))
        }
      }
    }
  }
  return Object.fromEntries(
    [...hosts].filter(([, all]) => all.size > 0).map(([action, all]) => [action, [...all].sort()]),
  )
}

function hostsOf({ binding }: Desk, source: Source): string[] {
  if (source.from === 'remote') return [...binding.remotes.values()]
  if (source.from === 'text') return [source.value]
  if (source.from !== 'binding') return []
  const value = binding.values.get(source.name)
  return value === undefined ? [] : [value]
}

/** Actions that some tool of the catalog can do, for drafts. */
export function actionsOfCatalog(catalog: Catalog): string[] {
  const names = [...catalog.tools.values()].flatMap((tool) =>
    tool.rules.flatMap((rule) => (rule.do === 'touch' ? rule.actions : [])),
  )
  const fileRules = [...catalog.tools.values()].some((tool) =>
    tool.rules.some((rule) => rule.do === 'files'),
  )
  return [...new Set([...names, ...(fileRules ? [...catalog.actions.keys()] : [])])].sort()
}
