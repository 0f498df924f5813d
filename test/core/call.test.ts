import { describe, expect, test } from 'vitest'
import type { Facts } from '../../src/core/facts.ts'
import type { RunId } from '../../src/core/id.ts'
import type { Grant } from '../../src/core/lease.ts'
import { APPROVE, APPROVER, active, ROOT, RULE, SERVER, TERMS, touchOf } from './support.ts'

const CHILD: RunId = 'run_child'
const DELEGATE = { maxDepth: 1, maxChildren: 2, ask: false }

const outside = (action: string) => touchOf(action, 'other')
const unresolved = (action: string) => ({ ...touchOf(action), resources: {} })
const grant = (change: Partial<Grant>): Grant => ({ ...TERMS.grants[0]!, ...change })

describe('what a denial names', () => {
  const denial = (touches: Facts['touches'], grants = TERMS.grants) => {
    return active({ grants }).call('doc.read', { facts: { touches } })
  }

  test('of several touches the one whose reason comes first, in either order', () => {
    const touches = [unresolved('doc.read'), outside('doc.write')]
    const expected = { reason: 'no_grant', determined: expect.stringContaining('`other`') }
    expect(denial(touches)).toMatchObject(expected)
    expect(denial(touches.toReversed())).toMatchObject(expected)
  })

  test('of several touches with one reason the first touch', () => {
    const touches = [touchOf('doc.read', 'one'), touchOf('doc.read', 'two')]
    expect(denial(touches)).toMatchObject({ determined: expect.stringContaining('`one`') })
  })

  test('of several grants the one that came closest, in either order', () => {
    const grants = [
      grant({ resources: { repos: ['elsewhere'] } }),
      grant({ where: { n: { max: 1 } } }),
    ]
    const touches = [touchOf('doc.read')]
    const expected = { reason: 'constraint_failed', determined: expect.stringContaining('`n`') }
    expect(denial(touches, grants)).toMatchObject(expected)
    expect(denial(touches, grants.toReversed())).toMatchObject(expected)
  })

  test('of several grants that came as close the first', () => {
    const grants = [
      grant({ resources: { repos: ['first'] } }),
      grant({ resources: { repos: ['second'] } }),
    ]
    const denied = denial([touchOf('doc.read')], grants)
    expect(denied).toMatchObject({ determined: expect.stringContaining('`first`') })
  })
})

describe('a call', () => {
  test('goes on where the guardrails allow it', () => {
    const guardrail = { verdict: 'allow', policy: '', digest: 'd' } as const
    expect(active().call('doc.read', { facts: { guardrail } }).kind).toBe('allow')
  })

  test('is below a ceiling that names it among others', () => {
    const book = active({ ceiling: ['mail.*', 'doc.read'] })
    book.allowed('doc.read')
    expect(book.denied('doc.write')).toBe('outside_ceiling')
  })

  test('above the ceiling is not asked about, whatever on_exceed says', () => {
    expect(active({ ceiling: ['doc.read'], onExceed: 'ask' }).denied('doc.write')).toBe(
      'outside_ceiling',
    )
  })

  test('with the key and the arguments of another tool is no retry', () => {
    const book = active()
    book.allowed('doc.read', { key: 'k', facts: { tool: 'one' } })
    expect(book.denied('doc.read', { key: 'k', facts: { tool: 'two' } })).toBe('key_reused')
  })

  test('below a run that waits for its approval is denied as below one that ended', () => {
    const book = active({ delegate: DELEGATE })
    book.must(book.delegation(CHILD, { expiresInSeconds: 60 }))
    Object.assign(book.lease(), { state: 'requested' })
    expect(book.denied('doc.read', { run: CHILD })).toBe('ancestor_ended')
  })

  test('is privileged when it does more than read, or when a person was asked', () => {
    const book = active({ ask: ['doc.read'] })
    book.approveCall(book.asked('doc.read'))
    book.allowed('doc.read')
    book.allowed('doc.write')
    expect(book.of('call.allowed').map(({ privileged }) => privileged)).toEqual([true, true])
    const plain = active()
    plain.allowed('doc.read')
    expect(plain.of('call.allowed')[0]!.privileged).toBe(false)
  })

  test('counts once for an action that it touches twice', () => {
    const book = active({ limits: { 'doc.read': 2 } })
    book.allowed('doc.read', { facts: { touches: [touchOf('doc.read'), touchOf('doc.read')] } })
    book.allowed('doc.read')
    expect(book.denied('doc.read')).toBe('limit_reached')
  })
})

