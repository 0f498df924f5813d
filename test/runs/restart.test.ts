import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterAll, describe, expect, test } from 'vitest'
import type { CallId } from '../../src/core/id.ts'
import { issueReceipt } from '../../src/ledger/receipt.ts'
import { generateSigningKey } from '../../src/ledger/sign.ts'
import { EXECUTOR_LAPSE_MS } from '../../src/runs/tidy.ts'
import { openSqlite } from '../../src/store/sqlite.ts'
import {
  authorize,
  type Clock,
  kindOf,
  ledgerOf,
  must,
  type Opened,
  openRun,
  request,
  revoke,
  runsOf,
  settle,
} from './support.ts'

const folder = mkdtempSync(join(tmpdir(), 'daypass-restart-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

interface Said {
  readonly opened: Opened
  readonly calls: readonly CallId[]
  /** Actions. */
  readonly denied: readonly string[]
}

/** What the dying process has been answered when it is killed. */
async function killed(file: string): Promise<Said> {
  const script = join(import.meta.dirname, 'dying.ts')
  const child = spawn(process.execPath, [script, file], { stdio: ['ignore', 'pipe', 'inherit'] })
  const [line] = (await once(createInterface({ input: child.stdout }), 'line')) as [string]
  const exited = once(child, 'exit')
  child.kill('SIGKILL')
  await exited
  return JSON.parse(line) as Said
}

test('threat 54: killed with calls in flight, they are unknown afterwards and stay spent', async () => {
  const file = join(folder, 'killed.db')
  const { opened, calls } = await killed(file)
  const clock: Clock = { now: Date.now() }
  const store = await openSqlite({ file })
  const runs = runsOf(store, { clock })
  await runs.start()
  const tree = (await runs.tree(opened).read())!
  // Nobody knows yet that the process is dead: its calls count, and cannot be made a second time.
  expect([...tree.runs.get(opened.run)!.inFlight].sort()).toEqual([...calls].sort())
  const again = authorize(runs, opened, { key: 'use:1' })
  expect(kindOf(await runs.execute(opened, again))).toBe('join')
  clock.now += EXECUTOR_LAPSE_MS + 1_000
  await runs.tidy()
  const settled = (await ledgerOf(store, opened)).filter(({ type }) => type === 'call.settled')
  expect(settled).toHaveLength(3)
  for (const entry of settled) expect(entry).toMatchObject({ command: { outcome: 'unknown' } })
  expect(kindOf(await runs.execute(opened, again))).toBe('call_frozen')
  // Of a budget of five, two are left.
  const rest = [1, 2, 3].map(() => runs.execute(opened, authorize(runs, opened)))
  expect((await Promise.all(rest)).map(kindOf)).toEqual(['allow', 'allow', 'calls_exhausted'])
  await runs.stop()
  await store.close()
})

test('threat 77: what was answered before a crash is in the receipt, denials included', async () => {
  const file = join(folder, 'receipt.db')
  const { opened, calls, denied } = await killed(file)
  const clock: Clock = { now: Date.now() + EXECUTOR_LAPSE_MS + 1_000 }
  const store = await openSqlite({ file })
  const runs = runsOf(store, { clock })
  await runs.start()
  await runs.tidy()
  must(await runs.execute(opened, revoke(opened.run)))
  await runs.close(opened)
  const key = generateSigningKey()
  const receipt = issueReceipt({ entries: await ledgerOf(store, opened), prompts: {}, key })
  const { body } = receipt
  expect(body.closedAt).not.toBeNull()
  expect(body.unknown.map(({ call }) => call).sort()).toEqual(calls.toSorted())
  expect(body.denied.flatMap(({ actions }) => actions)).toEqual(denied)
  await runs.stop()
  await store.close()
})

describe('threat 62: a database that was restored from a backup', () => {
  /** Opens runs, keeps a copy of the file, goes on, and puts the copy back. */
  async function restored(name: string) {
    const file = join(folder, name)
    const backup = join(folder, `${name}.backup`)
    const before = await openSqlite({ file })
    const runs = runsOf(before)
    const active = await openRun(runs, { maxToolCalls: 3 })
    const asked = await request(runs)
    const ended = await openRun(runs)
    must(await runs.execute(ended, revoke(ended.run)))
    await runs.close(ended)
    await before.close()
    copyFileSync(file, backup)
    const after = await openSqlite({ file })
    const later = runsOf(after)
    // What the backup does not know: the budget is spent and the run revoked.
    for (let i = 0; i < 3; i++) {
      const call = authorize(later, active)
      must(await later.execute(active, call))
      must(await later.execute(active, settle(call.call)))
    }
    await later.stop()
    await after.close()
    copyFileSync(backup, file)
    for (const suffix of ['-wal', '-shm']) rmSync(file + suffix, { force: true })
    return { file, active, asked, ended }
  }

  test('is not opened unless the loss is accepted', async () => {
    const { file } = await restored('refused.db')
    await expect(openSqlite({ file })).rejects.toMatchObject({ code: 'rolled_back' })
  })

  test('then every lease in it is over before anything is judged', async () => {
    const { file, active, asked, ended } = await restored('accepted.db')
    const store = await openSqlite({ file, rollback: 'accept' })
    const runs = runsOf(store)
    const length = (await ledgerOf(store, ended)).length
    await runs.start()
    for (const opened of [active, asked]) {
      const last = (await ledgerOf(store, opened)).at(-1)
      expect(last).toMatchObject({
        type: 'lease.ended',
        reason: 'revoked',
        note: expect.stringContaining('restored from a backup'),
        command: { by: { server: 'daypass' } },
      })
      expect(kindOf(await runs.execute(opened, authorize(runs, opened)))).toBe('lease_ended')
    }
    expect(await ledgerOf(store, ended)).toHaveLength(length)
    // New runs belong to the new epoch, and live.
    const fresh = await openRun(runs)
    await runs.stop()
    const next = runsOf(store)
    await next.start()
    expect(kindOf(await next.execute(fresh, authorize(next, fresh)))).toBe('allow')
    await next.stop()
    await store.close()
  })
})
