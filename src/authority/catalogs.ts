import { readdirSync, readFileSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { bindServer } from '../catalog/bindings.ts'
import type { Catalog, Source } from '../catalog/catalog.ts'
import { loadCatalog } from '../catalog/load.ts'
import { loadVocabulary } from '../catalog/load-vocabulary.ts'
import { formatProblem } from '../catalog/yaml-reader.ts'
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
