import type { ServerResponse } from 'node:http'
import type { Principal } from './door.ts'
import type { Gate } from './gate.ts'
import {
  INVALID_PARAMS,
  type JsonObject,
  notificationText,
  type RequestId,
  type RpcReply,
  responseText,
  rpcError,
  SERVER_ERROR,
} from './jsonrpc.ts'
import { type ChangeFilter, readFilter, watchListings } from './listings.ts'
import { ownerOfResource } from './resources.ts'
import type { PostAnswer } from './sse.ts'

/** Subscriptions that one run may hold open. */
const SUBSCRIPTIONS_PER_RUN_MAX = 32
const META_SUBSCRIPTION_ID = 'io.modelcontextprotocol/subscriptionId'

/** What serves one subscription: where to send, and how it ends. */
export interface SubscriptionSink {
  send(text: string): void
  /** The subscription is over; nothing is sent after this. */
  ended(): void
}

/** `subscriptions/listen` of the modern era, for both transports. */
export class Subscriptions {
  readonly #gate: Gate
  readonly #held = new Map<string, number>()
  readonly #open = new Set<() => void>()

  constructor(gate: Gate) {
    this.#gate = gate
  }

  /** Serves a subscription on the stream of its request; an error when it cannot be. */
  listenHttp(
    principal: Principal,
    request: { id: RequestId; params: JsonObject },
    res: ServerResponse,
    out: PostAnswer,
  ): RpcReply | null {
    const filter = readFilter(request.params)
    if (filter === null) return rpcError(INVALID_PARAMS, '`notifications` must be an object')
    if (this.#isFull(principal)) return tooMany()
    const stream = out.stream()
    if (stream === null) return rpcError(INVALID_PARAMS, 'the client must accept text/event-stream')
    const sink = { send: (text: string) => stream.send(text), ended: () => stream.end() }
    const cancel = this.#begin(principal, request.id, filter, sink)
    res.once('close', cancel)
    return null
  }

  /** Serves a subscription on a shared stream. The function cancels it silently. */
  listen(
    principal: Principal,
    request: { id: RequestId; params: JsonObject },
    sink: SubscriptionSink,
  ): (() => void) | RpcReply {
    const filter = readFilter(request.params)
    if (filter === null) return rpcError(INVALID_PARAMS, '`notifications` must be an object')
    if (this.#isFull(principal)) return tooMany()
    return this.#begin(principal, request.id, filter, sink)
  }

  /** Ends every subscription, telling each client so. */
  close(): void {
    for (const finish of [...this.#open]) finish()
  }

  #isFull({ run }: Principal): boolean {
    return (this.#held.get(run) ?? 0) >= SUBSCRIPTIONS_PER_RUN_MAX
  }

  #begin(
    principal: Principal,
    id: RequestId,
    filter: ChangeFilter,
    sink: SubscriptionSink,
  ): () => void {
    const _meta = { [META_SUBSCRIPTION_ID]: id }
    const { run } = principal
    this.#held.set(run, (this.#held.get(run) ?? 0) + 1)
    const offs: (() => void)[] = []
    const cancel = (): void => {
      if (!this.#open.delete(finish)) return
      for (const off of offs) off()
      const left = (this.#held.get(run) ?? 1) - 1
      if (left === 0) this.#held.delete(run)
      else this.#held.set(run, left)
    }
    const finish = (): void => {
      if (!this.#open.has(finish)) return
      cancel()
      sink.send(responseText(id, { result: { resultType: 'complete', _meta } }))
      sink.ended()
    }
    this.#open.add(finish)
    const tell = (method: string, params: JsonObject = {}): void =>
      sink.send(notificationText(method, { ...params, _meta }))
    const isOpen = (): boolean => this.#open.has(finish)
    // The acknowledgement is the first message, and says what is honoured.
    const begin = (uris: readonly string[]): void => {
      if (!isOpen()) return
      const notifications = honouredOf(filter, uris)
      tell('notifications/subscriptions/acknowledged', { notifications })
      if (Object.keys(notifications).length === 0) return finish()
      offs.push(
        watchListings(this.#gate, principal, filter, tell),
        this.#gate.door.onEnd(principal, finish),
      )
    }
    if (filter.uris.length === 0) begin([])
    else void this.#watch(principal, filter.uris, { tell, offs, isOpen }).then(begin)
    return cancel
  }

  /** Watches those of the resources that the principal may read. Returns them. */
  async #watch(
    principal: Principal,
    uris: readonly string[],
    stream: {
      tell: (method: string, params: JsonObject) => void
      offs: (() => void)[]
      isOpen: () => boolean
    },
  ): Promise<string[]> {
    const watched = await Promise.all(
      uris.map(async (uri): Promise<string[]> => {
        const changed = () => stream.tell('notifications/resources/updated', { uri })
        const off = await watchResource(this.#gate, principal, uri, changed)
        if (off === null) return []
        // Who has cancelled meanwhile does not hear of it.
        if (stream.isOpen()) stream.offs.push(off)
        else off()
        return [uri]
      }),
    )
    return watched.flat()
  }
}

/** Judged as reading the resource is. Null: denied, or not to be watched. */
async function watchResource(
  gate: Gate,
  principal: Principal,
  uri: string,
  changed: () => void,
): Promise<(() => void) | null> {
  const owner = await ownerOfResource(gate.upstreams, uri)
  const upstream = owner.ok ? gate.upstreams.get(owner.value) : undefined
  if (upstream === undefined) return null
  let off: (() => void) | null = null
  await gate.door.relay(principal, {
    method: 'resources/subscribe',
    server: upstream.name,
    params: { uri },
    signal: new AbortController().signal,
    send: async () => {
      const watching = await upstream.watches.watch(uri, changed)
      if (!watching.ok) return watching.error
      off = watching.value
      return { result: {} }
    },
  })
  return off
}

function honouredOf(filter: ChangeFilter, uris: readonly string[]): JsonObject {
  const honoured: JsonObject = {}
  if (filter.tools) honoured.toolsListChanged = true
  if (filter.prompts) honoured.promptsListChanged = true
  if (filter.resources) honoured.resourcesListChanged = true
  if (uris.length > 0) honoured.resourceSubscriptions = uris
  return honoured
}

function tooMany(): RpcReply {
  return rpcError(SERVER_ERROR, 'this run has too many subscriptions; cancel one')
}
