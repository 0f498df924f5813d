import { describe, expect, test } from 'vitest'
import { foldReceipt } from '../../src/ledger/fold.ts'
import { renderReceipt } from '../../src/ledger/render.ts'
import { renderVerify } from '../../src/ledger/render-verify.ts'
import { verifyReceipt } from '../../src/ledger/verify.ts'
import {
  AUTHORITY,
  at,
  begin,
  delegate,
  facts,
  type Ledger,
  plainLedger,
  readFacts,
  receiptOf,
  sampleLedger,
  TRUST,
  testFacts,
  touch,
  triedLedger,
  writeFacts,
} from './support.ts'
import { flipped, forge } from './tamper.ts'
import { tools } from './tools.ts'

interface Shown {
  readonly columns?: number
  readonly color?: boolean
  readonly all?: boolean
  readonly saved?: string | null
}

function shown(ledger: Pick<Ledger, 'entries'>, as: Shown = {}): string {
  const { columns = 80, color = false, all = false } = as
  const saved = as.saved ?? null
  return renderReceipt(foldReceipt(ledger.entries), { columns, tools: tools(color), all, saved })
}

const SAVED = '.daypass/receipts/run_root.json'
const ESCAPE = '\u001b'
/** What may never reach a terminal from a value. */
const RAW = [ESCAPE, '\u202e', '\u200b', '\r']

