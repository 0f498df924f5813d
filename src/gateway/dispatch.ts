import type { Door, Principal } from './door.ts'
import type { Era } from './era.ts'
import type { Gate } from './gate.ts'
import {
  INTERNAL_ERROR,
  INVALID_PARAMS,
  isObject,
  type JsonObject,
  METHOD_NOT_FOUND,
  type RequestId,
  type RpcReply,
  rpcError,
} from './jsonrpc.ts'
import { listPrompts, listResources, listTools } from './listings.ts'
import { ruleOf } from './methods.ts'
import { splitName, splitTool } from './names.ts'
import { ownerOfResource } from './resources.ts'
import type { UpstreamReply } from './upstream-link.ts'

/** One request of a client, independent of era and transport. */
export interface ClientRequest {
  readonly principal: Principal
  readonly era: Era
  readonly id: RequestId
  readonly method: string
  readonly params: JsonObject
  readonly idempotencyKey: string | null
  readonly clientCapabilities: JsonObject
  readonly signal: AbortSignal
  /** Sends a notification on the stream of this request. */
  readonly notify: (method: string, params: JsonObject) => void
}

const META_LOG_LEVEL = 'io.modelcontextprotocol/logLevel'
/** Codes that MCP reserves; an upstream's use of them is about its hop, not about the client's. */
const HOP_CODES = new Set([-32020, -32022])

/**
 * Answers a request. The methods that belong to a transport (`initialize`, `server/discover`,
 * `subscriptions/listen`) are answered before this. Never rejects: an error while answering is an
 * internal error to the client, and nothing more is done for it.
 */
export async function answer(gate: Gate, request: ClientRequest): Promise<RpcReply> {
  const rule = ruleOf(request.method, request.era)
  if (rule.rule === 'deny') return rpcError(METHOD_NOT_FOUND, rule.why)
  try {
    switch (rule.method) {
      case 'tools/call':
        return await callTool(gate, request)
      case 'ping':
        return { result: {} }
      case 'tools/list':
        return { result: await listTools(gate, request.principal) }
      case 'resources/list':
        return { result: await listResources(gate, request.principal, 'resources') }
      case 'resources/templates/list':
        return { result: await listResources(gate, request.principal, 'resourceTemplates') }
      case 'prompts/list':
        return { result: await listPrompts(gate, request.principal) }
      case 'resources/read':
        return await readResource(gate, request)
      case 'prompts/get':
        return await getPrompt(gate, request)
      case 'completion/complete':
        return await complete(gate, request)
      case 'initialize':
      case 'server/discover':
      case 'subscriptions/listen':
        return rpcError(METHOD_NOT_FOUND, `\`${rule.method}\` does not exist here`)
    }
  } catch {
    // Whatever it was, its words may hold what the client must not read.
    return rpcError(INTERNAL_ERROR, 'the gateway failed while answering; nothing more is done')
  }
}

function callTool(gate: Gate, request: ClientRequest): Promise<RpcReply> | RpcReply {
  const { params, principal } = request
  const name = splitTool(params.name)
  if (name === null) return rpcError(INVALID_PARAMS, 'unknown tool: names are `server.tool`')
  const args = params.arguments ?? {}
  if (!isObject(args)) return rpcError(INVALID_PARAMS, '`arguments` must be an object')
  if (params.task !== undefined) return rpcError(INVALID_PARAMS, 'tasks are not offered')
  return gate.door.callTool(principal, {
    server: name.server,
    tool: name.name,
    // Parsed JSON, whose members are JSON.
    args: args as Parameters<Door['callTool']>[1]['args'],
    meta: isObject(params._meta) ? params._meta : {},
    rawParams: { ...params, name: name.name },
    requestId: request.id,
    era: request.era,
    idempotencyKey: request.idempotencyKey,
    clientCapabilities: request.clientCapabilities,
    signal: request.signal,
    notify: relayNotify(request),
  })
}

/** Lets through what the client asked for: progress under its own token, and log messages. */
export function relayNotify(request: ClientRequest): ClientRequest['notify'] {
  const meta = isObject(request.params._meta) ? request.params._meta : {}
  const token = meta.progressToken
  const hasToken = typeof token === 'string' || typeof token === 'number'
  const logs = request.era === 'legacy' || meta[META_LOG_LEVEL] !== undefined
  return (method, params) => {
    if (request.signal.aborted) return
    if (method === 'notifications/progress') {
      if (hasToken) request.notify(method, { ...params, progressToken: token })
    } else if (method === 'notifications/message') {
      if (logs) request.notify(method, params)
    }
  }
}

async function readResource(gate: Gate, request: ClientRequest): Promise<RpcReply> {
  const { uri } = request.params
  if (typeof uri !== 'string') return rpcError(INVALID_PARAMS, '`uri` must be a string')
  const owner = await ownerOfResource(gate.upstreams, uri)
  if (!owner.ok) return rpcError(INVALID_PARAMS, owner.error)
  return relay(gate, request, owner.value, request.params)
}

async function getPrompt(gate: Gate, request: ClientRequest): Promise<RpcReply> {
  const name = splitName(request.params.name)
  if (name === null) return rpcError(INVALID_PARAMS, 'unknown prompt: names are `server.prompt`')
  return relay(gate, request, name.server, { ...request.params, name: name.name })
}

async function complete(gate: Gate, request: ClientRequest): Promise<RpcReply> {
  const ref = request.params.ref
  if (!isObject(ref)) return rpcError(INVALID_PARAMS, '`ref` must be an object')
  if (ref.type === 'ref/prompt') {
    const name = splitName(ref.name)
    if (name === null) return rpcError(INVALID_PARAMS, 'unknown prompt: names are `server.prompt`')
    const params = { ...request.params, ref: { ...ref, name: name.name } }
    return relay(gate, request, name.server, params)
  }
  if (ref.type !== 'ref/resource' || typeof ref.uri !== 'string') {
    return rpcError(INVALID_PARAMS, 'unknown type of `ref`')
  }
  const owner = await ownerOfResource(gate.upstreams, ref.uri)
  if (!owner.ok) return rpcError(INVALID_PARAMS, owner.error)
  return relay(gate, request, owner.value, request.params)
}

/** Hands a request for one upstream to the door, together with the way to send it. */
function relay(
  gate: Gate,
  request: ClientRequest,
  server: string,
  params: JsonObject,
): Promise<RpcReply> | RpcReply {
  const { principal, method, signal } = request
  const upstream = gate.upstreams.get(server)
  if (upstream === undefined) return rpcError(INVALID_PARAMS, `unknown server \`${server}\``)
  const onNotification = relayNotify(request)
  const send = (until: AbortSignal) =>
    upstream.call(method, params, { signal: until, onNotification })
  return gate.door.relay(principal, { method, server, params, signal, send })
}

/** What a client reads when an upstream has answered, or has not. */
export function toClient(reply: UpstreamReply, server: string): RpcReply {
  if ('failure' in reply) {
    const { why, sent, message } = reply.failure
    const data = { server, reason: why, outcome: sent ? 'unknown' : 'not_run' }
    return rpcError(INTERNAL_ERROR, `\`${server}\`: ${message}`, data)
  }
  if ('error' in reply && HOP_CODES.has(reply.error.code)) {
    return rpcError(INTERNAL_ERROR, `\`${server}\` refused the gateway: ${reply.error.message}`)
  }
  return reply
}
