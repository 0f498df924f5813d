import type { IncomingHttpHeaders } from 'node:http'
import type { UpstreamTool } from './door.ts'
import { HEADER_MISMATCH, isObject, type JsonObject, type RpcError } from './jsonrpc.ts'
import { decodeHeaderValue, encodeHeaderValue, type Names } from './names.ts'

/** Declarations of one tool that are looked at; a schema with more is no honest one. */
const DECLARATIONS_MAX = 64
const HEADER_TOKEN = /^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/

/** Where a tool of a server is looked up. */
interface Tools {
  readonly names: Names
  tool(server: string, tool: string): UpstreamTool | undefined
}

/** A property that is repeated in `Mcp-Param-{name}`. */
interface Declaration {
  readonly header: string
  readonly path: readonly string[]
}

const cache = new WeakMap<UpstreamTool, readonly Declaration[]>()

/** The `x-mcp-header` declarations of a tool: properties that are reached through objects only. */
function declarationsOf(tool: UpstreamTool): readonly Declaration[] {
  const known = cache.get(tool)
  if (known !== undefined) return known
  const found: Declaration[] = []
  collect(tool.definition.inputSchema, [], found)
  cache.set(tool, found)
  return found
}

function collect(schema: unknown, path: readonly string[], found: Declaration[]): void {
  if (!isObject(schema) || !isObject(schema.properties) || path.length > 16) return
  for (const [key, property] of Object.entries(schema.properties)) {
    if (!isObject(property) || found.length >= DECLARATIONS_MAX) continue
    const header = property['x-mcp-header']
    const at = [...path, key]
    if (typeof header === 'string' && HEADER_TOKEN.test(header)) found.push({ header, path: at })
    collect(property, at, found)
  }
}

function valueAt(args: unknown, path: readonly string[]): string | null {
  let value = args
  for (const key of path) {
    if (!isObject(value) || !Object.hasOwn(value, key)) return null
    value = value[key]
  }
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean'
    ? String(value)
    : null
}

/** Threat 22: each declared argument of a call is repeated in its header, with the same value. */
export function checkParamHeaders(
  headers: IncomingHttpHeaders,
  method: string,
  params: JsonObject,
  upstreams: Tools,
): RpcError | null {
  const name = method === 'tools/call' ? upstreams.names.splitTool(params.name) : null
  const tool = name === null ? undefined : upstreams.tool(name.server, name.name)
  if (tool === undefined) return null
  for (const { header, path } of declarationsOf(tool)) {
    const expected = valueAt(params.arguments, path)
    if (expected === null) continue
    const sent = headers[`mcp-param-${header.toLowerCase()}`]
    const decoded = typeof sent === 'string' ? decodeHeaderValue(sent) : null
    // `42.0` and `42` are the same number.
    const same =
      decoded === expected ||
      (isNumber(decoded) && typeof argAt(params, path) === 'number'
        ? Number(decoded) === Number(expected)
        : false)
    if (!same) {
      const what = sent === undefined ? 'is missing' : 'differs from the body'
      return { code: HEADER_MISMATCH, message: `the header \`Mcp-Param-${header}\` ${what}` }
    }
  }
  return null
}

function isNumber(text: string | null): text is string {
  return text !== null && /^-?\d+(\.\d+)?$/.test(text)
}

function argAt(params: JsonObject, path: readonly string[]): unknown {
  let value: unknown = params.arguments
  for (const key of path) value = isObject(value) ? value[key] : undefined
  return value
}

/** The `Mcp-Param-*` headers of a call that we send to an upstream of the modern era. */
export function paramHeaders(tool: UpstreamTool, params: JsonObject): Record<string, string> {
  const headers: Record<string, string> = {}
  for (const { header, path } of declarationsOf(tool)) {
    const value = valueAt(params.arguments, path)
    if (value !== null) headers[`mcp-param-${header.toLowerCase()}`] = encodeHeaderValue(value)
  }
  return headers
}
