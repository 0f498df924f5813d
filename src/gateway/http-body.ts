import { createParser } from 'eventsource-parser'
import type { Dispatcher } from 'undici'
import { isObject, type RpcMessage, readMessage } from './jsonrpc.ts'
import { UPSTREAM_MESSAGE_BYTES_MAX, type UpstreamReply } from './upstream-link.ts'

/** An answer of an upstream over HTTP, whose body has not been read. */
export type Reply = Dispatcher.ResponseData

/** The media type of an answer, in lower case. */
export function mediaType(reply: Reply): string {
  const type = reply.headers['content-type']
  const value = Array.isArray(type) ? type[0] : type
  return (value ?? '').split(';', 1)[0]?.trim().toLowerCase() ?? ''
}

/** The whole body as text; rejects when it is larger. */
export async function readText(reply: Reply, bytesMax: number): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of reply.body as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes > bytesMax) throw new Error(`more than ${bytesMax} bytes`)
    chunks.push(chunk)
  }
  return (chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks)).toString('utf8')
}

/** The reply to request `id` in a JSON body. A refusal may come without an id. */
export function findReply(text: string, id: number, refused: boolean): UpstreamReply | null {
  let value: unknown
  try {
    value = JSON.parse(text)
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

/** The JSON-RPC messages of an event stream. What is none is skipped. */
export async function* eventsOf(reply: Reply): AsyncGenerator<RpcMessage> {
  const decoder = new TextDecoder()
  let ready: RpcMessage[] = []
  let bytesSinceEvent = 0
  const parser = createParser({
    onEvent: (event) => {
      bytesSinceEvent = 0
      if (event.event !== undefined && event.event !== 'message') return
      try {
        const value: unknown = JSON.parse(event.data)
        for (const item of Array.isArray(value) ? value : [value]) {
          const message = readMessage(item)
          if (message.ok) ready.push(message.value)
        }
      } catch {
        // An empty event that primes the stream, or noise.
      }
    },
  })
  for await (const chunk of reply.body as AsyncIterable<Buffer>) {
    bytesSinceEvent += chunk.length
    if (bytesSinceEvent > UPSTREAM_MESSAGE_BYTES_MAX) throw new Error('an event is too large')
    parser.feed(decoder.decode(chunk, { stream: true }))
    const batch = ready
    ready = []
    yield* batch
  }
}
