import { callsLeft } from '../core/chain.ts'
import type { Reply } from '../core/decision.ts'
import type { Facts, Touch } from '../core/facts.ts'
import { smallestGrant } from '../core/grant.ts'
import type { CallId, Instant } from '../core/id.ts'
import type { Grant } from '../core/lease.ts'
import { matchesAction, parseActionPattern } from '../core/pattern.ts'
import type { Reason } from '../core/reason.ts'
import type { Lease, Run, Tree } from '../core/tree.ts'
import type { Vocabulary } from '../core/vocabulary.ts'
import { printable } from '../lease-file/printable.ts'
import { describeResources } from '../lease-file/words.ts'
import type { RpcReply } from './jsonrpc.ts'

/**
 * What the agent reads when a call is not allowed: what, why, what was spent, what to do instead,
 * whether to repeat. Composed by the engine from the lease; nothing of it comes from a tool.
 */

export interface DenialContext {
  readonly facts: Facts
  readonly tree: Tree
  readonly run: Run | undefined
  readonly call: CallId
  readonly now: Instant
  readonly vocabulary: Vocabulary
}

type Denied = Extract<Reply, { kind: 'deny' }>

/** Tool results with a schema of their own cannot carry ours: the fields stand in `_meta` too. */
export const DENIAL_META = 'daypass/decision'

export function denialReply(denied: Denied, context: DenialContext): RpcReply {
  const { facts, run, call, now } = context
  const missing = missingGrant(denied, context)
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
  return toolError(denialText(denied, context, missing), fields)
}

/** A result that models read as a failed tool call (MCP: `isError`), with machine-readable fields. */
export function toolError(text: string, fields: Readonly<Record<string, unknown>>): RpcReply {
  const content = [{ type: 'text', text }]
  return { result: { content, isError: true, _meta: { [DENIAL_META]: fields } } }
}

/** One text for whoever is not the run's own: says nothing about leases or tools. */
export const STRANGER_TEXT = 'Denied. (unauthorized)'

function denialText(denied: Denied, context: DenialContext, missing: Grant | null): string {
  const { reason } = denied
  const { run } = context
  if (reason === 'run_unknown') return STRANGER_TEXT
  if (isOver(reason)) return overText(run, reason)
  const lines = [`Denied: ${whatOf(context)}. (${reason}, ${context.call})`]
  lines.push(...whyLines(denied, context))
  lines.push('Nothing was changed and nothing was spent.')
  lines.push(insteadOf(reason))
  if (missing !== null && reason !== 'ancestor_no_grant') {
    lines.push(`If the task can't be done without it, the lease would need: ${shown(missing)}`)
  }
  const lease = run?.lease
  const left = lease == null ? '' : ` Left: ${leftText(lease, context.now)}.`
  lines.push(`Repeating this call gives the same answer.${left}`)
  return lines.join('\n')
}

