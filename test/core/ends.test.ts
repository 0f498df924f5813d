import { describe, expect, test } from 'vitest'
import { decide } from '../../src/core/decide.ts'
import type { Entry } from '../../src/core/entry.ts'
import type { RunId } from '../../src/core/id.ts'
import {
  APPROVE,
  APPROVER,
  active,
  Book,
  type CommandOf,
  OPEN,
  ROOT,
  SECOND,
  SERVER,
  T0,
  touchOf,
} from './support.ts'

const CHILD: RunId = 'run_child'
const DELEGATE = { maxDepth: 1, maxChildren: 2, ask: false }
const REVOKE = { do: 'revoke', run: ROOT, by: APPROVER, reason: 'stop' } as const
const END = { do: 'end', run: ROOT, by: SERVER, note: 'done' } as const

const types = (entries: readonly Entry[]) => entries.map(({ type }) => type)

/** A root and a child; both end when a pull request is opened. */
function family() {
  const book = active({ delegate: DELEGATE, until: ['pr.open'], usd: '9' })
  book.must(book.delegation(CHILD, { expiresInSeconds: 600, usd: '5' }))
  return book
}

describe('an end is recorded', () => {
  test('with who wanted it: revoked, or completed', () => {
    expect(active().must(REVOKE)).toMatchObject([{ reason: 'revoked', note: 'stop' }])
    expect(active().must(END)).toMatchObject([{ reason: 'completed', note: 'done' }])
    const book = active()
    book.pass(5)
    book.must(REVOKE)
    expect(book.lease()).toMatchObject({ endReason: 'revoked', endNote: 'stop', endedAt: book.now })
  })

  test('with the actions that succeeded, or the words of the settlement', () => {
    const book = active({ until: ['pr.open'] })
    book.settle(book.allowed('pr.open'))
    expect(book.lease().endNote).toBe('pr.open succeeded')
    const both = active({ until: ['pr.open'] })
    const touches = [touchOf('doc.write'), touchOf('pr.open')]
    const pair = both.allowed('pr.open', { facts: { touches } })
    both.settle(pair, 'unknown')
    both.must({ do: 'resolve', call: pair, by: APPROVER, happened: true })
    expect(both.lease().endNote).toBe('doc.write, pr.open succeeded')
    const several = active({ until: ['pr.open'] })
    several.settle(several.allowed('pr.open', { facts: { touches } }))
    expect(several.lease().endNote).toBe('doc.write, pr.open succeeded')
    const other = active({ until: ['pr.open'] })
    const settled = { outcome: 'succeeded', resultDigest: null, usd: null } as const
    other.must({ do: 'settle', call: other.allowed('pr.open'), ...settled, note: 'PR 7' })
    expect(other.lease().endNote).toBe('PR 7')
    const third = active({ until: ['pr.open'] })
    const call = third.allowed('pr.open')
    third.settle(call, 'unknown')
    third.must({ do: 'resolve', call, by: APPROVER, happened: true })
    expect(third.lease().endNote).toBe('pr.open succeeded')
  })

  test('once: a tree without a lease, and a lease that is dead', () => {
    const book = new Book()
    book.must(OPEN)
    book.must(REVOKE)
    expect(book.refusal(REVOKE)).toBe('lease_ended')
    expect(book.refusal(END)).toBe('lease_ended')
  })

  test('of a child that died at the moment of its parent as the end of the parent', () => {
    const book = active({ delegate: DELEGATE, expiresInSeconds: 60 })
    book.must(book.delegation(CHILD, { expiresInSeconds: 60, maxToolCalls: 1 }))
    book.pass(100)
    book.must({ do: 'expire', run: ROOT })
    expect(book.lease(CHILD)).toMatchObject({
      endReason: 'parent_ended',
      endedAt: T0 + 60 * SECOND,
    })
  })

  test('of a request by its own time, if that was before the end of its parent', () => {
    for (const [answerSeconds, endReason] of [
      [30, 'refused'],
      [80, 'parent_ended'],
    ] as const) {
      const delegate = { ...DELEGATE, ask: true }
      const book = active({ delegate, expiresInSeconds: 60 })
      const rule = { policy: null, approvers: null, self: false, answerSeconds }
      book.must(book.delegation(CHILD, { expiresInSeconds: 50 }, ROOT, { rule }))
      book.pass(100)
      book.must({ do: 'expire', run: ROOT })
      expect(book.lease(CHILD).endReason).toBe(endReason)
    }
  })
})

