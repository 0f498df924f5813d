import { beforeEach, describe, expect, test } from 'vitest'
import type { CallId, RunId } from '../../src/core/id.ts'
import { INSTALLATION, LIMITS, type Store } from '../../src/store/store.ts'
import { CONFLICT, key, next, OK, ORG, opened, opening, rows, sha256, upTo } from './fixtures.ts'

const call = (name: string): CallId => `call_${name}`

/** Clauses about what belongs to a tree beside its rows. */
export function index(store: () => Store): void {
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

export function snapshots(store: () => Store): void {
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

export function results(store: () => Store): void {
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

export function receiptsAndSettings(store: () => Store, another: () => Promise<Store>): void {
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
