import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Entry } from '../../src/core/entry.ts'
import { fromRows, GENESIS, toRows } from '../../src/ledger/chain.ts'
import { explainCall, explainRun } from '../../src/ledger/explain.ts'
import { isAttempt } from '../../src/ledger/explanation.ts'
import { foldReceipt } from '../../src/ledger/fold.ts'
import { issueReceipt } from '../../src/ledger/receipt.ts'
import { renderReceipt } from '../../src/ledger/render.ts'
import { verifyReceipt } from '../../src/ledger/verify.ts'
import { arbitraryLife, type Life, live } from '../core/sequences.ts'
import { SERVER } from '../core/support.ts'
import { AUTHORITY, AUTHORITY_INFO, throughJson } from './support.ts'
import { tools } from './tools.ts'

const KEYS = [{ ...AUTHORITY_INFO, validFrom: 0 }]

/** The entries of a random life until the tree is closed, as a store gives them back. */
function closed(life: Life): Entry[] {
  const book = live(life)
  book.do({ do: 'end', run: 'run_root', by: SERVER, note: 'done' })
  book.do({ do: 'close' })
  book.pass(31)
  book.do({ do: 'close' })
  const read = fromRows(toRows(GENESIS, book.entries))
  if (!read.ok) throw new Error(read.error.message)
  // What is recorded later goes into an addendum.
  return read.value.slice(0, read.value.findIndex(({ type }) => type === 'tree.closed') + 1)
}

describe('laws over random lives of run trees', () => {
  test('receipt = fold(ledger), and verify makes every decision again', () => {
    fc.assert(
      fc.property(arbitraryLife, (life) => {
        const entries = closed(life)
        const receipt = throughJson(issueReceipt({ entries, prompts: {}, key: AUTHORITY }))
        expect(receipt.body).toEqual(foldReceipt(receipt.entries))
        const report = verifyReceipt(receipt, { keys: KEYS })
        const unproven = report.failed.filter(({ check }) => check !== 'approvals')
        // These lives have no prompts; that is all that may be missing.
        expect(unproven).toEqual([])
        expect(report.proven).toHaveLength(7)
      }),
      { numRuns: 100 },
    )
  })

  test('counts agree with the entries', () => {
    fc.assert(
      fc.property(arbitraryLife, (life) => {
        const entries = closed(life)
        const { counts, runs, privileged, unknown, denied, revoked } = foldReceipt(entries)
        const count = (type: Entry['type']) => entries.filter((each) => each.type === type).length
        expect(counts.calls).toBe(count('call.allowed'))
        expect(runs.reduce((sum, run) => sum + run.calls, 0)).toBe(counts.calls)
        expect(denied).toHaveLength(count('call.denied'))
        expect(runs.reduce((sum, run) => sum + run.denied, 0)).toBe(counts.denied)
        expect(privileged.length).toBe(counts.privileged)
        expect(unknown.length).toBe(counts.unknown)
        expect(runs.every(({ ended }) => ended !== null)).toBe(true)
        const [root] = runs
        const { limit, used, below, left } = root!.budget!.calls
        if (limit !== null) expect(used + below + left!).toBe(limit)
        expect(left).toBe(revoked.calls)
      }),
      { numRuns: 100 },
    )
  })

  test('every account can be shown and every run and call explained', () => {
    fc.assert(
      fc.property(arbitraryLife, (life) => {
        const entries = closed(life)
        const now = entries.at(-1)!.at
        const body = foldReceipt(entries)
        const options = { columns: 80, tools: tools(), all: true, saved: null }
        const lines = renderReceipt(body, options).split('\n')
        expect(lines.filter((line) => line.length > 80)).toEqual([])
        for (const { run } of body.runs) {
          const explained = explainRun(entries, run, now)
          expect(explained.ok && explained.value.standing.facts.exists).toBe(false)
        }
        for (const { command } of entries.filter(isAttempt)) {
          expect(explainCall(entries, command.call, now).ok).toBe(true)
        }
      }),
      { numRuns: 50 },
    )
  })
})
