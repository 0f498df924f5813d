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

/** Of the calls that wait for one ask: the one that will be made. */
export interface Lead {
  /** The others get this answer; null: none was given, and one of them takes over. */
  finish(reply: RpcReply | null): void
}

interface Patience {
  readonly signal: AbortSignal
  readonly waitMs: number
}

/**
 * What this process executes now, and who waits for what. Hears of every durable entry: the end of
 * a lease aborts its calls, an answer to an ask wakes the calls that are held for it.
 */
export class InFlight {
  readonly #runs: Runs
  readonly #flights = new Map<CallId, Flight>()
  readonly #asks = new Map<AskId, Set<() => void>>()
  readonly #leads = new Map<AskId, Promise<RpcReply | null>>()
  readonly #ended = new Map<RunId, Set<(why: string) => void>>()
  readonly #changed = new Map<RunId, Set<() => void>>()

  constructor(runs: Runs) {
    this.#runs = runs
    runs.listen((tree, entries) => this.#hear(tree, entries))
  }

  get size(): number {
    return this.#flights.size
  }

  /** Runs a call that was allowed; its signal aborts when the lease ends, or the client's does. */
  run(
    key: TreeKey & { readonly run: RunId },
    call: CallId,
    { client, send }: { client: AbortSignal; send: (ended: AbortSignal) => Promise<RpcReply> },
  ): Promise<RpcReply> {
    // One controller for both: `AbortSignal.any` costs as much as a verdict, and every call would
    // pay.
    const abort = new AbortController()
    const giveUp = (): void => abort.abort()
    if (client.aborted) giveUp()
    else client.addEventListener('abort', giveUp, { once: true })
    // The lease may have ended between the durable verdict and this line (threat 61).
    const lease = this.#runs.tree(key).peek()?.runs.get(key.run)?.lease
    if (lease?.state === 'ended') abort.abort()
    const reply = send(abort.signal).finally(() => {
      this.#flights.delete(call)
      client.removeEventListener('abort', giveUp)
    })
    this.#flights.set(call, { run: key.run, abort, reply })
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

  /** Resolves when the ask is answered or void, or after `waitMs`, or on abort. */
  async answered(key: TreeKey, ask: AskId, { signal, waitMs }: Patience): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    const waiting = this.#asks.get(ask) ?? new Set()
    this.#asks.set(ask, waiting.add(resolve))
    // It may have been answered since the verdict.
    const known = this.#runs.tree(key).peek()?.asks.get(ask)
    if (known !== undefined && known.state !== 'pending') resolve()
    await within(promise, { signal, waitMs })
    waiting.delete(resolve)
    if (waiting.size === 0) this.#asks.delete(ask)
  }

  /**
   * Takes the lead of the calls held for an ask; null if another call has it. All of them are the
   * same call, a yes is for one: who repeats a call that is held must not bring about a second one.
   */
  lead(ask: AskId): Lead | null {
    if (this.#leads.has(ask)) return null
    const { promise, resolve } = Promise.withResolvers<RpcReply | null>()
    this.#leads.set(ask, promise)
    return {
      finish: (reply) => {
        this.#leads.delete(ask)
        resolve(reply)
      },
    }
  }

  /** The answer that the leading call gets; null if it gets none, or not in time. */
  async led(ask: AskId, patience: Patience): Promise<RpcReply | null> {
    const lead = this.#leads.get(ask)
    return lead === undefined ? null : ((await within(lead, patience)) ?? null)
  }

  onEnd(run: RunId, ended: (why: string) => void): () => void {
    return subscribe(this.#ended, run, ended)
  }

  onChange(run: RunId, changed: () => void): () => void {
    return subscribe(this.#changed, run, changed)
  }

  /** What tools may be seen has changed for everybody. */
  announceAll(): void {
    for (const listeners of this.#changed.values()) for (const tell of listeners) tell()
  }

  #hear(tree: Tree, entries: readonly Entry[]): void {
    const ended = new Map<RunId, string>()
    let isChanged = false
    for (const entry of entries) {
      if (entry.type === 'ask.approved' || entry.type === 'ask.refused') {
        this.#wake(entry.command.ask)
      }
      if (entry.type === 'lease.ended') ended.set(entry.run, entry.reason)
      isChanged ||= entry.type.startsWith('lease.') || entry.type === 'run.suspended'
    }
    if (ended.size > 0) this.#abortAll(ended)
    // First the news, then the end of the streams that carry it.
    if (isChanged) this.#announce(tree)
    for (const [run, why] of ended) {
      for (const tell of this.#ended.get(run) ?? []) tell(why)
    }
    for (const ask of ended.size === 0 ? [] : this.#asks.keys()) {
      const run = tree.asks.get(ask)?.run
      if (run !== undefined && ended.has(run)) this.#wake(ask)
    }
  }

  #wake(ask: AskId): void {
    for (const wake of this.#asks.get(ask) ?? []) wake()
  }

  #announce(tree: Tree): void {
    if (this.#changed.size === 0) return
    for (const run of tree.runs.keys()) {
      for (const tell of this.#changed.get(run) ?? []) tell()
    }
  }

  /** In slices, so that neither the acknowledgement of a revocation nor other trees wait. */
  #abortAll(runs: ReadonlyMap<RunId, string>): void {
    const doomed = [...this.#flights.values()].filter((flight) => runs.has(flight.run))
    const next = (from: number): void => {
      for (const { abort } of doomed.slice(from, from + ABORT_SLICE)) abort.abort()
      if (from + ABORT_SLICE < doomed.length) setImmediate(next, from + ABORT_SLICE)
    }
    if (doomed.length > 0) setImmediate(next, 0)
  }
}

/** What resolves first; undefined for the end of patience. */
async function within<T>(
  promise: Promise<T>,
  { signal, waitMs }: Patience,
): Promise<T | undefined> {
  if (signal.aborted || waitMs <= 0) return undefined
  const { promise: over, resolve } = Promise.withResolvers<undefined>()
  const giveUp = (): void => resolve(undefined)
  const timer = setTimeout(giveUp, waitMs)
  signal.addEventListener('abort', giveUp, { once: true })
  try {
    return await Promise.race([promise, over])
  } finally {
    clearTimeout(timer)
    signal.removeEventListener('abort', giveUp)
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
