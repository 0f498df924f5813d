import { chainOf, untilOwners, usdLeft } from './chain.ts'
import { denialKey } from './decide-call.ts'
import type { EntryOf, EntryType } from './entry.ts'
import type { CallId } from './id.ts'
import { doesOf } from './judge.ts'
import { isMore, minus, plus } from './money.ts'
import { unreachable } from './result.ts'
import { spentOn } from './spent.ts'
import type { Call, Run, Tree } from './tree.ts'
import { awaitAnswer, startWork } from './work.ts'

type CallEntry = EntryOf<Extract<EntryType, `call.${string}` | `ask.${string}`> | 'tree.closed'>

/** Folds what happens to calls and asks. */
export function evolveCall(tree: Tree, entry: CallEntry): void {
  switch (entry.type) {
    case 'call.allowed':
      return applyAllowed(tree, entry)
    case 'call.resumed':
      return applyResumed(tree, entry)
    case 'call.denied':
      return applyDenied(tree, entry)
    case 'call.denied_again': {
      const { denial: seq, times } = entry.command
      const denial = [...tree.denials.values()].find((each) => each.seq === seq)!
      denial.times += times
      denial.lastAt = entry.at
      return
    }
    case 'call.settled':
      return applySettled(tree, entry)
    case 'call.resolved':
      return applyResolved(tree, entry)
    case 'ask.opened':
      return applyAskOpened(tree, entry)
    case 'ask.approved':
    case 'ask.refused':
      return applyAskAnswered(tree, entry)
    case 'tree.closed':
      tree.phase = 'closed'
      for (const id of entry.unanswered) freeze(tree, tree.calls.get(id)!)
      return
    default:
      return unreachable(entry)
  }
}

function applyAllowed(tree: Tree, entry: EntryOf<'call.allowed'>): void {
  const { command, at, determined } = entry
  const { facts } = command
  const run = tree.runs.get(command.run)!
  const lease = run.lease!
  const actions = [...new Set(facts.touches.map((touch) => touch.action))]
  const usd = facts.usd ?? '0'
  tree.calls.set(command.call, {
    id: command.call,
    run: run.id,
    key: command.key,
    tool: facts.tool,
    argsDigest: facts.argsDigest,
    actions,
    does: doesOf(facts),
    usd,
    idempotent: facts.idempotent,
    ask: determined.ask,
    state: 'in_flight',
    outcome: null,
    isDoubtful: false,
    seq: entry.seq,
    deadline: entry.deadline,
    executor: command.executor,
  })
  run.keys.set(command.key, command.call)
  run.inFlight.add(command.call)
  lease.spent.calls += 1
  for (const action of actions) {
    if (!Object.hasOwn(lease.terms.limits, action)) continue
    lease.spent.byAction[action] = spentOn(lease.spent, action) + 1
  }
  if (usd !== '0') lease.spent.usd = plus(lease.spent.usd, usd)
  startWork(lease, at)
  if (determined.ask !== null) tree.asks.get(determined.ask)!.state = 'used'
  for (const owner of untilOwners(chainOf(tree, run), actions)) owner.untilCall = command.call
}

function applyResumed(tree: Tree, entry: EntryOf<'call.resumed'>): void {
  const call = tree.calls.get(entry.call)!
  const run = tree.runs.get(call.run)!
  call.state = 'in_flight'
  call.outcome = null
  call.deadline = entry.deadline
  call.executor = entry.command.executor
  run.deferred.delete(call.id)
  run.inFlight.add(call.id)
  startWork(run.lease!, entry.at)
  for (const owner of untilOwners(chainOf(tree, run), call.actions)) owner.untilCall = call.id
}

function applyDenied(tree: Tree, entry: EntryOf<'call.denied'>): void {
  const { command, reason, determined, seq, at } = entry
  const key = denialKey(tree, command, { reason, determined })
  tree.denials.set(key, {
    key,
    seq,
    run: command.run,
    reason,
    facts: command.facts,
    times: 1,
    firstAt: at,
    lastAt: at,
  })
  tree.runs.get(command.run)!.denialsDistinct += 1
}

