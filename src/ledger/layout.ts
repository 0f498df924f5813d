/**
 * Text in columns, for terminals. The ledger knows nothing of terminals and vocabularies: whoever
 * renders hands the tools in (`src/lease-file` has them).
 */

export type Style = 'bold' | 'dim' | 'green' | 'red' | 'yellow' | 'magenta' | 'blue'

export interface Span {
  readonly text: string
  readonly style: Style | null
}

/** The hands of a renderer: how to colour, measure, wrap and name things. */
export interface TextTools {
  readonly paint: (style: Style | null, text: string) => string
  /** Makes a value of an agent or tool safe to print, and cuts it. */
  readonly printable: (text: string) => string
  readonly columnsOf: (text: string) => number
  readonly wrapSpans: (
    spans: readonly Span[],
    columns: { readonly first: number; readonly rest: number },
  ) => readonly (readonly Span[])[]
  /** `pull_request.create` → `open PR`. */
  readonly phraseOf: (action: string) => string
  /** `pull_request.create` → `PR is opened`. */
  readonly doneOf: (action: string) => string
  /** `repos` → `repo`. */
  readonly resourceWord: (type: string) => string
}

export interface LayoutOptions {
  /** Width of the terminal. More than 80 are not used: long lines are not read. */
  readonly columns: number
  readonly tools: TextTools
}

const COLUMNS_MAX = 80
/** Below this there is no room for a second column: it moves to a line of its own. */
const TWO_COLUMNS_MIN = 60
const COLUMNS_MIN = 20

export interface Page {
  readonly columns: number
  readonly wide: boolean
  readonly tools: TextTools
}

export function pageOf({ columns, tools }: LayoutOptions): Page {
  const width = Math.max(COLUMNS_MIN, Math.min(COLUMNS_MAX, Math.floor(columns)))
  return { columns: width, wide: width >= TWO_COLUMNS_MIN, tools }
}

export function plain(text: string): Span {
  return { text, style: null }
}

const MARKS = {
  '+': 'green',
  x: 'red',
  '?': 'yellow',
  '!': 'magenta',
  '~': 'magenta',
  '>': 'blue',
} as const satisfies Record<string, Style>

export type Mark = keyof typeof MARKS

/** A mark in the colour of its meaning, and a blank. */
export function marked(mark: Mark): Span[] {
  return [{ text: mark, style: MARKS[mark] }, plain(' ')]
}

/** Wrapped text; lines after the first start at `rest`. */
export function block(
  spans: readonly Span[],
  indent: { readonly first: number; readonly rest: number },
  page: Page,
): string[] {
  const room = { first: page.columns - indent.first, rest: page.columns - indent.rest }
  return page.tools
    .wrapSpans(spans, room)
    .map(
      (line, index) => ' '.repeat(index === 0 ? indent.first : indent.rest) + painted(line, page),
    )
}

function painted(line: readonly Span[], page: Page): string {
  return merge(line)
    .map(({ style, text }) => page.tools.paint(style, text))
    .join('')
}

/** Neighbours of one style are painted once. */
function merge(line: readonly Span[]): Span[] {
  const merged: { text: string; style: Style | null }[] = []
  for (const span of line) {
    const last = merged.at(-1)
    if (last !== undefined && last.style === span.style) last.text += span.text
    else merged.push({ ...span })
  }
  return merged
}

/** Two cells side by side, each wrapped in its column; one under the other where it is narrow. */
export function row(
  cells: { readonly left: readonly Span[]; readonly right: readonly Span[] },
  at: { readonly left: number; readonly right: number },
  page: Page,
): string[] {
  const { left, right } = cells
  if (!page.wide) {
    const below = right.length === 0 ? [] : block(right, { first: 4, rest: 4 }, page)
    const above = left.length === 0 ? [] : block(left, { first: 2, rest: 4 }, page)
    return [...above, ...below]
  }
  // What hangs over a line of the left column starts under its text, not under its mark.
  const width = at.right - at.left - 1
  const lefts = page.tools.wrapSpans(left, { first: width, rest: width - 2 })
  const room = page.columns - at.right
  const rights = right.length === 0 ? [] : page.tools.wrapSpans(right, { first: room, rest: room })
  return Array.from({ length: Math.max(lefts.length, rights.length) }, (_, index) => {
    const lead = ' '.repeat(at.left + (index === 0 ? 0 : 2))
    const text = lefts[index] ?? []
    const line = rights[index]
    if (line === undefined) return lead + painted(text, page)
    const used = text.reduce((sum, span) => sum + page.tools.columnsOf(span.text), lead.length)
    return lead + painted(text, page) + ' '.repeat(at.right - used) + painted(line, page)
  })
}

/** A label in the left margin and its text. */
export function labelled(label: Span, text: readonly Span[], column: number, page: Page): string[] {
  if (page.wide) return row({ left: [label], right: text }, { left: 0, right: column }, page)
  return [
    ...block([label], { first: 0, rest: 2 }, page),
    ...block(text, { first: 2, rest: 4 }, page),
  ]
}

/** Left and right on one line if they fit, otherwise on two. */
export function spread(left: readonly Span[], right: string, page: Page): string[] {
  const used = left.reduce((sum, span) => sum + page.tools.columnsOf(span.text), 0)
  const gap = page.columns - used - page.tools.columnsOf(right)
  if (page.wide && gap >= 2) return [`${painted(left, page)}${' '.repeat(gap)}${right}`]
  return [
    ...block(left, { first: 0, rest: 2 }, page),
    ...block([plain(right)], { first: 2, rest: 2 }, page),
  ]
}
