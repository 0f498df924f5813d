import {
  type Document,
  isAlias,
  isMap,
  isNode,
  isPair,
  isScalar,
  LineCounter,
  type Node,
  type ParsedNode,
  parseAllDocuments,
  visit,
  type YAMLError,
} from 'yaml'
import { DOCUMENTS_MAX, PROBLEMS_MAX, TEXT_BYTES_MAX } from './limits.ts'
import type { Problem } from './problem.ts'

/** A stretch of the file. */
export interface Spot {
  readonly offset: number
  readonly length: number
}

/** A value and where it was written. */
export interface Located<T> {
  readonly value: T
  readonly spot: Spot
}

/** What is said about a spot; `hint` says what to write instead. */
export interface Complaint {
  readonly code: string
  readonly message: string
  readonly hint?: string
  /** Anchor in SPEC.md. */
  readonly see: string
}

/** A lease file being read: its text, and the problems found so far. */
export class Source {
  readonly file: string
  readonly text: string
  readonly lines: LineCounter
  readonly problems: Problem[] = []

  constructor(file: string, text: string, lines: LineCounter) {
    this.file = file
    this.text = text
    this.lines = lines
  }

  /** Notes something that keeps the file from being a lease. */
  error(spot: Spot, complaint: Complaint): void {
    this.#note('error', spot, complaint)
  }

  /** Notes something that the approver has to see. */
  warn(spot: Spot, complaint: Complaint): void {
    this.#note('warning', spot, complaint)
  }

  /** Whether the file cannot be a lease. */
  failed(): boolean {
    return this.problems.some((problem) => problem.severity === 'error')
  }

  #note(severity: Problem['severity'], spot: Spot, complaint: Complaint): void {
    // INVARIANT: an error is never dropped for a warning, so a full list still fails closed.
    if (this.problems.length >= PROBLEMS_MAX && (severity === 'warning' || this.failed())) return
    const { line, col } = this.lines.linePos(Math.min(spot.offset, this.text.length))
    const rest = this.text.slice(spot.offset).search(/[\r\n]|$/)
    this.problems.push({
      severity,
      code: complaint.code,
      file: this.file,
      line: Math.max(1, line),
      column: Math.max(1, col),
      length: Math.max(1, Math.min(spot.length, rest)),
      message: complaint.message,
      hint: complaint.hint ?? '',
      see: `SPEC.md#${complaint.see}`,
    })
  }
}

/** Where a node stands; a missing value is shown at its key. */
export function spotOf(node: unknown, fallback: Spot): Spot {
  if (!isNode(node) || node.range == null) return fallback
  const [start, end] = node.range
  return { offset: start, length: Math.max(1, end - start) }
}

/** The documents of a file that is YAML and uses no feature that hides what it says. */
export function readDocuments(
  text: string,
  file: string,
): { source: Source; documents: Document.Parsed[] } {
  const lines = new LineCounter()
  const source = new Source(file, text, lines)
  if (Buffer.byteLength(text) > TEXT_BYTES_MAX) {
    lines.addNewLine(0)
    const message = `this file has more than ${TEXT_BYTES_MAX / 1024} KiB`
    source.error(START, { code: 'too_large', message, hint: 'a lease is short', see: 'files' })
    return { source, documents: [] }
  }
  const documents = parse(source)
  for (const { errors, warnings } of documents) {
    for (const error of telling([...errors, ...warnings])) {
      const complaint = yamlComplaint(error, text)
      source.error(yamlSpot(error, text), complaint)
    }
  }
  if (!source.failed()) for (const document of documents) refuseIndirection(source, document)
  const written = documents.filter((document) => document.contents !== null)
  if (!source.failed()) countDocuments(source, written)
  return { source, documents: source.failed() ? [] : written }
}

const START: Spot = { offset: 0, length: 1 }

