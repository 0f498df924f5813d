import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Entry, EntryOf } from '../../src/core/entry.ts'
import type { Facts } from '../../src/core/facts.ts'
import type { Terms } from '../../src/core/lease.ts'
import { headOf } from '../../src/ledger/chain.ts'
import { issueAddendum, issueReceipt, type Receipt } from '../../src/ledger/receipt.ts'
import { generateSigningKey } from '../../src/ledger/sign.ts'
import { parseReceipt } from '../../src/ledger/structure.ts'
import { verifyAddendum, verifyReceipt } from '../../src/ledger/verify.ts'
import { checkBudget } from '../../src/ledger/verify-checks.ts'
import {
  AUTHORITY,
  AUTHORITY_INFO,
  at,
  begin,
  plainLedger,
  readFacts,
  receiptOf,
  sampleLedger,
  TERMS,
  TRUST,
  throughJson,
} from './support.ts'
import { flipped, forge, leaves, resign } from './tamper.ts'

const receipt = receiptOf(sampleLedger())
const { entries } = receipt
const verify = (json: unknown) => verifyReceipt(json, TRUST)
const without = (changed: readonly unknown[]) => ({ ...receipt, entries: changed })

describe('a genuine receipt', () => {
  test('is verified, and says what is proven and what is not', () => {
    const report = verify(receipt)
    expect(report).toMatchObject({ verdict: 'verified', exit: 0, run: 'run_root', failed: [] })
    expect(report.proven.map(({ check }) => check)).toEqual([
      'signature',
      'chain',
      'complete',
      'decisions',
      'all ended',
      'budget',
      'approvals',
      'summary',
    ])
    expect(report.onWord).toContain('the clock')
    expect(report.onWord).toContain('who signed in for 3 approvals')
  })

  test('is the same bytes when it is issued again', () => {
    expect(JSON.stringify(receiptOf(sampleLedger()))).toBe(JSON.stringify(receipt))
  })

  test('is verified after any JSON writer', () => {
    const text = JSON.stringify(receipt, null, 2)
    const parsed = parseReceipt(text)
    expect(parsed.ok && verify(parsed.value).exit).toBe(0)
  })

  test('is not issued before the tree is closed', () => {
    const ledger = plainLedger()
    const open = ledger.entries.slice(0, -1)
    expect(() => issueReceipt({ ...ledger, entries: open, key: AUTHORITY })).toThrow(/not closed/)
  })
})

describe('threat 76: tampering with the entries', () => {
  test('every changed value of every entry fails', () => {
    const paths = entries.flatMap((entry, index) =>
      leaves(entry).map((path) => [index, ...path] as const),
    )
    expect(paths.length).toBeGreaterThan(700)
    for (const path of paths) {
      const report = verify(without(flipped(entries, path)))
      expect(report.exit, path.join('.')).toBe(1)
    }
  })

  test('every deleted entry fails', () => {
    for (let index = 0; index < entries.length; index++) {
      expect(verify(without(entries.toSpliced(index, 1))).exit).toBe(1)
    }
  })

  test('every swap of neighbours fails', () => {
    for (let index = 0; index + 1 < entries.length; index++) {
      const swapped = entries.toSpliced(index, 2, entries[index + 1]!, entries[index]!)
      expect(verify(without(swapped)).exit).toBe(1)
    }
  })

  test('the tail cut off at any length fails', () => {
    for (let length = 0; length < entries.length; length++) {
      expect(verify(without(entries.slice(0, length))).exit).toBe(1)
    }
  })

  test('every doubled entry fails', () => {
    for (const [index, entry] of entries.entries()) {
      expect(verify(without(entries.toSpliced(index, 0, entry))).exit).toBe(1)
    }
  })

  test('an added member of any entry fails', () => {
    for (const [index, entry] of entries.entries()) {
      const changed = entries.with(index, { ...entry, extra: null } as never)
      expect(verify(without(changed)).exit).toBe(1)
    }
  })
})

describe('threat 76: tampering with the rest', () => {
  test('every changed value of the body, prompts, head and signature fails', () => {
    const { entries: _, ...rest } = receipt
    const paths = leaves(rest)
    expect(paths.length).toBeGreaterThan(500)
    for (const path of paths) {
      const report = verify({ ...flipped(rest, path), entries })
      expect(report.exit, path.join('.')).not.toBe(0)
    }
  })

  test('a missing or an unknown member fails', () => {
    for (const name of Object.keys(receipt)) {
      const { [name as 'body']: _, ...rest } = receipt
      expect(verify(rest)).toMatchObject({ exit: 1, failed: [{ check: 'structure' }] })
    }
    expect(verify({ ...receipt, note: 'trust me' }).exit).toBe(1)
  })
})

