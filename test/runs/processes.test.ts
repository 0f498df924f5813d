import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { afterAll, describe, expect, test } from 'vitest'
import type { Entry } from '../../src/core/entry.ts'
import { withFaults } from '../../src/store/faults.ts'
import { MemoryDisk, openMemory } from '../../src/store/memory.ts'
import { openSqlite } from '../../src/store/sqlite.ts'
import {
  approval,
  authorize,
  countOf,
  kindOf,
  ledgerOf,
  must,
  openRun,
  request,
  revoke,
  runsOf,
  settle,
} from './support.ts'

const folder = mkdtempSync(join(tmpdir(), 'daypass-runs-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** Two writers of one database, as two processes are: they share nothing but the file. */
async function twoOnOneFile(name: string) {
  const file = join(folder, name)
  const stores = [await openSqlite({ file }), await openSqlite({ file })] as const
  const [here, there] = stores.map((store) => runsOf(store))
  return { here: here!, there: there!, store: stores[0], close: () => stores.map((s) => s.close()) }
}

describe('two processes on one SQLite file', () => {
  test('threat 53: of racing calls on a budget of k, exactly k are allowed', async () => {
    const { here, there, store, close } = await twoOnOneFile('budget.db')
    const opened = await openRun(here, { maxToolCalls: 17 })
    const calls = Array.from({ length: 100 }, (_, index) => {
      const runs = index % 2 === 0 ? here : there
      // Spread over time, so that the two are at different places when they meet.
      const pause = new Promise((resolve) => setTimeout(resolve, Math.random() * 20))
      return pause.then(() => runs.execute(opened, authorize(runs, opened)))
    })
    const kinds = (await Promise.all(calls)).map(kindOf)
    expect(kinds.filter((kind) => kind === 'allow')).toHaveLength(17)
    expect(kinds.filter((kind) => kind === 'calls_exhausted')).toHaveLength(83)
    expect(countOf(await ledgerOf(store, opened), 'call.allowed')).toBe(17)
    await Promise.all(close())
  })

  test('threat 56: a revocation in one is in force for the next call in the other', async () => {
    const { here, there, close } = await twoOnOneFile('revoke.db')
    for (let round = 0; round < 20; round++) {
      const opened = await openRun(here, { maxToolCalls: 1000 })
      expect(kindOf(await there.execute(opened, authorize(there, opened)))).toBe('allow')
      must(await here.execute(opened, revoke(opened.run)))
      const after = await there.execute(opened, authorize(there, opened))
      expect(kindOf(after)).toBe('lease_ended')
    }
    await Promise.all(close())
  })
})

test('a stored outcome is not handed out after a revocation elsewhere', async () => {
  const disk = new MemoryDisk()
  const here = runsOf(openMemory({ disk }))
  const there = runsOf(openMemory({ disk }))
  const opened = await openRun(here)
  const call = authorize(there, opened, { key: 'use:1' })
  must(await there.execute(opened, call))
  must(await there.execute(opened, settle(call.call)))
  const again = authorize(there, opened, { key: 'use:1' })
  expect(kindOf(await there.execute(opened, again))).toBe('replay')
  must(await here.execute(opened, revoke(opened.run)))
  expect(kindOf(await there.execute(opened, again))).toBe('lease_ended')
})

test('threat 56: in 1,000 interleavings no call is allowed after the acknowledgement', async () => {
  await fc.assert(
    fc.asyncProperty(fc.scheduler(), fc.integer({ min: 0, max: 5 }), async (s, before) => {
      const disk = new MemoryDisk()
      // Every append of either process waits for its turn, before or after it is stored.
      let isScheduled = false
      const delayed = (name: string) =>
        withFaults(openMemory({ disk }), {
          before: (write) =>
            isScheduled && write === 'append'
              ? s.schedule(Promise.resolve(), `${name} stores`)
              : undefined,
          after: (write) =>
            isScheduled && write === 'append'
              ? s.schedule(Promise.resolve(), `${name} hears`)
              : undefined,
        })
      const here = runsOf(delayed('here'))
      const there = runsOf(delayed('there'))
      const opened = await openRun(here, { maxToolCalls: 4 })
      isScheduled = true
      let isRevoked = false
      const afterRevocation: string[] = []
      const call = async (runs: typeof here) => {
        const wasRevoked = isRevoked
        const kind = kindOf(await runs.execute(opened, authorize(runs, opened)))
        if (wasRevoked) afterRevocation.push(kind)
        return kind
      }
      const calls: Promise<string>[] = []
      for (let i = 0; i < before; i++) calls.push(call(i % 2 === 0 ? here : there))
      const revoked = here.execute(opened, revoke(opened.run)).then((reply) => {
        must(reply)
        isRevoked = true
        // From here on nobody is let through, wherever they ask.
        calls.push(call(there), call(here))
      })
      for (let i = 0; i < 3; i++) calls.push(call(i % 2 === 0 ? there : here))
      await s.waitFor(revoked)
      const kinds = await s.waitFor(Promise.all(calls))
      expect(afterRevocation).toEqual(['lease_ended', 'lease_ended'])
      const entries = await ledgerOf(openMemory({ disk }), opened)
      const end = entries.findIndex(({ type }) => type === 'lease.ended')
      expect(countOf(entries.slice(end), 'call.allowed')).toBe(0)
      const allowed = countOf(entries, 'call.allowed')
      expect(kinds.filter((kind) => kind === 'allow')).toHaveLength(allowed)
      expect(allowed).toBeLessThanOrEqual(4)
    }),
    { numRuns: 1_000 },
  )
})

describe('what another process appends', () => {
  test('reaches the listeners here: once, in order, and not what was there before', async () => {
    const disk = new MemoryDisk()
    const here = runsOf(openMemory({ disk }))
    const there = runsOf(openMemory({ disk }))
    // A sign of life, or its calls would count as those of a dead process.
    await there.tidy()
    const opened = await request(there)
    must(await there.execute(opened, approval(opened)))
    const heard: Entry[] = []
    await here.tree(opened).read()
    here.listen((_, entries) => heard.push(...entries))
    const [first, second] = [authorize(there, opened), authorize(here, opened)]
    must(await there.execute(opened, first))
    must(await here.execute(opened, second))
    must(await there.execute(opened, revoke(opened.run)))
    await here.tidy()
    await here.tidy()
    expect(heard.map(({ type }) => type)).toEqual(['call.allowed', 'call.allowed', 'lease.ended'])
    expect(heard.map(({ seq }) => seq)).toEqual([4, 5, 6])
  })

  test('reaches them past a snapshot too', async () => {
    const disk = new MemoryDisk()
    const store = openMemory({ disk })
    const here = runsOf(openMemory({ disk }))
    const there = runsOf(store)
    await there.tidy()
    const opened = await openRun(there, { maxToolCalls: 10_000 })
    await here.tree(opened).read()
    const heard: Entry[] = []
    here.listen((_, entries) => heard.push(...entries))
    for (let i = 0; i < 12; i++) {
      const calls = Array.from({ length: 100 }, () => authorize(there, opened))
      await Promise.all(calls.map((call) => there.execute(opened, call)))
    }
    await new Promise((resolve) => setTimeout(resolve, 20))
    expect(await store.loadSnapshot(opened, 1)).not.toBeNull()
    await here.tidy()
    expect(heard).toHaveLength(1_200)
  })
})

test('two organisations with trees of one name do not meet', async () => {
  const runs = runsOf(openMemory())
  const opened = await openRun(runs)
  const stranger = { ...opened, org: 'other' }
  expect(await runs.tree(stranger).read()).toBeNull()
  expect(kindOf(await runs.execute(stranger, authorize(runs, opened)))).toBe('not_open')
})

test('looking and writing at once never shows a tree that is not', async () => {
  const disk = new MemoryDisk()
  const slow = withFaults(openMemory({ disk }), {
    after: () => new Promise((resolve) => setImmediate(resolve)),
  })
  const here = runsOf(slow)
  const there = runsOf(openMemory({ disk }))
  const opened = await openRun(here, { maxToolCalls: 10_000 })
  const work: Promise<unknown>[] = []
  for (let i = 0; i < 300; i++) {
    const runs = i % 5 === 0 ? there : here
    work.push(runs.execute(opened, authorize(runs, opened)).then((reply) => must(reply)))
    if (i % 3 === 0) work.push(here.tidy())
    if (i % 4 === 0) work.push(here.tree(opened).read({ fresh: true }))
    if (i % 7 === 0) await new Promise((resolve) => setImmediate(resolve))
  }
  await Promise.all(work)
  const entries = await ledgerOf(openMemory({ disk }), opened)
  expect(countOf(entries, 'call.allowed')).toBe(300)
  expect((await here.tree(opened).read({ fresh: true }))!.seq).toBe(entries.length)
})
