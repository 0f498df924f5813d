import { describe, expect, test } from 'vitest'
import type { Actor, ApproverClause } from '../../src/core/command.ts'
import { isAlive } from '../../src/core/decision.ts'
import { APPROVE, APPROVER, ASKER, Book, OPEN, RULE, requested, SERVER } from './support.ts'

const [ANN, BOB] = ['ann@example.com', 'bob@example.com']
const signedIn = (person: string, ...roles: string[]): Actor => ({ person, via: 'api', roles })

function refused(book: Book, by: Actor) {
  const decision = book.do({ ...APPROVE, by } as never)
  return decision.ok ? null : decision.error
}

describe('who may answer', () => {
  test('a yes is done, and makes the lease live', () => {
    const book = requested()
    expect(isAlive(book.run())).toBe(true)
    expect(book.do(APPROVE)).toMatchObject({ ok: true, value: { reply: { kind: 'done' } } })
    book.must({ do: 'end', run: book.run().id, by: SERVER, note: 'done' })
    expect(isAlive(book.run())).toBe(false)
    const opened = new Book()
    opened.must(OPEN)
    expect(isAlive(opened.run())).toBe(false)
  })

  test('persons of the rule and of the lease, both', () => {
    const rule = { ...RULE, approvers: [ANN, BOB] }
    const message = 'approver@example.com may not answer; may: ann@example.com, bob@example.com'
    expect(refused(requested({}, { rule }), APPROVER)).toEqual({ code: 'not_an_approver', message })
    expect(refused(requested({}, { rule }), signedIn(BOB))).toBeNull()
    const book = requested({ approvers: [ANN] }, { rule })
    expect(refused(book, signedIn(BOB))).toMatchObject({
      message: 'bob@example.com may not answer; may: ann@example.com',
    })
    expect(refused(book, signedIn(ANN))).toBeNull()
  })

  describe('each further clause of the rule is met', () => {
    const also: ApproverClause[] = [
      { persons: [ANN], roles: ['security', 'owner'] },
      { persons: [], roles: ['staff'] },
    ]
    test.each<[string, Actor, string | null]>([
      ['by a person it names, with a role of the other', signedIn(ANN, 'staff'), null],
      ['by one of its roles', signedIn(BOB, 'staff', 'owner'), null],
      [
        'not by other roles',
        signedIn(BOB, 'staff', 'guest'),
        'ann@example.com, role security, role owner',
      ],
      [
        'not by a person whose roles nobody knows',
        { person: BOB, via: 'console' },
        'ann@example.com, role security, role owner',
      ],
      ['not by the first alone', signedIn(ANN, 'security'), 'role staff'],
    ])('%s', (_, by, may) => {
      const answer = refused(requested({}, { rule: { ...RULE, also } }), by)
      if (may === null) return expect(answer).toBeNull()
      const { person } = by as { person: string }
      const message = `${person} may not answer; may: ${may}`
      expect(answer).toEqual({ code: 'not_an_approver', message })
    })
  })

  test('nobody who asked, whatever their roles', () => {
    const also = [{ persons: [], roles: ['owner'] }]
    const by = { ...ASKER, roles: ['owner'] }
    expect(refused(requested({}, { rule: { ...RULE, also } }), by)).toMatchObject({
      code: 'self_approval',
      message: 'asker@example.com asked, so somebody else must answer',
    })
  })

  test('no agent and no server, and a policy only by its name', () => {
    const rule = { ...RULE, policy: 'read-only' }
    expect(refused(requested({}, { rule }), { agent: 'agent' })).toEqual({
      code: 'not_an_approver',
      message: 'only a person or a policy can say yes',
    })
    expect(refused(requested({}, { rule }), { policy: 'other' })).toEqual({
      code: 'policy_not_allowed',
      message: 'no policy may approve this lease: ask a person',
    })
    expect(refused(requested({}, { rule }), { policy: 'read-only' })).toBeNull()
  })
})
