import { describe, expect, test } from 'vitest'
import type { RunId } from '../../src/core/id.ts'
import { workedMsAt } from '../../src/core/work.ts'
import {
  APPROVE,
  APPROVER,
  ASKER,
  active,
  Book,
  HASH,
  OPEN,
  ROOT,
  RULE,
  requested,
  SECOND,
  SERVER,
  T0,
  TERMS,
  touchOf,
} from './support.ts'

const CHILD: RunId = 'run_child'
const DELEGATE = { maxDepth: 2, maxChildren: 2, ask: false }

const HOUR = 3600

const state = (book: Book) => book.lease().state
const reason = (book: Book, run: RunId = ROOT) => book.lease(run).endReason
const types = (entries: readonly { type: string }[]) => entries.map(({ type }) => type)

describe('a request', () => {
  test('becomes active by a yes, and its time runs from there', () => {
    const book = requested()
    book.pass(100)
    book.must(APPROVE)
    expect(book.lease()).toMatchObject({ state: 'active', revision: 1 })
    expect(book.lease().expiresAt).toBe(T0 + (100 + HOUR) * SECOND)
  })

  test('with a fixed end is over then, however late the yes and however much more time', () => {
    const notAfter = T0 + 1000 * SECOND
    expect(requested({ notAfter: T0 + HOUR * SECOND + 1 }).lease().terms.notAfter).not.toBeNull()
    const book = requested({ notAfter })
    book.pass(500)
    book.must(APPROVE)
    expect(book.lease().expiresAt).toBe(notAfter)
    book.pass(499)
    book.settle(book.allowed('doc.read'))
    book.pass(1)
    expect(book.denied('doc.read')).toBe('lease_expired')
  })

  test('whose fixed end is over is neither requested nor approved', () => {
    const late = new Book()
    late.must(OPEN)
    late.pass(10)
    const terms = { ...TERMS, notAfter: T0 + 10 * SECOND }
    const asked = { promptHash: HASH, rule: RULE, lease: 'lease_root', run: ROOT } as const
    expect(late.refusal({ do: 'request', ...asked, terms })).toBe('request_expired')
    expect(
      late.refusal({ do: 'request', ...asked, terms: { ...terms, notAfter: T0 + 11 * SECOND } }),
    ).toBeNull()
    const book = requested({ notAfter: T0 + 100 * SECOND })
    book.pass(100)
    expect(book.refusal(APPROVE)).toBe('request_expired')
  })

  test('ends when somebody refuses it', () => {
    const book = requested()
    book.must({ do: 'refuse', run: ROOT, by: APPROVER, reason: 'too much' })
    expect(book.lease()).toMatchObject({
      state: 'ended',
      endReason: 'refused',
      endNote: 'too much',
    })
  })

  test('ends when nobody answers, at the moment it ran out', () => {
    const book = requested()
    book.pass(599)
    expect(book.refusal({ do: 'expire', run: ROOT })).toBe('not_expired')
    book.pass(101)
    book.must({ do: 'expire', run: ROOT })
    expect(book.lease()).toMatchObject({ endReason: 'refused', endedAt: T0 + 600 * SECOND })
  })

  test('threat 74: revoke while pending makes the yes void', () => {
    const book = requested()
    book.must({ do: 'revoke', run: ROOT, by: SERVER, reason: 'stop' })
    expect(book.refusal(APPROVE)).toBe('lease_not_requested')
    expect(book.denied('doc.read')).toBe('lease_ended')
  })

  test('threat 72: nobody approves their own run, unless the rule lets them', () => {
    expect(requested().refusal({ ...APPROVE, by: ASKER })).toBe('self_approval')
    const book = requested({}, { rule: { ...RULE, self: true } })
    expect(book.refusal({ ...APPROVE, by: ASKER })).toBeNull()
  })

  test('is approved by a policy only where the rule names that policy', () => {
    const rule = { ...RULE, policy: 'read-only' }
    expect(requested({}, { rule }).refusal({ ...APPROVE, by: { policy: 'read-only' } })).toBeNull()
  })
})

