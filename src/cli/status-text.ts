import type { Instant } from '../core/id.ts'
import type { Run, Tree } from '../core/tree.ts'
import type { Vocabulary } from '../core/vocabulary.ts'
import { type Paint, painter, type Style } from '../lease-file/paint.ts'
import { printable } from '../lease-file/printable.ts'
import { counted, phraseOf } from '../lease-file/words.ts'
import { endWords, leftOf, pendingAsks, stateOf, untilWords, usageOf } from './words.ts'

/** Below this part of the budget, what is left stands out. */
const LOW = 0.2

export interface StatusOptions {
  readonly now: Instant
  readonly vocabulary: Vocabulary
  readonly paint: Paint
}

const STYLES: Readonly<Record<string, Style>> = {
  active: 'green',
  ask: 'yellow',
  waits: 'yellow',
  paused: 'magenta',
  ending: 'blue',
}

/** The state of a run on one line: how long, how much is used, whether somebody is waited for. */
export function statusLine(tree: Tree, run: Run, options: StatusOptions): string {
  const { now, vocabulary, paint } = options
  const { word } = stateOf(tree, run, now)
  const { lease } = run
  const style = STYLES[word.split(' ')[0]!] ?? 'red'
  const head = paint('bold', paint(style, word.padEnd(7)))
  if (lease === null) return head.trimEnd()
  if (lease.state === 'ended' || lease.expiresAt === null) {
    const why = lease.endReason === null ? '' : endWords(lease.endReason, lease.endNote)
    const waiting = run.inFlight.size === 0 ? '' : `${counted(run.inFlight.size, 'call')} in flight`
    return [`${head} ${why}`.trimEnd(), waiting].filter((part) => part !== '').join(' | ')
  }
  const until = untilWords(lease, vocabulary)
  const left = leftOf(lease.expiresAt - now)
  const parts = [`${head} ${left}${until === null ? '' : ` or ${until}`}`]
  const ask = pendingAsks(tree, now).find((each) => each.run === run.id)
  if (ask !== undefined) {
    const what = ask.facts.touches.map(({ action }) => phraseOf(vocabulary, action)).join(', ')
    parts.push(`${paint('yellow', '?')} ${what} waits, ${leftOf(ask.deadline - now)}`)
  } else if (lease.state === 'suspended') {
    parts.push(`suspended: ${printable(lease.suspendedWhy ?? 'by a person')}`)
  }
  parts.push(usageText(run, { detailed: ask === undefined && lease.state === 'active', paint }))
  const children = run.children.filter((id) => tree.runs.get(id)?.lease?.state === 'active').length
  if (children > 0) parts.push(counted(children, 'subagent'))
  return parts.join(' | ')
}

function usageText(run: Run, { detailed, paint }: { detailed: boolean; paint: Paint }): string {
  const { used, held, left, limit } = usageOf(run)
  const isLow = left !== null && limit !== null && left < limit * LOW
  const leftText = left === null ? 'no limit' : paint(isLow ? 'bold' : null, `${left} left`)
  if (!detailed) return leftText
  const parts = [`${used} used`, ...(held > 0 ? [`${held} held`] : [])]
  return `${[...parts, leftText].join(', ')}${limit === null ? '' : ` of ${limit}`}`
}

/** The same without colour, for window titles and other programs. */
export function plainStatus(tree: Tree, run: Run, options: Omit<StatusOptions, 'paint'>): string {
  return statusLine(tree, run, { ...options, paint: painter({ color: false }) })
}
