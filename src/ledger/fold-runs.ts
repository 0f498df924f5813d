import { actionLeft, callsLeft, descendantsOf, usdLeft } from '../core/chain.ts'
import { compileTerms } from '../core/compile.ts'
import type { Entry, EntryOf } from '../core/entry.ts'
import type { Facts } from '../core/facts.ts'
import { type CompiledGrant, permits } from '../core/grant.ts'
import type { RunId } from '../core/id.ts'
import { matchesAction } from '../core/pattern.ts'
import type { Ask, Denial, Lease, Run, Tree } from '../core/tree.ts'
import { workedMsAt } from '../core/work.ts'
import type { CallRecord } from './fold-calls.ts'
import { mergeResources } from './gather.ts'
import type {
  BudgetPart,
  DeniedPart,
  EndPart,
  RevokedPart,
  RunPart,
  SuspensionPart,
  TriedPart,
  UnusedPart,
} from './receipt-body.ts'

/** How each lease ended. */
export function foldEnds(
  entries: readonly Entry[],
  calls: readonly CallRecord[],
  tree: Tree,
): Map<RunId, EndPart> {
  const ends = new Map<RunId, EndPart>()
  for (const entry of entries) {
    if (entry.type !== 'lease.ended') continue
    const { run, reason, note, endedAt, at: observedAt } = entry
    const expiresAt = tree.runs.get(run)!.lease!.expiresAt
    const event = reason === 'event' ? eventOf(entry, entries, calls) : null
    const by = 'command' in entry && 'by' in entry.command ? entry.command.by : null
    ends.set(run, { reason, note, by, endedAt, observedAt, expiresAt, event })
  }
  return ends
}

function eventOf(
  entry: EntryOf<'lease.ended'>,
  entries: readonly Entry[],
  calls: readonly CallRecord[],
): EndPart['event'] {
  const cause = 'cause' in entry ? entries[entry.cause - 1] : undefined
  if (cause?.type !== 'call.settled' && cause?.type !== 'call.resolved') return null
  const { call } = cause.command
  return { call, actions: calls.find(({ part }) => part.call === call)!.part.actions }
}

export function foldRuns(
  tree: Tree,
  ends: ReadonlyMap<RunId, EndPart>,
  calls: readonly CallRecord[],
  denied: readonly DeniedPart[],
): RunPart[] {
  return [...tree.runs.values()].map((run) => {
    const { lease } = run
    return {
      run: run.id,
      parent: run.parent,
      depth: run.depth,
      agent: run.envelope.agent,
      purpose: run.envelope.purpose,
      requester: run.envelope.requester,
      lease: lease?.id ?? null,
      revision: lease?.revision ?? 0,
      openedAt: run.openedAt,
      approvedAt: lease?.approvedAt ?? null,
      expiresAt: lease?.expiresAt ?? null,
      ended: ends.get(run.id) ?? null,
      calls: calls.filter(({ part }) => part.run === run.id).length,
      denied: denied.reduce((sum, part) => sum + (part.run === run.id ? part.times : 0), 0),
      budget: lease === null ? null : budgetOf(lease, tree.at),
    }
  })
}

/** Every pause, in order, with the resumption that ended it. */
export function foldSuspensions(entries: readonly Entry[]): SuspensionPart[] {
  const parts: SuspensionPart[] = []
  for (const entry of entries) {
    const { at } = entry
    const open = { resumedAt: null, resumedBy: null }
    if (entry.type === 'lease.suspended') {
      const { run, reason: why, by } = entry.command
      parts.push({ run, at, why, by, ...open })
    } else if (entry.type === 'run.suspended') {
      parts.push({ run: entry.run, at, why: entry.why, by: null, ...open })
    } else if (entry.type === 'lease.resumed') {
      const { run, by } = entry.command
      const last = parts.findLastIndex((part) => part.run === run)
      if (last >= 0) parts[last] = { ...parts[last]!, resumedAt: at, resumedBy: by }
    }
  }
  return parts
}

