import { Worker } from 'node:worker_threads'
import type { WriterOptions } from './sqlite-protocol.ts'
import {
  type Answered,
  CLOSE,
  type Flat,
  type FromWorker,
  toError,
  type Verdict,
} from './sqlite-protocol.ts'
import { LIMITS, StoreError } from './store.ts'

// tsc rewrites the endings of imports, not of URLs: this one follows from how we run.
const ENTRY = new URL(
  import.meta.url.endsWith('.ts') ? './sqlite-worker.ts' : './sqlite-worker.js',
  import.meta.url,
)

interface Waiting {
  readonly resolve: (verdict: Answered) => void
  readonly reject: (error: Error) => void
}

/** The caller's side of the writer thread: what is written in one tick travels as one message. */
export class WriterThread {
  readonly ready: Promise<void>
  commits = 0
  writes = 0
  readonly #worker: Worker
  readonly #exited: Promise<void>
  /** In the order of the writes, which is the order of the verdicts. */
  #waiting: Waiting[] = []
  #answered = 0
  #flat: Flat = []
  #dead: StoreError | null = null
  #closing: Promise<void> | null = null

  constructor(workerData: WriterOptions, entry: URL = ENTRY) {
    this.#worker = new Worker(entry, { workerData, execArgv: [] })
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    this.ready = promise
    this.#worker.on('message', (message: FromWorker) => {
      if (message.kind === 'verdicts') this.#settle(message.verdicts, message.commits)
      if (message.kind === 'ready') {
        this.#worker.unref()
        resolve()
      }
      if (message.kind === 'failed') reject(toError(message.failure))
    })
    const die = (cause: unknown): void => {
      this.#die(new StoreError('broken', 'the writer of the store died', { cause }))
      reject(this.#dead)
    }
    this.#worker.on('error', die)
    this.#worker.on('messageerror', die)
    this.#exited = new Promise((done) => {
      this.#worker.on('exit', (code) => {
        die(new Error(`exit code ${code}`))
        done()
      })
    })
  }

  get pending(): number {
    return this.#waiting.length - this.#answered
  }

  /** `push` adds one write to the message. Resolves when it is durable, or was refused. */
  write(push: (flat: Flat) => void): Promise<Answered> {
    if (this.#closing !== null)
      return Promise.reject(new StoreError('closed', 'the store is closed'))
    if (this.#dead !== null) return Promise.reject(this.#dead)
    if (this.pending >= LIMITS.pendingWrites) {
      return Promise.reject(
        new StoreError('overloaded', `${this.pending} writes wait for the disk: try later`),
      )
    }
    if (this.pending === 0) this.#worker.ref()
    // After all promises of this tick: whoever goes on because of one answer writes together.
    if (this.#flat.length === 0) process.nextTick(() => this.#post())
    push(this.#flat)
    this.writes++
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject })
    })
  }

  /** Stores what was written before; ends the thread when `readers` are done with the file. */
  close(readers: Promise<void>): Promise<void> {
    this.#closing ??= this.#close(readers)
    return this.#closing
  }

  async #close(readers: Promise<void>): Promise<void> {
    this.#worker.ref()
    this.#post()
    await readers
    this.#worker.postMessage(CLOSE)
    await this.#exited
  }

  #post(): void {
    if (this.#flat.length === 0 || this.#dead !== null) return
    const flat = this.#flat
    this.#flat = []
    this.#worker.postMessage(flat)
  }

  #settle(verdicts: readonly Verdict[], commits: number): void {
    this.commits = commits
    for (const verdict of verdicts) {
      const waiting = this.#waiting[this.#answered++] as Waiting
      if (typeof verdict === 'number') waiting.resolve(verdict)
      else waiting.reject(toError(verdict))
    }
    // What was answered leaves in one piece: shifting one by one would be quadratic.
    this.#waiting = this.#waiting.slice(this.#answered)
    this.#answered = 0
    if (this.#waiting.length === 0 && this.#closing === null) this.#worker.unref()
  }

  #die(error: StoreError): void {
    if (this.#dead !== null) return
    this.#dead = error
    for (const { reject } of this.#waiting.splice(0)) reject(error)
  }
}
