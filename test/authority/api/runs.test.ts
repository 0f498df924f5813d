import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeEach, describe, expect, test } from 'vitest'
import { type Ask, active, LEASE, openWorld, request, type World } from './support.ts'

const folder = mkdtempSync(join(tmpdir(), 'daypass-api-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
mkdirSync(join(folder, 'templates'))
writeFileSync(
  join(folder, 'templates', 'look.yaml'),
  'lease:\n  agent: reader\n  purpose: look around\n  resources: { repos: [clord] }\n' +
    '  actions: [repo.read]\n  expires_in: 20m\n  max_tool_calls: 10\n',
)

let world: World
let mira: Ask
let ann: Ask
beforeEach(async () => {
  world = openWorld({ templates: folder })
  mira = await world.person('mira@clord.example', ['requester'])
  ann = await world.person('ann@clord.example', ['approver'])
})

describe('requesting a run', () => {
  test('from a document opens it, with the prompt that an approver answers', async () => {
    const { status, body } = await mira('POST', '/v1/runs', { lease: LEASE, client: 'CI 7' })
    expect(status).toBe(201)
    expect(body).toMatchObject({ state: 'requested', prompt: { title: 'update dependency' } })
    const shown = await mira('GET', `/v1/runs/${body.run}`)
    expect(shown.body.run).toMatchObject({
      requester: 'mira@clord.example',
      agent: 'repo-maintenance-agent',
      client: 'CI 7',
      template: null,
      lease: { promptHash: body.promptHash, left: { calls: 30, usd: null, seconds: null } },
    })
    expect(shown.body.prompt).toEqual(body.prompt)
  })

  test('from YAML text says where the text is wrong', async () => {
    const text = `lease:\n  agent: a\n  user: u\n  purpose: p\n  actionz: [repo.read]\n`
    const { status, body } = await mira('POST', '/v1/runs', { lease: text })
    expect(status).toBe(400)
    expect(body.title).toBe('lease_invalid')
    expect(body.problems).toContainEqual(
      expect.objectContaining({ line: 5, message: 'unknown field `actionz` in the lease' }),
    )
    expect((await mira('GET', '/v1/runs')).body.items).toEqual([])
  })

  test('from a template, made less; never more', async () => {
    const narrow = { maxToolCalls: 3, expiresInSeconds: 60 }
    const { status, body } = await mira('POST', '/v1/runs', { template: 'look', narrow })
    expect(status).toBe(201)
    expect(body.prompt.terms).toMatchObject({ maxToolCalls: 3, expiresInSeconds: 60 })
    expect((await mira('GET', `/v1/runs/${body.run}`)).body.run.template).toBe('look')
    const wider = { template: 'look', narrow: { maxToolCalls: 11 } }
    expect(await mira('POST', '/v1/runs', wider)).toMatchObject({ status: 400 })
    const unknown = await mira('POST', '/v1/runs', { template: 'nothing' })
    expect(unknown).toMatchObject({ status: 404, body: { title: 'template_unknown' } })
    const listed = (await mira('GET', '/v1/templates')).body.items
    expect(listed).toMatchObject([{ name: 'look', scope: 'lease:look' }])
  })

  test.each([
    ['a template and a document', { template: 'look', lease: LEASE }],
    ['neither', {}],
    ['an unknown member', { lease: LEASE, role: 'admin' }],
    ['no object', [1]],
  ])('with %s is refused', async (_, body) => {
    expect((await mira('POST', '/v1/runs', body)).status).toBe(400)
  })

  test('in the name of somebody else is refused', async () => {
    const soon = new Date(Date.now() + 600_000).toISOString()
    const lease =
      `requested_by: eve@clord.example\nagent: a\npurpose: p\nexpires_at: ${soon}\n` +
      'allowed_tools: [repo.read]\n---\nlease:\n  agent: a\n  user: u\n  purpose: p\n' +
      '  resources: { repos: [clord] }\n  actions: [repo.read]\n'
    const answer = await mira('POST', '/v1/runs', { lease })
    expect(answer).toMatchObject({ status: 403, body: { title: 'requester_mismatch' } })
  })
})

describe('a run', () => {
  test('lives from the yes to its end, and says so', async () => {
    const opened = await active({ requester: mira, approver: ann })
    const path = `/v1/runs/${opened.run}`
    expect((await mira('GET', path)).body.run.state).toBe('active')
    expect((await ann('POST', `${path}/suspend`, { reason: 'wait' })).status).toBe(200)
    const suspended = (await mira('GET', path)).body.run
    expect(suspended).toMatchObject({ state: 'suspended', lease: { suspendedWhy: 'wait' } })
    expect((await ann('POST', `${path}/resume`, {})).status).toBe(200)
    expect((await mira('POST', `${path}/end`, { note: 'done' })).status).toBe(200)
    const ended = (await mira('GET', path)).body.run
    expect(ended).toMatchObject({ state: 'ended', lease: { endReason: 'completed' } })
    const again = await mira('POST', `${path}/revoke`, {})
    expect(again).toMatchObject({ status: 409, body: { title: 'lease_ended' } })
    expect(again.headers.get('content-type')).toBe('application/problem+json')
  })

  test('whose time is over has ended, whoever has recorded it', async () => {
    const { run } = await active({ requester: mira, approver: ann })
    world.pass(31 * 60_000)
    const shown = (await ann('GET', `/v1/runs/${run}`)).body.run
    expect(shown).toMatchObject({
      state: 'ended',
      lease: { endReason: 'expired', endedAt: expect.any(Number) },
    })
    expect((await ann('GET', '/v1/runs?state=active')).body.items).toEqual([])
    expect((await ann('GET', '/v1/runs?state=ended')).body.items).toHaveLength(1)
  })

  test('has a receipt once its tree is closed, and a ledger at once', async () => {
    const { run } = await active({ requester: mira, approver: ann })
    const path = `/v1/runs/${run}`
    const early = await mira('GET', `${path}/receipt`)
    expect(early).toMatchObject({ status: 409, body: { title: 'tree_not_ended' } })
    const first = (await mira('GET', `${path}/entries?limit=2`)).body
    expect(first.entries.map(({ type }: { type: string }) => type)).toEqual([
      'tree.opened',
      'lease.requested',
    ])
    const rest = (await mira('GET', `${path}/entries?after=${first.next}`)).body
    expect(rest).toMatchObject({ entries: [{ type: 'lease.approved' }], next: null })
    await mira('POST', `${path}/end`, {})
    const found = (await world.authorities.of('local').find(run))!
    await world.authorities.of('local').close(found.key)
    const { status, body } = await mira('GET', `${path}/receipt`)
    expect([status, body.body.run]).toEqual([200, run])
    const explained = (await mira('GET', `${path}/explain`)).body
    expect(explained.asked.facts.requester).toBe('mira@clord.example')
  })
})

describe('the list of runs', () => {
  test('is paged: each run once, newest first, whatever the size of a page', async () => {
    const opened: string[] = []
    for (let i = 0; i < 7; i++) opened.unshift((await request(mira, { purpose: `task ${i}` })).run)
    for (const limit of [1, 2, 3, 7, 50]) {
      const found: string[] = []
      let cursor = ''
      do {
        const { body } = await ann('GET', `/v1/runs?limit=${limit}${cursor}`)
        expect(body.items.length).toBeLessThanOrEqual(limit)
        found.push(...body.items.map(({ id }: { id: string }) => id))
        cursor = body.next === null ? '' : `&cursor=${body.next}`
      } while (cursor !== '')
      expect([...found].sort()).toEqual([...opened].sort())
    }
  })

  test('is filtered by who, what, and when', async () => {
    const otto = await world.person('otto@clord.example', ['requester'])
    const one = await request(mira)
    world.pass(10_000)
    const two = await request(otto, { agent: 'reader', actions: ['repo.read'] })
    const three = (await mira('POST', '/v1/runs', { template: 'look' })).body
    const ids = async (query: string) =>
      (await ann('GET', `/v1/runs?${query}`)).body.items.map(({ id }: { id: string }) => id).sort()
    const all = [one, two, three].map(({ run }) => run)
    expect(await ids('')).toEqual([...all].sort())
    expect(await ids('requester=otto@clord.example')).toEqual([two.run])
    expect(await ids('agent=repo-maintenance-agent')).toEqual([one.run])
    expect(await ids('template=look')).toEqual([three.run])
    expect(await ids('action=repo.push')).toEqual([one.run])
    expect(await ids('state=requested')).toEqual([...all].sort())
    expect(await ids('open=false')).toEqual([])
    const { openedAt } = (await ann('GET', `/v1/runs/${two.run}`)).body.run
    expect(await ids(`until=${openedAt}`)).toEqual([one.run])
    expect(await ids(`since=${openedAt}`)).not.toContain(one.run)
  })

  test.each(['cursor=x', 'cursor=W10', 'limit=0', 'limit=1e9', 'state=dead', 'unknown=1'])(
    'refuses %s',
    async (query) => {
      expect((await ann('GET', `/v1/runs?${query}`)).status).toBe(400)
    },
  )
})

describe('calls whose tool runs outside', () => {
  const touches = [
    { action: 'repo.push', effect: 'write', reversible: true, resources: { repos: ['clord'] } },
  ]
  const call = { key: '1', tool: 'shell.push', touches, arguments: { force: false } }

  test('are decided, recorded before the answer, and settled by who began them', async () => {
    const opened = await active({ requester: mira, approver: ann })
    const agent = world.bearer(opened.badge)
    const path = `/v1/runs/${opened.run}/calls`
    const begun = await agent('POST', path, call)
    expect(begun.body).toMatchObject({ decision: 'allow', call: expect.stringMatching(/^call_/) })
    const entries = (await mira('GET', `/v1/runs/${opened.run}/entries`)).body.entries
    expect(entries.at(-1)).toMatchObject({
      type: 'call.allowed',
      command: { call: begun.body.call },
    })
    expect(await agent('POST', path, call)).toMatchObject({ body: { decision: 'join' } })
    const settle = `${path}/${begun.body.call}/settle`
    const foreign = await mira('POST', settle, { outcome: 'succeeded' })
    expect(foreign).toMatchObject({ status: 403, body: { title: 'not_yours' } })
    expect((await agent('POST', settle, { outcome: 'succeeded' })).status).toBe(200)
    const twice = await agent('POST', settle, { outcome: 'failed' })
    expect(twice).toMatchObject({ status: 409, body: { title: 'call_not_in_flight' } })
    expect(await agent('POST', path, call)).toMatchObject({ body: { decision: 'replay' } })
  })

  test('are denied with what is missing, and the agent reads why', async () => {
    const opened = await active({ requester: mira, approver: ann })
    const agent = world.bearer(opened.badge)
    const other = [{ ...touches[0], resources: { repos: ['other'] } }]
    const path = `/v1/runs/${opened.run}/calls`
    const { status, body } = await agent('POST', path, { ...call, touches: other })
    expect(status).toBe(200)
    expect(body).toMatchObject({
      ...{ decision: 'deny', call: null, reason: 'no_grant' },
      missing: [{ actions: ['repo.push'], resources: { repos: ['other'] } }],
      text: expect.stringContaining('Nothing was changed'),
    })
  })

  test('cannot be settled when the gateway runs them', async () => {
    const opened = await active({ requester: mira, approver: ann })
    const { key } = (await world.authorities.of('local').find(opened.run))!
    const { authorize } = await import('../../runs/support.ts')
    const command = authorize(world.runs, opened)
    await world.runs.execute(key, command)
    const path = `/v1/runs/${opened.run}/calls/${command.call}/settle`
    const answer = await world.bearer(opened.badge)('POST', path, { outcome: 'failed' })
    expect(answer).toMatchObject({ status: 403, body: { title: 'not_yours' } })
  })

  test('that were denied can be asked for, and a person grants them', async () => {
    const opened = await active({ requester: mira, approver: ann })
    const agent = world.bearer(opened.badge)
    const path = `/v1/runs/${opened.run}`
    const other = [{ ...touches[0], resources: { repos: ['other'] } }]
    await agent('POST', `${path}/calls`, { ...call, touches: other })
    const wants = [{ actions: ['repo.push'], resources: { repos: ['other'] }, where: {} }]
    const asked = await agent('POST', `${path}/escalations`, { wants, words: 'please' })
    expect(asked).toMatchObject({ status: 201, body: { offer: wants } })
    const { escalation, offer } = asked.body
    const inbox = (await ann('GET', '/v1/approvals')).body.items
    expect(inbox).toMatchObject([{ kind: 'escalation', escalation, words: 'please' }])
    const at = `${path}/escalations/${escalation}`
    expect((await agent('POST', `${at}/approve`, { offer })).status).toBe(403)
    expect((await ann('POST', `${at}/approve`, { offer })).status).toBe(200)
    const now = await agent('POST', `${path}/calls`, { ...call, key: '2', touches: other })
    expect(now.body.decision).toBe('allow')
  })
})

test('a subagent gets a narrower lease through its parent, and nothing wider', async () => {
  const delegate = { max_depth: 1, max_children: 2, ask: false }
  const opened = await active({ requester: mira, approver: ann }, { delegate })
  const agent = world.bearer(opened.badge)
  const path = `/v1/runs/${opened.run}/delegate`
  const child = { purpose: 'read only', resources: { repos: ['clord'] }, actions: ['repo.read'] }
  const made = await agent('POST', path, {
    lease: { ...child, max_tool_calls: 2, expires_in: '5m' },
  })
  expect(made).toMatchObject({ status: 201, body: { state: 'active' } })
  const wide = { ...child, resources: { repos: ['other'] }, max_tool_calls: 2, expires_in: '5m' }
  const wider = await agent('POST', path, { lease: wide })
  expect(wider).toMatchObject({ status: 409, body: { title: 'not_narrower' } })
  const badge = (await agent('POST', `/v1/runs/${made.body.run}/badge`)).body.badge
  const below = world.bearer(badge)
  expect((await below('GET', `/v1/runs/${made.body.run}`)).status).toBe(200)
  // What is above is not there for it, and the ledger is about the whole tree.
  expect((await below('GET', `/v1/runs/${opened.run}`)).status).toBe(404)
  expect((await below('GET', `/v1/runs/${made.body.run}/entries`)).status).toBe(403)
  expect((await agent('POST', `/v1/runs/${made.body.run}/revoke`, {})).status).toBe(200)
})
