import { fork } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeEach, describe, expect, test } from 'vitest'
import { withFaults } from '../../../src/store/faults.ts'
import { openMemory } from '../../../src/store/memory.ts'
import { openSqlite } from '../../../src/store/sqlite.ts'
import { StoreError } from '../../../src/store/store.ts'
import { type Ask, active, LEASE, openWorld, request, type World } from './support.ts'

const folder = mkdtempSync(join(tmpdir(), 'daypass-revocations-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

let world: World
let mira: Ask
let ann: Ask
let boss: Ask
async function people(): Promise<void> {
  mira = await world.person('mira@clord.example', ['requester'])
  ann = await world.person('ann@clord.example', ['approver'])
  boss = await world.person('boss@clord.example', ['admin'])
}
beforeEach(async () => {
  world = openWorld()
  await people()
})

const stateOf = async (run: string): Promise<string> =>
  (await ann('GET', `/v1/runs/${run}`)).body.run.state

describe('a bulk revocation', () => {
  test('ends what matches, waiting or active, and nothing else', async () => {
    const otto = await world.person('otto@clord.example', ['requester'])
    const one = await active({ requester: mira, approver: ann })
    const two = await request(mira, { agent: 'reader' })
    const three = await active({ requester: otto, approver: ann }, { agent: 'reader' })
    const revoke = async (scope: unknown) =>
      (await boss('POST', '/v1/revocations', { scope, reason: 'incident' })).body
    expect(await revoke({ agent: 'nobody' })).toEqual({ revoked: [], lock: null })
    expect(await revoke({ requester: 'otto@clord.example' })).toMatchObject({
      revoked: [three.run],
    })
    expect(await revoke({ agent: 'reader' })).toMatchObject({ revoked: [two.run] })
    expect(await stateOf(one.run)).toBe('active')
    expect(await revoke({ tree: one.tree })).toMatchObject({ revoked: [one.run] })
    expect(await stateOf(one.run)).toBe('ended')
    const { entries } = (await ann('GET', `/v1/runs/${one.run}/entries`)).body
    const by = { person: 'boss@clord.example', via: 'console' }
    expect(entries.at(-1)).toMatchObject({ reason: 'revoked', note: 'incident', command: { by } })
  })

  test('of a run takes the runs below it, and no other', async () => {
    const delegate = { max_depth: 1, max_children: 2, ask: false }
    const opened = await active({ requester: mira, approver: ann }, { delegate })
    const agent = world.bearer(opened.badge)
    const child = { purpose: 'p', resources: { repos: ['clord'] }, actions: ['repo.read'] }
    const lease = { ...child, max_tool_calls: 2, expires_in: '5m', agent: 'sub' }
    const path = `/v1/runs/${opened.run}/delegate`
    const made = (await agent('POST', path, { lease })).body.run
    // By the name of the subagent: its parent goes on.
    const answer = await boss('POST', '/v1/revocations', {
      scope: { agent: 'sub' },
      keepLocked: true,
    })
    expect(answer.body.revoked).toEqual([made])
    expect(await stateOf(opened.run)).toBe('active')
    const again = await agent('POST', path, { lease })
    expect(again).toMatchObject({ status: 409, body: { title: 'locked' } })
    const other = await agent('POST', path, { lease: { ...lease, agent: 'other' } })
    expect(other.status).toBe(201)
    const all = await boss('POST', '/v1/revocations', { scope: { run: opened.run } })
    expect(all.body.revoked).toEqual([opened.run])
    expect(await stateOf(other.body.run)).toBe('ended')
  })

  test('that keeps its lock lets nothing of the kind be opened until it is lifted', async () => {
    const scope = { requester: 'mira@clord.example' }
    const { lock } = (await boss('POST', '/v1/revocations', { scope, keepLocked: true })).body
    const refused = await mira('POST', '/v1/runs', { lease: LEASE })
    expect(refused).toMatchObject({ status: 409, body: { title: 'locked' } })
    expect((await boss('GET', '/v1/runs')).body.items).toEqual([])
    const second = (await boss('POST', '/v1/revocations', { scope, keepLocked: true })).body.lock
    expect((await boss('GET', '/v1/locks')).body.items).toMatchObject([
      { id: lock, scope, by: 'boss@clord.example' },
      { id: second, scope },
    ])
    await boss('DELETE', `/v1/locks/${lock}`)
    expect((await mira('POST', '/v1/runs', { lease: LEASE })).status).toBe(409)
    expect((await boss('DELETE', `/v1/locks/${second}`)).status).toBe(200)
    await request(mira)
  })

  test('that fails half-way leaves its lock, where everybody sees it', async () => {
    const disk = openMemory()
    let fails = false
    const store = withFaults(disk, {
      before: (write) => {
        if (fails && write === 'append') throw new StoreError('io', 'the disk failed')
      },
    })
    world = openWorld({ store })
    await people()
    await request(mira)
    fails = true
    const scope = { everything: true }
    expect((await boss('POST', '/v1/revocations', { scope })).status).toBe(503)
    fails = false
    expect((await boss('GET', '/v1/locks')).body.items).toMatchObject([{ scope }])
    expect((await mira('POST', '/v1/runs', { lease: LEASE })).status).toBe(409)
  })

  test('commands of one tree that wait together are refused one by one', async () => {
    const delegate = { max_depth: 1, max_children: 3, ask: false }
    const opened = await active({ requester: mira, approver: ann }, { delegate })
    await boss('POST', '/v1/revocations', { scope: { agent: 'sub' }, keepLocked: true })
    const agent = world.bearer(opened.badge)
    const touches = [
      { action: 'repo.read', effect: 'read', reversible: true, resources: { repos: ['clord'] } },
    ]
    const lease = {
      ...{ purpose: 'p', resources: { repos: ['clord'] }, actions: ['repo.read'], agent: 'sub' },
      ...{ max_tool_calls: 2, expires_in: '5m' },
    }
    const [call, child] = await Promise.all([
      agent('POST', `/v1/runs/${opened.run}/calls`, { key: '1', tool: 'shell.cat', touches }),
      agent('POST', `/v1/runs/${opened.run}/delegate`, { lease }),
    ])
    expect(call.body.decision).toBe('allow')
    expect(child.body.title).toBe('locked')
  })
})

describe('of runs that other processes open at the same time', () => {
  test('none slips through', async () => {
    const file = join(folder, 'race.db')
    const store = await openSqlite({ file })
    world = openWorld({ store })
    await people()
    const openers = [1, 2].map((n) =>
      fork(join(import.meta.dirname, 'opener.ts'), [file, String(n)], { stdio: 'pipe' }),
    )
    const told: { opened: number; locked: number }[] = openers.map(() => ({ opened: 0, locked: 0 }))
    for (const [index, child] of openers.entries()) {
      child.on('message', (message) => {
        told[index] = message as { opened: number; locked: number }
      })
    }
    const until = async (holds: () => boolean) => {
      for (let i = 0; i < 3_000 && !holds(); i++) await new Promise((done) => setTimeout(done, 10))
      expect(holds()).toBe(true)
    }
    await until(() => told.every(({ opened }) => opened > 5))
    const scope = { agent: 'flood' }
    const answer = await boss('POST', '/v1/revocations', { scope, keepLocked: true })
    expect(answer.status).toBe(200)
    expect(answer.body.revoked.length).toBeGreaterThan(10)
    // From the moment of the answer on, in every process.
    const alive = async () =>
      (await boss('GET', '/v1/runs?agent=flood&limit=200')).body.items.filter(
        ({ state }: { state: string }) => state !== 'ended',
      )
    expect(await alive()).toEqual([])
    await until(() => told.every(({ locked }) => locked > 5))
    expect(await alive()).toEqual([])
    const ended = openers.map((child) => new Promise((done) => child.once('exit', done)))
    for (const child of openers) child.send('stop')
    await Promise.all(ended)
    await store.close()
  })
})
