import {
  block,
  type LayoutOptions,
  marked,
  type Page,
  pageOf,
  plain,
  row,
  type Span,
} from './layout.ts'
import type { Line, VerifyReport } from './verify.ts'

/** The verdict of `daypass verify` as text. The first line can be read alone. */
export function renderVerify(
  report: VerifyReport,
  options: LayoutOptions & {
    /** What was checked, if the receipt does not say which run it is about. */
    readonly name: string
  },
): string {
  const page = pageOf(options)
  const name = page.tools.printable(report.run ?? options.name)
  if (report.verdict === 'verified') {
    return [
      ...headline('+', `VERIFIED  ${name}`, page),
      '',
      'Proven',
      ...report.proven.flatMap((line) => checkLine('+', line, page)),
      ...wordLines(report.onWord, page),
    ].join('\n')
  }
  return [
    ...headline(
      report.verdict === 'cannot_recompute' ? '~' : 'x',
      `${TITLES[report.verdict]}  ${name}`,
      page,
    ),
    ...report.failed.flatMap((line) => checkLine('x', line, page)),
    ...block([plain(adviceOf(report))], { first: 2, rest: 2 }, page),
  ].join('\n')
}

const TITLES = {
  tampered: 'NOT VERIFIED',
  unknown_signer: 'NOT VERIFIED',
  cannot_recompute: 'CANNOT RE-COMPUTE',
} as const

function headline(mark: '+' | 'x' | '~', text: string, page: Page): string[] {
  const style = mark === '+' ? 'green' : mark === 'x' ? 'red' : 'magenta'
  const spans: Span[] = [{ text: `${mark} ${text}`, style }]
  const bold = (line: string) => page.tools.paint('bold', line)
  return block(spans, { first: 0, rest: 2 }, page).map(bold)
}

function checkLine(mark: '+' | 'x', { check, text }: Line, page: Page): string[] {
  const right = [plain(page.tools.printable(text))]
  return row({ left: [...marked(mark), plain(check)], right }, { left: 2, right: 17 }, page)
}

function wordLines(words: readonly string[], page: Page): string[] {
  if (words.length === 0) return []
  const text = `- ${words.join('; ')}`
  return ["On the server's word", ...block([plain(text)], { first: 2, rest: 4 }, page)]
}

function adviceOf({ verdict, failed, proven }: VerifyReport): string {
  if (verdict === 'unknown_signer') {
    return (
      'If you expected this server: daypass verify FILE --key FILE, or pin it with ' +
      'daypass trust add FILE'
    )
  }
  if (verdict === 'cannot_recompute') {
    return 'A newer Daypass may know how. Until then this receipt is neither good nor bad.'
  }
  const isGenuine = proven.some(({ check }) => check === 'signature')
  const seqs = failed.map(({ seq }) => seq).filter((seq) => seq !== null)
  const first = Math.min(...seqs)
  const isChained = proven.some(({ check }) => check === 'chain')
  const before =
    isGenuine && isChained && seqs.length > 0 && first > 1
      ? `Everything before entry ${first} checks. `
      : ''
  return `${before}Don't rely on this receipt.`
}
