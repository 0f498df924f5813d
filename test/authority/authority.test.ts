import { createPublicKey } from 'node:crypto'
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeEach, describe, expect, test } from 'vitest'
import { Authority } from '../../src/authority/authority.ts'
import { shippedVocabulary } from '../../src/authority/catalogs.ts'
import { freshKeys, loadKeys } from '../../src/authority/keys.ts'
import { verifyBadge } from '../../src/badge/badge.ts'
import type { RunId } from '../../src/core/id.ts'
import type { Terms } from '../../src/core/lease.ts'
import { promptHash, promptOf } from '../../src/lease-file/prompt.ts'
import { newId } from '../../src/runs/new-id.ts'
import { Runs } from '../../src/runs/runs.ts'
import { openMemory } from '../../src/store/memory.ts'
import { authorize, kindOf, MAINTAINER, must, settle, termsOf } from '../runs/support.ts'

const folder = mkdtempSync(join(tmpdir(), 'daypass-authority-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const keys = freshKeys(Date.now())
const issuer = 'http://127.0.0.1:4816'
const HOUR = 3600
const vocabulary = shippedVocabulary()
let store: ReturnType<typeof openMemory>
let runs: Runs
let authority: Authority
beforeEach(() => {
  store = openMemory()
  runs = new Runs({ store, clock: Date.now, executor: 'exec_test' })
  const org = 'local'
  const clock = Date.now
  const leaseSecondsMax = 2 * HOUR
  authority = new Authority({
    org,
    runs,
    store,
    keys,
    clock,
    leaseSecondsMax,
    issuer: () => issuer,
    mayAdd: () => null,
  })
})

function open(terms: Terms = termsOf()) {
  const { agent, purpose } = terms
  const requester = MAINTAINER.person
  const context = { vocabulary, hosts: {}, requester, agent, client: null, warnings: [] }
  return authority.open({
    terms,
    prompt: (run) => promptOf(terms, { ...context, run, outside: 'not_watched' }),
    envelope: { requester, agent, purpose, client: null },
    rule: { policy: null, approvers: null, self: true, answerSeconds: 300 },
  })
}

async function opened() {
  const result = await open()
  if (!result.ok) throw new Error(result.error.message)
  return result.value
}

describe('a run', () => {
  test('is opened and its lease requested in one append', async () => {
    const before = store.counters().commits
    const run = await opened()
    const types = (await authority.entries(run)).map(({ type }) => type)
    expect(types).toEqual(['tree.opened', 'lease.requested'])
    // The prompt is one write, the run with its request the other.
    expect(store.counters().commits - before).toBe(2)
    expect(await authority.prompt(run.promptHash)).toEqual(run.prompt)
    expect(promptHash(run.prompt)).toBe(run.promptHash)
  })

  test('whose lease cannot be requested does not stay open', async () => {
    const refused = await open({ ...termsOf(), maxToolCalls: -1 })
    expect(refused).toMatchObject({ ok: false, error: { code: 'malformed' } })
    const [tree] = await authority.list({ open: false, limit: 10 })
    expect(tree!.phase).toBe('ended')
  })

  test('has a badge once somebody has said yes, and none after its end', async () => {
    const run = await opened()
    expect(await authority.badge(run.run)).toMatchObject({ error: { code: 'lease_not_active' } })
    const by = MAINTAINER
    const wrong = await authority.approve(run.run, { by, promptHash: 'ab'.repeat(32) })
    expect(wrong).toMatchObject({ error: { code: 'prompt_mismatch' } })
    const right = await authority.approve(run.run, { by, promptHash: run.promptHash })
    expect(right).toMatchObject({ ok: true })
    const badge = await authority.badge(run.run)
    if (!badge.ok) throw new Error(badge.error.message)
    const keyOf = () => createPublicKey(keys.signing.privateKey)
    const verifier = { issuer, audience: `${issuer}/mcp`, keyOf }
    const verified = await verifyBadge(badge.value, verifier, Date.now())
    expect(verified).toMatchObject({ ok: true, value: { run: run.run, org: 'local' } })
    await authority.revoke(run.run, { by, reason: 'stop' })
    expect(await authority.badge(run.run)).toMatchObject({ error: { code: 'lease_not_active' } })
  })

  /** A run with a yes, and an escalation of it for more time. */
  async function escalated(terms: Partial<Terms>, seconds: number) {
    const result = await open(termsOf(terms))
    if (!result.ok) throw new Error(result.error.message)
    const { run, promptHash: hash } = result.value
    await authority.approve(run, { by: MAINTAINER, promptHash: hash })
    const escalation = newId('esc')
    const more = { calls: 0, seconds }
    const asked = { wants: [], more, words: 'slow', answerSeconds: 60 }
    await authority.command(run, { do: 'escalate', run, escalation, ...asked })
    const answer = { escalation, by: MAINTAINER, offer: [], more, proof: null }
    return { run, amend: () => authority.command(run, { do: 'amend', ...answer }) }
  }

  async function lifeOf(run: RunId) {
    const badge = await authority.badge(run)
    if (!badge.ok) throw new Error(badge.error.message)
    const keyOf = () => createPublicKey(keys.signing.privateKey)
    const verifier = { issuer, audience: `${issuer}/mcp`, keyOf }
    const verified = await verifyBadge(badge.value, verifier, Date.now())
    if (!verified.ok) throw new Error(verified.error)
    const lease = (await authority.find(run))!.run.lease!
    return { badge: verified.value.expiresAt, lease: lease.expiresAt! }
  }

  test('has a badge that is still good when its lease has been given all the time there is', async () => {
    const { run, amend } = await escalated({ expiresInSeconds: HOUR / 2 }, 1.5 * HOUR)
    const before = await lifeOf(run)
    expect(await amend()).toMatchObject({ ok: true })
    const after = await lifeOf(run)
    expect(after.lease).toBe(before.lease + 1.5 * HOUR * 1000)
    // Ten minutes to read why the lease ended, with the badge that was given out at first.
    expect(before.badge - after.lease).toBeGreaterThanOrEqual(600_000)
    expect(before.badge - after.lease).toBeLessThan(602_000)
  })

  test('is not given more time than any lease may have: its badge would be dead', async () => {
    const { run, amend } = await escalated({ expiresInSeconds: HOUR }, HOUR + 1)
    const before = await lifeOf(run)
    const message = 'a lease lives at most 2h here; at most 3600 seconds can be added'
    expect(await amend()).toEqual({ ok: false, error: { code: 'malformed', message } })
    expect((await lifeOf(run)).lease).toBe(before.lease)
  })

  test('whose lease has a fixed end has a badge until ten minutes after that', async () => {
    const notAfter = Math.ceil(Date.now() / 1000) * 1000 + HOUR * 1000
    const { run } = await escalated({ expiresInSeconds: HOUR / 2, notAfter }, 1)
    expect((await lifeOf(run)).badge).toBe(notAfter + 600_000)
  })

  test('that nobody knows is refused by name', async () => {
    const answers = [
      await authority.badge('run_other'),
      await authority.revoke('run_other', { by: MAINTAINER, reason: 'x' }),
      await authority.end('run_other', { by: MAINTAINER, note: 'x' }),
    ]
    for (const answer of answers) expect(answer).toMatchObject({ error: { code: 'run_unknown' } })
    expect(await authority.find('run_other')).toBeNull()
  })
})

describe('a receipt', () => {
  test('is there when the tree is closed, always the same, and takes the results with it', async () => {
    const run = await opened()
    await authority.approve(run.run, { by: MAINTAINER, promptHash: run.promptHash })
    const call = authorize(runs, run)
    expect(kindOf(await runs.execute(run, call))).toBe('allow')
    must(await runs.execute(run, settle(call.call)))
    const at = { org: run.org, tree: run.tree, call: call.call }
    await store.putResult(at, { bytes: new Uint8Array([1]), expiresAt: Date.now() + 60_000 })
    expect(await authority.receipt(run)).toBeNull()
    await authority.end(run.run, { by: { agent: 'a' }, note: 'done' })
    const [one, two] = await Promise.all([authority.close(run), authority.close(run)])
    expect(one).toEqual(two)
    expect(await authority.receipt(run)).toEqual(one)
    expect(await store.getResult(at)).toBeNull()
    // What comes later does not change it.
    expect(kindOf(await runs.execute(run, settle(call.call)))).toBe('call_not_in_flight')
    expect(await authority.receipt(run)).toEqual(one)
  })
})

describe('keys', () => {
  test('are made once, for their user only, and found again', () => {
    const home = join(folder, 'keys')
    const first = loadKeys(home, 1_000)
    const again = loadKeys(home, 2_000)
    expect(again.signing.kid).toBe(first.signing.kid)
    expect(again.derive('results')).toEqual(first.derive('results'))
    expect(again.info).toEqual(first.info)
    expect(first.derive('results')).not.toEqual(first.derive('rounds'))
    for (const name of ['authority.pem', 'secret']) {
      expect(statSync(join(home, name)).mode & 0o777).toBe(0o600)
    }
    expect(statSync(home).mode & 0o777).toBe(0o700)
    const pub = createPublicKey(readFileSync(join(home, 'authority.pem'))).export({ format: 'jwk' })
    expect(first.info.publicKey).toEqual(pub)
  })

  test.each(['authority.pem', 'secret'])('a damaged `%s` is not replaced', (name) => {
    const home = join(folder, `damaged-${name}`)
    loadKeys(home, 1_000)
    writeFileSync(join(home, name), 'damaged')
    expect(() => loadKeys(home, 1_000)).toThrow()
    expect(readFileSync(join(home, name), 'utf8')).toBe('damaged')
  })

  test('a folder that others can read is closed to them', () => {
    const home = join(folder, 'open')
    loadKeys(home, 1_000)
    chmodSync(home, 0o755)
    loadKeys(home, 1_000)
    expect(statSync(home).mode & 0o777).toBe(0o700)
  })
})
