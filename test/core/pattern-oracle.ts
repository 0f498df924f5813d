import fc from 'fast-check'
import { DFA, isDisjointWith, JS, NFA } from 'refa'

/**
 * What a pattern means, as a regular expression: the specification that the matcher and the
 * containment check are compared with. `.` and `/` do not occur inside segments here; the resource
 * without segments (`.`) is the empty text.
 */
const CHAR = '[^/.]'
const SEGMENT = `${CHAR}+`

/** Source of the regular expression for a pattern; `separator` is `.` or `/`. */
export function regexOf(pattern: string, separator: '.' | '/'): string {
  const between = separator === '.' ? '\\.' : '/'
  const segments = pattern.split(separator)
  const gap = segments.indexOf('**')
  if (gap === -1) return segments.map(segmentRegex).join(between)
  const head = segments.slice(0, gap).map(segmentRegex).join(between)
  const tail = segments
    .slice(gap + 1)
    .map(segmentRegex)
    .join(between)
  if (head !== '' && tail !== '') return `${head}${between}(?:${SEGMENT}${between})*${tail}`
  if (head !== '') return `${head}(?:${between}${SEGMENT})*`
  if (tail !== '') return `(?:${SEGMENT}${between})*${tail}`
  const some = `${SEGMENT}(?:${between}${SEGMENT})*`
  return separator === '.' ? some : `(?:${some})?`
}

function segmentRegex(segment: string): string {
  return segment === '*' ? SEGMENT : segment.replaceAll('*', `${CHAR}*`)
}

/** The regular expression for a denial: what it names and the descendants of that. */
export function denialRegexOf(pattern: string): string {
  return `${regexOf(pattern, '.')}(?:\\.${SEGMENT})*`
}

/** Inclusion of regular languages by automata: child ∩ not (union of parents) is empty. */
export function isIncluded(child: string, parents: readonly string[]): boolean {
  const outside = DFA.fromFA(automaton(parents.map((parent) => `(?:${parent})`).join('|')))
  outside.complement()
  return isDisjointWith(automaton(child), outside)
}

/** Whether some text belongs to both languages. */
export function sharesText(left: string, right: string): boolean {
  return !isDisjointWith(automaton(left), automaton(right))
}

function automaton(source: string): NFA {
  const { expression, maxCharacter } = JS.Parser.fromLiteral({ source, flags: '' }).parse()
  return NFA.fromRegex(expression, { maxCharacter })
}

const SEGMENTS = ['a', 'b', 'ab', 'ba', '*', 'a*', '*a', '*b', 'a*b', 'a*a', '*a*', 'a*b*', '*b*a']

/** A pattern over two letters, so that patterns meet. */
export function arbitraryPattern(separator: '.' | '/'): fc.Arbitrary<string> {
  const segments = fc.array(fc.constantFrom(...SEGMENTS), { maxLength: 4 })
  return fc
    .tuple(segments, fc.option(fc.nat(4), { freq: 1 }))
    .map(([list, at]) => (at === null ? list : list.toSpliced(Math.min(at, list.length), 0, '**')))
    .filter((list) => list.length > 0)
    .map((list) => list.join(separator))
}

/** A pattern that is often wider than the given one: segments become `*` or `**`. */
function widened(pattern: string, separator: '.' | '/'): fc.Arbitrary<string> {
  const segments = pattern.split(separator)
  return fc
    .tuple(
      fc.array(fc.nat(5), { minLength: segments.length, maxLength: segments.length }),
      fc.nat(segments.length),
      fc.nat(3),
    )
    .map(([picks, from, count]) => {
      const wide = segments.map((segment, i) => {
        if (segment === '**' || picks[i]! > 2) return segment
        return picks[i] === 0 ? '*' : picks[i] === 1 ? `${segment[0]}*`.replace('**', '*') : segment
      })
      const mayGap = !wide.includes('**') || wide.indexOf('**') >= from
      if (count === 0 || !mayGap) return wide.join(separator)
      const kept = wide.toSpliced(from, count, '**')
      return kept.filter((each, i) => each !== '**' || i === from).join(separator)
    })
}

/** A child and one to four parents, of which some were made from the child by widening. */
export function arbitraryFamily(
  separator: '.' | '/',
): fc.Arbitrary<{ child: string; parents: string[] }> {
  return arbitraryPattern(separator).chain((child) =>
    fc.record({
      child: fc.constant(child),
      parents: fc.array(fc.oneof(arbitraryPattern(separator), widened(child, separator)), {
        minLength: 1,
        maxLength: 4,
      }),
    }),
  )
}

/** A pattern, and a value over three letters (no pattern has `c`) that often lies near it. */
export function arbitraryMatch(
  separator: '.' | '/',
): fc.Arbitrary<{ pattern: string; value: string }> {
  return arbitraryPattern(separator).chain((pattern) =>
    fc.record({
      pattern: fc.constant(pattern),
      value: fc.oneof(arbitraryValue(separator), valueNear(pattern, separator)),
    }),
  )
}

function arbitraryValue(separator: '.' | '/'): fc.Arbitrary<string> {
  const segment = fc.stringMatching(/^[abc]{1,4}$/u)
  return fc.array(segment, { minLength: 1, maxLength: 6 }).map((list) => list.join(separator))
}

/** The pattern with its wildcards filled; lone empty segments may result, and are left out. */
function valueNear(pattern: string, separator: '.' | '/'): fc.Arbitrary<string> {
  const fills = fc.array(fc.constantFrom('', 'a', 'b', 'c', 'ab', 'ca'), {
    minLength: 10,
    maxLength: 10,
  })
  return fc
    .tuple(fills, fc.array(fc.constantFrom('a', 'b', 'c'), { maxLength: 3 }))
    .map(([texts, gap]) => {
      let at = 0
      const segments = pattern
        .split(separator)
        .flatMap((segment) =>
          segment === '**' ? gap : [segment.replaceAll('*', () => texts[at++ % texts.length]!)],
        )
      return segments.filter((segment) => segment !== '').join(separator) || 'c'
    })
}
