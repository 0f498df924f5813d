import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { CallId, RunId, TreeId } from '../../src/core/id.ts'
import { diskFailed, diskFull, WRITES, type WriteName, withFaults } from '../../src/store/faults.ts'
import { type Batch, INSTALLATION, LIMITS, type Store, StoreError } from '../../src/store/store.ts'
import { key, next, ORG, opened, opening, row, rows, seqs, sha256, upTo } from './fixtures.ts'

/** One place where data lives; `open` may be called again and again, also while another is open. */
export interface Place {
  open(): Promise<Store>
  dispose(): Promise<void>
}

const CONFLICT = { ok: false, error: 'conflict' }
const OK = { ok: true, value: undefined }
const call = (name: string): CallId => `call_${name}`

/** What every store keeps. The words in capitals are the clauses of `src/store/store.ts`. */
export function contract(name: string, makePlace: () => Promise<Place>): void {
  describe(`the contract of the store, ${name}`, () => {
    let place: Place
    let store: Store
    const others: Store[] = []
    const another = async (): Promise<Store> => {
      const other = await place.open()
      others.push(other)
      return other
    }

    beforeEach(async () => {
      place = await makePlace()
      store = await place.open()
    })
    afterEach(async () => {
      for (const other of others.splice(0)) await other.close()
      await store.close()
      await place.dispose()
    })

    atomicity(() => store)
    conflict(() => store, another)
    order(() => store)
    durability(() => store, another)
    failure(() => store)
    concurrency(() => store, another)
    limits(() => store)
    index(() => store)
    snapshots(() => store)
    results(() => store)
    receiptsAndSettings(() => store, another)
  })
}

