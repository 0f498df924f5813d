import type { Entry } from '../../core/entry.ts'
import type { Instant } from '../../core/id.ts'
import type { Runs } from '../../runs/runs.ts'
import type { Store, TreeKey } from '../../store/store.ts'
import type { Caller } from '../caller.ts'
import { Problem } from './problem.ts'

/** So that no proxy takes the stream for dead. */
const KEEP_ALIVE_MS = 15_000
/** Streams of one process: each holds a socket. */
const STREAMS_MAX = 256
/** Entries that wait for a client that does not read; it comes back with `Last-Event-ID`. */
const WAITING_MAX = 10_000
/** Events that are handed to the socket before it asks for more. */
const AHEAD = 64
/** Beyond this a client comes back by itself. */
const STREAM_MS_MAX = 24 * 3_600_000

export interface Watching {
  readonly key: TreeKey
  readonly caller: Caller
  /** Sequence number of the last entry that the client has. */
  readonly after: number
  readonly signal: AbortSignal
}

interface StreamParts {
  readonly runs: Runs
  readonly store: Store
  readonly clock: () => Instant
}

/** Entries of run trees as they become durable, as server-sent events (HTML Standard §9.2). */
export class EventStreams {
  readonly #parts: StreamParts
  readonly #open = new Set<EventStream>()

  constructor(parts: StreamParts) {
    this.#parts = parts
  }

  /** Ends every stream: clients come back with `Last-Event-ID`. */
  close(): void {
    for (const stream of [...this.#open]) stream.end()
  }

  /**
   * The entries behind `after`, then each one as it is appended, here or by another process. Ends
   * when the tree is closed, and when the badge of the caller expires.
   */
  async open({ key, caller, after, signal }: Watching): Promise<Response> {
    if (this.#open.size >= STREAMS_MAX) {
      const message = 'too many event streams are open; try again later'
      throw new Problem(503, 'too_many_streams', message, { headers: { 'retry-after': '5' } })
    }
    const { runs, store, clock } = this.#parts
    const leftMs = caller.kind === 'agent' ? caller.badge.expiresAt - clock() : STREAM_MS_MAX
    const stream = new EventStream(after, Math.min(leftMs, STREAM_MS_MAX))
    this.#open.add(stream)
    // Heard from here on, so that nothing falls between what is stored and what is heard.
    let early: Entry[] | null = []
    const off = runs.listen((tree, entries) => {
      if (tree.org !== key.org || tree.id !== key.tree) return
      if (early === null) stream.tell(entries)
      else early.push(...entries)
    })
    stream.ended = () => {
      off()
      this.#open.delete(stream)
    }
    signal.addEventListener('abort', () => stream.end(), { once: true })
    try {
      const rows = await store.load(key, after)
      stream.tell(rows.map(({ body }) => JSON.parse(body) as Entry))
      stream.tell(early)
      early = null
    } catch (error) {
      stream.end()
      throw error
    }
    return new Response(stream.body, { headers: HEADERS })
  }
}

const HEADERS = {
  'content-type': 'text/event-stream',
  'cache-control': 'no-store, no-transform',
  'x-accel-buffering': 'no',
}

/** One client's stream: what waits for it, and when it is over. */
class EventStream {
  readonly body: ReadableStream<Uint8Array>
  ended: () => void = () => {}
  #last: number
  /** The first line tells the client that it is connected. */
  readonly #queue: string[] = [': ok\n\n']
  #isOver = false
  #controller: ReadableStreamDefaultController<Uint8Array> | null = null
  readonly #alive: NodeJS.Timeout
  readonly #limit: NodeJS.Timeout

  constructor(after: number, leftMs: number) {
    this.#last = after
    this.#alive = setInterval(() => this.#push(': keep-alive\n\n'), KEEP_ALIVE_MS)
    this.#limit = setTimeout(() => this.end(), Math.max(0, leftMs))
    const source = {
      start: (controller: ReadableStreamDefaultController<Uint8Array>) => {
        this.#controller = controller
      },
      pull: () => this.#drain(),
      cancel: () => this.end(),
    }
    this.body = new ReadableStream<Uint8Array>(source, { highWaterMark: AHEAD })
  }

  /** Each entry once, in order, whoever tells of it. */
  tell(entries: readonly Entry[]): void {
    for (const entry of entries) {
      if (entry.seq <= this.#last) continue
      this.#last = entry.seq
      // JSON has no line break.
      this.#push(`id: ${entry.seq}\nevent: ${entry.type}\ndata: ${JSON.stringify(entry)}\n\n`)
      if (entry.type === 'tree.closed') this.end()
    }
  }

  /** What waits is still sent; nothing comes after it. */
  end(): void {
    if (this.#isOver) return
    this.#isOver = true
    clearInterval(this.#alive)
    clearTimeout(this.#limit)
    this.ended()
    this.#drain()
  }

  #push(text: string): void {
    if (this.#isOver) return
    this.#queue.push(text)
    if (this.#queue.length > WAITING_MAX) {
      this.#queue.length = 0
      this.end()
    }
    this.#drain()
  }

  #drain(): void {
    const controller = this.#controller
    if (controller === null) return
    try {
      while (this.#queue.length > 0 && (controller.desiredSize ?? 0) > 0) {
        controller.enqueue(ENCODER.encode(this.#queue.shift()))
      }
      if (!this.#isOver || this.#queue.length > 0) return
      this.#controller = null
      controller.close()
    } catch {
      // The client went away.
      this.#controller = null
    }
  }
}

const ENCODER = new TextEncoder()
