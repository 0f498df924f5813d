import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import type { Role } from '../../src/authority/caller.ts'
import { deskOf, shippedVocabulary } from '../../src/authority/catalogs.ts'
import { parseConfig } from '../../src/authority/config.ts'
import { type Policy, type PolicyRequest, policyOf } from '../../src/authority/policy.ts'
import { type Template, termsFor } from '../../src/authority/templates.ts'
import type { Actor } from '../../src/core/command.ts'
import type { Terms } from '../../src/core/lease.ts'
import { DEFAULT_LEASE_LIMITS } from '../../src/lease-file/limits.ts'
import { isWithin, narrowTerms } from '../../src/lease-file/narrow.ts'
import { parseLease } from '../../src/lease-file/parse.ts'

const MIRA = 'mira@clord.example'
const vocabulary = shippedVocabulary()
const folder = mkdtempSync(join(tmpdir(), 'daypass-policy-'))
afterAll(() => rmSync(folder, { recursive: true }))
const desk = deskOf(
  {
    name: 'files',
    upstream: { kind: 'http', url: 'http://127.0.0.1/', headers: {} },
    catalog: 'filesystem',
    bind: { roots: [{ path: folder, name: 'work' }] },
  },
  folder,
)
if (!desk.ok) throw new Error(desk.error.join())
const reading = { vocabulary, hosts: {}, bound: new Map([['files', desk.value]]) }

function termsOf(lease: Record<string, unknown> = {}): Terms {
  const text = JSON.stringify({
    lease: {
      agent: 'worker',
      user: MIRA,
      purpose: 'work',
      actions: ['repo.read'],
      resources: { repos: ['clord'], paths: ['src/**'] },
      expires_in: '20m',
      max_tool_calls: 10,
      ...lease,
    },
  })
  const limits = DEFAULT_LEASE_LIMITS
  const parsed = parseLease(text, { file: 'l.yaml', vocabulary, now: 0, limits })
  if (parsed.terms === null) throw new Error(JSON.stringify(parsed.problems))
  return parsed.terms
}

const LOOK: Template = {
  name: 'look',
  title: 'look',
  terms: termsOf({ user: 'whoever asks' }),
  warnings: [],
  scope: 'lease:look',
  isForOne: false,
}

function policy(yaml: string): Policy {
  const config = parseConfig(yaml, join(folder, 'daypass.yaml'), { env: {} })
  if (!config.ok) throw new Error(config.error.join('\n'))
  const templates = { get: (name: string) => (name === 'look' ? LOOK : null) }
  return policyOf({ ...config.value, templates }, reading)
}

function request(of: Partial<PolicyRequest> = {}): PolicyRequest {
  const roles = new Set<Role>(['requester'])
  return { terms: termsOf(), requester: MIRA, roles, template: null, org: 'clord', ...of }
}

/** The rule, or the words of the refusal. */
function ruled(yaml: string, of: Partial<PolicyRequest> = {}) {
  const rule = policy(yaml).ruleFor(request(of))
  return rule.ok ? rule.value : rule.error
}

const PUSH = ['repo.read', 'repo.push']

describe('read-only leases', () => {
  const yaml = 'policy: { read_only: { under: 30m }, person: [issue.read] }'
  const policyOfRule = (of: Partial<PolicyRequest>) =>
    (ruled(yaml, of) as { policy: string | null }).policy

  test('that are short need nobody', () => {
    expect(policyOfRule({})).toBe('read_only')
  })

  test.each<[string, Record<string, unknown>]>([
    ['is longer', { expires_in: '31m' }],
    ['can write', { actions: PUSH }],
    ['can do something that nobody knows', { actions: ['repo.read', 'odd.thing'] }],
    ['can ask for anything', { on_exceed: 'ask' }],
    ['does what needs a person', { actions: ['repo.read', 'issue.read'] }],
    ['does what needs a person, by a pattern', { actions: ['issue.*'] }],
  ])('a lease that %s needs a person', (_what, lease) => {
    expect(policyOfRule({ terms: termsOf(lease) })).toBeNull()
  })

  test('may have to come from a template', () => {
    const one = 'policy: { read_only: { under: 30m, templates: [look] } }'
    expect(ruled(one)).toMatchObject({ policy: null })
    expect(ruled(one, { template: 'look' })).toMatchObject({ policy: 'read_only' })
  })
})

