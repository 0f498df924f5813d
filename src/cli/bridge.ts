import { createInterface } from 'node:readline'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/client'

/** After the end of the input, requests in flight may still be answered for this long. */
const DRAIN_MS = 5_000
const SERVER_ERROR = -32000
const PARSE_ERROR = -32700
const VERSION_META = 'io.modelcontextprotocol/protocolVersion'

type Message = Parameters<StreamableHTTPClientTransport['send']>[0] & object
type Id = string | number

interface Rpc {
  readonly id?: Id
  readonly method?: string
  readonly params?: { readonly _meta?: Readonly<Record<string, unknown>>; readonly requestId?: Id }
  readonly result?: { readonly protocolVersion?: unknown }
  readonly error?: unknown
}

/**
 * Relays messages between a pair of streams and the door behind `url`, both eras of the protocol.
 * It judges nothing: the badge goes along, and the door decides.
 */
export async function bridgeStdio(of: {
  readonly url: string
  readonly badge: string
  readonly input: NodeJS.ReadableStream
  readonly output: NodeJS.WritableStream
}): Promise<void> {
  const headers = { authorization: `Bearer ${of.badge}` }
  const transport = new StreamableHTTPClientTransport(new URL(of.url), { requestInit: { headers } })
  const bridge = new Bridge(transport, of.output)
  await transport.start()
  const lines = createInterface({ input: of.input, crlfDelay: Number.POSITIVE_INFINITY })
  lines.on('line', (line) => bridge.receive(line))
  await new Promise<void>((resolve) => {
    lines.once('close', resolve)
    of.output.once('error', resolve)
  })
  await bridge.drain(DRAIN_MS)
  // A session that cannot be ended politely ends with its lease.
  await transport.terminateSession().catch(() => {})
  await transport.close()
}

class Bridge {
  readonly #transport: StreamableHTTPClientTransport
  readonly #output: NodeJS.WritableStream
  /** Requests without an answer, and how to cancel those of the modern era. */
  readonly #open = new Map<Id, { readonly abort: AbortController; readonly modern: boolean }>()
  #idle: (() => void) | null = null

  constructor(transport: StreamableHTTPClientTransport, output: NodeJS.WritableStream) {
    this.#transport = transport
    this.#output = output
    transport.onmessage = (message) => this.#answered(message as Rpc)
    // What goes wrong with one request is answered to that request.
    transport.onerror = () => {}
  }

  receive(line: string): void {
    if (line.trim() === '') return
    let parsed: Rpc | readonly Rpc[]
    try {
      parsed = JSON.parse(line)
    } catch {
      this.#write({ jsonrpc: '2.0', id: null, error: { code: PARSE_ERROR, message: 'not JSON' } })
      return
    }
    const all = Array.isArray(parsed) ? (parsed as readonly Rpc[]) : [parsed as Rpc]
    const cancelled = all.length === 1 ? this.#cancelled(all[0]!) : false
    if (!cancelled) void this.#send(parsed as Message, all)
  }

  /** In the modern era a client cancels over HTTP by closing the request's stream. */
  #cancelled({ method, params }: Rpc): boolean {
    if (method !== 'notifications/cancelled' || params?.requestId === undefined) return false
    const open = this.#open.get(params.requestId)
    if (open?.modern !== true) return false
    open.abort.abort()
    this.#done(params.requestId)
    return true
  }

  async #send(message: Message, all: readonly Rpc[]): Promise<void> {
    const abort = new AbortController()
    const requests = all.filter(({ id, method }) => id !== undefined && method !== undefined)
    for (const { id, params } of requests) {
      const modern = params?._meta?.[VERSION_META] !== undefined
      this.#open.set(id!, { abort, modern })
    }
    try {
      await this.#transport.send(message, { requestSignal: abort.signal })
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error)
      for (const { id } of requests) this.#fail(id!, why)
    }
  }

  #fail(id: Id, why: string): void {
    if (!this.#open.has(id)) return
    const message = `denied: the door did not answer (${why})`
    this.#write({ jsonrpc: '2.0', id, error: { code: SERVER_ERROR, message } })
    this.#done(id)
  }

  #answered(message: Rpc): void {
    const { result } = message
    if (typeof result?.protocolVersion === 'string') {
      this.#transport.setProtocolVersion(result.protocolVersion)
    }
    this.#write(message)
    const isAnswer = message.method === undefined && message.id !== undefined
    if (isAnswer) this.#done(message.id!)
  }

  #done(id: Id): void {
    this.#open.delete(id)
    if (this.#open.size === 0) this.#idle?.()
  }

  #write(message: unknown): void {
    this.#output.write(`${JSON.stringify(message)}\n`)
  }

  async drain(waitMs: number): Promise<void> {
    if (this.#open.size === 0) return
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#idle = resolve
    const timer = setTimeout(resolve, waitMs)
    await promise
    clearTimeout(timer)
  }
}
