import { describe, expect, test } from 'vitest'
import type { CallId } from '../../src/core/id.ts'
import { diskFailed, diskFull, WRITES, type WriteName, withFaults } from '../../src/store/faults.ts'
import { type Batch, LIMITS, type Store, StoreError } from '../../src/store/store.ts'
import { key, next, OK, ORG, opened, opening, row, rows, seqs, upTo } from './fixtures.ts'

const call = (name: string): CallId => `call_${name}`

/** Clauses about failing writes and about limits. */
interface Write {
  run(faulty: Store): Promise<unknown>
  seen(): Promise<boolean>
}

/** One call of each writing method, and whether its effect can be seen. */
function writesOf(store: () => Store): Record<WriteName, Write> {
  return {
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
    ...artifactWritesOf(store),
    beat: {
      run: (s) => s.beat('executor', 7),
      seen: async () => (await store().lastBeat('executor')) === 7,
    },
    sweep: {
      run: (s) => s.sweep(10),
      seen: async () => (await store().getResult({ ...key('a'), call: call('1') })) === null,
    },
  }
}

const ARTIFACT = { org: ORG, kind: 'RefreshToken', id: 'old' }

function artifactWritesOf(store: () => Store) {
  const artifact = { ...ARTIFACT, grant: 'g', handle: null, expiresAt: 50, body: '{}' }
  const old = () => store().getArtifact(ARTIFACT)
  return {
    putArtifact: {
      run: (s: Store) => s.putArtifact({ ...artifact, id: 'new' }),
      seen: async () => (await store().getArtifact({ ...ARTIFACT, id: 'new' })) !== null,
    },
    consumeArtifact: {
      run: (s: Store) => s.consumeArtifact(ARTIFACT, 7),
      seen: async () => (await old())?.consumedAt === 7,
    },
    dropArtifact: {
      run: (s: Store) => s.dropArtifact(ARTIFACT),
      seen: async () => (await old()) === null,
    },
    dropArtifactsOf: {
      run: (s: Store) => s.dropArtifactsOf(ORG, 'g'),
      seen: async () => (await old()) === null,
    },
  }
}

export function failure(store: () => Store): void {
  const writes = writesOf(store)
  const prepare = async (): Promise<void> => {
    await store().append(opening('a'))
    const old = { bytes: Buffer.from('old'), expiresAt: 5 }
    await store().putResult({ ...key('a'), call: call('1') }, old)
    const artifact = { ...ARTIFACT, grant: 'g', handle: null, expiresAt: 50, body: '{}' }
    await store().putArtifact(artifact)
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

export function limits(store: () => Store): void {
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
