import { describe, expect, test } from 'vitest'
import { evolve } from '../../src/core/evolve.ts'
import type { RunId } from '../../src/core/id.ts'
import { startWork, workedMsAt } from '../../src/core/work.ts'
import { APPROVER, active, type Book, ROOT, SECOND, SERVER } from './support.ts'

/** What the tree knows after an entry, where no verdict shows it at once. */

const CHILD: RunId = 'run_child'
const LEAF: RunId = 'run_leaf'
const DELEGATE = { maxDepth: 2, maxChildren: 2, ask: false }
const REVOKE = { do: 'revoke', run: ROOT, by: APPROVER, reason: 'stop' } as const

const price = (run: RunId, usd: string) => ({ run, facts: { usd } })

const flights = ({ inFlight, deferred }: { inFlight: Set<string>; deferred: Set<string> }) => {
  return { inFlight: [...inFlight], deferred: [...deferred] }
}

function chained(): Book {
  const book = active({ delegate: DELEGATE, usd: '9' })
  const delegate = { ...DELEGATE, maxDepth: 1 }
  book.must(book.delegation(CHILD, { usd: '6', delegate }))
  book.must(book.delegation(LEAF, { usd: '5' }, CHILD))
  return book
}

describe('a call', () => {
  test('is in flight until it settles, and again when it goes on', () => {
    const book = active({ workSeconds: 600 })
    const call = book.allowed('doc.read', { key: 'k' })
    expect(flights(book.run())).toEqual({ inFlight: [call], deferred: [] })
    book.settle(call, 'deferred')
    expect(flights(book.run())).toEqual({ inFlight: [], deferred: [call] })
    book.pass(5)
    expect(book.call('doc.read', { key: 'k' })).toMatchObject({ resumed: true })
    expect(flights(book.run())).toEqual({ inFlight: [call], deferred: [] })
    const { deadline, outcome } = book.tree.calls.get(call)!
    expect({ deadline, outcome }).toEqual({ deadline: book.now + 60 * SECOND, outcome: null })
    book.settle(call)
    expect(flights(book.run())).toEqual({ inFlight: [], deferred: [] })
  })

  test('that goes on ends the wait for a person', () => {
    const book = active({ ask: ['doc.write'], workSeconds: 600 })
    book.settle(book.allowed('doc.read', { key: 'k' }), 'deferred')
    book.asked('doc.write')
    book.pass(10)
    book.call('doc.read', { key: 'k' })
    book.pass(5)
    expect(workedMsAt(book.lease(), book.now)).toBe(5 * SECOND)
  })

  test('without an answer when the tree closes is unknown, and nowhere in flight', () => {
    const book = active()
    const call = book.allowed('doc.read')
    const later = book.allowed('doc.read')
    book.settle(later, 'deferred')
    book.must(REVOKE)
    book.must({ do: 'close' })
    expect(book.tree.phase).toBe('closing')
    book.pass(30)
    book.must({ do: 'close' })
    expect(book.tree.phase).toBe('closed')
    expect(flights(book.run())).toEqual({ inFlight: [], deferred: [] })
    for (const id of [call, later]) {
      expect(book.tree.calls.get(id)).toMatchObject({ state: 'frozen', outcome: 'unknown' })
    }
  })

  test('whose outcome a person tells has that outcome, or none', () => {
    for (const [happened, state, outcome] of [
      [true, 'succeeded', 'succeeded'],
      [false, 'free', null],
    ] as const) {
      const book = active()
      const call = book.allowed('doc.read')
      book.settle(call, 'unknown')
      expect(book.tree.calls.get(call)).toMatchObject({ outcome: 'unknown', isDoubtful: true })
      book.must({ do: 'resolve', call, by: APPROVER, happened })
      expect(book.tree.calls.get(call)).toMatchObject({ state, outcome })
    }
  })

  test('that settles late as a success is one', () => {
    const book = active()
    const call = book.allowed('doc.read')
    book.settle(call, 'unknown')
    book.settle(call)
    expect(book.tree.calls.get(call)).toMatchObject({ state: 'succeeded', outcome: 'succeeded' })
  })

  test('that ends nothing leaves the one that does in its place', () => {
    const book = active({ until: ['pr.open'] })
    const event = book.allowed('pr.open')
    book.settle(book.allowed('doc.read'))
    expect(book.run().untilCall).toBe(event)
    expect(book.denied('pr.open')).toBe('until_pending')
    book.settle(event, 'failed')
    expect(book.run().untilCall).toBeNull()
  })

  test('is counted by action only where the lease limits the action', () => {
    const book = active({ limits: { 'doc.read': 2 } })
    book.allowed('doc.read')
    book.allowed('doc.write')
    expect({ ...book.lease().spent.byAction }).toEqual({ 'doc.read': 1 })
    expect(book.lease().spent).toMatchObject({ calls: 2, usd: '0' })
  })

  test('uses up the yes that allowed it', () => {
    const book = active({ ask: ['doc.write'] })
    const ask = book.asked('doc.write')
    book.approveCall(ask)
    book.allowed('doc.write')
    expect(book.tree.asks.get(ask)!.state).toBe('used')
  })
})

