import { chainOf, endOf, isOver, isUsable } from './chain.ts'
import { type Decision, done, mayAnswer, type Of, refuse } from './decision.ts'
import type { Instant } from './id.ts'
import { RULES_VERSION } from './limits.ts'
import { err } from './result.ts'
import type { Tree } from './tree.ts'

/** How a lease comes to life, pauses and goes on. */

export function decideOpen(tree: Tree | null, command: Of<'open'>, now: Instant): Decision {
  if (tree !== null) return refuse('already_open', `tree ${tree.id} is open already`)
  if (command.rules !== RULES_VERSION) {
    return refuse('rules_unknown', `this build writes rules version ${RULES_VERSION} only`)
  }
  return done({ seq: 1, at: now, type: 'tree.opened', command })
}

export function decideRequest(tree: Tree, command: Of<'request'>, now: Instant): Decision {
  const run = tree.runs.get(command.run)
  if (run === undefined) return refuse('run_unknown', `no run ${command.run} in this tree`)
  if (tree.phase !== 'open') return refuse('lease_ended', 'this run is over; open a new one')
  if (run.lease !== null) return refuse('run_exists', 'this run has a lease; escalate instead')
  const { notAfter } = command.terms
  if (notAfter !== null && now >= notAfter) {
    return refuse('request_expired', 'the fixed end of this lease is over; write a later one')
  }
  return done({ seq: tree.seq + 1, at: now, type: 'lease.requested', command })
}

export function decideApprove(tree: Tree, command: Of<'approve'>, now: Instant): Decision {
  const run = tree.runs.get(command.run)
  if (run === undefined) return refuse('run_unknown', `no run ${command.run} in this tree`)
  const lease = run.lease
  if (lease === null || lease.state !== 'requested') {
    return refuse('lease_not_requested', 'this lease does not wait for an answer')
  }
  if (now >= lease.requestedAt + lease.rule.answerSeconds * 1000) {
    return refuse('request_expired', 'nobody answered in time; request the lease again')
  }
  if (command.promptHash !== lease.promptHash) {
    return refuse('prompt_mismatch', 'the prompt you answered is not the one that waits')
  }
  const unfit = mayAnswer(tree, run, command.by)
  if (unfit !== null) return err(unfit)
  const parent = run.parent === null ? null : tree.runs.get(run.parent)!.lease!
  const ancestors = chainOf(tree, run).slice(1)
  if (!ancestors.every((ancestor) => isUsable(ancestor, now))) {
    return refuse('lease_not_active', 'a run above this one is not active')
  }
  const expiresAt = endOf(lease.terms, parent, now + lease.terms.expiresInSeconds * 1000)
  if (expiresAt <= now) {
    return refuse('request_expired', 'the fixed end of this lease is over; request another')
  }
  return done({ seq: tree.seq + 1, at: now, type: 'lease.approved', command, expiresAt })
}

export function decideRefuse(tree: Tree, command: Of<'refuse'>, now: Instant): Decision {
  const run = tree.runs.get(command.run)
  if (run === undefined) return refuse('run_unknown', `no run ${command.run} in this tree`)
  if (run.lease?.state !== 'requested') {
    return refuse('lease_not_requested', 'this lease does not wait for an answer')
  }
  const ended = { run: run.id, reason: 'refused', endedAt: now, note: command.reason } as const
  return done({ seq: tree.seq + 1, at: now, type: 'lease.ended', command, ...ended })
}

export function decideSuspend(
  tree: Tree,
  command: Of<'suspend'> | Of<'resume'>,
  now: Instant,
): Decision {
  const run = tree.runs.get(command.run)
  if (run === undefined) return refuse('run_unknown', `no run ${command.run} in this tree`)
  const state = run.lease?.state
  const here = { seq: tree.seq + 1, at: now } as const
  if (command.do === 'suspend') {
    if (state !== 'active') return refuse('lease_not_active', 'only an active lease is suspended')
    return done({ ...here, type: 'lease.suspended', command })
  }
  if (state !== 'suspended') return refuse('lease_not_suspended', 'this lease is not suspended')
  if (!('person' in command.by)) {
    return refuse('not_an_approver', 'only a person can resume a suspended run')
  }
  if (isOver(tree, run, now)) return refuse('lease_ended', 'this lease has run out')
  const unfit = mayAnswer(tree, run, command.by)
  if (unfit !== null) return err(unfit)
  return done({ ...here, type: 'lease.resumed', command })
}
