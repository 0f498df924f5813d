import type { OpenRun } from '../authority/authority.ts'
import { ROLES } from '../authority/caller.ts'
import { whoOf } from '../authority/policy.ts'
import { requestRun } from '../authority/requests.ts'
import type { Terms } from '../core/lease.ts'
import type { Lease } from '../core/tree.ts'
import { durationWords, formatDuration } from '../lease-file/duration.ts'
import { printable, shortHash } from '../lease-file/printable.ts'
import type { Problem } from '../lease-file/problem.ts'
import type { Prompt } from '../lease-file/prompt.ts'
import { renderPrompt } from '../lease-file/render-prompt.ts'
import { actorWords } from '../ledger/words.ts'
import { type Daypass, LOCAL_ORG } from '../server.ts'
import { EXIT, Failure } from './exit.ts'
import { narrowSteps, numbered } from './narrow.ts'
import { askLine, type Typed } from './question.ts'
import type { Terminal } from './terminal.ts'
import { leftOf, shortIds, timeOf, untilWords } from './words.ts'

/** How often somebody else's answer is looked for. */
const LOOK_MS = 200

export interface ApprovalRequest {
  readonly terminal: Terminal
  readonly daypass: Daypass
  readonly person: string
  readonly terms: Terms
  readonly warnings: readonly Problem[]
  readonly template: string | null
  readonly client: string | null
  /** Approve as the operator, without a question. */
  readonly yes: boolean
  /** Do not wait for somebody else. */
  readonly wait: boolean
}

/** A run whose lease is active. */
export interface ApprovedRun extends OpenRun {
  readonly lease: Lease
}

/** Opens a run and gets it approved, or fails: refused, taken back, or nobody answered. */
export async function getApproval(request: ApprovalRequest): Promise<ApprovedRun> {
  for (let terms = request.terms; ; ) {
    const open = await openRun(request, terms)
    const narrowed = await answerOne(request, open, terms)
    if (narrowed === null) return approvedRun(request, open)
    terms = narrowed
  }
}

/** Asks as the API and the consent page do, so that all of them ask for the same. */
async function openRun(request: ApprovalRequest, terms: Terms): Promise<OpenRun> {
  const { daypass, person, client, warnings, template } = request
  const roles = new Set(ROLES)
  const caller = { kind: 'person', org: LOCAL_ORG, person, roles, via: 'terminal' } as const
  const asked = { caller, terms, template, agent: null, client, warnings }
  const opened = await requestRun({ ...daypass, ...daypass.policy }, asked)
  if (opened.ok) return opened.value
  const { code, message } = opened.error
  if (code === 'policy_not_allowed') {
    throw new Failure(`daypass.yaml does not allow this: ${message}`, EXIT.notApproved)
  }
  throw new Failure(`the run was not opened: ${message}`)
}

/** Null: approved. Terms: refused for these narrower ones, which must be asked for again. */
async function answerOne(
  request: ApprovalRequest,
  open: OpenRun,
  terms: Terms,
): Promise<Terms | null> {
  const { daypass, terminal, person } = request
  const lease = (await daypass.authority.find(open.run))!.run.lease!
  const policy = lease.rule.policy
  if (policy !== null && terms.approvers === null) {
    await approve(request, open, { policy })
    return null
  }
  showPrompt(terminal, open.prompt, { hash: open.promptHash, alsoElsewhere: !request.yes })
  if (request.yes) {
    await approve(request, open, { person, via: 'terminal', ...rolesFor(lease) })
    return null
  }
  if (terminal.canAsk && mayAnswer(lease, person)) return askHere(request, open, lease)
  await waitElsewhere(request, open, lease)
  return null
}

/** Recorded where the rule asks for roles: whoever has this terminal has all of them. */
function rolesFor({ rule }: Lease): { roles?: readonly string[] } {
  return rule.also === undefined ? {} : { roles: ROLES }
}

/** Whoever has this terminal has all roles, so only names can stand in the way. */
function mayAnswer({ rule, terms: { approvers } }: Lease, person: string): boolean {
  const isNamed = rule.also?.every(
    ({ persons, roles }) => roles.length > 0 || persons.includes(person),
  )
  return rule.self && isNamed !== false && (approvers === null || approvers.includes(person))
}

