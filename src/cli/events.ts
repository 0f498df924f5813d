import type { Entry } from '../core/entry.ts'
import type { Instant, RunId } from '../core/id.ts'
import type { Tree } from '../core/tree.ts'
import { printable } from '../lease-file/printable.ts'
import { actorWords } from '../ledger/words.ts'
import { endWords, factsWords, leftOf } from './words.ts'

/** One line of what happened in a run tree. */
export interface EventRow {
  readonly at: Instant
  readonly mark: '+' | 'x' | '?' | '~' | ' '
  readonly word: string
  readonly what: string
  readonly note: string
}

/** What happened, oldest first; repeated denials are one row with their number. */
export function eventRows(entries: readonly Entry[], tree: Tree, now: Instant): EventRow[] {
  return entries.flatMap((entry) => {
    const row = rowOf(entry, tree, now)
    return row === null ? [] : [{ at: entry.at, ...row }]
  })
}

function rowOf(entry: Entry, tree: Tree, now: Instant): Omit<EventRow, 'at'> | null {
  switch (entry.type) {
    case 'lease.approved':
      return row('+', 'allowed', 'the lease', actorWords(entry.command.by))
    case 'call.allowed': {
      const { facts, run } = entry.command
      const state = tree.calls.get(entry.command.call)?.state
      if (state === 'in_flight') return row(' ', 'running', factsWords(facts), who(tree, run))
      if (state === 'frozen') return row('~', 'unknown', factsWords(facts), who(tree, run))
      const failed = state === 'failed' ? 'the tool failed' : who(tree, run)
      return row('+', 'allowed', factsWords(facts), failed)
    }
    case 'call.denied': {
      const { facts, run } = entry.command
      const denial = [...tree.denials.values()].find(({ seq }) => seq === entry.seq)
      const times = denial === undefined || denial.times < 2 ? '' : `, ${denial.times} times`
      const by = who(tree, run)
      return row(
        'x',
        'denied',
        factsWords(facts) + times,
        by === '' ? entry.reason : `${entry.reason} ${by}`,
      )
    }
    case 'ask.opened': {
      const ask = tree.asks.get(entry.command.ask)
      const waits = ask?.state === 'pending' && now < ask.deadline
      const left = waits ? `waits, ${leftOf(ask.deadline - now)} left` : ''
      return row('?', 'asked', factsWords(entry.command.facts), left)
    }
    case 'ask.approved':
      return row('+', 'allowed', `the ask ${entry.command.ask}`, actorWords(entry.command.by))
    case 'ask.refused':
      return row('x', 'refused', `the ask ${entry.command.ask}`, actorWords(entry.command.by))
    case 'escalation.opened':
      return row('?', 'asked', `for more: ${entry.command.words}`, who(tree, entry.command.run))
    case 'lease.amended':
      return row('+', 'allowed', 'more, as asked', actorWords(entry.command.by))
    case 'escalation.refused':
      return row('x', 'refused', 'more, as asked', actorWords(entry.command.by))
    case 'run.delegated':
      return row(
        '+',
        'started',
        `subagent: ${entry.command.envelope.purpose}`,
        entry.command.envelope.agent,
      )
    case 'lease.suspended':
      return row('~', 'paused', entry.command.reason, actorWords(entry.command.by))
    case 'run.suspended':
      return row('~', 'paused', entry.why, who(tree, entry.run))
    case 'lease.resumed':
      return row('+', 'resumed', '', actorWords(entry.command.by))
    case 'lease.ended':
      return row('x', 'ended', endWords(entry.reason, entry.note), who(tree, entry.run))
    default:
      return null
  }
}

function row(mark: EventRow['mark'], word: string, what: string, note: string) {
  return { mark, word, what: printable(what), note: printable(note) }
}

/** The agent of a subagent's run; the root needs no name. */
function who(tree: Tree, run: RunId): string {
  return run === tree.root ? '' : (tree.runs.get(run)?.envelope.agent ?? '')
}
