import { Pool } from 'undici'
import { eventsOf, findReply, mediaType, type Reply, readText } from './http-body.ts'
import { type JsonObject, notificationText, type RpcMessage, requestText } from './jsonrpc.ts'
import { encodeHeaderValue } from './names.ts'
import {
  type CallOptions,
  type Diagnostics,
  failure,
  type Link,
  type LinkEvents,
  listenParams,
  PendingCall,
  type Protocol,
  UPSTREAM_IN_FLIGHT_MAX,
  UPSTREAM_MESSAGE_BYTES_MAX,
  type UpstreamReply,
  withProgressToken,
} from './upstream-link.ts'
import { UpstreamRequests } from './upstream-requests.ts'

export interface HttpConfig {
  readonly kind: 'http'
  readonly url: string
  /** Sent with every request; they may hold secrets, and stay in this module. */
  readonly headers?: Readonly<Record<string, string>>
  readonly timeoutMs?: number
}

/** Connections to one upstream; calls beyond them queue. */
const CONNECTIONS_MAX = 128
const CONNECT_TIMEOUT_MS = 10_000
/** How much of a refusal's body is read, for its words. */
const REFUSAL_BYTES_MAX = 64 * 1024
/** Between attempts to get the stream of unasked messages back. */
const LISTEN_RETRY_MIN_MS = 1_000
const LISTEN_RETRY_MAX_MS = 60_000

/** Which member of the parameters `Mcp-Name` repeats. */
const NAME_SOURCE: Readonly<Record<string, string>> = {
  'tools/call': 'name',
  'prompts/get': 'name',
  'resources/read': 'uri',
  'tasks/get': 'taskId',
  'tasks/update': 'taskId',
  'tasks/cancel': 'taskId',
}

/**
 * An MCP server behind Streamable HTTP. Sends the configured headers and its own, never a header of
 * a client. Redirects are not followed: the headers are for this origin only.
 */