describe('until', () => {
  const until = { until: ['pr.open'] }

  test('ends the lease when the event has succeeded, and not before', () => {
    const book = active(until)
    const call = book.allowed('pr.open')
    expect(state(book)).toBe('active')
    expect(types(book.settle(call))).toEqual(['call.settled', 'lease.ended'])
    expect(reason(book)).toBe('event')
    expect(book.denied('doc.read')).toBe('lease_ended')
  })

  test('does not end it when the event failed, or goes on in a later request', () => {
    const book = active(until)
    book.settle(book.allowed('pr.open'), 'failed')
    const call = book.allowed('pr.open', { key: 'k' })
    book.settle(call, 'deferred')
    expect(state(book)).toBe('active')
    expect(book.denied('pr.open')).toBe('until_pending')
    expect(book.call('pr.open', { key: 'k' })).toMatchObject({ call, resumed: true })
    book.settle(call)
    expect(reason(book)).toBe('event')
  })

  test('suspends the lease when the outcome is unknown; the real outcome ends it', () => {
    const book = active(until)
    const call = book.allowed('pr.open', { key: 'k' })
    book.settle(call, 'unknown')
    expect(book.lease()).toMatchObject({ state: 'suspended', suspendedWhy: 'until_unknown' })
    expect(book.denied('pr.open', { key: 'k' })).toBe('lease_suspended')
    expect(types(book.settle(call))).toEqual(['call.resolved', 'lease.ended'])
    expect(reason(book)).toBe('event')
  })

  test('a person can say that it happened', () => {
    const book = active(until)
    const call = book.allowed('pr.open')
    book.settle(call, 'unknown')
    book.must({ do: 'resolve', call, by: APPROVER, happened: true })
    expect(reason(book)).toBe('event')
  })

  test('a call that is tried again does not run beside another that may end the lease', () => {
    const book = active(until)
    const first = book.allowed('pr.open', { key: 'first' })
    book.settle(first, 'unknown')
    book.must({ do: 'resolve', call: first, by: APPROVER, happened: false })
    book.must({ do: 'resume', run: ROOT, by: APPROVER })
    const second = book.allowed('pr.open')
    expect(book.denied('pr.open', { key: 'first' })).toBe('until_pending')
    book.settle(second, 'failed')
    expect(book.call('pr.open', { key: 'first' })).toMatchObject({ call: first, resumed: true })
  })

  test('ends the topmost lease that names the event, whoever of its tree called', () => {
    const book = active({ ...until, delegate: DELEGATE })
    book.must(book.delegation(CHILD, { expiresInSeconds: 60 }))
    book.settle(book.allowed('pr.open', { run: CHILD }))
    expect([reason(book), reason(book, CHILD)]).toEqual(['event', 'parent_ended'])
  })
})

describe('death', () => {
  test('threat 59: at the very moment of expiry, whether or not anybody recorded it', () => {
    const book = active({ expiresInSeconds: 60 })
    book.pass(59.999)
    book.allowed('doc.read')
    book.pass(0.001)
    expect(book.denied('doc.read')).toBe('lease_expired')
  })

  test('threat 58: a clock that goes back brings nobody back', () => {
    const book = active({ expiresInSeconds: 60 })
    book.pass(60)
    book.denied('doc.read')
    book.pass(-50)
    expect(book.denied('doc.write')).toBe('lease_expired')
  })

  test.each([
    ['end', { do: 'end', run: ROOT, by: SERVER, note: 'done' }],
    ['revoke', { do: 'revoke', run: ROOT, by: APPROVER, reason: 'stop' }],
    ['expire', { do: 'expire', run: ROOT }],
  ] as const)('by %s after the expiry is recorded as the expiry it was', (_, command) => {
    const book = active({ expiresInSeconds: 60, workSeconds: 600 })
    book.pass(100)
    book.must(command)
    expect(book.lease()).toMatchObject({ endReason: 'expired', endedAt: T0 + 60 * SECOND })
    expect(workedMsAt(book.lease(), book.now)).toBe(60 * SECOND)
    expect(book.entries.at(-1)!.at).toBe(book.now)
  })

  test('dead stays dead: no approval, amendment or resumption comes too late to matter', () => {
    const book = active({ expiresInSeconds: 60, ask: ['doc.write'] })
    const ask = book.asked('doc.write')
    const escalation = book.escalation([], { seconds: 600 })
    book.must(escalation)
    book.pass(60)
    expect(book.refusal(book.amendment(escalation.escalation))).toBe('lease_ended')
    expect(book.refusal(book.approval(ask))).toBe('lease_ended')
    expect(book.denied('doc.read')).toBe('lease_expired')
  })

  test('an event that succeeds after the expiry does not make it another death', () => {
    const book = active({ expiresInSeconds: 60, until: ['pr.open'] })
    const call = book.allowed('pr.open')
    book.pass(90)
    book.settle(call)
    expect(book.lease()).toMatchObject({ endReason: 'expired', endedAt: T0 + 60 * SECOND })
  })

  test('a child that expired before its parent ended keeps its own death', () => {
    const book = active({ delegate: DELEGATE })
    book.must(book.delegation(CHILD, { expiresInSeconds: 60 }))
    book.pass(90)
    book.must({ do: 'revoke', run: ROOT, by: APPROVER, reason: 'stop' })
    expect(book.lease(CHILD)).toMatchObject({ endReason: 'expired', endedAt: T0 + 60 * SECOND })
  })

  test('exhausted ends when nothing is in flight', () => {
    const book = active({ maxToolCalls: 2 })
    const [first, second] = [book.allowed('doc.read'), book.allowed('doc.read')]
    expect(book.denied('doc.read')).toBe('calls_exhausted')
    book.settle(first)
    expect(state(book)).toBe('active')
    expect(types(book.settle(second, 'failed'))).toEqual(['call.settled', 'lease.ended'])
    expect(reason(book)).toBe('exhausted')
  })

  test('a call that goes on later keeps an exhausted lease alive', () => {
    const book = active({ maxToolCalls: 1 })
    const call = book.allowed('doc.read', { key: 'k' })
    book.settle(call, 'deferred')
    expect(book.refusal({ do: 'expire', run: ROOT })).toBe('not_expired')
    expect(book.call('doc.read', { key: 'k' })).toMatchObject({ resumed: true })
    book.settle(call)
    expect(reason(book)).toBe('exhausted')
  })

  test('a run that never requested a lease can be revoked; then no request comes', () => {
    const book = new Book()
    book.must(OPEN)
    book.must({ do: 'revoke', run: ROOT, by: SERVER, reason: 'stop' })
    const lease = { lease: 'lease_root', terms: TERMS, promptHash: HASH, rule: RULE } as const
    expect(book.refusal({ do: 'request', run: ROOT, ...lease })).toBe('lease_ended')
    expect(book.denied('doc.read')).toBe('lease_ended')
    expect(types(book.must({ do: 'close' }))).toEqual(['tree.closed'])
  })
})