function applySettled(tree: Tree, entry: EntryOf<'call.settled'>): void {
  const { command } = entry
  const call = tree.calls.get(command.call)!
  const run = tree.runs.get(call.run)!
  run.inFlight.delete(call.id)
  if (command.outcome === 'unknown') return freeze(tree, call)
  call.outcome = command.outcome
  call.state = command.outcome
  if (command.outcome === 'deferred') {
    run.deferred.add(call.id)
    return
  }
  releaseUntil(tree, call.id)
  if (entry.overrun !== null) return chargeOverrun(tree, run, entry.overrun)
  if (command.usd === null || call.isDoubtful) return
  const unused = minus(call.usd, command.usd)
  for (const total of totalsOf(tree, run)) total.usd = minus(total.usd, unused)
}

/**
 * The counters that a call of this run stands in: its own lease's, and, where that lease has ended
 * and handed over what it spent, those above it.
 */
function totalsOf(tree: Tree, run: Run) {
  const totals = [run.lease!.spent]
  for (const { lease, parent } of chainOf(tree, run)) {
    if (lease!.state !== 'ended' || parent === null) break
    totals.push(tree.runs.get(parent)!.lease!.spentBelow)
  }
  return totals
}

/**
 * More was spent than reserved. It counts as far as the budget reaches, so that nobody spends it
 * again; the whole of it stands in the entry, and the run is suspended.
 */
function chargeOverrun(tree: Tree, run: Run, overrun: string): void {
  const totals = totalsOf(tree, run)
  let charged = overrun
  for (const { lease } of chainOf(tree, run).slice(0, totals.length)) {
    const left = usdLeft(lease!)
    if (left !== null && isMore(charged, left)) charged = left
  }
  for (const total of totals) total.usd = plus(total.usd, charged)
}

/** Unknown outcome: what was spent stays spent, and the same key is not executed again. */
function freeze(tree: Tree, call: Call): void {
  const run = tree.runs.get(call.run)!
  run.inFlight.delete(call.id)
  run.deferred.delete(call.id)
  call.state = 'frozen'
  call.outcome = 'unknown'
  call.isDoubtful = true
  releaseUntil(tree, call.id)
}

function releaseUntil(tree: Tree, call: CallId): void {
  for (const run of chainOf(tree, tree.runs.get(tree.calls.get(call)!.run)!)) {
    if (run.untilCall === call) run.untilCall = null
  }
}

function applyResolved(tree: Tree, entry: EntryOf<'call.resolved'>): void {
  const { command } = entry
  const call = tree.calls.get(command.call)!
  if (command.do === 'settle') {
    call.outcome = command.outcome
    call.state = command.outcome === 'failed' ? 'failed' : 'succeeded'
    const isOver = command.usd !== null && isMore(command.usd, call.usd)
    if (isOver) chargeOverrun(tree, tree.runs.get(call.run)!, minus(command.usd!, call.usd))
    return
  }
  call.state = command.happened ? 'succeeded' : 'free'
  call.outcome = command.happened ? 'succeeded' : null
}

function applyAskOpened(tree: Tree, entry: EntryOf<'ask.opened'>): void {
  const { command, binding, deadline, at } = entry
  const run = tree.runs.get(command.run)!
  tree.asks.set(command.ask, {
    id: command.ask,
    run: run.id,
    binding,
    facts: command.facts,
    openedAt: at,
    state: 'pending',
    deadline,
    by: null,
    reason: null,
  })
  tree.askByBinding.set(binding, command.ask)
  run.asksOpened += 1
  awaitAnswer(run.lease!, at, deadline)
}

function applyAskAnswered(
  tree: Tree,
  entry: EntryOf<'ask.approved'> | EntryOf<'ask.refused'>,
): void {
  const { command, at } = entry
  const ask = tree.asks.get(command.ask)!
  ask.by = 'person' in command.by ? command.by.person : null
  const lease = tree.runs.get(ask.run)!.lease!
  if (lease.state === 'active') startWork(lease, at)
  if (entry.type === 'ask.approved') {
    ask.state = 'approved'
    ask.deadline = entry.deadline
    return
  }
  ask.state = 'refused'
  ask.reason = entry.command.reason
}
