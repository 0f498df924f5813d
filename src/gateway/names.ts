/**
 * Names that clients see. A tool or prompt is `server.name`: server names have no dot, so the first
 * dot splits it, one way only, and two servers can never present the same name (threat 31).
 */
const SERVER_NAME = /^[a-z][a-z0-9-]{0,31}$/
/** What MCP allows in a tool name; ASCII only, so no two names look alike. */
const TOOL_NAME = /^[A-Za-z0-9_.-]{1,128}$/
/** MCP: a tool name has at most 128 characters, the server's prefix included. */
const NAME_LENGTH_MAX = 128

export interface QualifiedName {
  readonly server: string
  readonly name: string
}

export function isServerName(name: string): boolean {
  return SERVER_NAME.test(name)
}

/** `server.tool`, or null for a tool that cannot be named that way: it is not listed. */
export function qualifyTool(server: string, tool: string): string | null {
  const name = `${server}.${tool}`
  return TOOL_NAME.test(tool) && name.length <= NAME_LENGTH_MAX ? name : null
}

/** Splits `server.tool`; null for everything else. */
export function splitTool(name: unknown): QualifiedName | null {
  const split = splitName(name)
  return split !== null && TOOL_NAME.test(split.name) && (name as string).length <= NAME_LENGTH_MAX
    ? split
    : null
}

/** Splits `server.name` where the second part is the upstream's business (prompt names). */
export function splitName(name: unknown): QualifiedName | null {
  if (typeof name !== 'string') return null
  const dot = name.indexOf('.')
  if (dot < 1 || dot === name.length - 1) return null
  const server = name.slice(0, dot)
  return SERVER_NAME.test(server) ? { server, name: name.slice(dot + 1) } : null
}

/** How the tools and prompts of several servers share one list of names. */
export interface Names {
  /**
   * The name of a tool as clients see it; null for a tool that cannot be named: it is not listed.
   */
  tool(server: string, tool: string): string | null
  prompt(server: string, prompt: string): string
  /** Whose tool a client means; null for what names none. */
  splitTool(name: unknown): QualifiedName | null
  splitPrompt(name: unknown): QualifiedName | null
}

export const PREFIXED: Names = {
  tool: qualifyTool,
  prompt: (server, prompt) => `${server}.${prompt}`,
  splitTool,
  splitPrompt: splitName,
}

/**
 * The upstream's own names, for a gateway with a single server (`prefix: false`). With a second one
 * they could not be told apart, so there is no way to say which names a second one gets.
 */
export function plainNames(server: string): Names {
  const isTool = (name: unknown): name is string => typeof name === 'string' && TOOL_NAME.test(name)
  return {
    tool: (_server, tool) => (isTool(tool) ? tool : null),
    prompt: (_server, prompt) => prompt,
    splitTool: (name) => (isTool(name) ? { server, name } : null),
    splitPrompt: (name) => (typeof name === 'string' && name !== '' ? { server, name } : null),
  }
}

const SENTINEL = /^=\?base64\?((?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?)\?=$/
const SENTINEL_SHAPE = /^=\?base64\?.*\?=$/
const HEADER_SAFE = /^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/

/** The value of an `Mcp-Name` or `Mcp-Param-*` header; null when its encoding is broken. */
export function decodeHeaderValue(value: string): string | null {
  if (!SENTINEL_SHAPE.test(value)) return value
  const base64 = SENTINEL.exec(value)?.[1]
  if (base64 === undefined) return null
  try {
    const bytes = Buffer.from(base64, 'base64')
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    return null
  }
}

/**
 * The same value as a header carries it: printable ASCII as it is, everything else in the sentinel.
 */
export function encodeHeaderValue(value: string): string {
  return HEADER_SAFE.test(value) && !SENTINEL_SHAPE.test(value)
    ? value
    : `=?base64?${Buffer.from(value, 'utf8').toString('base64')}?=`
}
