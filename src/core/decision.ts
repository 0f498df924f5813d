import { chainOf } from './chain.ts'
import type { Actor, ApproverClause, Command } from './command.ts'
import type { Entry } from './entry.ts'
import type { AskId, CallId, Instant } from './id.ts'
import type { Reason, Refusal, RefusalCode } from './reason.ts'
import { err, ok, type Result } from './result.ts'
import type { Run, Tree } from './tree.ts'

/**
 * What a command does to a run tree: the entries to append, and what to answer. Pure: no I/O,
 * clock, randomness. The caller appends the entries durably, then folds them in with `evolve`, then
 * answers.
 */
export interface Decided {
  readonly entries: readonly Entry[]
  readonly reply: Reply
}

export type Reply =
  | { readonly kind: 'done' }
  | { readonly kind: 'allow'; readonly call: CallId; readonly resumed: boolean }
  | { readonly kind: 'join' | 'replay'; readonly call: CallId }
  | {
      readonly kind: 'deny'
      readonly reason: Reason
      readonly determined: string
      /** The recorded denial that this one repeats: the caller counts it and appends a `fold`. */
      readonly repeats: number | null
    }
  | { readonly kind: 'ask'; readonly ask: AskId; readonly deadline: Instant }

export type Decision = Result<Decided, Refusal>

export type Of<K extends Command['do']> = Extract<Command, { do: K }>

export function refuse(code: RefusalCode, message: string): Decision {
  return err({ code, message })
}

export function done(...entries: Entry[]): Decision {
  return ok({ entries, reply: { kind: 'done' } })
}

/**
 * Who may answer a request: the rule was fixed before anybody saw the request. Where the lease
 * itself names approvers, only they, and no policy. Nobody answers what they asked for, as
 * requester of this run or of one above it, unless the rule lets them.
 */
export function mayAnswer(tree: Tree, run: Run, by: Actor): Refusal | null {
  const { rule, terms } = run.lease!
  if ('policy' in by) {
    if (rule.policy === by.policy && terms.approvers === null) return null
    return { code: 'policy_not_allowed', message: 'no policy may approve this lease: ask a person' }
  }
  if (!('person' in by)) {
    return { code: 'not_an_approver', message: 'only a person or a policy can say yes' }
  }
  for (const approvers of [rule.approvers, terms.approvers]) {
    if (approvers === null || approvers.includes(by.person)) continue
    const message = `${by.person} may not answer; may: ${approvers.join(', ')}`
    return { code: 'not_an_approver', message }
  }
  const unmet = rule.also?.find((clause) => !meets(by, clause))
  if (unmet !== undefined) {
    const may = [...unmet.persons, ...unmet.roles.map((role) => `role ${role}`)].join(', ')
    return { code: 'not_an_approver', message: `${by.person} may not answer; may: ${may}` }
  }
  const isRequester = chainOf(tree, run).some(({ envelope }) => envelope.requester === by.person)
  if (isRequester && !rule.self) {
    return { code: 'self_approval', message: `${by.person} asked, so somebody else must answer` }
  }
  return null
}

/** Whether somebody is who a rule asks for. Roles are on the shell's word, as the person is. */
export function meets(by: Extract<Actor, { person: string }>, clause: ApproverClause): boolean {
  const { persons, roles } = clause
  return persons.includes(by.person) || roles.some((role) => by.roles?.includes(role) === true)
}

/** The run has a lease that has not ended. */
export function isAlive(run: Run): boolean {
  return run.lease !== null && run.lease.state !== 'ended'
}