describe('threat 76: what a holder of a key can forge', () => {
  const stranger = generateSigningKey()

  test('signed by another key: unknown signer, even if all else fits', () => {
    const report = verify(resign(receipt, stranger))
    expect(report).toMatchObject({ verdict: 'unknown_signer', exit: 2 })
    expect(report.failed).toHaveLength(1)
    expect(report.proven.map(({ check }) => check)).toContain('decisions')
  })

  test('an edited history signed by another key: unknown signer, if it decides the same', () => {
    const changed = entries.map((entry) =>
      entry.type === 'call.settled' && entry.command.note === '#482'
        ? { ...entry, command: { ...entry.command, note: '#483' } }
        : entry.type === 'lease.ended' && entry.note === '#482'
          ? { ...entry, note: '#483' }
          : entry,
    )
    const report = verify(forge(receipt, changed, stranger))
    expect(report).toMatchObject({ verdict: 'unknown_signer', exit: 2 })
  })

  test('the name of the genuine key on the signature of another', () => {
    const forged = resign(receipt, stranger)
    const { kid } = receipt.signature
    const report = verify({ ...forged, signature: { ...forged.signature, kid } })
    expect(report).toMatchObject({ exit: 1, failed: [{ check: 'signature' }] })
  })

  const denied = (change: (entry: Entry) => Entry) =>
    forge(receipt, entries.map(change) as Entry[], AUTHORITY)

  test.each<[string, number, string, (entry: Entry) => Entry]>([
    [
      'a fact that the lease denies',
      19,
      'no_grant',
      (entry) => flipped(entry, ['command', 'facts', 'touches', 0, 'resources', 'branches', 0]),
    ],
    [
      'an action that the lease forbids',
      19,
      'denied_by_lease',
      (entry) => {
        const changed = throughJson(entry) as never as {
          command: { facts: { touches: { action: string }[] } }
        }
        changed.command.facts.touches[0]!.action = 'production.deploy'
        return changed as never
      },
    ],
    [
      'a definition that is not the pinned one',
      19,
      'definition_changed',
      (entry) =>
        ({
          ...entry,
          command: {
            ...(entry as { command: object }).command,
            facts: {
              ...(entry as { command: { facts: object } }).command.facts,
              status: 'changed',
            },
          },
        }) as Entry,
    ],
  ])('with the genuine key, %s', (_name, seq, reason, change) => {
    const forged = denied((entry) => (entry.seq === seq ? change(entry) : entry))
    const report = verify(forged)
    expect(report.verdict).toBe('tampered')
    expect(report.proven.map(({ check }) => check)).toEqual(['signature', 'chain', 'complete'])
    expect(report.failed).toMatchObject([{ check: 'decisions', seq }])
    expect(report.failed[0]!.text).toContain(`entry ${seq}: `)
    expect(report.failed[0]!.text).toContain(reason)
  })

  test('with the genuine key, a denial left out and everything renumbered', () => {
    const at = entries.findIndex(({ type }) => type === 'call.denied')
    const shorter = entries
      .toSpliced(at, 1)
      .map((entry, index) => ({ ...entry, seq: index + 1 }) as Entry)
    // The fold of the second denial names an entry that is now another one.
    const head = headOf(shorter)
    const report = verify(resign({ ...receipt, entries: shorter, head }, AUTHORITY))
    expect(report).toMatchObject({ verdict: 'tampered', exit: 1 })
  })

  test('with the genuine key, an account that leaves something out', () => {
    const body = { ...receipt.body, denied: receipt.body.denied.slice(1) }
    const report = verify(resign({ ...receipt, body }, AUTHORITY))
    expect(report.failed).toMatchObject([{ check: 'summary' }])
    expect(report.failed[0]!.text).toContain('denied')
  })

  test('with the genuine key, a tree that is not closed', () => {
    const open = entries.slice(0, -1)
    const report = verify(resign({ ...receipt, entries: open, head: headOf(open) }, AUTHORITY))
    expect(report.failed.map(({ check }) => check)).toContain('complete')
  })
})

