import type { IncomingMessage, ServerResponse } from 'node:http'
import { PROOF_ALGORITHMS } from '../badge/dpop.ts'
import type { Presented } from '../badge/reader.ts'
import { answer } from './dispatch.ts'
import type { Door, Principal } from './door.ts'
import type { Gate } from './gate.ts'
import {
  checkHost,
  type HostRules,
  presentedBadge,
  type Refusal,
  readBody,
  repeatedHeader,
} from './http-guard.ts'
import {
  HEADER_MISMATCH,
  INTERNAL_ERROR,
  INVALID_PARAMS,
  INVALID_REQUEST,
  isObject,
  parseStrict,
  type RequestId,
  type RpcError,
  type RpcMessage,
  readMessage,
  responseText,
  rpcError,
} from './jsonrpc.ts'
import { type LegacyPost, LegacyServer } from './legacy.ts'
import { Subscriptions } from './listen.ts'
import {
  checkHeaders,
  checkVersion,
  claimsModern,
  discover,
  type Envelope,
  isModernVersion,
  modernStatus,
  readEnvelope,
  toModern,
} from './modern.ts'
import { checkParamHeaders } from './param-headers.ts'
import { type Accepts, acceptsOf, PostAnswer, sendJson, sendStatus } from './sse.ts'
import type { Upstreams } from './upstreams.ts'

/** Arguments such as whole files fit; more would let one client fill the memory. */
const BODY_BYTES_MAX = 8 * 1024 * 1024

export interface McpHandlerOptions {
  readonly serverInfo: { readonly name: string; readonly version: string }
  /** RFC 9728 metadata of this resource; named in the challenge of a 401. */
  readonly resourceMetadataUrl: string | null
  /** Where else than on loopback this gateway is reached, and from which pages. */
  readonly hostRules?: HostRules
  readonly bodyBytesMax?: number
}

export interface McpHandler {
  /** Serves one request of the MCP endpoint; both eras, any HTTP method. */
  (req: IncomingMessage, res: ServerResponse): void
  /** Ends sessions and streams. Requests in flight are answered. */
  close(): void
}

/** The MCP endpoint of the gateway, to be mounted on `node:http` at `/mcp`. */
export function createMcpHandler(
  door: Door,
  upstreams: Upstreams,
  options: McpHandlerOptions,
): McpHandler {
  const endpoint = new Endpoint({ door, upstreams, serverInfo: options.serverInfo }, options)
  const handle = (req: IncomingMessage, res: ServerResponse): void => {
    endpoint.serve(req, res).catch(() => {
      sendJson(res, 500, responseText(null, rpcError(INTERNAL_ERROR, 'the gateway failed')))
      if (!res.writableEnded) res.destroy()
    })
  }
  return Object.assign(handle, { close: () => endpoint.close() })
}

const LOOPBACK_ONLY: HostRules = { hosts: [], origins: [] }

class Endpoint {
  readonly #gate: Gate
  readonly #hostRules: HostRules
  readonly #bodyBytesMax: number
  readonly #metadataUrl: string | null
  readonly #legacy: LegacyServer
  readonly #subscriptions: Subscriptions

  constructor(gate: Gate, options: McpHandlerOptions) {
    this.#gate = gate
    this.#hostRules = options.hostRules ?? LOOPBACK_ONLY
    this.#bodyBytesMax = options.bodyBytesMax ?? BODY_BYTES_MAX
    this.#metadataUrl = options.resourceMetadataUrl
    this.#legacy = new LegacyServer(gate)
    this.#subscriptions = new Subscriptions(gate)
  }

  close(): void {
    this.#legacy.close()
    this.#subscriptions.close()
  }