function budgetOf(lease: Lease, now: number): BudgetPart {
  const { terms, spent, spentBelow } = lease
  const below = (action: string) => spentBelow.byAction[action] ?? 0
  return {
    calls: {
      limit: terms.maxToolCalls,
      used: spent.calls,
      below: spentBelow.calls,
      left: callsLeft(lease),
    },
    usd: { limit: terms.usd, used: spent.usd, below: spentBelow.usd, left: usdLeft(lease) },
    work: {
      limitMs: terms.workSeconds === null ? null : terms.workSeconds * 1000,
      usedMs: workedMsAt(lease, now),
    },
    limits: Object.keys(terms.limits)
      .sort()
      .map((action) => ({
        action,
        limit: terms.limits[action]!,
        used: spent.byAction[action] ?? 0,
        below: below(action),
        left: actionLeft(lease, action),
      })),
  }
}

/** What the end took away. A lease that never was active had nothing. */
export function foldRevoked(tree: Tree): RevokedPart {
  const lease = tree.runs.get(tree.root)!.lease
  const badges = [...tree.runs.values()].filter((run) => run.lease?.approvedAt != null).length
  if (lease === null || lease.approvedAt === null) {
    return { calls: 0, seconds: 0, permissions: 0, badges }
  }
  const until = lease.endedAt ?? tree.at
  const work = lease.terms.workSeconds
  const left = Math.min(
    lease.expiresAt! - until,
    work === null ? Number.POSITIVE_INFINITY : work * 1000 - workedMsAt(lease, until),
  )
  return {
    calls: callsLeft(lease),
    seconds: Math.max(0, Math.floor(left / 1000)),
    permissions: new Set(lease.terms.grants.flatMap((grant) => grant.actions)).size,
    badges,
  }
}

/** Granted actions, grant by grant, that no allowed call of the run or of one below it needed. */
export function foldUnused(tree: Tree, calls: readonly CallRecord[]): UnusedPart[] {
  return [...tree.runs.values()].flatMap((run) => {
    if (run.lease === null || run.lease.approvedAt === null) return []
    const below = new Set([run, ...descendantsOf(tree, run)].map(({ id }) => id))
    return unusedOf(run, {
      calls: calls.filter(({ part }) => below.has(part.run)),
      asks: [...tree.asks.values()].filter((ask) => below.has(ask.run)),
      denials: [...tree.denials.values()].filter((denial) => below.has(denial.run)),
    })
  })
}

/** What a run and the runs below it did and tried. */
interface Tries {
  readonly calls: readonly CallRecord[]
  readonly asks: readonly Ask[]
  readonly denials: readonly Denial[]
}

function unusedOf(run: Run, tries: Tries): UnusedPart[] {
  return compileTerms(run.lease!.terms).grants.flatMap((compiled) => {
    const resources = mergeResources([compiled.grant.resources])
    return compiled.actions.flatMap((action) => {
      const grant = { ...compiled, actions: [action] }
      if (tries.calls.some((call) => isFor(grant, call))) return []
      return [{ run: run.id, action: action.text, resources, tried: triedOf(grant, tries) }]
    })
  })
}

function triedOf(grant: CompiledGrant, { asks, denials }: Tries): TriedPart {
  const ask = asks.findLast((each) => isFor(grant, each))
  if (ask !== undefined) {
    return ask.state === 'pending' ? 'unanswered' : ask.state === 'refused' ? 'refused' : 'allowed'
  }
  return denials.some((denial) => isFor(grant, denial)) ? 'denied' : null
}

function isFor(grant: CompiledGrant, { facts }: { readonly facts: Facts }): boolean {
  return facts.touches.some(
    (touch) =>
      grant.actions.some((action) => matchesAction(action, touch.action)) &&
      permits(grant, touch, facts.args) === null,
  )
}
