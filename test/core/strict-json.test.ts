import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { isDeeper, parseStrictJson } from '../../src/core/strict-json.ts'

const EXACT = { depthMax: 4, numbers: 'exact' } as const
const ANY = { depthMax: 4, numbers: 'any' } as const

describe('strict JSON', () => {
  test.each([
    '{"a":{"b":1},"c":[{"b":2},{"b":"{\\"b\\":1"}]}',
    '{"a":":","b":"\\\\","c":"\\\\\\":{"}',
    '{"":1,"a":-0.5,"__proto__":{"__proto__":[]}}',
    '9007199254740991',
    '[[[[1]]]]',
  ])('reads %s as JSON.parse does', (text) => {
    expect(parseStrictJson(text, EXACT)).toEqual({ ok: true, value: JSON.parse(text) })
  })

  test.each([
    ['a member twice', '{"a":1,"a":1}', 'repeated'],
    ['a member twice, deep inside', '[{"x":{"b":[],"a":1,"b":[]}}]', 'repeated'],
    ['a member twice, with an escape', '{"a":1,"\\u0061":2}', 'repeated'],
    ['`__proto__` twice', '{"__proto__":1,"__proto__":{}}', 'repeated'],
    ['five levels of lists', '[[[[[1]]]]]', 'deep'],
    ['five levels of objects', '{"a":{"a":{"a":{"a":{}}}}}', 'deep'],
    ['no end', '{"a":1', 'syntax'],
    ['a text without end', '"a', 'syntax'],
    ['nothing', '', 'syntax'],
    ['half a surrogate pair', '["\\ud800"]', 'inexact'],
    ['half a surrogate pair as a name', '{"\\udc00":1}', 'inexact'],
  ] as const)('threat 9, 17: refuses %s', (_name, text, fault) => {
    for (const options of [EXACT, ANY]) {
      expect(parseStrictJson(text, options)).toMatchObject({ ok: false, error: { fault } })
    }
  })

  test.each(['9007199254740993', '-9007199254740992', '1e309', '{"a":[1e22]}'])(
    'threat 11: refuses the number of %s, unless any will do',
    (text) => {
      expect(parseStrictJson(text, EXACT)).toMatchObject({ error: { fault: 'inexact' } })
      expect(parseStrictJson(text, ANY)).toEqual({ ok: true, value: JSON.parse(text) })
    },
  )

  test('threat 17: depth is that of brackets which are open at once, not of all, nor of texts', () => {
    const deep = '[1,true,"[[",{"a]}":[2,3,[4,5]]}]'
    expect([isDeeper(deep, 3), isDeeper(deep, 4), isDeeper(deep, 5)]).toEqual([true, false, false])
    expect(isDeeper('[[],[],{},[[]],[]]', 2)).toBe(true)
    expect(isDeeper('[[],[],{},[[]],[]]', 3)).toBe(false)
    expect(parseStrictJson('[[[],[]],[[],{"a":1}],[[]]]', EXACT).ok).toBe(true)
    expect(parseStrictJson('[[[1,[2,[3]]]]]', EXACT)).toMatchObject({ error: { fault: 'deep' } })
  })

  test('a text ends at its quote, however many backslashes stand in front of it', () => {
    for (const text of ['{"a\\\\":{"b":1}}', '{"\\\\":1,"b":2}', '["\\\\\\"",{"a":":"}]']) {
      expect(parseStrictJson(text, EXACT), text).toEqual({ ok: true, value: JSON.parse(text) })
    }
  })

  test('a list has no members, and null has none either', () => {
    expect(parseStrictJson('[null,{"a":null},[1]]', EXACT).ok).toBe(true)
    expect(parseStrictJson('null', EXACT)).toEqual({ ok: true, value: null })
  })

  test('the value of a refused text goes along, where there is one', () => {
    expect(parseStrictJson('{"id":7,"a":1,"a":2}', EXACT)).toMatchObject({
      error: { value: { id: 7 } },
    })
  })

  test('a text of 100,000 levels costs no more than its first ones', () => {
    const text = '['.repeat(100_000)
    expect(parseStrictJson(text, ANY)).toEqual({ ok: false, error: { fault: 'deep' } })
  })

  test('whatever JSON.stringify writes is read back', () => {
    const value = fc.jsonValue({ maxDepth: 2, stringUnit: 'grapheme' })
    fc.assert(
      fc.property(value, (json) => {
        const text = JSON.stringify(json)
        expect(parseStrictJson(text, ANY)).toEqual({ ok: true, value: JSON.parse(text) })
      }),
    )
  })
})
