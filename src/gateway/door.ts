import type { Presented } from '../badge/reader.ts'
import type { Json, OrgId, RunId, TreeId } from '../core/id.ts'
import type { Era } from './era.ts'
import type { JsonObject, RequestId, RpcReply } from './jsonrpc.ts'
import type { UpstreamReply } from './upstream-link.ts'

/**
 * Who is calling, as the verified badge says. Constructed only by a `Door`; the transports copy it
 * to set `session` and touch nothing else, so an implementation may add fields.
 */
export interface Principal {
  readonly org: OrgId
  readonly tree: TreeId
  readonly run: RunId
  /**
   * The client session: a legacy `Mcp-Session-Id`, or the id of a stdio connection. Empty where the
   * protocol has none (2026-07-28 over HTTP). A JSON-RPC id means something only within one
   * session.
   */
  readonly session: string
}

/** A tool as an upstream lists it. */
export interface UpstreamTool {
  readonly server: string
  /** The upstream's own name, without the server. */
  readonly tool: string
  /** `server.tool`, what clients see and send. */
  readonly name: string
  /** The upstream's listing entry, untouched: what a definition hash is taken over. */
  readonly definition: JsonObject
}

export interface ToolCallRequest {
  readonly server: string
  /** The upstream's own name of the tool. */
  readonly tool: string
  readonly args: Readonly<Record<string, Json>>
  /** `params._meta` as the client sent it. */
  readonly meta: JsonObject
  /** `params` for the upstream: as the client sent them, with the upstream's own tool name. */
  readonly rawParams: JsonObject
  readonly requestId: RequestId
  readonly era: Era
  /** The `Idempotency-Key` header. */
  readonly idempotencyKey: string | null
  /** Aborts when the client went away or cancelled. */
  readonly signal: AbortSignal
  /**
   * Sends it to the upstream, on the connection that serves this client; `signal` cancels it there,
   * and what still waits to be sent when `isOver` is not sent.
   * Called by the door, once it is allowed. What belongs to the call (progress, log messages,
   * questions) finds the client by itself.
   */
  readonly send: Send
}

/**
 * Never rejects. `params` are those of the request, as the upstream shall get them; `envelope`
 * makes the transaction token of each message that leaves.
 */
export type Send = (
  params: JsonObject,
  signal: AbortSignal,
  isOver: () => boolean,
  envelope?: () => string,
) => Promise<UpstreamReply>

/**
 * `resources/read`, `prompts/get` or `completion/complete`: what reaches an upstream besides calls.
 */
export interface JudgedRequest {
  readonly method: string
  readonly server: string
  /** As the upstream will get them: its own names and URIs. */
  readonly params: JsonObject
  /** Aborts when the client went away or cancelled. */
  readonly signal: AbortSignal
  /** As for a tool call. */
  readonly send: Send
}

/** `tasks/get`, `tasks/update` or `tasks/cancel`: about a call that was answered with a task. */
export interface TaskRequest {
  readonly method: 'tasks/get' | 'tasks/update' | 'tasks/cancel'
  /** As the client was given it; the upstream has another one. */
  readonly taskId: string
  readonly params: JsonObject
  readonly signal: AbortSignal
  /** As `Send`, to the server whose task it is. */
  readonly send: (
    server: string,
    params: JsonObject,
    signal: AbortSignal,
    envelope?: () => string,
  ) => Promise<UpstreamReply>
}

/**
 * What stands between a client and every tool. The transports around it never decide: they find out
 * what is asked, by whom, and carry the answer.
 */
export interface Door {
  /**
   * Who holds this badge. Null for one that is missing, unknown, expired or without the proof that
   * it needs: the transports answer 401. Never an empty identity. `session` is ''. Every request
   * pays for it: at once for a badge that was seen before, a promise for a new or a bound one.
   */
  identify(presented: Presented | null): Principal | null | Promise<Principal | null>
  /** Judges and runs a tool call. Never rejects; whatever resolves is sent to the client. */
  callTool(principal: Principal, request: ToolCallRequest): Promise<RpcReply>
  /** Which of these tools the principal may see. */
  visibleTools(principal: Principal, tools: readonly UpstreamTool[]): readonly UpstreamTool[]
  /** Judges any other request for an upstream, and sends it when it is allowed. Never rejects. */
  relay(principal: Principal, request: JudgedRequest): Promise<RpcReply>
  /** Goes on with a call of the principal's own run that became a task. Never rejects. */
  task(principal: Principal, request: TaskRequest): Promise<RpcReply>
  /** Whether the principal may see what this server lists (resources, templates, prompts). */
  mayList(principal: Principal, listing: { server: string; method: string }): boolean
  /** A client session ended (legacy DELETE or idle, end of stdio input). */
  sessionEnded(principal: Principal): void
  /**
   * Calls `ended` once the principal's authority is over (soon, if it already is); its streams
   * close. Calls in flight are the door's to cancel: the answer that ended the lease must still be
   * delivered. Returns the unsubscribe.
   */
  onEnd(principal: Principal, ended: (why: string) => void): () => void
  /** Calls `changed` when `visibleTools` may answer differently. Returns the unsubscribe. */
  onVisibilityChanged(principal: Principal, changed: () => void): () => void
}