describe('who may approve', () => {
  const yaml = `policy:
  approve:
    - { actions: [repo.push], roles: [admin] }
    - { effects: [destructive], persons: [lead@clord.example], self: false }
    - { templates: [look], roles: [auditor] }
`
  const admin = { persons: [], roles: ['admin'] }
  const lead = { persons: ['lead@clord.example'], roles: [] }
  const clauses = (lease: Record<string, unknown>, of: Partial<PolicyRequest> = {}) =>
    (ruled(yaml, { terms: termsOf(lease), ...of }) as { also?: unknown[] }).also ?? []

  test('follows from what the lease can do', () => {
    expect(clauses({})).toEqual([])
    expect(clauses({ actions: PUSH })).toEqual([admin])
    expect(clauses({ actions: ['repo.push.force'] })).toEqual([admin, lead])
    expect(clauses({ actions: ['repo.*'] })).toEqual([admin, lead])
    expect(clauses({ actions: ['file.delete'] })).toEqual([lead])
    expect(clauses({}, { template: 'look' })).toEqual([{ persons: [], roles: ['auditor'] }])
  })

  test('counts what could be asked for, and what nobody knows', () => {
    expect(clauses({ on_exceed: 'ask' })).toEqual([admin, lead])
    expect(clauses({ on_exceed: 'ask', deny: ['repo.push'] })).toEqual([lead])
    expect(clauses({ actions: ['odd.thing'] })).toEqual([lead])
    expect(clauses({ actions: PUSH, deny: ['repo.push'] })).toEqual([])
  })

  test('takes the own yes away where the rule or the configuration says so', () => {
    expect(ruled(yaml)).toMatchObject({ self: true })
    expect(ruled(yaml, { terms: termsOf({ actions: ['file.delete'] }) })).toMatchObject({
      self: false,
    })
    expect(ruled('approvals: { self: false }')).toMatchObject({ self: false })
  })
})

describe('templates', () => {
  const yaml = `policy:
  templates: { requester: [look], admin: [look] }
  own_leases: [admin]
machines:
  - { client_id: ci, jwks_uri: "https://ci.example/jwks", roles: [requester], templates: [deploy] }
`
  const roles = (...all: Role[]) => new Set(all)

  test('are for the roles that may use them', () => {
    expect(ruled(yaml, { template: 'look' })).toMatchObject({ self: true })
    expect(ruled(yaml, { template: 'look', roles: roles('auditor') })).toContain('may: none')
    expect(ruled(yaml)).toContain('a lease of your own is not allowed here')
    expect(ruled(yaml, { roles: roles('admin') })).toMatchObject({ self: true })
    expect(ruled('')).toMatchObject({ self: true })
  })

  test('of a machine are the only ones it may use', () => {
    expect(ruled(yaml, { requester: 'ci', template: 'look' })).toContain('may: deploy')
    expect(ruled(yaml, { requester: 'ci', roles: roles('admin') })).toContain('no lease of its own')
  })

  test('cannot be claimed for more than they give', () => {
    const asked = (lease: Record<string, unknown>) =>
      ruled('', { template: 'look', terms: termsOf(lease) })
    expect(asked({ actions: PUSH })).toMatch(/^wider than the template `look`: grants: /)
    expect(asked({ expires_in: '21m' })).toContain('expires_in')
    expect(asked({ user: 'other@clord.example' })).toContain('user')
    expect(asked({ max_tool_calls: 3 })).toMatchObject({ self: true })
    expect(ruled('', { template: 'nowhere' })).toBe('no template `nowhere` here')
  })
})

describe('ceilings', () => {
  const yaml = `policy:
  resources:
    - { orgs: [clord], allow: { repos: [clord, "clord/**"], tenants: [acme] } }
    - { requesters: ["*@guest.example"], allow: { repos: [clord], paths: ["docs/**"] } }
`
  const asked = (resources: object, of: Partial<PolicyRequest> = {}) =>
    ruled(yaml, { terms: termsOf({ resources }), ...of })
  const guest = { requester: 'a@guest.example' }

  test('hold what a lease may name, by organisation and requester', () => {
    expect(asked({ repos: ['clord/api'] })).toMatchObject({ self: true })
    expect(asked({ repos: ['other'] })).toContain('repos: `other` is outside')
    expect(asked({ repos: ['**'] })).toContain('outside what you may name')
    expect(asked({ repos: ['other'] }, { org: 'else' })).toMatchObject({ self: true })
    expect(asked({ tenants: ['acme'] })).toMatchObject({ self: true })
    expect(asked({ tenants: ['acme', 'evil'] })).toContain('`evil`')
  })

  test('hold together where several apply', () => {
    expect(asked({ repos: ['clord/api'], paths: ['docs/**'] }, guest)).toContain('`clord/api`')
    expect(asked({ repos: ['clord'], paths: ['docs/a'] }, guest)).toMatchObject({ self: true })
    const none = { requester: '@guest.example', org: 'else' }
    expect(asked({ repos: ['other'] }, none)).toMatchObject({ self: true })
  })

  test('cannot be left by what a grant does not name, nor by asking', () => {
    expect(asked({ repos: ['clord'] }, guest)).toContain('must name its paths')
    const terms = termsOf({ on_exceed: 'ask' })
    expect(ruled(yaml, { terms })).toContain('`on_exceed: ask` could reach any resource')
  })
})

