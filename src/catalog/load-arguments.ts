import type { Json } from '../core/id.ts'
import { ARGUMENT_TYPES, type Argument, type ArgumentType, type Tool } from './catalog.ts'
import { isRecord, oneOf, type Path, type YamlReader } from './yaml-reader.ts'

/**
 * Reads `args`: `path: worktree!` is a required argument, `force: boolean` an optional one that is
 * false when absent, `{ one_of: [list, create], default: list }` a word of a closed set.
 */
export function readArguments(reader: YamlReader, path: Path, value: unknown): Tool['args'] {
  const args = new Map<string, Argument>()
  if (value === undefined || value === null) return args
  for (const [name, item] of Object.entries(reader.map(path, value) ?? {})) {
    const argument =
      typeof item === 'string'
        ? readShort(reader, [...path, name], item)
        : readLong(reader, [...path, name], item)
    if (argument !== undefined) args.set(name, argument)
  }
  return args
}

function readShort(reader: YamlReader, path: Path, text: string): Argument | undefined {
  const required = text.endsWith('!')
  const types = readTypes(reader, path, required ? text.slice(0, -1) : text)
  if (types === undefined) return undefined
  return { types, required, oneOf: null, default: standard(types) }
}

/**
 * A boolean that is absent is false on every server met so far; another default is written down.
 */
function standard(types: readonly ArgumentType[]): Json | undefined {
  return types.length === 1 && types[0] === 'boolean' ? false : undefined
}

function readTypes(
  reader: YamlReader,
  path: Path,
  text: string,
): readonly ArgumentType[] | undefined {
  const types = text.split('|').map((type) => type.trim())
  for (const type of types) {
    if (!(ARGUMENT_TYPES as readonly string[]).includes(type)) {
      return reader.fail(path, `unknown argument type \`${type}\`: write ${oneOf(ARGUMENT_TYPES)}`)
    }
  }
  return types as ArgumentType[]
}

function readLong(reader: YamlReader, path: Path, value: unknown): Argument | undefined {
  if (!isRecord(value)) return reader.fail(path, 'must be a type, e.g. `string!`, or a map')
  reader.known(path, value, ['type', 'one_of', 'default', 'required'])
  const oneOfWords = readWords(reader, [...path, 'one_of'], value.one_of)
  const written = value.type ?? (oneOfWords === null ? undefined : 'string')
  const text = reader.text([...path, 'type'], written)
  const types = text === undefined ? undefined : readTypes(reader, [...path, 'type'], text)
  if (types === undefined) return undefined
  return {
    types,
    required: value.required === true,
    oneOf: oneOfWords,
    default: (value.default as Json | undefined) ?? standard(types),
  }
}

function readWords(reader: YamlReader, path: Path, value: unknown): readonly string[] | null {
  if (value === undefined) return null
  if (Array.isArray(value) && value.length > 0 && value.every((w) => typeof w === 'string')) {
    return value as string[]
  }
  reader.fail(path, 'must be a list of words')
  return null
}
