import { createParser } from 'eventsource-parser'
import type { Dispatcher } from 'undici'
import { isObject, parseUpstream, type RpcMessage, readMessage } from './jsonrpc.ts'
import { UPSTREAM_MESSAGE_BYTES_MAX, type UpstreamReply } from './upstream-link.ts'

/** An answer of an upstream over HTTP, whose body has not been read. */
export type Reply = Dispatcher.ResponseData

/** The media type of a header `Content-Type`, in lower case. */
export function mediaTypeOf(type: string | string[] | undefined): string {
  const value = Array.isArray(type) ? type[0] : type
  return (value ?? '').split(';', 1)[0]?.trim().toLowerCase() ?? ''
}

/** The reply to request `id` in a JSON body. A refusal may come without an id. */
export function findReply(text: string, id: number, refused: boolean): UpstreamReply | null {
  let value: unknown
  try {
    value = parseUpstream(text)
  } catch {
    return null
  }
  for (const item of Array.isArray(value) ? value : [value]) {
    const own = refused && isObject(item) && (item.id === null || item.id === undefined)
    const message = readMessage(own ? { ...item, id } : item)
    if (message.ok && message.value.kind === 'response' && message.value.id === id) {
      return message.value.reply
    }
  }
  return null
}

/** Reads the JSON-RPC messages of an event stream, chunk by chunk. What is none is skipped. */
export class EventReader {
  readonly #decoder = new TextDecoder()
  #ready: RpcMessage[] = []
  #bytesSinceEvent = 0
  readonly #parser = createParser({
    onEvent: (event) => {
      this.#bytesSinceEvent = 0
      if (event.event !== undefined && event.event !== 'message') return
      try {
        const value = parseUpstream(event.data)
        for (const item of Array.isArray(value) ? value : [value]) {
          const message = readMessage(item)
          if (message.ok) this.#ready.push(message.value)
        }
      } catch {
        // An empty event that primes the stream, or noise.
      }
    },
  })

  /** The messages that are complete with this chunk. Throws when one is too large. */
  push(chunk: Buffer): readonly RpcMessage[] {
    this.#bytesSinceEvent += chunk.length
    if (this.#bytesSinceEvent > UPSTREAM_MESSAGE_BYTES_MAX) throw new Error('an event is too large')
    this.#parser.feed(this.#decoder.decode(chunk, { stream: true }))
    const ready = this.#ready
    this.#ready = []
    return ready
  }
}

/** The JSON-RPC messages of an answer that is an event stream. */
export async function* eventsOf(reply: Reply): AsyncGenerator<RpcMessage> {
  const reader = new EventReader()
  for await (const chunk of reply.body as AsyncIterable<Buffer>) yield* reader.push(chunk)
}
