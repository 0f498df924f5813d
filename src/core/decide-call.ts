import { isOver } from './chain.ts'
import { type Decided, type Decision, done, mayAnswer, type Of, refuse } from './decision.ts'
import type { Entry } from './entry.ts'
import { isPrivileged } from './facts.ts'
import type { Instant } from './id.ts'
import { bindingOf, judge, type Verdict } from './judge.ts'
import {
  ASK_ANSWER_SECONDS,
  ASK_USE_SECONDS,
  DENIALS_DISTINCT_MAX,
  DENIALS_RECORDED_MAX,
} from './limits.ts'
import type { Reason } from './reason.ts'
import { err, ok } from './result.ts'
import type { Tree } from './tree.ts'

/** One call: the verdict as entries, the denials as a bounded record, the answers to asks. */

export function decideAuthorize(tree: Tree, command: Of<'authorize'>, now: Instant): Decision {
  const verdict = judgeSafely(tree, command, now)
  const here = { seq: tree.seq + 1, at: now, command } as const
  const deadline = now + command.deadlineSeconds * 1000
  switch (verdict.kind) {
    case 'allow': {
      if (tree.calls.has(command.call)) return taken(command.call)
      const determined = { grants: verdict.grants, ask: verdict.ask }
      const privileged = verdict.ask !== null || isPrivileged(command.facts.touches)
      return ok({
        entries: [{ ...here, type: 'call.allowed', privileged, determined, deadline }],
        reply: { kind: 'allow', call: command.call, resumed: false },
      })
    }
    case 'resume':
      return ok({
        entries: [{ ...here, type: 'call.resumed', call: verdict.call, deadline }],
        reply: { kind: 'allow', call: verdict.call, resumed: true },
      })
    case 'join':
    case 'replay':
      return ok({ entries: [], reply: verdict })
    case 'ask': {
      if (verdict.pending !== null) {
        const ask = tree.asks.get(verdict.pending)!
        return ok({ entries: [], reply: { kind: 'ask', ask: ask.id, deadline: ask.deadline } })
      }
      if (tree.asks.has(command.ask)) return taken(command.ask)
      const answerBy = now + ASK_ANSWER_SECONDS * 1000
      return ok({
        entries: [{ ...here, type: 'ask.opened', binding: verdict.binding, deadline: answerBy }],
        reply: { kind: 'ask', ask: command.ask, deadline: answerBy },
      })
    }
    case 'deny':
      return ok(decideDenial(tree, command, verdict, now))
  }
}

/**
 * What the judge cannot read is denied and recorded, always with the same words: replay compares.
 */
function judgeSafely(tree: Tree, command: Of<'authorize'>, now: Instant): Verdict {
  try {
    return judge(tree, command, now)
  } catch {
    const determined = 'the facts of this call cannot be read'
    return { kind: 'deny', reason: 'facts_unsound', determined }
  }
}

/**
 * Ids are drawn at random: a known one is a fault of the caller, and must not replace what it
 * names.
 */
function taken(id: string): Decision {
  return refuse('id_taken', `${id} exists already`)
}

/** Denials are equal when the same run was denied the same call for the same reason. */
export function denialKey(
  tree: Tree,
  command: Of<'authorize'>,
  verdict: { reason: Reason; determined: string },
): string {
  const run = tree.runs.get(command.run)
  if (run !== undefined && run.denialsDistinct >= DENIALS_RECORDED_MAX) {
    return JSON.stringify([command.run, verdict.reason])
  }
  const { tool, argsDigest } = command.facts
  return JSON.stringify([command.run, verdict.reason, verdict.determined, tool, argsDigest])
}

function decideDenial(
  tree: Tree,
  command: Of<'authorize'>,
  verdict: Extract<Verdict, { kind: 'deny' }>,
  now: Instant,
): Decided {
  const { reason, determined } = verdict
  const run = tree.runs.get(command.run)
  const known = tree.denials.get(denialKey(tree, command, verdict))
  const unrecorded = tree.phase === 'closed' || run === undefined
  const reply = { kind: 'deny', reason, determined, repeats: known?.seq ?? null } as const
  if (known !== undefined || unrecorded) return { entries: [], reply }
  const seq = tree.seq + 1
  const entries: Entry[] = [{ seq, at: now, type: 'call.denied', command, reason, determined }]
  if (run.lease?.state === 'active') {
    const exceeded = run.lease.terms.onExceed === 'suspend' && EXCEEDING.has(reason)
    const flooded = run.denialsDistinct + 1 - run.denialsSeen >= DENIALS_DISTINCT_MAX
    if (exceeded || flooded) {
      const why = exceeded ? 'exceeded' : 'denials'
      entries.push({ seq: seq + 1, at: now, type: 'run.suspended', cause: seq, run: run.id, why })
    }
  }
  return { entries, reply }
}

/** A call outside the lease, as `on_exceed` means it. */
const EXCEEDING: ReadonlySet<Reason> = new Set([
  'outside_ceiling',
  'no_grant',
  'resource_unresolved',
  'constraint_failed',
])

export function decideAnswer(
  tree: Tree,
  command: Of<'approve_call'> | Of<'refuse_call'>,
  now: Instant,
): Decision {
  const ask = tree.asks.get(command.ask)
  if (ask === undefined) return refuse('ask_unknown', `no ask ${command.ask} in this tree`)
  const run = tree.runs.get(ask.run)!
  if (isOver(tree, run, now)) return refuse('lease_ended', 'the run is over: this ask is void')
  if (ask.state !== 'pending') {
    return refuse('ask_not_pending', `${ask.by} has answered already`)
  }
  if (now >= ask.deadline) return refuse('ask_expired', 'nobody answered in time: refused')
  if ('policy' in command.by) return refuse('policy_not_allowed', 'a person must answer an ask')
  const unfit = mayAnswer(tree, run, command.by)
  if (unfit !== null) return err(unfit)
  const here = { seq: tree.seq + 1, at: now } as const
  if (command.do === 'refuse_call') return done({ ...here, type: 'ask.refused', command })
  if (command.binding !== ask.binding) {
    return refuse('binding_mismatch', 'what you answered is not what waits; look again')
  }
  if (bindingOf(run, ask.facts) !== ask.binding) {
    return refuse('binding_mismatch', 'the lease has changed since: the call must be made again')
  }
  const deadline = now + ASK_USE_SECONDS * 1000
  return done({ ...here, type: 'ask.approved', command, deadline })
}

export function decideFold(tree: Tree, command: Of<'fold'>, now: Instant): Decision {
  if (tree.phase === 'closed') return refuse('tree_closed', 'the receipt has been written')
  const isKnown = [...tree.denials.values()].some(({ seq }) => seq === command.denial)
  if (!isKnown) {
    return refuse('denial_unknown', `entry ${command.denial} is not a denial that can repeat`)
  }
  return done({ seq: tree.seq + 1, at: now, type: 'call.denied_again', command })
}
