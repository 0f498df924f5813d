import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { TreeId } from '../../src/core/id.ts'
import type { Store } from '../../src/store/store.ts'
import {
  CONFLICT,
  key,
  next,
  OK,
  ORG,
  opened,
  opening,
  row,
  rows,
  seqs,
  sha256,
  upTo,
} from './fixtures.ts'

/** Clauses about appending and reading rows. */
export function atomicity(store: () => Store): void {
  describe('ATOMICITY', () => {
    test('a batch comes back byte for byte', async () => {
      const batch = opening('a', { count: 3 })
      expect(await store().append(batch)).toEqual(OK)
      expect(await store().load(key('a'), 0)).toEqual(batch.rows)
      expect(await store().load(key('a'), 2)).toEqual(batch.rows.slice(2))
      expect(await store().load(key('a'), 3)).toEqual([])
      expect(await store().load(key('b'), 0)).toEqual([])
    })

    test('a batch that conflicts leaves no row, no run and no mark in the index', async () => {
      await store().append(opening('a'))
      const late = next('a', 5, { count: 2, runs: ['run_late'], closedAt: 9 })
      expect(await store().append(late)).toEqual(CONFLICT)
      expect(await store().append(opening('a', { opened: opened('other') }))).toEqual(CONFLICT)
      expect(await seqs(store(), 'a')).toEqual([1])
      expect(await store().treeOfRun(ORG, 'run_late')).toBeNull()
      const { items } = await store().listTrees({ org: ORG, limit: 9 })
      expect(items).toEqual([{ ...key('a'), ...opened('a'), closedAt: null, epoch: 0 }])
    })

    test('a batch that fails does not harm those that share its transaction', async () => {
      await store().append(opening('a'))
      const outcomes = await Promise.allSettled([
        store().append(opening('b')),
        store().append(next('a', 1, { count: 2, runs: ['run_b'] })),
        store().append(next('a', 1)),
        store().append(next('a', 7)),
        store().saveSnapshot(key('none'), { seq: 1, hash: sha256(''), rules: 1, body: '{}' }),
        store().append(opening('c')),
      ])
      expect(outcomes.map(({ status }) => status)).toEqual([
        'fulfilled',
        'rejected',
        'fulfilled',
        'fulfilled',
        'rejected',
        'fulfilled',
      ])
      expect(outcomes[1]).toMatchObject({ reason: { name: 'StoreError', code: 'constraint' } })
      expect(outcomes[2]).toMatchObject({ value: OK })
      expect(outcomes[3]).toMatchObject({ value: CONFLICT })
      expect(await seqs(store(), 'a')).toEqual([1, 2])
      expect(await seqs(store(), 'b')).toEqual([1])
      expect(await seqs(store(), 'c')).toEqual([1])
    })

    test('waiting batches share a transaction, and each has its own answer', async () => {
      await store().append(opening('t0'))
      const before = store().counters().commits
      const answers = await Promise.all(
        upTo(64).map((i) => store().append(i % 2 ? opening(`t${i}`) : next(`t${i}`, 3))),
      )
      expect(answers).toEqual(upTo(64).map((i) => (i % 2 ? OK : CONFLICT)))
      // One message, or two when the first leaves before the others are made.
      expect(store().counters().commits - before).toBeLessThanOrEqual(2)
    })
  })
}

export function conflict(store: () => Store, another: () => Promise<Store>): void {
  describe('CONFLICT', () => {
    test.each([0, 1, 2, 4, 99])('expecting %i where 3 is: nothing is stored', async (seq) => {
      await store().append(opening('a', { count: 3 }))
      const batch = seq === 0 ? opening('a') : next('a', seq)
      expect(await store().append(batch)).toEqual(CONFLICT)
      expect(await seqs(store(), 'a')).toEqual([1, 2, 3])
    })

    test('a tree that does not exist is expected at 0 only', async () => {
      expect(await store().append(next('a', 1))).toEqual(CONFLICT)
      expect(await store().head(key('a'))).toBeNull()
    })

    test('of many writers at one sequence number exactly one wins', async () => {
      await store().append(opening('a'))
      const other = await another()
      const answers = await Promise.all(
        upTo(100).map((i) => (i % 2 ? store() : other).append(next('a', 1, { note: `${i}` }))),
      )
      const winners = upTo(100).filter((_, i) => answers[i]?.ok)
      expect(winners).toHaveLength(1)
      expect(await store().load(key('a'), 1)).toEqual([row(2, { note: `${winners[0]}` })])
    })

    test('the same tree id in two organisations is two trees', async () => {
      await store().append(opening('a'))
      const theirs = opening('a', { ...key('a', 'other'), count: 2 })
      expect(await store().append(theirs)).toEqual(OK)
      expect(await seqs(store(), 'a')).toEqual([1])
      expect(await seqs(store(), 'a', 'other')).toEqual([1, 2])
      expect(await store().orgs()).toEqual([ORG, 'other'])
    })
  })
}

