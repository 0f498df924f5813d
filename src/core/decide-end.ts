import { chainOf, type Death, deathByTime, deathOf, descendantsOf, untilOwners } from './chain.ts'
import { type Decision, done, isAlive, type Of, refuse } from './decision.ts'
import type { Entry, EntryOf } from './entry.ts'
import type { Instant, RunId } from './id.ts'
import { CLOSE_WAIT_SECONDS } from './limits.ts'
import { isMore, minus } from './money.ts'
import type { Call, Run, Tree } from './tree.ts'

/** Outcomes of calls, and the ends of leases and trees that follow from them or from a command. */

export function decideSettle(tree: Tree, command: Of<'settle'>, now: Instant): Decision {
  const call = tree.calls.get(command.call)
  if (call === undefined) return refuse('call_unknown', `no call ${command.call} in this tree`)
  const seq = tree.seq + 1
  const isAnswer = command.outcome === 'succeeded' || command.outcome === 'failed'
  // What really happened beats a person's word that it did not, until the call runs again.
  if (isAnswer && (call.state === 'frozen' || call.state === 'free')) {
    const entry: Entry = { seq, at: now, type: 'call.resolved', command }
    return done(entry, ...followOutcome(tree, call.run, command, entry))
  }
  if (call.state !== 'in_flight') {
    return refuse('call_not_in_flight', `call ${call.id} is settled already`)
  }
  const overrun = isAnswer ? overrunOf(call, command) : null
  const entry: Entry = { seq, at: now, type: 'call.settled', command, overrun }
  return done(entry, ...followOutcome(tree, call.run, command, entry))
}

/** How much more than reserved the call has cost. */
function overrunOf(call: Call, command: Of<'settle'>): string | null {
  if (command.usd === null || !isMore(command.usd, call.usd)) return null
  return minus(command.usd, call.usd)
}

/** What an outcome brings about: the end by event or exhaustion, or suspension. */
function followOutcome(tree: Tree, id: RunId, command: Of<'settle'>, entry: Entry): Entry[] {
  const run = tree.runs.get(id)!
  const call = tree.calls.get(command.call)!
  const owners = untilOwners(chainOf(tree, run), call.actions).filter(isAlive)
  if (owners.length > 0 && command.outcome === 'succeeded') {
    const note = command.note ?? `${call.actions.join(', ')} succeeded`
    return endingOf(tree, owners.at(-1)!, entry, { reason: 'event', endedAt: entry.at, note })
  }
  if (owners.length > 0 && command.outcome === 'unknown') {
    return owners
      .filter(({ lease }) => lease!.state === 'active')
      .map((each, index) => suspension(entry, index, each.id, 'until_unknown'))
  }
  const isAnswer = command.outcome === 'succeeded' || command.outcome === 'failed'
  if (isAnswer && overrunOf(call, command) !== null && run.lease!.state === 'active') {
    return [suspension(entry, 0, run.id, 'overrun')]
  }
  return exhaustionOf(tree, run, command, entry)
}

function suspension(
  entry: Entry,
  index: number,
  run: RunId,
  why: 'until_unknown' | 'overrun',
): Entry {
  const seq = entry.seq + 1 + index
  return { seq, at: entry.at, type: 'run.suspended', cause: entry.seq, run, why }
}

/** The last call of a budget settled: with nothing in flight the lease has no more use. */
function exhaustionOf(tree: Tree, run: Run, command: Of<'settle'>, entry: Entry): Entry[] {
  if (command.outcome === 'deferred') return []
  const death = deathOf(tree, run, entry.at, command.call)
  return death?.reason === 'exhausted' ? endingOf(tree, run, entry, death) : []
}

/** The end of a lease and, in the same batch, of every lease below it. */
function endingOf(tree: Tree, run: Run, cause: Entry, wanted: Death): Entry[] {
  const base = { at: cause.at, type: 'lease.ended', cause: cause.seq } as const
  const death = deathByTime(run, cause.at) ?? wanted
  const own: EntryOf<'lease.ended'> = { ...base, seq: cause.seq + 1, run: run.id, ...death }
  return [own, ...endingBelow(tree, run, own, cause.seq)]
}