describe('threat 53: the budget is counted a second time, beside the decisions', () => {
  test.each<[string, Partial<Terms>, Partial<Facts>]>([
    ['calls', { maxToolCalls: 1 }, {}],
    ['calls of an action', { limits: { 'repo.read': 1 } }, {}],
    ['money', { usd: '1.00' }, { usd: '0.60' }],
  ])('%s', (_name, terms, facts) => {
    const ledger = begin({ ...TERMS, ...terms })
    ledger.authorize(at(1), 'one', { ...readFacts('a'), ...facts })
    expect(checkBudget(ledger.entries).ok).toBe(true)
    const [last] = ledger.entries.slice(-1) as EntryOf<'call.allowed'>[]
    const again = { ...last!.command, call: 'call_two', key: 'two' } as const
    const over = [...ledger.entries, { ...last!, seq: last!.seq + 1, command: again }]
    expect(checkBudget(over)).toMatchObject({ ok: false, error: { seq: last!.seq + 1 } })
  })
})

describe('threat 68: prompts', () => {
  const withPrompts = (prompts: Receipt['prompts']) => resign({ ...receipt, prompts }, AUTHORITY)

  test('a prompt that is missing, or was asked of nobody', () => {
    const [first] = Object.keys(receipt.prompts)
    const { [first!]: _, ...rest } = receipt.prompts
    expect(verify(withPrompts(rest)).failed).toMatchObject([{ check: 'approvals', seq: 2 }])
    const more = { ...receipt.prompts, ['0'.repeat(64)]: {} }
    expect(verify(withPrompts(more)).failed).toMatchObject([{ check: 'approvals' }])
  })

  test('a prompt with other words under the hash that was answered', () => {
    const [first] = Object.keys(receipt.prompts)
    const prompts = { ...receipt.prompts, [first!]: { title: 'read only' } }
    const report = verify(withPrompts(prompts))
    expect(report.failed).toMatchObject([{ check: 'approvals', seq: 2 }])
    expect(report.failed[0]!.text).toContain('not the one with its hash')
  })

  test('a prompt that asks for less than the lease has', () => {
    const ledger = plainLedger()
    const [hash] = Object.keys(ledger.prompts)
    const prompt = ledger.prompts[hash!] as { terms: object }
    const honest = ledger.prompt('run_root', { ...prompt.terms, deny: ['**'] } as never)
    const swapped = JSON.parse(JSON.stringify(ledger.entries).replaceAll(hash!, honest))
    const forged = issueReceipt({ entries: swapped, prompts: ledger.prompts, key: AUTHORITY })
    const report = verify(throughJson(forged))
    expect(report.failed).toMatchObject([{ check: 'approvals', seq: 2 }])
    expect(report.failed[0]!.text).toContain('other terms')
  })

  test('a prompt of another run', () => {
    const ledger = plainLedger()
    const [hash] = Object.keys(ledger.prompts)
    const other = ledger.prompt('run_other', TERMS)
    const swapped = JSON.parse(JSON.stringify(ledger.entries).replaceAll(hash!, other))
    const forged = issueReceipt({ entries: swapped, prompts: ledger.prompts, key: AUTHORITY })
    const report = verify(throughJson(forged))
    expect(report.failed).toMatchObject([{ check: 'approvals', seq: 2 }])
    expect(report.failed[0]!.text).toContain('another run')
  })
})

describe('keys', () => {
  const closedAt = receipt.body.closedAt!
  const under = (change: Partial<typeof AUTHORITY_INFO>) =>
    verifyReceipt(receipt, { keys: [{ ...AUTHORITY_INFO, ...change }] })

  test('a retired key still verifies what it signed while in use', () => {
    expect(under({ validUntil: closedAt + 1 }).exit).toBe(0)
  })

  test('a key that was not in use then does not', () => {
    expect(under({ validUntil: closedAt }).exit).toBe(1)
    expect(under({ validFrom: closedAt + 60_000 }).exit).toBe(1)
  })

  test('the kid of a pinned key is computed, not believed', () => {
    const other = generateSigningKey()
    const forged = resign(receipt, other)
    const lying = { ...AUTHORITY_INFO, kid: other.kid }
    expect(verifyReceipt(forged, { keys: [lying] }).exit).toBe(2)
  })
})

describe('what this build cannot read', () => {
  test('another rules version: cannot re-compute, never good', () => {
    const changed = entries.with(0, flipped(entries[0]!, ['command', 'rules']))
    const body = { ...receipt.body, rules: 2 }
    const head = headOf(changed)
    const report = verify(resign({ ...receipt, entries: changed, head, body }, AUTHORITY))
    expect(report).toMatchObject({ verdict: 'cannot_recompute', exit: 3 })
    expect(report.failed[0]!.text).toContain('rules version 2')
  })

  test('another format version: cannot re-compute', () => {
    expect(verify({ ...receipt, version: 2 })).toMatchObject({ exit: 3 })
  })
})