describe('money of a call that answers late', () => {
  test('returns to the lease that ended, and to the one above that took it over', () => {
    const book = chained()
    const call = book.allowed('pay.send', price(LEAF, '4'))
    book.must({ do: 'end', run: LEAF, by: SERVER, note: 'done' })
    book.settle(call, 'succeeded', '1')
    expect(book.lease(LEAF).spent.usd).toBe('1')
    expect(book.lease(CHILD).spentBelow.usd).toBe('1')
    expect(book.lease().spentBelow.usd).toBe('0')
  })

  test('returns all the way up when all have ended', () => {
    const book = chained()
    const call = book.allowed('pay.send', price(LEAF, '4'))
    book.must(REVOKE)
    book.settle(call, 'succeeded', '1')
    const spent = [book.lease(LEAF).spent, book.lease(CHILD).spentBelow, book.lease().spentBelow]
    expect(spent.map(({ usd }) => usd)).toEqual(['1', '1', '1'])
  })

  test('stays where it is while the lease lives', () => {
    const book = chained()
    book.settle(book.allowed('pay.send', price(LEAF, '4')), 'succeeded', '1')
    expect(book.lease(LEAF).spent.usd).toBe('1')
    expect([book.lease(CHILD).spentBelow.usd, book.lease().spentBelow.usd]).toEqual(['0', '0'])
  })

  test('that is more counts as far as this lease reaches, whatever those above have left', () => {
    const book = active({ delegate: DELEGATE, usd: '5' })
    book.must(book.delegation(CHILD, { usd: '5', expiresInSeconds: 60 }))
    book.settle(book.allowed('pay.send', price(CHILD, '1')), 'succeeded', '3')
    expect(book.lease(CHILD).spent.usd).toBe('3')
  })
})

describe('the clock of work', () => {
  test('does not start when a person answers a suspended run', () => {
    const book = active({ ask: ['doc.write'], workSeconds: 600 })
    const ask = book.asked('doc.write')
    book.must({ do: 'suspend', run: ROOT, by: APPROVER, reason: 'wait' })
    book.approveCall(ask)
    book.pass(100)
    expect(workedMsAt(book.lease(), book.now)).toBe(0)
  })
})

describe('work that stands still', () => {
  test('goes on from now, whether it stood until somebody acts or until a moment', () => {
    const lease = active().lease()
    for (const [since, expected] of [
      [null, 5000],
      [9000, 5000],
      [4000, 4000],
    ] as const) {
      lease.workSince = since
      startWork(lease, 5000)
      expect(lease.workSince).toBe(expected)
    }
  })
})

describe('evolve', () => {
  test('of an entry of no known type is a mistake of the programmer', () => {
    const { tree } = active()
    const entry = { type: 'lease.danced', seq: tree.seq + 1, at: tree.at } as never
    expect(() => evolve(tree, entry)).toThrow('unreachable')
  })
})
