import { isUtf8 } from 'node:buffer'

/** Splits a byte stream into lines, for both ends of stdio. Decodes only whole lines. */
export class LineReader {
  readonly #onLine: (line: string) => void
  readonly #onTooLong: () => void
  readonly #onNotUtf8: (() => void) | undefined
  readonly #lineBytesMax: number
  #parts: Buffer[] = []
  #pendingBytes = 0

  constructor(options: {
    lineBytesMax: number
    onLine: (line: string) => void
    /** A line exceeds the limit: the peer is broken or hostile, and its framing is lost. */
    onTooLong: () => void
    /**
     * Bytes are not UTF-8, and their lines are dropped. Without it they are decoded as well as can
     * be.
     */
    onNotUtf8?: () => void
  }) {
    this.#lineBytesMax = options.lineBytesMax
    this.#onLine = options.onLine
    this.#onTooLong = options.onTooLong
    this.#onNotUtf8 = options.onNotUtf8
  }

  push(chunk: Buffer): void {
    const last = chunk.lastIndexOf(0x0a)
    if (last === -1) {
      this.#keep(chunk)
      return
    }
    const head = chunk.subarray(0, last)
    const whole = this.#parts.length === 0 ? head : Buffer.concat([...this.#parts, head])
    this.#parts = []
    this.#pendingBytes = 0
    if (last + 1 < chunk.length) this.#keep(chunk.subarray(last + 1))
    if (this.#onNotUtf8 !== undefined && !isUtf8(whole)) {
      this.#onNotUtf8()
      return
    }
    for (const line of whole.toString('utf8').split('\n')) {
      if (line !== '' && line !== '\r') this.#onLine(line)
    }
  }

  /** The input is over; an unfinished line is delivered as it is. */
  end(): void {
    const rest = Buffer.concat(this.#parts).toString('utf8')
    this.#parts = []
    this.#pendingBytes = 0
    if (rest.trim() !== '') this.#onLine(rest)
  }

  #keep(chunk: Buffer): void {
    this.#parts.push(chunk)
    this.#pendingBytes += chunk.length
    if (this.#pendingBytes > this.#lineBytesMax) {
      this.#parts = []
      this.#pendingBytes = 0
      this.#onTooLong()
    }
  }
}

/** Writes lines; everything written within one turn of the event loop becomes one write. */
export class LineWriter {
  readonly #stream: NodeJS.WritableStream
  #queue: string[] = []
  #scheduled = false

  constructor(stream: NodeJS.WritableStream) {
    this.#stream = stream
  }

  write(line: string): void {
    this.#queue.push(line)
    if (this.#scheduled) return
    this.#scheduled = true
    setImmediate(() => this.flush())
  }

  flush(): void {
    this.#scheduled = false
    if (this.#queue.length === 0 || !this.#stream.writable) return
    const text = `${this.#queue.join('\n')}\n`
    this.#queue = []
    this.#stream.write(text)
  }
}
