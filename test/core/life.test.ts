import { describe, expect, test } from 'vitest'
import type { RunId } from '../../src/core/id.ts'
import type { Terms } from '../../src/core/lease.ts'
import { workedMsAt } from '../../src/core/work.ts'
import {
  APPROVE,
  APPROVER,
  ASKER,
  active,
  type Book,
  ENVELOPE,
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

const state = (book: Book, run: RunId = ROOT) => book.lease(run).state
const reason = (book: Book, run: RunId = ROOT) => book.lease(run).endReason
const types = (entries: readonly { type: string }[]) => entries.map(({ type }) => type)
const wanting = (...actions: string[]) => [{ actions, resources: { repos: ['other'] }, where: {} }]

describe('a request', () => {
  test('becomes active by a yes, and its time runs from there', () => {
    const book = requested()
    book.pass(100)
    book.must(APPROVE)
    expect(book.lease()).toMatchObject({ state: 'active', revision: 1 })
    expect(book.lease().expiresAt).toBe(T0 + (100 + HOUR) * SECOND)
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

  test('a run whose lease was never requested can be revoked; then no request comes', () => {
    const book = requested()
    expect(book.refusal({ do: 'close' })).toBe('tree_not_ended')
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

describe('delegation', () => {
  const parent = (terms: Partial<Terms> = {}) => active({ delegate: DELEGATE, ...terms })
  const less = { expiresInSeconds: 60 }

  test('1: a parent gives only what it has, and less', () => {
    const book = parent()
    const grants = [...TERMS.grants, { actions: ['x.y'], resources: {}, where: {} }]
    expect(book.refusal(book.delegation(CHILD, { grants }))).toBe('not_narrower')
    expect(book.refusal(book.delegation(CHILD, {}))).toBe('not_narrower')
    expect(book.refusal(book.delegation(CHILD, less))).toBeNull()
  })

  test('2: what the child does not mention it does not have', () => {
    const book = parent()
    book.must(book.delegation(CHILD, { grants: [{ ...TERMS.grants[0]!, actions: ['doc.read'] }] }))
    expect(book.denied('doc.write', { run: CHILD })).toBe('no_grant')
  })

  test('3: it names its task and both runs', () => {
    const book = parent()
    const envelope = { ...ENVELOPE, purpose: 'read the docs' }
    book.must(book.delegation(CHILD, less, ROOT, { envelope }))
    expect(book.of('run.delegated')[0]!.command).toMatchObject({
      parent: ROOT,
      run: CHILD,
      envelope,
    })
    expect(book.run(CHILD)).toMatchObject({ parent: ROOT, depth: 1, envelope })
  })

  test('4: its budget comes out of the parent, and what is left returns', () => {
    const book = parent({ maxToolCalls: 10, usd: '10.00', limits: { 'doc.read': 3 } })
    book.must(book.delegation(CHILD, { maxToolCalls: 6, usd: '4.00', limits: { 'doc.read': 2 } }))
    expect(book.lease().held).toMatchObject({ calls: 6, usd: '4', byAction: { 'doc.read': 2 } })
    book.settle(book.allowed('doc.read', { run: CHILD, facts: { usd: '1.50' } }))
    book.must({ do: 'end', run: CHILD, by: SERVER, note: 'done' })
    expect(book.lease().held).toMatchObject({ calls: 0, usd: '0', byAction: { 'doc.read': 0 } })
    expect(book.lease().spentBelow).toMatchObject({ calls: 1, usd: '1.5' })
  })

  test('threat 64: siblings together never have more than the parent', () => {
    const book = parent({ maxToolCalls: 10 })
    book.must(book.delegation(CHILD, { maxToolCalls: 6 }))
    expect(book.refusal(book.delegation('run_2', { maxToolCalls: 5 }))).toBe(
      'budget_exceeds_parent',
    )
    book.must(book.delegation('run_2', { maxToolCalls: 4 }))
    expect(book.denied('doc.read')).toBe('calls_exhausted')
  })

  test('5: a child delegates only if its own lease says so', () => {
    const book = parent()
    book.must(book.delegation(CHILD, less))
    expect(book.refusal(book.delegation('run_2', { expiresInSeconds: 9 }, CHILD))).toBe(
      'cannot_delegate',
    )
  })

  test('6: destructive, irreversible and egress calls of a child always ask', () => {
    const book = parent()
    book.must(book.delegation(CHILD, less))
    for (const action of ['doc.erase', 'mail.send']) {
      expect(book.call(action).kind).toBe('allow')
      expect(book.call(action, { run: CHILD }).kind).toBe('ask')
    }
    const touches = [{ ...touchOf('doc.write'), reversible: false }]
    expect(book.call('doc.write', { run: CHILD, facts: { touches } }).kind).toBe('ask')
    expect(book.call('doc.write', { run: CHILD }).kind).toBe('allow')
  })

  test('the parent asks before a subagent, where its lease says so', () => {
    const book = parent({ delegate: { ...DELEGATE, ask: true } })
    book.must(book.delegation(CHILD, less))
    expect(book.denied('doc.read', { run: CHILD })).toBe('lease_requested')
    expect(book.refusal({ ...APPROVE, run: CHILD, by: ASKER })).toBe('self_approval')
    book.must({ ...APPROVE, run: CHILD })
    book.allowed('doc.read', { run: CHILD })
  })

  test('another name on the envelope of the child does not make its requester another person', () => {
    const book = parent({ delegate: { ...DELEGATE, ask: true } })
    const envelope = { ...ENVELOPE, requester: 'somebody@example.com' }
    book.must(book.delegation(CHILD, less, ROOT, { envelope }))
    expect(book.refusal({ ...APPROVE, run: CHILD, by: ASKER })).toBe('self_approval')
  })

  test('threat 71: subagents that must be approved count as asks', () => {
    const book = parent({ delegate: { ...DELEGATE, ask: true } })
    for (let count = 0; count < 20; count++) {
      const run: RunId = `run_${count}`
      book.must(book.delegation(run, less))
      book.must({ do: 'refuse', run, by: APPROVER, reason: 'no' })
    }
    expect(book.refusal(book.delegation(CHILD, less))).toBe('too_many_children')
  })

  test('threat 57: a parent with 1,000 subagents is revoked, and nobody survives', () => {
    const book = parent({ delegate: { ...DELEGATE, maxChildren: 1000 } })
    for (let count = 0; count < 1000; count++) book.must(book.delegation(`run_${count}`, less))
    expect(book.refusal(book.delegation(CHILD, less))).toBe('too_many_children')
    book.must({ do: 'revoke', run: ROOT, by: APPROVER, reason: 'stop' })
    const alive = [...book.tree.runs.values()].filter(({ lease }) => lease!.state !== 'ended')
    expect(alive).toEqual([])
  })

  test('a child of a suspended parent waits with it', () => {
    const book = parent()
    book.must(book.delegation(CHILD, less))
    book.must({ do: 'suspend', run: ROOT, by: APPROVER, reason: 'wait' })
    expect(book.denied('doc.read', { run: CHILD })).toBe('ancestor_suspended')
    expect(book.refusal(book.delegation('run_2', { expiresInSeconds: 9 }))).toBe('lease_not_active')
    expect(book.refusal(book.escalation([], { run: CHILD, calls: 1 }))).toBe('lease_not_active')
  })

  test('a child that ends with its parent is charged to whoever is left above', () => {
    const book = parent({ maxToolCalls: 10 })
    const middle: RunId = 'run_middle'
    book.must(book.delegation(middle, { maxToolCalls: 8, delegate: { ...DELEGATE, maxDepth: 1 } }))
    book.must(book.delegation(CHILD, { maxToolCalls: 5 }, middle))
    for (let count = 0; count < 3; count++) book.allowed('doc.read', { run: CHILD })
    book.must({ do: 'revoke', run: middle, by: APPROVER, reason: 'stop' })
    expect(book.lease().spentBelow.calls).toBe(3)
  })
})

describe('escalation', () => {
  const outside = { facts: { touches: [touchOf('doc.read', 'other')] } }

  test('offers the smallest grant that would have allowed what was tried, and nothing else', () => {
    const book = active({ maxToolCalls: 9 })
    book.denied('doc.read', { facts: { ...outside.facts, args: { path: 'a' } } })
    const escalation = book.escalation(
      [{ actions: ['doc.**'], resources: { repos: ['**'] }, where: {} }],
      { calls: 2 },
    )
    book.must(escalation)
    const { dossier } = book.tree.escalations.get(escalation.escalation)!
    expect(dossier).toEqual({
      tried: [4],
      offer: [
        { actions: ['doc.read'], resources: { repos: ['other'] }, where: { path: { exact: 'a' } } },
      ],
      more: { calls: 2, seconds: 0 },
      left: { calls: 9, seconds: HOUR },
      wantedMore: true,
      before: 0,
    })
  })

  test('the amended lease allows what was denied, and no more than that', () => {
    const book = active()
    book.denied('doc.read', outside)
    const escalation = book.escalation(wanting('doc.read'))
    book.must(escalation)
    expect(book.tree.escalations.get(escalation.escalation)!.dossier.wantedMore).toBe(false)
    book.must(book.amendment(escalation.escalation))
    expect(book.lease().revision).toBe(2)
    book.allowed('doc.read', outside)
    const another = { facts: { touches: [touchOf('doc.read', 'third')] } }
    expect(book.denied('doc.read', another)).toBe('no_grant')
    expect(book.denied('doc.write', { facts: { touches: [touchOf('doc.write', 'other')] } })).toBe(
      'no_grant',
    )
  })

  test('more calls and time are what the approver grants', () => {
    const book = active({ maxToolCalls: 1, expiresInSeconds: 60 })
    const call = book.allowed('doc.read')
    const escalation = book.escalation([], { calls: 3, seconds: 100 })
    book.must(escalation)
    const less = { calls: 1, seconds: 100 }
    book.must({ ...book.amendment(escalation.escalation), more: less })
    book.settle(call)
    expect(book.lease().terms.maxToolCalls).toBe(2)
    expect(book.lease().expiresAt).toBe(T0 + 160 * SECOND)
  })

  test('a child gets what its parent has, never more', () => {
    const book = active({
      delegate: DELEGATE,
      grants: [{ actions: ['doc.*'], resources: { repos: ['clord', 'other'] }, where: {} }],
    })
    const grants = [{ actions: ['doc.read'], resources: { repos: ['clord'] }, where: {} }]
    book.must(book.delegation(CHILD, { grants }))
    const third = { facts: { touches: [touchOf('doc.read', 'third')] } }
    book.denied('doc.read', { run: CHILD, ...outside })
    book.denied('doc.read', { run: CHILD, ...third })
    const wants = [{ actions: ['doc.read'], resources: { repos: ['third'] }, where: {} }]
    const greedy = book.escalation(wants, { run: CHILD })
    book.must(greedy)
    expect(book.refusal(book.amendment(greedy.escalation))).toBe('exceeds_ancestor')
    const modest = book.escalation(wanting('doc.read'), { run: CHILD })
    book.must(modest)
    book.must(book.amendment(modest.escalation))
    book.allowed('doc.read', { run: CHILD, ...outside })
  })

  test('what an ancestor forbids or lacks is said when the child escalates', () => {
    const book = active({ delegate: DELEGATE })
    book.must(book.delegation(CHILD, { expiresInSeconds: 60 }))
    book.denied('secret.read', { run: CHILD })
    const wants = [{ actions: ['secret.read'], resources: {}, where: {} }]
    expect(book.refusal(book.escalation(wants, { run: CHILD }))).toBe('denied_for_good')
  })

  test('an amended child does not escape the calls per action of its parent', () => {
    const limits = { 'doc.write': 2 }
    const book = active({ delegate: DELEGATE, limits })
    const grants = [{ ...TERMS.grants[0]!, actions: ['doc.read'] }]
    book.must(book.delegation(CHILD, { grants, limits: {} }))
    book.denied('doc.write', { run: CHILD })
    book.settle(book.allowed('doc.write'))
    const wants = [{ actions: ['doc.write'], resources: { repos: ['clord'] }, where: {} }]
    const escalation = book.escalation(wants, { run: CHILD })
    book.must(escalation)
    book.must(book.amendment(escalation.escalation))
    expect(book.lease(CHILD).terms.limits).toEqual({ 'doc.write': 1 })
    expect(book.denied('doc.write')).toBe('limit_reached')
    book.settle(book.allowed('doc.write', { run: CHILD }))
    expect(book.denied('doc.write', { run: CHILD })).toBe('limit_reached')
    book.must({ do: 'end', run: CHILD, by: SERVER, note: 'done' })
    expect(book.denied('doc.write', { facts: { argsDigest: 'x' } })).toBe('limit_reached')
  })
})

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
