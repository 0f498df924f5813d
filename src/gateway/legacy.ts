import type { IncomingMessage, ServerResponse } from 'node:http'
import { answer } from './dispatch.ts'
import type { Principal } from './door.ts'
import type { Gate } from './gate.ts'
import {
  INVALID_PARAMS,
  INVALID_REQUEST,
  type JsonObject,
  notificationText,
  type RequestId,
  type RpcMessage,
  type RpcReply,
  readMessage,
  responseText,
  rpcError,
  SERVER_ERROR,
} from './jsonrpc.ts'
import { offer, watchListings } from './listings.ts'
import { isHeard } from './methods.ts'
import { type Session, SessionTable } from './session.ts'
import { type Accepts, EventStream, PostAnswer, sendJson, sendStatus } from './sse.ts'
import { LEGACY_VERSIONS } from './upstream-link.ts'

/** Requests in one batch; each is decided on its own. */
export const BATCH_ITEMS_MAX = 50
/** What the SDKs answer for a session that is not known; clients then open a new one. */
const SESSION_NOT_FOUND = -32001

type Request = Extract<RpcMessage, { kind: 'request' }>

/** Batches were part of the protocol until they were removed with 2025-06-18. */
export function allowsBatches(version: string): boolean {
  return version <= '2025-03-26'
}

/** The version that `initialize` agrees on: the client's if it is served, else the newest. */
export function agreeOnVersion(params: JsonObject): string {
  const wanted = params.protocolVersion
  const newest = LEGACY_VERSIONS[0] as string
  return typeof wanted === 'string' && LEGACY_VERSIONS.includes(wanted) ? wanted : newest
}

/** The result of `initialize`. */
export async function initializeResult(gate: Gate, protocolVersion: string): Promise<JsonObject> {
  return { protocolVersion, ...(await offer(gate, 'legacy')), serverInfo: gate.serverInfo }
}

/** What a POST of the legacy era comes with. */
export interface LegacyPost {
  readonly res: ServerResponse
  readonly principal: Principal
  readonly accepts: Accepts
  readonly sessionId: string | null
  readonly version: string | null
  readonly idempotencyKey: string | null
}

/** The legacy era over HTTP: `initialize`, sessions, a GET stream, DELETE. */
export class LegacyServer {
  readonly #gate: Gate
  readonly #sessions: SessionTable

  constructor(gate: Gate) {
    this.#gate = gate
    this.#sessions = new SessionTable(gate)
  }

  async post(post: LegacyPost, body: unknown): Promise<void> {
    if (Array.isArray(body)) return this.#postBatch(post, body)
    const read = readMessage(body)
    if (!read.ok) {
      sendJson(post.res, 400, responseText(read.error.id, { error: read.error.error }))
      return
    }
    const message = read.value
    if (message.kind === 'request' && message.method === 'initialize') {
      return this.#initialize(post, message)
    }
    const session = this.#sessionFor(post, message.kind === 'request' ? message.id : null)
    if (session === null) return
    if (message.kind !== 'request') {
      const error = this.#receive(session, message)
      if (error === null) sendStatus(post.res, 202)
      else sendJson(post.res, 400, responseText(null, error))
      return
    }
    const out = new PostAnswer(post.res, post.accepts)
    const reply = await this.#run(session, message, out, post.idempotencyKey)
    if (reply === null) out.abandon()
    else out.finish(responseText(message.id, reply), 200)
  }

  /** Opens the stream on which a client hears of changes. A later one replaces an earlier one. */
  get(req: IncomingMessage, post: LegacyPost): void {
    const session = this.#sessionFor(post, null)
    if (session === null) return
    if (!post.accepts.stream) {
      sendJson(post.res, 406, failed('the client must accept text/event-stream'))
      return
    }
    session.stream?.end()
    const stream = new EventStream(post.res, { 'mcp-session-id': session.id })
    session.stream = stream
    const { door } = this.#gate
    const filter = { tools: true, prompts: true, resources: true, uris: [] }
    const offs = [
      watchListings(this.#gate, session.principal, filter, (method) =>
        stream.send(notificationText(method, undefined)),
      ),
      door.onEnd(session.principal, () => stream.end()),
    ]
    req.once('close', () => {
      for (const off of offs) off()
      if (session.stream === stream) session.stream = null
      session.seenAt = performance.now()
    })
  }

  delete(post: LegacyPost): void {
    const session = this.#sessionFor(post, null)
    if (session === null) return
    this.#sessions.end(session)
    sendStatus(post.res, 204)
  }

  close(): void {
    this.#sessions.close()
  }

