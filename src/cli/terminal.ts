import { type Paint, painter } from '../lease-file/paint.ts'

/** Lines are never longer: long ones are not read. */
const COLUMNS_MAX = 80

/**
 * The terminal that Daypass talks to. Everything that people read goes to stderr, because stdout
 * belongs to the wrapped agent; `--json` documents go to stdout.
 */
export interface Terminal {
  /** stderr is a terminal. */
  readonly isTty: boolean
  /** A question can be asked: a person sees it and can type. */
  readonly canAsk: boolean
  readonly color: boolean
  readonly columns: number
  readonly paint: Paint
  /** Lines for people. */
  say(text: string): void
  /** Raw bytes for people, without a line end. */
  write(text: string): void
  /** One document for programs. */
  json(value: unknown): void
  /** Text that is the result itself, such as a file that is asked for. */
  out(text: string): void
}

function passOver(): void {}

/** The terminal of this process. */
export function openTerminal(): Terminal {
  const { stderr, stdin, stdout, env } = process
  // A terminal that was closed cannot be told anything; the run goes on and is recorded.
  for (const stream of [stderr, stdout]) {
    if (!stream.listeners('error').includes(passOver)) stream.on('error', passOver)
  }
  const isTty = stderr.isTTY === true
  const dumb = env.TERM === 'dumb'
  const color = isTty && !dumb && (env.NO_COLOR ?? '') === ''
  return {
    isTty,
    canAsk: isTty && stdin.isTTY === true,
    color,
    get columns() {
      return Math.min(COLUMNS_MAX, stderr.columns || COLUMNS_MAX)
    },
    paint: painter({ color }),
    say: (text) => void stderr.write(`${text}\n`),
    write: (text) => void stderr.write(text),
    json: (value) => void stdout.write(`${JSON.stringify(value, null, 2)}\n`),
    out: (text) => void stdout.write(text.endsWith('\n') ? text : `${text}\n`),
  }
}

/** Whether the terminal understands cursor movement. */
export function movesCursor(terminal: Terminal): boolean {
  return terminal.isTty && process.env.TERM !== 'dumb'
}
