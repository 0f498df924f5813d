import { err, ok, type Result } from '../core/result.ts'
import {
  type ActionKind,
  type Catalog,
  EFFECTS,
  type Rule,
  type ServerKind,
  type Tool,
  type TypedSource,
} from './catalog.ts'
import { readArguments } from './load-arguments.ts'
import { type Names, readRule } from './load-rules.ts'
import { readTypedSources } from './load-sources.ts'
import { type Path, type Problem, YamlReader } from './yaml-reader.ts'

const HASH = /^[0-9a-f]{64}$/
const TOOL_NAME = /^[A-Za-z0-9_./-]{1,128}$/
const CATALOG_NAME = /^[a-z][a-z0-9-]{0,62}$/
const ROOT = ['catalog', 'version', 'title', 'server', 'actions', 'resources', 'tools', 'unmapped']
const TOOL = ['definition', 'idempotent', 'usd', 'record', 'args', 'rules']

/**
 * Parses and validates one catalog. Either it is whole, or every problem is told with its position:
 * a catalog that applies in part would leave calls judged by less than its author wrote.
 */
export function loadCatalog(text: string, file: string): Result<Catalog, Problem[]> {
  const reader = new YamlReader(text, file)
  const root = reader.problems.length === 0 ? reader.map([], reader.root()) : undefined
  if (root === undefined) return err(reader.problems)
  reader.known([], root, ROOT)
  if (root.version !== 1) reader.fail(['version'], 'must be `1`, the version of this format')
  const name = reader.text(['catalog'], root.catalog)
  if (name !== undefined && !CATALOG_NAME.test(name)) {
    reader.fail(['catalog'], `\`${name}\` must be lower-case letters, digits and hyphens`)
  }
  const actions = readActions(reader, root.actions)
  const presets = readPresets(reader, root.resources)
  const catalog: Catalog = {
    name: name ?? '',
    file,
    title: reader.text(['title'], root.title) ?? '',
    server: readServer(reader, root.server),
    actions,
    tools: readTools(reader, root.tools, { actions, presets }),
    unmapped: readUnmapped(reader, root.unmapped),
  }
  for (const tool of catalog.unmapped.keys()) {
    if (catalog.tools.has(tool)) {
      reader.fail(['unmapped', tool], `\`${tool}\` stands under \`tools\` as well`, 'key')
    }
  }
  return reader.problems.length === 0 ? ok(catalog) : err(reader.problems)
}

function readServer(reader: YamlReader, value: unknown): ServerKind {
  const empty: ServerKind = { package: '', version: '', env: {} }
  const map = reader.map(['server'], value)
  if (map === undefined) return empty
  reader.known(['server'], map, ['package', 'version', 'env'])
  const env: Record<string, string> = {}
  for (const [key, item] of Object.entries(
    map.env === undefined ? {} : (reader.map(['server', 'env'], map.env) ?? {}),
  )) {
    const text = reader.text(['server', 'env', key], item)
    if (text !== undefined) env[key] = text
  }
  return {
    package: reader.text(['server', 'package'], map.package) ?? '',
    version: reader.text(['server', 'version'], map.version) ?? '',
    env,
  }
}

function readActions(reader: YamlReader, value: unknown): ReadonlyMap<string, ActionKind> {
  const actions = new Map<string, ActionKind>()
  for (const [name, item] of Object.entries(reader.map(['actions'], value) ?? {})) {
    const path: Path = ['actions', name]
    const map = reader.map(path, item)
    if (map === undefined) continue
    reader.known(path, map, ['effect', 'reversible'])
    const effect = reader.choice([...path, 'effect'], map.effect, EFFECTS)
    // Silence about a write must not read as "can be undone".
    if (effect !== 'read' && typeof map.reversible !== 'boolean') {
      reader.fail([...path, 'reversible'], 'must be `true` or `false` for everything but a read')
    }
    if (effect !== undefined) {
      actions.set(name, { effect, reversible: effect === 'read' || map.reversible === true })
    }
  }
  return actions
}

