import fc from 'fast-check'
import { describe, expect, it, test } from 'vitest'
import { constraintContained, parseConstraint, satisfies } from '../../src/core/constraint.ts'
import type { Json } from '../../src/core/id.ts'
import type { Constraint } from '../../src/core/lease.ts'
import { atLeast, runs } from './runs.ts'
import { rows } from './table.ts'
import { fastestMs } from './timing.ts'

const json = (text: string) => (text === 'absent' ? undefined : JSON.parse(text)) as Json

describe('satisfies', () => {
  it.each(
    rows(`
      {"exact":10}                    10                        yes
      {"exact":10}                    "10"                      no
      {"exact":"10"}                  10                        no
      {"exact":0}                     -0                        no
      {"exact":true}                  "true"                    no
      {"exact":null}                  null                      yes
      {"exact":null}                  absent                    no
      {"exact":{"a":1,"b":[2]}}       {"b":[2],"a":1}           yes
      {"exact":{"a":1}}               {"a":1,"bcc":"x"}         no
      {"exact":[1,2]}                 [2,1]                     no
      {"exact":"a"}                   ["a"]                     no
      {"one_of":["EUR","USD"]}        "EUR"                     yes
      {"one_of":["EUR"]}              "eur"                     no
      {"one_of":["EUR"]}              ["EUR"]                   no
      {"one_of":[1,"2"]}              "1"                       no
      {"not_one_of":["root"]}         "bob"                     yes
      {"not_one_of":["root"]}         "root"                    no
      {"not_one_of":["root"]}         ["root"]                  no
      {"not_one_of":["root"]}         {"x":1}                   no
      {"not_one_of":["root"]}         1                         no
      {"not_one_of":["root"]}         null                      no
      {"not_one_of":["root"]}         "root\\u200b"             no
      {"not_one_of":["root",0]}       1                         yes
      {"not_one_of":["root"]}         absent                    no
      {"max":"100.00"}                "100"                     yes
      {"max":"100.00"}                100                       yes
      {"max":"100.00"}                "100.01"                  no
      {"max":"100.00"}                100.5                     no
      {"max":"0.3"}                   0.30000000000000004       no
      {"max":"0.3"}                   0.3                       yes
      {"max":100}                     "1e1"                     no
      {"max":100}                     1e309                     no
      {"max":100}                     -0                        no
      {"max":"99999999999999999999"}  9007199254740993          no
      {"max":"99999999999999999999"}  "9007199254740993"        yes
      {"max":100}                     [1]                       no
      {"max":100}                     {"valueOf":1}             no
      {"max":100}                     null                      no
      {"max":100}                     true                      no
      {"max":100}                     ""                        no
      {"max":100}                     absent                    no
      {"min":"0.01"}                  0                         no
      {"min":"0.01","max":"1"}        "0.5"                     yes
      {"pattern":"GB29*"}             "GB29NWBK"                yes
      {"pattern":"GB29*"}             "GB28"                    no
      {"pattern":"GB29*"}             ["GB29"]                  no
      {"pattern":"1*"}                10                        no
      {"pattern":"src/**"}            "src/a/b"                 yes
      {"pattern":"src/**"}            "src/../etc"              no
      {"pattern":"src/**"}            "src/%2e%2e/etc"          no
      {"pattern":"src/**"}            "src/..\\\\etc"           no
      {"pattern":"src/**"}            "src/a\\u0000"            no
      {"each":{"pattern":"*@x.com"}}  ["a@x.com","b@x.com"]     yes
      {"each":{"pattern":"*@x.com"}}  ["a@x.com","b@evil.com"]  no
      {"each":{"pattern":"*@x.com"}}  "a@x.com"                 no
      {"each":{"pattern":"*@x.com"}}  []                        no
      {"each":{"pattern":"*@x.com"}}  {"0":"a@x.com"}           no
      {"each":{"each":{"max":1}}}     [[1],[0,1]]               yes
      {"each":{"each":{"max":1}}}     [[1],[2]]                 no
    `),
  )('%s on %s: %s', (constraint, value, expected) => {
    const parsed = parseConstraint(json(constraint!))
    expect(parsed.ok && satisfies(parsed.value, json(value!))).toBe(expected === 'yes')
  })

  test('threat 13: one good and one bad recipient is denied', () => {
    const constraint = { each: { one_of: ['good@x.com'] } }
    expect(satisfies(constraint, ['good@x.com'])).toBe(true)
    expect(satisfies(constraint, ['good@x.com', 'bad@x.com'])).toBe(false)
  })

  test('threat 10: `__proto__` and `constructor` are data', () => {
    const hostile = JSON.parse('{"__proto__":{"a":1}}') as Json
    expect(satisfies({ exact: { a: 1 } }, hostile)).toBe(false)
    expect(satisfies({ exact: JSON.parse('{"__proto__":1}') as Json }, {})).toBe(false)
    expect(satisfies({ exact: hostile }, JSON.parse('{"__proto__":{"a":1}}') as Json)).toBe(true)
  })

  test('threat 17: 10,000 levels of nesting end', () => {
    const deep = JSON.parse(`${'['.repeat(10_000)}${']'.repeat(10_000)}`) as Json
    expect(parseConstraint({ exact: deep }).ok).toBe(false)
    for (const constraint of [{ exact: [[1]] }, { each: { each: { max: 1 } } }, { max: 1 }]) {
      expect(satisfies(constraint, deep)).toBe(false)
    }
    let each: unknown = { max: 1 }
    for (let i = 0; i < 10_000; i++) each = { each }
    expect(parseConstraint(each).ok).toBe(false)
  })

  test('threat 16: a 50 kB argument is decided under 5 ms', () => {
    const text = 'a'.repeat(50_000)
    for (const constraint of [{ pattern: '*a*a*b' }, { max: 1 }, { not_one_of: ['b'] }]) {
      expect(
        fastestMs(() => {
          expect(satisfies(constraint, text)).toBe(false)
        }),
      ).toBeLessThan(5)
    }
  })
})

