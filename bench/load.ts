import { connect, type Socket } from 'node:net'
import { type Answers, answering } from './process.ts'

/**
 * Load, in a process of its own: connections that send one request after the other. Speaks just
 * enough HTTP that it costs less than what it measures.
 */

export interface LoadOrder {
  readonly do: 'load'
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
  readonly parallel: number
  /** Ends after so many milliseconds… */
  readonly ms: number
  /** …or once every connection has sent so many requests. */
  readonly each?: number
}

export interface LoadReport {
  readonly perSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
  /** Answers that hold the text of a call that was made. */
  readonly made: number
  readonly refused: number
  /**
   * Wall clock (ms) of the first request, of the last answer, and of the last request that was
   * made.
   */
  readonly firstAt: number
  readonly lastAt: number
  readonly lastMadeStartedAt: number
}

/** Whoever is silent for this long is not measured. */
const HUNG_MS = 30_000

interface Tally {
  readonly latencies: number[]
  made: number
  refused: number
  lastMadeStartedAt: number
}

const now = (): number => performance.timeOrigin + performance.now()

/** Sends on one connection until `isOver`; an answer that holds `"added` counts as made. */
class Line {
  readonly #request: Buffer
  readonly #url: URL
  readonly #tally: Tally
  #socket: Socket | null = null
  #text = ''
  #end = -1
  #isChunked = false
  #startedAt = 0
  #done: () => void = () => {}

  /** `id`: of its own in a session, as any client would have it. */
  constructor(order: LoadOrder, tally: Tally, id: number) {
    this.#url = new URL(order.url)
    const { host, pathname } = this.#url
    const body = order.body.replace('"id":1,', `"id":${id},`)
    const length = Buffer.byteLength(body)
    const lines = Object.entries({ host, ...order.headers, 'content-length': String(length) })
    const head = lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')
    this.#request = Buffer.from(`POST ${pathname} HTTP/1.1\r\n${head}\r\n${body}`)
    this.#tally = tally
  }

  async open(): Promise<void> {
    const { hostname, port } = this.#url
    const socket = connect({ host: hostname, port: Number(port), noDelay: true })
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve)
      socket.once('error', reject)
    })
    socket.on('data', (chunk) => this.#receive(chunk.toString('latin1')))
    socket.on('error', () => {})
    socket.on('close', () => {
      this.#socket = null
      this.#done()
    })
    this.#socket = socket
  }

  async request(): Promise<void> {
    if (this.#socket === null) await this.open()
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#done = resolve
    this.#text = ''
    this.#end = -1
    this.#startedAt = now()
    this.#socket!.write(this.#request)
    return promise
  }

  close(): void {
    this.#socket?.destroy()
  }

  #receive(chunk: string): void {
    this.#text += chunk
    if (this.#end < 0 && !this.#readHead()) return
    const isWhole = this.#isChunked
      ? this.#text.endsWith('0\r\n\r\n')
      : this.#text.length >= this.#end
    if (!isWhole) return
    this.#tally.latencies.push(now() - this.#startedAt)
    if (this.#text.includes('added') && this.#text.startsWith('HTTP/1.1 200')) {
      this.#tally.made++
      this.#tally.lastMadeStartedAt = Math.max(this.#tally.lastMadeStartedAt, this.#startedAt)
    } else {
      this.#tally.refused++
    }
    this.#done()
  }

  #readHead(): boolean {
    const end = this.#text.indexOf('\r\n\r\n')
    if (end < 0) return false
    const length = /\r\ncontent-length: (\d+)/i.exec(this.#text)
    this.#isChunked = length === null
    this.#end = end + 4 + Number(length?.[1] ?? 0)
    return true
  }
}

/** Runs the load and says what came of it. */
async function load(order: LoadOrder): Promise<LoadReport> {
  const tally: Tally = { latencies: [], made: 0, refused: 0, lastMadeStartedAt: 0 }
  const lines = Array.from({ length: order.parallel }, (_, at) => new Line(order, tally, 1 + at))
  await Promise.all(lines.map((line) => line.open()))
  const firstAt = now()
  const until = firstAt + order.ms
  const hung = setTimeout(() => {
    throw new Error(`${order.url} does not answer`)
  }, order.ms + HUNG_MS)
  await Promise.all(
    lines.map(async (line) => {
      for (let sent = 0; sent < (order.each ?? Infinity) && now() < until; sent++) {
        await line.request()
      }
    }),
  )
  const lastAt = now()
  clearTimeout(hung)
  for (const line of lines) line.close()
  const sorted = tally.latencies.sort((a, b) => a - b)
  const at = (part: number) => sorted[Math.floor(sorted.length * part)] ?? Number.NaN
  const { made, refused, lastMadeStartedAt } = tally
  return {
    perSecond: (made * 1_000) / (lastAt - firstAt),
    ...{ p50Ms: at(0.5), p99Ms: at(0.99) },
    ...{ made, refused, firstAt, lastAt, lastMadeStartedAt },
  }
}

export const answers = { load } satisfies Answers
answering(import.meta, answers)
