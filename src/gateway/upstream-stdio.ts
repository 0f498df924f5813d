import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { TXN_META } from '../badge/txn.ts'
import {
  type JsonObject,
  notificationText,
  parseUpstream,
  type RequestId,
  type RpcMessage,
  readMessage,
  requestText,
} from './jsonrpc.ts'
import { LineReader, LineWriter } from './lines.ts'
import {
  type CallOptions,
  type Diagnostics,
  failure,
  type Link,
  type LinkEvents,
  listenParams,
  OVER_BEFORE_SENT,
  PendingCall,
  type Protocol,
  UNSIGNED,
  UPSTREAM_IN_FLIGHT_MAX,
  UPSTREAM_MESSAGE_BYTES_MAX,
  type UpstreamReply,
  withProgressToken,
} from './upstream-link.ts'
import { UpstreamRequests } from './upstream-requests.ts'

export interface StdioConfig {
  readonly kind: 'stdio'
  readonly command: string
  readonly args?: readonly string[]
  /** Added to the allow-list below; nothing else of our environment reaches the child. */
  readonly env?: Readonly<Record<string, string>>
  readonly cwd?: string
  readonly timeoutMs?: number
}

/** What a program needs to find itself at home. Secrets live in other variables (threat 36). */
const ENVIRONMENT_ALLOWED = [
  'HOME',
  'LANG',
  'LC_ALL',
  'LOGNAME',
  'PATH',
  'SHELL',
  'TERM',
  'TMPDIR',
  'TZ',
  'USER',
] as const

/** Enough of stderr to see why a server died, and no more than a screen of memory. */
const STDERR_BYTES_MAX = 16 * 1024
/** What may wait for a child that does not read; more means that it never will. */
const UNREAD_BYTES_MAX = 64 * 1024 * 1024
/** Between closing the child's input, asking it to end, and ending it. */
const STOP_PATIENCE_MS = 2_000

/** The environment of a child: the allow-list of ours, then what is configured for it. */
export function childEnvironment(
  ours: NodeJS.ProcessEnv,
  configured: Readonly<Record<string, string>>,
): Record<string, string> {
  const env: Record<string, string> = {}
  for (const key of ENVIRONMENT_ALLOWED) {
    const value = ours[key]
    // A value that begins with `()` is a shell function, which old shells execute on import.
    if (value !== undefined && !value.startsWith('()')) env[key] = value
  }
  return Object.assign(env, configured)
}

/** Children that live. Should this process exit without closing them, they must not outlive it. */
const alive = new Set<number>()
let watchesExit = false

function keepTrackOf(pid: number): void {
  alive.add(pid)
  if (watchesExit) return
  watchesExit = true
  process.once('exit', () => {
    for (const child of alive) signalGroup(child, 'SIGKILL')
  })
}

function signalGroup(pid: number, signal: 'SIGTERM' | 'SIGKILL'): void {
  try {
    process.kill(process.platform === 'win32' ? pid : -pid, signal)
  } catch {
    // Already gone.
  }
}

function withEnvelope(params: JsonObject, token: string): void {
  params._meta = { ...(params._meta as JsonObject | undefined), [TXN_META]: token }
}

/** An MCP server as a child process. No shell is involved: arguments arrive as they are written. */
export class StdioLink implements Link {
  readonly kind = 'stdio'
  readonly #config: StdioConfig
  readonly #pending = new Map<number, PendingCall>()
  readonly #asked = new UpstreamRequests((text) => this.#writer?.write(text))
  #protocol: Protocol | null = null
  /** The request id of the open `subscriptions/listen`, and what it asks for. */
  #listening: { readonly id: number; readonly watched: string } | null = null
  #child: ChildProcessWithoutNullStreams | null = null
  #writer: LineWriter | null = null
  #exited: Promise<void> = Promise.resolve()
  #exitCode: number | string | null = null
  #stderr = ''
  #lastId = 0
  #open = false

  constructor(config: StdioConfig) {
    this.#config = config
  }

  open(events: LinkEvents): Promise<void> {
    const { command, args = [], env = {}, cwd } = this.#config
    const child = spawn(command, args, {
      cwd,
      env: childEnvironment(process.env, env),
      shell: false,
      stdio: ['pipe', 'pipe', 'pipe'],
      windowsHide: true,
      // Its own group: what it starts ends with it, and Ctrl-C in the terminal is ours to handle.
      detached: process.platform !== 'win32',
    })
    this.#child = child
    this.#writer = new LineWriter(child.stdin)
    const reader = new LineReader({
      lineBytesMax: UPSTREAM_MESSAGE_BYTES_MAX,
      onLine: (line) => this.#receive(line, events),
      onTooLong: () => {
        this.#note('daypass: a line of its output is too long')
        void this.close()
      },
    })
    child.stdout.on('data', (chunk: Buffer) => reader.push(chunk))
    child.stderr.on('data', (chunk: Buffer) => this.#note(chunk.toString('utf8')))
    // The exit event tells the same with more words.
    child.stdin.on('error', () => {})
    return new Promise((resolve, reject) => {
      child.once('spawn', () => {
        this.#open = true
        keepTrackOf(child.pid as number)
        resolve()
      })
      child.once('error', (error) => {
        if (!this.#open) reject(new Error(`cannot start \`${command}\`: ${error.message}`))
      })
      this.#exited = new Promise((done) => {
        child.once('close', (code, signal) => {
          alive.delete(child.pid as number)
          done()
          this.#ended(code ?? signal, events)
        })
        child.once('error', () => done())
      })
    })
  }

