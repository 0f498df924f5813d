import type { Entry, EntryOf } from '../core/entry.ts'
import type { Facts } from '../core/facts.ts'
import type { CallId, RunId } from '../core/id.ts'
import type { Tree } from '../core/tree.ts'
import { describeFacts, distinct } from './gather.ts'
import type { ActionPart, CallPart, DeniedPart, FilePart, ToolPart } from './receipt-body.ts'

type Writable<T> = { -readonly [K in keyof T]: T[K] }

/** A call that was allowed, with what it was allowed for. */
export interface CallRecord {
  readonly part: CallPart
  readonly facts: Facts
  readonly privileged: boolean
}

/** Every allowed call, in order, with its last known outcome. */
export function foldCalls(entries: readonly Entry[], tree: Tree): CallRecord[] {
  const records = new Map<CallId, { part: Writable<CallPart>; facts: Facts; privileged: boolean }>()
  for (const entry of entries) {
    switch (entry.type) {
      case 'call.allowed':
        records.set(entry.command.call, {
          part: allowedPart(entry, tree),
          facts: entry.command.facts,
          privileged: entry.privileged,
        })
        break
      case 'call.resumed': {
        const { part } = records.get(entry.call)!
        Object.assign(part, { outcome: null, settledAt: null, resumed: part.resumed + 1 })
        break
      }
      case 'call.settled':
      case 'call.resolved':
        Object.assign(records.get(entry.command.call)!.part, outcomeOf(entry))
        break
      case 'tree.closed':
        for (const id of entry.unanswered) {
          const { part } = records.get(id)!
          Object.assign(part, { outcome: 'unknown', settledAt: entry.at })
        }
        break
    }
  }
  return [...records.values()]
}

function allowedPart(entry: EntryOf<'call.allowed'>, tree: Tree): CallPart {
  const { command, seq, at, determined } = entry
  const { ask } = determined
  return {
    seq,
    at,
    call: command.call,
    run: command.run,
    parentRun: parentOf(tree, command.run),
    tool: command.facts.tool,
    ...describeFacts(command.facts),
    outcome: null,
    settledAt: null,
    note: null,
    resolvedBy: null,
    ask: ask === null ? null : { id: ask, by: null },
    resumed: 0,
  }
}

function outcomeOf(
  entry: EntryOf<'call.settled'> | EntryOf<'call.resolved'>,
): Partial<Writable<CallPart>> {
  const { command, at } = entry
  if (command.do === 'settle') {
    return { outcome: command.outcome, settledAt: at, note: command.note }
  }
  const outcome = command.happened ? 'succeeded' : 'did_not_happen'
  return { outcome, settledAt: at, resolvedBy: command.by }
}

export function parentOf(tree: Tree, run: RunId): RunId | null {
  return tree.runs.get(run)?.parent ?? null
}

/** Denials, each with the count of the equal ones that were folded into it. */
export function foldDenials(entries: readonly Entry[], tree: Tree): DeniedPart[] {
  const parts = new Map<number, Writable<DeniedPart>>()
  for (const entry of entries) {
    if (entry.type === 'call.denied') parts.set(entry.seq, deniedPart(entry, tree))
    if (entry.type === 'call.denied_again') {
      const part = parts.get(entry.command.denial)!
      part.times += entry.command.times
      part.lastAt = entry.at
    }
  }
  return [...parts.values()]
}

function deniedPart(entry: EntryOf<'call.denied'>, tree: Tree): DeniedPart {
  const { command, seq, at, reason, determined } = entry
  const { actions, resources, within } = describeFacts(command.facts)
  return {
    seq,
    run: command.run,
    parentRun: parentOf(tree, command.run),
    tool: command.facts.tool,
    actions,
    resources,
    within,
    reason,
    determined,
    times: 1,
    firstAt: at,
    lastAt: at,
  }
}

export function foldTools(calls: readonly CallRecord[]): ToolPart[] {
  return count(calls.map(({ part }) => part.tool)).map(([tool, times]) => ({ tool, calls: times }))
}

function count<T>(values: readonly T[]): [T, number][] {
  const counts = new Map<T, number>()
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1)
  return [...counts]
}

/** One line per action, with who did it, how often, and where its data went. */
export function foldActions(calls: readonly CallRecord[]): ActionPart[] {
  return distinct(calls.flatMap(({ part }) => part.actions)).map((action) => {
    const own = calls.filter(({ part }) => part.actions.includes(action))
    const touches = own.flatMap(({ facts }) => facts.touches.filter((t) => t.action === action))
    return {
      action,
      calls: own.length,
      privileged: own.filter(({ privileged }) => privileged).length,
      asked: own.filter(({ part }) => part.ask !== null).length,
      irreversible: touches.some((touch) => touch.effect !== 'read' && !touch.reversible),
      byRun: count(own.map(({ part }) => part.run)).map(([run, times]) => ({ run, calls: times })),
      tools: distinct(own.map(({ part }) => part.tool)),
      hosts: distinct(touches.flatMap((touch) => touch.hosts)),
      notes: distinct(
        own
          .filter(({ part }) => part.outcome === 'succeeded')
          .map(({ part }) => part.note)
          .filter((note) => note !== null),
      ),
    }
  })
}

/**
 * Files that a writing touch named. What a call that failed would have changed is not among them.
 */
export function foldFiles(calls: readonly CallRecord[]): FilePart[] {
  const certain = new Map<string, boolean>()
  for (const { part, facts } of calls) {
    if (part.outcome === 'failed' || part.outcome === 'did_not_happen') continue
    for (const { effect, within, resources } of facts.touches) {
      if (effect === 'read') continue
      for (const path of [...(within.paths ?? []), ...(resources.paths ?? [])]) {
        certain.set(path, certain.get(path) === true || part.outcome === 'succeeded')
      }
    }
  }
  return [...certain].map(([path, isCertain]) => ({ path, uncertain: !isCertain }))
}