export class HttpLink implements Link {
  readonly kind = 'http'
  readonly #pool: Pool
  readonly #path: string
  readonly #headers: Readonly<Record<string, string>>
  readonly #closing = new AbortController()
  readonly #asked = new UpstreamRequests(
    (text) => void this.#post(text, this.#requestHeaders('', undefined)),
  )
  /** Ends the stream of unasked messages; null before there is one. */
  #listening: AbortController | null = null
  #watched = '[]'
  #events: LinkEvents | null = null
  #protocol: Protocol | null = null
  #session: string | null = null
  #lastId = 0
  #inFlight = 0

  constructor(config: HttpConfig) {
    const url = new URL(config.url)
    this.#path = url.pathname + url.search
    this.#headers = { ...config.headers }
    this.#pool = new Pool(url.origin, {
      connections: CONNECTIONS_MAX,
      pipelining: 1,
      connect: { timeout: CONNECT_TIMEOUT_MS },
      // Every request has its own timer, which progress starts again.
      headersTimeout: 0,
      bodyTimeout: 0,
    })
  }

  open(events: LinkEvents): Promise<void> {
    this.#events = events
    return Promise.resolve()
  }

  setProtocol(protocol: Protocol): void {
    this.#protocol = protocol
  }

  request(method: string, params: JsonObject, options: CallOptions): Promise<UpstreamReply> {
    if (options.signal?.aborted === true) {
      return Promise.resolve(failure('cancelled', 'the call was cancelled', { sent: false }))
    }
    if (this.#inFlight >= UPSTREAM_IN_FLIGHT_MAX || this.#closing.signal.aborted) {
      const why = 'the upstream takes no more requests'
      return Promise.resolve(failure('unavailable', why, { sent: false }))
    }
    const id = ++this.#lastId
    if (options.onNotification !== undefined) withProgressToken(params, id)
    const abort = new AbortController()
    const call = new PendingCall(options, (why) => {
      abort.abort()
      // The modern era cancels by closing the stream; the legacy era needs to be told.
      if (this.#protocol?.era === 'legacy' && method !== 'initialize') {
        this.notify('notifications/cancelled', { requestId: id, reason: why })
      }
    })
    this.#inFlight++
    const headers = { ...this.#requestHeaders(method, params), ...options.paramHeaders }
    const body = requestText(id, method, params)
    void this.#exchange({ id, method, headers, body }, call, abort.signal).then((reply) => {
      this.#inFlight--
      call.settle(reply)
    })
    return call.promise
  }

  notify(method: string, params?: JsonObject): void {
    void this.#post(notificationText(method, params), this.#requestHeaders(method, params))
  }

  listen(watched: readonly string[]): void {
    const text = JSON.stringify(watched)
    const before = this.#listening
    if (before !== null && (this.#protocol?.era === 'legacy' || this.#watched === text)) return
    this.#watched = text
    const ended = new AbortController()
    this.#listening = ended
    void this.#listenUntil(AbortSignal.any([this.#closing.signal, ended.signal]), watched)
    before?.abort()
  }

  diagnostics(): Diagnostics {
    return { exitCode: null, stderr: '' }
  }

  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return
    if (this.#session !== null) {
      const headers = this.#requestHeaders('', undefined)
      const ended = this.#pool
        .request({
          path: this.#path,
          method: 'DELETE',
          headers,
          signal: AbortSignal.timeout(1_000),
        })
        .then((reply) => reply.body.dump())
      await ended.catch(() => {})
    }
    this.#closing.abort()
    this.#asked.close()
    await this.#pool.destroy()
  }

  #requestHeaders(method: string, params: JsonObject | undefined): Record<string, string> {
    const headers: Record<string, string> = {
      ...this.#headers,
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
    }
    // `initialize` negotiates the version, and so does not name one.
    if (this.#protocol !== null && method !== 'initialize') {
      headers['mcp-protocol-version'] = this.#protocol.version
    }
    if (this.#protocol?.era === 'modern') {
      headers['mcp-method'] = method
      const source = Object.hasOwn(NAME_SOURCE, method) ? NAME_SOURCE[method] : undefined
      const name = source === undefined ? undefined : params?.[source]
      if (typeof name === 'string') headers['mcp-name'] = encodeHeaderValue(name)
    } else if (this.#session !== null) {
      headers['mcp-session-id'] = this.#session
    }
    return headers
  }

  async #exchange(
    request: { id: number; method: string; headers: Record<string, string>; body: string },
    call: PendingCall,
    signal: AbortSignal,
  ): Promise<UpstreamReply> {
    const { id, method, headers, body } = request
    let reply: Reply
    try {
      reply = await this.#pool.request({ path: this.#path, method: 'POST', headers, body, signal })
    } catch (error) {
      const { code, message } = error as { code?: string; message: string }
      const sent = code === undefined || !NEVER_SENT.has(code)
      return failure(sent ? 'disconnected' : 'unavailable', `no answer: ${code ?? message}`, {
        sent,
      })
    }
    try {
      if (method === 'initialize') this.#rememberSession(reply)
      return await this.#read(reply, id, call)
    } catch (error) {
      reply.body.destroy()
      const message = `the answer broke off: ${(error as Error).message}`
      return failure('disconnected', message, { sent: true })
    }
  }

  #rememberSession(reply: Reply): void {
    const session = reply.headers['mcp-session-id']
    this.#session = typeof session === 'string' ? session : null
  }

  async #read(reply: Reply, id: number, call: PendingCall): Promise<UpstreamReply> {
    const status = reply.statusCode
    const type = mediaType(reply)
    if (status === 200 && type === 'text/event-stream') return this.#readStream(reply, id, call)
    const limit = status === 200 ? UPSTREAM_MESSAGE_BYTES_MAX : REFUSAL_BYTES_MAX
    const text = await readText(reply, limit)
    const answer = type === 'application/json' ? findReply(text, id, status !== 200) : null
    if (answer !== null) return answer
    if (status === 404 && this.#session !== null) {
      return failure('session_gone', 'the upstream forgot the session', { sent: false, status })
    }
    if (status >= 300 && status < 500) {
      const message = `the upstream answered HTTP ${status}`
      return failure('refused', message, { sent: false, status })
    }
    const message = `the upstream answered HTTP ${status} without a JSON-RPC answer`
    return failure('protocol', message, { sent: true, status })
  }

  async #readStream(reply: Reply, id: number, call: PendingCall): Promise<UpstreamReply> {
    for await (const message of eventsOf(reply)) {
      if (message.kind === 'response') {
        if (message.id === id) return message.reply
      } else {
        call.touch()
        this.#receive(message, call)
      }
    }
    return failure('disconnected', 'the stream ended without an answer', { sent: true })
  }

  /** A message on the stream of a call belongs to that call; on the common stream to none. */
  #receive(message: Exclude<RpcMessage, { kind: 'response' }>, call: PendingCall | null): void {
    if (message.kind === 'request') {
      void this.#answer(message, call)
    } else if (message.method === 'notifications/cancelled') {
      this.#asked.cancelled(message.params)
    } else if (call !== null && BELONGING.has(message.method)) {
      if (!call.settled) call.onNotification?.(message.method, message.params)
    } else if (message.method !== 'notifications/progress') {
      this.#events?.notification(message.method, message.params)
    }
  }

  async #answer(
    message: Extract<RpcMessage, { kind: 'request' }>,
    call: PendingCall | null,
  ): Promise<void> {
    const release = call?.hold()
    await this.#asked.answer(message, call?.ask ?? this.#events?.request ?? null)
    release?.()
  }

  /** Posts what needs no answer. A loss is seen by the next request. */
  async #post(body: string, headers: Record<string, string>): Promise<void> {
    try {
      const signal = this.#closing.signal
      const reply = await this.#pool.request({
        path: this.#path,
        method: 'POST',
        headers,
        body,
        signal,
      })
      await reply.body.dump()
    } catch {
      // See above.
    }
  }

  /** Keeps a stream of unasked messages open for as long as the upstream offers one. */
  async #listenUntil(ended: AbortSignal, watched: readonly string[]): Promise<void> {
    let waitMs = LISTEN_RETRY_MIN_MS
    while (!ended.aborted) {
      try {
        const reply = await this.#openListen(ended, watched)
        if (reply.statusCode !== 200 || mediaType(reply) !== 'text/event-stream') {
          await reply.body.dump()
          if (reply.statusCode < 500) return
        } else {
          for await (const message of eventsOf(reply)) {
            waitMs = LISTEN_RETRY_MIN_MS
            if (message.kind !== 'response') this.#receive(message, null)
            // It ended the subscription on its own account: there is no hurry to ask again.
            else waitMs = LISTEN_RETRY_MAX_MS
          }
        }
      } catch {
        // Lost; try again below.
      }
      if (ended.aborted) return
      await new Promise((resolve) => setTimeout(resolve, waitMs).unref())
      waitMs = Math.min(waitMs * 2, LISTEN_RETRY_MAX_MS)
      // What changed meanwhile was not heard.
      if (!ended.aborted) this.#events?.notification('notifications/tools/list_changed', {})
    }
  }

  #openListen(signal: AbortSignal, watched: readonly string[]): Promise<Reply> {
    const protocol = this.#protocol
    if (protocol === null || protocol.era === 'legacy') {
      const headers = { ...this.#requestHeaders('', undefined), accept: 'text/event-stream' }
      return this.#pool.request({ path: this.#path, method: 'GET', headers, signal })
    }
    const method = 'subscriptions/listen'
    const params = listenParams(protocol, watched)
    const body = requestText(++this.#lastId, method, params)
    const headers = this.#requestHeaders(method, params)
    return this.#pool.request({ path: this.#path, method: 'POST', headers, body, signal })
  }
}

/** Notifications on the stream of a call that are about this call. */
const BELONGING = new Set(['notifications/progress', 'notifications/message'])

/** Errors that happen before a byte of the request leaves. */
const NEVER_SENT = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'UND_ERR_CONNECT_TIMEOUT',
  'UND_ERR_DESTROYED',
  'UND_ERR_CLOSED',
])
