import { randomUUID } from 'node:crypto'
import { ClientSession } from './client-session.ts'
import { answer } from './dispatch.ts'
import type { Door, Principal } from './door.ts'
import type { Era } from './era.ts'
import type { Gate } from './gate.ts'
import {
  INVALID_REQUEST,
  type JsonObject,
  notificationText,
  PARSE_ERROR,
  parseStrict,
  type RequestId,
  type RpcMessage,
  type RpcReply,
  readMessage,
  responseText,
  rpcError,
  SERVER_ERROR,
} from './jsonrpc.ts'
import { agreeOnVersion, allowsBatches, BATCH_ITEMS_MAX, initializeResult } from './legacy.ts'
import { LineReader, LineWriter } from './lines.ts'
import { Subscriptions } from './listen.ts'
import { watchListings } from './listings.ts'
import { isHeard } from './methods.ts'
import { checkVersion, claimsModern, discover, readEnvelope, toModern } from './modern.ts'
import type { Upstreams } from './upstreams.ts'

/** One message; whole files fit. */
const LINE_BYTES_MAX = 8 * 1024 * 1024
/** After the end of the input, calls in flight may still answer for this long. */
const DRAIN_MS = 5_000

type Request = Extract<RpcMessage, { kind: 'request' }>

export interface StdioServer {
  /** Resolves when the input has ended and the session with it. */
  readonly done: Promise<void>
  /** Ends as if the input had ended. */
  close(): void
}

export interface StdioServerOptions {
  readonly serverInfo: { readonly name: string; readonly version: string }
}

/**
 * Serves MCP on a pair of streams, both eras, for one principal. With none (no badge, no lease) the
 * client can connect and read why nothing is allowed; every call is denied.
 */
export function serveStdio(
  door: Door,
  upstreams: Upstreams,
  principal: Principal | null,
  input: NodeJS.ReadableStream,
  output: NodeJS.WritableStream,
  options: StdioServerOptions,
): StdioServer {
  const gate: Gate = { door, upstreams, serverInfo: options.serverInfo }
  const session = principal === null ? null : { ...principal, session: randomUUID() }
  const connection = new Connection(gate, session, new LineWriter(output))
  const reader = new LineReader({
    lineBytesMax: LINE_BYTES_MAX,
    onLine: (line) => connection.receive(line),
    onTooLong: () => connection.fault('the message is too long'),
    onNotUtf8: () => connection.fault('the message is not valid UTF-8'),
  })
  input.on('data', (chunk: Buffer | string) => reader.push(Buffer.from(chunk)))
  input.once('end', () => {
    reader.end()
    void connection.end()
  })
  input.once('close', () => void connection.end())
  // A client that is gone cannot be told anything.
  output.once('error', () => void connection.end())
  return { done: connection.done, close: () => void connection.end() }
}

class Connection {
  readonly #gate: Gate
  readonly #principal: Principal | null
  readonly #writer: LineWriter
  readonly #subscriptions: Subscriptions
  readonly #cancelListen = new Map<RequestId, () => void>()
  readonly #inFlight = new Map<RequestId, AbortController>()
  readonly #done = Promise.withResolvers<void>()
  #version: string | null = null
  #session: ClientSession | null = null
  #unwatch: (() => void) | null = null
  #ending = false
  #idle: (() => void) | null = null

  constructor(gate: Gate, principal: Principal | null, writer: LineWriter) {
    this.#gate = gate
    this.#principal = principal
    this.#writer = writer
    this.#subscriptions = new Subscriptions(gate)
  }

  get done(): Promise<void> {
    return this.#done.promise
  }

  fault(message: string): void {
    this.#writer.write(responseText(null, rpcError(PARSE_ERROR, message)))
  }

