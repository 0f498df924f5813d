import { isMap, isScalar, isSeq, type Pair, type YAMLMap } from 'yaml'
import { ITEMS_MAX, VALUE_CHARACTERS_MAX } from './limits.ts'
import { hasHidden } from './printable.ts'
import { didYouMean } from './problem.ts'
import { type Located, type Source, type Spot, spotOf } from './source.ts'

/** One field of a map: its name, and its value as it stands in the file. */
export interface Field {
  readonly name: string
  /** Where the name stands. */
  readonly key: Spot
  readonly value: unknown
  /** Where the value stands; the name, if there is no value. */
  readonly spot: Spot
}

/** The fields of one map, read by name. */
export interface Fields {
  readonly spot: Spot
  readonly all: ReadonlyMap<string, Field>
}

/** Reads a map whose field names are free (resource types, arguments, actions). */
export function readMap(source: Source, at: Field, see: string): Fields | null {
  if (!isMap(at.value)) {
    wrongType(source, at, { wanted: 'a map', example: `${at.name}: { name: value }`, see })
    return null
  }
  const all = new Map<string, Field>()
  for (const pair of at.value.items) {
    const field = fieldOf(source, pair, at.spot, see)
    if (field !== null) all.set(field.name, field)
  }
  tooMany(source, { at, count: all.size, see })
  return { spot: at.spot, all }
}

/** Reads a map whose fields are known; another one is an error that says which is likely meant. */
export function readFields(
  source: Source,
  map: YAMLMap,
  options: { readonly of: string; readonly known: readonly string[]; readonly see: string },
): Fields {
  const spot = spotOf(map, { offset: 0, length: 1 })
  const all = new Map<string, Field>()
  for (const pair of map.items as Pair[]) {
    const field = fieldOf(source, pair, spot, options.see)
    if (field === null) continue
    if (options.known.includes(field.name)) {
      all.set(field.name, field)
      continue
    }
    const meant = didYouMean(field.name, options.known)
    source.error(field.key, {
      code: 'unknown_field',
      message: `unknown field \`${field.name}\` in ${options.of}`,
      hint: meant === null ? `known are ${options.known.join(', ')}` : `did you mean ${meant}?`,
      see: options.see,
    })
  }
  return { spot, all }
}

function fieldOf(source: Source, pair: Pair, around: Spot, see: string): Field | null {
  const key = spotOf(pair.key, around)
  if (!isScalar(pair.key) || typeof pair.key.value !== 'string' || pair.key.value === '') {
    const message = 'the name of a field must be a text'
    source.error(key, { code: 'wrong_type', message, hint: 'put it in quotes', see })
    return null
  }
  const said = { spot: key, what: 'the name of this field', see }
  if (!checkText(source, pair.key.value, said)) return null
  return { name: pair.key.value, key, value: pair.value, spot: valueSpot(pair.value, key) }
}

/** An absent value has a range of no characters behind the colon; its name says more. */
function valueSpot(value: unknown, key: Spot): Spot {
  const missing = value == null || (isScalar(value) && value.value === null && !value.source)
  return missing ? key : spotOf(value, key)
}

interface Wanted {
  readonly wanted: string
  readonly example: string
  readonly see: string
}

function wrongType(source: Source, at: Field, wanted: Wanted): null {
  const redacted = redactedAddress(at.value)
  if (redacted !== null) {
    source.error(at.spot, {
      code: 'redacted_address',
      message: `\`${redacted}\` stands where an address was removed by the page it was copied from`,
      hint: `write the real one: ${at.name}: maintainer@example.com`,
      see: wanted.see,
    })
    return null
  }
  source.error(at.spot, {
    code: 'wrong_type',
    message: `\`${at.name}\` must be ${wanted.wanted}, not ${kindOf(at.value)}`,
    hint: `write ${wanted.example}`,
    see: wanted.see,
  })
  return null
}

/** Web pages replace addresses by `[email protected]`, which YAML reads as a list of one text. */
function redactedAddress(value: unknown): string | null {
  if (!isSeq(value) || !value.flow || value.items.length !== 1) return null
  const item = value.items[0]
  const text = isScalar(item) && typeof item.value === 'string' ? item.value : ''
  return /^email[\s\u00a0]protected$/i.test(text) ? `[${text}]` : null
}

function kindOf(value: unknown): string {
  if (isMap(value)) return 'a map'
  if (isSeq(value)) return 'a list'
  if (!isScalar(value) || value.value === null) return 'nothing'
  if (typeof value.value === 'boolean') return `${value.source ?? value.value} (true or false)`
  return typeof value.value === 'string' ? 'a text' : `the number ${value.source ?? value.value}`
}

/** A text of one line. Numbers and truth values are not texts: they must be in quotes. */
export function readText(source: Source, at: Field, wanted: Wanted): Located<string> | null {
  if (!isScalar(at.value) || typeof at.value.value !== 'string')
    return wrongType(source, at, wanted)
  const value = at.value.value.trim()
  const said = { spot: at.spot, what: `\`${at.name}\``, see: wanted.see }
  if (value === '') {
    const message = `\`${at.name}\` is empty`
    source.error(at.spot, {
      code: 'empty',
      message,
      hint: `write ${wanted.example}`,
      see: wanted.see,
    })
    return null
  }
  return checkText(source, value, said) ? { value, spot: at.spot } : null
}