  async serve(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const refusal = checkHost(req, this.#hostRules)
    if (refusal !== null) return refuse(res, refusal)
    const repeated = repeatedHeader(req)
    if (repeated !== null) {
      const error = { code: HEADER_MISMATCH, message: `the header \`${repeated}\` comes twice` }
      return sendJson(res, 400, responseText(null, { error }))
    }
    const presented = presentedBadge(req)
    const found = this.#gate.door.identify(presented)
    const principal = found instanceof Promise ? await found : found
    if (principal === null) return this.#challenge(res, presented)
    if (req.method === 'POST') return this.#post(req, res, principal)
    const post = legacyPost(req, res, principal, acceptsOf(req))
    const modern = post.version !== null && isModernVersion(post.version)
    // The modern era has POST only; the legacy era uses GET and DELETE within a session.
    if (modern || post.sessionId === null) return sendStatus(res, 405, { allow: 'POST' })
    if (req.method === 'GET') return this.#legacy.get(req, post)
    if (req.method === 'DELETE') return this.#legacy.delete(post)
    return sendStatus(res, 405, { allow: 'GET, POST, DELETE' })
  }

  /** Threat 28: without a valid badge there is no identity, and nothing further is looked at. */
  #challenge(res: ServerResponse, presented: Presented | null): void {
    const parts: string[] = []
    if (presented !== null) parts.push('error="invalid_token"')
    if (this.#metadataUrl !== null) parts.push(`resource_metadata="${this.#metadataUrl}"`)
    const isProof = presented?.scheme === 'dpop'
    // RFC 9449 §7.1.
    if (isProof) parts.push(`algs="${PROOF_ALGORITHMS.join(' ')}"`)
    const challenge = [isProof ? 'DPoP' : 'Bearer', parts.join(', ')].join(' ').trim()
    const message = 'no valid badge: it is missing, unknown, expired, revoked or without its proof'
    const body = responseText(null, rpcError(INVALID_REQUEST, message))
    sendJson(res, 401, body, { 'www-authenticate': challenge, connection: 'close' })
  }

  async #post(req: IncomingMessage, res: ServerResponse, principal: Principal): Promise<void> {
    const type = req.headers['content-type']?.split(';', 1)[0]?.trim().toLowerCase()
    if (type !== 'application/json') {
      return refuse(res, { status: 415, message: 'the content type must be application/json' })
    }
    const accepts = acceptsOf(req)
    if (!accepts.json && !accepts.stream) {
      const message = 'the client must accept application/json or text/event-stream'
      return refuse(res, { status: 406, message })
    }
    const body = await readBody(req, this.#bodyBytesMax)
    if (!body.ok) return refuse(res, body.error)
    const parsed = parseStrict(body.value)
    if (!parsed.ok) return reject(res, 400, parsed.error.id, parsed.error.error)
    const version = req.headers['mcp-protocol-version']
    const modernHeader = typeof version === 'string' && isModernVersion(version)
    if (Array.isArray(parsed.value)) {
      const modern = modernHeader || parsed.value.some(isModernItem)
      if (modern) return refuse(res, { status: 400, message: 'this revision has no batches' })
      return this.#legacy.post(legacyPost(req, res, principal, accepts), parsed.value)
    }
    const { params } = isObject(parsed.value) ? parsed.value : {}
    if (modernHeader || (isObject(params) && claimsModern(params))) {
      return this.#modern(req, res, principal, accepts, parsed.value)
    }
    return this.#legacy.post(legacyPost(req, res, principal, accepts), parsed.value)
  }

  async #modern(
    req: IncomingMessage,
    res: ServerResponse,
    principal: Principal,
    accepts: Accepts,
    body: unknown,
  ): Promise<void> {
    const read = readMessage(body)
    if (!read.ok) return reject(res, 400, read.error.id, read.error.error)
    const message = read.value
    if (message.kind !== 'request') return this.#modernOther(res, message)
    const { id, method, params } = message
    if (method === 'initialize' && !claimsModern(params)) {
      const why = '`initialize` belongs to older revisions than the header `MCP-Protocol-Version`'
      return reject(res, 400, id, { code: HEADER_MISMATCH, message: why })
    }
    const envelope = readEnvelope(params)
    if (!envelope.ok) return reject(res, 400, id, envelope.error)
    const wrong =
      checkHeaders(req.headers, method, params) ??
      checkVersion(envelope.value) ??
      checkParamHeaders(req.headers, method, params, this.#gate.upstreams)
    if (wrong !== null) return reject(res, 400, id, wrong)
    // Errors of this era have a status of their own, which a stream could not carry.
    const out = new PostAnswer(res, { ...accepts, prefersStream: false })
    if (method === 'subscriptions/listen') {
      const error = this.#subscriptions.listenHttp(principal, message, res, out)
      if (error !== null) out.finish(responseText(id, error), 200)
      return
    }
    await this.#answerModern(req, res, principal, message, envelope.value, out)
  }

  async #answerModern(
    req: IncomingMessage,
    res: ServerResponse,
    principal: Principal,
    message: Extract<RpcMessage, { kind: 'request' }>,
    { clientCapabilities }: Envelope,
    out: PostAnswer,
  ): Promise<void> {
    const { id, method, params } = message
    const abort = new AbortController()
    // In this era a client cancels by closing the stream.
    res.once('close', () => {
      if (!res.writableFinished) abort.abort()
    })
    const reply =
      method === 'server/discover'
        ? await discover(this.#gate)
        : await answer(this.#gate, {
            principal,
            era: 'modern',
            id,
            method,
            params,
            idempotencyKey: idempotencyKey(req),
            clientCapabilities,
            session: null,
            signal: abort.signal,
            push: (text) => out.notify(text),
          })
    const modern = toModern(method, reply)
    out.finish(responseText(id, modern), modernStatus(modern))
  }

  /** A modern client sends nothing but requests; what looks like one and has no id is refused. */
  #modernOther(res: ServerResponse, message: Exclude<RpcMessage, { kind: 'request' }>): void {
    if (message.kind === 'notification' && message.method.startsWith('notifications/')) {
      return sendStatus(res, 202)
    }
    const why = 'this revision takes requests with an `id` only'
    return reject(res, 400, null, { code: INVALID_REQUEST, message: why })
  }
}

function isModernItem(item: unknown): boolean {
  return isObject(item) && isObject(item.params) && claimsModern(item.params)
}

function legacyPost(
  req: IncomingMessage,
  res: ServerResponse,
  principal: Principal,
  accepts: Accepts,
): LegacyPost {
  const sessionId = headerOf(req, 'mcp-session-id')
  const version = headerOf(req, 'mcp-protocol-version')
  return { res, principal, accepts, sessionId, version, idempotencyKey: idempotencyKey(req) }
}

function headerOf(req: IncomingMessage, name: string): string | null {
  const value = req.headers[name]
  return typeof value === 'string' ? value : null
}

function idempotencyKey(req: IncomingMessage): string | null {
  return headerOf(req, 'idempotency-key')
}

function reject(res: ServerResponse, status: number, id: RequestId | null, error: RpcError): void {
  sendJson(res, status, responseText(id, { error }))
}

/** Refuses without having read the body, so the connection cannot be used again. */
function refuse(res: ServerResponse, { status, message }: Refusal): void {
  const code = status === 413 ? INVALID_PARAMS : INVALID_REQUEST
  sendJson(res, status, responseText(null, rpcError(code, message)), { connection: 'close' })
}
