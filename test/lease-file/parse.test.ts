import { readdirSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Terms } from '../../src/core/lease.ts'
import { validateTerms } from '../../src/core/validate.ts'
import { DEFAULT_LEASE_LIMITS } from '../../src/lease-file/limits.ts'
import { lease, parseFixture, parseText, read } from './support.ts'

const HALF_HOUR = 1800
const BRANCH_WORK = [
  'repo.branch.create',
  'repo.branch.switch',
  'repo.file.write',
  'repo.commit',
  'repo.push',
]

function termsOf(text: string): Terms {
  const { terms, problems } = parseText(text)
  expect(problems).toEqual([])
  return terms!
}

describe('the documents of the essay parse as they stand', () => {
  test('the lease', () => {
    const parsed = parseFixture('valid/essay-lease.yaml')
    expect(parsed).toEqual({
      terms: {
        version: 1,
        agent: 'agent',
        purpose: 'plain_language_task',
        user: 'human_or_service_owner',
        grants: [
          {
            actions: ['repo.read', ...BRANCH_WORK, 'pull_request.create'],
            resources: { repos: ['clord'], branches: ['agent/dependency-update'] },
            where: {},
          },
        ],
        deny: ['production.deploy', 'secret.read', 'user.invite'],
        ask: [],
        onExceed: 'deny',
        expiresInSeconds: HALF_HOUR,
        notAfter: null,
        until: [],
        maxToolCalls: 30,
        limits: {},
        workSeconds: null,
        usd: null,
        delegate: null,
        requireReceipt: true,
        ceiling: null,
        approvers: null,
        labels: { subject: 'agent_run_id' },
      },
      ceilingOnly: false,
      requestedBy: null,
      notAfter: null,
      problems: [],
    })
  })

  test('the envelope: a ceiling that allows actions on no resources', () => {
    const parsed = parseFixture('valid/essay-envelope.yaml')
    const allowed = ['repo.read', 'repo.branch.create', 'repo.commit', 'ci.test.read']
    expect(parsed.problems).toEqual([])
    expect(parsed.ceilingOnly).toBe(true)
    expect(parsed.requestedBy).toBe('mira@clord.example')
    expect(parsed.notAfter).toBe(Date.parse('2026-06-23T02:12:00Z'))
    expect(parsed.terms).toMatchObject({
      agent: 'repo-maintenance-agent',
      user: 'mira@clord.example',
      purpose: 'update dependency and open PR',
      grants: [{ actions: allowed, resources: {}, where: {} }],
      ceiling: allowed,
      deny: ['production.deploy', 'billing.write', 'secret.read'],
      approvers: ['sam@clord.example'],
      // Absolute in the document: ten minutes of the half hour are over.
      expiresInSeconds: 1200,
      // And so it stays, however late somebody says yes.
      notAfter: Date.parse('2026-06-23T02:12:00Z'),
      labels: { run_id: 'agt_run_2026_06_23_1042', started_at: '2026-06-23T01:42:00Z' },
    })
  })

  test('the envelope when it is over: refused, and read only to be shown', () => {
    const now = Date.parse('2026-06-23T02:12:00Z')
    const refused = parseFixture('valid/essay-envelope.yaml', { now })
    expect(refused.terms).toBeNull()
    expect(refused.problems).toMatchObject([{ code: 'expired', line: 7, column: 13 }])
    const shown = parseFixture('valid/essay-envelope.yaml', { now, allowPast: true })
    expect(shown.problems).toEqual([])
    expect(shown.terms).toMatchObject({ expiresInSeconds: HALF_HOUR })
    const before = parseFixture('valid/essay-envelope.yaml', { now: now - 1000 })
    expect(before.terms).toMatchObject({ expiresInSeconds: 1 })
  })
})

