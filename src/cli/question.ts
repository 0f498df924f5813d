import { createInterface } from 'node:readline'
import { movesCursor, type Terminal } from './terminal.ts'

/** Bytes that were typed before the question are read and thrown away for this long. */
const DISCARD_MS = 120
const REDRAW_MS = 1_000
const CTRL_C = 0x03

/** What came of a question: a line, or why there is none. Nothing but a line is ever an answer. */
export type Typed =
  | { readonly kind: 'line'; readonly text: string }
  /** End of input, Ctrl-C, or a signal. */
  | { readonly kind: 'closed' }
  | { readonly kind: 'timeout' }
  /** The question has been answered elsewhere. */
  | { readonly kind: 'aborted' }

export interface QuestionOptions {
  readonly terminal: Terminal
  /** Drawn again every second, so that it can count down. */
  readonly prompt: () => string
  /** Until when; null: as long as it takes. */
  readonly deadline: number | null
  readonly signal?: AbortSignal
}

/**
 * Asks for one line in the terminal. What was typed before the question is not an answer to it; a
 * line that is being typed survives the countdown.
 */
export async function askLine(options: QuestionOptions): Promise<Typed> {
  const { terminal } = options
  if (options.signal?.aborted) return { kind: 'aborted' }
  if (await discardTypeahead()) return { kind: 'closed' }
  const fancy = movesCursor(terminal)
  const lines = createInterface({
    input: process.stdin,
    output: process.stderr,
    terminal: fancy,
    historySize: 0,
    prompt: options.prompt(),
  })
  const { promise, resolve } = Promise.withResolvers<Typed>()
  const onSignal = () => resolve({ kind: 'closed' })
  const onAbort = () => resolve({ kind: 'aborted' })
  lines.once('line', (text) => resolve({ kind: 'line', text: text.trim() }))
  lines.once('close', onSignal)
  lines.once('SIGINT', onSignal)
  options.signal?.addEventListener('abort', onAbort)
  for (const name of SIGNALS) process.on(name, onSignal)
  const timer = setInterval(() => {
    if (options.deadline !== null && Date.now() >= options.deadline) resolve({ kind: 'timeout' })
    else if (fancy) {
      lines.setPrompt(options.prompt())
      lines.prompt(true)
    }
  }, REDRAW_MS)
  lines.prompt()
  const typed = await promise
  clearInterval(timer)
  for (const name of SIGNALS) process.off(name, onSignal)
  options.signal?.removeEventListener('abort', onAbort)
  lines.off('close', onSignal)
  lines.close()
  process.stdin.pause()
  if (typed.kind !== 'line') terminal.write('\n')
  return typed
}

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

/** Reads what is already there. True if somebody pressed Ctrl-C meanwhile: that is a no. */
async function discardTypeahead(): Promise<boolean> {
  const { stdin } = process
  let interrupted = false
  const onData = (data: Buffer) => {
    if (data.includes(CTRL_C)) interrupted = true
  }
  // Raw: a line without its end would otherwise stay in the terminal and become part of the answer.
  stdin.setRawMode?.(true)
  stdin.on('data', onData)
  stdin.resume()
  await new Promise((resolve) => setTimeout(resolve, DISCARD_MS))
  stdin.off('data', onData)
  stdin.pause()
  stdin.setRawMode?.(false)
  return interrupted
}