/** The prompt, and the code by which two people know that they see the same one. */
export function showPrompt(
  terminal: Terminal,
  prompt: Prompt,
  { hash, alsoElsewhere }: { readonly hash: string; readonly alsoElsewhere: boolean },
): void {
  terminal.say(renderPrompt(prompt, terminal))
  const short = shortIds([prompt.run]).get(prompt.run)!
  const also = alsoElsewhere ? `, also for: daypass approve ${short}` : ''
  terminal.say(`\nPrompt ${shortHash(hash)}${also}`)
}

async function approve(
  { daypass }: ApprovalRequest,
  open: OpenRun,
  by: { person: string; via: 'terminal'; roles?: readonly string[] } | { policy: string },
): Promise<void> {
  const answered = await daypass.authority.approve(open.run, { by, promptHash: open.promptHash })
  if (answered.ok) return
  await giveUp(daypass, open, answered.error.message)
  throw new Failure(`not approved: ${answered.error.message}`, EXIT.notApproved)
}

/** The question, until it has an answer. */
async function askHere(
  request: ApprovalRequest,
  open: OpenRun,
  lease: Lease,
): Promise<Terms | null> {
  const { terminal, daypass, person } = request
  const deadline = lease.requestedAt + lease.rule.answerSeconds * 1000
  const elsewhere = watchAnswer(daypass, open)
  try {
    for (;;) {
      const typed = await askLine({
        terminal,
        deadline,
        signal: elsewhere.signal,
        prompt: () => questionText(terminal, lease, deadline),
      })
      if (typed.kind === 'aborted') return answeredElsewhere(request, open)
      const letter = typed.kind === 'line' ? typed.text.toLowerCase() : 'r'
      if (letter === 'a' || letter === 'allow') {
        await approve(request, open, { person, via: 'terminal', ...rolesFor(lease) })
        return null
      }
      if (letter === 'n' || letter === 'narrow') {
        const narrowed = await narrowHere(request, lease.terms, elsewhere.signal)
        if (narrowed === null) continue
        await giveUp(daypass, open, 'narrowed by the approver; asked again')
        return narrowed
      }
      if (letter === 'r' || letter === 'refuse') {
        return await refuseHere(request, open, typed)
      }
      terminal.say('  a and Enter allows, n narrows, r refuses. Nothing has happened yet.')
    }
  } finally {
    elsewhere.stop()
  }
}

function questionText(terminal: Terminal, lease: Lease, deadline: number): string {
  const { expiresInSeconds } = lease.terms
  const minutes = expiresInSeconds % 60 === 0 && expiresInSeconds < 3600
  const time = minutes ? `${expiresInSeconds / 60} min` : formatDuration(expiresInSeconds)
  const left = leftOf(deadline - Date.now())
  const question = terminal.paint('bold', `Allow for ${time}?`)
  if (terminal.columns < 60) return `${question} a/n/r  ${left} > `
  return `${question}  a allow   n narrow   r refuse   ${left} > `
}

async function refuseHere(
  { terminal, daypass, person }: ApprovalRequest,
  open: OpenRun,
  typed: Typed,
): Promise<never> {
  let reason = typed.kind === 'timeout' ? 'nobody answered in time' : 'taken back in the terminal'
  if (typed.kind === 'line') {
    const said = await askLine({ terminal, deadline: null, prompt: () => 'Why (one line)? > ' })
    reason = said.kind === 'line' && said.text !== '' ? said.text : 'no reason given'
  }
  await daypass.authority.refuse(open.run, { by: { person, via: 'terminal' }, reason })
  await daypass.authority.close(open)
  throw refused(person, reason)
}

function refused(by: string, reason: string | null): Failure {
  const words = reason === null ? '' : `: ${printable(reason)}`
  return new Failure(
    `refused by ${printable(by)}${words}\n  nothing was started.`,
    EXIT.notApproved,
  )
}

/** Walks the lines that can be made less. Null: nothing was changed. */
async function narrowHere(
  { terminal, daypass }: ApprovalRequest,
  terms: Terms,
  signal: AbortSignal,
): Promise<Terms | null> {
  let narrowed = terms
  const { vocabulary } = daypass
  terminal.say(`  ${numbered(terms, vocabulary).join(', ')}`)
  terminal.say('  Enter keeps a line as it is. Only less is possible.')
  for (const step of narrowSteps(vocabulary)) {
    for (;;) {
      const prompt = () => `  ${step.question(narrowed)}: `
      const typed = await askLine({ terminal, deadline: null, signal, prompt })
      if (typed.kind !== 'line') return null
      if (typed.text === '') break
      const applied = step.apply(narrowed, typed.text)
      if (applied.ok) {
        narrowed = applied.value
        if (!step.question(narrowed)?.startsWith('drop')) break
        terminal.say(`  ${numbered(narrowed, vocabulary).join(', ')}`)
      } else terminal.say(`  ${applied.error}`)
    }
  }
  return narrowed === terms ? null : narrowed
}