describe('parseConstraint', () => {
  it.each(
    rows(`
      null                          -                write a mapping
      []                            -                write a mapping
      "x"                           -                write a mapping
      {}                            -                empty constraint
      {"maximum":1}                 maximum          unknown constraint
      {"__proto__":{"max":1}}       __proto__        unknown constraint
      {"constructor":1}             constructor      unknown constraint
      {"exact":9007199254740993}    exact            2^53
      {"exact":[-0]}                exact            2^53
      {"exact":1e309}               exact            2^53
      {"one_of":[]}                 one_of           not a list
      {"one_of":"a"}                one_of           not a list
      {"one_of":[1,1e309]}          one_of[1]        2^53
      {"not_one_of":[["a"]]}        not_one_of[0]    plain value
      {"max":1.5}                   max              in quotes
      {"max":"1e3"}                 max              not a decimal
      {"max":null}                  max              not a number
      {"max":"-0"}                  max              negative zero
      {"min":2,"max":"1.99"}        -                raise max
      {"pattern":1}                 pattern          not a string
      {"pattern":"**/**"}           pattern          two
      {"each":{}}                   each             empty constraint
      {"each":{"max":"x"}}          each.max         not a decimal
      {"each":{"one_of":[1e309]}}   each.one_of[0]   2^53
    `),
  )('threats 11, 20: %s is refused at %s: %s', (text, path, words) => {
    expect(parseConstraint(json(text!))).toMatchObject({
      ok: false,
      error: { path: path === '-' ? '' : path, message: expect.stringContaining(words!) },
    })
  })

  test('a list has at most 256 values', () => {
    const values = Array.from({ length: 257 }, (_, i) => i)
    expect(parseConstraint({ one_of: values }).ok).toBe(false)
    expect(parseConstraint({ one_of: values.slice(1) }).ok).toBe(true)
  })
})

