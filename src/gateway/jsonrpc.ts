import { isUtf8 } from 'node:buffer'
import { err, ok, type Result } from '../core/result.ts'

/** A parsed JSON object whose members nobody has looked at. */
export type JsonObject = Record<string, unknown>
export type RequestId = string | number

export interface RpcError {
  readonly code: number
  readonly message: string
  readonly data?: unknown
}

/** What answers a request: exactly one of the two. */
export type RpcReply = { readonly result: JsonObject } | { readonly error: RpcError }

export type RpcMessage =
  | { kind: 'request'; id: RequestId; method: string; params: JsonObject }
  | { kind: 'notification'; method: string; params: JsonObject }
  | { kind: 'response'; id: RequestId; reply: RpcReply }

export const PARSE_ERROR = -32700
export const INVALID_REQUEST = -32600
export const METHOD_NOT_FOUND = -32601
export const INVALID_PARAMS = -32602
export const INTERNAL_ERROR = -32603
/** JSON-RPC's range for implementations; MCP keeps -32020…-32099 to itself. */
export const SERVER_ERROR = -32000
/** MCP 2026-07-28. */
export const HEADER_MISMATCH = -32020
export const MISSING_CLIENT_CAPABILITY = -32021
export const UNSUPPORTED_PROTOCOL_VERSION = -32022

/** Nesting that no honest message has; deeper text can exhaust the stack of whoever walks it. */
export const JSON_DEPTH_MAX = 128

export function rpcError(code: number, message: string, data?: unknown): { error: RpcError } {
  return { error: data === undefined ? { code, message } : { code, message, data } }
}

/** An error found while reading; `id` is the request's, when one could be read. */
export interface ReadError {
  readonly error: RpcError
  readonly id: RequestId | null
}

function unreadable(code: number, message: string, value?: unknown): Result<never, ReadError> {
  return err({ error: { code, message }, id: isObject(value) ? idOf(value) : null })
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function idOf(value: JsonObject): RequestId | null {
  const id = value.id
  return typeof id === 'string' || (typeof id === 'number' && Number.isSafeInteger(id)) ? id : null
}

/**
 * Counts members and measures nesting of JSON text: one member for each colon outside of strings.
 * Stops at the limit. Text that is not JSON gives some number; `JSON.parse` refuses it afterwards.
 */
function measure(text: string): { members: number; depth: number } {
  let members = 0
  let depth = 0
  let deepest = 0
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i)
    if (c === 0x22) {
      i = endOfString(text, i + 1)
    } else if (c === 0x3a) {
      members++
    } else if (c === 0x7b || c === 0x5b) {
      if (++depth > deepest) deepest = depth
      if (deepest > JSON_DEPTH_MAX) break
    } else if (c === 0x7d || c === 0x5d) {
      depth--
    }
  }
  return { members, depth: deepest }
}

/** The index of the closing quote of the string whose content starts at `start`. */
function endOfString(text: string, start: number): number {
  let quote = text.indexOf('"', start)
  while (quote !== -1) {
    let backslashes = 0
    while (text.charCodeAt(quote - 1 - backslashes) === 0x5c && quote - 1 - backslashes >= start) {
      backslashes++
    }
    if (backslashes % 2 === 0) return quote
    quote = text.indexOf('"', quote + 1)
  }
  return text.length
}

/** Members that survived parsing, or null for a value that is not what the text says. */
function countMembers(value: unknown): number | null {
  // Half a surrogate pair has no UTF-8, so it can be neither recorded nor sent on.
  if (typeof value === 'string') return value.isWellFormed() ? 0 : null
  if (typeof value === 'number') {
    return Number.isFinite(value) && (!Number.isInteger(value) || Number.isSafeInteger(value))
      ? 0
      : null
  }
  if (typeof value !== 'object' || value === null) return 0
  const list = Array.isArray(value)
  const items: unknown[] = list ? value : Object.values(value)
  if (!list && !Object.keys(value).every((name) => name.isWellFormed())) return null
  let total = list ? 0 : items.length
  for (const item of items) {
    const inner = countMembers(item)
    if (inner === null) return null
    total += inner
  }
  return total
}

/**
 * Parses JSON once and strictly: valid UTF-8, bounded nesting, no member named twice, no number
 * that a double cannot hold. What is decided on is then exactly what is sent on after serialising
 * again.
 *
 * A repeated member vanishes in `JSON.parse`, so fewer members survive than the text has colons;
 * that also finds repetitions that differ only in escapes (`"a"` and `"\u0061"`).
 */
export function parseStrict(input: Buffer | string): Result<unknown, ReadError> {
  if (typeof input !== 'string' && !isUtf8(input)) {
    return unreadable(PARSE_ERROR, 'the message is not valid UTF-8')
  }
  const text = typeof input === 'string' ? input : input.toString('utf8')
  const { members, depth } = measure(text)
  if (depth > JSON_DEPTH_MAX) {
    return unreadable(INVALID_REQUEST, `the message nests deeper than ${JSON_DEPTH_MAX} levels`)
  }
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return unreadable(PARSE_ERROR, 'the message is not JSON')
  }
  const survived = countMembers(value)
  if (survived === null) {
    const why =
      'the message has a number that cannot be passed on exactly (send it as a string), ' +
      'or half a surrogate pair'
    return unreadable(INVALID_REQUEST, why, value)
  }
  if (survived !== members) {
    return unreadable(INVALID_REQUEST, 'the message names a member of an object twice', value)
  }
  return ok(value)
}

const NO_PARAMS: JsonObject = Object.freeze({})

/** Reads one parsed value as a JSON-RPC message. */
export function readMessage(value: unknown): Result<RpcMessage, ReadError> {
  if (!isObject(value) || value.jsonrpc !== '2.0') {
    return unreadable(INVALID_REQUEST, 'not a JSON-RPC 2.0 message', value)
  }
  const { method, params } = value
  const hasId = Object.hasOwn(value, 'id')
  const id = idOf(value)
  if (typeof method !== 'string') return readResponse(value, id)
  if (hasId && id === null) {
    return unreadable(INVALID_REQUEST, '`id` must be a string or an integer')
  }
  if (params !== undefined && !isObject(params)) {
    return unreadable(INVALID_REQUEST, '`params` must be an object', value)
  }
  const given = params ?? NO_PARAMS
  return id === null
    ? ok({ kind: 'notification', method, params: given })
    : ok({ kind: 'request', id, method, params: given })
}

function readResponse(value: JsonObject, id: RequestId | null): Result<RpcMessage, ReadError> {
  const { result, error } = value
  if (id !== null && isObject(result) && error === undefined) {
    return ok({ kind: 'response', id, reply: { result } })
  }
  if (
    id !== null &&
    result === undefined &&
    isObject(error) &&
    typeof error.code === 'number' &&
    typeof error.message === 'string'
  ) {
    return ok({ kind: 'response', id, reply: { error: error as unknown as RpcError } })
  }
  return unreadable(INVALID_REQUEST, 'the message is no request, notification or response', value)
}

/** The text of a response. `null` answers a message whose id could not be read. */
export function responseText(id: RequestId | null, reply: RpcReply): string {
  return 'result' in reply
    ? JSON.stringify({ jsonrpc: '2.0', id, result: reply.result })
    : JSON.stringify({ jsonrpc: '2.0', id, error: reply.error })
}

export function requestText(id: RequestId, method: string, params: JsonObject): string {
  return JSON.stringify({ jsonrpc: '2.0', id, method, params })
}

export function notificationText(method: string, params: JsonObject | undefined): string {
  return JSON.stringify({ jsonrpc: '2.0', method, params })
}
