import type { Json } from '../core/id.ts'
import {
  type ActionKind,
  EFFECTS,
  type FileUse,
  PROOFS,
  type Rule,
  type Test,
  type Tool,
  type TypedSource,
} from './catalog.ts'
import { readSources, readTypedSources } from './load-sources.ts'
import { isRecord, oneOf, type Path, type YamlReader } from './yaml-reader.ts'

/** The names that a rule may use. */
export interface Names {
  readonly actions: ReadonlyMap<string, ActionKind>
  readonly presets: ReadonlyMap<string, readonly TypedSource[]>
  readonly args: Tool['args']
}

const KINDS = ['do', 'files', 'fault']
const TOUCH = ['when', 'do', 'on', 'within', 'hosts', 'effect', 'reversible']
const USES = ['read', 'list', 'tree', 'write', 'delete', 'mkdir'] as const

/** Reads one rule: what a call touches, which files it uses, or why its facts cannot be sound. */
export function readRule(
  reader: YamlReader,
  path: Path,
  value: unknown,
  names: Names,
): Rule | undefined {
  const map = reader.map(path, value)
  if (map === undefined) return undefined
  const kinds = KINDS.filter((kind) => Object.hasOwn(map, kind))
  if (kinds.length !== 1) return reader.fail(path, `a rule has exactly ${oneOf(KINDS)}`)
  const when = readWhen(reader, [...path, 'when'], map.when, names.args)
  if (kinds[0] === 'fault') {
    reader.known(path, map, ['when', 'fault'])
    const words = reader.text([...path, 'fault'], map.fault)
    return words === undefined ? undefined : { do: 'fault', when, words }
  }
  if (kinds[0] === 'files') {
    reader.known(path, map, ['when', 'files'])
    return { do: 'files', when, uses: readFiles(reader, [...path, 'files'], map.files, names.args) }
  }
  return readTouch(reader, path, map, { when, names })
}

function readTouch(
  reader: YamlReader,
  path: Path,
  map: Record<string, unknown>,
  context: { when: readonly Test[]; names: Names },
): Rule {
  const { when, names } = context
  reader.known(path, map, TOUCH)
  const list = Array.isArray(map.do) ? map.do : [map.do]
  for (const action of list) {
    if (typeof action !== 'string' || !names.actions.has(action)) {
      reader.fail([...path, 'do'], `action \`${String(action)}\` does not stand under \`actions\``)
    }
  }
  const effect =
    map.effect === undefined
      ? null
      : (reader.choice([...path, 'effect'], map.effect, EFFECTS) ?? null)
  if (map.reversible !== undefined && typeof map.reversible !== 'boolean') {
    reader.fail([...path, 'reversible'], 'must be `true` or `false`')
  }
  return {
    do: 'touch',
    when,
    actions: list as string[],
    effect,
    reversible: typeof map.reversible === 'boolean' ? map.reversible : null,
    resources: readOn(reader, [...path, 'on'], map.on, names),
    within:
      map.within === undefined
        ? []
        : readTypedSources(reader, [...path, 'within'], map.within, names.args),
    hosts:
      map.hosts === undefined ? [] : readSources(reader, [...path, 'hosts'], map.hosts, names.args),
  }
}

/** `on` is a set of resources that the catalog names, or the resources themselves. */
function readOn(
  reader: YamlReader,
  path: Path,
  value: unknown,
  names: Names,
): readonly TypedSource[] {
  if (typeof value !== 'string') return readTypedSources(reader, path, value, names.args)
  const preset = names.presets.get(value)
  if (preset !== undefined) return preset
  reader.fail(path, `\`${value}\` does not stand under \`resources\``)
  return []
}

function readWhen(
  reader: YamlReader,
  path: Path,
  value: unknown,
  args: Tool['args'],
): readonly Test[] {
  if (value === undefined) return []
  return Object.entries(reader.map(path, value) ?? {}).flatMap(([arg, item]) => {
    if (!args.has(arg)) {
      reader.fail([...path, arg], `\`${arg}\` is not an argument of this tool`, 'key')
      return []
    }
    return readTest(reader, [...path, arg], arg, item) ?? []
  })
}

function readTest(reader: YamlReader, path: Path, arg: string, value: unknown): Test | undefined {
  if (isScalar(value)) return { arg, anyOf: [value] }
  if (Array.isArray(value) && value.every(isScalar)) return { arg, anyOf: value as Json[] }
  if (isRecord(value)) {
    if (typeof value.given === 'boolean') {
      reader.known(path, value, ['given'])
      return { arg, given: value.given }
    }
    const asked = ['is', 'is_not'].find((word) => value[word] !== undefined)
    if (asked !== undefined) {
      reader.known(path, value, [asked])
      const proof = reader.choice([...path, asked], value[asked], PROOFS)
      return proof && { arg, proof, holds: asked === 'is' }
    }
    if (value.not !== undefined) {
      reader.known(path, value, ['not'])
      const list: unknown[] = Array.isArray(value.not) ? value.not : [value.not]
      if (list.every(isScalar)) return { arg, noneOf: list as Json[] }
    }
  }
  return reader.fail(
    path,
    'must be a value, a list of values, `{ not: … }`, `{ is: … }` or `{ given: true }`',
  )
}

function isScalar(value: unknown): value is Json {
  return typeof value === 'string' || typeof value === 'boolean' || typeof value === 'number'
}

function readFiles(
  reader: YamlReader,
  path: Path,
  value: unknown,
  args: Tool['args'],
): readonly FileUse[] {
  const map = reader.map(path, value)
  if (map === undefined) return []
  reader.known(path, map, [...USES, 'move', 'to', 'list_roots'])
  if (map.list_roots === true) return [{ use: 'list_roots' }]
  const uses: FileUse[] = []
  for (const use of USES) {
    const arg = map[use] === undefined ? undefined : readArg(reader, [...path, use], map[use], args)
    if (arg !== undefined) uses.push({ use, arg })
  }
  if (map.move !== undefined) {
    const arg = readArg(reader, [...path, 'move'], map.move, args)
    const to = readArg(reader, [...path, 'to'], map.to, args)
    if (arg !== undefined && to !== undefined) uses.push({ use: 'move', arg, to })
  }
  if (uses.length === 0) reader.fail(path, `names no use: write ${oneOf(USES)}`)
  return uses
}

function readArg(
  reader: YamlReader,
  path: Path,
  value: unknown,
  args: Tool['args'],
): string | undefined {
  const arg = reader.text(path, value)
  if (arg === undefined || args.has(arg)) return arg
  return reader.fail(path, `\`${arg}\` is not an argument of this tool`)
}