describe('malformed input', () => {
  const deep = JSON.parse('['.repeat(5000) + ']'.repeat(5000))
  test.each<[string, unknown]>([
    ['null', null],
    ['text', 'daypass-receipt'],
    ['list', []],
    ['nothing', undefined],
    ['function', () => 1],
    ['no entries', { ...receipt, entries: [] }],
    ['entries of nothing', { ...receipt, entries: [null] }],
    ['entries without a type', { ...receipt, entries: [{ seq: 1, at: 1 }] }],
    ['a head that is no hash', { ...receipt, head: 'x' }],
    ['another algorithm', { ...receipt, signature: { ...receipt.signature, alg: 'none' } }],
    ['a deep value', { ...receipt, body: { x: deep } }],
    ['a date', { ...receipt, body: new Date(0) }],
    ['an infinity', { ...receipt, body: { x: Number.POSITIVE_INFINITY } }],
    ['half a surrogate pair', { ...receipt, body: { x: '\ud800' } }],
  ])('%s is a failure with words, not an exception', (_name, json) => {
    const report = verify(json)
    expect(report).toMatchObject({ verdict: 'tampered', exit: 1 })
    expect(report.failed[0]!.text.length).toBeGreaterThan(5)
  })

  test('any JSON in the place of any entry is a failure', () => {
    const forgedEntries = fc.tuple(fc.nat(entries.length - 1), fc.jsonValue())
    fc.assert(
      fc.property(forgedEntries, ([index, json]) => {
        const changed = entries.with(index, {
          ...(json as object),
          seq: index + 1,
          at: 1,
          type: 'call.allowed',
        } as never)
        const head = headOf(changed)
        expect(verify(resign({ ...receipt, entries: changed, head }, AUTHORITY)).exit).toBe(1)
      }),
      { numRuns: 200 },
    )
  })

  test('threat 9: a member that stands twice is refused', () => {
    const text = JSON.stringify(receipt)
    const twice = text.replace('"org":', '"org":"other","org":')
    expect(parseReceipt(twice)).toEqual({
      ok: false,
      error: 'a member of an object stands twice',
    })
    expect(parseReceipt(text.replace('"org":', '"\\u006frg":"other","org":')).ok).toBe(false)
    expect(parseReceipt('{"a":{"b":1},"c":[{"b":2},{"b":"{\\"b\\":1"}]}').ok).toBe(true)
    expect(parseReceipt('{').ok).toBe(false)
  })
})

describe('addendum', () => {
  const ledger = sampleLedger()
  const before = ledger.entries.length
  const late = { resultDigest: null, usd: null, note: null } as const
  ledger.do(at(40), { do: 'settle', call: 'call_late', outcome: 'succeeded', ...late })
  const { org, tree, run } = receipt.body
  const addendum = throughJson(
    issueAddendum({
      org,
      tree,
      run,
      number: 1,
      follows: receipt.head,
      entries: ledger.entries.slice(before),
      key: AUTHORITY,
    }),
  )
  const check = (json: unknown) => verifyAddendum(json, { receipt, before: [], keys: TRUST.keys })

  test('continues the receipt', () => {
    expect(addendum.body.outcomes).toMatchObject([{ call: 'call_late', outcome: 'succeeded' }])
    expect(check(addendum)).toMatchObject({ verdict: 'verified', exit: 0 })
    expect(check(addendum).proven.map(({ text }) => text)).toContain('1 late outcome, as recorded')
  })

  test('threat 76: every changed value fails', () => {
    for (const path of leaves(addendum)) {
      expect(check(flipped(addendum, path)).exit, path.join('.')).not.toBe(0)
    }
  })

  test('does not continue another receipt, and is none itself', () => {
    const other = { receipt: receiptOf(plainLedger()), before: [], keys: TRUST.keys }
    expect(verifyAddendum(addendum, other).exit).toBe(1)
    const twice = { receipt, before: [addendum], keys: TRUST.keys }
    expect(verifyAddendum(addendum, twice).exit).toBe(1)
    expect(verify(addendum).exit).toBe(1)
  })

  test('a second one continues the first', () => {
    const from = ledger.entries.length
    const by = { person: 'sam@clord.example', via: 'terminal' } as const
    ledger.do(at(50), { do: 'resolve', call: 'call_lost', by, happened: true })
    const second = issueAddendum({
      org,
      tree,
      run,
      number: 2,
      follows: addendum.head,
      entries: ledger.entries.slice(from),
      key: AUTHORITY,
    })
    const both = { receipt, before: [addendum], keys: TRUST.keys }
    expect(verifyAddendum(throughJson(second), both).exit).toBe(0)
    expect(check(throughJson(second)).exit).toBe(1)
  })
})
