import type { Actor } from '../core/command.ts'
import type { Entry, EntryOf } from '../core/entry.ts'
import type { Instant, Json, RunId } from '../core/id.ts'
import type { Tree } from '../core/tree.ts'
import { describeFacts, describeGrants } from './gather.ts'
import type { ApprovalPart, DeniedPart, EscalationPart } from './receipt-body.ts'

type Writable<T> = { -readonly [K in keyof T]: T[K] }
type Open = Pick<ApprovalPart, 'of' | 'id' | 'run' | 'requestedAt' | 'actions' | 'resources'>

/** Everything that anybody was asked, in order, with the answers. */
export function foldApprovals(entries: readonly Entry[], tree: Tree): ApprovalPart[] {
  const parts = new Map<string, Writable<ApprovalPart>>()
  const open = (what: Open, promptHash: string | null = null) => {
    const agent = tree.runs.get(what.run)!.envelope.agent
    parts.set(what.id, { ...UNANSWERED, ...what, agent, promptHash })
  }
  const answer = (id: string, given: Partial<ApprovalPart>) => {
    Object.assign(parts.get(id)!, given)
  }
  const leaseOf = (run: RunId) => tree.runs.get(run)!.lease!.id
  for (const entry of entries) {
    switch (entry.type) {
      case 'lease.requested':
        open(leaseRequest(entry), entry.command.promptHash)
        break
      case 'run.delegated':
        open(delegation(entry), entry.command.promptHash)
        if (entry.expiresAt !== null) {
          answer(entry.command.lease, { answer: 'not_needed', answeredAt: entry.at })
        }
        break
      case 'lease.approved':
        answer(leaseOf(entry.command.run), allowed(entry.at, entry.command))
        break
      case 'lease.ended':
        if ('command' in entry && entry.command.do === 'refuse') {
          answer(leaseOf(entry.command.run), refused(entry.at, entry.command))
        }
        break
      case 'ask.opened':
        open(askRequest(entry))
        break
      case 'ask.approved':
        answer(entry.command.ask, allowed(entry.at, entry.command))
        break
      case 'ask.refused':
        answer(entry.command.ask, refused(entry.at, entry.command))
        break
      case 'call.allowed':
        if (entry.determined.ask !== null) answer(entry.determined.ask, { used: true })
        break
      case 'escalation.opened':
        open(escalationRequest(entry))
        break
      case 'lease.amended':
        answer(entry.escalation, allowed(entry.at, entry.command))
        break
      case 'escalation.refused':
        answer(entry.command.escalation, refused(entry.at, entry.command))
        break
    }
  }
  return [...parts.values()]
}

const UNANSWERED = {
  answer: 'unanswered',
  answeredAt: null,
  by: null,
  passkey: false,
  reason: null,
  used: false,
} as const

function allowed(at: Instant, given: { by: Actor; proof: Json }): Partial<ApprovalPart> {
  return { answer: 'allowed', answeredAt: at, by: given.by, passkey: given.proof !== null }
}

function refused(at: Instant, given: { by: Actor; reason: string }): Partial<ApprovalPart> {
  return { answer: 'refused', answeredAt: at, by: given.by, reason: given.reason }
}

function leaseRequest({ command, at }: EntryOf<'lease.requested'>): Open {
  const { run, lease: id, terms } = command
  return { of: 'lease', id, run, requestedAt: at, ...describeGrants(terms.grants) }
}

function delegation({ command, at }: EntryOf<'run.delegated'>): Open {
  const { run, lease: id, terms } = command
  return { of: 'subagent', id, run, requestedAt: at, ...describeGrants(terms.grants) }
}

function askRequest({ command, at }: EntryOf<'ask.opened'>): Open {
  const { actions, resources } = describeFacts(command.facts)
  return { of: 'call', id: command.ask, run: command.run, requestedAt: at, actions, resources }
}

function escalationRequest({ command, dossier, at }: EntryOf<'escalation.opened'>): Open {
  const { escalation: id, run } = command
  return { of: 'escalation', id, run, requestedAt: at, ...describeGrants(dossier.offer) }
}

/**
 * Each request for more: what was tried, what the agent said, what the engine offered, the answer.
 */
export function foldEscalations(
  entries: readonly Entry[],
  denied: readonly DeniedPart[],
): EscalationPart[] {
  const parts = new Map<string, Writable<EscalationPart>>()
  for (const entry of entries) {
    if (entry.type === 'escalation.opened') {
      const { command, dossier, at } = entry
      parts.set(command.escalation, {
        id: command.escalation,
        run: command.run,
        at,
        words: command.words,
        wants: command.wants,
        dossier,
        tried: denied.filter(({ seq }) => dossier.tried.includes(seq)).map(triedPart),
        answer: 'unanswered',
        by: null,
        reason: null,
        granted: [],
        more: null,
      })
    }
    if (entry.type === 'lease.amended') {
      const { by, offer: granted, more } = entry.command
      Object.assign(parts.get(entry.escalation)!, { answer: 'allowed', by, granted, more })
    }
    if (entry.type === 'escalation.refused') {
      const { escalation, by, reason } = entry.command
      Object.assign(parts.get(escalation)!, { answer: 'refused', by, reason })
    }
  }
  return [...parts.values()]
}

/** Without the counts, which can rise after the escalation was opened. */
function triedPart(part: DeniedPart): EscalationPart['tried'][number] {
  const { parentRun: _, times: __, lastAt: ___, ...tried } = part
  return tried
}
