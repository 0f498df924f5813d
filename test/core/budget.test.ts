import { describe, expect, test } from 'vitest'
import type { RunId } from '../../src/core/id.ts'
import { workedMsAt } from '../../src/core/work.ts'
import { APPROVER, active, type Book, ROOT, SECOND, SERVER } from './support.ts'

const CHILD: RunId = 'run_child'
const DELEGATE = { maxDepth: 2, maxChildren: 2, ask: false }

const reason = (book: Book) => book.lease().endReason

describe('the clock of work', () => {
  const worked = (book: Book) => workedMsAt(book.lease(), book.now) / SECOND

  test('runs from approval, and the budget of minutes denies', () => {
    const book = active({ workSeconds: 60 })
    book.pass(59)
    const call = book.allowed('doc.read')
    book.pass(1)
    expect(book.denied('doc.read')).toBe('work_exhausted')
    book.settle(call)
    expect(reason(book)).toBe('exhausted')
  })

  test('stands still during a suspension', () => {
    const book = active({ workSeconds: 60 })
    book.pass(10)
    book.must({ do: 'suspend', run: ROOT, by: APPROVER, reason: 'wait' })
    book.pass(1000)
    expect(worked(book)).toBe(10)
    book.must({ do: 'resume', run: ROOT, by: APPROVER })
    book.pass(5)
    expect(worked(book)).toBe(15)
  })

  test('stands still while a person is asked, until the answer, the next call or the deadline', () => {
    const book = active({ workSeconds: 3000, ask: ['doc.write'] })
    const asked = (name: string) => book.asked('doc.write', { facts: { argsDigest: name } })
    book.pass(10)
    const first = asked('a')
    book.pass(100)
    expect(worked(book)).toBe(10)
    book.approveCall(first)
    book.pass(5)
    expect(worked(book)).toBe(15)
    asked('b')
    book.pass(100)
    book.allowed('doc.read')
    book.pass(5)
    expect(worked(book)).toBe(20)
    asked('c')
    book.pass(700)
    expect(worked(book)).toBe(120)
  })

  test('goes on over an amendment', () => {
    const book = active({ workSeconds: 60 })
    book.pass(50)
    const escalation = book.escalation([], { seconds: 600 })
    book.must(escalation)
    book.must(book.amendment(escalation.escalation))
    book.pass(10)
    expect(book.denied('doc.read')).toBe('work_exhausted')
  })
})

describe('money', () => {
  const price = (usd: string) => ({ facts: { usd } })

  test('three calls of 2,000 at once never pass 5,000', () => {
    const book = active({ usd: '5000' })
    const calls = [1, 2, 3].map(() => book.call('pay.send', price('2000.00')))
    expect(calls.map(({ kind }) => kind)).toEqual(['allow', 'allow', 'deny'])
    expect(calls[2]).toMatchObject({ reason: 'usd_exhausted' })
  })

  test('a lower cost returns the difference', () => {
    const book = active({ usd: '3.00' })
    const call = book.allowed('pay.send', price('2.00'))
    expect(book.denied('pay.send', price('1.01'))).toBe('usd_exhausted')
    book.settle(call, 'succeeded', '0.10')
    expect(book.lease().spent.usd).toBe('0.1')
    book.allowed('pay.send', price('2.90'))
  })

  test('also to the parent, when the child has ended meanwhile', () => {
    const book = active({ usd: '3.00', delegate: DELEGATE })
    book.must(book.delegation(CHILD, { usd: '2.00' }))
    const call = book.allowed('pay.send', { run: CHILD, ...price('2.00') })
    book.must({ do: 'end', run: CHILD, by: SERVER, note: 'done' })
    expect(book.lease().spentBelow.usd).toBe('2')
    book.settle(call, 'succeeded', '0.50')
    expect(book.lease().spentBelow.usd).toBe('0.5')
    book.allowed('pay.send', price('2.50'))
  })

  test('an overrun suspends the run, is recorded whole, and counts as far as the budget reaches', () => {
    const book = active({ usd: '3.00' })
    const call = book.allowed('pay.send', price('1.00'))
    expect(book.settle(call, 'succeeded', '9.00')).toMatchObject([
      { type: 'call.settled', overrun: '8' },
      { type: 'run.suspended', why: 'overrun' },
    ])
    expect(book.lease().spent.usd).toBe('3')
    book.must({ do: 'resume', run: ROOT, by: APPROVER })
    expect(book.denied('pay.send', price('0.01'))).toBe('usd_exhausted')
  })

  test('an unknown outcome stays spent, and what is tried again returns nothing', () => {
    const book = active({ usd: '3.00' })
    const facts = { usd: '2.00', idempotent: true }
    const call = book.allowed('pay.send', { key: 'k', facts })
    book.settle(call, 'unknown')
    expect(book.lease().spent.usd).toBe('2')
    book.call('pay.send', { key: 'k', facts })
    book.settle(call, 'succeeded', '0.50')
    expect(book.lease().spent.usd).toBe('2')
  })

  test('a late answer that cost more suspends too', () => {
    const book = active({ usd: '3.00' })
    const call = book.allowed('pay.send', price('1.00'))
    book.settle(call, 'unknown')
    book.settle(call, 'succeeded', '1.50')
    expect(book.lease()).toMatchObject({ state: 'suspended', spent: { usd: '1.5' } })
  })

  test.each(['-1', '1e3', 'NaN', '', '1,000'])('the price %j is no amount', (usd) => {
    expect(active({ usd: '3.00' }).denied('pay.send', price(usd))).toBe('facts_unsound')
  })
})
