import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Facts } from '../../src/core/facts.ts'
import type { Terms } from '../../src/core/lease.ts'
import { type Badged, BRANCH, type House, ON_BRANCH, openHouse } from '../door/support/house.ts'
import { authorize, factsOf, must } from '../runs/support.ts'

let house: House
let opened: Badged
beforeAll(async () => {
  house = await openHouse()
  opened = await house.open()
})
afterAll(() => house[Symbol.asyncDispose]())

const read = { action: { name: 'repo.read' }, resource: { type: 'repos', id: 'clord' } }
const about = (run: Pick<Badged, 'run'>) => ({ subject: { type: 'run', id: run.run } })

async function ask(body: unknown, token = opened.badge, path = 'evaluation') {
  const response = await house.api('POST', `/access/v1/${path}`, body, token)
  // biome-ignore lint/suspicious/noExplicitAny: a test looks wherever it wants
  return { status: response.status, body: (await response.json()) as any }
}

async function reasonOf(body: unknown, token?: string): Promise<string> {
  const answer = await ask(body, token)
  expect(answer.status).toBe(200)
  return answer.body.context.reason
}

test('the metadata name the endpoints', async () => {
  const { url } = house.daypass
  const response = await fetch(`${url}/.well-known/authzen-configuration`)
  expect(await response.json()).toEqual({
    policy_decision_point: url,
    access_evaluation_endpoint: `${url}/access/v1/evaluation`,
    access_evaluations_endpoint: `${url}/access/v1/evaluations`,
  })
})

describe('an evaluation', () => {
  test('is what the lease says now, with its reason; it spends nothing', async () => {
    const before = (await house.entries(opened)).length
    expect(await ask({ ...about(opened), ...read })).toMatchObject({
      status: 200,
      body: { decision: true, context: { reason: 'allowed', run: opened.run, revision: 1 } },
    })
    const cases: [string, unknown][] = [
      ['no_grant', { ...read, resource: { type: 'repos', id: 'other' } }],
      ['no_grant', { ...read, action: { name: 'repo.delete' } }],
      ['no_grant', { ...read, resource: { type: 'constructor', id: 'clord' } }],
      ['no_grant', { ...read, resource: { type: '__proto__', id: 'clord' } }],
      ['facts_unsound', { ...read, resource: { type: 'paths', id: '../../etc/passwd' } }],
      ['resource_unresolved', { ...read, action: { name: 'repo.push' } }],
    ]
    for (const [reason, question] of cases) {
      const answer = await ask({ ...about(opened), ...(question as object) })
      expect([answer.status, answer.body.decision, answer.body.context.reason]).toEqual([
        ...[200, false, reason],
      ])
    }
    const resources = { branches: [BRANCH] }
    const push = { ...read, action: { name: 'repo.push' }, context: { resources } }
    expect((await ask({ ...about(opened), ...push })).body.decision).toBe(true)
    expect((await house.entries(opened)).length).toBe(before)
  })

  test('before an expiry is false after it', async () => {
    const at = (expiry: unknown) => ({ ...about(opened), ...read, context: { expiry } })
    expect(await reasonOf(at(Date.now() + 60_000))).toBe('allowed')
    expect(await reasonOf(at(new Date(Date.now() - 1).toISOString()))).toBe('too_late')
    expect((await ask(at('soon'))).status).toBe(400)
  })

  test('sees a revocation at once', async () => {
    const run = await house.open()
    expect(await reasonOf({ ...about(run), ...read }, run.badge)).toBe('allowed')
    await house.api('POST', `/v1/runs/${run.run}/suspend`, {})
    expect(await reasonOf({ ...about(run), ...read }, run.badge)).toBe('lease_suspended')
    await house.api('POST', `/v1/runs/${run.run}/revoke`, {})
    expect(await reasonOf({ ...about(run), ...read }, run.badge)).toBe('lease_ended')
  })

  test('under an approval holds for what was approved, while the yes is fresh', async () => {
    const run = await house.open({ ask: ['repo.push'] } as Partial<Terms>)
    const { runs } = house.daypass
    const facts: Facts = {
      ...factsOf('repo.push'),
      touches: [
        {
          ...{ action: 'repo.push', effect: 'write', reversible: true, hosts: [], within: {} },
          resources: ON_BRANCH,
        } as const,
      ],
    }
    const command = authorize(runs, run, { facts })
    must(await runs.execute(run, command))
    const question = (approval?: string) => ({
      ...about(run),
      action: { name: 'repo.push' },
      resource: { type: 'repos', id: 'clord' },
      context: { resources: { branches: [BRANCH] }, ...(approval && { approval }) },
    })
    expect(await reasonOf(question(), run.badge)).toBe('approval_required')
    expect(await reasonOf(question(command.ask), run.badge)).toBe('approval_unfit')
    const { binding } = (await house.daypass.authority.find(run.run))!.tree.asks.get(command.ask)!
    const path = `/v1/runs/${run.run}/asks/${command.ask}/approve`
    expect((await house.api('POST', path, { binding })).status).toBe(200)
    expect(await reasonOf(question(command.ask), run.badge)).toBe('allowed')
    expect(await reasonOf(question('ask_other'), run.badge)).toBe('approval_required')
    // It is used up by the call; then the call itself is what can be asked about.
    const call = authorize(runs, run, { facts })
    must(await runs.execute(run, call))
    expect(await reasonOf(question(command.ask), run.badge)).toBe('approval_unfit')
    const underWay = { ...question(), context: { call: call.call } }
    expect(await reasonOf(underWay, run.badge)).toBe('allowed')
    const another = { ...underWay, resource: { type: 'repos', id: 'other' } }
    expect(await reasonOf(another, run.badge)).toBe('not_this_call')
  })

  test('the own name of a tool that no catalog maps needs a yes', async () => {
    const grants = [{ actions: ['shop.unlisted'], resources: { repos: ['clord'] }, where: {} }]
    const run = await house.open({ grants })
    const question = { ...read, action: { name: 'shop.unlisted' } }
    expect(await reasonOf({ ...about(run), ...question }, run.badge)).toBe('approval_required')
  })
})

