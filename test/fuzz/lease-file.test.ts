import fc from 'fast-check'
import { expect, test } from 'vitest'
import { validateTerms } from '../../src/core/validate.ts'
import { ENVELOPE_FIELDS } from '../../src/lease-file/envelope-document.ts'
import { LEASE_FIELDS } from '../../src/lease-file/lease-document.ts'
import { PROBLEMS_MAX } from '../../src/lease-file/limits.ts'
import type { ParsedLease } from '../../src/lease-file/parse.ts'
import { renderProblem } from '../../src/lease-file/problem.ts'
import { promptOf } from '../../src/lease-file/prompt.ts'
import { renderPrompt } from '../../src/lease-file/render-prompt.ts'
import { context, NOW, parseText } from '../lease-file/support.ts'
import { cases, edited, Share } from './support.ts'

/** A value of YAML, to be written in one style or another. */
type Value = string | Value[] | { readonly [name: string]: Value }

const oneOf = (...texts: string[]): fc.Arbitrary<Value> => fc.constantFrom(...texts)
const listOf = (...texts: string[]): fc.Arbitrary<Value> =>
  fc.uniqueArray(fc.constantFrom(...texts), { minLength: 1, maxLength: 4 })

const rare = <T>(usual: fc.Arbitrary<T>, odd: fc.Arbitrary<T>) =>
  fc.oneof({ weight: 60, arbitrary: usual }, { weight: 1, arbitrary: odd })

/** Granted in nearly every lease below, so that other fields may name it. */
const USUAL = ['repo.read', 'pull_request.create']
const ACTIONS = [
  ...['repo.push', 'repo.commit', 'pull_request.merge', 'payment.send', 'pull_request.*'],
  ...['repo.**', 'secret.write', 'secrets.read', 'no.such.action'],
]
const actions = rare(
  fc.uniqueArray(fc.constantFrom(...ACTIONS), { maxLength: 3 }).map((more) => [...USUAL, ...more]),
  listOf(...ACTIONS, 'repo', '"a..b"', '"*.**.*.**"', '7'),
)
const resources = rare<Value>(
  fc.record(
    {
      repos: listOf('clord', 'clord-*', '"**"', 'a/b'),
      branches: listOf('main', 'agent/*', 'refs/heads/x'),
      paths: listOf('src/**', './a//b', '.'),
      urls: listOf('https://X.com/*', 'https://x.com:443/a'),
      emails: listOf('Bob@X.com', "'*@x.com'"),
      accounts: listOf('GB29*'),
      unknown_type: listOf('x'),
    },
    { requiredKeys: ['repos'] },
  ),
  fc.dictionary(
    fc.constantFrom('repos', 'branches', 'Paths', '__proto__', 'a.b'),
    listOf('..', '"{a,b}"'),
  ),
)
const constraint = rare<Value>(
  fc.record(
    {
      one_of: listOf('EUR', 'USD', '1', '"100.00"'),
      max: oneOf('"100.00"', '9'),
      pattern: oneOf('a/*', "'**'"),
    },
    { requiredKeys: ['one_of'] },
  ),
  fc.dictionary(
    fc.constantFrom('exact', 'not_one_of', 'min', 'each', 'regex'),
    fc.oneof(oneOf('1.5', 'true', 'null', '1e309', '"**/**"'), listOf('EUR')),
  ),
)
const grant = fc.record(
  {
    actions,
    resources,
    where: fc.dictionary(fc.constantFrom('amount', 'to', '__proto__'), constraint, { minKeys: 1 }),
  },
  { requiredKeys: ['actions'] },
)

