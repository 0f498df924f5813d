import { beforeEach, describe, expect, test } from 'vitest'
import { ENDPOINTS } from '../../../src/authority/api/endpoints.ts'
import type { Role } from '../../../src/authority/caller.ts'
import { type Ask, active, LEASE, openWorld, request, type World } from './support.ts'

let world: World
let mira: Ask
let ann: Ask
let opened: Awaited<ReturnType<typeof active>>
beforeEach(async () => {
  world = openWorld()
  mira = await world.person('mira@clord.example', ['requester'])
  ann = await world.person('ann@clord.example', ['approver'])
  opened = await active({ requester: mira, approver: ann })
})

/** A path of the endpoint that is about the run of the test. */
function pathOf(template: string): string {
  const values: Record<string, string> = {
    ...{ run: opened.run, ask: 'ask_x', call: 'call_x', escalation: 'esc_x', lock: 'lock_x' },
    ...{ server: 'shop', tool: 'push', template: 'look' },
  }
  return template.replaceAll(/\{(\w+)\}/g, (_, name) => values[name]!)
}

const endpoints = Object.entries(ENDPOINTS).map(([id, each]) => ({ id, ...each }))

describe('threat 28: a stranger', () => {
  test.each(endpoints)('gets nothing from $id', async ({ method, path }) => {
    const verb = method.toUpperCase()
    const body = verb === 'POST' ? {} : undefined
    const forged = opened.badge.replace(/\.[^.]*$/, `.${'A'.repeat(86)}`)
    for (const authorization of [
      undefined,
      'Bearer ',
      'Bearer x',
      `Bearer ${forged}`,
      'Basic b3A=',
    ]) {
      const headers = authorization === undefined ? {} : { authorization }
      const response = await world.fetch(pathOf(path), {
        method: verb,
        headers: { ...headers, 'content-type': 'application/json' },
        ...(body === undefined ? {} : { body: '{}' }),
      })
      expect(response.status).toBe(401)
      expect(response.headers.get('content-type')).toBe('application/problem+json')
      expect(response.headers.get('www-authenticate')).toBe('Bearer')
    }
  })

  test('with a token that is wrong is not the person whose cookie comes with it', async () => {
    const answer = await mira('GET', '/v1/runs', undefined, { authorization: 'Bearer x' })
    expect(answer.status).toBe(401)
  })
})

describe('threat 72: on every page where something is approved', () => {
  const approving = endpoints.filter(({ tag, method }) => tag === 'Approvals' && method === 'post')
  test('there are some', () => expect(approving.length).toBeGreaterThan(6))

  test.each(approving)('$id refuses an agent, a machine and an auditor', async ({ path }) => {
    const otto = await world.person('otto@clord.example', ['auditor', 'admin'])
    const callers: [string, Ask][] = [
      ['not_an_approver', world.bearer(opened.badge)],
      ['not_an_approver', world.machine('ci', ['approver', 'admin'])],
      ['role_missing', otto],
    ]
    for (const [title, ask] of callers) {
      const { status, body } = await ask('POST', pathOf(path), { promptHash: '', binding: '' })
      expect([status, body.title]).toEqual([403, title])
    }
  })

  test('a requester without the role answers about their own run, where the rule lets them', async () => {
    const own = await request(mira)
    const yes = { promptHash: own.promptHash }
    expect((await mira('POST', `/v1/runs/${own.run}/approve`, yes)).status).toBe(200)
    const eve = await world.person('eve@clord.example', ['requester'])
    const other = await request(mira)
    // Of somebody else's run nothing is known.
    const path = `/v1/runs/${other.run}/approve`
    expect(await eve('POST', path, { promptHash: other.promptHash })).toMatchObject({ status: 404 })
  })
})

describe('a role', () => {
  const may: readonly (readonly [Role, string, string, number])[] = [
    ['requester', 'POST', '/v1/revocations', 403],
    ['requester', 'GET', '/v1/trees', 200],
    ['approver', 'POST', '/v1/runs', 403],
    ['approver', 'POST', '/v1/revocations', 403],
    ['auditor', 'GET', '/v1/runs/RUN', 200],
    ['auditor', 'GET', '/v1/runs/RUN/entries', 200],
    ['auditor', 'POST', '/v1/runs/RUN/revoke', 403],
    ['auditor', 'POST', '/v1/runs/RUN/badge', 403],
    ['auditor', 'DELETE', '/v1/locks/lock_x', 403],
    ['admin', 'GET', '/v1/locks', 200],
    ['admin', 'DELETE', '/v1/locks/lock_x', 404],
    ['admin', 'POST', '/v1/runs/RUN/revoke', 200],
  ]
  test.each(may)('%s: %s %s is answered with %i', async (role, method, path, status) => {
    const body = method === 'POST' ? { lease: LEASE } : undefined
    const somebody = await world.person('somebody@clord.example', [role])
    const own = path.endsWith('revoke') ? {} : body
    expect((await somebody(method, path.replace('RUN', opened.run), own)).status).toBe(status)
  })

  test('who sees all gets nobody else a badge', async () => {
    const both = await world.person('boss@clord.example', ['requester', 'approver', 'admin'])
    const answer = await both('POST', `/v1/runs/${opened.run}/badge`)
    expect(answer).toMatchObject({ status: 403, body: { title: 'role_missing' } })
  })

  test('a requester sees their own runs and no others', async () => {
    const eve = await world.person('eve@clord.example', ['requester'])
    expect((await eve('GET', '/v1/runs')).body.items).toEqual([])
    expect((await eve('GET', '/v1/trees')).body.trees).toEqual([])
    for (const page of ['', '/entries', '/receipt', '/explain', '/events', '/tree']) {
      expect((await eve('GET', `/v1/runs/${opened.run}${page}`)).status).toBe(404)
    }
    for (const verb of ['revoke', 'suspend', 'end', 'badge', 'delegate']) {
      const { status } = await eve('POST', `/v1/runs/${opened.run}/${verb}`, { lease: {} })
      expect([400, 404]).toContain(status)
    }
    expect((await mira('GET', `/v1/runs/${opened.run}`)).body.run.state).toBe('active')
  })

  test('a machine requests runs under its own name, and sees no others', async () => {
    const ci = world.machine('ci', ['requester'])
    const { run } = await request(ci, { user: 'ci' })
    expect((await ci('GET', '/v1/runs')).body.items).toMatchObject([{ id: run, requester: 'ci' }])
    expect((await ci('GET', `/v1/runs/${opened.run}`)).status).toBe(404)
  })
})