function plain(text: string): string {
  const [first, ...rest] = text.split(ESCAPE)
  return first + rest.map((part) => part.replace(/^\[\d+m/, '')).join('')
}

describe('a receipt', () => {
  const sample = sampleLedger()

  test('in a terminal of 80 columns', async () => {
    const text = shown(sample, { saved: SAVED })
    await expect(`${text}\n`).toMatchFileSnapshot('golden/receipt-80.txt')
  })

  test('tells permissions that were never tried from those that were tried without success', () => {
    const lines = shown(triedLedger()).split('\n')
    const at = lines.findIndex((line) => line.startsWith('Never used'))
    const text = lines.slice(at, at + 4).map((line) => line.replace(/ {2,}/g, ' ').trim())
    expect(text.join(' ')).toBe(
      'Never used ci.test.read. Next time: leave it out ' +
        'Tried, never done repo.push.force (asked, nobody answered), repo.commit (asked, ' +
        'refused), pull_request.create (asked, allowed, not done), ci.test.run (denied)',
    )
  })

  test('names the eight items of the essay in order', () => {
    const labels = shown(sample).match(/^[1-8] [A-Z][a-z ]+?(?= {2,}|$)/gm)
    expect(labels).toEqual([
      '1 Tools called',
      '2 Resources touched',
      '3 Files changed',
      '4 External systems',
      '5 Approvals',
      '6 Denied',
      '7 Ended because',
      '8 Revoked',
    ])
  })

  test.each([40, 60, 80, 200])('stays within %i columns (80 at most), in ASCII', (columns) => {
    const lines = shown(sample, { columns, saved: SAVED }).split('\n')
    const widest = Math.max(...lines.map((line) => line.length))
    expect(widest).toBeLessThanOrEqual(Math.min(columns, 80))
    expect(lines.join('')).toMatch(/^[\x20-\x7e]*$/)
    expect(lines.some((line) => line.endsWith(' '))).toBe(false)
  })

  test('colour only adds', () => {
    const colored = shown(sample, { color: true })
    expect(colored).not.toBe(plain(colored))
    expect(plain(colored)).toBe(shown(sample))
  })

  test('unknown outcomes come first under 1', () => {
    const lines = shown(sample).split('\n')
    const first = lines.findIndex((line) => line.startsWith('1 Tools called'))
    expect(lines[first + 1]).toContain('~ repo.file.write')
  })

  test('a list of more than eight is cut, and shown whole with `all`', () => {
    const ledger = begin()
    for (let n = 0; n < 12; n++) {
      ledger.call(at(1, n), `n${n}`, facts(`x.tool${n}`, touch(`other.action${n}`)))
    }
    const cut = shown(ledger)
    expect(cut).toContain('other.action7')
    expect(cut).not.toContain('other.action8')
    expect(cut).toContain('and 4 more: daypass receipt run_root --all')
    expect(shown(ledger, { all: true })).toContain('other.action11')
  })

  test('every privileged call is shown, however many', () => {
    const ledger = begin()
    for (let n = 0; n < 25; n++) ledger.call(at(1, n), `n${n}`, writeFacts(`file${n}.ts`))
    const text = shown(ledger).replaceAll(/\s+/g, ' ')
    for (let n = 0; n < 25; n++) expect(text).toContain(`path file${n}.ts; done`)
  })

  test('what never happened is said in words', () => {
    const text = shown(plainLedger())
    expect(text).toMatch(/3 Files changed +none/)
    expect(text).toMatch(/4 External systems +none/)
    expect(text).toMatch(/6 Denied +none/)
    expect(text).not.toContain('Privileged calls')
  })

  test('an agent that failed is not said to have done its work', () => {
    const ledger = begin()
    ledger.do(at(4), { do: 'end', run: 'run_root', by: { server: 's' }, note: 'exited with 7' })
    const text = shown(ledger).replaceAll(/\s+/g, ' ')
    expect(text).toContain('7 Ended because the run was closed: "exited with 7"')
    expect(text).not.toContain('work was done')
  })

  test('an end by revocation names the person and the reason', () => {
    const ledger = begin()
    delegate(ledger)
    const by = { person: 'lee@clord.example', via: 'console' } as const
    ledger.do(at(4), { do: 'revoke', run: 'run_root', by, reason: 'wrong repo' })
    expect(shown(ledger).replaceAll(/\s+/g, ' ')).toContain(
      '7 Ended because lee@clord.example revoked it: "wrong repo", 26:00 before its expiry',
    )
  })
  test('a pause stands with the end', () => {
    const ledger = begin()
    const by = { person: 'lee@clord.example', via: 'console' } as const
    ledger.do(at(4), { do: 'suspend', run: 'run_root', by, reason: 'lunch' })
    const text = shown(ledger).replaceAll(/\s+/g, ' ')
    expect(text).toContain('suspended 01:46:00 by lee@clord.example: lunch; not resumed')
  })
})

describe('threats 70, 75: values of agents and tools', () => {
  const EVIL = 'a\u001b[2J\n1 Tools called        0 calls\u202e\u200b\r'

  test('are escaped wherever they are printed', () => {
    const ledger = begin({
      ...begin().tree.runs.get('run_root')!.lease!.terms,
      purpose: `p${EVIL}`,
    })
    ledger.call(at(1), 'a', writeFacts(EVIL), { note: EVIL })
    ledger.call(at(2), 'b', facts(EVIL, touch('no.grant', { resources: { repos: [EVIL] } })))
    ledger.do(at(3), {
      do: 'escalate',
      run: 'run_root',
      escalation: 'esc_1',
      wants: [],
      more: { calls: 5, seconds: 0 },
      words: `please\n${EVIL}`,
      answerSeconds: 60,
    })
    const text = shown(ledger)
    expect(RAW.filter((each) => text.includes(each))).toEqual([])
    expect(text.match(/^1 Tools called/gm)).toHaveLength(1)
    expect(text).toContain('\\u{202e}')
    expect(text).toContain('| please')
    expect(text).toContain('| 1 Tools called')
  })

  test('long ones are cut with a count and a hash, many lines with a count', () => {
    const ledger = begin()
    ledger.call(at(1), 'a', testFacts, { note: 'x'.repeat(100_000) })
    ledger.do(at(3), {
      do: 'escalate',
      run: 'run_root',
      escalation: 'esc_1',
      wants: [],
      more: { calls: 5, seconds: 0 },
      words: 'more\n'.repeat(800),
      answerSeconds: 60,
    })
    const text = shown(ledger)
    expect(text.length).toBeLessThan(10_000)
    expect(text.replaceAll(/\s+/g, ' ')).toContain('... 99,600 more, sha256')
    expect(text).toContain('| ... 793 more lines')
  })
})

describe('a verdict', () => {
  const receipt = receiptOf(sampleLedger())
  const verdict = (json: unknown, keys = TRUST.keys) =>
    renderVerify(verifyReceipt(json, { keys }), { columns: 80, tools: tools(), name: 'a.json' })

  test('verified', async () => {
    await expect(`${verdict(receipt)}\n`).toMatchFileSnapshot('golden/verified.txt')
  })

  test('an entry that was decided otherwise, signed with the genuine key', async () => {
    const branch = ['command', 'facts', 'touches', 0, 'resources', 'branches', 0]
    const entries = receipt.entries.map((entry) =>
      entry.type === 'call.allowed' && entry.command.call === 'call_commit'
        ? flipped(entry, branch)
        : entry,
    )
    const text = verdict(forge(receipt, entries, AUTHORITY))
    await expect(`${text}\n`).toMatchFileSnapshot('golden/tampered.txt')
  })

  test('an unknown signer', () => {
    const [first, second] = verdict(receipt, []).split('\n')
    expect(first).toBe('x NOT VERIFIED  run_root')
    expect(second).toMatch(
      /^ {2}x signature {4}signed by (?:[0-9a-f]{4} ){3}[0-9a-f]{4}, a key you have not pinned$/,
    )
    expect(verdict(receipt, [])).toContain('daypass verify FILE --key FILE')
  })

  test('never says `verified` of anything else, and never `valid` of what is only signed', () => {
    for (const json of [null, {}, { ...receipt, entries: [] }, { ...receipt, version: 2 }]) {
      const [first] = verdict(json).split('\n')
      expect(first).toMatch(/^x NOT VERIFIED {2}a\.json$|^~ CANNOT RE-COMPUTE {2}a\.json$/)
      expect(verdict(json)).not.toContain('valid')
    }
  })

  test('a hostile name of a run is escaped', () => {
    const body = { ...receipt.body, run: 'run_\u001b[2J\u202e' }
    const text = verdict({ ...receipt, body })
    expect(RAW.filter((each) => text.includes(each))).toEqual([])
  })

  test('a read of a path does not show up as a change', () => {
    const ledger = begin()
    ledger.call(at(1), 'a', readFacts('secret.txt'))
    expect(shown(ledger)).toMatch(/3 Files changed +none/)
  })
})
