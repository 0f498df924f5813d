import { Pool } from 'undici'
import { eventsOf, mediaTypeOf, type Reply } from './http-body.ts'
import { Exchange } from './http-exchange.ts'
import { type JsonObject, notificationText, type RpcMessage, requestText } from './jsonrpc.ts'
import { encodeHeaderValue } from './names.ts'
import {
  type CallOptions,
  type Diagnostics,
  failure,
  type Link,
  type LinkEvents,
  listenParams,
  OVER_BEFORE_SENT,
  PendingCall,
  type Protocol,
  UPSTREAM_IN_FLIGHT_MAX,
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

/** Connections to one upstream; calls beyond them wait here, and have not been sent. */
const CONNECTIONS_MAX = 128
const CONNECT_TIMEOUT_MS = 10_000
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
  /** For calls alone: `#connected` counts its connections. */
  readonly #pool: Pool
  /**
   * For the stream of unasked messages, notifications, and answers to what the upstream asks. Calls
   * that wait for such an answer must not keep it from leaving.
   */
  readonly #side: Pool
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
  #connected = 0
  /** Calls that wait for a connection, in their order. */
  readonly #queue = new Map<Exchange, () => boolean>()

  constructor(config: HttpConfig) {
    const url = new URL(config.url)
    this.#path = url.pathname + url.search
    // In one case, so that none of ours is sent beside one of the configuration.
    const headers = Object.entries(config.headers ?? {})
    this.#headers = Object.fromEntries(headers.map(([name, value]) => [name.toLowerCase(), value]))
    const pool = () =>
      new Pool(url.origin, {
        connections: CONNECTIONS_MAX,
        pipelining: 1,
        connect: { timeout: CONNECT_TIMEOUT_MS },
        // Every request has its own timer, which progress starts again.
        headersTimeout: 0,
        bodyTimeout: 0,
      })
    this.#pool = pool()
    this.#side = pool()
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
    if (options.isOver?.() === true) {
      return Promise.resolve(failure('cancelled', OVER_BEFORE_SENT, { sent: false }))
    }
    if (this.#inFlight >= UPSTREAM_IN_FLIGHT_MAX || this.#closing.signal.aborted) {
      const why = 'the upstream takes no more requests'
      return Promise.resolve(failure('unavailable', why, { sent: false }))
    }
    const id = ++this.#lastId
    if (options.onNotification !== undefined) withProgressToken(params, id)
    const call = new PendingCall(options, (why) => {
      if (this.#queue.delete(exchange)) {
        this.#inFlight--
        return
      }
      exchange.cancel()
      // The modern era cancels by closing the stream; the legacy era needs to be told.
      if (call.isSent && this.#protocol?.era === 'legacy' && method !== 'initialize') {
        this.notify('notifications/cancelled', { requestId: id, reason: why })
      }
    })
    call.isSent = false
    const exchange = this.#exchange(id, method, params, call, options)
    this.#inFlight++
    if (this.#connected < CONNECTIONS_MAX) this.#send(exchange)
    else this.#queue.set(exchange, options.isOver ?? (() => false))
    return call.promise
  }

  #exchange(
    id: number,
    method: string,
    params: JsonObject,
    call: PendingCall,
    { paramHeaders, envelope }: CallOptions,
  ): Exchange {
    const headers = this.#requestHeaders(method, params)
    if (paramHeaders !== undefined) Object.assign(headers, paramHeaders)
    const request = {
      id,
      path: this.#path,
      headers,
      body: requestText(id, method, params),
      envelope,
      inSession: this.#session !== null,
    }
    return new Exchange(request, {
      started: () => {
        call.isSent = true
      },
      session: (session) => {
        if (method === 'initialize') this.#session = session
      },
      message: (message) => {
        call.touch()
        this.#receive(message, call)
      },
      answered: (reply) => {
        this.#inFlight--
        call.settle(reply)
      },
      over: () => {
        this.#connected--
        this.#sendNext()
      },
    })
  }

  #sendNext(): void {
    for (const [exchange, isOver] of this.#queue) {
      this.#queue.delete(exchange)
      if (!isOver()) return this.#send(exchange)
      exchange.refuse('cancelled', OVER_BEFORE_SENT)
    }
  }

  #send(exchange: Exchange): void {
    this.#connected++
    exchange.send(this.#pool)
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
      const ended = this.#side
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
    for (const exchange of this.#queue.keys()) {
      exchange.refuse('unavailable', 'the connection is closed')
    }
    this.#queue.clear()
    this.#asked.close()
    await Promise.all([this.#pool.destroy(), this.#side.destroy()])
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
      const reply = await this.#side.request({
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
        if (
          reply.statusCode !== 200 ||
          mediaTypeOf(reply.headers['content-type']) !== 'text/event-stream'
        ) {
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
      return this.#side.request({ path: this.#path, method: 'GET', headers, signal })
    }
    const method = 'subscriptions/listen'
    const params = listenParams(protocol, watched)
    const body = requestText(++this.#lastId, method, params)
    const headers = this.#requestHeaders(method, params)
    return this.#side.request({ path: this.#path, method: 'POST', headers, body, signal })
  }
}

/** Notifications on the stream of a call that are about this call. */
const BELONGING = new Set(['notifications/progress', 'notifications/message'])
