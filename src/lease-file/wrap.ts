import type { Style } from './paint.ts'

/** A stretch of text in one style. */
export interface Span {
  readonly text: string
  readonly style: Style | null
}

/** Characters that a terminal shows two columns wide (East Asian wide and full-width, emoji). */
const WIDE = new RegExp(
  [
    String.raw`[\u{1100}-\u{115f}\u{2e80}-\u{303e}\u{3041}-\u{4dbf}\u{4e00}-\u{a4cf}]`,
    String.raw`[\u{ac00}-\u{d7a3}\u{f900}-\u{faff}\u{fe30}-\u{fe6f}\u{ff00}-\u{ff60}]`,
    String.raw`[\u{ffe0}-\u{ffe6}\u{1f300}-\u{1faff}\u{20000}-\u{3fffd}]`,
    String.raw`\p{Emoji_Presentation}`,
  ].join('|'),
  'u',
)
const ASCII = /^[\x20-\x7e]*$/

/** How many columns a text takes in a terminal. Combining marks take none. */
export function columnsOf(text: string): number {
  if (ASCII.test(text)) return text.length
  let columns = 0
  for (const character of text) {
    if (/\p{Mn}|\p{Me}/u.test(character)) continue
    columns += WIDE.test(character) ? 2 : 1
  }
  return columns
}

/** Wraps plain text at words; lines after the first start with `indent`. */
export function wrapWords(text: string, columns: number, indent: string): string[] {
  const lines = wrapSpans([{ text, style: null }], {
    first: columns,
    rest: columns - indent.length,
  })
  return lines.map(
    (line, index) => (index === 0 ? '' : indent) + line.map((span) => span.text).join(''),
  )
}

/**
 * Wraps styled text at words. A word that is longer than a line is broken, so that nothing of it is
 * hidden. Returns lines of spans; an empty text is one empty line.
 */
export function wrapSpans(
  spans: readonly Span[],
  columns: { readonly first: number; readonly rest: number },
): Span[][] {
  const lines: Span[][] = [[]]
  let used = 0
  const room = () => Math.max(1, lines.length === 1 ? columns.first : columns.rest)
  const breakLine = () => {
    trimEnd(lines.at(-1)!)
    lines.push([])
    used = 0
  }
  for (const word of wordsOf(spans)) {
    const width = word.reduce((sum, span) => sum + columnsOf(span.text), 0)
    const blank = word.length === 1 && word[0]!.text === ' '
    if (blank && used === 0) continue
    if (used > 0 && used + width > room()) {
      breakLine()
      if (blank) continue
    }
    for (const span of word) {
      for (const piece of pieces(span, () => room() - used)) {
        if (used > 0 && used + columnsOf(piece) > room()) breakLine()
        lines.at(-1)!.push({ text: piece, style: span.style })
        used += columnsOf(piece)
      }
    }
  }
  trimEnd(lines.at(-1)!)
  return lines
}

/** Words and single blanks between them; a word can run through several spans. */
function wordsOf(spans: readonly Span[]): Span[][] {
  const words: Span[][] = []
  let open = false
  for (const span of spans) {
    for (const text of span.text.split(/( )/)) {
      if (text === '') continue
      const blank = text === ' '
      if (open && !blank) words.at(-1)!.push({ text, style: span.style })
      else words.push([{ text, style: span.style }])
      open = !blank
    }
  }
  return words
}

/** A span whole if it fits into the room that is left, otherwise character by character. */
function* pieces(span: Span, room: () => number): Iterable<string> {
  if (columnsOf(span.text) <= room()) yield span.text
  else yield* span.text
}

function trimEnd(line: Span[]): void {
  while (line.length > 0 && line.at(-1)!.text === ' ') line.pop()
}
