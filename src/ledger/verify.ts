import type { Entry } from '../core/entry.ts'
import { isSame } from '../core/replay.ts'
import { GENESIS } from './chain.ts'
import { foldReceipt } from './fold.ts'
import { ADDENDUM_DOMAIN, lateOutcomes, RECEIPT_DOMAIN, type ReceiptBody } from './receipt.ts'
import { kidWords, type PublicKeyInfo, type Signature } from './sign.ts'
import {
  readAddendum,
  readReceipt,
  type UnverifiedAddendum,
  type UnverifiedReceipt,
} from './structure.ts'
import {
  type Checked,
  checkBudget,
  checkChain,
  checkComplete,
  checkDecisions,
  checkEnded,
  checkPrompts,
  checkSignature,
  type Failure,
} from './verify-checks.ts'
import { counted } from './words.ts'

export type Verdict = 'verified' | 'tampered' | 'unknown_signer' | 'cannot_recompute'

export type Check =
  | 'structure'
  | 'signature'
  | 'chain'
  | 'complete'
  | 'all ended'
  | 'decisions'
  | 'budget'
  | 'approvals'
  | 'summary'

export interface Line {
  readonly check: Check
  readonly text: string
  /** The entry it is about. */
  readonly seq: number | null
}

export interface VerifyReport {
  readonly verdict: Verdict
  /** Exit status: 0 verified, 1 tampered or wrong, 2 unknown signer, 3 cannot re-compute. */
  readonly exit: 0 | 1 | 2 | 3
  /** The root run that the receipt names; null if it names none. */
  readonly run: string | null
  readonly proven: readonly Line[]
  readonly failed: readonly Line[]
  /** What no computation can prove. Empty when nothing is proven. */
  readonly onWord: readonly string[]
}

export interface VerifyOptions {
  /** Pinned keys, or the ones given for this check. Nothing else is trusted. */
  readonly keys: readonly PublicKeyInfo[]
}

const EXITS = { verified: 0, tampered: 1, unknown_signer: 2, cannot_recompute: 3 } as const

/**
 * Checks a receipt offline: who signed it, that nothing of it is changed or missing, that every
 * decision comes out the same when it is made again, and that the receipt says what its entries
 * say. Whatever the input is, the answer is a report. A proven fault outweighs an unknown signer,
 * and both outweigh rules that this build does not have.
 */
export function verifyReceipt(json: unknown, options: VerifyOptions): VerifyReport {
  const read = readReceipt(json)
  if (!read.ok) return misshapen(read.error)
  const report = new Report(read.value.body.run)
  try {
    checkReceipt(read.value, options, report)
  } catch {
    report.fail('structure', { message: 'a part is not what Daypass writes', seq: null })
  }
  return report.finish(read.value.entries)
}

function misshapen(error: { kind: 'malformed' | 'version'; message: string }): VerifyReport {
  const report = new Report(null)
  if (error.kind === 'version') report.unknownRules('structure', error.message)
  else report.fail('structure', { message: error.message, seq: null })
  return report.finish([])
}

function checkReceipt(receipt: UnverifiedReceipt, { keys }: VerifyOptions, report: Report): void {
  const { entries, signature, body, head, prompts } = receipt
  const { format, version } = receipt
  const content = { format, version, body, head, prompts }
  const closedAt = Number.isSafeInteger(body.closedAt) ? (body.closedAt as number) : null
  const signed = { domain: RECEIPT_DOMAIN, content, signature }
  report.signature(checkSignature(signed, keys, closedAt), signature)
  report.add('chain', checkChain(entries, head, GENESIS))
  report.add('complete', checkComplete(entries))
  const decisions = checkDecisions(entries)
  if (decisions.kind === 'unknown_rules') {
    return report.unknownRules('decisions', decisions.message)
  }
  if (decisions.kind === 'different') {
    // Nothing that follows from a history can be said of what is none.
    return report.fail('decisions', decisions.failure)
  }
  report.prove('decisions', decisions.text)
  report.add('all ended', checkEnded(decisions.tree))
  report.add('budget', checkBudget(entries))
  report.add('approvals', checkPrompts(entries, prompts))
  report.add('summary', checkSummary(entries, body))
}

/** The receipt says what its entries say, all of it and nothing else. */
function checkSummary(entries: readonly Entry[], body: unknown): Checked {
  const folded = foldReceipt(entries)
  if (isSame(body, folded)) return { ok: true, value: 'computed again from the entries, the same' }
  const names = Object.keys(folded) as (keyof ReceiptBody)[]
  const different = names.filter((name) => !isSame((body as never)[name], folded[name]))
  const which = different.length === 0 ? 'a member that does not belong' : different.join(', ')
  return { ok: false, error: { message: `does not follow from the entries: ${which}`, seq: null } }
}