function shown({ actions, resources }: Grant): string {
  return printable(JSON.stringify({ actions, resources }))
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

function overText(run: Run | undefined, reason: Reason): string {
  const lease = run?.lease
  const because = lease == null ? 'the run is over' : endText(lease)
  const code = reason === 'tree_closed' ? 'lease_ended' : reason
  return (
    `Ended: this lease is over because ${because}. (${code})\n` +
    'No tool will answer in this run. Write your final summary now.'
  )
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
      return `a person revoked it${note}`
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

function whatOf({ facts, vocabulary }: DenialContext): string {
  if (facts.touches.length === 0) return `a call of ${printable(facts.tool)}`
  return facts.touches.map((touch) => describeTouch(touch, vocabulary)).join('; ')
}

/** `repo.push to repo clord, branch main`. */
export function describeTouch(touch: Touch, vocabulary: Vocabulary): string {
  const resources = describeResources(touch.resources, vocabulary)
  return resources === '' ? touch.action : `${touch.action} on ${resources}`
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
      return [`No server offers a tool of the name ${detail}.`]
    case 'tool_unmapped':
      return [`No catalog says what ${detail} does, so nobody can grant it.`]
    case 'definition_changed':
      return [`The definition of ${detail} is not the one that was accepted: it is quarantined.`]
    case 'facts_unsound':
      return [`It can't be told what this call would touch: ${detail}.`]
    case 'guardrail_denied':
      return [`A rule of the organisation forbids it: ${detail}.`]
    case 'denied_by_lease':
    case 'denied_by_ancestor':
      return [`This lease forbids ${detail} and no approval lifts it in this run.`]
    case 'outside_ceiling':
      return [`${detail} is outside what the run's envelope allows at most.`]
    case 'no_grant':
    case 'resource_unresolved':
    case 'constraint_failed':
      return [...allowedInstead(context), `Missing: ${detail}.`]
    case 'ancestor_no_grant':
      return [`The lease of a parent run does not permit it: ${detail}.`]
    case 'key_reused':
      return ['The same call key was used before with other arguments.']
    case 'call_frozen':
      return ['The same call was made before and nobody knows if it happened; a person must say.']
    case 'calls_exhausted':
      return [`The budget of ${detail} tool calls is spent.`]
    case 'limit_reached':
      return [`The limit of calls for this action is reached (${detail}).`]
    case 'work_exhausted':
      return ['The minutes of work are spent.']
    case 'usd_exhausted':
      return [`It would cost ${detail}.`]
    case 'until_pending':
      return ['A call that may end this lease is in flight; wait for its answer.']
    case 'ask_refused':
      return [`A person refused it: "${detail}"`]
    case 'asks_exhausted':
      return [`This run has asked ${detail} times, and may not ask again.`]
    default:
      return [detail]
  }
}

/** Where the lease does allow the action that was denied here. */
function allowedInstead({ facts, run, vocabulary }: DenialContext): string[] {
  const lease = run?.lease
  if (lease == null) return []
  const scopes = new Map<string, string>()
  for (const { action } of facts.touches) {
    for (const grant of lease.terms.grants) {
      if (!grant.actions.some((text) => names(text, action))) continue
      const scope = describeResources(grant.resources, vocabulary)
      scopes.set(`${action} ${scope}`, `Your lease allows ${action} on ${scope} only.`)
    }
  }
  return scopes.size > 0 ? [...scopes.values()].slice(0, 3) : ['Your lease does not grant it.']
}

function names(pattern: string, action: string): boolean {
  const parsed = parseActionPattern(pattern)
  return parsed.ok && matchesAction(parsed.value, action)
}

function insteadOf(reason: Reason): string {
  switch (reason) {
    case 'denied_by_lease':
    case 'denied_by_ancestor':
    case 'guardrail_denied':
    case 'outside_ceiling':
      return 'Instead: continue without it, or finish and say what is missing. Do not ask for it.'
    case 'tool_unknown':
      return 'Instead: use a tool that tools/list shows.'
    case 'tool_unmapped':
    case 'definition_changed':
      return 'Instead: use another tool; a person can look at this one with `daypass catalog`.'
    case 'facts_unsound':
      return 'Instead: make the call with explicit, plain arguments.'
    case 'lease_requested':
    case 'lease_suspended':
    case 'ancestor_suspended':
    case 'until_pending':
      return 'Instead: wait, or finish and say what is missing.'
    case 'calls_exhausted':
    case 'work_exhausted':
    case 'usd_exhausted':
    case 'limit_reached':
    case 'asks_exhausted':
      return 'Instead: finish with what you have, and say what is missing.'
    default:
      return 'Instead: stay inside the lease, or finish and say what is missing.'
  }
}

function missingGrant(denied: Denied, { facts, run }: DenialContext): Grant | null {
  const liftable = ['no_grant', 'resource_unresolved', 'constraint_failed', 'ancestor_no_grant']
  if (run === undefined || !liftable.includes(denied.reason)) return null
  const touch = facts.touches[0]
  return touch === undefined ? null : smallestGrant(touch, facts.args)
}

function leftOf(lease: Lease, now: Instant): { calls: number | null; seconds: number } {
  const seconds = Math.max(0, Math.floor(((lease.expiresAt ?? now) - now) / 1000))
  return { calls: callsLeft(lease), seconds }
}

function leftText(lease: Lease, now: Instant): string {
  const { calls, seconds } = leftOf(lease, now)
  const time = seconds < 120 ? `${seconds} s` : `${Math.floor(seconds / 60)} min`
  return `${calls === null ? '' : `${calls} calls, `}${time}`
}

/** What an agent reads while a person has not answered. */
export function waitingReply(ask: string, deadline: Instant, context: DenialContext): RpcReply {
  const until = new Date(deadline).toISOString().slice(11, 19)
  const text =
    `Waiting: ${whatOf(context)} needs a person's yes. (${ask}, until ${until}Z)\n` +
    'Nothing was changed and nothing was spent. Repeat the same call with the same\n' +
    'arguments to wait for the answer; repeating costs nothing. Other calls work.'
  return toolError(text, { decision: 'ask', ask, until: deadline, tool: context.facts.tool })
}