/** What a field may have; now and then one has what it must not, or the value of another one. */
const FIELDS: Readonly<Record<string, fc.Arbitrary<Value>>> = {
  version: rare(oneOf('1'), oneOf('2', '"1"', '1.0')),
  agent: oneOf('repo-maintenance-agent', '"agent 7"'),
  subject: oneOf('agt_run_1'),
  purpose: rare(
    oneOf('update dependency and open PR', "'it''s: quoted'", '"caf\\u00e9"'),
    oneOf('"a\\nb"', '"\\u202e"', '7'),
  ),
  user: oneOf('mira@clord.example', 'human_or_service_owner'),
  resources,
  actions,
  grants: fc.array(grant, { minLength: 1, maxLength: 3 }) as fc.Arbitrary<Value>,
  deny: rare(
    listOf('production.deploy', 'secret.read', 'secrets', 'user.*'),
    listOf('pull_request', 'repo.**'),
  ),
  ask: rare(listOf(...USUAL, 'payment.send'), listOf('pull_request.**', 'x.*')),
  on_exceed: rare(oneOf('deny', 'ask', 'suspend'), oneOf('allow', 'Deny')),
  expires_in: rare(oneOf('30m', '1h30m', '2h', '90s', '8h'), oneOf('9h', '30', '0s', 'PT1H')),
  until: rare(listOf(...USUAL), listOf('repo.merge')),
  max_tool_calls: rare(oneOf('30', '1', '10000'), oneOf('0', '10001', '1e1', '0x10', '-3', '1.5')),
  limits: fc.record(
    { 'pull_request.create': oneOf('1', '9'), 'repo.read': rare(oneOf('3'), oneOf('0')) },
    { requiredKeys: ['pull_request.create'] },
  ),
  budget: fc.record({
    minutes: rare(oneOf('20'), oneOf('0.5')),
    usd: rare(oneOf('"2.00"'), oneOf('2.00', '"1e3"', '"-1"')),
  }),
  delegate: fc.record(
    {
      max_depth: rare(oneOf('1', '4'), oneOf('5')),
      max_children: oneOf('2'),
      ask: rare(oneOf('true'), oneOf('no')),
    },
    { requiredKeys: ['max_depth'] },
  ),
  require_receipt: rare(oneOf('true', 'false'), oneOf('yes')),
  run_id: oneOf('agt_run_2026'),
  requested_by: oneOf('mira@clord.example'),
  approved_by: fc.oneof(oneOf('sam@clord.example'), listOf('sam@clord.example', 'lee@x.example')),
  started_at: rare(oneOf('2026-06-23T01:42:00Z'), oneOf('2026-06-23')),
  expires_at: rare(
    oneOf('2026-06-23T02:12:00Z', '2026-06-23T04:00:00.5+02:00'),
    oneOf('2026-06-31T00:00:00Z', '2020-01-01T00:00:00Z', '9999-12-31T23:59:59Z'),
  ),
  allowed_tools: actions,
  blocked_tools: listOf('production.deploy', 'billing.write'),
}

/** A map with these fields; now and then one is missing, has another's value, or is unknown. */
function document(
  needed: readonly string[],
  possible: readonly string[],
): fc.Arbitrary<{ readonly [name: string]: Value }> {
  const others = fc.constantFrom(...Object.values(FIELDS)).chain((value) => value)
  const members = possible.map((name) => {
    const value = rare(FIELDS[name]!, others)
    return [name, needed.includes(name) ? rare(value, fc.constant('')) : value] as const
  })
  return fc.record(Object.fromEntries(members), { requiredKeys: [...needed] })
}

interface Style {
  /** From this depth on: `{ a: 1 }`. */
  readonly flowFrom: number
  readonly gap: string
  readonly comment: string
}

function flow(value: Value): string {
  if (typeof value === 'string') return value
  if (Array.isArray(value)) return `[${value.map(flow).join(', ')}]`
  return `{ ${Object.entries(value)
    .map(([name, each]) => `${name}: ${flow(each)}`)
    .join(', ')} }`
}

function block(value: Value, depth: number, style: Style): string {
  if (typeof value === 'string') return ` ${value}${style.comment}\n`
  if (depth >= style.flowFrom || Object.keys(value).length === 0) return ` ${flow(value)}\n`
  const indent = style.gap.repeat(depth)
  if (Array.isArray(value)) {
    return `\n${value.map((each) => `${indent}-${nested(each, depth, style)}`).join('')}`
  }
  const members = Object.entries(value)
  return `\n${members.map(([name, each]) => `${indent}${name}:${block(each, depth + 1, style)}`).join('')}`
}

/** An item of a list: maps go on in flow style, which every depth allows. */
function nested(value: Value, depth: number, style: Style): string {
  return typeof value === 'string' ? block(value, depth, style) : ` ${flow(value)}\n`
}

const style: fc.Arbitrary<Style> = fc.record({
  flowFrom: fc.constantFrom(2, 3, 9),
  gap: fc.constantFrom('  ', '    ', ' '),
  comment: fc.constantFrom('', '', ' # why'),
})

const leases = fc
  .tuple(document(['purpose', 'user', 'actions', 'resources', 'expires_in'], LEASE_FIELDS), style)
  .map(([lease, as]) => `lease:${block(lease, 1, as)}`)