/** The runs below die with their ancestor, unless time was first. */
function endingBelow(
  tree: Tree,
  run: Run,
  above: EntryOf<'lease.ended'>,
  cause: number,
): EntryOf<'lease.ended'>[] {
  const { at, endedAt } = above
  const withParent: Death = { reason: 'parent_ended', endedAt, note: null }
  return descendantsOf(tree, run)
    .filter(isAlive)
    .map((child, index) => {
      const byTime = deathByTime(child, at)
      const death = byTime !== null && byTime.endedAt < endedAt ? byTime : withParent
      const seq = above.seq + 1 + index
      return { seq, at, type: 'lease.ended', cause, run: child.id, ...death }
    })
}

export function decideResolve(tree: Tree, command: Of<'resolve'>, now: Instant): Decision {
  const call = tree.calls.get(command.call)
  if (call === undefined) return refuse('call_unknown', `no call ${command.call} in this tree`)
  if (call.state !== 'frozen') {
    return refuse('call_not_unknown', `the outcome of ${call.id} is known or still awaited`)
  }
  if (!('person' in command.by)) {
    return refuse('not_an_approver', 'only a person can say what happened')
  }
  const entry: Entry = { seq: tree.seq + 1, at: now, type: 'call.resolved', command }
  if (!command.happened) return done(entry)
  const owners = untilOwners(chainOf(tree, tree.runs.get(call.run)!), call.actions).filter(isAlive)
  if (owners.length === 0) return done(entry)
  const note = `${call.actions.join(', ')} succeeded`
  return done(
    entry,
    ...endingOf(tree, owners.at(-1)!, entry, { reason: 'event', endedAt: now, note }),
  )
}

export function decideEnd(
  tree: Tree,
  command: Of<'revoke'> | Of<'end'> | Of<'expire'>,
  now: Instant,
): Decision {
  const run = tree.runs.get(command.run)
  if (run === undefined) return refuse('run_unknown', `no run ${command.run} in this tree`)
  // Without a lease the root can be ended too: then no request comes after.
  const isEnded = run.lease === null ? tree.phase !== 'open' : !isAlive(run)
  if (isEnded) return refuse('lease_ended', 'this lease has ended already')
  const death = deathBy(tree, run, command, now)
  if (death === null) return refuse('not_expired', 'this lease has not run out')
  const here = { seq: tree.seq + 1, at: now, type: 'lease.ended', run: run.id } as const
  const own: EntryOf<'lease.ended'> = { ...here, command, ...death }
  return done(own, ...endingBelow(tree, run, own, own.seq))
}

/** Who comes after the expiry finds the lease dead already, and the record says so. */
function deathBy(
  tree: Tree,
  run: Run,
  command: Of<'revoke'> | Of<'end'> | Of<'expire'>,
  now: Instant,
): Death | null {
  if (command.do === 'expire') return deathOf(tree, run, now)
  const byTime = deathByTime(run, now)
  if (byTime !== null) return byTime
  return command.do === 'revoke'
    ? { reason: 'revoked', endedAt: now, note: command.reason }
    : { reason: 'completed', endedAt: now, note: command.note }
}

export function decideClose(tree: Tree, command: Of<'close'>, now: Instant): Decision {
  if (tree.phase === 'closed') return refuse('tree_closed', 'this tree is closed already')
  if (tree.phase === 'open') return refuse('tree_not_ended', 'the run has not ended')
  const waiting = [...tree.calls.values()].filter(({ state }) => state === 'in_flight')
  const here = { seq: tree.seq + 1, at: now, command } as const
  if (waiting.length > 0 && tree.phase === 'ended') {
    return done({ ...here, type: 'tree.closing', waitUntil: now + CLOSE_WAIT_SECONDS * 1000 })
  }
  if (waiting.length > 0 && now < tree.waitUntil!) {
    return refuse('calls_in_flight', `${waiting.length} calls have not answered yet`)
  }
  const unanswered = [...tree.calls.values()]
    .filter(({ state }) => state === 'in_flight' || state === 'deferred')
    .map(({ id }) => id)
  return done({ ...here, type: 'tree.closed', unanswered })
}
