import type { ClientSession, Push } from './client-session.ts'
import type { Door, Principal, Send, TaskRequest } from './door.ts'
import type { Era } from './era.ts'
import type { Gate } from './gate.ts'
import {
  INTERNAL_ERROR,
  INVALID_PARAMS,
  isObject,
  type JsonObject,
  METHOD_NOT_FOUND,
  MISSING_CLIENT_CAPABILITY,
  notificationText,
  type RequestId,
  type RpcReply,
  rpcError,
} from './jsonrpc.ts'
import { listPrompts, listResources, listTools } from './listings.ts'
import { ruleOf } from './methods.ts'
import { declaresTasks, relayedCapabilities, TASKS_DECLARED } from './questions.ts'
import { ownerOfResource } from './resources.ts'
import type { Upstream } from './upstream.ts'
import { failure, type UpstreamReply } from './upstream-link.ts'

/** One request of a client, independent of era and transport. */
export interface ClientRequest {
  readonly principal: Principal
  readonly era: Era
  readonly id: RequestId
  readonly method: string
  readonly params: JsonObject
  readonly idempotencyKey: string | null
  /** What the client can do, as a modern request says; a legacy one has said it to its session. */
  readonly clientCapabilities: JsonObject
  /** The session of the legacy era; null in the modern era, which has none. */
  readonly session: ClientSession | null
  readonly signal: AbortSignal
  /** Sends a message on the stream of this request. */
  readonly push: Push
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
      case 'resources/subscribe':
        return await subscribe(gate, request)
      case 'resources/unsubscribe':
        if (typeof request.params.uri === 'string') request.session?.unwatch(request.params.uri)
        return { result: {} }
      case 'logging/setLevel':
        return (await request.session?.setLevel(request.params.level)) ?? { result: {} }
      case 'tasks/get':
      case 'tasks/update':
      case 'tasks/cancel':
        return await task(gate, rule.method, request)
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
  const name = gate.upstreams.names.splitTool(params.name)
  if (name === null) return rpcError(INVALID_PARAMS, 'unknown tool: names are `server.tool`')
  const args = params.arguments ?? {}
  if (!isObject(args)) return rpcError(INVALID_PARAMS, '`arguments` must be an object')
  // The hint of an experiment of 2025-11-25, which was never offered; 2026-07-28 ignores it.
  const { task: hint, ...own } = params
  if (hint !== undefined && request.era === 'legacy') {
    return rpcError(INVALID_PARAMS, 'tasks are not offered in this protocol revision')
  }
  return gate.door.callTool(principal, {
    server: name.server,
    tool: name.name,
    // Parsed JSON, whose members are JSON.
    args: args as Parameters<Door['callTool']>[1]['args'],
    meta: isObject(params._meta) ? params._meta : {},
    rawParams: { ...own, name: name.name },
    requestId: request.id,
    era: request.era,
    idempotencyKey: request.idempotencyKey,
    signal: request.signal,
    send: sender(gate, request, name.server, 'tools/call'),
  })
}

/** The way to an upstream, for the door to take once a request is allowed. */
function sender(gate: Gate, request: ClientRequest, server: string, method: string): Send {
  return async (params, signal, isOver, envelope) => {
    const upstream = gate.upstreams.get(server)
    if (upstream === undefined) {
      return failure('unavailable', `there is no server \`${server}\``, { sent: false })
    }
    const { session, push } = request
    const options = { signal, isOver, envelope, onNotification: relayNotify(request) }
    if (session !== null) return session.call(upstream, method, params, { ...options, push })
    const clientCapabilities = offered(request, upstream)
    return upstream.call(method, params, { ...options, clientCapabilities })
  }
}

function offered(request: ClientRequest, { withholdsRoots }: Upstream): JsonObject {
  return relayedCapabilities(request.clientCapabilities, { withholdsRoots, tasks: true })
}

/** Lets through what the client asked for: progress under its own token, and log messages. */
export function relayNotify(request: ClientRequest): (method: string, params: JsonObject) => void {
  const meta = isObject(request.params._meta) ? request.params._meta : {}
  const token = meta.progressToken
  const hasToken = typeof token === 'string' || typeof token === 'number'
  const logs = request.era === 'legacy' || meta[META_LOG_LEVEL] !== undefined
  return (method, params) => {
    if (request.signal.aborted) return
    if (method === 'notifications/progress') {
      if (hasToken) request.push(notificationText(method, { ...params, progressToken: token }))
    } else if (method === 'notifications/message') {
      if (logs) request.push(notificationText(method, params))
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
  const name = gate.upstreams.names.splitPrompt(request.params.name)
  if (name === null) return rpcError(INVALID_PARAMS, 'unknown prompt: names are `server.prompt`')
  return relay(gate, request, name.server, { ...request.params, name: name.name })
}

async function complete(gate: Gate, request: ClientRequest): Promise<RpcReply> {
  const ref = request.params.ref
  if (!isObject(ref)) return rpcError(INVALID_PARAMS, '`ref` must be an object')
  if (ref.type === 'ref/prompt') {
    const name = gate.upstreams.names.splitPrompt(ref.name)
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
  if (gate.upstreams.get(server) === undefined) {
    return rpcError(INVALID_PARAMS, `unknown server \`${server}\``)
  }
  const send = sender(gate, request, server, method)
  return gate.door.relay(principal, { method, server, params, signal, send })
}

/** Hearing that a resource has changed is judged as reading it is. */
async function subscribe(gate: Gate, request: ClientRequest): Promise<RpcReply> {
  const { principal, method, params, session, signal } = request
  const { uri } = params
  if (typeof uri !== 'string') return rpcError(INVALID_PARAMS, '`uri` must be a string')
  const owner = await ownerOfResource(gate.upstreams, uri)
  if (!owner.ok) return rpcError(INVALID_PARAMS, owner.error)
  const upstream = gate.upstreams.get(owner.value)
  if (upstream === undefined || session === null) return rpcError(INVALID_PARAMS, 'no session')
  const send = () => session.watch(upstream, uri)
  return gate.door.relay(principal, { method, server: owner.value, params: { uri }, signal, send })
}

/** `tasks/*`: a call goes on that became a task. */
async function task(
  gate: Gate,
  method: TaskRequest['method'],
  request: ClientRequest,
): Promise<RpcReply> {
  const { principal, params, signal } = request
  if (!declaresTasks(request.clientCapabilities)) {
    const data = { requiredCapabilities: TASKS_DECLARED }
    return rpcError(MISSING_CLIENT_CAPABILITY, 'the client does not declare tasks', data)
  }
  const { taskId } = params
  if (typeof taskId !== 'string') return rpcError(INVALID_PARAMS, '`taskId` must be a string')
  const send: TaskRequest['send'] = (server, params, until, envelope) =>
    sender(gate, request, server, method)(params, until, () => until.aborted, envelope)
  return gate.door.task(principal, { method, taskId, params, signal, send })
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