const envelopes = fc
  .tuple(document(['agent', 'requested_by', 'purpose', 'expires_at'], ENVELOPE_FIELDS), style)
  .map(([envelope, as]) => block(envelope, 0, as).trimStart())
const files = fc.oneof(
  { weight: 6, arbitrary: leases },
  { weight: 2, arbitrary: envelopes },
  { weight: 2, arbitrary: fc.tuple(envelopes, leases).map((both) => both.join('---\n')) },
)

const PIECES = [
  ...['*', '**', '.', '/', '[', ']', '{', '}', '"', "'", ':', ': ', ' ', '  ', '\n', '\t', '\r'],
  ...['- ', '? ', '&a ', '*a', '!!str ', '!', '#', ' #', '|\n', '>-\n', '---\n', '...\n', '%YAML'],
  ...['<<: ', '\u202e', '\u200b', '\u0000', '\u001b[2J', '\ufeff', '\u2028', '．', '\ud800', '\\'],
  ...['null', '~', 'true', '0x1f', '1e309', '.inf', '.nan', '1_000', '2026-01-01', '__proto__: 1'],
  ...['lease:', 'grants:', 'deny: []', 'actions: ["**"]', 'expires_in: 0s', '[[[[[[[[', 'e\u0301'],
]
const texts = fc.oneof(
  { weight: 3, arbitrary: files },
  { weight: 5, arbitrary: edited(files, PIECES) },
  { weight: 1, arbitrary: fc.array(fc.constantFrom(...PIECES)).map((all) => all.join('')) },
  { weight: 1, arbitrary: fc.string({ unit: 'binary' }) },
)

/** What would move the cursor of a terminal, or hide or turn text. */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u

function failed({ problems }: ParsedLease): boolean {
  return problems.some(({ severity }) => severity === 'error')
}

/** Every problem is at a place of the file, and can be shown to a person. */
function expectShown(text: string, { problems }: ParsedLease): void {
  expect(problems.length).toBeLessThanOrEqual(PROBLEMS_MAX)
  const lines = text.split('\n')
  for (const problem of problems) {
    expect(problem.line).toBeGreaterThanOrEqual(1)
    expect(problem.line).toBeLessThanOrEqual(lines.length)
    expect(problem.column).toBeGreaterThanOrEqual(1)
    expect(problem.length).toBeGreaterThanOrEqual(1)
    expect(problem.message).not.toBe('')
    expect(renderProblem(problem, text).replaceAll('\n', '')).not.toMatch(UNPRINTABLE)
  }
}

test('any text is a lease that the core accepts, or has an error: never both, never neither', () => {
  const good = new Share()
  fc.assert(
    fc.property(texts, (text) => {
      const parsed = parseText(text)
      good.count(parsed.terms !== null)
      expect(parsed.terms === null).toBe(failed(parsed))
      expectShown(text, parsed)
      if (parsed.terms !== null) {
        expect(validateTerms(parsed.terms)).toEqual({ ok: true, value: true })
        expect(parsed.terms.expiresInSeconds).toBeGreaterThan(0)
        expect(parsed.notAfter ?? Number.POSITIVE_INFINITY).toBeGreaterThan(NOW)
      }
    }),
    cases({ part: 0.3 }),
  )
  expect(good.value).toBeGreaterThan(0.05)
  expect(good.value).toBeLessThan(0.8)
})

test('what is a lease can be shown to whoever must approve it, without hidden characters', () => {
  const shown = new Share()
  fc.assert(
    fc.property(edited(files, PIECES), (text) => {
      const { terms, problems } = parseText(text)
      shown.count(terms !== null)
      if (terms === null) return
      const prompt = promptOf(terms, context({ warnings: problems }))
      const lines = renderPrompt(prompt, { columns: 80, color: false })
      expect(lines.replaceAll('\n', '')).not.toMatch(UNPRINTABLE)
    }),
    cases({ part: 0.1 }),
  )
  expect(shown.value).toBeGreaterThan(0.05)
})

test('a comment, an empty line or another end of lines changes nothing', () => {
  fc.assert(
    fc.property(edited(files, PIECES), (text) => {
      const once = parseText(`${text}\n`)
      if (once.terms === null) return
      expect(parseText(`# a comment\n\n${text}\n`).terms).toEqual(once.terms)
      expect(parseText(`${text}\n\n# a comment\n`).terms).toEqual(once.terms)
    }),
    cases({ part: 0.1 }),
  )
})
