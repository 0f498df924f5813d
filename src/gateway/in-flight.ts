import type { Entry } from '../core/entry.ts'
import type { AskId, CallId, RunId } from '../core/id.ts'
import type { Tree } from '../core/tree.ts'
import type { Runs } from '../runs/runs.ts'
import type { TreeKey } from '../store/store.ts'
import type { RpcReply } from './jsonrpc.ts'

/** Calls that are aborted before the loop looks after others again. */
const ABORT_SLICE = 50

interface Flight {
  readonly run: RunId
  readonly abort: AbortController
  readonly reply: Promise<RpcReply>
}

/**
 * What this process executes now, and who waits for what. Hears of every durable entry: the end of a
 * lease aborts its calls, an answer to an ask wakes the call that is held for it.
 */
export class InFlight {
  readonly #runs: Runs
  readonly #flights = new Map<CallId, Flight>()
  readonly #asks = new Map<AskId, Set<() => void>>()
  readonly #ended = new Map<RunId, Set<(why: string) => void>>()
  readonly #changed = new Map<RunId, Set<() => void>>()

  constructor(runs: Runs) {
    this.#runs = runs
    runs.listen((tree, entries) => this.#hear(tree, entries))
  }

  get size(): number {
    return this.#flights.size
  }

  /** Runs a call that was allowed; `ended` aborts when the lease ends. */
  run(
    key: TreeKey & { readonly run: RunId },
    call: CallId,
    send: (ended: AbortSignal) => Promise<RpcReply>,
  ): Promise<RpcReply> {
    const abort = new AbortController()
    const reply = send(abort.signal).finally(() => this.#flights.delete(call))
    this.#flights.set(call, { run: key.run, abort, reply })
    // The lease may have ended between the durable verdict and this line.
    const lease = this.#runs.tree(key).peek()?.runs.get(key.run)?.lease
    if (lease?.state === 'ended') abort.abort()
    return reply
  }

  /** The answer to a call that is in flight here, for whoever repeats it. */
  reply(call: CallId): Promise<RpcReply> | null {
    return this.#flights.get(call)?.reply ?? null
  }

  /** Whether the success of this call ends a lease: then its settlement comes before its answer. */
  endsLease(key: TreeKey & { readonly run: RunId }, call: CallId): boolean {
    const tree = this.#runs.tree(key).peek()
    if (tree === null) return true
    for (let id: RunId | null = key.run; id !== null; ) {
      const run = tree.runs.get(id)
      if (run === undefined || run.untilCall === call) return true
      id = run.parent
    }
    return false
  }

  /** Resolves when a person has answered the ask, or after `waitMs`, or on abort. */
  async answered(
    ask: AskId,
    { signal, waitMs }: { signal: AbortSignal; waitMs: number },
  ): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    const waiting = this.#asks.get(ask) ?? new Set()
    this.#asks.set(ask, waiting.add(resolve))
    const timer = setTimeout(resolve, Math.max(0, waitMs))
    signal.addEventListener('abort', () => resolve(), { once: true })
    await promise
    clearTimeout(timer)
    waiting.delete(resolve)
    if (waiting.size === 0) this.#asks.delete(ask)
  }

  onEnd(run: RunId, ended: (why: string) => void): () => void {
    return subscribe(this.#ended, run, ended)
  }

  onChange(run: RunId, changed: () => void): () => void {
    return subscribe(this.#changed, run, changed)
  }

  #hear(tree: Tree, entries: readonly Entry[]): void {
    const ended = new Set<RunId>()
    for (const entry of entries) {
      if (entry.type === 'ask.approved' || entry.type === 'ask.refused') {
        for (const wake of this.#asks.get(entry.command.ask) ?? []) wake()
      }
      if (entry.type === 'lease.ended') {
        ended.add(entry.run)
        for (const tell of this.#ended.get(entry.run) ?? []) tell(entry.reason)
      }
      if (entry.type.startsWith('lease.') || entry.type === 'run.suspended') {
        this.#announce(tree)
      }
    }
    if (ended.size > 0) this.#abortAll(ended)
  }

  #announce(tree: Tree): void {
    if (this.#changed.size === 0) return
    for (const run of tree.runs.keys()) {
      for (const tell of this.#changed.get(run) ?? []) tell()
    }
  }

  /** In slices, so that neither the acknowledgement of a revocation nor other trees wait. */
  #abortAll(runs: ReadonlySet<RunId>): void {
    const doomed = [...this.#flights.values()].filter((flight) => runs.has(flight.run))
    const next = (from: number): void => {
      for (const { abort } of doomed.slice(from, from + ABORT_SLICE)) abort.abort()
      if (from + ABORT_SLICE < doomed.length) setImmediate(next, from + ABORT_SLICE)
    }
    if (doomed.length > 0) setImmediate(next, 0)
  }
}

function subscribe<T>(all: Map<RunId, Set<T>>, run: RunId, listener: T): () => void {
  const listeners = all.get(run) ?? new Set<T>()
  all.set(run, listeners.add(listener))
  return () => {
    listeners.delete(listener)
    if (listeners.size === 0) all.delete(run)
  }
}
