import { isObject, type JsonObject, UNSUPPORTED_PROTOCOL_VERSION } from './jsonrpc.ts'
import {
  type Failure,
  LEGACY_VERSIONS,
  type Link,
  MODERN_VERSION,
  type Protocol,
  type UpstreamReply,
} from './upstream-link.ts'

export const META_VERSION = 'io.modelcontextprotocol/protocolVersion'
export const META_CLIENT_INFO = 'io.modelcontextprotocol/clientInfo'
export const META_CLIENT_CAPABILITIES = 'io.modelcontextprotocol/clientCapabilities'

/** A server that starts slowly has this long to answer; one that ignores the question is legacy. */
const DISCOVER_TIMEOUT_MS = 15_000
/** Some servers are downloaded when they are first started. */
const INITIALIZE_TIMEOUT_MS = 60_000

export interface ClientInfo {
  readonly name: string
  readonly version: string
}

/** What an upstream is and can do. */
export interface Introduction {
  readonly protocol: Protocol
  readonly capabilities: JsonObject
  readonly serverInfo: JsonObject
  readonly instructions: string | null
}

export type Negotiated =
  | { readonly kind: 'ok'; readonly introduction: Introduction }
  /** The server died of the modern question: start it again and ask the legacy one only. */
  | { readonly kind: 'retry_legacy' }
  | { readonly kind: 'failed'; readonly message: string }

/** The envelope of the modern era; what a client can be asked is said with each of its requests. */
export function envelopeFor(client: ClientInfo): JsonObject {
  return {
    [META_VERSION]: MODERN_VERSION,
    [META_CLIENT_INFO]: client,
    [META_CLIENT_CAPABILITIES]: {},
  }
}

/**
 * Finds out which era an upstream speaks: `server/discover` first, and `initialize` when the answer
 * is no modern evidence, as the specification's client does.
 */
export async function negotiate(
  link: Link,
  client: ClientInfo,
  options: {
    readonly legacyOnly: boolean
    /** What a client of the legacy era can be asked; of the modern era each request says it. */
    readonly capabilities: JsonObject
  },
): Promise<Negotiated> {
  const { legacyOnly, capabilities } = options
  if (legacyOnly) return initialize(link, client, capabilities)
  const envelope = envelopeFor(client)
  const protocol: Protocol = { era: 'modern', version: MODERN_VERSION, envelope }
  link.setProtocol(protocol)
  const params = { _meta: envelope }
  const reply = await link.request('server/discover', params, { timeoutMs: DISCOVER_TIMEOUT_MS })
  const verdict = classify(reply, link.kind)
  if (verdict === 'legacy') return initialize(link, client, capabilities)
  if (verdict === 'retry_legacy') return { kind: 'retry_legacy' }
  if (verdict.kind === 'failed') return verdict
  return { kind: 'ok', introduction: introduce(protocol, verdict.result) }
}

type Verdict =
  | 'legacy'
  | 'retry_legacy'
  | { readonly kind: 'modern'; readonly result: JsonObject }
  | { readonly kind: 'failed'; readonly message: string }

function classify(reply: UpstreamReply, kind: Link['kind']): Verdict {
  if ('failure' in reply) return classifyFailure(reply.failure, kind)
  if ('result' in reply) {
    const versions = reply.result.supportedVersions
    return Array.isArray(versions) && versions.includes(MODERN_VERSION)
      ? { kind: 'modern', result: reply.result }
      : 'legacy'
  }
  const { code, message, data } = reply.error
  const supported = isObject(data) && Array.isArray(data.supported) ? data.supported : []
  const newer = supported.filter((version) => typeof version === 'string' && version > '2026')
  if (code === UNSUPPORTED_PROTOCOL_VERSION && newer.length > 0) {
    const why = `it speaks ${newer.join(', ')}, daypass ${MODERN_VERSION} and older: ${message}`
    return { kind: 'failed', message: why }
  }
  return 'legacy'
}

function classifyFailure(failure: Failure, kind: Link['kind']): Verdict {
  const { why, status = 0, message } = failure
  if (kind === 'stdio') {
    if (why === 'timeout') return 'legacy'
    return why === 'disconnected' ? 'retry_legacy' : { kind: 'failed', message }
  }
  if (why === 'refused' && status >= 400 && status !== 401 && status !== 403) return 'legacy'
  const hint = status === 401 || status === 403 ? ': check the headers configured for it' : ''
  return { kind: 'failed', message: message + hint }
}

async function initialize(
  link: Link,
  client: ClientInfo,
  capabilities: JsonObject,
): Promise<Negotiated> {
  const newest = LEGACY_VERSIONS[0] as string
  link.setProtocol({ era: 'legacy', version: newest, envelope: {} })
  const params = { protocolVersion: newest, capabilities, clientInfo: client }
  const reply = await link.request('initialize', params, { timeoutMs: INITIALIZE_TIMEOUT_MS })
  if ('failure' in reply) return { kind: 'failed', message: reply.failure.message }
  if ('error' in reply) {
    return { kind: 'failed', message: `it refused \`initialize\`: ${reply.error.message}` }
  }
  const version = reply.result.protocolVersion
  if (typeof version !== 'string' || !LEGACY_VERSIONS.includes(version)) {
    return { kind: 'failed', message: `it speaks an unknown protocol version: ${String(version)}` }
  }
  const protocol: Protocol = { era: 'legacy', version, envelope: {} }
  link.setProtocol(protocol)
  link.notify('notifications/initialized')
  return { kind: 'ok', introduction: introduce(protocol, reply.result) }
}

function introduce(protocol: Protocol, result: JsonObject): Introduction {
  const meta = isObject(result._meta) ? result._meta : {}
  const info = result.serverInfo ?? meta['io.modelcontextprotocol/serverInfo']
  return {
    protocol,
    capabilities: isObject(result.capabilities) ? result.capabilities : {},
    serverInfo: isObject(info) ? info : {},
    instructions: typeof result.instructions === 'string' ? result.instructions : null,
  }
}
