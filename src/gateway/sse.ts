import type { IncomingMessage, ServerResponse } from 'node:http'

/**
 * Silence after which an answer becomes a stream with comments, so that no proxy gives up on it.
 */
const KEEP_ALIVE_MS = 15_000
/** What may wait for a client that does not read; it is disconnected beyond that. */
const UNREAD_BYTES_MAX = 16 * 1024 * 1024

const SSE_HEADERS = {
  'content-type': 'text/event-stream',
  // A cached answer could reach somebody under another lease (threat 25).
  'cache-control': 'no-store, no-transform',
  'x-accel-buffering': 'no',
}

/** Sends a JSON answer and is done with the request. */
export function sendJson(
  res: ServerResponse,
  status: number,
  body: string,
  headers: Readonly<Record<string, string>> = {},
): void {
  if (res.headersSent || res.destroyed) return
  res.writeHead(status, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(body),
    'cache-control': 'no-store',
    ...headers,
  })
  res.end(body)
}

/** Sends a status without a body. */
export function sendStatus(
  res: ServerResponse,
  status: number,
  headers: Readonly<Record<string, string>> = {},
): void {
  if (res.headersSent || res.destroyed) return
  res.writeHead(status, { 'content-length': '0', ...headers })
  res.end()
}

/** A stream of events to one client. */
export class EventStream {
  readonly #res: ServerResponse
  readonly #keepAlive: NodeJS.Timeout

  constructor(res: ServerResponse, headers: Readonly<Record<string, string>> = {}) {
    this.#res = res
    res.writeHead(200, { ...SSE_HEADERS, ...headers })
    res.flushHeaders()
    this.#keepAlive = setInterval(() => this.#write(': keep-alive\n\n'), KEEP_ALIVE_MS)
    this.#keepAlive.unref()
    res.once('close', () => clearInterval(this.#keepAlive))
  }

  /** Sends one JSON-RPC message. */
  send(text: string): void {
    // Serialised JSON has no line break.
    this.#write(`event: message\ndata: ${text}\n\n`)
  }

  end(): void {
    clearInterval(this.#keepAlive)
    this.#res.end()
  }

  #write(text: string): void {
    if (this.#res.destroyed || this.#res.writableEnded) return
    this.#res.write(text)
    if (this.#res.writableLength > UNREAD_BYTES_MAX) this.#res.destroy()
  }
}

/**
 * The answer to one POST: plain JSON, unless something has to be said before it (then a stream, if
 * the client takes one). Nothing is buffered: what comes after the stream has begun is sent as it
 * comes.
 */
export class PostAnswer {
  readonly #res: ServerResponse
  readonly #accepts: Accepts
  readonly #headers: Readonly<Record<string, string>>
  readonly #quiet: NodeJS.Timeout
  #stream: EventStream | null = null

  constructor(
    res: ServerResponse,
    accepts: Accepts,
    headers: Readonly<Record<string, string>> = {},
  ) {
    this.#res = res
    this.#accepts = accepts
    this.#headers = headers
    this.#quiet = setTimeout(() => this.#begin(), KEEP_ALIVE_MS)
    res.once('close', () => clearTimeout(this.#quiet))
  }

  /** The answer as a stream, from now on; null when the client takes none. */
  stream(): EventStream | null {
    return this.#begin()
  }

  /** Sends a message before the response; false where the client takes no stream. */
  notify(text: string): boolean {
    const stream = this.#begin()
    stream?.send(text)
    return stream !== null
  }

  /** Sends the response; `status` counts only where no stream has begun. */
  finish(text: string, status: number): void {
    clearTimeout(this.#quiet)
    if (this.#stream === null && this.#accepts.json && !this.#accepts.prefersStream) {
      sendJson(this.#res, status, text, this.#headers)
      return
    }
    const stream = this.#begin()
    stream?.send(text)
    stream?.end()
  }

  /** Ends without a response: the client has cancelled, and expects none. */
  abandon(): void {
    clearTimeout(this.#quiet)
    if (this.#stream !== null) this.#stream.end()
    else sendStatus(this.#res, 202, this.#headers)
  }

  #begin(): EventStream | null {
    if (this.#stream !== null) return this.#stream
    clearTimeout(this.#quiet)
    if (!this.#accepts.stream || this.#res.headersSent || this.#res.destroyed) return null
    this.#stream = new EventStream(this.#res, this.#headers)
    return this.#stream
  }
}

export interface Accepts {
  readonly json: boolean
  readonly stream: boolean
  /** It names the stream first. */
  readonly prefersStream: boolean
}

/** What the client takes as an answer; a client that does not say takes both. */
export function acceptsOf(req: IncomingMessage): Accepts {
  const accept = req.headers.accept
  if (accept === undefined || accept.includes('*/*'))
    return { json: true, stream: true, prefersStream: false }
  const lower = accept.toLowerCase()
  const json = lower.includes('application/json') || lower.includes('application/*')
  const stream = lower.includes('text/event-stream') || lower.includes('text/*')
  return { json, stream, prefersStream: lower.trimStart().startsWith('text/event-stream') }
}
