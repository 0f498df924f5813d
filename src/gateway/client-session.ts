import type { Principal } from './door.ts'
import type { Gate } from './gate.ts'
import {
  INVALID_PARAMS,
  isObject,
  type JsonObject,
  METHOD_NOT_FOUND,
  notificationText,
  type RequestId,
  type RpcReply,
  requestText,
  rpcError,
  SERVER_ERROR,
} from './jsonrpc.ts'
import { isPassedOn } from './methods.ts'
import { answers, guardQuestion, relayedCapabilities } from './questions.ts'
import type { SessionUpstream } from './session-upstream.ts'
import type { Upstream } from './upstream.ts'
import { type CallOptions, failure, type UpstreamReply } from './upstream-link.ts'
import type { AskClient } from './upstream-requests.ts'

/** Sends a message to the client; false when there is no stream that takes it. */
export type Push = (text: string) => boolean

/** Questions that one client may have open; a server could flood a person with them. */
const QUESTIONS_OPEN_MAX = 32
/** How long a person may take. */
const ANSWER_MS = 10 * 60_000
/** Rounds in which an upstream of the modern era may ask before it answers one call. */
const ROUNDS_MAX = 8
/** Resources that one session may watch. */
const WATCHED_MAX = 256
const META_LOG_LEVEL = 'io.modelcontextprotocol/logLevel'

const LEVELS = ['debug', 'info', 'notice', 'warning', 'error', 'critical', 'alert', 'emergency']

interface Question {
  readonly settle: (reply: RpcReply) => void
}

/**
 * A client session of the legacy era: what the client can be asked, what it wants to hear of, and
 * the connections to upstreams that are its own because of that.
 */
export class ClientSession {
  readonly #gate: Gate
  readonly #principal: Principal
  readonly #capabilities: JsonObject
  readonly #pushUnasked: Push
  readonly #own = new Map<string, SessionUpstream>()
  /** Servers that do not speak the era of this client. */
  readonly #modernOnly = new Set<string>()
  readonly #questions = new Map<RequestId, Question>()
  readonly #watched = new Map<string, () => void>()
  /** The streams of the calls under way, by server; the latest last. */
  readonly #streams = new Map<string, Push[]>()
  #level: string | null = null
  #lastId = 0
  #isOver = false
  #offEnd: (() => void) | null = null

  /** `push` reaches the client outside of any request of its own. */
  constructor(options: { gate: Gate; principal: Principal; capabilities: unknown; push: Push }) {
    this.#gate = options.gate
    this.#principal = options.principal
    this.#capabilities = isObject(options.capabilities) ? options.capabilities : {}
    this.#pushUnasked = options.push
  }

  /** Sends a request to a server on the connection that serves this session. */
  async call(
    upstream: Upstream,
    method: string,
    params: JsonObject,
    options: CallOptions & { readonly push: Push },
  ): Promise<UpstreamReply> {
    const { push, ...rest } = options
    const server = upstream.name
    const ask: AskClient = (asked, about, signal) =>
      this.#ask(upstream, { method: asked, params: about, signal, push })
    const streams = this.#streams.get(server) ?? []
    this.#streams.set(server, streams)
    streams.push(push)
    try {
      const own = this.#needsOwn(upstream) ? await this.#ownOf(upstream) : null
      if (own !== null) return await own.call(method, params, { ...rest, ask })
      return await this.#callShared(upstream, method, params, rest, ask)
    } finally {
      streams.splice(streams.lastIndexOf(push), 1)
      if (streams.length === 0) this.#streams.delete(server)
    }
  }

  /** The client has answered; false when nobody has asked. */
  answered(id: RequestId, reply: RpcReply): boolean {
    const question = this.#questions.get(id)
    question?.settle(reply)
    return question !== undefined
  }

