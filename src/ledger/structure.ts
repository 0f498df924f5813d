import { canonicalJson } from '../core/canonical-json.ts'
import type { Entry } from '../core/entry.ts'
import type { Json } from '../core/id.ts'
import { err, ok, type Result } from '../core/result.ts'
import { type JsonFault, parseStrictJson } from '../core/strict-json.ts'
import { ADDENDUM_FORMAT, type AddendumBody, FORMAT_VERSION, RECEIPT_FORMAT } from './receipt.ts'
import type { Signature } from './sign.ts'

/** A receipt is a file from anywhere: a larger one is refused before it costs anything. */
export const RECEIPT_BYTES_MAX = 64 * 1_048_576
/** Every value of the JSON; a receipt of 10,000 calls has about 1,000,000. */
const VALUES_MAX = 8_000_000
/** Deeper than any argument; recursion stays far from the end of the stack. */
const DEPTH_MAX = 1000

/** The outer shape holds; nothing else is known yet, least of all who wrote it. */
export interface UnverifiedReceipt {
  readonly format: string
  readonly version: number
  readonly body: Readonly<Record<string, Json>>
  /** Each has `seq`, `at` and `type`; the rest is whatever it is. */
  readonly entries: readonly Entry[]
  readonly head: string
  readonly prompts: Readonly<Record<string, Json>>
  readonly signature: Signature
}

export type UnverifiedAddendum = Omit<UnverifiedReceipt, 'prompts' | 'body'> & {
  readonly body: AddendumBody
}

export interface Misshapen {
  /** `version`: another build may read it. */
  readonly kind: 'malformed' | 'version'
  readonly message: string
}

/**
 * Parses the text of a receipt. A member that stands twice in one object is refused: two readers
 * could each see another one.
 */
export function parseReceipt(text: string): Result<Json, string> {
  if (Buffer.byteLength(text) > RECEIPT_BYTES_MAX) {
    return err(`larger than ${RECEIPT_BYTES_MAX} bytes`)
  }
  // A lease may constrain an argument with any number, and a receipt repeats it.
  const parsed = parseStrictJson(text, { depthMax: DEPTH_MAX, numbers: 'any' })
  return parsed.ok ? ok(parsed.value as Json) : err(FAULTS[parsed.error.fault])
}

const FAULTS: Readonly<Record<JsonFault, string>> = {
  deep: `nested more than ${DEPTH_MAX} deep`,
  syntax: 'not JSON',
  inexact: 'half a surrogate pair',
  repeated: 'a member of an object stands twice',
}

const HEX_256 = /^[0-9a-f]{64}$/

/** Checks the outer shape of a receipt. Every member is named; another one would not be signed. */
export function readReceipt(json: unknown): Result<UnverifiedReceipt, Misshapen> {
  return read(json, RECEIPT_FORMAT, {
    body: isObject,
    entries: isEntries,
    head: isHash,
    prompts: isObject,
    signature: isSignature,
  }) as Result<UnverifiedReceipt, Misshapen>
}

export function readAddendum(json: unknown): Result<UnverifiedAddendum, Misshapen> {
  return read(json, ADDENDUM_FORMAT, {
    body: isAddendumBody,
    entries: isEntries,
    head: isHash,
    signature: isSignature,
  }) as Result<UnverifiedAddendum, Misshapen>
}

type Is = (value: unknown) => boolean

function read(
  json: unknown,
  format: string,
  members: Readonly<Record<string, Is>>,
): Result<unknown, Misshapen> {
  const fail = (message: string) => err({ kind: 'malformed', message } as const)
  const fault = jsonFault(json)
  if (fault !== null) return fail(fault)
  if (!isObject(json)) return fail('not a JSON object')
  if (json.format !== format) return fail(`not a ${format}: the member "format" says so`)
  if (json.version !== FORMAT_VERSION) {
    return Number.isSafeInteger(json.version)
      ? err({ kind: 'version', message: `format version ${json.version} is not known here` })
      : fail('the member "version" is not a number')
  }
  const names = ['format', 'version', ...Object.keys(members)]
  const extra = Object.keys(json).find((name) => !names.includes(name))
  if (extra !== undefined) return fail(`the member ${JSON.stringify(extra)} does not belong here`)
  for (const [name, is] of Object.entries(members)) {
    if (!Object.hasOwn(json, name)) return fail(`the member "${name}" is missing`)
    if (!is(json[name])) return fail(`the member "${name}" is not what it must be`)
  }
  return ok(json)
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isHash(value: unknown): boolean {
  return typeof value === 'string' && HEX_256.test(value)
}

function isEntries(value: unknown): boolean {
  return (
    Array.isArray(value) &&
    value.length > 0 &&
    value.every(
      (entry) =>
        isObject(entry) &&
        Number.isSafeInteger(entry.seq) &&
        Number.isSafeInteger(entry.at) &&
        typeof entry.type === 'string',
    )
  )
}

function isSignature(value: unknown): boolean {
  return (
    isObject(value) &&
    Object.keys(value).length === 3 &&
    value.alg === 'Ed25519' &&
    typeof value.kid === 'string' &&
    typeof value.value === 'string'
  )
}

function isAddendumBody(value: unknown): boolean {
  return (
    isObject(value) &&
    Number.isSafeInteger(value.number) &&
    isHash(value.follows) &&
    Array.isArray(value.outcomes)
  )
}

/** Why a value is not JSON of bearable size, or null. Does not recurse: it guards what does. */
function jsonFault(value: unknown): string | null {
  let level: unknown[] = [value]
  let seen = 1
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > DEPTH_MAX) return `nested more than ${DEPTH_MAX} deep`
    const next: unknown[] = []
    for (const each of level) {
      const children = childrenOf(each)
      if (children === null) return 'not JSON'
      seen += children.length
      if (seen > VALUES_MAX) return `more than ${VALUES_MAX} values`
      for (const child of children) next.push(child)
    }
    level = next
  }
  return null
}

/** The values inside a JSON value; null if it is none. */
function childrenOf(value: unknown): readonly unknown[] | null {
  if (typeof value !== 'object' || value === null) return isScalar(value) ? [] : null
  if (Array.isArray(value)) return value
  const prototype = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== null) return null
  return Object.keys(value).every((name) => name.isWellFormed()) ? Object.values(value) : null
}

function isScalar(value: unknown): boolean {
  try {
    canonicalJson(value)
    return true
  } catch {
    return false
  }
}
