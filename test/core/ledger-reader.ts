import type { Entry, EntryOf } from '../../src/core/entry.ts'
import type { Facts } from '../../src/core/facts.ts'
import type { CallId, Instant, RunId } from '../../src/core/id.ts'
import type { Terms } from '../../src/core/lease.ts'
import { actionMatches } from './reference-terms.ts'

/** Money in hundredths of a cent; these tests use no finer amounts. */
export function cents(usd: string): number {
  return Math.round(Number(usd) * 10_000)
}

/** Answers questions about a ledger by reading it from the start. */
export class Reader {
  readonly entries: readonly Entry[]

  constructor(entries: readonly Entry[]) {
    this.entries = entries
  }

  #births(): readonly { run: RunId; parent: RunId | null }[] {
    return this.entries.flatMap((entry): { run: RunId; parent: RunId | null }[] => {
      if (entry.type === 'tree.opened') return [{ run: entry.command.run, parent: null }]
      if (entry.type !== 'run.delegated') return []
      return [{ run: entry.command.run, parent: entry.command.parent }]
    })
  }

  knows(run: RunId): boolean {
    return this.#births().some((birth) => birth.run === run)
  }

  children(run: RunId): RunId[] {
    return this.#births()
      .filter(({ parent }) => parent === run)
      .map((birth) => birth.run)
  }

  subtree(run: RunId): RunId[] {
    return [run, ...this.children(run).flatMap((child) => this.subtree(child))]
  }

  chain(run: RunId): RunId[] {
    const parent = this.#births().find((birth) => birth.run === run)!.parent
    return parent === null ? [run] : [run, ...this.chain(parent)]
  }

  /** The entries that set the terms of a run, the last of them in force. */
  #leases(run: RunId) {
    return this.entries.filter(
      (entry) =>
        (entry.type === 'lease.requested' && entry.command.run === run) ||
        (entry.type === 'run.delegated' && entry.command.run === run) ||
        (entry.type === 'lease.amended' && entry.run === run),
    ) as (EntryOf<'lease.requested'> | EntryOf<'run.delegated'> | EntryOf<'lease.amended'>)[]
  }

  terms(run: RunId): Terms {
    const last = this.#leases(run).at(-1)!
    return last.type === 'lease.amended' ? last.terms : last.command.terms
  }

  revision(run: RunId): number {
    return this.#leases(run).length
  }

  expiresAt(run: RunId): Instant | null {
    let at: Instant | null = null
    for (const entry of this.entries) {
      if (entry.type === 'lease.approved' && entry.command.run === run) at = entry.expiresAt
      if (entry.type === 'run.delegated' && entry.command.run === run) at = entry.expiresAt
      if (entry.type === 'lease.amended' && entry.run === run) at = entry.expiresAt
    }
    return at
  }

  state(run: RunId): 'requested' | 'active' | 'suspended' | 'ended' {
    let state: 'requested' | 'active' | 'suspended' | 'ended' = 'requested'
    for (const entry of this.entries) {
      if (entry.type === 'lease.approved' && entry.command.run === run) state = 'active'
      if (entry.type === 'run.delegated' && entry.command.run === run) {
        state = entry.expiresAt === null ? 'requested' : 'active'
      }
      if (entry.type === 'lease.suspended' && entry.command.run === run) state = 'suspended'
      if (entry.type === 'run.suspended' && entry.run === run) state = 'suspended'
      if (entry.type === 'lease.resumed' && entry.command.run === run) state = 'active'
      if (entry.type === 'lease.ended' && entry.run === run) state = 'ended'
    }
    return state
  }

  allowed(run: RunId): EntryOf<'call.allowed'>[] {
    return this.entries.filter(
      (entry): entry is EntryOf<'call.allowed'> =>
        entry.type === 'call.allowed' && entry.command.run === run,
    )
  }

  callState(call: CallId): string {
    let state = 'none'
    for (const entry of this.entries) {
      if (entry.type === 'call.allowed' && entry.command.call === call) state = 'in_flight'
      if (entry.type === 'call.resumed' && entry.call === call) state = 'in_flight'
      if (entry.type === 'call.settled' && entry.command.call === call) {
        state = entry.command.outcome === 'unknown' ? 'frozen' : entry.command.outcome
      }
      if (entry.type === 'call.resolved' && entry.command.call === call) {
        if (entry.command.do === 'settle') state = entry.command.outcome
        else state = entry.command.happened ? 'succeeded' : 'free'
      }
      if (entry.type === 'tree.closed' && entry.unanswered.includes(call)) state = 'frozen'
    }
    return state
  }

  /** Calls that count against the run's own lease: its own, and those of runs below. */
  callsUsed(run: RunId): number {
    const below = this.children(run).map((child) =>
      this.state(child) === 'ended' ? this.callsUsed(child) : this.terms(child).maxToolCalls!,
    )
    return this.allowed(run).length + below.reduce((sum, each) => sum + each, 0)
  }

  actionUsed(run: RunId, action: string): number {
    const own = this.allowed(run).filter(({ command }) =>
      command.facts.touches.some((touch) => touch.action === action),
    ).length
    const below = this.children(run).map((child) =>
      this.state(child) === 'ended'
        ? this.actionUsed(child, action)
        : this.#actionReserved(child, run, action),
    )
    return own + below.reduce((sum, each) => sum + each, 0)
  }

  /**
   * What a living child holds: its limit, if the parent counted the action when they agreed on it.
   */
  #actionReserved(child: RunId, parent: RunId, action: string): number {
    const agreed = this.#leases(child).at(-1)!
    const then = new Reader(this.entries.slice(0, agreed.seq))
    const counted = Object.keys(then.terms(parent).limits).includes(action)
    const own = this.terms(child).limits
    return counted && Object.keys(own).includes(action) ? own[action]! : 0
  }

  usdUsed(run: RunId): number {
    const own = this.allowed(run).reduce((sum, entry) => sum + this.#charged(run, entry), 0)
    const below = this.children(run).map((child) => {
      if (this.state(child) === 'ended') return this.usdUsed(child)
      return this.terms(run).usd === null ? 0 : cents(this.terms(child).usd ?? '0')
    })
    return own + below.reduce((sum, each) => sum + each, 0)
  }

  usdLeft(run: RunId): number {
    const { usd } = this.terms(run)
    return usd === null ? Number.POSITIVE_INFINITY : cents(usd) - this.usdUsed(run)
  }

  /** What one call costs its budget: the price, less what came back, more what it overran. */
  #charged(run: RunId, allowed: EntryOf<'call.allowed'>): number {
    const price = cents(allowed.command.facts.usd ?? '0')
    let charge = price
    let wasUnknown = false
    for (const entry of this.entries) {
      if (entry.type !== 'call.settled' && entry.type !== 'call.resolved') continue
      const { command } = entry
      if (command.call !== allowed.command.call || command.do !== 'settle') continue
      if (command.outcome === 'unknown') wasUnknown = true
      if (command.outcome === 'unknown' || command.outcome === 'deferred') continue
      if (command.usd === null) continue
      const cost = cents(command.usd)
      if (cost > price) charge += this.#overrun(run, entry.seq, cost - price)
      else if (!wasUnknown) charge = cost
    }
    return charge
  }

  /**
   * An overrun counts as far as the budget reached at that moment, up to the first living lease.
   */
  #overrun(run: RunId, seq: number, overrun: number): number {
    const then = new Reader(this.entries.slice(0, seq - 1))
    let charged = overrun
    for (const each of then.chain(run)) {
      charged = Math.min(charged, then.usdLeft(each))
      if (then.state(each) !== 'ended') break
    }
    return charged
  }

  /** Milliseconds on the clock of work. */
  worked(run: RunId, now: Instant): number {
    let total = 0
    let isActive = false
    /** The clock stands still before this moment; null: until something starts it. */
    let from: Instant | null = null
    let last = 0
    const tick = (at: Instant) => {
      if (from !== null) total += Math.max(0, at - Math.max(from, last))
      last = at
    }
    for (const entry of this.entries) {
      tick(entry.at)
      const isOurs = 'command' in entry && 'run' in entry.command && entry.command.run === run
      if (entry.type === 'lease.approved' && isOurs) [isActive, from] = [true, entry.at]
      if (entry.type === 'run.delegated' && isOurs && entry.expiresAt !== null) {
        ;[isActive, from] = [true, entry.at]
      }
      if (entry.type === 'lease.suspended' && isOurs) [isActive, from] = [false, null]
      if (entry.type === 'run.suspended' && entry.run === run) [isActive, from] = [false, null]
      if (entry.type === 'lease.resumed' && isOurs) [isActive, from] = [true, entry.at]
      if (entry.type === 'ask.opened' && isOurs) from = entry.deadline
      if (entry.type === 'call.allowed' && isOurs) from = Math.min(from ?? entry.at, entry.at)
      if (entry.type === 'call.resumed' && isOurs) from = Math.min(from ?? entry.at, entry.at)
      if ((entry.type === 'ask.approved' || entry.type === 'ask.refused') && isActive) {
        const opened = this.#ask(entry.command.ask)
        if (opened.command.run === run) from = Math.min(from ?? entry.at, entry.at)
      }
    }
    tick(now)
    return total
  }

  #ask(ask: string): EntryOf<'ask.opened'> {
    return this.entries.find(
      (entry): entry is EntryOf<'ask.opened'> =>
        entry.type === 'ask.opened' && entry.command.ask === ask,
    )!
  }

  /** A call below `owner` that may end its lease, is not answered, and is not `itself`. */
  untilPending(owner: RunId, itself: CallId | null): boolean {
    const { until } = this.terms(owner)
    return this.subtree(owner)
      .flatMap((run) => this.allowed(run))
      .filter(({ command }) =>
        command.facts.touches.some((t) => until.some((p) => actionMatches(p, t.action))),
      )
      .filter(({ command }) => command.call !== itself)
      .some(({ command }) => ['in_flight', 'deferred'].includes(this.callState(command.call)))
  }

  /** What became of the last ask for exactly this call. */
  askState(run: RunId, facts: Facts, now: Instant): 'none' | 'pending' | 'approved' | 'refused' {
    const same = this.entries.filter(
      (entry): entry is EntryOf<'ask.opened'> =>
        entry.type === 'ask.opened' &&
        entry.command.run === run &&
        new Reader(this.entries.slice(0, entry.seq)).revision(run) === this.revision(run) &&
        sameCall(entry.command.facts, facts),
    )
    const opened = same.at(-1)
    if (opened === undefined) return 'none'
    let state: 'none' | 'pending' | 'approved' | 'refused' = 'pending'
    let deadline = opened.deadline
    for (const entry of this.entries) {
      if (entry.type === 'ask.refused' && entry.command.ask === opened.command.ask)
        state = 'refused'
      if (entry.type === 'ask.approved' && entry.command.ask === opened.command.ask) {
        state = 'approved'
        deadline = entry.deadline
      }
      if (entry.type === 'call.allowed' && entry.determined.ask === opened.command.ask)
        return 'none'
    }
    return state !== 'refused' && now >= deadline ? 'none' : state
  }

  asksOpened(run: RunId): number {
    const asks = this.entries.filter((e) => e.type === 'ask.opened' && e.command.run === run)
    const leases = this.entries.filter(
      (e) => e.type === 'run.delegated' && e.command.parent === run && e.expiresAt === null,
    )
    return asks.length + leases.length
  }
}

/** The same tool doing the same thing. */
export function sameCall(left: Facts, right: Facts): boolean {
  const text = ({ tool, definition, touches, argsDigest, usd }: Facts) =>
    JSON.stringify([tool, definition, touches, argsDigest, usd])
  return text(left) === text(right)
}
