import {
  addDecimals,
  compareDecimals,
  type Decimal,
  formatDecimal,
  parseDecimal,
  subtractDecimals,
  ZERO,
} from './decimal.ts'

/**
 * Amounts as they stand in entries: decimal strings. Exact; a bad string is a bug of the caller.
 */

function read(amount: string): Decimal {
  const parsed = parseDecimal(amount)
  if (!parsed.ok) throw new Error(parsed.error)
  return parsed.value
}

export function plus(left: string, right: string): string {
  return formatDecimal(addDecimals(read(left), read(right)))
}

export function minus(left: string, right: string): string {
  return formatDecimal(subtractDecimals(read(left), read(right)))
}

export function isMore(left: string, right: string): boolean {
  return compareDecimals(read(left), read(right)) > 0
}

/** An amount that can be spent: a decimal that is not negative. */
export function isAmount(amount: string): boolean {
  const parsed = parseDecimal(amount)
  return parsed.ok && compareDecimals(parsed.value, ZERO) >= 0
}