test('the full form', () => {
  const { terms, problems } = parseFixture('valid/full.yaml')
  expect(problems).toEqual([])
  expect(terms).toEqual({
    version: 1,
    agent: 'repo-maintenance-agent',
    purpose: 'update dependency and open PR',
    user: 'maintainer@example.com',
    grants: [
      {
        // What `ask` names and no grant permits is added to the lease's own grant.
        actions: ['repo.read', ...BRANCH_WORK, 'pull_request.create', 'pull_request.merge'],
        resources: { repos: ['clord'], branches: ['agent/dependency-update'] },
        where: {},
      },
      {
        actions: ['payment.send'],
        resources: { accounts: ['GB29*'] },
        where: { amount: { max: '100.00' }, currency: { one_of: ['EUR'] } },
      },
    ],
    deny: ['production.deploy', 'secret.read', 'user.invite'],
    ask: ['pull_request.merge'],
    onExceed: 'deny',
    expiresInSeconds: HALF_HOUR,
    notAfter: null,
    until: ['pull_request.create'],
    maxToolCalls: 30,
    limits: { 'pull_request.create': 1 },
    workSeconds: 1200,
    usd: '2.00',
    delegate: { maxDepth: 1, maxChildren: 2, ask: true },
    requireReceipt: true,
    ceiling: null,
    approvers: null,
    labels: {},
  })
})

test('an envelope and a lease in one file: the envelope is a ceiling over the lease', () => {
  const parsed = parseFixture('valid/envelope-and-lease.yaml')
  expect(parsed.problems).toEqual([])
  expect(parsed.ceilingOnly).toBe(false)
  expect(parsed.requestedBy).toBe('mira@clord.example')
  expect(parsed.terms).toMatchObject({
    agent: 'repo-maintenance-agent',
    user: 'clord-bot',
    grants: [{ actions: ['repo.read', 'repo.commit'] }],
    ceiling: ['repo.read', ...BRANCH_WORK, 'ci.test.read'],
    deny: ['user.invite', 'production.deploy', 'secret.read'],
    // The earlier end of the two.
    expiresInSeconds: 1200,
    approvers: ['sam@clord.example', 'lee@clord.example'],
  })
})

describe('what is left out', () => {
  test('means the strictest thing it can mean', () => {
    const terms = termsOf(lease())
    expect(terms).toMatchObject({
      deny: [],
      ask: [],
      onExceed: 'deny',
      delegate: null,
      requireReceipt: true,
      ceiling: null,
    })
    expect(termsOf(lease({ delegate: '{ max_depth: 2 }' })).delegate).toEqual({
      maxDepth: 2,
      maxChildren: 1,
      ask: true,
    })
  })

  test.each(['purpose', 'user', 'expires_in', 'actions'])('%s cannot be left out', (name) => {
    const { terms, problems } = parseText(lease({ [name]: null }))
    expect(terms).toBeNull()
    expect(problems).toMatchObject([{ code: 'missing_field', severity: 'error' }])
    expect(problems[0]!.message + problems[0]!.hint).toContain(name)
  })

  test('a missing limit of tool calls is a warning that the approver sees', () => {
    const { terms, problems } = parseText(lease({ max_tool_calls: null }))
    expect(terms!.maxToolCalls).toBeNull()
    expect(problems).toMatchObject([{ code: 'no_call_limit', severity: 'warning' }])
  })
})

describe('ask', () => {
  test('on what is granted adds nothing', () => {
    const terms = termsOf(lease({ ask: '[repo.read]' }))
    expect(terms.grants[0]!.actions).toEqual(['repo.read', 'pull_request.create'])
    expect(terms.ask).toEqual(['repo.read'])
  })

  test('with a wildcard marks what is granted and never widens it', () => {
    const terms = termsOf(lease({ ask: '["pull_request.*"]' }))
    expect(terms.grants[0]!.actions).toEqual(['repo.read', 'pull_request.create'])
    expect(terms.ask).toEqual(['pull_request.*'])
  })
})

describe('denials', () => {
  test('an alias beneath a denial is denied by its real name', () => {
    expect(termsOf(lease({ deny: '[secrets]' })).deny).toEqual([
      'secrets',
      'secret.read',
      'secret.write',
    ])
  })

  test('an alias is replaced', () => {
    expect(termsOf(lease({ deny: '[secrets.read]' })).deny).toEqual(['secret.read'])
  })
})

test('a literal resource is brought into the form in which values are compared', () => {
  const terms = termsOf(lease({ resources: '{ emails: [Sam@Clord.Example], repos: [clord] }' }))
  expect(terms.grants[0]!.resources).toEqual({ emails: ['Sam@clord.example'], repos: ['clord'] })
})

