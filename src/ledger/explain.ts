import { callsLeft, chainOf, deathOf } from '../core/chain.ts'
import type { Actor } from '../core/command.ts'
import type { Entry, EntryOf } from '../core/entry.ts'
import type { CallId, Instant, RunId } from '../core/id.ts'
import { err, ok, type Result } from '../core/result.ts'
import type { Run, Tree } from '../core/tree.ts'
import { isWorkExhausted, workedMsAt } from '../core/work.ts'
import { retriesAnswer, retryAnswer } from './explain-retry.ts'
import { type Attempt, type Explanation, isAttempt } from './explanation.ts'
import { foldTree } from './fold.ts'
import { foldCalls } from './fold-calls.ts'
import { describeFacts } from './gather.ts'
import type { CallPart } from './receipt-body.ts'
import { actorWords, clockOf, counted, timeOf } from './words.ts'

/** Answers the seven questions about a run as they stand at `now`. */
export function explainRun(
  entries: readonly Entry[],
  id: RunId,
  now: Instant,
): Result<Explanation, string> {
  const found = find(entries, id, now)
  if (!found.ok) return found
  const { tree, run, at } = found.value
  const calls = foldCalls(entries, tree)
    .map(({ part }) => part)
    .filter((part) => part.run === id)
  const words = [
    approvalWords(entries, run),
    calls.length === 0
      ? 'No call was allowed so far'
      : `Allowed so far: ${calls.map(nameOf).join('; ')}`,
  ]
  return ok({
    ...common(tree, run, at),
    call: null,
    approved: {
      question: 'Which tool calls were approved?',
      text: `${words.join('. ')}.`,
      facts: { by: approverOf(entries, id), actions: grantedBy(run), calls, denied: null },
    },
    retry: retriesAnswer(entries, id),
  })
}

/** Answers the seven questions about one call, allowed or not, as they stand at `now`. */
export function explainCall(
  entries: readonly Entry[],
  id: CallId,
  now: Instant,
): Result<Explanation, string> {
  const attempts = entries.filter(isAttempt).filter(({ command }) => command.call === id)
  // The ask of a call that was then made is a step on the way.
  const entry = attempts.findLast(({ type }) => type !== 'ask.opened') ?? attempts[0]
  if (entry === undefined) return err(`no call ${id} in this tree`)
  const found = find(entries, entry.command.run, now)
  if (!found.ok) return found
  const { tree, run, at } = found.value
  const own = entry.type === 'call.resumed' ? entry.call : id
  const calls = foldCalls(entries, tree)
    .map(({ part }) => part)
    .filter(({ call }) => call === own)
  const denied =
    entry.type === 'call.denied' ? { reason: entry.reason, determined: entry.determined } : null
  return ok({
    ...common(tree, run, at),
    call: id,
    approved: {
      question: 'Was this tool call approved?',
      text: callWords(entry, run, calls[0]),
      facts: { by: approverOf(entries, run.id), actions: grantedBy(run), calls, denied },
    },
    retry: retryAnswer(entries, entry),
  })
}

function find(
  entries: readonly Entry[],
  id: RunId,
  now: Instant,
): Result<{ tree: Tree; run: Run; at: Instant }, string> {
  if (entries.length === 0) return err('this run tree has no entries')
  const tree = foldTree(entries)
  const run = tree.runs.get(id)
  // Time of a tree never goes back, whatever the clock says.
  return run === undefined
    ? err(`no run ${id} in this tree`)
    : ok({ tree, run, at: Math.max(now, tree.at) })
}

function common(
  tree: Tree,
  run: Run,
  now: Instant,
): Pick<Explanation, 'run' | 'asked' | 'task' | 'stops' | 'through' | 'standing'> {
  return {
    run: run.id,
    asked: askedAnswer(run),
    task: taskAnswer(tree, run),
    stops: stopsAnswer(run, now),
    through: throughAnswer(tree, run),
    standing: standingAnswer(tree, run, now),
  }
}

function askedAnswer({ envelope, lease }: Run): Explanation['asked'] {
  const { requester, agent, client } = envelope
  const user = lease?.terms.user ?? null
  const behalf = user === null || user === requester ? '' : `, on behalf of ${user}`
  const from = client === null ? '' : ` in ${client}`
  return {
    question: 'Which user asked for the task?',
    text: `${requester} asked ${agent}${from}${behalf}.`,
    facts: { requester, user },
  }
}

function taskAnswer(tree: Tree, run: Run): Explanation['task'] {
  const [own, ...above] = chainOf(tree, run).map(purposeOf)
  const part = above.length === 0 ? '' : `, as a part of: ${above.join(', a part of: ')}`
  return {
    question: 'What was the task supposed to be?',
    text: `${own}${part}.`,
    facts: { purpose: own!, within: above },
  }
}

function purposeOf({ lease, envelope }: Run): string {
  return lease?.terms.purpose ?? envelope.purpose
}

function grantedBy({ lease }: Run): string[] {
  return [...new Set(lease?.terms.grants.flatMap(({ actions }) => actions) ?? [])]
}

function nameOf({ call, actions }: CallPart): string {
  return `${actions.join(', ')} (${call})`
}

function approverOf(entries: readonly Entry[], run: RunId): Actor | null {
  const approved = entries.find(
    (entry) => entry.type === 'lease.approved' && entry.command.run === run,
  ) as EntryOf<'lease.approved'> | undefined
  return approved?.command.by ?? null
}

