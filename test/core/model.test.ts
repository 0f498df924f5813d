import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Command } from '../../src/core/command.ts'
import { decide } from '../../src/core/decide.ts'
import { type Opinion, opinion } from './reference.ts'
import { atLeast, runs } from './runs.ts'
import { arbitraryLife, live } from './sequences.ts'
import type { Book, CommandOf } from './support.ts'

const RUNS = runs(600)

function verdictOf(book: Book, command: CommandOf<'authorize'>): Opinion {
  const decision = decide(book.tree, command, book.now)
  if (!decision.ok) throw new Error(decision.error.message)
  const { reply } = decision.value
  if (reply.kind === 'deny') return { kind: 'deny', reason: reply.reason }
  if (reply.kind === 'done') throw new Error('a call is not answered with `done`')
  const isResumed = reply.kind === 'allow' && reply.resumed
  return { kind: isResumed ? 'resume' : reply.kind, reason: null }
}

describe('the decider agrees with a naive reference', () => {
  test('on every call of random lives', () => {
    const seen = new Map<string, number>()
    const compare = (book: Book, command: Command) => {
      if (command.do !== 'authorize') return
      const verdict = verdictOf(book, command)
      expect(verdict).toEqual(opinion(book.entries, command, book.now))
      const name = verdict.reason ?? verdict.kind
      if (command.facts.status === 'unmapped') {
        const kind = `unmapped ${name}`
        seen.set(kind, (seen.get(kind) ?? 0) + 1)
      }
      seen.set(name, (seen.get(name) ?? 0) + 1)
    }
    fc.assert(
      fc.property(arbitraryLife, (life) => {
        live(life, { before: compare })
      }),
      { numRuns: RUNS },
    )
    const verdicts = ['unmapped ask', 'unmapped allow', 'allow', 'ask', 'join', 'replay', 'resume']
    const reasons = `lease_requested lease_ended lease_expired lease_suspended ancestor_suspended
      tool_unmapped facts_unsound denied_by_lease no_grant constraint_failed key_reused call_frozen
      calls_exhausted limit_reached work_exhausted usd_exhausted until_pending ask_refused tree_closed`
    for (const name of [...verdicts, ...reasons.trim().split(/\s+/u)]) {
      expect(seen.get(name) ?? 0, name).toBeGreaterThanOrEqual(atLeast(1))
    }
  })
})