  receive(line: string): void {
    const parsed = parseStrict(line)
    if (!parsed.ok) {
      this.#writer.write(responseText(parsed.error.id, { error: parsed.error.error }))
    } else if (Array.isArray(parsed.value)) {
      void this.#receiveBatch(parsed.value)
    } else {
      void this.#receiveOne(parsed.value).then((text) => {
        if (text !== null) this.#writer.write(text)
      })
    }
  }

  /** The end of the session: what is in flight gets a moment, then it is cancelled. */
  async end(): Promise<void> {
    if (this.#ending) return
    this.#ending = true
    this.#unwatch?.()
    this.#subscriptions.close()
    if (this.#inFlight.size > 0) {
      const { promise, resolve } = Promise.withResolvers<void>()
      this.#idle = resolve
      const timer = setTimeout(resolve, DRAIN_MS)
      await promise
      clearTimeout(timer)
      for (const abort of this.#inFlight.values()) abort.abort()
    }
    await this.#session?.close()
    this.#writer.flush()
    if (this.#principal !== null) this.#gate.door.sessionEnded(this.#principal)
    this.#done.resolve()
  }

  async #receiveBatch(items: readonly unknown[]): Promise<void> {
    const allowed = this.#version !== null && allowsBatches(this.#version)
    if (!allowed || items.length === 0 || items.length > BATCH_ITEMS_MAX) {
      const error = rpcError(INVALID_REQUEST, 'a batch is not allowed here, or is too long')
      this.#writer.write(responseText(null, error))
      return
    }
    const answers = await Promise.all(items.map((item) => this.#receiveOne(item)))
    const texts = answers.filter((text) => text !== null)
    if (texts.length > 0) this.#writer.write(`[${texts.join(',')}]`)
  }

  /** The text that answers a message; null when none does. */
  async #receiveOne(value: unknown): Promise<string | null> {
    const read = readMessage(value)
    if (!read.ok) return responseText(read.error.id, { error: read.error.error })
    const message = read.value
    if (message.kind === 'response') {
      this.#session?.answered(message.id, message.reply)
      return null
    }
    if (message.kind === 'notification') return this.#notified(message.method, message.params)
    if (this.#inFlight.has(message.id)) {
      return responseText(message.id, rpcError(INVALID_REQUEST, 'this `id` is in flight'))
    }
    const abort = new AbortController()
    this.#inFlight.set(message.id, abort)
    try {
      const reply = await this.#answer(message, abort.signal)
      return reply === null || abort.signal.aborted ? null : responseText(message.id, reply)
    } finally {
      this.#inFlight.delete(message.id)
      if (this.#inFlight.size === 0) setImmediate(() => this.#idle?.())
    }
  }

  #notified(method: string, params: JsonObject): string | null {
    if (!method.startsWith('notifications/')) {
      return responseText(null, rpcError(INVALID_REQUEST, 'a request needs an `id`'))
    }
    if (!isHeard(method, this.#version === null ? 'modern' : 'legacy')) return null
    if (method === 'notifications/cancelled') {
      const id = params.requestId
      if (typeof id !== 'string' && typeof id !== 'number') return null
      this.#inFlight.get(id)?.abort()
      this.#cancelListen.get(id)?.()
      this.#cancelListen.delete(id)
    } else if (method === 'notifications/initialized') {
      this.#watch()
    } else if (method === 'notifications/roots/list_changed') {
      this.#session?.rootsChanged()
    }
    return null
  }

  /** A legacy client hears of changes unasked, once it is ready. */
  #watch(): void {
    if (this.#unwatch !== null || this.#principal === null || this.#version === null) return
    const filter = { tools: true, prompts: true, resources: true, uris: [] }
    this.#unwatch = watchListings(this.#gate, this.#principal, filter, (method) =>
      this.#writer.write(notificationText(method, undefined)),
    )
  }

  async #answer(message: Request, signal: AbortSignal): Promise<RpcReply | null> {
    if (claimsModern(message.params)) return this.#answerModern(message, signal)
    if (message.method === 'initialize') {
      this.#version = agreeOnVersion(message.params)
      this.#openSession(message.params)
      return { result: await initializeResult(this.#gate, this.#version) }
    }
    if (message.method === 'ping') return { result: {} }
    if (this.#version === null) return rpcError(INVALID_REQUEST, 'send `initialize` first')
    return this.#answerAs('legacy', message, {}, signal)
  }

  #openSession({ capabilities }: JsonObject): void {
    const principal = this.#principal
    if (principal === null || this.#session !== null) return
    const push = (text: string): boolean => this.#push(text)
    this.#session = new ClientSession({ gate: this.#gate, principal, capabilities, push })
  }

  #push(text: string): boolean {
    this.#writer.write(text)
    return true
  }

  async #answerModern(message: Request, signal: AbortSignal): Promise<RpcReply | null> {
    const { method, params } = message
    const envelope = readEnvelope(params)
    if (!envelope.ok) return { error: envelope.error }
    const wrong = checkVersion(envelope.value)
    if (wrong !== null) return { error: wrong }
    if (method === 'server/discover') return toModern(method, await discover(this.#gate))
    if (method === 'subscriptions/listen') return this.#listen(message)
    const { clientCapabilities } = envelope.value
    return toModern(method, await this.#answerAs('modern', message, clientCapabilities, signal))
  }

  #listen(message: Request): RpcReply | null {
    if (this.#principal === null) return noBadge()
    const { id } = message
    const sink = {
      send: (text: string) => this.#writer.write(text),
      ended: () => void this.#cancelListen.delete(id),
    }
    if (this.#cancelListen.has(id)) return rpcError(INVALID_REQUEST, 'this `id` is in use')
    const listening = this.#subscriptions.listen(this.#principal, message, sink)
    if (typeof listening !== 'function') return listening
    this.#cancelListen.set(id, listening)
    return null
  }

  #answerAs(
    era: Era,
    { id, method, params }: Request,
    clientCapabilities: JsonObject,
    signal: AbortSignal,
  ): Promise<RpcReply> | RpcReply {
    if (this.#principal === null) return method === 'tools/list' ? noTools() : noBadge()
    return answer(this.#gate, {
      principal: this.#principal,
      era,
      id,
      method,
      params,
      idempotencyKey: null,
      clientCapabilities,
      session: era === 'legacy' ? this.#session : null,
      signal,
      push: (text) => this.#push(text),
    })
  }
}

function noTools(): RpcReply {
  return { result: { tools: [] } }
}

function noBadge(): RpcReply {
  const message =
    'denied: this connection has no badge. Start the agent with `daypass run`, or ' +
    '`daypass mcp --lease FILE`'
  return rpcError(SERVER_ERROR, message)
}