test('the maximum of the configuration holds for both ways to write an end', () => {
  const limits = { ...DEFAULT_LEASE_LIMITS, maxExpiresInSeconds: 600 }
  const { problems } = parseText(lease(), { limits })
  expect(problems).toMatchObject([{ code: 'too_long_lived', hint: 'write at most 10m' }])
  const envelope = parseFixture('valid/essay-envelope.yaml', { limits })
  expect(envelope.problems).toMatchObject([{ code: 'too_long_lived', line: 7 }])
})

test('names of JavaScript are plain names (threat 10)', () => {
  const text = lease({
    resources: null,
    actions: null,
    grants: '[{ actions: [payment.send], where: { __proto__: { exact: 1 } } }]',
    limits: '{ payment.send: 1 }',
  })
  const { terms } = parseText(text)
  expect(Object.keys(terms!.grants[0]!.where)).toEqual(['__proto__'])
  expect(({} as { exact?: unknown }).exact).toBeUndefined()
  expect(parseText(lease({ constructor: '1' })).problems).toMatchObject([{ code: 'unknown_field' }])
})

describe('sizes', () => {
  test('a file that is too large or too deep is refused, not parsed', () => {
    expect(parseText(`lease: # ${'x'.repeat(70_000)}`).problems).toMatchObject([
      { code: 'too_large' },
    ])
    const deep = parseText(`lease: ${'['.repeat(20_000)}`)
    expect(deep.terms).toBeNull()
    expect(deep.problems).toHaveLength(1)
  })

  test('a list of 201 is refused, one of 200 is not', () => {
    const list = (count: number) => {
      const names = Array.from({ length: count }, (_, index) => `r${index}`)
      return parseText(lease({ resources: `{ repos: [${names.join(', ')}] }` }))
    }
    expect(list(201).problems).toMatchObject([{ code: 'too_many' }])
    expect(list(200).problems).toEqual([])
  })

  test('a purpose of 401 characters is refused', () => {
    expect(parseText(lease({ purpose: 'x'.repeat(401) })).problems).toMatchObject([
      { code: 'too_long' },
    ])
  })

  test('a file of errors reports 50 of them', () => {
    const many = Array.from({ length: 60 }, (_, index) => `  q${index}z: 1\n`).join('')
    expect(parseText(lease() + many).problems).toHaveLength(50)
  })
})

const FIXTURES = ['valid', 'warning'].flatMap((folder) =>
  readdirSync(new URL(`../fixtures/leases/${folder}`, import.meta.url)).map(
    (name) => `${folder}/${name}`,
  ),
)

test.each([...FIXTURES, 'essay-prompt.yaml'])('%s gives terms that the core accepts', (name) => {
  expect(validateTerms(parseFixture(name).terms)).toEqual({ ok: true, value: true })
})

test('the lease of the demonstration parses without a problem', () => {
  const text = read('examples/dependency-update/lease.yaml')
  expect(parseText(text)).toMatchObject({ problems: [], ceilingOnly: false })
})

test('law: terms exist exactly when there is no error, and the core accepts them', () => {
  const texts = [...FIXTURES, 'essay-prompt.yaml'].map((name) =>
    read(`test/fixtures/leases/${name}`),
  )
  const seen = { good: 0, bad: 0 }
  const edit = fc.record({
    text: fc.constantFrom(...texts),
    at: fc.double({ min: 0, max: 1, noNaN: true }),
    cut: fc.nat(2),
    put: fc.oneof(
      fc.string({ maxLength: 6 }),
      fc.constantFrom(
        '*',
        '**',
        '.',
        '[',
        '{',
        '"',
        ':',
        ' ',
        '\n',
        '\t',
        '-',
        '&a ',
        '!!',
        '#',
        '\u202e',
      ),
    ),
  })
  fc.assert(
    fc.property(edit, ({ text, at, cut, put }) => {
      const from = Math.floor(at * text.length)
      const edited = text.slice(0, from) + put + text.slice(from + cut)
      const { terms, problems } = parseText(edited)
      const failed = problems.some((problem) => problem.severity === 'error')
      expect(terms === null).toBe(failed)
      if (terms !== null) expect(validateTerms(terms)).toEqual({ ok: true, value: true })
      seen[failed ? 'bad' : 'good']++
    }),
    { numRuns: 1500 },
  )
  expect(Math.min(seen.good, seen.bad)).toBeGreaterThan(75)
})