describe('the record of denials', () => {
  test('tells 200 of a run apart, and after that its reasons', () => {
    const book = active()
    const deny = (digest: number, action = 'secret.read') =>
      book.denied(action, { facts: { argsDigest: `${digest}` } })
    for (let count = 0; count < 200; count++) {
      deny(count)
      if (book.lease().state === 'suspended') {
        book.must({ do: 'resume', run: ROOT, by: APPROVER })
      }
    }
    expect(book.of('call.denied')).toHaveLength(200)
    deny(200)
    deny(201)
    expect(book.of('call.denied')).toHaveLength(201)
    deny(0, 'doc.rename')
    deny(1, 'doc.rename')
    expect(
      book
        .of('call.denied')
        .slice(200)
        .map(({ reason }) => reason),
    ).toEqual(['denied_by_lease', 'no_grant'])
  })

  test('folds repeats into the denial that is named, and into no other', () => {
    const book = active()
    book.denied('secret.read')
    book.denied('doc.rename')
    const [first, second] = book.of('call.denied')
    expect(book.refusal({ do: 'fold', denial: 1, times: 1 })).toBe('denial_unknown')
    book.pass(5)
    book.must({ do: 'fold', denial: second!.seq, times: 2 })
    const times = [...book.tree.denials.values()].map((each) => [each.seq, each.times])
    expect(times).toEqual([
      [first!.seq, 1],
      [second!.seq, 3],
    ])
    const [one, two] = [...book.tree.denials.values()]
    expect(one!.lastAt).toBe(one!.firstAt)
    expect(two!.lastAt).toBe(book.now)
  })

  test('of a run without an active lease suspends nothing', () => {
    const book = active({ onExceed: 'suspend' })
    book.must({ do: 'suspend', run: ROOT, by: APPROVER, reason: 'wait' })
    book.denied('doc.rename')
    expect(book.of('run.suspended')).toEqual([])
    expect(book.lease().suspendedWhy).toBe('wait')
  })
})

describe('an ask', () => {
  test('is answered by a person, also where a policy may approve the lease', () => {
    const book = active({ ask: ['doc.read'] }, { rule: { ...RULE, policy: 'read-only' } })
    const approval = book.approval(book.asked('doc.read'))
    const refused = book.do({ ...approval, by: { policy: 'read-only' } })
    expect(refused).toMatchObject({ error: { code: 'policy_not_allowed' } })
    expect(book.refusal({ ...approval, by: SERVER })).toBe('not_an_approver')
    expect(book.refusal(approval)).toBeNull()
  })

  test('that has an answer names who gave it', () => {
    const book = active({ ask: ['doc.read'] })
    const ask = book.asked('doc.read')
    book.approveCall(ask)
    const message = 'approver@example.com has answered already'
    expect(book.do(book.approval(ask))).toMatchObject({ error: { message } })
    expect(book.tree.asks.get(ask)).toMatchObject({ by: APPROVER.person, state: 'approved' })
  })

  test('of a lease that waits for resumption is answered; the person who resumes is no policy', () => {
    const book = active({}, { rule: { ...RULE, policy: 'read-only' } })
    book.must({ do: 'suspend', run: ROOT, by: APPROVER, reason: 'wait' })
    const resume = { do: 'resume', run: ROOT, by: { policy: 'read-only' } } as never
    expect(book.refusal(resume)).toBe('not_an_approver')
    expect(book.refusal(APPROVE)).toBe('lease_not_requested')
  })
})
