import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Entry } from '../../src/core/entry.ts'
import { evolve } from '../../src/core/evolve.ts'
import type { Json } from '../../src/core/id.ts'
import { fromSnapshot, toSnapshot } from '../../src/core/snapshot.ts'
import type { Tree } from '../../src/core/tree.ts'
import { runs } from './runs.ts'
import { arbitraryLife, live, type Watch } from './sequences.ts'
import { active, Book, OPEN, sortedCopy } from './support.ts'

const LIVES = runs(1000)

/** The tree that a store would give back: entries read from canonical JSON. */
function folded(entries: readonly Entry[]): Tree {
  let tree: Tree | null = null
  for (const entry of entries) tree = evolve(tree, sortedCopy(entry))
  return tree!
}

/** Through text, as a store keeps it. */
function reloaded(tree: Tree): Tree {
  return fromSnapshot(JSON.parse(JSON.stringify(sortedCopy(toSnapshot(tree)))) as Json)
}

describe('snapshots', () => {
  test('law: folding the entries gives the state that produced them', () => {
    fc.assert(
      fc.property(arbitraryLife, (life) => {
        const book = live(life)
        expect(toSnapshot(folded(book.entries))).toEqual(toSnapshot(book.tree))
      }),
      { numRuns: LIVES },
    )
  })

  test('law: a snapshot at any moment, and then the same life, gives the same ledger', () => {
    let moments = 0
    fc.assert(
      fc.property(arbitraryLife, fc.nat({ max: 80 }), (life, moment) => {
        let commands = 0
        const before: Watch = (book) => {
          if (commands++ !== moment) return
          moments += 1
          book.adopt(reloaded(book.tree))
        }
        const [once, again] = [live(life), live(life, { before })]
        expect(again.entries).toEqual(once.entries)
        expect(toSnapshot(again.tree)).toEqual(toSnapshot(once.tree))
      }),
      { numRuns: LIVES },
    )
    expect(moments).toBeGreaterThan(LIVES / 2)
  })

  test('nothing of a tree is lost: calls in flight, asks, and what waits', () => {
    const delegate = { maxDepth: 1, maxChildren: 2, ask: false }
    const book = active({ ask: ['doc.write'], until: ['pr.open'], delegate, maxToolCalls: 9 })
    book.must(book.delegation('run_child', { maxToolCalls: 2 }))
    book.allowed('pr.open', { key: 'event' })
    book.settle(book.allowed('doc.read'), 'deferred')
    book.approveCall(book.asked('doc.write'))
    book.denied('secret.read')
    book.must(book.escalation([], { calls: 1 }))
    const again = reloaded(book.tree)
    expect(again).toEqual(book.tree)
    expect(again.runs.get('run_root')!.inFlight.size).toBe(1)
    expect([again.asks.size, again.askByBinding.size, again.escalations.size]).toEqual([1, 1, 1])
  })

  test('a tree whose root has no lease yet comes back without one', () => {
    const book = new Book()
    book.must(OPEN)
    expect(reloaded(book.tree)).toEqual(book.tree)
  })

  test('a tree does not live on the snapshot that it came from', () => {
    const book = active({ maxToolCalls: 5, limits: { 'doc.read': 3 } })
    book.allowed('doc.read')
    const snapshot = toSnapshot(book.tree)
    const before = JSON.stringify(snapshot)
    book.adopt(fromSnapshot(snapshot))
    book.allowed('doc.read')
    book.must({ do: 'suspend', run: 'run_root', by: { server: 'test' }, reason: 'wait' })
    expect(JSON.stringify(snapshot)).toBe(before)
  })

  test('threat 10: an action named like a member of Object.prototype is counted after a reload', () => {
    const grants = [
      { actions: ['__proto__', 'constructor'], resources: { repos: ['**'] }, where: {} },
    ]
    const limits = JSON.parse('{"__proto__":2,"constructor":2}') as Record<string, number>
    const book = active({ grants, limits })
    for (const action of ['__proto__', 'constructor']) {
      book.allowed(action)
      book.adopt(reloaded(book.tree))
      book.allowed(action)
      expect(book.denied(action)).toBe('limit_reached')
      book.adopt(reloaded(book.tree))
      expect(book.denied(action, { facts: { argsDigest: 'other' } })).toBe('limit_reached')
    }
  })
})

describe('evolve', () => {
  test('refuses an entry that does not follow', () => {
    const book = active()
    const [opened, asked] = book.entries
    expect(() => evolve(null, asked!)).toThrow('tree.opened')
    expect(() => evolve(evolve(null, opened!), book.entries[2]!)).toThrow('does not follow')
  })
})
