import type { DefinitionChange } from '../catalog/compare.ts'
import type { Json } from '../core/id.ts'
import type { Style } from '../lease-file/paint.ts'
import { visible } from '../lease-file/printable.ts'
import { wrapWords } from '../lease-file/wrap.ts'
import type { Terminal } from './terminal.ts'

/** A value of JSON up to this length stands on one line. */
const INLINE_CHARACTERS_MAX = 60
const INDENT = '    '

/**
 * The differences of two definitions as people read them: where, then what was (`-`) and what is
 * (`+`). Nothing is cut: whoever says yes has had all of it before their eyes. Lines of a text that
 * stay as they are at its beginning and its end are counted.
 */
export function definitionLines(
  changes: readonly DefinitionChange[],
  terminal: Pick<Terminal, 'columns' | 'paint'>,
): string[] {
  return changes.flatMap(({ where, before, after }) => {
    const mark = before === undefined ? '+' : after === undefined ? '-' : '~'
    const [old, now] = linesOf(before, after)
    const same = sameEnds(old, now)
    const middle = (lines: readonly string[]) => lines.slice(same.first, lines.length - same.last)
    const block = (sign: string, style: Style, lines: readonly string[]) =>
      lines.flatMap((line) =>
        wrapWords(`${sign} ${visible(line)}`, terminal.columns - INDENT.length, '  ').map(
          (text) => INDENT + terminal.paint(style, text),
        ),
      )
    return [
      ...wrapWords(`${mark} ${visible(where)}`, terminal.columns, '  '),
      ...unchanged(same.first),
      ...block('-', 'red', middle(old)),
      ...block('+', 'green', middle(now)),
      ...unchanged(same.last),
      '',
    ]
  })
}

function unchanged(lines: number): string[] {
  return lines === 0 ? [] : [`${INDENT}  ${lines === 1 ? '1 line' : `${lines} lines`} as before`]
}

/** Both sides as lines. Texts that differ in blanks alone are quoted, so that it shows. */
function linesOf(before: Json | undefined, after: Json | undefined): [string[], string[]] {
  if (typeof before === 'string' && typeof after === 'string') {
    const squeezed = (text: string) => text.replace(/\s+/g, ' ').trim()
    if (squeezed(before) === squeezed(after)) {
      return [[JSON.stringify(before)], [JSON.stringify(after)]]
    }
  }
  return [sideOf(before), sideOf(after)]
}

function sideOf(value: Json | undefined): string[] {
  if (value === undefined) return []
  if (typeof value === 'string') return value.split('\n')
  const inline = JSON.stringify(value)
  return inline.length <= INLINE_CHARACTERS_MAX
    ? [inline]
    : JSON.stringify(value, null, 2).split('\n')
}

/** How many lines are the same at the beginning and, beyond those, at the end. */
function sameEnds(old: readonly string[], now: readonly string[]): { first: number; last: number } {
  const most = Math.min(old.length, now.length)
  let first = 0
  while (first < most && old[first] === now[first]) first++
  let last = 0
  while (last < most - first && old.at(-1 - last) === now.at(-1 - last)) last++
  return { first, last }
}