  /** `logging/setLevel`, for every server that logs. */
  async setLevel(level: unknown): Promise<RpcReply> {
    if (typeof level !== 'string' || !LEVELS.includes(level)) {
      return rpcError(INVALID_PARAMS, `\`level\` must be one of: ${LEVELS.join(', ')}`)
    }
    this.#level = level
    await Promise.all([...this.#own.values()].map((own) => own.setLevel(level)))
    return { result: {} }
  }

  rootsChanged(): void {
    for (const own of this.#own.values()) void own.rootsChanged()
  }

  /** `resources/subscribe`, once it has been allowed. */
  async watch(upstream: Upstream, uri: string): Promise<UpstreamReply> {
    if (this.#watched.has(uri)) return { result: {} }
    if (this.#watched.size >= WATCHED_MAX) {
      return rpcError(SERVER_ERROR, 'this session watches too many resources')
    }
    const updated = 'notifications/resources/updated'
    const watching = await upstream.watches.watch(uri, () => {
      this.#pushUnasked(notificationText(updated, { uri }))
    })
    if (!watching.ok) return watching.error
    if (this.#isOver) watching.value()
    else this.#watched.set(uri, watching.value)
    this.#endWithLease()
    return { result: {} }
  }

  unwatch(uri: string): void {
    this.#watched.get(uri)?.()
    this.#watched.delete(uri)
  }

  /** The session is over: nobody is asked any more, and its connections end. */
  async close(): Promise<void> {
    this.#isOver = true
    this.#offEnd?.()
    for (const question of [...this.#questions.values()]) question.settle(gone())
    for (const off of this.#watched.values()) off()
    this.#watched.clear()
    const own = [...this.#own.values()]
    this.#own.clear()
    await Promise.all(own.map((each) => each.close()))
  }

  #relayed({ withholdsRoots }: Upstream): JsonObject {
    return relayedCapabilities(this.#capabilities, { withholdsRoots, tasks: false })
  }

  /** A server can only ask, and log, where it is known whom. */
  #needsOwn(upstream: Upstream): boolean {
    if (Object.keys(this.#relayed(upstream)).length > 0) return true
    if (this.#level === null || !upstream.offers('logging')) return false
    // Over HTTP the modern era logs on the stream of the call; a child says it to nobody in
    // particular.
    return upstream.kind === 'stdio' || upstream.introduction?.protocol.era === 'legacy'
  }

  /** Null for a server that is not up, or speaks the modern era only. */
  async #ownOf(upstream: Upstream): Promise<SessionUpstream | null> {
    const { name, health, introduction } = upstream
    if (this.#isOver || health.state !== 'up' || this.#modernOnly.has(name)) return null
    const own = this.#own.get(name) ?? this.#connect(upstream)
    if (introduction?.protocol.era === 'legacy' || (await own.open())) return own
    this.#modernOnly.add(name)
    this.#own.delete(name)
    return null
  }

  #connect(upstream: Upstream): SessionUpstream {
    const { name } = upstream
    const own = upstream.connectFor({
      capabilities: this.#relayed(upstream),
      ask: (method, params, signal) => {
        const push = this.#streams.get(name)?.at(-1) ?? this.#pushUnasked
        return this.#ask(upstream, { method, params, signal, push })
      },
      tell: (method, params) => {
        // What belongs to a request or a watch comes another way.
        if (!isPassedOn(method) || BELONGING.has(method)) return
        const push = this.#streams.get(name)?.at(-1) ?? this.#pushUnasked
        push(notificationText(method, params))
      },
    })
    if (this.#level !== null) void own.setLevel(this.#level)
    this.#own.set(name, own)
    this.#endWithLease()
    return own
  }

  #endWithLease(): void {
    this.#offEnd ??= this.#gate.door.onEnd(this.#principal, () => void this.close())
  }

  /**
   * On the connection that serves everybody. An upstream of the modern era asks in rounds; they are
   * turned into the questions of the legacy era here, within the one call that was allowed.
   */
  async #callShared(
    upstream: Upstream,
    method: string,
    params: JsonObject,
    options: CallOptions,
    ask: AskClient,
  ): Promise<UpstreamReply> {
    const isModern = upstream.introduction?.protocol.era === 'modern'
    const relayed = isModern ? { clientCapabilities: this.#relayed(upstream) } : {}
    let next = isModern ? this.#withLevel(params) : params
    for (let round = 0; round < ROUNDS_MAX; round++) {
      const reply = await upstream.call(method, next, { ...options, ...relayed })
      if (!('result' in reply) || reply.result.resultType !== 'input_required') return reply
      const { inputRequests, requestState } = reply.result
      const inputResponses: JsonObject = {}
      for (const [key, question] of Object.entries(isObject(inputRequests) ? inputRequests : {})) {
        const { method: asked, params: about } = isObject(question) ? question : {}
        const signal = options.signal ?? new AbortController().signal
        const reply = await ask(String(asked), isObject(about) ? about : {}, signal)
        if ('error' in reply) return reply
        Object.defineProperty(inputResponses, key, { value: reply.result, enumerable: true })
      }
      const state = requestState === undefined ? {} : { requestState }
      next = { ...this.#withLevel(params), inputResponses, ...state }
    }
    return failure('protocol', 'the upstream asks without end', { sent: true })
  }

  #withLevel(params: JsonObject): JsonObject {
    if (this.#level === null) return params
    const meta = isObject(params._meta) ? params._meta : {}
    return { ...params, _meta: { ...meta, [META_LOG_LEVEL]: this.#level } }
  }

  /** Asks the client on behalf of a server, and waits for its answer. */
  async #ask(
    upstream: Upstream,
    question: { method: string; params: JsonObject; signal: AbortSignal; push: Push },
  ): Promise<RpcReply> {
    const { method, signal, push } = question
    if (this.#isOver || signal.aborted) return gone()
    if (!answers(this.#relayed(upstream), method)) {
      return rpcError(METHOD_NOT_FOUND, 'the client does not answer this')
    }
    const params = guardQuestion(upstream.name, method, question.params)
    if (!params.ok) return rpcError(INVALID_PARAMS, `daypass does not pass it on: ${params.error}`)
    if (this.#questions.size >= QUESTIONS_OPEN_MAX) {
      return rpcError(SERVER_ERROR, 'the client is asked too much at once')
    }
    const id = `daypass-${++this.#lastId}`
    const { promise, resolve } = Promise.withResolvers<RpcReply>()
    this.#questions.set(id, { settle: resolve })
    const text = requestText(id, method, params.value)
    if (!push(text) && !this.#pushUnasked(text)) {
      resolve(rpcError(SERVER_ERROR, 'the client has no stream on which it could be asked'))
    }
    const giveUp = (why: string) => () => {
      const params = { requestId: id, reason: why }
      const cancelled = notificationText('notifications/cancelled', params)
      if (!push(cancelled)) this.#pushUnasked(cancelled)
      resolve(rpcError(SERVER_ERROR, why))
    }
    const timer = setTimeout(giveUp('the client did not answer in time'), ANSWER_MS)
    const withdraw = giveUp('the server has taken it back')
    signal.addEventListener('abort', withdraw, { once: true })
    const reply = await promise
    clearTimeout(timer)
    signal.removeEventListener('abort', withdraw)
    this.#questions.delete(id)
    return reply
  }
}

const BELONGING = new Set([
  'notifications/progress',
  'notifications/cancelled',
  'notifications/resources/updated',
])

function gone(): RpcReply {
  return rpcError(SERVER_ERROR, 'the client is gone')
}