function atomicity(store: () => Store): void {
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

function conflict(store: () => Store, another: () => Promise<Store>): void {
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

function order(store: () => Store): void {
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

function durability(store: () => Store, another: () => Promise<Store>): void {
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

function failure(store: () => Store): void {
  /** One call of each writing method, and whether its effect can be seen. */
  const writes: Record<WriteName, { run(s: Store): Promise<unknown>; seen(): Promise<boolean> }> = {
    append: {
      run: (s) => s.append(next('a', 1)),
      seen: async () => (await store().head(key('a')))?.seq === 2,
    },
    saveSnapshot: {
      run: (s) => s.saveSnapshot(key('a'), { seq: 1, hash: row(1).hash, rules: 1, body: '{}' }),
      seen: async () => (await store().loadSnapshot(key('a'), 1)) !== null,
    },
    putResult: {
      run: (s) =>
        s.putResult({ ...key('a'), call: call('2') }, { bytes: Buffer.from('x'), expiresAt: 5 }),
      seen: async () => (await store().getResult({ ...key('a'), call: call('2') })) !== null,
    },
    dropResults: {
      run: (s) => s.dropResults(key('a')),
      seen: async () => (await store().getResult({ ...key('a'), call: call('1') })) === null,
    },
    putReceipt: {
      run: (s) => s.putReceipt(key('a'), { number: 0, at: 1, body: '{}' }),
      seen: async () => (await store().getReceipt(key('a'), 0)) !== null,
    },
    setSetting: {
      run: (s) => s.setSetting({ org: ORG, key: 'k', expected: null, value: 'v' }),
      seen: async () => (await store().getSetting(ORG, 'k')) === 'v',
    },
    beat: {
      run: (s) => s.beat('executor', 7),
      seen: async () => (await store().lastBeat('executor')) === 7,
    },
    sweep: {
      run: (s) => s.sweep(10),
      seen: async () => (await store().getResult({ ...key('a'), call: call('1') })) === null,
    },
  }
  const prepare = async (): Promise<void> => {
    await store().append(opening('a'))
    const old = { bytes: Buffer.from('old'), expiresAt: 5 }
    await store().putResult({ ...key('a'), call: call('1') }, old)
  }

  describe('FAILURE', () => {
    test.each(WRITES)('%s: not persisted', async (name) => {
      await prepare()
      const faulty = withFaults(store(), {
        before() {
          throw diskFull()
        },
      })
      await expect(writes[name].run(faulty)).rejects.toMatchObject({ code: 'full' })
      expect(await writes[name].seen()).toBe(false)
    })

    test.each(WRITES)('%s: persisted but errored', async (name) => {
      await prepare()
      const faulty = withFaults(store(), {
        after() {
          throw diskFailed()
        },
      })
      await expect(writes[name].run(faulty)).rejects.toMatchObject({ code: 'io' })
      expect(await writes[name].seen()).toBe(true)
    })

    test('a caller that loads again after a failure is right in both cases', async () => {
      await store().append(opening('a'))
      let turn = 0
      const fail = (): void => {
        throw diskFailed()
      }
      const faulty = withFaults(store(), {
        before: () => (turn++ % 3 === 1 ? fail() : undefined),
        after: () => (turn % 3 === 0 ? fail() : undefined),
      })
      let failures = 0
      for (let known = 1; known < 30; known = (await faulty.head(key('a')))?.seq ?? 0) {
        try {
          expect(await faulty.append(next('a', known))).toEqual(OK)
        } catch (error) {
          expect(error).toBeInstanceOf(StoreError)
          failures++
        }
      }
      expect(failures).toBeGreaterThan(10)
      expect(await seqs(store(), 'a')).toEqual(upTo(30))
    })
  })
}

function concurrency(store: () => Store, another: () => Promise<Store>): void {
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

    test('any interleaving of good and bad batches leaves what a plain list would hold', async () => {
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

function limits(store: () => Store): void {
  const bad: Record<string, Partial<Batch>> = {
    'no rows': { rows: [] },
    'a gap': { rows: [row(1), row(3)] },
    'a row out of place': { rows: [row(2)] },
    'a negative sequence number': { expectedSeq: -1 },
    'a fraction': { rows: [{ ...row(1), at: 1.5 }] },
    'an unsafe integer': { rows: [{ ...row(1), at: 2 ** 53 }] },
    'a hash in upper case': { rows: [{ ...row(1), hash: 'A'.repeat(64) }] },
    'a short hash': { rows: [{ ...row(1), hash: 'abc' }] },
    'a lone surrogate': { rows: [{ ...row(1), body: '"\ud800"' }] },
    'a long body': { rows: [{ ...row(1), body: '€'.repeat(LIMITS.bodyBytes / 3 + 1) }] },
    'too many rows': { rows: rows(1, LIMITS.rowsPerBatch + 1) },
    'no index row at the start': { opened: undefined } as unknown as Partial<Batch>,
    'an organisation that is not text': { org: 7 as unknown as string },
  }
  describe('LIMITS', () => {
    test.each(Object.keys(bad))('%s is refused and not stored', async (what) => {
      const batch = { ...opening('a'), ...bad[what] } as Batch
      await expect(store().append(batch)).rejects.toThrow(TypeError)
      expect(await store().head(key('a'))).toBeNull()
    })

    test('an index row in the middle is refused', async () => {
      await store().append(opening('a'))
      const batch = next('a', 1, { opened: opened('a') })
      await expect(store().append(batch)).rejects.toThrow(TypeError)
    })

    test('the largest body and the largest batch fit', async () => {
      const body = JSON.stringify('x'.repeat(LIMITS.bodyBytes - 2))
      await store().append(opening('a', { rows: [{ ...row(1), body }] }))
      expect((await store().load(key('a'), 0))[0]?.body).toBe(body)
      expect(await store().append(opening('b', { count: LIMITS.rowsPerBatch }))).toEqual(OK)
      expect((await store().head(key('b')))?.seq).toBe(LIMITS.rowsPerBatch)
    })

    test('writes that wait are limited', async () => {
      const answers = upTo(LIMITS.pendingWrites).map((i) => store().beat('e', i))
      await expect(store().beat('e', 1)).rejects.toMatchObject({ code: 'overloaded' })
      await Promise.all(answers)
      expect(await store().lastBeat('e')).toBe(LIMITS.pendingWrites)
    })

    test.each([0, -1, 1.5, LIMITS.pageItems + 1])('a page of %d is refused', async (limit) => {
      await expect(store().listTrees({ org: ORG, limit })).rejects.toThrow(TypeError)
      await expect(store().listReceipts({ org: ORG, limit })).rejects.toThrow(TypeError)
    })
  })
}

function index(store: () => Store): void {
  describe('the index of trees', () => {
    test('lists newest first, page by page, open and closed apart', async () => {
      for (const i of upTo(7)) {
        await store().append(opening(`t${i}`, { opened: opened(`t${i}`, 100 + (i % 4)) }))
      }
      for (const i of [2, 5]) await store().append(next(`t${i}`, 1, { closedAt: 200 + i }))
      await store().append(opening('x', { ...key('x', 'other') }))
      const walk = async (open?: boolean): Promise<string[]> => {
        const found: string[] = []
        let after: Parameters<Store['listTrees']>[0]['after']
        do {
          const query = { org: ORG, limit: 2, ...(open !== undefined && { open }) }
          const page = await store().listTrees({ ...query, ...(after && { after }) })
          expect(page.items.length).toBeLessThanOrEqual(2)
          found.push(...page.items.map(({ tree }) => tree.slice(5)))
          after = page.next ?? undefined
        } while (after)
        return found
      }
      expect(await walk()).toEqual(['t7', 't3', 't6', 't2', 't5', 't1', 't4'])
      expect(await walk(true)).toEqual(['t7', 't3', 't6', 't1', 't4'])
      expect(await walk(false)).toEqual(['t2', 't5'])
      const [closed] = (await store().listTrees({ org: ORG, open: false, limit: 1 })).items
      expect(closed).toEqual({ ...key('t2'), ...opened('t2', 102), closedAt: 202, epoch: 0 })
    })

    test('maps the root and every other run to the tree, per organisation', async () => {
      await store().append(opening('a', { runs: ['run_a', 'run_early'] }))
      await store().append(next('a', 1, { runs: ['run_child', 'run_early'] }))
      for (const run of ['run_a', 'run_early', 'run_child'] as RunId[]) {
        expect(await store().treeOfRun(ORG, run)).toBe('tree_a')
        expect(await store().treeOfRun('other', run)).toBeNull()
      }
      expect(await store().treeOfRun(ORG, 'run_none')).toBeNull()
    })

    test('a root that another tree has is refused, whole', async () => {
      await store().append(opening('a'))
      const thief = store().append(opening('b', { opened: opened('a') }))
      await expect(thief).rejects.toMatchObject({ code: 'constraint' })
      expect(await store().head(key('b'))).toBeNull()
      expect((await store().listTrees({ org: ORG, limit: 9 })).items).toHaveLength(1)
    })
  })
}

function snapshots(store: () => Store): void {
  describe('snapshots', () => {
    const snapshot = (seq: number, hash = rows(1, 3)[seq - 1]?.hash ?? sha256('?')) => ({
      seq,
      hash,
      rules: 1,
      body: `{"seq":${seq}}`,
    })

    test('the last one saved comes back', async () => {
      await store().append(opening('a', { count: 3 }))
      expect(await store().loadSnapshot(key('a'), 1)).toBeNull()
      await store().saveSnapshot(key('a'), snapshot(2))
      await store().saveSnapshot(key('a'), snapshot(3))
      expect(await store().loadSnapshot(key('a'), 1)).toEqual(snapshot(3))
    })

    test.each([
      ['of other rules', snapshot(2), 2],
      ['with another hash', snapshot(2, sha256('forged')), 1],
      ['of another row', snapshot(2, rows(1, 3)[2]?.hash), 1],
      ['from beyond the end', { ...snapshot(3), seq: 4 }, 1],
      ['of nothing', { ...snapshot(1), seq: 0 }, 1],
    ])('one %s is discarded', async (_, saved, rules) => {
      await store().append(opening('a', { count: 3 }))
      await store().saveSnapshot(key('a'), saved)
      expect(await store().loadSnapshot(key('a'), rules)).toBeNull()
      await store().saveSnapshot(key('a'), snapshot(1))
      expect(await store().loadSnapshot(key('a'), 1)).toEqual(snapshot(1))
    })
  })
}

function results(store: () => Store): void {
  describe('results for retries', () => {
    const at = (name: string, tree = 'a') => ({ ...key(tree), call: call(name) })
    const result = (size: number, expiresAt = 50) => ({ bytes: Buffer.alloc(size, 7), expiresAt })

    beforeEach(async () => {
      await store().append(opening('a'))
      await store().append(opening('b'))
    })

    test('come back as they were, the last one a call', async () => {
      const pool = Buffer.from('a slice of a larger buffer').subarray(2, 7)
      await store().putResult(at('1'), { bytes: pool, expiresAt: 9 })
      const found = await store().getResult(at('1'))
      expect(found).toEqual({ bytes: new Uint8Array(pool), expiresAt: 9 })
      await store().putResult(at('1'), result(0, 10))
      expect(await store().getResult(at('1'))).toEqual({ bytes: new Uint8Array(0), expiresAt: 10 })
      expect(await store().getResult(at('1', 'b'))).toBeNull()
    })

    test('are limited each and a tree; replacing and dropping makes room', async () => {
      const full = { ok: false, error: 'full' }
      const count = LIMITS.resultBytesPerTree / LIMITS.resultBytes
      expect(await store().putResult(at('0'), result(LIMITS.resultBytes + 1))).toEqual(full)
      for (const i of upTo(count)) {
        expect(await store().putResult(at(`${i}`), result(LIMITS.resultBytes))).toEqual(OK)
      }
      expect(await store().putResult(at('more'), result(1))).toEqual(full)
      expect(await store().getResult(at('more'))).toBeNull()
      expect(await store().putResult(at('more', 'b'), result(1))).toEqual(OK)
      expect(await store().putResult(at('1'), result(LIMITS.resultBytes - 1))).toEqual(OK)
      expect(await store().putResult(at('more'), result(1))).toEqual(OK)
      await store().dropResults(key('a'))
      expect(await store().getResult(at('1'))).toBeNull()
      expect(await store().getResult(at('more', 'b'))).not.toBeNull()
      expect(await store().putResult(at('1'), result(LIMITS.resultBytes))).toEqual(OK)
    })

    test('are swept when they have expired, which makes room too', async () => {
      await store().putResult(at('1'), result(LIMITS.resultBytes, 50))
      await store().putResult(at('2'), result(3, 51))
      await store().sweep(49)
      expect(await store().getResult(at('1'))).not.toBeNull()
      await store().sweep(50)
      expect(await store().getResult(at('1'))).toBeNull()
      expect(await store().getResult(at('2'))).not.toBeNull()
      const count = LIMITS.resultBytesPerTree / LIMITS.resultBytes - 1
      for (const i of upTo(count)) {
        expect(await store().putResult(at(`n${i}`), result(LIMITS.resultBytes))).toEqual(OK)
      }
    })

    test('of a tree that does not exist are refused', async () => {
      const lost = store().putResult(at('1', 'none'), result(1))
      await expect(lost).rejects.toMatchObject({ code: 'constraint' })
    })
  })
}

function receiptsAndSettings(store: () => Store, another: () => Promise<Store>): void {
  describe('receipts, settings, heartbeats', () => {
    test('a receipt is written once', async () => {
      await store().append(opening('a'))
      const first = { number: 0, at: 5, body: '{"first":true}' }
      expect(await store().putReceipt(key('a'), first)).toEqual(OK)
      const second = await store().putReceipt(key('a'), { ...first, body: '{}' })
      expect(second).toEqual({ ok: false, error: 'exists' })
      expect(await store().getReceipt(key('a'), 0)).toEqual(first)
      expect(await store().getReceipt(key('a'), 1)).toBeNull()
      expect(await store().getReceipt(key('a', 'other'), 0)).toBeNull()
    })

    test('receipts are listed newest first, page by page', async () => {
      for (const name of ['a', 'b', 'c']) await store().append(opening(name))
      await store().putReceipt(key('a'), { number: 0, at: 5, body: '1' })
      await store().putReceipt(key('b'), { number: 0, at: 5, body: '2' })
      await store().putReceipt(key('a'), { number: 1, at: 5, body: '3' })
      await store().putReceipt(key('c'), { number: 0, at: 4, body: '4' })
      const first = await store().listReceipts({ org: ORG, limit: 2 })
      const after = first.next
      if (after === null) throw new Error('there is a second page')
      const second = await store().listReceipts({ org: ORG, limit: 2, after })
      expect([...first.items, ...second.items]).toEqual([
        { ...key('b'), number: 0, at: 5 },
        { ...key('a'), number: 1, at: 5 },
        { ...key('a'), number: 0, at: 5 },
        { ...key('c'), number: 0, at: 4 },
      ])
      expect(second.next).toBeNull()
      expect((await store().listReceipts({ org: 'other', limit: 2 })).items).toEqual([])
    })

    test('a setting is compared and set; of two that start at once one wins', async () => {
      const other = await another()
      const change = { org: INSTALLATION, key: 'signing-key', expected: null }
      const answers = await Promise.all([
        store().setSetting({ ...change, value: 'mine' }),
        other.setSetting({ ...change, value: 'theirs' }),
      ])
      expect(answers.filter(({ ok }) => ok)).toHaveLength(1)
      const value = answers[0]?.ok ? 'mine' : 'theirs'
      expect(await other.getSetting(INSTALLATION, 'signing-key')).toBe(value)
      expect(await store().getSetting(ORG, 'signing-key')).toBeNull()
      const stale = { ...change, expected: 'stale', value: 'x' }
      expect(await store().setSetting(stale)).toEqual(CONFLICT)
      expect(await store().setSetting({ ...change, expected: value, value: null })).toEqual(OK)
      expect(await store().getSetting(INSTALLATION, 'signing-key')).toBeNull()
      expect(await store().setSetting({ ...change, value: 'again' })).toEqual(OK)
    })

    test('a heartbeat never goes back, and is forgotten when it is old', async () => {
      expect(await store().lastBeat('e1')).toBeNull()
      await Promise.all([store().beat('e1', 10), store().beat('e1', 30), store().beat('e1', 20)])
      expect(await store().lastBeat('e1')).toBe(30)
      await store().beat('e2', 40)
      await store().sweep(35 + LIMITS.beatKeptMs)
      expect(await store().lastBeat('e1')).toBeNull()
      expect(await store().lastBeat('e2')).toBe(40)
    })

    test('the epoch starts at 0', async () => {
      expect(await store().epoch()).toBe(0)
    })
  })
}
