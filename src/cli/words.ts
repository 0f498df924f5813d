import { callsLeft } from '../core/chain.ts'
import type { EndReason } from '../core/entry.ts'
import type { Facts } from '../core/facts.ts'
import type { Instant } from '../core/id.ts'
import { unreachable } from '../core/result.ts'
import type { Lease, Run, Tree } from '../core/tree.ts'
import type { Vocabulary } from '../core/vocabulary.ts'
import { printable } from '../lease-file/printable.ts'
import { doneOf } from '../lease-file/words.ts'
import { columnsOf } from '../lease-file/wrap.ts'

/** Words and numbers that several commands print. */

/** `01:42:00`, UTC. */
export function timeOf(at: Instant): string {
  return new Date(at).toISOString().slice(11, 19)
}

/** `14:40`, `1:02:03`: time that is left, never below zero. */
export function leftOf(ms: number): string {
  const seconds = Math.max(0, Math.ceil(ms / 1000))
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor((seconds % 3600) / 60)]
  const tail = `${String(minutes).padStart(hours > 0 ? 2 : 1, '0')}:${String(seconds % 60).padStart(2, '0')}`
  return hours > 0 ? `${hours}:${tail}` : tail
}

/** The name by which a person is called in a narrow column: `mira` of `mira@clord.example`. */
export function shortPerson(person: string): string {
  return printable(person.split('@', 1)[0] || person)
}

/** Cuts at the end, so that the columns of a table stay in line. */
export function padTo(text: string, columns: number): string {
  if (columnsOf(text) <= columns) return text + ' '.repeat(columns - columnsOf(text))
  let kept = ''
  for (const character of text) {
    if (columnsOf(kept + character) > columns - 3) break
    kept += character
  }
  return `${kept}...`.padEnd(columns)
}

/** Beginnings of ids that tell them apart: at least four characters after the prefix. */
export function shortIds(ids: readonly string[]): Map<string, string> {
  const short = new Map<string, string>()
  for (const id of ids) {
    let length = id.indexOf('_') + 5
    const isTaken = (text: string) => ids.some((other) => other !== id && other.startsWith(text))
    while (length < id.length && isTaken(id.slice(0, length))) length++
    short.set(id, id.slice(0, length))
  }
  return short
}

/** What ends a lease beside its expiry: `PR opened`; null: nothing. */
export function untilWords(lease: Lease, vocabulary: Vocabulary): string | null {
  const done = lease.terms.until.map((action) => eventWords(vocabulary, action))
  return done.length === 0 ? null : [...new Set(done)].join(', ')
}

/** `PR is opened` in the few words of a table: `PR opened`. */
export function eventWords(vocabulary: Vocabulary, action: string): string {
  return doneOf(vocabulary, action).replace(/ (?:is|are|has|have) /, ' ')
}

/** Own calls in flight, own calls that are done, calls that subagents hold, calls left. */
export interface Usage {
  readonly used: number
  readonly inFlight: number
  readonly held: number
  readonly left: number | null
  readonly limit: number | null
}

export function usageOf(run: Run): Usage {
  const lease = run.lease
  const inFlight = run.inFlight.size
  if (lease === null) return { used: 0, inFlight, held: 0, left: null, limit: null }
  return {
    used: lease.spent.calls + lease.spentBelow.calls - inFlight,
    inFlight,
    held: lease.held.calls + inFlight,
    left: callsLeft(lease),
    limit: lease.terms.maxToolCalls,
  }
}

/** The state of a run in one word, and how many asks of it wait. */
export function stateOf(tree: Tree, run: Run, now: Instant): { word: string; asks: number } {
  const asks = pendingAsks(tree, now).filter((ask) => ask.run === run.id).length
  const { lease } = run
  if (lease === null) return { word: 'opening', asks }
  if (lease.state === 'ended') {
    const over = tree.phase === 'closed' || run.inFlight.size === 0
    return { word: over ? (lease.endReason ?? 'ended') : 'ending', asks }
  }
  if (lease.expiresAt !== null && now >= lease.expiresAt) return { word: 'expired', asks }
  if (lease.state === 'suspended') return { word: 'paused', asks }
  if (lease.state === 'requested') return { word: 'waits', asks }
  return { word: asks > 0 ? `ask ${asks}` : 'active', asks }
}

export function pendingAsks(tree: Tree, now: Instant) {
  return [...tree.asks.values()].filter((ask) => ask.state === 'pending' && now < ask.deadline)
}

/** Why a lease ended, in words that follow `ended because`. */
export function endWords(reason: EndReason, note: string | null): string {
  const more = note === null ? '' : ` (${printable(note)})`
  switch (reason) {
    case 'completed':
      return `the run was closed${more}`
    case 'expired':
      return 'its time is over'
    case 'revoked':
      return `it was revoked${more}`
    case 'exhausted':
      return `its budget is spent${more}`
    case 'event':
      return `what it was for has happened${more}`
    case 'refused':
      return `it was refused${more}`
    case 'parent_ended':
      return 'the run above it ended'
    default:
      return unreachable(reason)
  }
}

/** `repo.push clord, branch main`: what a call is about, for a list. */
export function factsWords(facts: Facts): string {
  const parts = facts.touches.map(({ action, resources }) => {
    const values = Object.values(resources).flat().map(printable)
    return values.length === 0 ? action : `${action} ${values.join(', ')}`
  })
  const words = [...new Set(parts)].join(' and ')
  return words === '' ? printable(facts.tool) : words
}

/** Every action of a call cannot be undone or some can't: what is lost if it goes wrong. */
export function irreversibleWords(facts: Facts, vocabulary: Vocabulary): string | null {
  const lost = facts.touches.filter((touch) => !touch.reversible)
  if (lost.length === 0) return null
  const words = lost.map(({ action }) => vocabulary.actions.get(action)?.irreversible ?? null)
  return [...new Set(words.filter((word) => word !== null))].join('; ')
}