/**
 * Checks an addendum: that it continues `receipt`, or the addenda before it, and that its outcomes
 * follow. `before` are the addenda between, in order. All of them are verified too.
 */
export function verifyAddendum(
  addendum: unknown,
  of: { readonly receipt: unknown; readonly before: readonly unknown[] } & VerifyOptions,
): VerifyReport {
  const first = verifyReceipt(of.receipt, of)
  if (first.verdict !== 'verified') return first
  const receipt = of.receipt as UnverifiedReceipt
  const report = new Report(receipt.body.run)
  let entries = receipt.entries
  let { head } = receipt
  for (const [index, json] of [...of.before, addendum].entries()) {
    const read = readAddendum(json)
    if (!read.ok) return misshapen(read.error)
    try {
      entries = [...entries, ...read.value.entries]
      checkAddendum(read.value, { receipt, number: index + 1, follows: head, entries }, of, report)
    } catch {
      report.fail('structure', { message: 'a part is not what Daypass writes', seq: null })
    }
    head = read.value.head
  }
  return report.finish(entries)
}

function checkAddendum(
  addendum: UnverifiedAddendum,
  at: {
    readonly receipt: UnverifiedReceipt
    readonly number: number
    readonly follows: string
    /** Those of the receipt and all addenda up to this one. */
    readonly entries: readonly Entry[]
  },
  { keys }: VerifyOptions,
  report: Report,
): void {
  const { entries, signature, body, head, format, version } = addendum
  const content = { format, version, body, head }
  const signed = { domain: ADDENDUM_DOMAIN, content, signature }
  report.signature(checkSignature(signed, keys, entries.at(-1)!.at), signature)
  report.add('chain', checkChain(entries, head, at.follows))
  const { org, tree, run } = at.receipt.body
  const outcomes = lateOutcomes(entries)
  const expected = { org, tree, run, number: at.number, follows: at.follows, outcomes }
  const isRight = isSame(body, expected)
  if (isRight) report.prove('summary', `${counted(outcomes.length, 'late outcome')}, as recorded`)
  else report.fail('summary', { message: 'does not follow from the entries', seq: null })
  const decisions = checkDecisions(at.entries)
  if (decisions.kind === 'same') report.prove('decisions', decisions.text)
  else if (decisions.kind === 'different') report.fail('decisions', decisions.failure)
  else report.unknownRules('decisions', decisions.message)
}

/** Collects what the checks find. */
class Report {
  readonly #run: string | null
  readonly #proven: Line[] = []
  readonly #failed: Line[] = []
  #isTampered = false
  #isUnknownSigner = false
  #isUnknownRules = false

  constructor(run: unknown) {
    this.#run = typeof run === 'string' ? run : null
  }

  prove(check: Check, text: string): void {
    this.#proven.push({ check, text, seq: null })
  }

  fail(check: Check, { message, seq }: Failure): void {
    this.#isTampered = true
    const text = seq === null ? message : `entry ${seq}: ${message}`
    this.#failed.push({ check, text, seq })
  }

  add(check: Check, checked: Checked): void {
    if (checked.ok) this.prove(check, checked.value)
    else this.fail(check, checked.error)
  }

  signature(checked: Checked | 'unknown', { kid }: Signature): void {
    if (checked !== 'unknown') return this.add('signature', checked)
    this.#isUnknownSigner = true
    const text = `signed by ${kidWords(kid)}, a key you have not pinned`
    this.#failed.push({ check: 'signature', text, seq: null })
  }

  unknownRules(check: Check, text: string): void {
    this.#isUnknownRules = true
    this.#failed.push({ check, text, seq: null })
  }

  finish(entries: readonly Entry[]): VerifyReport {
    const verdict = this.#isTampered
      ? 'tampered'
      : this.#isUnknownSigner
        ? 'unknown_signer'
        : this.#isUnknownRules
          ? 'cannot_recompute'
          : 'verified'
    return {
      verdict,
      exit: EXITS[verdict],
      run: this.#run,
      proven: this.#proven,
      failed: this.#failed,
      onWord: verdict === 'verified' ? onWordOf(entries) : [],
    }
  }
}

/** What is taken from the server, because no computation over the receipt can show it. */
function onWordOf(entries: readonly Entry[]): string[] {
  const answers = entries.flatMap((entry) => {
    const isAnswer = entry.type === 'lease.approved' || entry.type === 'ask.approved'
    return isAnswer || entry.type === 'lease.amended' ? [entry.command] : []
  })
  const people = answers.filter(({ by }) => 'person' in by).length
  const assertions = answers.filter(({ proof }) => proof !== null).length
  const words = [
    'the clock',
    'what each call touches (its facts)',
    'what tools reported',
    'that prompts put their terms into the right words',
  ]
  if (people > 0) words.push(`who signed in for ${counted(people, 'approval')}`)
  if (assertions > 0) words.push(`${counted(assertions, 'passkey assertion')}, not checked here`)
  return words
}
