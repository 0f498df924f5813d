import {
  INTERNAL_ERROR,
  type JsonObject,
  METHOD_NOT_FOUND,
  type RequestId,
  type RpcReply,
  responseText,
  rpcError,
  SERVER_ERROR,
} from './jsonrpc.ts'
import { UPSTREAM_REQUESTS } from './methods.ts'

/** Questions that an upstream may have open; more is a flood that no client could answer. */
const OPEN_MAX = 64

/** Passes a question of an upstream on to the client that it concerns. */
export type AskClient = (
  method: string,
  params: JsonObject,
  signal: AbortSignal,
) => Promise<RpcReply>

interface UpstreamRequest {
  readonly id: RequestId
  readonly method: string
  readonly params: JsonObject
}

/**
 * The requests that one upstream sends to us. Each is answered: by the client, or with a refusal.
 */
export class UpstreamRequests {
  readonly #open = new Map<RequestId, AbortController>()
  readonly #send: (text: string) => void

  constructor(send: (text: string) => void) {
    this.#send = send
  }

  /** `ask` is null where no client can be told to be meant; then only a ping is answered. */
  async answer({ id, method, params }: UpstreamRequest, ask: AskClient | null): Promise<void> {
    const refusal = this.#refuse(id, method, ask)
    if (refusal !== null || ask === null) {
      this.#send(responseText(id, refusal ?? { result: {} }))
      return
    }
    const abort = new AbortController()
    this.#open.set(id, abort)
    let reply: RpcReply
    try {
      reply = await ask(method, params, abort.signal)
    } catch {
      reply = rpcError(INTERNAL_ERROR, 'daypass failed to pass this on')
    }
    this.#open.delete(id)
    // Who has taken back a question waits for no answer.
    if (!abort.signal.aborted) this.#send(responseText(id, reply))
  }

  /** The upstream takes a question back. */
  cancelled({ requestId }: JsonObject): void {
    if (typeof requestId === 'string' || typeof requestId === 'number') {
      this.#open.get(requestId)?.abort()
    }
  }

  /** The connection is over, and nobody waits for an answer. */
  close(): void {
    for (const abort of this.#open.values()) abort.abort()
    this.#open.clear()
  }

  #refuse(id: RequestId, method: string, ask: AskClient | null): RpcReply | null {
    if (method === 'ping') return { result: {} }
    const known = Object.hasOwn(UPSTREAM_REQUESTS, method) ? UPSTREAM_REQUESTS[method] : undefined
    if (known === undefined || known.rule === 'deny') {
      const why = known?.why ?? 'unknown method'
      return rpcError(METHOD_NOT_FOUND, `daypass does not relay this: ${why}`)
    }
    if (ask === null) {
      return rpcError(
        METHOD_NOT_FOUND,
        'daypass does not relay this: no client is known to be meant',
      )
    }
    if (this.#open.has(id)) return rpcError(SERVER_ERROR, 'this `id` is in use')
    if (this.#open.size >= OPEN_MAX) return rpcError(SERVER_ERROR, 'too many requests are open')
    return null
  }
}
