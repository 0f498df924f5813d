import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Pool } from 'undici'
import { afterEach, describe, expect, test } from 'vitest'
import type { EntryOf } from '../../src/core/entry.ts'
import type { Daypass } from '../../src/server.ts'
import { diskFailed, diskFull, withFaults } from '../../src/store/faults.ts'
import { openSqlite } from '../../src/store/sqlite.ts'
import type { Store } from '../../src/store/store.ts'
import { ledgerOf } from '../runs/support.ts'
import {
  addCall,
  openStageRun,
  type StageRun,
  stageTerms,
  startStage,
  writeProject,
} from './stage.ts'
import { type RecordingUpstream, startUpstream } from './upstream.ts'

/**
 * A disk that is full, or fails, under load: nothing is executed without a durable verdict, nothing
 * is counted that was not allowed, and the gateway says that it cannot, instead of hanging.
 */

const BUDGET = 120
const PARALLEL = 16

interface Stage {
  readonly daypass: Daypass
  readonly store: Store
  readonly upstream: RecordingUpstream
  readonly run: StageRun
}

const cleanUp: (() => unknown)[] = []
afterEach(async () => {
  for (const each of cleanUp.splice(0).reverse()) await each()
})

async function stageOf(aroundStore: (store: Store) => Store): Promise<Stage> {
  const folder = mkdtempSync(join(tmpdir(), 'daypass-disk-'))
  cleanUp.push(() => rmSync(folder, { recursive: true, force: true }))
  const upstream = await startUpstream()
  cleanUp.push(() => upstream.close())
  writeProject(folder, { url: upstream.url })
  let seen: Store | null = null
  const daypass = await startStage(folder, {
    aroundStore: (store) => {
      seen = aroundStore(store)
      return seen
    },
  })
  cleanUp.push(() => daypass.close())
  const run = await openStageRun(daypass, stageTerms({ maxToolCalls: BUDGET }))
  return { daypass, store: seen!, upstream, run }
}

/** Ids that were answered as made, and the answers of the others. */
async function callMany(stage: Stage, ids: readonly string[]) {
  const pool = new Pool(stage.daypass.url, { connections: PARALLEL })
  const made: string[] = []
  const refused = new Map<string, string>()
  const left = [...ids]
  const client = async (): Promise<void> => {
    for (let id = left.shift(); id !== undefined; id = left.shift()) {
      const { body, headers } = addCall(stage.run.badge, { id, text: `note ${id}` })
      const reply = await pool.request({ path: '/mcp', method: 'POST', headers, body })
      const { result } = (await reply.body.json()) as {
        result: { content: { text: string }[]; isError?: boolean }
      }
      if (result.isError === true) refused.set(id, result.content[0]!.text)
      else made.push(id)
    }
  }
  await Promise.all(Array.from({ length: PARALLEL }, client))
  await pool.close()
  return { made, refused }
}

const numbered = (name: string, count: number): string[] =>
  Array.from({ length: count }, (_, index) => `${name}-${index}`)

async function allowedIn(store: Store, run: StageRun): Promise<string[]> {
  const entries = await ledgerOf(store, run)
  return entries
    .filter((entry): entry is EntryOf<'call.allowed'> => entry.type === 'call.allowed')
    .map(({ command }) => command.key.replace('use:callId:', ''))
}

/** What always holds. */
async function expectNothingUnrecorded({ store, upstream, run }: Stage): Promise<string[]> {
  const allowed = await allowedIn(store, run)
  expect(upstream.executed.filter((id) => !allowed.includes(id))).toEqual([])
  expect(new Set(upstream.executed).size).toBe(upstream.executed.length)
  expect(allowed.length).toBeLessThanOrEqual(BUDGET)
  return allowed
}

describe.each([
  ['a full disk', diskFull],
  ['a disk that fails (EIO)', diskFailed],
] as const)('%s', (_, failure) => {
  test('nothing is stored: nothing is executed, and it goes on when the disk does', async () => {
    let isFailing = false
    const before = (): void => {
      if (isFailing) throw failure()
    }
    const stage = await stageOf((store) => withFaults(store, { before }))
    isFailing = true
    const during = await callMany(stage, numbered('during', 40))
    expect(during.made).toEqual([])
    expect(during.refused.size).toBe(40)
    expect(stage.upstream.executed).toEqual([])
    isFailing = false
    const after = await callMany(stage, numbered('after', 40))
    expect(after.made).toHaveLength(40)
    // What was never stored has cost nothing.
    expect(await expectNothingUnrecorded(stage)).toHaveLength(40)
  })

  test('stored, and reported as failed: not executed, and told as never sent', async () => {
    let isFailing = false
    const after = (): void => {
      if (isFailing) throw failure()
    }
    const stage = await stageOf((store) => withFaults(store, { after }))
    await callMany(stage, ['first'])
    isFailing = true
    const during = await callMany(stage, numbered('during', 20))
    expect(during.made).toEqual([])
    expect(stage.upstream.executed).toEqual(['first'])
    isFailing = false
    await stage.daypass.runs.tidy()
    const allowed = (await expectNothingUnrecorded(stage)).filter((id) => id !== 'first')
    expect(allowed.length).toBeGreaterThan(0)
    const settled = (await ledgerOf(stage.store, stage.run)).filter(
      (entry) => entry.type === 'call.settled',
    )
    expect(settled).toHaveLength(1 + allowed.length)
    for (const { command } of settled.slice(1)) {
      expect(command).toMatchObject({ outcome: 'failed', note: 'never sent' })
    }
    // The same keys again: they were decided, so they are not made a second time.
    const again = await callMany(stage, allowed)
    expect(again.made).toEqual([])
    expect(stage.upstream.executed).toEqual(['first'])
  })

  test('at random under load: whoever was executed is in the ledger', async () => {
    let isFailing = false
    let draws = 1
    // The same course each time: a linear congruential generator.
    const fails = (): boolean => {
      draws = (draws * 1_103_515_245 + 12_345) % 2_147_483_648
      return isFailing && draws % 3 === 0
    }
    const mayFail = (): void => {
      if (fails()) throw failure()
    }
    const stage = await stageOf((store) => withFaults(store, { before: mayFail, after: mayFail }))
    isFailing = true
    const during = await callMany(stage, numbered('during', 200))
    isFailing = false
    await stage.daypass.runs.tidy()
    const allowed = await expectNothingUnrecorded(stage)
    expect(during.made.length).toBeGreaterThan(0)
    expect(during.refused.size).toBeGreaterThan(0)
    for (const id of during.made) expect(stage.upstream.executed).toContain(id)
    expect(allowed.length).toBeGreaterThanOrEqual(stage.upstream.executed.length)
  })
})

test('SQLite itself says that the disk is full: what was executed is in the file', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'daypass-full-'))
  cleanUp.push(() => rmSync(folder, { recursive: true, force: true }))
  const file = join(folder, 'small.db')
  const small = await openSqlite({ file, databaseBytesMax: 256 * 1024 })
  const stage = await stageOf((store) => {
    void store.close()
    return small
  })
  const { made, refused } = await callMany(stage, numbered('call', BUDGET))
  expect(made.length).toBeGreaterThan(0)
  expect(refused.size).toBeGreaterThan(0)
  await expectNothingUnrecorded(stage)
  for (const each of cleanUp.splice(2).reverse()) await each()
  const again = await openSqlite({ file })
  cleanUp.push(() => again.close())
  const allowed = await allowedIn(again, stage.run)
  expect(stage.upstream.executed.filter((id) => !allowed.includes(id))).toEqual([])
})
