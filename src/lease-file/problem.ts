import { visible } from './printable.ts'
import { columnsOf, wrapWords } from './wrap.ts'

/** Something wrong with a lease file: where, what, and what to write instead. */
export interface Problem {
  readonly severity: 'error' | 'warning'
  readonly code: string
  readonly file: string
  /** Both count from 1; the column in UTF-16 units. */
  readonly line: number
  readonly column: number
  /** How much of the line is meant; at least 1. */
  readonly length: number
  readonly message: string
  /** What to write instead; "" if there is nothing better than the message. */
  readonly hint: string
  /** The section of the document that defines it. */
  readonly see: string
}

const COLUMNS = 80
/** How much of a long line is shown before the place that is meant. */
const CONTEXT_CHARACTERS = 24

/**
 * Shows a problem as compilers do: position and message, the line with carets, the hint, and where
 * to read on. `outcome` says what the caller did because of an error.
 */
export function renderProblem(
  problem: Problem,
  text: string,
  options: { readonly outcome?: string } = {},
): string {
  const kind = problem.severity === 'warning' ? 'warning: ' : ''
  const { file, line, column, message } = problem
  const head = `${file}:${line}:${column}: ${kind}${message}`
  const outcome =
    problem.severity === 'error' ? `${options.outcome ?? 'nothing was started.'} ` : ''
  return [
    ...wrapWords(visible(head), COLUMNS, '  '),
    ...excerpt(problem, text),
    `${outcome}${problem.see}`,
  ].join('\n')
}

function excerpt(problem: Problem, text: string): string[] {
  const line = text.split(/\r\n|\n|\r/)[problem.line - 1] ?? ''
  const start = problem.column - 1
  const number = String(problem.line)
  const gutter = `${' '.repeat(number.length + 3)}| `
  const room = COLUMNS - gutter.length
  // A long line is shown around the place that is meant, not from its beginning.
  const whole = columnsOf(visible(line)) <= room
  const from = whole ? 0 : Math.max(0, start - CONTEXT_CHARACTERS)
  const before = (from > 0 ? '...' : '') + visible(line.slice(from, start))
  const meant = cut(visible(line.slice(start, start + problem.length)), room - columnsOf(before))
  const shown = cut(before + visible(line.slice(start)), room)
  const carets = '^'.repeat(Math.max(1, columnsOf(meant)))
  return [`  ${number} | ${shown}`, ...hintLines({ gutter, before, carets, hint: problem.hint })]
}

function hintLines(at: { gutter: string; before: string; carets: string; hint: string }): string[] {
  const pad = ' '.repeat(columnsOf(at.before))
  const oneLine = `${at.gutter}${pad}${at.carets} ${at.hint}`.trimEnd()
  if (columnsOf(oneLine) <= COLUMNS) return [oneLine]
  const room = COLUMNS - at.gutter.length
  return [
    `${at.gutter}${pad}${at.carets}`,
    ...wrapWords(at.hint, room, '').map((line) => `${at.gutter}${line}`),
  ]
}

function cut(text: string, columns: number): string {
  if (columnsOf(text) <= columns) return text
  let shown = ''
  for (const character of text) {
    if (columnsOf(shown + character) > Math.max(0, columns - 3)) break
    shown += character
  }
  return `${shown}...`
}

/** The candidate that a misspelt word most likely means, if one is near enough. */
export function didYouMean(word: string, candidates: Iterable<string>): string | null {
  let best: string | null = null
  let bestDistance = Math.max(1, Math.floor(word.length / 3)) + 1
  for (const candidate of candidates) {
    if (Math.abs(candidate.length - word.length) >= bestDistance) continue
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase())
    if (distance < bestDistance) {
      best = candidate
      bestDistance = distance
    }
  }
  return best
}

/** Levenshtein distance, with a swap of neighbours as one edit; words are short. */
export function editDistance(a: string, b: string): number {
  let before: number[] = []
  let last = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const change = a[i - 1] === b[j - 1] ? 0 : 1
      let distance = Math.min(row[j - 1]! + 1, last[j]! + 1, last[j - 1]! + change)
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]
      if (swapped) distance = Math.min(distance, before[j - 2]! + 1)
      row.push(distance)
    }
    before = last
    last = row
  }
  return last[b.length]!
}