function readPresets(
  reader: YamlReader,
  value: unknown,
): ReadonlyMap<string, readonly TypedSource[]> {
  const presets = new Map<string, readonly TypedSource[]>()
  if (value === undefined) return presets
  for (const [name, item] of Object.entries(reader.map(['resources'], value) ?? {})) {
    presets.set(name, readTypedSources(reader, ['resources', name], item, new Map()))
  }
  return presets
}

function readTools(
  reader: YamlReader,
  value: unknown,
  shared: Pick<Names, 'actions' | 'presets'>,
): ReadonlyMap<string, Tool> {
  const tools = new Map<string, Tool>()
  for (const [name, item] of Object.entries(reader.map(['tools'], value) ?? {})) {
    const path: Path = ['tools', name]
    if (!TOOL_NAME.test(name)) reader.fail(path, `\`${name}\` is not a tool name`, 'key')
    const map = reader.map(path, item)
    if (map === undefined) continue
    reader.known(path, map, TOOL)
    const args = readArguments(reader, [...path, 'args'], map.args)
    tools.set(name, {
      name,
      definitions: readDefinitions(reader, [...path, 'definition'], map.definition),
      args,
      rules: readRules(reader, [...path, 'rules'], map.rules, { ...shared, args }),
      idempotent: readFlag(reader, [...path, 'idempotent'], map.idempotent),
      usd: readUsd(reader, [...path, 'usd'], map.usd),
      record: readRecord(reader, [...path, 'record'], map.record, args),
    })
  }
  return tools
}

/** No pin is a valid draft: the tool stays quarantined until it has one. */
function readDefinitions(reader: YamlReader, path: Path, value: unknown): readonly string[] {
  if (value === undefined || value === null) return []
  const list = Array.isArray(value) ? value : [value]
  for (const item of list) {
    if (typeof item !== 'string' || !HASH.test(item)) {
      reader.fail(path, 'must be a SHA-256 in hex, as `daypass catalog pin` writes it')
      return []
    }
  }
  return list as string[]
}

function readFlag(reader: YamlReader, path: Path, value: unknown): boolean {
  if (value !== undefined && typeof value !== 'boolean')
    reader.fail(path, 'must be `true` or `false`')
  return value === true
}

function readUsd(reader: YamlReader, path: Path, value: unknown): string | null {
  if (value === undefined) return null
  if (typeof value === 'string' && /^\d{1,12}(?:\.\d{1,9})?$/.test(value)) return value
  reader.fail(path, 'must be a decimal in quotes, e.g. `"0.05"`')
  return null
}

function readRecord(
  reader: YamlReader,
  path: Path,
  value: unknown,
  args: Tool['args'],
): readonly string[] {
  if (value === undefined) return []
  if (!Array.isArray(value)) {
    reader.fail(path, 'must be a list of arguments')
    return []
  }
  value.forEach((name, index) => {
    if (typeof name !== 'string' || !args.has(name)) {
      reader.fail([...path, index], `\`${String(name)}\` is not an argument of this tool`)
    }
  })
  return value as string[]
}

function readRules(reader: YamlReader, path: Path, value: unknown, names: Names): readonly Rule[] {
  if (!Array.isArray(value) || value.length === 0) {
    reader.fail(path, 'must be a list of rules: a call that no rule covers is denied')
    return []
  }
  return value.flatMap((item, index) => readRule(reader, [...path, index], item, names) ?? [])
}

function readUnmapped(reader: YamlReader, value: unknown): ReadonlyMap<string, string> {
  const unmapped = new Map<string, string>()
  if (value === undefined) return unmapped
  for (const [name, why] of Object.entries(reader.map(['unmapped'], value) ?? {})) {
    const text = reader.text(['unmapped', name], why)
    if (text !== undefined) unmapped.set(name, text)
  }
  return unmapped
}