  async #initialize(post: LegacyPost, message: Request): Promise<void> {
    const session = this.#sessions.open(
      post.principal,
      agreeOnVersion(message.params),
      message.params.capabilities,
    )
    if (session === null) {
      const error = rpcError(SERVER_ERROR, 'this run has too many sessions; end one with DELETE')
      sendJson(post.res, 429, responseText(message.id, error))
      return
    }
    const result = await initializeResult(this.#gate, session.version)
    const out = new PostAnswer(post.res, post.accepts, { 'mcp-session-id': session.id })
    out.finish(responseText(message.id, { result }), 200)
  }

  /** The session of a request; answers the request itself when there is none. */
  #sessionFor(post: LegacyPost, id: RequestId | null): Session | null {
    const refuse = (status: number, code: number, message: string): null => {
      sendJson(post.res, status, responseText(id, rpcError(code, message)))
      return null
    }
    if (post.version !== null && !LEGACY_VERSIONS.includes(post.version)) {
      const served = LEGACY_VERSIONS.join(', ')
      return refuse(400, SERVER_ERROR, `unsupported protocol version; with a session: ${served}`)
    }
    if (post.sessionId === null) {
      return refuse(400, SERVER_ERROR, 'the header `Mcp-Session-Id` is missing; send `initialize`')
    }
    return (
      this.#sessions.find(post.sessionId, post.principal) ??
      refuse(404, SESSION_NOT_FOUND, 'session not found; send `initialize`')
    )
  }

  /**
   * A notification or a response. Only requests reach anything; one without an id is no request.
   */
  #receive(session: Session, message: Exclude<RpcMessage, Request>): RpcReply | null {
    if (message.kind === 'response') {
      session.client.answered(message.id, message.reply)
      return null
    }
    if (!message.method.startsWith('notifications/')) {
      return rpcError(INVALID_REQUEST, 'a request needs an `id`')
    }
    if (!isHeard(message.method, 'legacy')) return null
    if (message.method === 'notifications/cancelled') {
      const id = message.params.requestId
      if (typeof id === 'string' || typeof id === 'number') session.inFlight.get(id)?.abort()
    } else if (message.method === 'notifications/roots/list_changed') {
      session.client.rootsChanged()
    }
    return null
  }

  /** Answers one request within a session; null when the client has cancelled it meanwhile. */
  async #run(
    session: Session,
    message: Request,
    out: PostAnswer,
    idempotencyKey: string | null,
  ): Promise<RpcReply | null> {
    const { id, method, params } = message
    if (session.inFlight.has(id)) return rpcError(INVALID_REQUEST, 'this `id` is in flight')
    const abort = new AbortController()
    session.inFlight.set(id, abort)
    try {
      // A client that disconnects has not cancelled: it may ask for the outcome by retrying.
      const reply = await answer(this.#gate, {
        principal: session.principal,
        era: 'legacy',
        id,
        method,
        params,
        idempotencyKey,
        clientCapabilities: {},
        session: session.client,
        signal: abort.signal,
        push: (text) => out.notify(text),
      })
      return abort.signal.aborted ? null : reply
    } finally {
      session.inFlight.delete(id)
      session.seenAt = performance.now()
    }
  }

  /** Each element of a batch is read, decided and answered as if it had come alone (threat 23). */
  async #postBatch(post: LegacyPost, items: readonly unknown[]): Promise<void> {
    const session = this.#sessionFor(post, null)
    if (session === null) return
    if (!allowsBatches(session.version) || items.length === 0 || items.length > BATCH_ITEMS_MAX) {
      sendJson(
        post.res,
        400,
        failed(`a batch is not allowed here, or has not 1…${BATCH_ITEMS_MAX}`),
      )
      return
    }
    const out = new PostAnswer(post.res, post.accepts)
    const answers = await Promise.all(
      items.map(async (item): Promise<string | null> => {
        const read = readMessage(item)
        if (!read.ok) return responseText(read.error.id, { error: read.error.error })
        const message = read.value
        if (message.kind !== 'request') {
          const error = this.#receive(session, message)
          return error === null ? null : responseText(null, error)
        }
        if (message.method === 'initialize') {
          const error = rpcError(INVALID_PARAMS, '`initialize` must come alone')
          return responseText(message.id, error)
        }
        const reply = await this.#run(session, message, out, null)
        return reply === null ? null : responseText(message.id, reply)
      }),
    )
    const texts = answers.filter((text) => text !== null)
    if (texts.length === 0) out.abandon()
    else out.finish(`[${texts.join(',')}]`, 200)
  }
}

function failed(message: string): string {
  return responseText(null, rpcError(INVALID_REQUEST, message))
}
