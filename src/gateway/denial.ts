import { callsLeft } from '../core/chain.ts'
import type { Reply } from '../core/decision.ts'
import type { Facts, Touch } from '../core/facts.ts'
import { permits, smallestGrant } from '../core/grant.ts'
import type { CallId, Instant } from '../core/id.ts'
import type { Grant } from '../core/lease.ts'
import { matchesAction, parseActionPattern } from '../core/pattern.ts'
import type { Reason } from '../core/reason.ts'
import type { Lease, Run, Tree } from '../core/tree.ts'
import type { Vocabulary } from '../core/vocabulary.ts'
import { printable } from '../lease-file/printable.ts'
import { describeResources } from '../lease-file/words.ts'
import { type Notice, noticeOf } from './notice.ts'

/**
 * What the agent reads when a call is not allowed: what, why, what was spent, what to do instead,
 * what is missing, whether to repeat. Composed by the engine from the lease; nothing comes from a
 * tool.
 */

export interface DenialContext {
  readonly facts: Facts
  readonly tree: Tree
  readonly run: Run | undefined
  readonly call: CallId
  readonly now: Instant
  readonly vocabulary: Vocabulary
  /**
   * Why the server that the call is for offers nothing now; null if it is up, or not configured.
   */
  readonly down: string | null
}

type Denied = Extract<Reply, { kind: 'deny' }>

/** Things that a call touches and a text names; the record has all of them. */
const TOUCHES_SHOWN = 3
const SCOPES_SHOWN = 3

export function denialNotice(denied: Denied, context: DenialContext): Notice {
  const { facts, run, call, now } = context
  const missing = missingGrants(denied, context)
  const fields = {
    decision: 'deny',
    reason: denied.reason,
    determined: denied.determined,
    call,
    tool: facts.tool,
    actions: facts.touches.map((touch) => touch.action),
    missing,
    left: run?.lease == null ? null : leftOf(run.lease, now),
  }
  return noticeOf(denialLines(denied, context, missing), fields)
}

/** One text for whoever is not the run's own: says nothing about leases or tools. */
export const STRANGER_TEXT = 'Denied. (unauthorized)'

function denialLines(
  denied: Denied,
  context: DenialContext,
  missing: readonly Grant[],
): readonly string[] {
  const { reason } = denied
  const { run } = context
  if (reason === 'run_unknown') return [STRANGER_TEXT]
  if (isOver(reason)) return overLines(run, reason)
  const lines = [`Denied: ${whatOf(context)}. (${reason}, ${context.call})`]
  lines.push(...whyLines(denied, context))
  const onlyReads = context.facts.touches.every(({ effect }) => effect === 'read')
  lines.push(`Nothing was ${onlyReads ? 'read' : 'changed'} and nothing was spent.`)
  lines.push(`Instead: ${insteadOf(denied, context)}`)
  if (missing.length > 0) {
    lines.push("If the task can't be done without it, say that the lease would need")
    lines.push(...missing.map((grant) => `  ${shown(grant)}`))
  }
  const lease = run?.lease
  const left = lease == null ? '' : ` Left: ${leftText(lease, context.now)}.`
  lines.push(`${repeatText(reason, context)}${left}`)
  return lines
}

/** With a blank after each comma and colon, so that it can be wrapped, and pasted whole. */
function shown({ actions, resources, where }: Grant): string {
  const grant =
    Object.keys(where).length > 0 ? { actions, resources, where } : { actions, resources }
  return printable(JSON.stringify(grant, null, 1).replaceAll(/\n\s*/g, ' '))
}

function isOver(reason: Reason): boolean {
  return (
    reason === 'lease_ended' ||
    reason === 'lease_expired' ||
    reason === 'tree_closed' ||
    reason === 'ancestor_ended' ||
    reason === 'ancestor_expired'
  )
}

function overLines(run: Run | undefined, reason: Reason): readonly string[] {
  const lease = run?.lease
  const code = reason === 'tree_closed' ? 'lease_ended' : reason
  const because = reason.startsWith('ancestor_')
    ? "its parent's lease ended"
    : lease == null
      ? 'the run is over'
      : endText(lease)
  return [
    `Ended: this lease is over because ${because}. (${code})`,
    'No tool will answer in this run. Write your final summary now.',
  ]
}