function checkText(
  source: Source,
  value: string,
  at: { readonly spot: Spot; readonly what: string; readonly see: string },
): boolean {
  if (value.length > VALUE_CHARACTERS_MAX) {
    const message = `${at.what} has more than ${VALUE_CHARACTERS_MAX} characters`
    source.error(at.spot, { code: 'too_long', message, hint: 'write less', see: at.see })
    return false
  }
  if (!hasHidden(value)) return true
  source.error(at.spot, {
    code: 'hidden_character',
    message: `${at.what} has a character that can't be seen, or more than one line`,
    hint: 'type it again on one line, without formatting',
    see: at.see,
  })
  return false
}

/** A list of texts, not empty. One text alone is not a list: brackets say that more can come. */
export function readTexts(
  source: Source,
  at: Field,
  wanted: { readonly example: string; readonly see: string },
): Located<string>[] | null {
  const list = { ...wanted, wanted: 'a list of texts' }
  if (!isSeq(at.value) || redactedAddress(at.value) !== null) return wrongType(source, at, list)
  if (at.value.items.length === 0) {
    source.error(at.spot, {
      code: 'empty_list',
      message: `\`${at.name}\` is an empty list`,
      hint: `write ${wanted.example}, or leave the field out`,
      see: wanted.see,
    })
    return null
  }
  tooMany(source, { at, count: at.value.items.length, see: wanted.see })
  const texts: Located<string>[] = []
  for (const item of at.value.items) {
    const field = { name: at.name, key: at.key, value: item, spot: valueSpot(item, at.spot) }
    const text = readText(source, field, { ...list, wanted: 'a list of texts' })
    if (text === null) continue
    if (texts.some((other) => other.value === text.value)) {
      const message = `\`${text.value}\` stands twice in \`${at.name}\``
      source.warn(text.spot, { code: 'repeated', message, hint: 'once is enough', see: wanted.see })
    } else texts.push(text)
  }
  return texts
}

/** A whole number written in digits, within a range. */
export function readCount(
  source: Source,
  at: Field,
  range: {
    readonly min: number
    readonly max: number
    readonly example: string
    readonly see: string
  },
): Located<number> | null {
  const wanted = { wanted: 'a whole number', example: range.example, see: range.see }
  if (!isScalar(at.value) || typeof at.value.value !== 'number')
    return wrongType(source, at, wanted)
  const value = at.value.value
  const written = at.value.source ?? String(value)
  if (!/^\d+$/.test(written) || !Number.isSafeInteger(value)) {
    source.error(at.spot, {
      code: 'bad_number',
      message: `\`${at.name}\` must be a whole number in digits, not \`${written}\``,
      hint: `write ${range.example}`,
      see: range.see,
    })
    return null
  }
  if (value >= range.min && value <= range.max) return { value, spot: at.spot }
  const most = `at most ${range.max.toLocaleString('en-US')}`
  source.error(at.spot, {
    code: 'out_of_range',
    message: `\`${at.name}\` is ${value}`,
    hint: value < range.min ? `write at least ${range.min}` : `write ${most}`,
    see: range.see,
  })
  return null
}

/** `true` or `false`. */
export function readTruth(source: Source, at: Field, see: string): Located<boolean> | null {
  if (isScalar(at.value) && typeof at.value.value === 'boolean') {
    return { value: at.value.value, spot: at.spot }
  }
  return wrongType(source, at, { wanted: 'true or false', example: `${at.name}: true`, see })
}

/** One of a few words. */
export function readWord<T extends string>(
  source: Source,
  at: Field,
  options: { readonly words: readonly T[]; readonly see: string },
): Located<T> | null {
  const words = options.words.join(', ')
  const wanted = { wanted: `one of ${words}`, example: `${at.name}: ${options.words[0]}` }
  const text = readText(source, at, { ...wanted, see: options.see })
  if (text === null) return null
  const word = options.words.find((each) => each === text.value)
  if (word !== undefined) return { value: word, spot: at.spot }
  const meant = didYouMean(text.value, options.words)
  source.error(at.spot, {
    code: 'unknown_word',
    message: `unknown \`${at.name}\` \`${text.value}\``,
    hint: meant === null ? `write one of ${words}` : `did you mean ${meant}?`,
    see: options.see,
  })
  return null
}

function tooMany(
  source: Source,
  list: { readonly at: Field; readonly count: number; readonly see: string },
): void {
  if (list.count <= ITEMS_MAX) return
  source.error(list.at.spot, {
    code: 'too_many',
    message: `\`${list.at.name}\` has ${list.count} items, more than ${ITEMS_MAX}`,
    hint: 'use a pattern such as `agent/*`',
    see: list.see,
  })
}