describe('an outcome', () => {
  test('after the end ends nothing again', () => {
    const book = family()
    const call = book.allowed('pr.open')
    book.must(REVOKE)
    expect(types(book.settle(call))).toEqual(['call.settled'])
    const other = family()
    const doubtful = other.allowed('pr.open')
    other.settle(doubtful, 'unknown')
    other.must(REVOKE)
    const resolve = { do: 'resolve', call: doubtful, by: APPROVER, happened: true } as const
    expect(types(other.must(resolve))).toEqual(['call.resolved'])
  })

  test('that is unknown suspends every active lease that the call may end, one after another', () => {
    const book = family()
    const entries = book.settle(book.allowed('pr.open', { run: CHILD }), 'unknown')
    const [settled] = entries
    expect(entries.slice(1)).toMatchObject([
      { type: 'run.suspended', seq: settled!.seq + 1, cause: settled!.seq, run: CHILD },
      { type: 'run.suspended', seq: settled!.seq + 2, cause: settled!.seq, run: ROOT },
    ])
    const other = family()
    const call = other.allowed('pr.open', { run: CHILD })
    other.must({ do: 'suspend', run: ROOT, by: APPROVER, reason: 'wait' })
    const rest = other.settle(call, 'unknown').slice(1)
    expect(rest.map((entry) => entry.type === 'run.suspended' && entry.run)).toEqual([CHILD])
  })

  test('that is unknown exhausts a lease as any other', () => {
    const book = active({ maxToolCalls: 1 })
    book.settle(book.allowed('doc.read'), 'unknown')
    expect(book.lease().endReason).toBe('exhausted')
  })

  test('that is a late failure takes the place of the unknown one', () => {
    const book = active()
    const call = book.allowed('doc.read')
    book.settle(call, 'unknown')
    expect(types(book.settle(call, 'failed'))).toEqual(['call.resolved'])
    expect(book.tree.calls.get(call)).toMatchObject({ state: 'failed', outcome: 'failed' })
  })

  test('that cost more suspends when it is an answer, whether good or bad, and only then', () => {
    const typesAfter = (outcome: CommandOf<'settle'>['outcome']) => {
      const book = active({ usd: '9' })
      return types(book.settle(book.allowed('pay.send', { facts: { usd: '1' } }), outcome, '2'))
    }
    expect(typesAfter('succeeded')).toEqual(['call.settled', 'run.suspended'])
    expect(typesAfter('failed')).toEqual(['call.settled', 'run.suspended'])
    expect(typesAfter('unknown')).toEqual(['call.settled'])
    expect(typesAfter('deferred')).toEqual(['call.settled'])
  })

  test('that cost more does not suspend again', () => {
    const book = active({ usd: '9' })
    const call = book.allowed('pay.send', { facts: { usd: '1' } })
    book.must({ do: 'suspend', run: ROOT, by: APPROVER, reason: 'wait' })
    expect(types(book.settle(call, 'succeeded', '2'))).toEqual(['call.settled'])
    expect(book.lease().suspendedWhy).toBe('wait')
  })
})

describe('what is decided about nothing', () => {
  test('a lease that nobody requested is not answered, suspended or delegated from', () => {
    const book = new Book()
    book.must(OPEN)
    const refuse = { do: 'refuse', run: ROOT, by: APPROVER, reason: 'no' } as const
    const suspend = { do: 'suspend', run: ROOT, by: APPROVER, reason: 'wait' } as const
    expect(book.refusal(APPROVE)).toBe('lease_not_requested')
    expect(book.refusal(refuse)).toBe('lease_not_requested')
    expect(book.refusal(suspend)).toBe('lease_not_active')
    expect(book.refusal({ ...suspend, do: 'resume' } as never)).toBe('lease_not_suspended')
    const delegation = family().commands.at(-1)!
    expect(book.refusal(delegation)).toBe('lease_not_active')
  })

  test('a tree of other rules than this build knows is left alone', () => {
    const book = active()
    book.adopt({ ...book.tree, rules: 2 })
    const message = 'this build knows rules version 1 only'
    expect(book.do(REVOKE)).toEqual({ ok: false, error: { code: 'rules_unknown', message } })
  })

  test('a command that nobody knows is a mistake of the programmer', () => {
    const dance = { do: 'dance' } as never
    expect(() => decide(active().tree, dance, T0)).toThrow('unreachable: {"do":"dance"}')
  })

  test('a clock that is none is named', () => {
    const refused = decide(active().tree, END, 0.5)
    expect(refused).toMatchObject({ error: { message: 'the clock says `0.5`' } })
  })
})

describe('limits of delegation', () => {
  test('a run has at most 1,000 subagents, and those that ended count', () => {
    const book = active({ delegate: DELEGATE })
    const less = { expiresInSeconds: 60 }
    book.must(book.delegation(CHILD, less))
    book.must({ do: 'end', run: CHILD, by: SERVER, note: 'done' })
    while (book.run().children.length < 999) book.run().children.push(CHILD)
    expect(book.refusal(book.delegation('run_last', less))).toBeNull()
    book.must({ do: 'end', run: 'run_last', by: SERVER, note: 'done' })
    expect(book.do(book.delegation('run_more', less))).toMatchObject({
      error: { code: 'too_many_children', message: 'at most 1000 subagents in a run' },
    })
  })

  test('a fixed end that is over leaves a subagent no time', () => {
    const book = active({ delegate: DELEGATE })
    book.pass(10)
    const at = (notAfter: number) => book.refusal(book.delegation(CHILD, { notAfter }))
    expect(at(book.now - 1)).toBe('request_expired')
    expect(at(book.now)).toBe('request_expired')
    expect(at(book.now + 1)).toBeNull()
  })
})