function approvalWords(entries: readonly Entry[], run: Run): string {
  const by = approverOf(entries, run.id)
  const { lease } = run
  if (lease === null) return 'No lease was requested, so no call is approved'
  if (lease.approvedAt === null) return 'Nobody approved the lease, so no call is approved'
  const who = by === null ? "its parent's lease" : actorWords(by)
  return `${who} approved ${grantedBy(run).join(', ') || 'nothing'} at ${timeOf(lease.approvedAt)}`
}

function callWords(entry: Attempt, run: Run, call: CallPart | undefined): string {
  const { actions, resources } = describeFacts(entry.command.facts)
  const on = resources.map(({ type, values }) => `${type} ${values.join(', ')}`).join(', ')
  const what = `${actions.join(', ') || entry.command.facts.tool}${on === '' ? '' : ` on ${on}`}`
  if (entry.type === 'call.denied') {
    return `No: ${what} was denied at ${timeOf(entry.at)} (${entry.reason}): ${entry.determined}.`
  }
  if (entry.type === 'ask.opened' && call === undefined) {
    const { ask } = entry.command
    return `Not yet: ${what} needs a fresh yes, asked at ${timeOf(entry.at)} (${ask}).`
  }
  const outcome = call?.outcome ?? 'no outcome yet'
  const asked = call?.ask == null ? '' : `, with a fresh yes (${call.ask.id})`
  const lease = run.lease!
  return (
    `Yes: ${what} was allowed at ${timeOf(call?.at ?? entry.at)} ` +
    `by ${lease.id}${asked}; ${outcome}.`
  )
}

function stopsAnswer({ lease }: Run, now: Instant): Explanation['stops'] {
  const question = 'When does the run stop?'
  if (lease === null || lease.approvedAt === null) {
    const facts = { ended: null, expiresAt: null, until: [], callsLeft: null, workMsLeft: null }
    return { question, text: 'It never started: no lease was approved.', facts }
  }
  const { workSeconds, until } = lease.terms
  const facts = {
    ended: lease.endedAt === null ? null : { reason: lease.endReason!, at: lease.endedAt },
    expiresAt: lease.expiresAt,
    until,
    callsLeft: callsLeft(lease),
    workMsLeft:
      workSeconds === null ? null : Math.max(0, workSeconds * 1000 - workedMsAt(lease, now)),
  }
  if (facts.ended !== null) {
    const note = lease.endNote === null ? '' : `: ${lease.endNote}`
    const text = `It stopped at ${timeOf(facts.ended.at)}: ${facts.ended.reason}${note}.`
    return { question, text, facts }
  }
  const parts = [
    ...until.map((action) => `when ${action} has succeeded`),
    `at ${timeOf(lease.expiresAt!)}`,
    ...(facts.callsLeft === null ? [] : [`after ${counted(facts.callsLeft, 'more call')}`]),
    ...(facts.workMsLeft === null ? [] : [`after ${clockOf(facts.workMsLeft)} more of work`]),
  ]
  return { question, text: `Whichever is first: ${parts.join(', ')}.`, facts }
}

function throughAnswer(tree: Tree, run: Run): Explanation['through'] {
  const chain = chainOf(tree, run)
  const names = chain.map(({ id, envelope }) => `${envelope.agent} (${id})`)
  const direct = chain.length === 1
  return {
    question: 'Is the agent acting directly or through a subagent?',
    text: direct
      ? `Directly: ${names[0]}.`
      : `Through a subagent: ${names[0]}, delegated by ${names.slice(1).join(', delegated by ')}.`,
    facts: { direct, chain: chain.map(({ id }) => id) },
  }
}

function standingAnswer(tree: Tree, run: Run, now: Instant): Explanation['standing'] {
  const why = whyNot(tree, run, now)
  return {
    question: 'Should the permission still exist now?',
    text: why === null ? `Yes: the lease is active at ${timeOf(now)}.` : `No: ${why}.`,
    facts: { exists: why === null },
  }
}

/**
 * Why the permission is of no use at `now`; null if it is. Death is this comparison, not a state.
 */
function whyNot(tree: Tree, run: Run, now: Instant): string | null {
  for (const each of chainOf(tree, run)) {
    const { lease } = each
    const whose = each === run ? 'the lease' : `the lease of its ancestor ${each.id}`
    if (lease === null) return `${whose} was never requested`
    if (lease.state === 'requested') return `${whose} waits for an answer`
    if (lease.state === 'ended')
      return `${whose} ended at ${timeOf(lease.endedAt!)} (${lease.endReason})`
    const death = deathOf(tree, each, now)
    if (death !== null) return `${whose} is over since ${timeOf(death.endedAt)} (${death.reason})`
    if (lease.state === 'suspended') return `${whose} is suspended (${lease.suspendedWhy})`
    if (isWorkExhausted(lease, now)) return `${whose} has no minutes of work left`
  }
  return callsLeft(run.lease!) === 0 ? 'no tool calls are left' : null
}

/** The seven answers as text, a question and its answer each. */
export function explanationText(
  explanation: Explanation,
  printable: (text: string) => string,
): string {
  const { asked, task, approved, stops, retry, through, standing } = explanation
  return [asked, task, approved, stops, retry, through, standing]
    .map(({ question, text }) => `${question}\n  ${printable(text)}`)
    .join('\n')
}
