import { describe, expect, test } from 'vitest'
import type { Command } from '../../src/core/command.ts'
import { decide } from '../../src/core/decide.ts'
import { REFUSALS, type RefusalCode } from '../../src/core/reason.ts'
import { CASES } from './refusal-cases.ts'
import { APPROVE, APPROVER, ASKER, active, type Book, requested } from './support.ts'

describe('refusals', () => {
  test('every code has its cases', () => {
    expect(Object.keys(CASES)).toEqual([...REFUSALS])
  })

  test.each(REFUSALS)('%s', (code) => {
    for (const [book, command] of CASES[code]()) {
      const { seq } = book.tree ?? { seq: 0 }
      const decision = book.do(command)
      // Words for whoever asked: what is wrong, and often what to do.
      expect(decision).toEqual({
        ok: false,
        error: { code, message: expect.stringMatching(/^\S+ \S+ /u) },
      })
      expect(book.tree?.seq ?? 0, 'nothing is recorded').toBe(seq)
    }
  })

  test('a clock that is no instant decides nothing', () => {
    for (const clock of [Number.NaN, Number.POSITIVE_INFINITY, -1, 0.5]) {
      const book = active()
      expect(decide(book.tree, book.authorize('doc.read'), clock)).toMatchObject({
        error: { code: 'malformed' },
      })
    }
  })
})

/**
 * What a person's yes must pass, in this order: each step breaks the yes, and all that follow stay.
 */
const APPROVAL_STEPS: readonly (readonly [RefusalCode, (book: Book, yes: Command) => Command])[] = [
  ['run_unknown', (_, yes) => ({ ...yes, run: 'run_nobody' }) as Command],
  [
    'request_expired',
    (book, yes) => {
      book.pass(600)
      return yes
    },
  ],
  ['prompt_mismatch', (_, yes) => ({ ...yes, promptHash: 'b'.repeat(64) }) as Command],
  [
    'not_an_approver',
    (_, yes) => ({ ...yes, by: { person: 'x@example.com', via: 'api' } }) as Command,
  ],
  ['self_approval', (_, yes) => ({ ...yes, by: ASKER }) as Command],
]

describe('precedence of refusals of an approval', () => {
  test.each(APPROVAL_STEPS)('%s', (code) => {
    const book = requested({ approvers: [APPROVER.person, ASKER.person] })
    const from = APPROVAL_STEPS.findIndex(([each]) => each === code)
    const steps = APPROVAL_STEPS.slice(from).toReversed()
    const command = steps.reduce<Command>((yes, [, step]) => step(book, yes), APPROVE)
    expect(book.refusal(command)).toBe(code)
  })
})
