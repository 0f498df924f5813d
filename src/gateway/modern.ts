import type { IncomingHttpHeaders } from 'node:http'
import { err, ok, type Result } from '../core/result.ts'
import type { Gate } from './gate.ts'
import {
  HEADER_MISMATCH,
  INTERNAL_ERROR,
  INVALID_PARAMS,
  isObject,
  type JsonObject,
  METHOD_NOT_FOUND,
  MISSING_CLIENT_CAPABILITY,
  type RpcError,
  type RpcReply,
  UNSUPPORTED_PROTOCOL_VERSION,
} from './jsonrpc.ts'
import { offer } from './listings.ts'
import { decodeHeaderValue } from './names.ts'
import { META_CLIENT_CAPABILITIES, META_VERSION } from './negotiate.ts'
import { MODERN_VERSION } from './upstream-link.ts'

const META_SERVER_INFO = 'io.modelcontextprotocol/serverInfo'
/** How long a client may keep a listing; what it shows ends with the lease at the latest. */
const LISTING_TTL_MS = 1_000

/** Results that carry `ttlMs` and `cacheScope`. */
const CACHEABLE = new Set([
  'server/discover',
  'tools/list',
  'prompts/list',
  'resources/list',
  'resources/templates/list',
  'resources/read',
])

/** Which member of `params` the header `Mcp-Name` repeats. */
const NAME_SOURCE: Readonly<Record<string, string>> = {
  'tools/call': 'name',
  'prompts/get': 'name',
  'resources/read': 'uri',
  'tasks/get': 'taskId',
  'tasks/update': 'taskId',
  'tasks/cancel': 'taskId',
}

/** Revisions are dates, so they sort; the modern era begins with 2026-07-28. */
export function isModernVersion(version: string): boolean {
  return /^\d{4}-\d{2}-\d{2}$/.test(version) && version >= MODERN_VERSION
}

/** Whether a message says that it is of the modern era, validly or not. */
export function claimsModern(params: JsonObject): boolean {
  return isObject(params._meta) && Object.hasOwn(params._meta, META_VERSION)
}

/** What a valid request of the modern era says about the client. */
export interface Envelope {
  readonly version: string
  readonly clientCapabilities: JsonObject
}

/** Reads the envelope of a request. Its headers and its version are checked next. */
export function readEnvelope(params: JsonObject): Result<Envelope, RpcError> {
  const meta = isObject(params._meta) ? params._meta : {}
  const version = meta[META_VERSION]
  if (typeof version !== 'string') return err(invalidEnvelope(META_VERSION))
  const clientCapabilities = meta[META_CLIENT_CAPABILITIES]
  if (!isObject(clientCapabilities)) return err(invalidEnvelope(META_CLIENT_CAPABILITIES))
  return ok({ version, clientCapabilities })
}

/** Refuses a version that is not served, and says which is. */
export function checkVersion({ version }: Envelope): RpcError | null {
  if (version === MODERN_VERSION) return null
  const data = { supported: [MODERN_VERSION], requested: version }
  return { code: UNSUPPORTED_PROTOCOL_VERSION, message: 'unsupported protocol version', data }
}

function invalidEnvelope(key: string): RpcError {
  const message = `\`_meta\` must carry \`${key}\` in this protocol revision`
  return { code: INVALID_PARAMS, message, data: { envelope: { key } } }
}

/**
 * Checks that the headers say what the body says (threat 21). The body is decided on; but whoever
 * stands between has acted on the headers, so a request that says two things is refused.
 */
export function checkHeaders(
  headers: IncomingHttpHeaders,
  method: string,
  params: JsonObject,
): RpcError | null {
  const meta = isObject(params._meta) ? params._meta : {}
  const wrong =
    compare('MCP-Protocol-Version', one(headers['mcp-protocol-version']), meta[META_VERSION]) ??
    compare('Mcp-Method', one(headers['mcp-method']), method)
  if (wrong !== null) return wrong
  const source = Object.hasOwn(NAME_SOURCE, method) ? NAME_SOURCE[method] : undefined
  if (source === undefined) return null
  const header = one(headers['mcp-name'])
  // A body without the member is refused for that, with better words.
  if (typeof params[source] !== 'string') return null
  const decoded = header === undefined ? undefined : decodeHeaderValue(header)
  if (decoded === null) return mismatch('`Mcp-Name` is not valid Base64 of UTF-8')
  return compare('Mcp-Name', decoded, params[source])
}

function compare(name: string, header: string | undefined, body: unknown): RpcError | null {
  if (header === undefined) return mismatch(`the header \`${name}\` is missing`)
  return header === body ? null : mismatch(`the header \`${name}\` differs from the body`)
}

function mismatch(message: string): RpcError {
  return { code: HEADER_MISMATCH, message }
}

/** Node joins repeated headers of this kind with commas, which then equal nothing in the body. */
function one(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value.join(', ') : value
}

/** `server/discover`. */
export async function discover(gate: Gate): Promise<RpcReply> {
  const { capabilities, instructions } = await offer(gate, 'modern')
  const _meta = { [META_SERVER_INFO]: gate.serverInfo }
  return { result: { supportedVersions: [MODERN_VERSION], capabilities, instructions, _meta } }
}

/**
 * A reply as the modern era wants it: results say of which type they are, and those that may be
 * cached only by the one who asked (threat 25); codes that the revision has retired are replaced.
 */
export function toModern(method: string, reply: RpcReply): RpcReply {
  if ('error' in reply) {
    const { code, message, data } = reply.error
    if (code === -32002) return { error: { code: INVALID_PARAMS, message, data } }
    if (code === -32042) return { error: { code: INTERNAL_ERROR, message, data } }
    return reply
  }
  const { result } = reply
  const typed = result.resultType === undefined ? { resultType: 'complete', ...result } : result
  if (!CACHEABLE.has(method) || typed.resultType !== 'complete') return { result: typed }
  const given = typeof typed.ttlMs === 'number' ? typed.ttlMs : LISTING_TTL_MS
  const ttlMs = Math.min(given, LISTING_TTL_MS)
  return { result: { ...typed, ttlMs, cacheScope: 'private' } }
}

/** The HTTP status of a reply that is sent as plain JSON. */
export function modernStatus(reply: RpcReply): number {
  if (!('error' in reply)) return 200
  switch (reply.error.code) {
    case METHOD_NOT_FOUND:
      return 404
    case HEADER_MISMATCH:
    case MISSING_CLIENT_CAPABILITY:
    case UNSUPPORTED_PROTOCOL_VERSION:
      return 400
    default:
      return 200
  }
}
