import { describe, expect, test } from 'vitest'
import {
  type ChainRow,
  canonicalBody,
  chainHash,
  fromRows,
  GENESIS,
  headOf,
  toRows,
} from '../../src/ledger/chain.ts'
import { at, begin, readFacts, sampleLedger } from './support.ts'

describe('chain', () => {
  const { entries } = sampleLedger()
  const rows = toRows(GENESIS, entries)

  test('wire literals: genesis, domain and form of a hash', () => {
    expect(GENESIS).toBe('0'.repeat(64))
    // printf 'daypass-entry-v1\n%064d\n{}' 0 | sha256sum
    expect(chainHash(GENESIS, '{}')).toBe(
      'b55f8d889e1257cf5b5b80b1c2612dbbf4b0a0a6fd61966722d91608f0c3fa27',
    )
  })

  test('rows read back are the entries', () => {
    expect(fromRows(rows)).toEqual({ ok: true, value: JSON.parse(JSON.stringify(entries)) })
    expect(rows.at(-1)!.hash).toBe(headOf(entries))
  })

  test('a part of a chain is read after the head before it', () => {
    const head = rows[9]!
    const rest = fromRows(rows.slice(10), head)
    expect(rest.ok && rest.value.length).toBe(rows.length - 10)
    expect(toRows(head.hash, entries.slice(10))).toEqual(rows.slice(10))
    expect(fromRows(rows.slice(10)).ok).toBe(false)
  })

  test.each<[string, (row: ChainRow) => ChainRow]>([
    ['hash', (row) => ({ ...row, hash: row.hash.replace(/^./, (c) => (c === '0' ? '1' : '0')) })],
    ['body', (row) => ({ ...row, body: row.body.replace('"seq"', '"sEq"') })],
    ['body, with its hash', (row) => ({ ...row, body: '{}', hash: chainHash(GENESIS, '{}') })],
    ['time', (row) => ({ ...row, at: row.at + 1 })],
    ['type', (row) => ({ ...row, type: 'call.settled.' })],
    ['sequence number', (row) => ({ ...row, seq: row.seq + 1 })],
  ])('threat 76: a changed %s of any row is refused, with the entry', (_name, change) => {
    for (const [index, row] of rows.entries()) {
      const changed = rows.with(index, change(row))
      expect(fromRows(changed)).toMatchObject({ ok: false, error: { seq: index + 1 } })
    }
  })

  test('threat 76: a row that is missing, doubled or moved is refused', () => {
    for (let index = 0; index < rows.length - 1; index++) {
      expect(fromRows(rows.toSpliced(index, 1)).ok).toBe(false)
      expect(fromRows(rows.toSpliced(index, 0, rows[index]!)).ok).toBe(false)
      expect(fromRows(rows.toSpliced(index, 2, rows[index + 1]!, rows[index]!)).ok).toBe(false)
    }
  })

  test('threat 75: newlines, escapes and JSON in a value stay one well-formed record', () => {
    const evil = 'a\n{"seq":99,"type":"lease.approved"}\r\n\u001b[2J\u0000\u2028","x":"'
    const ledger = begin()
    ledger.call(at(1), 'evil', readFacts(evil))
    const bodies = ledger.entries.map(canonicalBody)
    const controls = ['\n', '\r', '\u001b', '\u0000']
    expect(bodies.some((body) => controls.some((each) => body.includes(each)))).toBe(false)
    expect(bodies.map((body) => JSON.parse(body))).toEqual(ledger.entries)
  })
})