describe('constraintContained', () => {
  it.each(
    rows(`
      {"exact":1}                  {"exact":1}                    yes
      {"exact":1}                  {"one_of":[1,2]}               yes
      {"one_of":[1,3]}             {"one_of":[1,2]}               no
      {"exact":"1"}                {"exact":1}                    no
      {"exact":"50"}               {"max":"100.00"}               yes
      {"exact":"500"}              {"max":"100.00"}               no
      {"max":"99.99"}              {"max":"100.00"}               yes
      {"max":"100"}                {"max":"100.00"}               yes
      {"max":"100.01"}             {"max":"100.00"}               no
      {"min":1}                    {"max":"100"}                  no
      {"min":1,"max":9}            {"min":0,"max":"9.0"}          yes
      {"min":1}                    {"min":2}                      no
      {"pattern":"a/b/*"}          {"pattern":"a/**"}             yes
      {"pattern":"a/**"}           {"pattern":"a/b/*"}            no
      {"pattern":"a"}              {"one_of":["a","b"]}           yes
      {"pattern":"a*"}             {"one_of":["a","b"]}           no
      {"pattern":"a*"}             {"not_one_of":["b"]}           yes
      {"pattern":"a*"}             {"not_one_of":["ab"]}          no
      {"pattern":"a*"}             {"not_one_of":[1]}             no
      {"not_one_of":["a","b"]}     {"not_one_of":["a"]}           yes
      {"not_one_of":["a",1]}       {"not_one_of":["a"]}           no
      {"not_one_of":["b"]}         {"not_one_of":["a"]}           no
      {"max":5}                    {"not_one_of":[6,"6"]}         yes
      {"max":5}                    {"not_one_of":[6]}             no
      {"each":{"pattern":"a"}}     {"each":{"pattern":"*"}}       yes
      {"each":{"pattern":"*"}}     {"each":{"pattern":"a"}}       no
      {"exact":["a"]}              {"each":{"pattern":"*"}}       yes
      {"one_of":[1,9],"max":5}     {"exact":1}                    yes
      {"max":5}                    {"each":{"max":5}}             no
      {"bogus":5}                  {"max":5}                      no
    `),
  )('%s in %s: %s', (child, parent, expected) => {
    const verdict = constraintContained(json(child!) as Constraint, json(parent!) as Constraint)
    expect(verdict).toBe(expected === 'yes')
  })

  const scalars: Json[] = [null, true, 0, 1, 2, 5, '0', '1', '2.0', '5', 'a', 'ab', 'a/b', 'b', '']
  const values: Json[] = [
    ...scalars,
    [],
    ['a'],
    ['a', 'b'],
    [1],
    [[1]],
    { a: 1 },
    [null],
    1.5,
    '1.5',
  ]
  const scalar = fc.constantFrom(...scalars)
  const number = fc.constantFrom<string | number>(0, 1, 2, '1.5', '5', 5)
  const text = fc.constantFrom('a', '*', 'a*', '**', 'a/**', '*/b', '1', '1*')
  const member = (inner: fc.Arbitrary<Constraint> | null): fc.Arbitrary<Constraint> =>
    fc.oneof(
      fc.record({ exact: fc.constantFrom(...values) }),
      fc.record({ one_of: fc.array(fc.constantFrom(...values), { minLength: 1, maxLength: 3 }) }),
      fc.record({ not_one_of: fc.array(scalar, { minLength: 1, maxLength: 3 }) }),
      fc.record({ max: number }),
      fc.record({ min: number }),
      fc.record({ pattern: text }),
      ...(inner === null ? [] : [fc.record({ each: inner })]),
    )
  const members = (inner: fc.Arbitrary<Constraint> | null) =>
    fc
      .tuple(member(inner), fc.option(member(inner)))
      .map(([one, other]): Constraint => ({ ...one, ...other }))
      .filter((each) => parseConstraint(each).ok)
  const constraint = members(members(null))
  const family = fc
    .record({ parent: constraint, other: constraint, narrow: fc.boolean() })
    .map(({ parent, other, narrow }) => ({
      parent,
      child: narrow ? { ...parent, ...other } : other,
    }))
    .filter(({ child }) => parseConstraint(child).ok)

  test('law: what satisfies a contained constraint satisfies its parent', () => {
    let contained = 0
    fc.assert(
      fc.property(family, ({ child, parent }) => {
        expect(constraintContained(child, child)).toBe(true)
        if (!constraintContained(child, parent)) return
        if (values.some((value) => satisfies(child, value))) contained++
        for (const value of values) {
          if (satisfies(child, value)) expect(satisfies(parent, value)).toBe(true)
        }
      }),
      { numRuns: runs(20_000) },
    )
    expect(contained).toBeGreaterThan(atLeast(500))
  })
})
