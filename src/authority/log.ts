import { printable } from '../lease-file/printable.ts'

export type Fields = Readonly<Record<string, string | number | boolean | null>>

/** What a server tells its operator: one event a line. Never bodies, headers or queries. */
export type Log = (level: 'info' | 'warn' | 'error', event: string, fields?: Fields) => void

export interface LogOptions {
  /** `json` for programs that collect logs, `text` for a person at a terminal. */
  readonly format: 'json' | 'text'
  readonly write: (line: string) => void
  readonly clock: () => number
  /** Hides secrets that somebody else's words repeat (threat 78). */
  readonly hide: (text: string) => string
}

/** A log whose lines no field can break or forge (threat 75). */
export function createLog({ format, write, clock, hide }: LogOptions): Log {
  return (level, event, fields = {}) => {
    const at = new Date(clock()).toISOString()
    const shown = Object.fromEntries(
      Object.entries(fields).map(([name, value]) => [
        name,
        typeof value === 'string' ? hide(value) : value,
      ]),
    )
    if (format === 'json') return write(JSON.stringify({ at, level, event, ...shown }))
    const words = Object.entries(shown).map(([name, value]) => `${name}=${wordOf(value)}`)
    write([at, level, event, ...words].join(' '))
  }
}

function wordOf(value: Fields[string]): string {
  const text = printable(String(value))
  return /^[\w./:@+-]+$/.test(text) ? text : JSON.stringify(text)
}
