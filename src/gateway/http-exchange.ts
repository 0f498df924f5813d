import type { Dispatcher, Pool } from 'undici'
import { TXN_HEADER } from '../badge/txn.ts'
import { EventReader, findReply, mediaTypeOf } from './http-body.ts'
import type { RpcMessage } from './jsonrpc.ts'
import {
  type Failure,
  failure,
  UNSIGNED,
  UPSTREAM_MESSAGE_BYTES_MAX,
  type UpstreamReply,
} from './upstream-link.ts'

/** How much of a refusal's body is read, for its words. */
const REFUSAL_BYTES_MAX = 64 * 1024
/** A stream that goes on after the answer is cut; most servers end it at once. */
const LINGER_MS = 1_000

export interface ExchangeRequest {
  /** Of the JSON-RPC request that the body is. */
  readonly id: number
  readonly path: string
  readonly headers: Record<string, string>
  readonly body: string
  /** Makes the transaction token, which must be fresh: requests can wait for a connection. */
  readonly envelope: (() => string) | undefined
  /** Whether a session is being used: a 404 then means that it is gone. */
  readonly inSession: boolean
}

export interface ExchangeEvents {
  /** From here on the upstream may have acted on it. */
  started(): void
  /** The answer's session, before the answer itself. */
  session(id: string | null): void
  /** What comes on the stream of the answer before it. */
  message(message: Exclude<RpcMessage, { kind: 'response' }>): void
  /** The answer, or why there is none; once. */
  answered(reply: UpstreamReply): void
  /** The connection is free, or gone; once, and last. */
  over(): void
}

type Controller = Dispatcher.DispatchController
type Headers = Parameters<NonNullable<Dispatcher.DispatchHandler['onResponseStart']>>[2]

/**
 * One POST and its answer, read as it arrives. A handler of undici's `dispatch`: `request` makes a
 * stream for each answer, which costs more than everything else that happens to a call.
 */
export class Exchange implements Dispatcher.DispatchHandler {
  readonly #request: ExchangeRequest
  readonly #on: ExchangeEvents
  #controller: Controller | null = null
  #isCancelled = false
  #hasStarted = false
  #isAnswered = false
  #isOver = false
  #status = 0
  #type = ''
  #chunks: Buffer[] = []
  #bytes = 0
  #stream: EventReader | null = null
  #linger: NodeJS.Timeout | null = null

  constructor(request: ExchangeRequest, on: ExchangeEvents) {
    this.#request = request
    this.#on = on
  }

  send(pool: Pool): void {
    const { path, headers, body, envelope } = this.#request
    try {
      if (envelope !== undefined) headers[TXN_HEADER] = envelope()
    } catch {
      this.refuse('unavailable', UNSIGNED)
      return this.#end()
    }
    pool.dispatch({ path, method: 'POST', headers, body }, this)
  }

  /** Nobody waits any more. The connection is given up with it: HTTP/1.1 has no other way. */
  cancel(): void {
    this.#isCancelled = true
    this.#controller?.abort(new Error('cancelled'))
  }

  /** It waits for a connection, and gets none. */
  refuse(why: Failure['why'], message: string): void {
    this.#answer(failure(why, message, { sent: false }))
  }

  onRequestStart(controller: Controller): void {
    if (this.#isCancelled) {
      controller.abort(new Error('cancelled'))
      return
    }
    this.#controller = controller
    this.#hasStarted = true
    this.#on.started()
  }

  onResponseStart(_: Controller, status: number, headers: Headers): void {
    if (status < 200) return
    this.#status = status
    this.#type = mediaTypeOf(headers['content-type'])
    const session = headers['mcp-session-id']
    this.#on.session(typeof session === 'string' ? session : null)
    if (status === 200 && this.#type === 'text/event-stream') this.#stream = new EventReader()
  }

  onResponseData(controller: Controller, chunk: Buffer): void {
    if (this.#stream !== null) {
      for (const message of this.#stream.push(chunk)) this.#receive(message)
      return
    }
    this.#bytes += chunk.length
    this.#chunks.push(chunk)
    const max = this.#status === 200 ? UPSTREAM_MESSAGE_BYTES_MAX : REFUSAL_BYTES_MAX
    if (this.#bytes > max) controller.abort(new Error(`more than ${max} bytes`))
  }

  onResponseEnd(): void {
    if (this.#stream === null) this.#answer(this.#read())
    else this.#answer(failure('disconnected', 'the stream ended without an answer', { sent: true }))
    this.#end()
  }

  onResponseError(_: Controller, error: Error): void {
    if (this.#status === 0) {
      const { code, message } = error as { code?: string; message: string }
      // One that has begun may have been acted on, however its connection ended.
      const sent = this.#hasStarted || code === undefined || !NEVER_SENT.has(code)
      const why = sent ? 'disconnected' : 'unavailable'
      this.#answer(failure(why, `no answer: ${code ?? message}`, { sent }))
    } else {
      const message = `the answer broke off: ${error.message}`
      this.#answer(failure('disconnected', message, { sent: true }))
    }
    this.#end()
  }

  #receive(message: RpcMessage): void {
    if (this.#isAnswered) return
    if (message.kind !== 'response') this.#on.message(message)
    else if (message.id === this.#request.id) {
      this.#answer(message.reply)
      this.#linger = setTimeout(() => this.cancel(), LINGER_MS).unref()
    }
  }

  #read(): UpstreamReply {
    const { id, inSession } = this.#request
    const status = this.#status
    const bytes = this.#chunks.length === 1 ? this.#chunks[0]! : Buffer.concat(this.#chunks)
    const isJson = this.#type === 'application/json'
    const reply = isJson ? findReply(bytes.toString('utf8'), id, status !== 200) : null
    if (reply !== null) return reply
    if (status === 404 && inSession) {
      return failure('session_gone', 'the upstream forgot the session', { sent: false, status })
    }
    if (status >= 300 && status < 500 && !AFTER_THE_FACT.has(status)) {
      const message = `the upstream answered HTTP ${status}`
      return failure('refused', message, { sent: false, status })
    }
    const message = `the upstream answered HTTP ${status} without a JSON-RPC answer`
    return failure('protocol', message, { sent: true, status })
  }

  #answer(reply: UpstreamReply): void {
    if (this.#isAnswered) return
    this.#isAnswered = true
    this.#on.answered(reply)
  }

  #end(): void {
    if (this.#isOver) return
    this.#isOver = true
    if (this.#linger !== null) clearTimeout(this.#linger)
    this.#on.over()
  }
}

/** See Other follows what was done; a proxy's timeout says nothing of what is behind it. */
const AFTER_THE_FACT: ReadonlySet<number> = new Set([303, 408])

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