function parse(source: Source): Document.Parsed[] {
  try {
    const documents = parseAllDocuments<ParsedNode>(source.text, {
      lineCounter: source.lines,
      prettyErrors: false,
      version: '1.2',
      schema: 'core',
      uniqueKeys: true,
      merge: false,
      strict: true,
    })
    return Array.isArray(documents) ? documents : []
  } catch (error) {
    // Nesting of thousands of levels ends the parser's stack.
    if (!(error instanceof RangeError)) throw error
    const message = 'this file is nested too deeply to be read'
    source.error(START, { code: 'unreadable', message, see: 'files' })
    return []
  }
}

function countDocuments(source: Source, written: readonly Document.Parsed[]): void {
  if (written.length === 0) {
    const hint = 'a lease starts with the line `lease:`'
    source.error(START, { code: 'empty', message: 'this file is empty', hint, see: 'files' })
  }
  const extra = written[DOCUMENTS_MAX]
  if (extra === undefined) return
  source.error(spotOf(extra.contents, START), {
    code: 'too_many_documents',
    message: `this file has ${written.length} documents`,
    hint: 'write one lease, or one envelope and one lease with `---` between them',
    see: 'files',
  })
}

/**
 * Anchors, aliases, merge keys and tags make a file say something else than it shows, and aliases
 * can grow without bound. A lease needs none of them.
 */
function refuseIndirection(source: Source, document: Document.Parsed): void {
  visit(document, (_key, item) => {
    if (isPair(item)) {
      if (isScalar(item.key) && item.key.value === '<<') {
        refuse(source, item.key, 'merge keys (`<<`)')
      }
      return
    }
    if (!isNode(item)) return
    if (isAlias(item)) refuse(source, item, `the alias \`*${item.source}\``)
    else if (item.anchor) refuse(source, item, `the anchor \`&${item.anchor}\``)
    if (item.tag !== undefined)
      refuse(source, item, `the tag \`${item.tag.replace('tag:yaml.org,2002:', '!!')}\``)
  })
}

function refuse(source: Source, node: Node, what: string): void {
  source.error(spotOf(node, START), {
    code: 'indirection',
    message: `${what} can't be used in a lease`,
    hint: 'write the value itself, so that what is read is what holds',
    see: 'files',
  })
}

/** One slip makes a parser complain several times: the first time tells most, but for tabs. */
function telling(errors: readonly YAMLError[]): readonly YAMLError[] {
  const twice = errors.filter((error) => error.code === 'DUPLICATE_KEY')
  if (twice.length > 0) return twice
  const tab = errors.find((error) => error.code === 'TAB_AS_INDENT')
  return (tab === undefined ? errors : [tab]).slice(0, 1)
}

function yamlSpot(error: YAMLError, text: string): Spot {
  const [offset, end] = error.pos
  if (error.code === 'DUPLICATE_KEY') return { offset, length: keyAt(text, offset).length }
  return { offset, length: Math.max(1, end - offset) }
}

function keyAt(text: string, offset: number): string {
  return (
    /^(?:"[^"\n]*"|'[^'\n]*'|[^\s:,{}[\]]+)/.exec(text.slice(offset))?.[0] ?? text.charAt(offset)
  )
}

function yamlComplaint(error: YAMLError, text: string): Complaint {
  const see = 'files'
  if (error.code === 'DUPLICATE_KEY') {
    const key = keyAt(text, error.pos[0])
    const message = `\`${key}\` is written twice`
    return { code: 'duplicate_key', message, hint: 'keep one of them', see }
  }
  const message = `not YAML: ${error.message.charAt(0).toLowerCase()}${error.message.slice(1)}`
  return { code: 'not_yaml', message, hint: HINTS[error.code] ?? '', see }
}

const HINTS: Partial<Record<YAMLError['code'], string>> = {
  TAB_AS_INDENT: 'indent with spaces',
  BAD_INDENT: 'indent it like its neighbours',
  BLOCK_AS_IMPLICIT_KEY: 'put a text with `: ` in it in quotes',
  MISSING_CHAR: 'close it on the same line',
}

/** Whether a document's root is a map. */
export function rootMap(document: Document.Parsed) {
  return isMap(document.contents) ? document.contents : null
}