describe('who asks', () => {
  test('threat 28: nobody that is unknown gets an answer', async () => {
    for (const token of ['', 'x', `${opened.badge}x`]) {
      expect((await ask({ ...about(opened), ...read }, token)).status).toBe(401)
    }
  })

  test('an agent learns nothing of another run', async () => {
    const other = await house.open()
    expect(await reasonOf({ ...about(other), ...read })).toBe('run_unknown')
    expect(await reasonOf({ subject: { type: 'run', id: 'run_none' }, ...read })).toBe(
      'run_unknown',
    )
    expect(await reasonOf({ subject: { type: 'user', id: 'mira' }, ...read })).toBe(
      'subject_unknown',
    )
    const { operatorToken } = house.daypass
    expect(await reasonOf({ ...about(other), ...read }, operatorToken)).toBe('allowed')
  })

  test('a tool with the token of its call asks about that call only', async () => {
    const { runs, txns } = house.daypass
    const command = authorize(runs, opened)
    must(await runs.execute(opened, command))
    const { lease } = (await house.daypass.authority.find(opened.run))!.run
    const token = txns.sign(
      {
        ...{ org: opened.org, tree: opened.tree, run: opened.run, parents: [] },
        ...{ lease: lease!.id, revision: 1, leaseExpiresAt: lease!.expiresAt! },
        ...{ call: command.call, requester: 'mira@clord.example', agent: 'a', purpose: 'p' },
        ...{ client: null, tool: 'git.repo.read', touches: null },
        approval: { lease: { person: 'mira@clord.example' }, ask: null },
      } as Parameters<typeof txns.sign>[0],
      'https://tool.example',
    )
    const question = { ...about(opened), ...read, context: { txn: command.call } }
    expect(await reasonOf(question, token)).toBe('allowed')
    const other = { ...question, context: { txn: 'call_other' } }
    expect(await reasonOf(other, token)).toBe('not_this_call')
    const wider = { ...question, resource: { type: 'repos', id: 'other' } }
    expect(await reasonOf(wider, token)).toBe('not_this_call')
    must(
      await runs.execute(opened, {
        ...{ do: 'settle', call: command.call, outcome: 'succeeded' },
        ...{ resultDigest: null, usd: null, note: null },
      }),
    )
    expect(await reasonOf(question, token)).toBe('call_over')
    // It opens nothing else.
    expect((await house.api('GET', '/v1/runs', undefined, token)).status).toBe(401)
  })
})

describe('evaluations', () => {
  const yes = {}
  const no = { resource: { type: 'repos', id: 'other' } }
  const decisions = async (evaluations: unknown[], evaluations_semantic?: string) => {
    const options = evaluations_semantic === undefined ? {} : { options: { evaluations_semantic } }
    const body = { ...about(opened), ...read, evaluations, ...options }
    const answer = await ask(body, opened.badge, 'evaluations')
    expect(answer.status).toBe(200)
    return answer.body.evaluations.map(({ decision }: { decision: boolean }) => decision)
  }

  test('take what they do not say from the request, with three semantics', async () => {
    expect(await decisions([yes, no, yes])).toEqual([true, false, true])
    expect(await decisions([yes, no, yes], 'execute_all')).toEqual([true, false, true])
    expect(await decisions([yes, no, yes], 'deny_on_first_deny')).toEqual([true, false])
    expect(await decisions([no, yes, no], 'permit_on_first_permit')).toEqual([false, true])
  })

  test('one that cannot be read is denied, and the others are answered', async () => {
    expect(await decisions([{ action: 'x' }, yes])).toEqual([false, true])
  })

  test('without evaluations it is an evaluation; with a semantic that is none it is refused', async () => {
    const single = await ask({ ...about(opened), ...read }, opened.badge, 'evaluations')
    expect(single.body.decision).toBe(true)
    const options = { evaluations_semantic: 'any' }
    const body = { ...about(opened), ...read, evaluations: [yes], options }
    expect((await ask(body, opened.badge, 'evaluations')).status).toBe(400)
    const many = { ...about(opened), ...read, evaluations: Array.from({ length: 101 }, () => yes) }
    expect((await ask(many, opened.badge, 'evaluations')).status).toBe(400)
  })
})

test.each([
  ['nothing', undefined],
  ['no object', [1]],
  ['no subject', read],
  ['a subject without an id', { subject: { type: 'run' }, ...read }],
  ['an action that is a word', { ...about({ run: 'run_x' }), ...read, action: 'repo.read' }],
])('%s is malformed', async (_, body) => {
  const answer = await ask(body)
  expect(answer).toMatchObject({ status: 400, body: { title: 'malformed' } })
})
