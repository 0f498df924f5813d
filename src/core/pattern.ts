import { err, ok, type Result } from './result.ts'
import { hasHidden, quote } from './text.ts'

/*
 * The pattern language (SPEC, "Patterns").
 *
 * A pattern is segments: split on `.` for actions, on `/` for resources. `*` stands for zero or
 * more characters within a segment; the segment as a whole is never empty, so a lone `*` matches
 * every segment but not "no segment". `**` is a whole segment and stands for zero or more segments,
 * once per pattern. There is no escape, no regular expression, no negation.
 *
 * Resources: `.` is the value with no segments (the root of a repository): only `.` and `**` match
 * it. A scheme belongs to the first segment: `https://host/a` is `https://host`, `a`. `[`, `]`,
 * `{`,
 * `}` are literal, because file names have them (`app/[slug]/page.tsx`); what would be read as glob
 * syntax of other tools (`{a,b}`, `?`, a leading `!`) is refused rather than taken literally.
 *
 * Values are data: a `*` in a value is the character `*`, and never acts as a pattern.
 */

/** Longer patterns are refused: matching costs value × pattern in the worst case (threat 16). */
export const PATTERN_CHARS_MAX = 512

/** Longer values match nothing (threat 16); canonical values are at most this long. */
export const VALUE_CHARS_MAX = 4096

/** Stands for "any characters" in witnesses. No pattern and no canonical value has it. */
const FRESH = '\uffff'

interface Glob {
  readonly prefix: string
  readonly middle: readonly string[]
  readonly suffix: string
  readonly charsMin: number
}

interface Segment {
  readonly text: string
  /** Null: the segment is literal. */
  readonly glob: Glob | null
}

interface Pattern {
  readonly text: string
  readonly segments: readonly Segment[]
  /** Index of `**` in the segments; -1: none. */
  readonly gap: number
  /** No `*` at all: matching is string equality. */
  readonly literal: boolean
  readonly separator: '.' | '/'
}

export interface ActionPattern extends Pattern {
  readonly separator: '.'
}

export interface ResourcePattern extends Pattern {
  readonly separator: '/'
}

/**
 * Parses an action pattern such as `repo.read`, `repo.*`, `repo.**`. The error says what to write.
 */
export function parseActionPattern(text: string): Result<ActionPattern, string> {
  if (text === '') return err('an empty pattern; write an action such as `repo.read`')
  const fault = commonFault(text)
  if (fault !== null) return err(fault)
  const odd = /[^A-Za-z0-9_\-.*]/u.exec(text)
  if (odd !== null) {
    return err(
      `${quote(text)} has ${quote(odd[0])}, which no action has; ` +
        'write letters, digits, `_`, `-`, and `.` between segments, with `*` or `**` as wildcards',
    )
  }
  return build(text, text.split('.'), '.') as Result<ActionPattern, string>
}

/** Parses a resource pattern such as `clord`, `agent/*`, `src/**`. The error says what to write. */
export function parseResourcePattern(text: string): Result<ResourcePattern, string> {
  if (text === '') return err('an empty pattern; write a value, or `**` for every value')
  const fault = commonFault(text) ?? foreignSyntax(text) ?? misplacedSlash(text)
  if (fault !== null) return err(fault)
  if (text === '.') {
    return ok({ text, segments: [], gap: -1, literal: true, separator: '/' })
  }
  const segments = splitResource(text)
  if (segments.some((segment) => segment === '.' || segment === '..')) {
    return err(`${quote(text)} has a \`.\` or \`..\` segment; write the path without it`)
  }
  return build(text, segments, '/') as Result<ResourcePattern, string>
}

function commonFault(text: string): string | null {
  if (text.length > PATTERN_CHARS_MAX) {
    return `${quote(text)} is longer than ${PATTERN_CHARS_MAX} characters; write a shorter pattern`
  }
  if (hasHidden(text)) {
    return `${quote(text)} has an invisible or control character; write it without`
  }
  if (text !== text.normalize('NFC')) {
    return `${quote(text)} is not in Unicode normal form C and would match nothing; retype it`
  }
  return null
}

function foreignSyntax(text: string): string | null {
  if (text.startsWith('!')) {
    return `${quote(text)} starts with \`!\`: there is no negation; list what is granted`
  }
  if (text.includes('?')) {
    return `${quote(text)} has \`?\`, which is not pattern syntax here; write \`*\``
  }
  if (/\{[^{}]*,[^{}]*\}/u.test(text)) {
    return `${quote(text)} has braces, which are not pattern syntax here; write one pattern for each`
  }
  if (text.includes('\\')) {
    return `${quote(text)} has a backslash; write \`/\` between segments (there is no escape)`
  }
  return null
}

