import { describe, expect, test } from 'vitest'
import { APPROVER, active, type Book, ROOT, touchOf } from './support.ts'

const state = (book: Book) => book.lease().state

describe('ask', () => {
  const ask = { ask: ['doc.write'] }

  test('a repeat joins the pending ask, and costs nothing', () => {
    const book = active(ask)
    const id = book.asked('doc.write')
    expect(book.asked('doc.write')).toBe(id)
    expect(book.of('ask.opened')).toHaveLength(1)
    expect(book.lease().spent.calls).toBe(0)
  })

  test('threat 68, 69: a yes serves one call, and no other', () => {
    const book = active(ask)
    book.approveCall(book.asked('doc.write'))
    expect(book.call('doc.write', { facts: { argsDigest: 'x' } }).kind).toBe('ask')
    expect(book.call('doc.write', { facts: { definition: 'b' } }).kind).toBe('ask')
    expect(book.call('doc.write').kind).toBe('allow')
    expect(book.call('doc.write').kind).toBe('ask')
  })

  test('the reason of a refusal reaches the agent', () => {
    const book = active(ask)
    const id = book.asked('doc.write')
    book.must({ do: 'refuse_call', ask: id, by: APPROVER, reason: 'not today' })
    expect(book.call('doc.write')).toMatchObject({ reason: 'ask_refused', determined: 'not today' })
  })

  test('silence refuses after 10 minutes; a yes goes stale after 10 minutes', () => {
    const book = active(ask)
    const first = book.asked('doc.write')
    book.pass(600)
    expect(book.refusal(book.approval(first))).toBe('ask_expired')
    const second = book.asked('doc.write')
    expect(second).not.toBe(first)
    book.approveCall(second)
    book.pass(600)
    expect(book.asked('doc.write')).not.toBe(second)
  })

  test('an amendment makes yes and question void: both were about another lease', () => {
    const book = active(ask)
    book.approveCall(book.asked('doc.write'))
    const pending = book.asked('doc.write', { facts: { argsDigest: 'x' } })
    const escalation = book.escalation([], { seconds: 1 })
    book.must(escalation)
    book.must(book.amendment(escalation.escalation))
    expect(book.call('doc.write').kind).toBe('ask')
    expect(book.refusal(book.approval(pending))).toBe('binding_mismatch')
  })

  test('a suspended run may be answered; it still waits for its resumption', () => {
    const book = active(ask)
    const id = book.asked('doc.write')
    book.must({ do: 'suspend', run: ROOT, by: APPROVER, reason: 'wait' })
    book.approveCall(id)
    expect(book.denied('doc.write')).toBe('lease_suspended')
    book.must({ do: 'resume', run: ROOT, by: APPROVER })
    expect(book.call('doc.write').kind).toBe('allow')
  })

  test('threat 71: a run asks at most 20 times', () => {
    const book = active(ask)
    for (let count = 0; count < 20; count++) {
      book.asked('doc.write', { facts: { argsDigest: `${count}` } })
    }
    expect(book.denied('doc.write')).toBe('asks_exhausted')
  })

  test('on_exceed: ask lets a person grant one call outside the lease, never a denied one', () => {
    const book = active({ onExceed: 'ask' })
    const facts = { touches: [touchOf('doc.write', 'other')] }
    book.approveCall(book.asked('doc.write', { facts }))
    expect(book.call('doc.write', { facts }).kind).toBe('allow')
    expect(book.call('doc.write', { facts }).kind).toBe('ask')
    expect(book.denied('secret.read')).toBe('denied_by_lease')
  })

  test('on_exceed: suspend stops the run at the first call outside the lease', () => {
    const book = active({ onExceed: 'suspend' })
    book.denied('secret.read')
    expect(state(book)).toBe('active')
    book.denied('doc.write', { facts: { touches: [touchOf('doc.write', 'other')] } })
    expect(book.lease()).toMatchObject({ state: 'suspended', suspendedWhy: 'exceeded' })
  })
})

describe('floods', () => {
  test('10,000 identical denials are one entry and what is folded', () => {
    const book = active()
    book.denied('secret.read')
    const { length } = book.entries
    for (let count = 0; count < 10_000; count++) {
      const reply = book.call('secret.read')
      expect(reply).toMatchObject({ kind: 'deny', repeats: length })
    }
    expect(book.entries).toHaveLength(length)
    book.must({ do: 'fold', denial: length, times: 10_000 })
    expect([...book.tree.denials.values()]).toMatchObject([{ times: 10_001 }])
  })

  test('100 distinct denials suspend the run; after a resumption it takes 100 more', () => {
    const book = active()
    const deny = (count: number) =>
      book.denied('secret.read', { facts: { argsDigest: `${count}` } })
    for (let count = 0; count < 99; count++) deny(count)
    expect(state(book)).toBe('active')
    deny(99)
    expect(book.lease()).toMatchObject({ state: 'suspended', suspendedWhy: 'denials' })
    book.must({ do: 'resume', run: ROOT, by: APPROVER })
    deny(100)
    expect(state(book)).toBe('active')
    for (let count = 101; count < 200; count++) deny(count)
    expect(state(book)).toBe('suspended')
  })

  test('whatever a run tries, its ledger stays bounded', () => {
    const book = active()
    for (let count = 0; count < 5_000; count++) {
      book.denied('secret.read', { facts: { argsDigest: `${count}` } })
    }
    expect(book.entries.length).toBeLessThan(250)
  })
})
