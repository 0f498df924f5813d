import { err, ok, type Result } from './result.ts'
import { quote } from './text.ts'

/**
 * An exact decimal: `units` × 10^-`scale`. Money and bounds are compared in it, never in floats.
 */
export interface Decimal {
  readonly units: bigint
  readonly scale: number
}

/** More digits name no amount that anybody has; without a limit, arithmetic is a way to stall. */
export const DECIMAL_DIGITS_MAX = 40

export const ZERO: Decimal = { units: 0n, scale: 0 }

const GRAMMAR = /^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?$/u

/**
 * Parses a decimal string such as `"2.00"`, or a number that means exactly what it prints. Refused:
 * exponents, a plus sign, leading zeros, negative zero, more than 40 digits; of numbers those that
 * are not finite or lie beyond 2^53, where JSON has already rounded them (threat 11).
 */
export function parseDecimal(value: string | number): Result<Decimal, string> {
  if (typeof value === 'number') return parseNumber(value)
  if (typeof value !== 'string') return err('not a decimal; write a string such as "2.00"')
  if (!GRAMMAR.test(value)) {
    return err(`${quote(value)} is not a decimal; write digits with one point, such as "2.00"`)
  }
  const point = value.indexOf('.')
  const isNegative = value.startsWith('-')
  const digits = value.length - (point === -1 ? 0 : 1) - (isNegative ? 1 : 0)
  // Before the number is made: that costs more than linear time.
  if (digits > DECIMAL_DIGITS_MAX) {
    return err(`${quote(value)} has more than ${DECIMAL_DIGITS_MAX} digits; write a shorter number`)
  }
  const units = BigInt(point === -1 ? value : value.slice(0, point) + value.slice(point + 1))
  if (units === 0n && isNegative) return err(`${quote(value)} is negative zero; write "0"`)
  return ok({ units, scale: point === -1 ? 0 : value.length - point - 1 })
}

function parseNumber(value: number): Result<Decimal, string> {
  if (!Number.isFinite(value)) return err(`\`${value}\` is not a finite number`)
  if (Object.is(value, -0)) return err('negative zero is not a number here; write 0')
  if (Math.abs(value) > Number.MAX_SAFE_INTEGER) {
    return err(`\`${value}\` is beyond 2^53 and not exact; write it as a decimal string`)
  }
  return parseDecimal(String(value))
}

/** Negative, zero or positive, as for `sort`. */
export function compareDecimals(left: Decimal, right: Decimal): number {
  const [a, b] = align(left, right)
  return a < b ? -1 : a > b ? 1 : 0
}

/** The exact sum. */
export function addDecimals(left: Decimal, right: Decimal): Decimal {
  const [a, b] = align(left, right)
  return { units: a + b, scale: Math.max(left.scale, right.scale) }
}

/** The exact difference, `left` minus `right`. */
export function subtractDecimals(left: Decimal, right: Decimal): Decimal {
  return addDecimals(left, { units: -right.units, scale: right.scale })
}

/** The one text of a value: no trailing zeros after the point, no negative zero. Parses back. */
export function formatDecimal(decimal: Decimal): string {
  const negative = decimal.units < 0n
  const digits = (negative ? -decimal.units : decimal.units)
    .toString()
    .padStart(decimal.scale + 1, '0')
  const whole = digits.slice(0, digits.length - decimal.scale)
  const fraction = digits.slice(digits.length - decimal.scale).replace(/0+$/u, '')
  const text = fraction === '' ? whole : `${whole}.${fraction}`
  return negative ? `-${text}` : text
}

function align(left: Decimal, right: Decimal): [bigint, bigint] {
  const scale = Math.max(left.scale, right.scale)
  return [
    left.units * 10n ** BigInt(scale - left.scale),
    right.units * 10n ** BigInt(scale - right.scale),
  ]
}

/** The exact sum of two decimal strings. Throws on text that `parseDecimal` refuses. */
export function add(left: string, right: string): string {
  return formatDecimal(addDecimals(read(left), read(right)))
}

/** The exact difference of two decimal strings. Throws on text that `parseDecimal` refuses. */
export function subtract(left: string, right: string): string {
  return formatDecimal(subtractDecimals(read(left), read(right)))
}

/** Compares two decimal strings, as for `sort`. Throws on text that `parseDecimal` refuses. */
export function compare(left: string, right: string): number {
  return compareDecimals(read(left), read(right))
}

function read(text: string): Decimal {
  const parsed = parseDecimal(text)
  if (!parsed.ok) throw new Error(parsed.error)
  return parsed.value
}