export function locks(store: () => Store, another: () => Promise<Store>): void {
  describe('LOCKS', () => {
    const lock = { org: ORG, key: 'lock:a', expected: null, value: 'held' }
    const LOCKED = { ok: false, error: 'locked' }

    test('a batch that names a setting is stored only while it is not there', async () => {
      expect(await store().append(opening('a', { unless: ['lock:a', 'lock:b'] }))).toEqual(OK)
      await store().setSetting(lock)
      const runs = ['run_late'] as const
      for (const unless of [['lock:a'], ['lock:b', 'lock:a'], ['lock:a', 'lock:b']]) {
        expect(await store().append(next('a', 1, { unless, runs, closedAt: 9 }))).toEqual(LOCKED)
        expect(await store().append(opening('b', { unless, count: 3 }))).toEqual(LOCKED)
      }
      expect(await seqs(store(), 'a')).toEqual([1])
      expect(await store().head(key('b'))).toBeNull()
      expect(await store().treeOfRun(ORG, 'run_late')).toBeNull()
      // Of others, of another organisation, of none.
      expect(await store().append(next('a', 1, { unless: ['lock:b', 'lock:'] }))).toEqual(OK)
      const theirs = opening('b', { ...key('b', 'other'), unless: ['lock:a'] })
      expect(await store().append(theirs)).toEqual(OK)
      await store().setSetting({ ...lock, expected: 'held', value: null })
      expect(await store().append(next('a', 2, { unless: ['lock:a'], runs }))).toEqual(OK)
      expect(await store().treeOfRun(ORG, 'run_late')).toBe('tree_a')
    })

    test('a conflict is said before a lock', async () => {
      await store().setSetting(lock)
      expect(await store().append(next('a', 4, { unless: ['lock:a'] }))).toEqual(CONFLICT)
    })

    test('what is sent after the lock is locked, what was sent before it is stored', async () => {
      const other = await another()
      const before = upTo(20).map((i) => store().append(opening(`b${i}`, { unless: ['lock:a'] })))
      const set = store().setSetting(lock)
      const after = upTo(20).map((i) => store().append(opening(`a${i}`, { unless: ['lock:a'] })))
      expect(await Promise.all(before)).toEqual(upTo(20).map(() => OK))
      expect(await set).toEqual(OK)
      expect(await Promise.all(after)).toEqual(upTo(20).map(() => LOCKED))
      expect(await other.append(opening('late', { unless: ['lock:a'] }))).toEqual(LOCKED)
    })

    test('settings are listed by the beginning of their key', async () => {
      for (const name of ['lock:b', 'lock:a', 'lock', 'lock_', 'lockz', 'LOCK:a', 'locl:']) {
        await store().setSetting({ ...lock, key: name, value: name })
      }
      await store().setSetting({ ...lock, org: 'other', key: 'lock:c' })
      expect(await store().listSettings(ORG, 'lock:')).toEqual([
        { key: 'lock:a', value: 'lock:a' },
        { key: 'lock:b', value: 'lock:b' },
      ])
      expect(await store().listSettings(ORG, 'none')).toEqual([])
    })
  })
}

export function order(store: () => Store): void {
  describe('ORDER', () => {
    test('batches of one tree may be sent before the one before is answered', async () => {
      const sent = [store().append(opening('a'))]
      for (const seq of upTo(200)) sent.push(store().append(next('a', seq)))
      expect(await Promise.all(sent)).toEqual(upTo(201).map(() => OK))
      expect(await seqs(store(), 'a')).toEqual(upTo(201))
    })

    test('a long history comes back whole and in order', async () => {
      await store().append(opening('a', { count: 2_345 }))
      expect(await seqs(store(), 'a')).toEqual(upTo(2_345))
      expect((await store().load(key('a'), 999)).length).toBe(1_346)
    })

    test('a caller may change its objects once the call has returned', async () => {
      const batch = opening('a', { count: 2 })
      const stored = structuredClone(batch.rows)
      const answer = store().append(batch)
      ;(batch.rows as unknown[]).length = 0
      expect(await answer).toEqual(OK)
      expect(await store().load(key('a'), 0)).toEqual(stored)
    })
  })
}

