import { type JoinPart, PROBES, type Source, type Tool, type TypedSource } from './catalog.ts'
import { isRecord, oneOf, type Path, type YamlReader } from './yaml-reader.ts'

const KINDS = [
  'arg',
  'revision',
  'secrets_of',
  'host_of',
  'collections_of',
  'join',
  'binding',
  'remote',
  'probe',
  'text',
]
const AS = ['value', 'local_branch', 'full_ref', 'pathspec'] as const

/** Reads `{ repos: { binding: repo }, branches: { probe: current_branch } }`. */
export function readTypedSources(
  reader: YamlReader,
  path: Path,
  value: unknown,
  args: Tool['args'],
): readonly TypedSource[] {
  const map = reader.map(path, value)
  if (map === undefined) return []
  return Object.entries(map).map(([type, item]) => ({
    type,
    sources: readSources(reader, [...path, type], item, args),
  }))
}

/** Reads one source or a list of them. */
export function readSources(
  reader: YamlReader,
  path: Path,
  value: unknown,
  args: Tool['args'],
): readonly Source[] {
  if (!Array.isArray(value)) {
    const source = readSource(reader, path, value, args)
    return source === undefined ? [] : [source]
  }
  return value.flatMap((item, index) => readSource(reader, [...path, index], item, args) ?? [])
}

function readSource(
  reader: YamlReader,
  path: Path,
  value: unknown,
  args: Tool['args'],
): Source | undefined {
  if (!isRecord(value)) return reader.fail(path, `must be a source: ${oneOf(KINDS)}`)
  const kind = KINDS.find((name) => Object.hasOwn(value, name))
  if (kind === undefined) return reader.fail(path, `names no source: write ${oneOf(KINDS)}`)
  const extra = { arg: ['as', 'member'], secrets_of: ['wide', 'member'] }[kind] ?? []
  reader.known(path, value, [kind, ...extra])
  if (kind === 'join') return readJoin(reader, [...path, kind], value[kind], args)
  const name = reader.text([...path, kind], value[kind])
  if (name === undefined) return undefined
  switch (kind) {
    case 'binding':
      return { from: 'binding', name }
    case 'text':
      return { from: 'text', value: name }
    case 'probe': {
      const probe = reader.choice([...path, kind], name, PROBES)
      return probe && { from: 'probe', probe }
    }
    default:
      return readArgumentSource(reader, path, value, { kind, name, args })
  }
}

function readJoin(
  reader: YamlReader,
  path: Path,
  value: unknown,
  args: Tool['args'],
): Source | undefined {
  if (!Array.isArray(value) || value.length < 2) {
    return reader.fail(path, 'must be a list of two or more of `{ arg: … }`, `{ binding: … }`')
  }
  const parts = value.flatMap((item, index): JoinPart | [] => {
    const source = readSource(reader, [...path, index], item, args)
    if (source === undefined) return []
    if (source.from === 'binding') return source
    if (source.from === 'arg' && source.as === 'value' && source.member === null) {
      return { from: 'arg', arg: source.arg }
    }
    reader.fail([...path, index], 'must be `{ arg: … }` or `{ binding: … }`')
    return []
  })
  return { from: 'join', parts }
}

function readArgumentSource(
  reader: YamlReader,
  path: Path,
  value: Record<string, unknown>,
  source: { kind: string; name: string; args: Tool['args'] },
): Source | undefined {
  const { kind, name: arg } = source
  if (!source.args.has(arg)) {
    return reader.fail([...path, kind], `\`${arg}\` is not an argument of this tool`)
  }
  if (kind === 'revision') return { from: 'revision', arg }
  if (kind === 'remote') return { from: 'remote', arg }
  if (kind === 'host_of') return { from: 'host_of', arg }
  if (kind === 'collections_of') return { from: 'collections_of', arg }
  const named = value.member === undefined || reader.text([...path, 'member'], value.member)
  if (named === undefined) return undefined
  const member = named === true ? null : named
  if (kind === 'secrets_of') return { from: 'secrets_of', arg, member, wide: value.wide === true }
  const as = value.as === undefined ? 'value' : reader.choice([...path, 'as'], value.as, AS)
  return as && { from: 'arg', arg, member, as }
}
