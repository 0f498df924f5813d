import type { Entry } from '../../src/core/entry.ts'
import { headOf } from '../../src/ledger/chain.ts'
import { foldReceipt } from '../../src/ledger/fold.ts'
import { RECEIPT_DOMAIN, type Receipt } from '../../src/ledger/receipt.ts'
import { type SigningKey, signContent } from '../../src/ledger/sign.ts'

export type Path = readonly (string | number)[]

/** The path of every value that is not an object or array with something in it. */
export function leaves(value: unknown, path: Path = []): Path[] {
  if (typeof value !== 'object' || value === null) return [path]
  const members = Object.entries(value)
  if (members.length === 0) return [path]
  return members.flatMap(([name, each]) =>
    leaves(each, [...path, Array.isArray(value) ? Number(name) : name]),
  )
}

/** A copy in which the value at the path is another one of its kind. */
export function flipped<T>(value: T, path: Path): T {
  const [name, ...rest] = path
  if (name === undefined) return flip(value) as T
  const member = (value as Record<string, unknown>)[name]
  const next = flipped(member, rest)
  if (Array.isArray(value)) return value.with(Number(name), next) as T
  return { ...value, [name]: next }
}

function flip(value: unknown): unknown {
  if (typeof value === 'string') {
    return value === '' ? 'x' : (value[0] === 'a' ? 'b' : 'a') + value.slice(1)
  }
  if (typeof value === 'number') return value + 1
  if (typeof value === 'boolean') return !value
  if (Array.isArray(value)) return ['x']
  return value === null ? 'x' : { x: 1 }
}

/**
 * What somebody with a key can make of a receipt: chain, body and signature fit the entries again.
 */
export function forge(receipt: Receipt, entries: readonly Entry[], key: SigningKey): Receipt {
  const { signature: _, ...old } = receipt
  const { entries: __, ...rest } = old
  const content = { ...rest, body: foldReceipt(entries), head: headOf(entries) }
  return { ...content, entries, signature: signContent(RECEIPT_DOMAIN, content, key) }
}

/** Signs whatever it is given. */
export function resign(receipt: Receipt, key: SigningKey): Receipt {
  const { entries, signature: _, ...content } = receipt
  return { ...content, entries, signature: signContent(RECEIPT_DOMAIN, content, key) }
}
