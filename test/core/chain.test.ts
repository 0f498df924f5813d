import { describe, expect, test } from 'vitest'
import * as chain from '../../src/core/chain.ts'
import type { RunId } from '../../src/core/id.ts'
import type { Terms } from '../../src/core/lease.ts'
import { isAmount, isMore, minus, plus } from '../../src/core/money.ts'
import { APPROVER, active, Book, OPEN, ROOT, requested, SECOND, TERMS } from './support.ts'

const CHILD: RunId = 'run_child'
const LEAF: RunId = 'run_leaf'
const DELEGATE = { maxDepth: 2, maxChildren: 2, ask: false }

const terms = (part: Partial<Terms>): Terms => ({ ...TERMS, ...part })

function opened(): Book {
  const book = new Book()
  book.must(OPEN)
  return book
}

function chained(part: Partial<Terms> = {}): Book {
  const book = active({ delegate: DELEGATE, ...part })
  book.must(
    book.delegation(CHILD, { expiresInSeconds: 600, delegate: { ...DELEGATE, maxDepth: 1 } }),
  )
  book.must(book.delegation(LEAF, { expiresInSeconds: 60 }, CHILD))
  return book
}

describe('a run is over', () => {
  const over = (book: Book, run: RunId) => chain.isOver(book.tree, book.run(run), book.now)

  test('when its own lease is, or one above it', () => {
    const book = chained()
    expect([over(book, ROOT), over(book, CHILD), over(book, LEAF)]).toEqual([false, false, false])
    book.pass(60)
    expect([over(book, ROOT), over(book, CHILD), over(book, LEAF)]).toEqual([false, false, true])
    book.lease().state = 'ended'
    expect([over(book, ROOT), over(book, CHILD)]).toEqual([true, true])
  })

  test('not while its lease waits for a yes, but without one', () => {
    expect(over(requested(), ROOT)).toBe(false)
    expect(over(opened(), ROOT)).toBe(true)
  })
})

describe('what is left', () => {
  test('of what is not limited, nothing can be said', () => {
    const lease = active().lease()
    expect(chain.callsLeft(lease)).toBeNull()
    expect(chain.actionLeft(lease, 'doc.read')).toBeNull()
    expect(chain.usdLeft(lease)).toBeNull()
  })

  test('a child takes nothing out of what its parent does not limit', () => {
    const child = terms({ maxToolCalls: 5, usd: '2.00', limits: { 'doc.read': 2 } })
    const reserved = chain.reservationOf(child, TERMS)
    expect({ ...reserved, byAction: { ...reserved.byAction } }).toEqual({
      calls: 0,
      byAction: {},
      usd: '0',
    })
  })

  test('a child without a limit of its own takes none of what the parent counts', () => {
    const parent = terms({ maxToolCalls: 9, usd: '9', limits: { 'doc.read': 2, 'doc.write': 3 } })
    const reserved = chain.reservationOf(terms({ limits: { 'doc.write': 1 } }), parent)
    expect({ ...reserved, byAction: { ...reserved.byAction } }).toEqual({
      calls: 0,
      byAction: { 'doc.read': 0, 'doc.write': 1 },
      usd: '0',
    })
    expect(chain.reservationOf(terms({ maxToolCalls: 4, usd: '1.50' }), parent)).toMatchObject({
      calls: 4,
      usd: '1.5',
    })
  })
})

describe('the owners of an event', () => {
  test('are the leases of the chain that name it; a run without a lease owns none', () => {
    const book = chained({ until: ['pr.open'] })
    const runs = chain.chainOf(book.tree, book.run(LEAF))
    const owners = chain.untilOwners(runs, ['doc.read', 'pr.open'])
    expect(owners.map(({ id }) => id)).toEqual([LEAF, CHILD, ROOT])
    expect(chain.untilOwners(runs, ['doc.read'])).toEqual([])
    expect(chain.untilOwners([opened().run()], ['pr.open'])).toEqual([])
  })
})

describe('death', () => {
  const due = (book: Book) => chain.deathOf(book.tree, book.run(), book.now)

  test('comes to no run without a lease, and to none that has ended', () => {
    expect(due(opened())).toBeNull()
    expect(chain.deathByTime(opened().run(), Number.MAX_SAFE_INTEGER)).toBeNull()
    const book = active({ maxToolCalls: 1 })
    book.settle(book.allowed('doc.read'))
    expect(book.lease().endReason).toBe('exhausted')
    expect(due(book)).toBeNull()
    book.pass(3600)
    expect(chain.deathByTime(book.run(), book.now)).toBeNull()
  })

  test('comes to a request at the moment its answer is due', () => {
    const book = requested()
    book.pass(599.999)
    expect(due(book)).toBeNull()
    book.pass(0.001)
    expect(due(book)).toEqual({
      reason: 'refused',
      endedAt: book.now,
      note: 'nobody answered in time',
    })
  })

  test('comes to a lease that is used up, and says by what', () => {
    const book = active({ maxToolCalls: 1 })
    const call = book.allowed('doc.read')
    expect(due(book)).toBeNull()
    book.settle(call)
    expect(book.lease()).toMatchObject({ endReason: 'exhausted', endNote: 'no tool calls left' })
    const worker = active({ workSeconds: 10 })
    worker.pass(10)
    const death = { reason: 'exhausted', endedAt: worker.now, note: 'no minutes of work left' }
    expect(due(worker)).toEqual(death)
  })

  test('does not come while a child holds what is left', () => {
    const book = active({ maxToolCalls: 5, delegate: DELEGATE })
    book.must(book.delegation(CHILD, { maxToolCalls: 5, expiresInSeconds: 60 }))
    expect(due(book)).toBeNull()
    book.must({ do: 'revoke', run: CHILD, by: APPROVER, reason: 'stop' })
    expect(chain.callsLeft(book.lease())).toBe(5)
  })

  test('an end is the earliest of what is wanted, fixed, and above', () => {
    const { expiresAt } = active().lease()
    const parent = active().lease()
    expect(chain.endOf({ notAfter: null }, null, 7)).toBe(7)
    expect(chain.endOf({ notAfter: 5 }, null, 7)).toBe(5)
    expect(chain.endOf({ notAfter: null }, parent, expiresAt! + SECOND)).toBe(expiresAt)
    expect(chain.endOf({ notAfter: null }, requested().lease(), 7)).toBe(7)
  })
})

describe('amounts', () => {
  test('are exact, and zero is one', () => {
    expect([plus('0.1', '0.2'), minus('0.3', '0.1')]).toEqual(['0.3', '0.2'])
    expect([isMore('0.30', '0.3'), isMore('0.31', '0.3'), isMore('0.29', '0.3')]).toEqual([
      false,
      true,
      false,
    ])
    expect(['0', '0.00', '1', '-0.01', 'x'].map(isAmount)).toEqual([true, true, true, false, false])
  })

  test('that are none are a mistake of the programmer', () => {
    expect(() => plus('1', 'x')).toThrow('`x` is not a decimal')
    expect(() => isMore('1,0', '1')).toThrow('`1,0` is not a decimal')
  })
})