/** Somebody else must say yes, or no question can be asked here. */
async function waitElsewhere(request: ApprovalRequest, open: OpenRun, lease: Lease): Promise<void> {
  const { terminal, daypass, person } = request
  const short = shortIds([open.run]).get(open.run)!
  if (!request.wait) {
    await giveUp(daypass, open, 'nobody could be asked')
    const how = 'run it in a terminal, or approve it with --yes'
    throw new Failure(`not approved: nobody can be asked here\n  ${how}`, EXIT.notApproved)
  }
  const named = lease.terms.approvers ?? lease.rule.also?.map(whoOf)
  const who = named?.map(printable).join(' or ') ?? 'a yes from another terminal'
  terminal.say(`Waiting for ${who}: daypass approve ${short}`)
  if (!lease.rule.self) terminal.say("You asked, so you can't answer.")
  const within = durationWords(lease.rule.answerSeconds)
  terminal.say(`Refused after ${within}. Ctrl-C takes it back.`)
  const answer = watchAnswer(daypass, open)
  const { promise, resolve } = Promise.withResolvers<void>()
  const onSignal = () => resolve()
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, onSignal)
  answer.signal.addEventListener('abort', onSignal)
  if (!answer.signal.aborted) await promise
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.off(name, onSignal)
  answer.stop()
  if (!answer.signal.aborted) {
    await giveUp(daypass, open, 'taken back by the requester')
    throw refused(person, 'taken back')
  }
  await answeredElsewhere(request, open)
}

async function answeredElsewhere({ daypass }: ApprovalRequest, open: OpenRun): Promise<null> {
  // What the watch saw may not be stored yet; the tree is answered when it is, so it comes first.
  const found = await daypass.authority.find(open.run)
  const entries = await daypass.authority.entries(open)
  if (found?.run.lease?.state === 'active') return null
  const end = entries.findLast((entry) => entry.type === 'lease.ended')
  await daypass.authority.close(open)
  const by = end !== undefined && 'command' in end && 'by' in end.command ? end.command.by : null
  if (by === null) {
    const why = end?.note ?? 'the request has ended'
    throw new Failure(`not approved: ${printable(why)}\n  nothing was started.`, EXIT.notApproved)
  }
  throw refused(actorWords(by), end?.note ?? null)
}

/** Ends a request that will not be answered, so that nobody answers it later. */
async function giveUp(daypass: Daypass, open: OpenRun, reason: string): Promise<void> {
  const by = { server: 'daypass run' } as const
  await daypass.authority.refuse(open.run, { by, reason })
  await daypass.authority.close(open)
}

/** Aborts when the lease is no longer just requested, whoever changed that. */
function watchAnswer(daypass: Daypass, open: OpenRun): { signal: AbortSignal; stop: () => void } {
  const answered = new AbortController()
  const timer = setInterval(() => {
    const lease = daypass.runs.tree(open).peek()?.runs.get(open.run)?.lease
    if (lease != null && lease.state !== 'requested') answered.abort()
  }, LOOK_MS)
  return { signal: answered.signal, stop: () => clearInterval(timer) }
}

async function approvedRun(request: ApprovalRequest, open: OpenRun): Promise<ApprovedRun> {
  const { daypass, terminal } = request
  const found = await daypass.authority.find(open.run)
  const lease = found?.run.lease
  if (lease?.state !== 'active') throw new Failure('the lease is not active', EXIT.notApproved)
  const entries = await daypass.authority.entries(open)
  const yes = entries.find((entry) => entry.type === 'lease.approved')
  const by = yes === undefined ? 'nobody' : printable(actorWords(yes.command.by))
  const at = timeOf(lease.approvedAt ?? Date.now())
  const until = untilWords(lease, daypass.vocabulary)
  const event = until === null ? '' : `when ${until}, or `
  const mark = terminal.paint('green', '+')
  terminal.say(`${mark} Allowed by ${by} at ${at}, prompt ${shortHash(open.promptHash)}`)
  terminal.say(`  Ends ${event}at ${timeOf(lease.expiresAt!)} UTC. Ctrl-C revokes.`)
  return { ...open, lease }
}
