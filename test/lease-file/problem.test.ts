import { readdirSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { didYouMean, editDistance, renderProblem } from '../../src/lease-file/problem.ts'
import { columnsOf } from '../../src/lease-file/wrap.ts'
import { lease, parseFixture, parseText, read } from './support.ts'

const files = (folder: string) =>
  readdirSync(new URL(`../fixtures/leases/${folder}`, import.meta.url)).map((n) => `${folder}/${n}`)

/** Each file says in its first line what must be found in it. */
function declared(name: string): string {
  const match = /^# schema: (?:passes|fails); expect: (.+)$/m.exec(
    read(`test/fixtures/leases/${name}`),
  )
  return match![1]!
}

describe.each(files('invalid'))('%s', (name) => {
  test('is refused with the problem that it declares', () => {
    const { terms, problems } = parseFixture(name)
    expect(terms).toBeNull()
    expect(problems.every((problem) => problem.severity === 'error')).toBe(true)
    expect(problems.map((p) => `${p.code} ${p.line}:${p.column}`).join(', ')).toBe(declared(name))
  })
})

describe.each(files('warning'))('%s', (name) => {
  test('is read with the warning that it declares', () => {
    const { terms, problems } = parseFixture(name)
    expect(terms).not.toBeNull()
    expect(problems.every((problem) => problem.severity === 'warning')).toBe(true)
    expect(problems.map((p) => `${p.code} ${p.line}:${p.column}`).join(', ')).toBe(declared(name))
  })
})

test.each([...files('invalid'), ...files('warning')])('%s is explained', (name) => {
  const text = read(`test/fixtures/leases/${name}`)
  for (const problem of parseFixture(name).problems) {
    const lines = renderProblem(problem, text).split('\n')
    expect(lines.filter((line) => columnsOf(line) > 80)).toEqual([])
    expect(problem.message).toMatch(/^[^A-Z]/)
    expect(problem.message).not.toMatch(/[.!]$/)
    expect(lines.some((line) => line.includes('^'))).toBe(true)
    expect(lines.at(-1)).toMatch(/SPEC\.md#[a-z_]+$/)
  }
})

test('a problem is shown as the terminal page says', () => {
  const text = lease({ max_tool_calls: null, expires_in: '30 mins' })
  const [problem] = parseText(text, { file: 'dependency-update.yaml' }).problems
  expect(renderProblem(problem!, text)).toBe(
    [
      'dependency-update.yaml:7:15: unknown duration `30 mins`',
      '  7 |   expires_in: 30 mins',
      '    |               ^^^^^^^ write 30m, 1h30m or 2h; at most 8h here',
      'nothing was started. SPEC.md#durations',
    ].join('\n'),
  )
})

test('a long hint gets lines of its own', () => {
  const name = 'invalid/redacted-address.yaml'
  const [problem] = parseFixture(name).problems
  expect(renderProblem(problem!, read(`test/fixtures/leases/${name}`))).toBe(
    [
      'invalid/redacted-address.yaml:4:15: `[email protected]` stands where an address',
      '  was removed by the page it was copied from',
      '  4 | requested_by: [email protected]',
      '    |               ^^^^^^^^^^^^^^^^^',
      '    | write the real one: requested_by: maintainer@example.com',
      'nothing was started. SPEC.md#lease',
    ].join('\n'),
  )
})

test('carets stand under the place, however the line is written', () => {
  // A wide character takes two columns, a hidden one is shown by its number, a long line is cut.
  const text = lease({ agent: `"日本" # ${'\u202e'}`, x: 'y' })
  for (const [line, key] of [
    [lease({ 日本: '1' }), '日本'],
    [
      lease({ deny: `[secret.read, ${Array(9).fill('production.deploy.x').join(', ')}, "a b"]` }),
      '"a b"',
    ],
    [text, 'x'],
  ] as const) {
    const problem = parseText(line).problems.find((each) => each.severity === 'error')!
    const shown = renderProblem(problem, line).split('\n')
    const caret = shown.findIndex((each) => each.includes('^'))
    const column = columnsOf(shown[caret]!.slice(0, shown[caret]!.indexOf('^')))
    const above = columnsOf(shown[caret - 1]!.slice(0, shown[caret - 1]!.indexOf(key)))
    expect(shown[caret - 1]).toContain(key)
    expect(above).toBe(column)
    expect(shown.join('')).not.toMatch(/\u202e/)
  }
})

test('Windows line ends and a byte order mark do not move positions', () => {
  const text = lease({ expires_in: '30 mins' })
  const expected = parseText(text).problems
  expect(parseText(text.replaceAll('\n', '\r\n')).problems).toEqual(expected)
  expect(parseText(`\ufeff${text}`).problems).toEqual(expected)
})

test.each([
  // word             likely one       distance
  ['max_tool_cals', 'max_tool_calls', 1],
  ['expiers_in', 'expires_in', 1],
  ['repo.comit', 'repo.commit', 1],
  ['Deny', 'deny', 1],
  ['colour', null, 6],
])('%s means %s', (word, meant, distance) => {
  const known = ['max_tool_calls', 'expires_in', 'repo.commit', 'deny']
  expect(didYouMean(word, known)).toBe(meant)
  if (meant !== null) expect(editDistance(word, meant)).toBe(distance)
})

test('an unknown field says what it may mean, or what there is', () => {
  expect(parseText(lease({ denny: '[secret.read]' })).problems[0]).toMatchObject({
    message: 'unknown field `denny` in the lease',
    hint: 'did you mean deny?',
  })
  expect(parseText(lease({ colour: 'red' })).problems[0]!.hint).toContain(
    'known are version, agent',
  )
})