/** Why a lease ended, as half a sentence. */
export function endText(lease: Lease): string {
  const note = lease.endNote === null ? '' : ` (${printable(lease.endNote)})`
  switch (lease.endReason) {
    case 'event':
      return `its work is done: ${printable(lease.endNote ?? 'the event happened')}`
    case 'completed':
      return `the run has finished${note}`
    case 'revoked':
      return `it was revoked${note}`
    case 'exhausted':
      return `its budget is spent${note}`
    case 'refused':
      return `it was refused${note}`
    case 'parent_ended':
      return "its parent's lease ended"
    case 'expired':
    case null:
      return 'its time has run out'
  }
}

/** What a call does, in words. */
export function whatOf({ facts, vocabulary }: Pick<DenialContext, 'facts' | 'vocabulary'>): string {
  const { touches, tool } = facts
  if (touches.length === 0) return `a call of ${printable(tool)}`
  const named = touches.slice(0, TOUCHES_SHOWN).map((touch) => describeTouch(touch, vocabulary))
  const more = touches.length - named.length
  return more > 0 ? `${named.join('; ')}; and ${more} more` : named.join('; ')
}

/** `repo.push on repo clord, branch main`. */
function describeTouch(touch: Touch, vocabulary: Vocabulary): string {
  const resources = describeResources(touch.resources, vocabulary)
  return resources === '' ? touch.action : `${touch.action} on ${printable(resources)}`
}

function whyLines(denied: Denied, context: DenialContext): string[] {
  const detail = printable(denied.determined)
  switch (denied.reason) {
    case 'lease_requested':
      return ['No person has allowed this run yet.']
    case 'lease_suspended':
    case 'ancestor_suspended':
      return [`The run is paused (${detail}) until a person resumes it.`]
    case 'tool_unknown':
      return context.down === null
        ? [`No server offers a tool of the name ${detail}.`]
        : [`${context.down}, so it offers no tool now.`]
    case 'tool_unmapped':
      return [`No catalog says what ${detail} does, and the lease does not name it.`]
    case 'definition_changed':
      return [`The definition of ${detail} is not the one that was accepted: it is quarantined.`]
    case 'facts_unsound':
      return [`It can't be told what this call would touch: ${detail}.`]
    case 'guardrail_denied':
      return [`A rule of the organisation forbids it: ${detail}.`]
    case 'denied_by_lease':
      return [`This lease forbids ${detail} and no approval lifts it in this run.`]
    case 'denied_by_ancestor':
      return [`A parent's lease forbids ${detail} and no approval lifts it in this run.`]
    case 'outside_ceiling':
      return [`${detail} is outside what the run's envelope allows at most.`]
    case 'no_grant':
    case 'resource_unresolved':
    case 'constraint_failed':
      return [...scopeLines(context), `Missing: ${detail}.`]
    case 'ancestor_no_grant':
      return [`The lease of a parent run does not permit it: ${detail}.`]
    case 'key_reused':
      return ['The same call key was used before for another call.']
    case 'call_frozen':
      return ['The same call was made before and nobody knows if it happened; a person must say.']
    case 'calls_exhausted':
      return [`The budget of ${detail} tool calls is spent, or held by subagents.`]
    case 'limit_reached':
      return [`The limit of calls for this action is reached (${detail}).`]
    case 'work_exhausted':
      return ['The minutes of work are spent.']
    case 'usd_exhausted':
      return [`It would cost ${detail}.`]
    case 'until_pending':
      return ['A call that may end this lease is in flight.']
    case 'ask_refused':
      return [`A person refused it: "${detail}"`]
    case 'asks_exhausted':
      return [`This run has asked ${detail} times, and may not ask again.`]
    default:
      return [detail]
  }
}

/** The actions of this call that no grant permits here, and where the lease does permit them. */
function scopeLines(context: DenialContext): string[] {
  const scopes = scopesOf(context)
  if (scopes.length === 0) return ['Your lease does not grant it.']
  return scopes.map(({ action, scope }) => `Your lease allows ${action} on ${scope} only.`)
}

