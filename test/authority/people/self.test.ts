import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Browser, type CompanyIdp, type Site, signInAt, startIdp, startSite } from './support.ts'

const RULES = `  roles:
    claim: groups
    map: { requester: [staff], approver: [leads], admin: [root] }
`
const LEASE = {
  agent: 'repo-maintenance-agent',
  purpose: 'update dependency',
  resources: { repos: ['clord'] },
  actions: ['repo.read', 'repo.push'],
  ask: ['repo.merge'],
  expires_in: '30m',
  max_tool_calls: 30,
}
const person = (name: string, groups: string[]) => ({
  ...{ email: `${name}@clord.example`, email_verified: true, groups },
})
const USERS = {
  mira: person('mira', ['staff', 'leads', 'root']),
  // The same mailbox, as another account of the provider writes it.
  mira2: person('Mira', ['staff', 'leads', 'root']),
  sam: person('sam', ['leads']),
}

let idp: CompanyIdp
let site: Site
let people: Record<keyof typeof USERS, Browser>

async function open(yaml: string): Promise<void> {
  idp = await startIdp(RULES)
  site = await startSite(idp.yaml + yaml)
  idp.serve(site.url, USERS)
  people = { mira: new Browser(), mira2: new Browser(), sam: new Browser() }
  for (const [name, browser] of Object.entries(people)) await signInAt(site, browser, name)
}

async function close(): Promise<void> {
  await site.stop()
  await idp.down()
}

async function post(who: Browser, path: string, body: object) {
  const response = await who.api(site, 'POST', path, body)
  return { status: response.status, body: (await response.json()) as Record<string, string> }
}

async function requested(lease: object = LEASE) {
  const { status, body } = await post(people.mira, '/v1/runs', {
    lease: { user: 'mira@clord.example', ...lease },
  })
  if (status !== 201) throw new Error(JSON.stringify(body))
  return body as { run: string; promptHash: string }
}

describe('threat 72: where nobody answers their own requests', () => {
  beforeAll(() => open('approvals: { self: false }\n'))
  afterAll(close)

  test('whatever roles they have, and however their address is written', async () => {
    const { run, promptHash } = await requested()
    for (const who of [people.mira, people.mira2]) {
      const no = await post(who, `/v1/runs/${run}/approve`, { promptHash })
      expect([no.status, no.body.title]).toEqual([403, 'self_approval'])
    }
    const yes = await post(people.sam, `/v1/runs/${run}/approve`, { promptHash })
    expect(yes.status).toBe(200)
    const found = await people.mira.api(site, 'GET', `/v1/runs/${run}`)
    expect((await found.json()) as object).toMatchObject({ run: { state: 'active' } })
  })

  test('nor by saying that the work is for somebody else', async () => {
    const { run, promptHash } = await requested({ ...LEASE, user: 'sam@clord.example' })
    const no = await post(people.mira, `/v1/runs/${run}/approve`, { promptHash })
    expect([no.status, no.body.title]).toEqual([403, 'self_approval'])
  })

  test('nor a call that their own run asks for', async () => {
    const { run, promptHash } = await requested()
    await post(people.sam, `/v1/runs/${run}/approve`, { promptHash })
    const touch = { effect: 'write', reversible: true, within: {}, hosts: [] }
    const touches = [{ ...touch, action: 'repo.merge', resources: { repos: ['clord'] } }]
    const call = { key: '1', tool: 'shop.merge', touches }
    const asked = await post(people.mira, `/v1/runs/${run}/calls`, call)
    expect(asked.body.decision).toBe('ask')
    const inbox = await people.sam.api(site, 'GET', '/v1/approvals')
    const { items } = (await inbox.json()) as { items: { ask?: string; binding: string }[] }
    const { binding } = items.find(({ ask }) => ask === asked.body.ask)!
    const place = `/v1/runs/${run}/asks/${asked.body.ask}/approve`
    const no = await post(people.mira2, place, { binding })
    expect([no.status, no.body.title]).toEqual([403, 'self_approval'])
    expect((await post(people.sam, place, { binding })).status).toBe(200)
  })
})

describe('where the configuration lets them', () => {
  beforeAll(() => open('approvals: { self: true }\n'))
  afterAll(close)

  test('a requester answers their own request', async () => {
    const { run, promptHash } = await requested()
    expect((await post(people.mira, `/v1/runs/${run}/approve`, { promptHash })).status).toBe(200)
  })
})
