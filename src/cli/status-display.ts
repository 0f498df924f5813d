import type { OpenRun } from '../authority/authority.ts'
import type { Entry } from '../core/entry.ts'
import type { RunId } from '../core/id.ts'
import type { Tree } from '../core/tree.ts'
import { printable } from '../lease-file/printable.ts'
import { actorWords } from '../ledger/words.ts'
import type { Daypass } from '../server.ts'
import { plainStatus, statusLine } from './status-text.ts'
import { movesCursor, type Terminal } from './terminal.ts'
import { endWords, factsWords, shortIds } from './words.ts'

const DRAW_MS = 1_000
/** A smaller screen has no line to spare. */
const ROWS_MIN = 10

/** Shows how a run stands while its agent works. Stopping leaves the terminal as it was. */
export interface StatusDisplay {
  stop(): void
}

export interface DisplayOptions {
  readonly terminal: Terminal
  readonly daypass: Daypass
  readonly open: OpenRun
  /** The agent draws on the whole screen. */
  readonly screenOwned: boolean
}

/**
 * A line at the bottom, the window's title, or a line for each change: what the terminal allows.
 */
export function showStatus(options: DisplayOptions): StatusDisplay {
  const { terminal, screenOwned } = options
  if (!movesCursor(terminal)) return eventLines(options)
  if (screenOwned) return windowTitle(options)
  if ((process.stderr.rows ?? 0) < ROWS_MIN) return { stop: () => {} }
  return bottomLine(options)
}

function current({ daypass, open }: DisplayOptions) {
  const tree = daypass.runs.tree(open).peek()
  const run = tree?.runs.get(open.run)
  return tree == null || run === undefined ? null : { tree, run }
}

/** The title is put back by the terminal itself (xterm's stack of titles). */
function windowTitle(options: DisplayOptions): StatusDisplay {
  const { terminal, daypass } = options
  let shown = ''
  const draw = (): void => {
    const now = current(options)
    if (now === null) return
    const { vocabulary } = daypass
    const text = plainStatus(now.tree, now.run, { now: Date.now(), vocabulary })
    if (text === shown) return
    shown = text
    terminal.write(`\x1b]2;daypass: ${text}\x07`)
  }
  terminal.write('\x1b[22;2t')
  draw()
  const timer = setInterval(draw, DRAW_MS)
  return {
    stop: () => {
      clearInterval(timer)
      terminal.write('\x1b[23;2t')
    },
  }
}

/**
 * The last row of the screen is taken out of the region that scrolls, so the agent's output never
 * runs into it, whatever it prints and whenever.
 */
function bottomLine(options: DisplayOptions): StatusDisplay {
  const { terminal, daypass } = options
  const { stderr } = process
  const reserve = (): void => {
    terminal.write(`\n\x1b7\x1b[1;${stderr.rows - 1}r\x1b8\x1b[1A`)
  }
  const draw = (): void => {
    const now = current(options)
    if (now === null) return
    const { vocabulary } = daypass
    const plain = plainStatus(now.tree, now.run, { now: Date.now(), vocabulary })
    const fits = plain.length < stderr.columns
    const text = fits
      ? statusLine(now.tree, now.run, { now: Date.now(), vocabulary, paint: terminal.paint })
      : plain.slice(0, stderr.columns - 1)
    terminal.write(`\x1b7\x1b[${stderr.rows};1H\x1b[2K${text}\x1b8`)
  }
  const restore = (): void => {
    terminal.write(`\x1b7\x1b[r\x1b[${stderr.rows};1H\x1b[2K\x1b8`)
  }
  const onResize = (): void => {
    restore()
    reserve()
    draw()
  }
  reserve()
  draw()
  const timer = setInterval(draw, DRAW_MS)
  stderr.on('resize', onResize)
  process.once('exit', restore)
  return {
    stop: () => {
      clearInterval(timer)
      stderr.off('resize', onResize)
      process.off('exit', restore)
      restore()
    },
  }
}

/** Without a terminal: one line for each event that changes something, with its time in front. */
function eventLines({ terminal, daypass, open }: DisplayOptions): StatusDisplay {
  const stop = daypass.runs.listen((tree, entries) => {
    if (tree.id !== open.tree) return
    for (const entry of entries) {
      const words = eventOf(entry, tree)
      if (words !== null) terminal.say(`${new Date(entry.at).toISOString()} ${words}`)
    }
  })
  return { stop }
}

function eventOf(entry: Entry, tree: Tree): string | null {
  switch (entry.type) {
    case 'call.denied':
      return `x denied ${factsWords(entry.command.facts)} (${entry.reason})${by(tree, entry.command.run)}`
    case 'ask.opened': {
      const short = shortIds([entry.command.ask]).get(entry.command.ask)!
      return `? asks ${factsWords(entry.command.facts)}: daypass approve ${short}`
    }
    case 'ask.approved':
      return `+ allowed by ${printable(actorWords(entry.command.by))} (${entry.command.ask})`
    case 'ask.refused':
      return `x refused by ${printable(actorWords(entry.command.by))} (${entry.command.ask})`
    case 'lease.suspended':
      return `~ suspended by ${printable(actorWords(entry.command.by))}`
    case 'run.suspended':
      return `~ suspended: ${entry.why}; daypass resume ${entry.run}`
    case 'lease.resumed':
      return `+ resumed by ${printable(actorWords(entry.command.by))}`
    case 'lease.ended':
      return `x ended: ${endWords(entry.reason, entry.note)}${by(tree, entry.run)}`
    default:
      return null
  }
}

/** Names the run where there is more than one. */
function by(tree: Tree, run: RunId): string {
  const agent = tree.runs.get(run)?.envelope.agent
  return tree.runs.size < 2 || agent === undefined ? '' : `, ${printable(agent)}`
}