describe('the longest life', () => {
  const yaml = `limits: { max_expires_in: 1h, max_tool_calls: 20 }
policy: { longest: [{ effects: [egress], expires_in: 10m }, { actions: [repo], expires_in: 30m }] }
`
  test('is the shortest that is about the lease, and stays with it', () => {
    expect(ruled(yaml)).toMatchObject({ lifeSecondsMax: 1800 })
    expect(ruled(yaml, { terms: termsOf({ actions: PUSH }) })).toContain(
      'at most 10m here, not 20m',
    )
    const push = termsOf({ actions: PUSH, expires_in: '5m' })
    expect(ruled(yaml, { terms: push })).toMatchObject({ lifeSecondsMax: 600 })
    const file = termsOf({ actions: ['file.read'], expires_in: '2h' })
    expect(ruled(yaml, { terms: file })).toContain('at most 1h here')
  })

  test('has a limit of calls beside it, for terms that no parser has seen', () => {
    expect(ruled(yaml, { terms: termsOf({ max_tool_calls: 21 }) })).toContain('20 tool calls')
  })
})

describe('an amendment', () => {
  const yaml = `policy:
  approve: [{ actions: [repo.push], roles: [admin] }]
  resources: [{ allow: { repos: [clord] } }]
`
  const person = (...roles: Role[]): Actor => ({ person: MIRA, via: 'api', roles })
  const grant = (repo: string) => [
    { actions: ['repo.push'], resources: { repos: [repo], paths: ['src/**'] }, where: {} },
  ]

  test('needs whoever may approve what it adds, within the ceiling', () => {
    const { mayAdd } = policy(yaml)
    expect(mayAdd(grant('clord'), request(), person('approver'))).toContain('may: role admin')
    expect(mayAdd(grant('clord'), request(), person('admin'))).toBeNull()
    expect(mayAdd(grant('other'), request(), person('admin'))).toContain('`other` is outside')
    expect(mayAdd(grant('clord'), request(), { policy: 'read_only' })).toContain('only a person')
  })
})

describe('narrowing', () => {
  const wide = termsOf({
    actions: ['repo.read', 'repo.push', 'pull_request.*'],
    ask: ['repo.push'],
    until: ['pull_request.create'],
    budget: { minutes: 10 },
  })
  const narrowed = (how: Parameters<typeof narrowTerms>[1]) => narrowTerms(wide, how, vocabulary)

  test('takes away, and what it makes lies within the original', () => {
    const all = [
      { drop: ['repo.push'] },
      { drop: ['pull_request.create'] },
      { maxToolCalls: 1, workSeconds: 60, expiresInSeconds: 60 },
      {},
    ]
    for (const how of all) {
      const terms = narrowed(how)
      expect(terms.ok && isWithin(terms.value, wide), JSON.stringify(how)).toEqual({
        ok: true,
        value: true,
      })
    }
    const dropped = narrowed({ drop: ['pull_request.create'] })
    expect(dropped.ok && dropped.value.deny).toEqual(['pull_request.create'])
  })

  test.each<[string, Parameters<typeof narrowTerms>[1]]>([
    ['more calls', { maxToolCalls: 11 }],
    ['more time', { expiresInSeconds: 1201 }],
    ['more work', { workSeconds: 601 }],
    ['no calls', { maxToolCalls: 0 }],
    ['half a second', { expiresInSeconds: 0.5 }],
    ['no number', { expiresInSeconds: Number.NaN }],
    ['what is not there', { drop: ['production.deploy'] }],
  ])('never gives %s', (_what, how) => {
    expect(narrowed(how).ok).toBe(false)
  })

  test('leaves something', () => {
    const only = narrowTerms(termsOf(), { drop: ['repo.read'] }, vocabulary)
    expect(only).toMatchObject({ ok: false, error: expect.stringContaining('nothing') })
  })

  test.each<[string, Partial<Terms>]>([
    ['its event', { until: [] }],
    ['its ask', { ask: [] }],
    ['its budget', { workSeconds: null }],
    ['its calls', { maxToolCalls: null }],
  ])('cannot lose %s', (_what, change) => {
    expect(isWithin({ ...wide, ...change }, wide).ok).toBe(false)
  })

  test('cannot lose its approvers, or its fixed end', () => {
    const held = { ...wide, approvers: ['lead@clord.example'], notAfter: 1000 }
    expect(isWithin({ ...held, approvers: null }, held).ok).toBe(false)
    expect(isWithin({ ...held, notAfter: null }, held).ok).toBe(false)
    expect(isWithin({ ...held, notAfter: 1001 }, held).ok).toBe(false)
    expect(isWithin(held, held).ok).toBe(true)
  })

  test('keeps what may be delegated', () => {
    const parent = termsOf({ delegate: { max_depth: 2, max_children: 2, ask: true } })
    expect(isWithin(parent, parent).ok).toBe(true)
    const deeper = { ...parent, delegate: { maxDepth: 3, maxChildren: 2, ask: true } }
    expect(isWithin(deeper, parent).ok).toBe(false)
  })

  test('fills in whom a template is for', () => {
    expect(termsFor(LOOK, MIRA).user).toBe(MIRA)
    expect(termsFor({ ...LOOK, isForOne: true }, MIRA).user).toBe('whoever asks')
  })
})