function misplacedSlash(text: string): string | null {
  if (text.startsWith('/')) {
    const rest = text.replace(/^\/+/u, '')
    return `${quote(text)} starts with \`/\`; resources are relative, write ${quote(rest || '**')}`
  }
  if (text.endsWith('/')) {
    const rest = text.replace(/\/+$/u, '')
    return `${quote(text)} ends in \`/\`; write ${quote(`${rest}/**`)} for all that is beneath`
  }
  return null
}

function splitResource(text: string): string[] {
  const end = schemeEnd(text)
  if (end === 0) return text.split('/')
  const [first, ...rest] = text.slice(end).split('/')
  return first === '' ? ['', ...rest] : [text.slice(0, end) + first, ...rest]
}

/** Index behind `scheme://`; 0 if the text does not start with one. */
function schemeEnd(text: string): number {
  const slash = text.indexOf('/')
  const isScheme =
    slash > 1 && text.charCodeAt(slash - 1) === 58 && text.charCodeAt(slash + 1) === 47
  return isScheme ? slash + 2 : 0
}

function build(text: string, parts: readonly string[], separator: '.' | '/') {
  let gap = -1
  const segments: Segment[] = []
  for (const part of parts) {
    if (part === '') {
      const whole = parts.filter((each) => each !== '').join(separator)
      return err(`${quote(text)} has an empty segment; write ${quote(whole || '**')}`)
    }
    if (part === '**') {
      if (gap !== -1) return err(`${quote(text)} has two \`**\`; write one at most`)
      gap = segments.length
    } else if (part.includes('**')) {
      return err(
        `${quote(text)}: \`**\` must be a whole segment; ` +
          `write ${quote(`**${separator}*`)} or a single \`*\``,
      )
    }
    segments.push({ text: part, glob: part.includes('*') ? globOf(part) : null })
  }
  return ok({ text, segments, gap, literal: !text.includes('*'), separator })
}

function globOf(text: string): Glob {
  const parts = text.split('*')
  return {
    prefix: parts[0]!,
    middle: parts.slice(1, -1).filter((part) => part !== ''),
    suffix: parts[parts.length - 1]!,
    charsMin: text.length - (parts.length - 1),
  }
}

/** Whether the pattern matches the action, as a grant: exactly, never its descendants. */
export function matchesAction(pattern: ActionPattern, action: string): boolean {
  return pattern.literal ? action === pattern.text : matches(pattern, action)
}

/**
 * Whether the pattern matches the canonical value. A value that is not canonical matches nothing.
 */
export function matchesResource(pattern: ResourcePattern, value: string): boolean {
  return pattern.literal ? value === pattern.text : matches(pattern, value)
}

/** Whether the pattern matches the action as a denial: the action or one that it descends from. */
export function deniesAction(pattern: ActionPattern, action: string): boolean {
  if (pattern.literal) {
    const { length } = pattern.text
    return (
      action.startsWith(pattern.text) &&
      (action.length === length || action.charCodeAt(length) === 46)
    )
  }
  if (action.length > VALUE_CHARS_MAX) return true
  for (let dot = action.indexOf('.'); dot !== -1; dot = action.indexOf('.', dot + 1)) {
    if (matches(pattern, action.slice(0, dot))) return true
  }
  return matches(pattern, action)
}

/**
 * Matches from both ends towards `**`. Each character is looked at a bounded number of times: there
 * is one `**`, and within a segment the parts between `*` are sought leftmost, without going back.
 */
function matches(pattern: Pattern, value: string): boolean {
  const { segments, separator, gap } = pattern
  const scheme = separator === '/' ? schemeEnd(value) : 0
  if (!isWellFormed(value, separator, scheme)) return false
  // Only a `**` that stands alone matches the value without segments.
  if (value === '.') return segments.length === 1 && gap === 0
  const heads = gap === -1 ? segments.length : gap
  let from = 0
  for (let i = 0; i < heads; i++) {
    if (from > value.length) return false
    let to = value.indexOf(separator, from === 0 ? scheme : from)
    if (to === -1) to = value.length
    if (!matchesSegment(segments[i]!, value, from, to)) return false
    from = to + 1
  }
  if (gap === -1) return from === value.length + 1
  let to = value.length
  for (let i = segments.length - 1; i > gap; i--) {
    if (to < from) return false
    const cut = value.lastIndexOf(separator, to - 1)
    const start = cut < scheme ? 0 : cut + 1
    if (!matchesSegment(segments[i]!, value, start, to)) return false
    to = start - 1
  }
  return true
}

/** No empty segment, no `.` or `..` segment: a `**` must not swallow a way out (threat 1). */
function isWellFormed(value: string, separator: '.' | '/', scheme: number): boolean {
  const { length } = value
  if (length === 0 || length > VALUE_CHARS_MAX) return false
  if (value.startsWith(separator) || value.endsWith(separator)) return false
  if (separator === '.') return !value.includes('..')
  if (value.indexOf('//', scheme === 0 ? 0 : scheme - 1) !== -1) return false
  if (value === '.' || (value.charCodeAt(0) !== 46 && !value.includes('/.'))) return true
  return !/(?:^|\/)\.\.?(?:\/|$)/u.test(value)
}

function matchesSegment(segment: Segment, value: string, from: number, to: number): boolean {
  const { glob } = segment
  if (glob === null) {
    return to - from === segment.text.length && value.startsWith(segment.text, from)
  }
  if (to - from < glob.charsMin) return false
  const end = to - glob.suffix.length
  if (!value.startsWith(glob.prefix, from) || !value.startsWith(glob.suffix, end)) return false
  let at = from + glob.prefix.length
  for (const part of glob.middle) {
    at = value.indexOf(part, at)
    if (at === -1 || at + part.length > end) return false
    at += part.length
  }
  return true
}

/** Whether every action that `child` matches is matched by one of `parents`. Exact. */
export function containsAction(parents: readonly ActionPattern[], child: ActionPattern): boolean {
  return contains(parents, child, matchesAction)
}

/** Whether every action that the denial `child` blocks is blocked by one of `parents`. Exact. */
export function containsDenial(parents: readonly ActionPattern[], child: ActionPattern): boolean {
  // Denials are closed under descent, so the actions that `child` matches itself are enough.
  return contains(parents, child, deniesAction)
}

/** Whether every value that `child` matches is matched by one of `parents`. Exact. */
export function containsResource(
  parents: readonly ResourcePattern[],
  child: ResourcePattern,
): boolean {
  return contains(parents, child, matchesResource)
}

/**
 * Each `*` of the child becomes a character that no pattern has, so that only a `*` of a parent can
 * absorb it; then that parent absorbs every other text there, the empty one included (a segment is
 * empty only if it is a lone `*`, and that is ruled out on both sides). So one witness decides for
 * one length, even for a union. `**` becomes k such segments; beyond the longest parent, a further
 * one can only fall to a `**` that has already absorbed its like, so k stops there.
 */
function contains<P extends Pattern>(
  parents: readonly P[],
  child: P,
  match: (parent: P, value: string) => boolean,
): boolean {
  const lengthMax = parents.reduce((max, parent) => Math.max(max, parent.segments.length), 0)
  const fill = child.segments.map((segment) => segment.text.replaceAll('*', FRESH))
  const kMax = child.gap === -1 ? 0 : lengthMax + 1
  for (let k = 0; k <= kMax; k++) {
    const segments =
      child.gap === -1 ? fill : fill.toSpliced(child.gap, 1, ...Array<string>(k).fill(FRESH))
    // There is no action without segments; the resource without segments is `.`.
    if (segments.length === 0 && child.separator === '.') continue
    const witness = segments.length === 0 ? '.' : segments.join(child.separator)
    if (!parents.some((parent) => match(parent, witness))) return false
  }
  return true
}

/** Whether some action is matched by `pattern` and blocked by `denial`. Exact. */
export function overlapsDenial(pattern: ActionPattern, denial: ActionPattern): boolean {
  return overlaps(pattern.segments, [...denial.segments, { text: '**', glob: globOf('**') }])
}

/** Two sequences share a value iff the last cell of the table of their prefixes says so. */
function overlaps(left: readonly Segment[], right: readonly Segment[]): boolean {
  return walk(left, right, (segment) => segment.text === '**', segmentsOverlap)
}

/**
 * Two segments share a text. Both `*`: any character; so a shared text is never only the empty one.
 */
function segmentsOverlap(left: Segment, right: Segment): boolean {
  if (left.glob === null && right.glob === null) return left.text === right.text
  return walk([...left.text], [...right.text], (char) => char === '*', Object.is)
}

/** Intersection of two sequences in which some elements are "zero or more of anything". */
function walk<T>(
  left: readonly T[],
  right: readonly T[],
  isGap: (element: T) => boolean,
  meets: (one: T, other: T) => boolean,
): boolean {
  let row: boolean[] = []
  for (let i = 0; i <= left.length; i++) {
    const next: boolean[] = []
    const gapLeft = i > 0 && isGap(left[i - 1]!)
    for (let j = 0; j <= right.length; j++) {
      const gapRight = j > 0 && isGap(right[j - 1]!)
      const above = i > 0 && row[j]!
      const before = j > 0 && next[j - 1]!
      if (i === 0 && j === 0) next[j] = true
      // The gap is empty here, or absorbs what the other side has.
      else if (gapLeft || gapRight) next[j] = above || before
      else next[j] = i > 0 && j > 0 && row[j - 1]! && meets(left[i - 1]!, right[j - 1]!)
    }
    row = next
  }
  return row[right.length]!
}