  setProtocol(protocol: Protocol): void {
    this.#protocol = protocol
  }

  /** In the legacy era a child says unasked whatever it has to say. */
  listen(watched: readonly string[]): void {
    if (this.#protocol?.era !== 'modern' || !this.#open) return
    const before = this.#listening
    const text = JSON.stringify(watched)
    if (before?.watched === text) return
    const id = ++this.#lastId
    this.#listening = { id, watched: text }
    const params = listenParams(this.#protocol, watched)
    this.#writer?.write(requestText(id, 'subscriptions/listen', params))
    if (before !== null) this.notify('notifications/cancelled', { requestId: before.id })
  }

  request(method: string, params: JsonObject, options: CallOptions): Promise<UpstreamReply> {
    const refusal = this.#refusal(options)
    if (refusal !== null) return Promise.resolve(refusal)
    try {
      if (options.envelope !== undefined) withEnvelope(params, options.envelope())
    } catch {
      return Promise.resolve(failure('unavailable', UNSIGNED, { sent: false }))
    }
    const id = ++this.#lastId
    if (options.onNotification !== undefined) withProgressToken(params, id)
    const call = new PendingCall(options, (why) => {
      this.#pending.delete(id)
      // MCP: `initialize` must not be cancelled.
      if (method === 'initialize') return
      this.notify('notifications/cancelled', { requestId: id, reason: why })
    })
    this.#pending.set(id, call)
    this.#writer?.write(requestText(id, method, params))
    return call.promise
  }

  notify(method: string, params?: JsonObject): void {
    if (this.#open) this.#writer?.write(notificationText(method, params))
  }

  diagnostics(): Diagnostics {
    return { exitCode: this.#exitCode, stderr: this.#stderr }
  }

  async close(): Promise<void> {
    const child = this.#child
    if (child === null || child.exitCode !== null || child.signalCode !== null) return
    this.#writer?.flush()
    child.stdin.end()
    if (await this.#exitsWithin(STOP_PATIENCE_MS)) return
    signalGroup(child.pid as number, 'SIGTERM')
    if (await this.#exitsWithin(STOP_PATIENCE_MS)) return
    signalGroup(child.pid as number, 'SIGKILL')
    await this.#exitsWithin(STOP_PATIENCE_MS)
  }

  #refusal(options: CallOptions): UpstreamReply | null {
    if (options.signal?.aborted === true) {
      return failure('cancelled', 'the call was cancelled', { sent: false })
    }
    if (options.isOver?.() === true) {
      return failure('cancelled', OVER_BEFORE_SENT, { sent: false })
    }
    const unread = this.#child?.stdin.writableLength ?? 0
    if (!this.#open || unread > UNREAD_BYTES_MAX || this.#pending.size >= UPSTREAM_IN_FLIGHT_MAX) {
      const why = this.#open ? 'the upstream does not keep up' : 'the upstream is not running'
      return failure('unavailable', why, { sent: false })
    }
    return null
  }

  #receive(line: string, events: LinkEvents): void {
    let value: unknown
    try {
      value = parseUpstream(line)
    } catch {
      // Many servers print a greeting to stdout; it is no reason to lose them.
      this.#note(`${line.slice(0, 500)}\n`)
      return
    }
    for (const item of Array.isArray(value) ? value : [value]) {
      const message = readMessage(item)
      if (message.ok) this.#dispatch(message.value, events)
      else this.#note(`daypass: ${message.error.error.message}\n`)
    }
  }

  #dispatch(message: RpcMessage, events: LinkEvents): void {
    switch (message.kind) {
      case 'response': {
        const call = this.#take(message.id)
        call?.settle(message.reply)
        return
      }
      case 'request':
        void this.#answer(message, events)
        return
      case 'notification':
        if (message.method === 'notifications/progress') this.#progress(message.params)
        else if (message.method === 'notifications/cancelled') this.#asked.cancelled(message.params)
        else events.notification(message.method, message.params)
    }
  }

  /** Nobody can tell which call a question belongs to, so while one is open all of them wait. */
  async #answer(
    message: Extract<RpcMessage, { kind: 'request' }>,
    events: LinkEvents,
  ): Promise<void> {
    const releases = [...this.#pending.values()].map((call) => call.hold())
    await this.#asked.answer(message, events.request ?? null)
    for (const release of releases) release()
  }

  /** An answer is taken once, and only under the exact id: `"7"` does not answer 7. */
  #take(id: RequestId): PendingCall | undefined {
    if (typeof id !== 'number') return undefined
    const call = this.#pending.get(id)
    this.#pending.delete(id)
    return call
  }

  #progress(params: JsonObject): void {
    const token = params.progressToken
    const call = typeof token === 'number' ? this.#pending.get(token) : undefined
    call?.touch()
    call?.onNotification?.('notifications/progress', params)
  }

  #ended(code: number | string | null, events: LinkEvents): void {
    const opened = this.#open
    this.#open = false
    this.#exitCode = code
    this.#asked.close()
    const lost = [...this.#pending.values()]
    this.#pending.clear()
    const message = `the upstream ended (${code})`
    for (const call of lost) call.settle(failure('disconnected', message, { sent: true }))
    if (opened) events.closed(message)
  }

  #note(text: string): void {
    this.#stderr = (this.#stderr + text).slice(-STDERR_BYTES_MAX)
  }

  #exitsWithin(ms: number): Promise<boolean> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(false), ms)
      void this.#exited.then(() => {
        clearTimeout(timer)
        resolve(true)
      })
    })
  }
}