describe('closing', () => {
  test('a tree closes at once when nothing is in flight', () => {
    const book = active()
    book.must({ do: 'end', run: ROOT, by: SERVER, note: 'done' })
    expect(types(book.must({ do: 'close' }))).toEqual(['tree.closed'])
  })

  test('or 30 s later, with the rest unknown; a late outcome is an addendum', () => {
    const book = active()
    const call = book.allowed('doc.write')
    const deferred = book.allowed('doc.write', { facts: { argsDigest: 'other' } })
    book.settle(deferred, 'deferred')
    book.must({ do: 'end', run: ROOT, by: SERVER, note: 'done' })
    expect(types(book.must({ do: 'close' }))).toEqual(['tree.closing'])
    book.pass(29)
    expect(book.refusal({ do: 'close' })).toBe('calls_in_flight')
    book.pass(1)
    expect(book.must({ do: 'close' })).toMatchObject([{ unanswered: [call, deferred] }])
    expect(book.denied('doc.read')).toBe('tree_closed')
    expect(types(book.settle(call))).toEqual(['call.resolved'])
    expect(book.callState(call)).toBe('succeeded')
  })

  test('a call that says it goes on later, after it was unknown, stays unknown', () => {
    const book = active()
    const call = book.allowed('doc.write')
    book.settle(call, 'unknown')
    const late = { call, outcome: 'deferred', resultDigest: null, usd: null, note: null } as const
    expect(book.refusal({ do: 'settle', ...late })).toBe('call_not_in_flight')
    expect(book.callState(call)).toBe('frozen')
  })
})

describe('retry', () => {
  test('threat 55: the same key joins, then replays; other arguments are refused', () => {
    const book = active({ maxToolCalls: 1 })
    const call = book.allowed('doc.write', { key: 'k' })
    expect(book.call('doc.write', { key: 'k' })).toEqual({ kind: 'join', call })
    expect(book.denied('doc.write', { key: 'k', facts: { argsDigest: 'x' } })).toBe('key_reused')
    const book2 = active()
    const second = book2.allowed('doc.write', { key: 'k' })
    book2.settle(second)
    expect(book2.call('doc.write', { key: 'k' })).toEqual({ kind: 'replay', call: second })
  })

  test('an unknown outcome is frozen until a person decides; then it runs once more', () => {
    const book = active()
    const call = book.allowed('doc.write', { key: 'k' })
    book.settle(call, 'unknown')
    expect(book.denied('doc.write', { key: 'k' })).toBe('call_frozen')
    book.must({ do: 'resolve', call, by: APPROVER, happened: false })
    expect(book.call('doc.write', { key: 'k' })).toMatchObject({ kind: 'allow', resumed: true })
    expect(book.lease().spent.calls).toBe(1)
  })

  test('what really happened beats the word that it did not', () => {
    const book = active()
    const call = book.allowed('doc.write', { key: 'k' })
    book.settle(call, 'unknown')
    book.must({ do: 'resolve', call, by: APPROVER, happened: false })
    book.settle(call, 'succeeded')
    expect(book.call('doc.write', { key: 'k' })).toEqual({ kind: 'replay', call })
  })

  test('an idempotent call is tried again without asking anybody', () => {
    const book = active()
    const facts = { idempotent: true }
    const call = book.allowed('doc.read', { key: 'k', facts })
    book.settle(call, 'unknown')
    expect(book.call('doc.read', { key: 'k', facts })).toMatchObject({ call, resumed: true })
  })

  test('a call goes on only as the call that was allowed', () => {
    const book = active({ ask: ['doc.erase'] })
    book.settle(book.allowed('doc.write', { key: 'k', facts: { tool: 't' } }), 'deferred')
    const touches = [touchOf('doc.erase')]
    expect(book.denied('doc.erase', { key: 'k', facts: { tool: 't', touches } })).toBe('key_reused')
    const facts = { tool: 't', usd: '9.00' }
    expect(book.denied('doc.write', { key: 'k', facts })).toBe('key_reused')
  })
})
