/** What a stretch of text means; the theme of the user's terminal decides how the colours look. */
export type Style = 'bold' | 'dim' | 'green' | 'red' | 'yellow' | 'magenta' | 'blue'

/** Wraps text in escape codes, or leaves it as it is. */
export type Paint = (style: Style | null, text: string) => string

// SGR codes of the 16 ANSI colours: every theme makes these readable, which it can't for others.
const OPEN: Record<Style, number> = {
  bold: 1,
  dim: 2,
  red: 31,
  green: 32,
  yellow: 33,
  blue: 34,
  magenta: 35,
}
const CLOSE: Record<Style, number> = {
  bold: 22,
  dim: 22,
  red: 39,
  green: 39,
  yellow: 39,
  blue: 39,
  magenta: 39,
}

/** A painter for a terminal; without colour it adds no escape code at all. */
export function painter(options: { readonly color: boolean }): Paint {
  if (!options.color) return (_style, text) => text
  return (style, text) =>
    style === null || text === '' ? text : `\x1b[${OPEN[style]}m${text}\x1b[${CLOSE[style]}m`
}

/** The marks of the terminal, each with the colour of its meaning. */
export const MARK_STYLES = {
  '+': 'green',
  x: 'red',
  '?': 'yellow',
  '!': 'magenta',
  '~': 'magenta',
  '>': 'blue',
} as const satisfies Record<string, Style>

export type Mark = keyof typeof MARK_STYLES
