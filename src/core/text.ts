/**
 * Characters that a reader does not see or that reorder what the reader sees: controls, bidi marks,
 * zero-width and filler characters, variation selectors, tags, noncharacters. The ranges are
 * written out, not taken from `\p{…}`, so that a replay under a newer Unicode gives the same
 * verdict.
 */
const HIDDEN =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: finding control characters is its purpose
  // biome-ignore lint/suspicious/noMisleadingCharacterClass: single code points are meant
  /[\u0000-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufdd0-\ufdef\ufe00-\ufe0f\ufeff\uffa0\uffef-\uffff\u{1bca0}-\u{1bca3}\u{1d173}-\u{1d17a}\u{e0000}-\u{e0fff}]/u

const HIDDEN_ALL = new RegExp(HIDDEN.source, 'gu')

/**
 * Longest piece of user input that a message repeats; the rest is cut, so that logs stay readable.
 */
const QUOTED_CHARS_MAX = 120

/**
 * Whether the text has a character that is invisible or reorders others, or half a surrogate pair.
 */
export function hasHidden(text: string): boolean {
  return HIDDEN.test(text) || !text.isWellFormed()
}

/** User input for a message: in backticks, cut, with invisible characters spelled `\u{202e}`. */
export function quote(text: string): string {
  const cut = text.length > QUOTED_CHARS_MAX ? `${text.slice(0, QUOTED_CHARS_MAX)}…` : text
  const shown = cut
    .toWellFormed()
    .replace(HIDDEN_ALL, (char) => `\\u{${char.codePointAt(0)!.toString(16)}}`)
  return `\`${shown}\``
}

/** Length in UTF-8, without encoding; the text is well-formed. */
export function utf8Bytes(text: string): number {
  let bytes = text.length
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    // A surrogate pair is two units and four bytes: one more byte for each half.
    if (unit >= 0x80) bytes += unit < 0x800 || (unit >= 0xd800 && unit < 0xe000) ? 1 : 2
  }
  return bytes
}