export function durability(store: () => Store, another: () => Promise<Store>): void {
  describe('DURABILITY and VISIBILITY', () => {
    test('what was written is there after closing and opening', async () => {
      await store().append(opening('a', { count: 2, runs: ['run_child'] }))
      await store().append(next('a', 2, { closedAt: 77 }))
      await store().beat('executor', 5)
      await store().close()
      const later = await another()
      expect(await seqs(later, 'a')).toEqual([1, 2, 3])
      expect(await later.treeOfRun(ORG, 'run_child')).toBe('tree_a')
      expect((await later.listTrees({ org: ORG, open: false, limit: 1 })).items).toHaveLength(1)
      expect(await later.lastBeat('executor')).toBe(5)
      expect(await later.append(next('a', 3))).toEqual(OK)
    })

    test('a read after a write sees it, in the other store too', async () => {
      const other = await another()
      expect(await other.head(key('a'))).toBeNull()
      for (const seq of upTo(20)) {
        await store().append(seq === 1 ? opening('a') : next('a', seq - 1))
        expect((await store().head(key('a')))?.seq).toBe(seq)
        expect((await other.head(key('a')))?.seq).toBe(seq)
        expect(await seqs(other, 'a')).toEqual(upTo(seq))
      }
    })

    test('after a revocation nobody appends what was decided before it', async () => {
      const other = await another()
      await store().append(opening('a'))
      const decided = (await other.head(key('a')))?.seq ?? 0
      expect(await store().append(next('a', 1, { note: 'revoked' }))).toEqual(OK)
      expect(await other.append(next('a', decided, { note: 'allowed' }))).toEqual(CONFLICT)
      expect(await other.load(key('a'), decided)).toEqual([row(2, { note: 'revoked' })])
    })

    test('heads: those that exist, with their hashes', async () => {
      const names = upTo(600).map((i) => `t${i}`)
      await Promise.all(
        names.map((name, i) => store().append(opening(name, { count: 1 + (i % 3) }))),
      )
      const trees: TreeId[] = names.map((name) => key(name).tree)
      const heads = await store().heads(ORG, [...trees, 'tree_none'])
      expect(heads.size).toBe(600)
      expect(heads.get('tree_t3')).toEqual({ seq: 3, hash: rows(1, 3)[2]?.hash })
      expect(await store().heads('other', trees)).toEqual(new Map())
      expect(await store().head(key('t3'))).toEqual(heads.get('tree_t3'))
    })
  })
}

export function concurrency(store: () => Store, another: () => Promise<Store>): void {
  describe('CONCURRENCY', () => {
    test('64 trees make progress side by side', async () => {
      const grow = async (name: string): Promise<void> => {
        await store().append(opening(name))
        for (const seq of upTo(20)) expect(await store().append(next(name, seq))).toEqual(OK)
      }
      await Promise.all(upTo(64).map((i) => grow(`t${i}`)))
      for (const i of upTo(64)) expect(await seqs(store(), `t${i}`)).toEqual(upTo(21))
      const { commits, writes, pending } = store().counters()
      expect(writes).toBe(64 * 21)
      expect(commits).toBeLessThan(writes / 4)
      expect(pending).toBe(0)
    })

    test('budgets are exact: k of N racing spenders on two stores', async () => {
      const other = await another()
      await store().append(opening('a'))
      const spend = async (mine: Store): Promise<boolean> => {
        for (;;) {
          const seq = (await mine.head(key('a')))?.seq ?? 0
          if (seq - 1 >= 10) return false
          if ((await mine.append(next('a', seq))).ok) return true
        }
      }
      const spent = await Promise.all(upTo(40).map((i) => spend(i % 2 ? store() : other)))
      expect(spent.filter(Boolean)).toHaveLength(10)
      expect(await seqs(store(), 'a')).toEqual(upTo(11))
    })

    test('any mix of good and bad batches leaves what a plain list would hold', async () => {
      let round = 0
      const step = fc.record({
        tree: fc.nat(2),
        lag: fc.integer({ min: -1, max: 1 }),
        rows: fc.nat(2),
      })
      const check = async (steps: readonly { tree: number; lag: number; rows: number }[]) => {
        round++
        const length = [0, 0, 0]
        const sent = steps.map(({ tree, lag, rows: more }) => {
          const expectedSeq = Math.max(0, (length[tree] ?? 0) + lag)
          const fits = expectedSeq === length[tree]
          if (fits) length[tree] = expectedSeq + more + 1
          const name = `r${round}t${tree}`
          const count = more + 1
          const batch =
            expectedSeq === 0 ? opening(name, { count }) : next(name, expectedSeq, { count })
          return { fits, answer: store().append(batch) }
        })
        for (const { fits, answer } of sent) expect((await answer).ok).toBe(fits)
        for (const [tree, count] of length.entries()) {
          expect(await seqs(store(), `r${round}t${tree}`)).toEqual(upTo(count))
        }
      }
      await fc.assert(fc.asyncProperty(fc.array(step, { maxLength: 25 }), check), { numRuns: 60 })
    })
  })
}

export function closing(store: () => Store, another: () => Promise<Store>): void {
  describe('CONCURRENCY, when closing', () => {
    test('close answers what was called before it, and nothing after it', async () => {
      await store().append(opening('b', { count: 2_000 }))
      const answers = upTo(50).map((i) => store().append(opening(`t${i}`)))
      const reading = store().load(key('b'), 0)
      const closing = [store().close(), store().close()]
      const after = store().append(opening('late'))
      await expect(after).rejects.toMatchObject({ code: 'closed' })
      expect(await Promise.all(answers)).toEqual(upTo(50).map(() => OK))
      expect(await reading).toHaveLength(2_000)
      await Promise.all(closing)
      await expect(store().head(key('t1'))).rejects.toMatchObject({ code: 'closed' })
      await expect(store().beat('x', 1)).rejects.toMatchObject({ code: 'closed' })
      const later = await another()
      expect(await later.head(key('late'))).toBeNull()
      expect(await seqs(later, 't50')).toEqual([1])
    })
  })
}
