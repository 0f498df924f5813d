import { isUtf8 } from 'node:buffer'
import { err, ok, type Result } from '../core/result.ts'
import { isDeeper, type JsonFault, parseStrictJson } from '../core/strict-json.ts'

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

/** Results may be trees; still far from what a stack holds when they are written again. */
const UPSTREAM_DEPTH_MAX = 1000

/** Parses what an upstream sends. Throws on what is not JSON, or nests too deep (threat 17). */
export function parseUpstream(text: string): unknown {
  if (isDeeper(text, UPSTREAM_DEPTH_MAX)) throw new SyntaxError('nested too deep')
  return JSON.parse(text)
}

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

const REFUSALS: Readonly<Record<JsonFault, readonly [code: number, message: string]>> = {
  deep: [INVALID_REQUEST, `the message nests deeper than ${JSON_DEPTH_MAX} levels`],
  syntax: [PARSE_ERROR, 'the message is not JSON'],
  inexact: [
    INVALID_REQUEST,
    'the message has a number that cannot be passed on exactly (send it as a string), ' +
      'or half a surrogate pair',
  ],
  repeated: [INVALID_REQUEST, 'the message names a member of an object twice'],
}

/**
 * Parses JSON once and strictly: valid UTF-8, bounded nesting, no member named twice, no number
 * that a double cannot hold. What is decided on is then exactly what is sent on after serialising
 * again.
 */
export function parseStrict(input: Buffer | string): Result<unknown, ReadError> {
  if (typeof input !== 'string' && !isUtf8(input)) {
    return unreadable(PARSE_ERROR, 'the message is not valid UTF-8')
  }
  const text = typeof input === 'string' ? input : input.toString('utf8')
  const parsed = parseStrictJson(text, { depthMax: JSON_DEPTH_MAX, numbers: 'exact' })
  if (parsed.ok) return parsed
  const [code, message] = REFUSALS[parsed.error.fault]
  return unreadable(code, message, parsed.error.value)
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