function scopesOf({ facts, run, vocabulary }: DenialContext) {
  const lease = run?.lease
  const scopes = new Map<string, { action: string; scope: string }>()
  if (lease == null) return []
  for (const { action } of lackingTouches(lease, facts)) {
    for (const grant of lease.terms.grants) {
      if (!grant.actions.some((text) => names(text, action))) continue
      const on = printable(describeResources(grant.resources, vocabulary))
      const scope = on === '' ? 'no resources' : on
      scopes.set(`${action} ${scope}`, { action, scope })
    }
  }
  return [...scopes.values()].slice(0, SCOPES_SHOWN)
}

/** What of the call no grant of the lease permits. */
function lackingTouches(lease: Lease, facts: Facts): readonly Touch[] {
  const { grants } = lease.compiled
  return facts.touches.filter(
    (touch) => !grants.some((grant) => permits(grant, touch, facts.args) === null),
  )
}

function names(pattern: string, action: string): boolean {
  const parsed = parseActionPattern(pattern)
  return parsed.ok && matchesAction(parsed.value, action)
}

function insteadOf({ reason }: Denied, context: DenialContext): string {
  switch (reason) {
    case 'denied_by_lease':
    case 'denied_by_ancestor':
    case 'guardrail_denied':
    case 'outside_ceiling':
    case 'ask_refused':
      return 'continue without it, or finish and say what is missing. Do not ask for it.'
    case 'no_grant':
    case 'resource_unresolved':
    case 'constraint_failed':
      return scopesOf(context).length > 0
        ? 'do it where the lease allows it, or finish and say what is missing.'
        : 'use what the lease grants, or finish and say what is missing.'
    case 'tool_unknown':
      return context.down === null
        ? 'use a tool that tools/list shows.'
        : 'use another tool, or finish and say what is missing.'
    case 'tool_unmapped':
    case 'definition_changed':
      return 'use another tool; a person can look at this one with `daypass catalog`.'
    case 'facts_unsound':
      return 'make the call with explicit, plain arguments.'
    case 'key_reused':
      return 'make the call under a key of its own.'
    case 'lease_requested':
    case 'lease_suspended':
    case 'ancestor_suspended':
      return 'wait, or finish and say what is missing.'
    case 'until_pending':
      return 'wait for its answer; this call may then not be needed.'
    case 'call_frozen':
      return 'look at what it did, or finish and say that its outcome is unknown.'
    case 'calls_exhausted':
    case 'work_exhausted':
    case 'usd_exhausted':
    case 'limit_reached':
    case 'asks_exhausted':
      return 'finish with what you have, and say what is missing.'
    default:
      return 'stay inside the lease, or finish and say what is missing.'
  }
}

/** Whether to repeat: false promises make agents loop. */
function repeatText(reason: Reason, { down }: DenialContext): string {
  switch (reason) {
    case 'lease_requested':
      return 'Repeat this call once the run is allowed.'
    case 'lease_suspended':
    case 'ancestor_suspended':
      return 'Repeat this call once the run is resumed.'
    case 'until_pending':
      return 'Repeat this call once that one has been answered.'
    case 'tool_unknown':
      return down === null ? 'Repeating this call gives the same answer.' : 'Try again later.'
    default:
      return 'Repeating this call gives the same answer.'
  }
}

/**
 * The smallest grants that would have allowed the call; none where no grant can lift the denial.
 */
function missingGrants(denied: Denied, { facts, run }: DenialContext): readonly Grant[] {
  const liftable = ['no_grant', 'resource_unresolved', 'constraint_failed']
  if (run?.lease == null || !liftable.includes(denied.reason)) return []
  return lackingTouches(run.lease, facts)
    .map((touch) => smallestGrant(touch, facts.args))
    .filter((grant) => grant !== null)
    .slice(0, TOUCHES_SHOWN)
}

function leftOf(lease: Lease, now: Instant): { calls: number | null; seconds: number } {
  const seconds = Math.max(0, Math.floor(((lease.expiresAt ?? now) - now) / 1000))
  return { calls: callsLeft(lease), seconds }
}

function leftText(lease: Lease, now: Instant): string {
  const { calls, seconds } = leftOf(lease, now)
  const time = seconds < 120 ? `${seconds} s` : `${Math.floor(seconds / 60)} min`
  if (calls === null) return time
  return `${calls} ${calls === 1 ? 'call' : 'calls'}, ${time}`
}
