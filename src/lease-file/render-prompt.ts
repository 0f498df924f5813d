import { MARK_STYLES, type Paint, painter, type Style } from './paint.ts'
import type { Clause, Prompt, PromptLine, Section } from './prompt.ts'
import { columnsOf, type Span, wrapSpans } from './wrap.ts'

export interface RenderOptions {
  /** Width of the terminal. More than 80 are not used: long lines are not read. */
  readonly columns: number
  readonly color: boolean
}

const COLUMNS_MAX = 80
/** Below this there is no room for a second column. */
const TWO_COLUMNS_MIN = 60
/** Narrower terminals get lines of this width, which wrap by themselves. */
const COLUMNS_MIN = 20
const LABEL_COLUMNS = 13
/** A line under a section's text starts this much further in. */
const STEP = 2

interface Page {
  readonly columns: number
  readonly wide: boolean
  readonly paint: Paint
}

/** Shows a prompt in a terminal: the text down to the last section, without the question. */
export function renderPrompt(prompt: Prompt, options: RenderOptions): string {
  const columns = Math.max(COLUMNS_MIN, Math.min(COLUMNS_MAX, Math.floor(options.columns)))
  const page = { columns, wide: columns >= TWO_COLUMNS_MIN, paint: painter(options) }
  return [
    ...headLines(prompt, page),
    ...block([{ text: prompt.byline, style: null }], { first: 0, rest: 2 }, page),
    '',
    ...glanceLines(prompt, page),
    '',
    ...prompt.sections.flatMap((section) => sectionLines(section, page)),
  ].join('\n')
}

function headLines(prompt: Prompt, page: Page): string[] {
  const gap = page.columns - columnsOf(prompt.title) - columnsOf(prompt.run)
  if (page.wide && gap >= 2) {
    return [`${page.paint('bold', prompt.title)}${' '.repeat(gap)}${prompt.run}`]
  }
  return [
    ...block([{ text: prompt.title, style: 'bold' }], { first: 0, rest: 0 }, page),
    ...block([{ text: prompt.run, style: null }], { first: 0, rest: 0 }, page),
  ]
}

/** The six answers, broken only between them. */
function glanceLines(prompt: Prompt, page: Page): string[] {
  const lines: { columns: number; parts: string[] }[] = []
  for (const { question, answer } of prompt.glance) {
    const columns = columnsOf(`${question} ${answer}`)
    const part = `${question} ${page.paint(answer === 'no' ? 'dim' : 'bold', answer)}`
    const line = lines.at(-1)
    if (line !== undefined && line.columns + 3 + columns <= page.columns) {
      line.parts.push(part)
      line.columns += 3 + columns
    } else lines.push({ columns, parts: [part] })
  }
  return lines.map((line) => line.parts.join(' | '))
}

function sectionLines(section: Section, page: Page): string[] {
  const text: Span[] = [{ text: section.text, style: null }]
  const label = page.paint('dim', section.label)
  const names = section.lines.map((line) => (line.name === null ? 0 : columnsOf(line.name)))
  const nameColumns = Math.max(0, ...names)
  const finer = (indent: number) =>
    section.lines.flatMap((line) => finerLines(line, { indent, nameColumns }, page))
  if (!page.wide) return [label, ...block(text, { first: 2, rest: 2 }, page), ...finer(2)]
  const [first, ...rest] = block(text, { first: LABEL_COLUMNS, rest: LABEL_COLUMNS }, page)
  const pad = ' '.repeat(Math.max(1, LABEL_COLUMNS - columnsOf(section.label)))
  return [`${label}${pad}${first!.trimStart()}`, ...rest, ...finer(LABEL_COLUMNS)]
}

/** A line under a section: `> open PR     sends title to host`, or words alone, further in. */
function finerLines(
  line: PromptLine,
  at: { readonly indent: number; readonly nameColumns: number },
  page: Page,
): string[] {
  const [first, ...more] = line.clauses
  if (first === undefined) return []
  const inner = at.indent + STEP
  if (line.name === null) {
    const spans = [...markSpans(first), ...more.flatMap((clause) => joined(clause))]
    const start = first.mark === null ? inner : at.indent
    // Hanging, so that two lines are never read as one.
    return block(spans, { first: start, rest: inner + STEP }, page)
  }
  const style = first.mark === null ? null : MARK_STYLES[first.mark]
  const name: Span[] = [{ text: `${first.mark ?? ' '} ${line.name}`, style }]
  const clauses = [{ text: first.text, style: null }, ...more.flatMap((clause) => joined(clause))]
  const column = inner + at.nameColumns + 2
  // A name that leaves the words too little room stands on its own line, as all do when narrow.
  if (!page.wide || column > page.columns / 2 + LABEL_COLUMNS) {
    const step = { first: inner + STEP, rest: inner + STEP }
    return [...block(name, { first: at.indent, rest: inner }, page), ...block(clauses, step, page)]
  }
  const [head, ...rest] = block(clauses, { first: column, rest: column }, page)
  const pad = ' '.repeat(column - inner - columnsOf(line.name))
  const lead = `${' '.repeat(at.indent)}${page.paint(style, name[0]!.text)}${pad}`
  return [`${lead}${head!.trimStart()}`, ...rest]
}

function markSpans(clause: Clause): Span[] {
  if (clause.mark === null) return [{ text: clause.text, style: null }]
  return [
    { text: clause.mark, style: MARK_STYLES[clause.mark] },
    { text: ` ${clause.text}`, style: null },
  ]
}

/** A further clause on the same line: its mark and the words up to a colon have its colour. */
function joined(clause: Clause): Span[] {
  if (clause.mark === null) return [{ text: `; ${clause.text}`, style: null }]
  const colon = clause.text.indexOf(':')
  const head = colon === -1 ? clause.text : clause.text.slice(0, colon)
  return [
    { text: '; ', style: null },
    { text: `${clause.mark} ${head}`, style: MARK_STYLES[clause.mark] },
    { text: clause.text.slice(head.length), style: null },
  ]
}

function block(
  spans: readonly Span[],
  indent: { readonly first: number; readonly rest: number },
  page: Page,
): string[] {
  const lines = wrapSpans(spans, {
    first: page.columns - indent.first,
    rest: page.columns - indent.rest,
  })
  return lines.map((line, index) => {
    const words = merge(line).map((span) => page.paint(span.style, span.text))
    return ' '.repeat(index === 0 ? indent.first : indent.rest) + words.join('')
  })
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
