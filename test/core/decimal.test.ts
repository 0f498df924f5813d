import fc from 'fast-check'
import { describe, expect, it, test } from 'vitest'
import { add, compare, formatDecimal, parseDecimal, subtract } from '../../src/core/decimal.ts'
import { rows } from './table.ts'

describe('parseDecimal', () => {
  it.each(
    rows(`
      0          0
      2.00       2
      0.10       0.1
      -0.5       -0.5
      100        100
      0.000001   0.000001
    `),
  )('%s is %s', (text, canonical) => {
    const parsed = parseDecimal(text!)
    expect(parsed.ok && formatDecimal(parsed.value)).toBe(canonical)
  })

  it.each([
    '',
    ' ',
    '1 ',
    ' 1',
    '+1',
    '-',
    '.5',
    '5.',
    '01',
    '-01',
    '1e3',
    '1E3',
    '1e309',
    '-0',
    '-0.00',
    'NaN',
    'Infinity',
    '0x10',
    '1_000',
    '1,000',
    '１',
    '1\n',
    '--1',
    '1.2.3',
    '9'.repeat(41),
    `0.${'1'.repeat(40)}`,
  ])('threat 11: %j is refused', (text) => {
    expect(parseDecimal(text).ok).toBe(false)
  })

  test.each([
    ['1,5', '`1,5` is not a decimal; write digits with one point, such as "2.00"'],
    ['-0.0', '`-0.0` is negative zero; write "0"'],
    ['1'.repeat(41), 'has more than 40 digits; write a shorter number'],
    [`-${'1'.repeat(41)}`, 'has more than 40 digits; write a shorter number'],
    [`-1.${'1'.repeat(40)}`, 'has more than 40 digits; write a shorter number'],
    [Number.NaN, '`NaN` is not a finite number'],
    [Number.NEGATIVE_INFINITY, '`-Infinity` is not a finite number'],
    [-0, 'negative zero is not a number here; write 0'],
    [2 ** 53, '`9007199254740992` is beyond 2^53 and not exact; write it as a decimal string'],
    [null as never, 'not a decimal; write a string such as "2.00"'],
  ])('says of %s what to write instead', (value, words) => {
    expect(parseDecimal(value)).toEqual({ ok: false, error: expect.stringContaining(words) })
  })

  test('forty digits are enough, whatever sign and point stand beside them', () => {
    for (const text of ['1'.repeat(40), `-1.${'1'.repeat(39)}`, `0.${'1'.repeat(39)}`]) {
      expect(parseDecimal(text).ok, text).toBe(true)
    }
    expect(parseDecimal(Number.MAX_SAFE_INTEGER).ok, 'the last number that is exact').toBe(true)
    expect(parseDecimal(Number.MIN_SAFE_INTEGER).ok).toBe(true)
  })

  test('threat 11: a text of 50,000 digits is refused', () => {
    expect(parseDecimal('9'.repeat(50_000)).ok).toBe(false)
  })

  it.each([
    Number.NaN,
    Number.POSITIVE_INFINITY,
    -0,
    Number('1e309'),
    1e21,
    2 ** 53,
    -(2 ** 53),
    1e-7,
  ])('threat 11: the number %d is refused', (number) => {
    expect(parseDecimal(number).ok).toBe(false)
  })

  it.each([null, undefined, true, [], {}, 10n])('%s is no number and no text', (value) => {
    expect(parseDecimal(value as unknown as string).ok).toBe(false)
  })

  test('40 digits are exact', () => {
    const text = `${'9'.repeat(20)}.${'9'.repeat(20)}`
    expect(add(text, '0')).toBe(text)
    expect(compare(text, `${'9'.repeat(20)}.${'9'.repeat(19)}8`)).toBeGreaterThan(0)
  })
})

describe('arithmetic', () => {
  it.each(
    rows(`
      0.1      0.2     0.3     -0.1
      2.00     0       2       2
      1        1.00    2       0
      -1.5     0.5     -1      -2
      9.99     0.01    10      9.98
    `),
  )('%s and %s: sum %s, difference %s', (left, right, sum, difference) => {
    expect(add(left!, right!)).toBe(sum)
    expect(subtract(left!, right!)).toBe(difference)
  })

  test('text that is no decimal is a bug of the caller', () => {
    expect(() => add('1', 'x')).toThrow('`x` is not a decimal')
  })

  const cents = fc.bigInt({ min: -(10n ** 18n), max: 10n ** 18n })
  const text = (units: bigint) => formatDecimal({ units, scale: 2 })

  test('law: exact, as integers of cents are', () => {
    fc.assert(
      fc.property(cents, cents, (a, b) => {
        expect(add(text(a), text(b))).toBe(text(a + b))
        expect(subtract(text(a), text(b))).toBe(text(a - b))
        expect(compare(text(a), text(b))).toBe(a < b ? -1 : a > b ? 1 : 0)
      }),
    )
  })

  test('law: the canonical text parses back to itself', () => {
    fc.assert(
      fc.property(cents, fc.nat(15), (units, scale) => {
        const canonical = formatDecimal({ units, scale })
        const parsed = parseDecimal(canonical)
        expect(parsed.ok && formatDecimal(parsed.value)).toBe(canonical)
        expect(parsed.ok && parsed.value.units * 10n ** BigInt(scale - parsed.value.scale)).toBe(
          units,
        )
      }),
    )
  })
})
