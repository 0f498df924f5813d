import { createHash } from 'node:crypto'

/** A longer value is cut where a person reads it: 100 kB would push the rest off the screen. */
export const PRINTABLE_CHARACTERS_MAX = 400

/**
 * Characters that move the cursor, reverse or hide text: controls, format characters (bidi, zero
 * width, tags), separators of lines, lone surrogates, private use, and blanks that look empty.
 */
const HIDDEN = new RegExp(
  [
    String.raw`[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}]`,
    // Blanks and fillers that are letters or marks to Unicode.
    String.raw`[\u{a0}\u{34f}\u{115f}\u{1160}\u{17b4}\u{17b5}\u{180b}-\u{180f}]`,
    String.raw`[\u{2800}\u{3164}\u{ffa0}]`,
    // Variation selectors, tags, specials.
    String.raw`[\u{fe00}-\u{fe0f}\u{fff9}-\u{ffff}\u{e0000}-\u{e0fff}]`,
  ].join('|'),
  'gu',
)

/** Whether a text has a character that `printable` would have to show as an escape. */
export function hasHidden(text: string): boolean {
  return text.search(HIDDEN) !== -1
}

/** Shows hidden characters as `\u{202e}`, without cutting. */
export function visible(text: string): string {
  return text.replace(HIDDEN, (character) => `\\u{${character.codePointAt(0)!.toString(16)}}`)
}

/**
 * A value of a file, an agent or a tool, made safe to print: hidden characters are shown as
 * `\u{202e}`, and what is longer than 400 characters is cut with a count and the hash of the whole.
 */
export function printable(text: string): string {
  const characters = [...text]
  if (characters.length <= PRINTABLE_CHARACTERS_MAX) return visible(text)
  const head = visible(characters.slice(0, PRINTABLE_CHARACTERS_MAX).join(''))
  const more = (characters.length - PRINTABLE_CHARACTERS_MAX).toLocaleString('en-US')
  const hash = createHash('sha256').update(text).digest('hex')
  return `${head}... ${more} more, sha256 ${shortHash(hash)}`
}

/** The first eight and last four hex digits, for eyes only; the server compares the whole hash. */
export function shortHash(hash: string): string {
  return `${hash.slice(0, 4)} ${hash.slice(4, 8)} ... ${hash.slice(-4)}`
}
