import type { Era } from './era.ts'
import type { JsonObject, RpcReply } from './jsonrpc.ts'
import type { AskClient } from './upstream-requests.ts'

export const MODERN_VERSION = '2026-07-28'
export const LEGACY_VERSIONS: readonly string[] = [
  '2025-11-25',
  '2025-06-18',
  '2025-03-26',
  '2024-11-05',
]

/** A tool may work for long, but not without a sign of life: progress starts the time again. */
export const CALL_IDLE_MS = 300_000
/** With progress or without, nobody waits longer than this. */
export const CALL_TOTAL_MS = 3_600_000
/** One message of an upstream, such as a file in base64; more would fill the memory of all runs. */
export const UPSTREAM_MESSAGE_BYTES_MAX = 64 * 1024 * 1024
/** Requests in flight at one upstream; more is a flood that it could not answer anyway. */
export const UPSTREAM_IN_FLIGHT_MAX = 10_000

export const UNSIGNED = 'its transaction token could not be signed'
export const OVER_BEFORE_SENT = 'the lease ended before the call was sent'

/** Why there is no answer. */
export interface Failure {
  /**
   * False only when the upstream certainly did not act on it: never sent, or refused by its
   * transport. INVARIANT: when in doubt, true; the caller treats the outcome as unknown.
   */
  readonly sent: boolean
  readonly why:
    | 'cancelled'
    | 'timeout'
    | 'disconnected'
    | 'unavailable'
    | 'refused'
    | 'session_gone'
    | 'protocol'
  readonly message: string
  /** HTTP status, where that is the reason. */
  readonly status?: number
}

/** What the upstream answered, or why there is no answer. */
export type UpstreamReply = RpcReply | { readonly failure: Failure }

export interface CallOptions {
  readonly signal?: AbortSignal
  /** Asked again when a request leaves that had to wait (threat 61). */
  readonly isOver?: () => boolean
  /** Notifications that belong to this call: progress, and over HTTP also log messages. */
  readonly onNotification?: (method: string, params: JsonObject) => void
  /** Passes on what the upstream asks while it works on this; nothing is asked without it. */
  readonly ask?: AskClient
  /** Idle time; progress starts it again, and a question of the upstream stops it. */
  readonly timeoutMs?: number | undefined
  /** What the upstream may ask of the caller (modern era); nothing unless given. */
  readonly clientCapabilities?: JsonObject
  /** Makes the transaction token that goes with the message, when the message leaves. May throw. */
  readonly envelope?: (() => string) | undefined
  /** Headers that repeat arguments (`Mcp-Param-*`); HTTP only. */
  readonly paramHeaders?: Readonly<Record<string, string>> | undefined
}

/** What was negotiated with an upstream. */
export interface Protocol {
  readonly era: Era
  readonly version: string
  /** What `_meta` of every request carries in the modern era; empty in the legacy era. */
  readonly envelope: JsonObject
}

export interface LinkEvents {
  /** A notification that belongs to no request. */
  notification(method: string, params: JsonObject): void
  /** A request that belongs to none of ours. Without it, or for null, it is refused. */
  readonly request?: AskClient
  /** The connection is over; every request in flight has been failed. Called once. */
  closed(why: string): void
}

/** What a link knows about a process that died or will not start. */
export interface Diagnostics {
  readonly exitCode: number | string | null
  readonly stderr: string
}

/**
 * One connection to one upstream. Requests get ids of the link's own; answers find their caller.
 */
export interface Link {
  readonly kind: 'stdio' | 'http'
  /** Resolves when requests can be sent; rejects with an Error that says why not. */
  open(events: LinkEvents): Promise<void>
  setProtocol(protocol: Protocol): void
  /** Never rejects. `params` is owned by the link from here on. */
  request(method: string, params: JsonObject, options: CallOptions): Promise<UpstreamReply>
  notify(method: string, params?: JsonObject): void
  /**
   * Receives what the upstream says unasked, from when it has been negotiated on. Called again when
   * other resources are watched: only the modern era needs to be told which.
   */
  listen(watched: readonly string[]): void
  diagnostics(): Diagnostics
  /** Ends the connection and whatever serves it. Safe to call twice. */
  close(): Promise<void>
}

export function failure(
  why: Failure['why'],
  message: string,
  more: { sent: boolean; status?: number },
): { failure: Failure } {
  return { failure: { why, message, ...more } }
}

/** A request that waits for its answer: settles once, by answer, timeout, cancellation or loss. */
export class PendingCall {
  readonly promise: Promise<UpstreamReply>
  readonly onNotification: CallOptions['onNotification']
  readonly ask: CallOptions['ask']
  readonly #signal: AbortSignal | undefined
  readonly #giveUp: (why: 'cancelled' | 'timeout') => void
  readonly #deadline: number
  readonly #timer: NodeJS.Timeout
  #held = 0
  #resolve!: (reply: UpstreamReply) => void
  settled = false
  /** False while the upstream certainly knows nothing of it. */
  isSent = true

  /** `giveUp` tells the upstream that nobody waits any more. */
  constructor(options: CallOptions, giveUp: (why: 'cancelled' | 'timeout') => void) {
    this.promise = new Promise((resolve) => {
      this.#resolve = resolve
    })
    this.onNotification = options.onNotification
    this.ask = options.ask
    this.#signal = options.signal
    this.#giveUp = giveUp
    const idleMs = options.timeoutMs ?? CALL_IDLE_MS
    this.#deadline = performance.now() + CALL_TOTAL_MS
    this.#timer = setTimeout(this.#onTimeout, idleMs)
    this.#signal?.addEventListener('abort', this.#onAbort, { once: true })
  }

  /** The upstream gave a sign of life. */
  touch(): void {
    if (!this.settled && performance.now() < this.#deadline) this.#timer.refresh()
  }

  /** The upstream waits for somebody itself. Time counts again from the release on. */
  hold(): () => void {
    this.#held++
    return () => {
      this.#held--
      this.touch()
    }
  }

  settle(reply: UpstreamReply): void {
    if (this.settled) return
    this.settled = true
    clearTimeout(this.#timer)
    this.#signal?.removeEventListener('abort', this.#onAbort)
    this.#resolve(reply)
  }

  readonly #onTimeout = (): void => {
    if (this.settled) return
    if (this.#held > 0 && performance.now() < this.#deadline) {
      this.#timer.refresh()
      return
    }
    this.settle(failure('timeout', 'the upstream did not answer in time', { sent: this.isSent }))
    this.#giveUp('timeout')
  }

  readonly #onAbort = (): void => {
    if (this.settled) return
    this.settle(failure('cancelled', 'the call was cancelled', { sent: this.isSent }))
    this.#giveUp('cancelled')
  }
}

/** Asks for progress under the link's own id: a token of a client never leaves it. */
export function withProgressToken(params: JsonObject, id: number): void {
  params._meta = { ...(params._meta as JsonObject | undefined), progressToken: id }
}

/** What `subscriptions/listen` asks an upstream of the modern era for. */
export function listenParams(protocol: Protocol, watched: readonly string[]): JsonObject {
  const notifications: JsonObject = {
    toolsListChanged: true,
    promptsListChanged: true,
    resourcesListChanged: true,
  }
  if (watched.length > 0) notifications.resourceSubscriptions = watched
  return { _meta: protocol.envelope, notifications }
}
