import { TXN_HEADER } from '../badge/txn.ts'
import { isObject, type JsonObject } from './jsonrpc.ts'
import {
  type Introduction,
  META_CLIENT_CAPABILITIES,
  META_CLIENT_INFO,
  META_VERSION,
} from './negotiate.ts'
import { type HttpConfig, HttpLink } from './upstream-http.ts'
import type { CallOptions, Link } from './upstream-link.ts'
import { type StdioConfig, StdioLink } from './upstream-stdio.ts'

/** How a server is reached, and what holds for it alone. */
export type UpstreamConfig = (StdioConfig | HttpConfig) & {
  /** False: its tools and prompts keep their own names. Only for a server that is alone. */
  readonly prefix?: boolean
  /**
   * Keeps the roots of clients from it. A server that takes them as the folders it works in would
   * then touch others than its catalog is bound to.
   */
  readonly withholdRoots?: boolean
  /** Its calls carry a transaction token, with which it can refuse by itself. */
  readonly envelope?: boolean
}

/** For whom the transaction tokens of a server are: its URL as configured, or its name. */
export function audienceOf(server: string, config: UpstreamConfig): string {
  if (config.kind === 'stdio') return server
  // A query can hold a secret.
  const url = URL.parse(config.url)
  return url === null ? server : `${url.origin}${url.pathname}`
}

/** A connection that has not been opened; an Error for a configuration that leads nowhere. */
export function linkTo(config: UpstreamConfig): Link | Error {
  if (config.kind === 'stdio') return new StdioLink(config)
  try {
    return new HttpLink(config)
  } catch {
    return new Error('its URL is not one')
  }
}

/** A copy of `params` with `_meta` for this hop. */
export function forUpstream(
  params: JsonObject,
  introduction: Introduction,
  options: CallOptions,
): JsonObject {
  const { envelope, era } = introduction.protocol
  const given = isObject(params._meta) ? params._meta : null
  if (given === null && era === 'legacy') return { ...params }
  const meta: JsonObject = { ...given }
  delete meta.progressToken
  delete meta[META_VERSION]
  delete meta[META_CLIENT_INFO]
  delete meta[META_CLIENT_CAPABILITIES]
  for (const key of Object.keys(meta)) if (isClaim(key)) delete meta[key]
  if (era === 'modern') {
    Object.assign(meta, envelope)
    if (options.clientCapabilities !== undefined) {
      meta[META_CLIENT_CAPABILITIES] = options.clientCapabilities
    }
  }
  return { ...params, _meta: meta }
}

/**
 * Members that say who somebody is, or what they may do. Only the gateway says that to a server
 * (threats 44, 66): as `daypass/…`, or not at all.
 */
function isClaim(key: string): boolean {
  const name = key.toLowerCase()
  return name.startsWith('daypass/') || CREDENTIALS.has(name)
}

const CREDENTIALS = new Set(['authorization', 'cookie', 'dpop', 'proxy-authorization', TXN_HEADER])