describe('organisations never see each other', () => {
  test.each(endpoints.filter(({ path }) => path.includes('{run}')))(
    '$id does not reach across',
    async ({ method, path, id }) => {
      const roles = ['requester', 'approver', 'auditor', 'admin'] as const
      const eve = await world.person('mira@clord.example', roles, 'other')
      const bodies: Record<string, unknown> = {
        approveRun: { promptHash: opened.promptHash },
        approveAsk: { binding: 'x' },
        approveEscalation: { offer: [] },
        resolveCall: { happened: true },
        settleCall: { outcome: 'failed' },
        delegateRun: { lease: {} },
        beginCall: {
          ...{ key: '1', tool: 'shell.x' },
          touches: [{ action: 'a', effect: 'read', reversible: true, resources: {} }],
        },
      }
      const body = method === 'post' ? (bodies[id] ?? {}) : undefined
      const answer = await eve(method.toUpperCase(), pathOf(path), body)
      expect(answer).toMatchObject({ status: 404, body: { title: 'run_unknown' } })
    },
  )

  test('their lists are empty, and their revocation of everything is of their own', async () => {
    const eve = await world.person('eve@other.example', ['requester', 'admin', 'auditor'], 'other')
    expect((await eve('GET', '/v1/runs')).body.items).toEqual([])
    expect((await eve('GET', '/v1/approvals')).body.items).toEqual([])
    const own = await request(eve, { user: 'eve@other.example' })
    const all = await eve('POST', '/v1/revocations', {
      scope: { everything: true },
      keepLocked: true,
    })
    expect(all.body.revoked).toEqual([own.run])
    expect((await mira('GET', `/v1/runs/${opened.run}`)).body.run.state).toBe('active')
    // Their lock is theirs.
    await request(mira)
    expect(await eve('POST', '/v1/runs', { lease: LEASE })).toMatchObject({ status: 409 })
  })
})

test('an agent does what is its own, and nothing else', async () => {
  const other = await active({ requester: mira, approver: ann })
  const agent = world.bearer(opened.badge)
  expect((await agent('GET', '/v1/runs')).body.items).toMatchObject([{ id: opened.run }])
  expect((await agent('GET', `/v1/runs/${other.run}`)).status).toBe(404)
  expect((await agent('GET', `/v1/runs/${opened.run}/entries`)).status).toBe(200)
  expect((await agent('POST', `/v1/runs/${opened.run}/badge`)).status).toBe(403)
  expect((await agent('POST', '/v1/runs', { lease: LEASE })).status).toBe(403)
  expect((await agent('POST', `/v1/runs/${other.run}/revoke`, {})).status).toBe(404)
  expect((await agent('POST', `/v1/runs/${opened.run}/end`, {})).status).toBe(200)
  const entries = (await mira('GET', `/v1/runs/${opened.run}/entries`)).body.entries
  expect(entries.at(-1).command.by).toEqual({ agent: 'repo-maintenance-agent' })
})

describe('what is not understood', () => {
  test('is refused whole, and says where', async () => {
    const path = `/v1/runs/${opened.run}/suspend`
    const unknown = await ann('POST', path, { reason: 'x', force: true })
    expect(unknown).toMatchObject({ status: 400, body: { title: 'malformed' } })
    expect(unknown.body.errors[0].at).toMatch(/^body/)
    expect((await ann('GET', `/v1/runs/${opened.run}`)).body.run.state).toBe('active')
    const response = await world.fetch(path, {
      method: 'POST',
      headers: { authorization: 'Bearer operator-token', 'content-type': 'application/json' },
      body: '{"reason": ',
    })
    expect([response.status, ((await response.json()) as { title: string }).title]).toEqual([
      400,
      'malformed',
    ])
  })

  test('a page that is asked in another way is said to take another', async () => {
    const answer = await ann('DELETE', `/v1/runs/${opened.run}`)
    expect([answer.status, answer.headers.get('allow')]).toEqual([405, 'GET'])
    expect((await ann('GET', '/v1/nothing')).status).toBe(404)
    expect((await ann('GET', '/v1/runs/nothing')).status).toBe(400)
  })

  test('a body that is too large is not read', async () => {
    const answer = await ann('POST', `/v1/runs/${opened.run}/revoke`, {
      reason: 'x'.repeat(300_000),
    })
    expect(answer).toMatchObject({ status: 413, body: { title: 'too_large' } })
  })

  test('a store that cannot answer is 503, and no success', async () => {
    await world.store.close()
    const answer = await world.bearer('operator-token')('GET', '/v1/runs')
    expect(answer).toMatchObject({ status: 503, body: { title: 'ledger_unavailable' } })
  })
})
