import { err, ok, type Result } from '../core/result.ts'
import { isObject, type JsonObject } from './jsonrpc.ts'
import { type ClientInfo, type Introduction, negotiate } from './negotiate.ts'
import { type CallOptions, failure, type Link, type UpstreamReply } from './upstream-link.ts'
import { forUpstream, linkTo, type UpstreamConfig } from './upstream-open.ts'
import type { AskClient } from './upstream-requests.ts'

export interface SessionOptions {
  /** What the client can be asked, as the upstream is told. */
  readonly capabilities: JsonObject
  readonly ask: AskClient
  /** Hears what the upstream says that belongs to no request. */
  readonly tell: (method: string, params: JsonObject) => void
}

interface Opened {
  readonly link: Link
  readonly introduction: Introduction
}

/**
 * A connection to one upstream that belongs to one client session of the legacy era, so that what
 * the upstream asks and says on its own account finds the client that it concerns. Over stdio
 * nothing else tells: it is a child of its own. Opened by the first call, and again by the next one
 * when it is lost.
 */
export class SessionUpstream {
  readonly #config: UpstreamConfig
  readonly #client: ClientInfo
  readonly #capabilities: JsonObject
  readonly #ask: AskClient
  readonly #tell: (method: string, params: JsonObject) => void
  #opened: Promise<Result<Opened, string>> | null = null
  #level: string | null = null
  #isClosed = false

  constructor(config: UpstreamConfig, options: SessionOptions & { readonly client: ClientInfo }) {
    this.#config = config
    this.#client = options.client
    this.#capabilities = options.capabilities
    this.#ask = options.ask
    this.#tell = options.tell
  }

  /** Whether it can be spoken to in the era of its client. */
  async open(): Promise<boolean> {
    return (await this.#open()).ok
  }

  /** As `Upstream.call`. */
  async call(method: string, params: JsonObject, options: CallOptions): Promise<UpstreamReply> {
    const own = { ...options, timeoutMs: options.timeoutMs ?? this.#config.timeoutMs }
    const opened = await this.#open()
    if (!opened.ok) return failure('unavailable', opened.error, { sent: false })
    const reply = await this.#send(opened.value, method, params, own)
    if (!('failure' in reply) || reply.failure.why !== 'session_gone') return reply
    await this.#drop(opened.value.link)
    const again = await this.#open()
    return again.ok ? this.#send(again.value, method, params, own) : reply
  }

  /** From which severity on it shall log. */
  async setLevel(level: string): Promise<void> {
    this.#level = level
    const opened = await this.#opened
    if (opened?.ok) await this.#tellLevel(opened.value)
  }

  async rootsChanged(): Promise<void> {
    const opened = await this.#opened
    if (opened?.ok && this.#capabilities.roots !== undefined) {
      opened.value.link.notify('notifications/roots/list_changed')
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true
    const opened = await this.#opened
    if (opened?.ok) await opened.value.link.close()
  }

  #send(
    { link, introduction }: Opened,
    method: string,
    params: JsonObject,
    options: CallOptions,
  ): Promise<UpstreamReply> {
    return link.request(method, forUpstream(params, introduction, options), options)
  }

  #open(): Promise<Result<Opened, string>> {
    if (this.#opened === null) {
      const opening = this.#connect()
      this.#opened = opening
      // What failed is tried again by the next call.
      void opening.then((opened) => {
        if (!opened.ok && this.#opened === opening) this.#opened = null
      })
    }
    return this.#opened
  }

  async #connect(): Promise<Result<Opened, string>> {
    if (this.#isClosed) return err('the session is over')
    const link = linkTo(this.#config)
    if (link instanceof Error) return err(link.message)
    try {
      await link.open({
        notification: (method, params) => this.#tell(method, params),
        request: this.#ask,
        closed: () => void this.#drop(link),
      })
    } catch (error) {
      return err((error as Error).message)
    }
    const capabilities = this.#capabilities
    const negotiated = await negotiate(link, this.#client, { legacyOnly: true, capabilities })
    if (negotiated.kind !== 'ok' || this.#isClosed) {
      await link.close()
      return err(negotiated.kind === 'failed' ? negotiated.message : 'the session is over')
    }
    const opened = { link, introduction: negotiated.introduction }
    link.listen([])
    await this.#tellLevel(opened)
    return ok(opened)
  }

  async #tellLevel({ link, introduction }: Opened): Promise<void> {
    if (this.#level === null || !isObject(introduction.capabilities.logging)) return
    await link.request('logging/setLevel', { level: this.#level }, { timeoutMs: LEVEL_TIMEOUT_MS })
  }

  async #drop(link: Link): Promise<void> {
    const opened = await this.#opened
    if (opened?.ok && opened.value.link === link) this.#opened = null
    await link.close()
  }
}

/** A server that does not answer this is called all the same. */
const LEVEL_TIMEOUT_MS = 5_000
