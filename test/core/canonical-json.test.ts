import canonicalize from 'canonicalize'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { canonicalJson } from '../../src/core/canonical-json.ts'
import { runs } from './runs.ts'

describe('canonical JSON', () => {
  test('equals the canonicalize package on every JSON value', () => {
    const text = fc.oneof(fc.string(), fc.string({ unit: 'binary' }))
    const { value } = fc.letrec((tie) => ({
      value: fc.oneof(
        { maxDepth: 5 },
        text,
        fc.integer(),
        fc.double({ noNaN: true, noDefaultInfinity: true }),
        fc.constantFrom(null, true, false, -0, 1e21, 1e-7, '\u2028', '__proto__', 'ﬀ', '😀'),
        fc.array(tie('value'), { maxLength: 5 }),
        fc.dictionary(text, tie('value'), { maxKeys: 5 }),
        fc.dictionary(text, fc.boolean(), { minKeys: 15, maxKeys: 20 }),
      ),
    }))
    fc.assert(
      fc.property(value, (json) => {
        expect(canonicalJson(json)).toBe(canonicalize(json))
      }),
      { numRuns: runs(2000) },
    )
  })

  test.each([
    ['undefined', { a: undefined }],
    ['a function', [() => 1]],
    ['infinity', Number.POSITIVE_INFINITY],
    ['not a number', { a: Number.NaN }],
    ['half a surrogate pair', 'a\ud800'],
    ['half a surrogate pair in a name', { '\udc00': 1 }],
    ['a big integer', 1n],
  ])('refuses %s', (_name, value) => {
    expect(() => canonicalJson(value)).toThrow(/not JSON/)
  })
})
