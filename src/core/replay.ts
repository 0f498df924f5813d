import { decide } from './decide.ts'
import type { Entry } from './entry.ts'
import { evolve } from './evolve.ts'
import { RULES_VERSION } from './limits.ts'
import { err, ok, type Result } from './result.ts'
import type { Tree } from './tree.ts'

export interface ReplayFailure {
  /** `unknown_rules`: this build cannot re-compute; says nothing about good or bad. */
  readonly kind: 'unknown_rules' | 'different' | 'malformed'
  readonly seq: number
  readonly message: string
}

export interface Replayed {
  readonly tree: Tree
  /** Commands that were decided again with the same entries. */
  readonly decisions: number
}

/**
 * Decides every command of a ledger again, from the first entry, and demands the very entries that
 * are recorded. Nothing is taken from the record but the commands and their times. Total: whatever
 * the record holds, the answer is a value.
 */
export function replay(entries: readonly Entry[]): Result<Replayed, ReplayFailure> {
  let tree: Tree | null = null
  let decisions = 0
  for (let next = 0; next < entries.length; ) {
    const step = replayStep(tree, entries, next)
    if (!step.ok) return step
    tree = step.value.tree
    next = step.value.next
    decisions += 1
  }
  if (tree === null) return err({ kind: 'malformed', seq: 0, message: 'no entries' })
  return ok({ tree, decisions })
}

type Step = Result<{ readonly tree: Tree; readonly next: number }, ReplayFailure>

function replayStep(tree: Tree | null, entries: readonly Entry[], next: number): Step {
  try {
    return replayCommand(tree, entries, next)
  } catch (error) {
    const message = error instanceof Error ? error.message : 'not a command'
    return err({ kind: 'malformed', seq: next + 1, message })
  }
}

function replayCommand(tree: Tree | null, entries: readonly Entry[], next: number): Step {
  const head = entries[next]!
  const fail = (kind: ReplayFailure['kind'], message: string) =>
    err({ kind, seq: next + 1, message })
  if (!('command' in head))
    return fail('malformed', 'an entry without a command, where one belongs')
  const { command } = head
  if (command.do === 'open' && command.rules !== RULES_VERSION) {
    return fail('unknown_rules', `rules version ${command.rules} is not known to this build`)
  }
  const decided = decide(tree, command, head.at)
  if (!decided.ok) return fail('different', `recorded, but refused: ${decided.error.code}`)
  const expected = decided.value.entries
  if (expected.length === 0) return fail('different', 'recorded, but decides to record nothing')
  let after = tree
  for (const [offset, entry] of expected.entries()) {
    const recorded = entries[next + offset]
    if (!isSame(recorded, entry)) {
      return err({ kind: 'different', seq: entry.seq, message: differenceOf(recorded, entry) })
    }
    after = evolve(after, recorded!)
  }
  return ok({ tree: after!, next: next + expected.length })
}

/** Equality of JSON values, whatever the order of members. */
export function isSame(left: unknown, right: unknown): boolean {
  if (left === right) return true
  if (typeof left !== 'object' || typeof right !== 'object') return false
  if (left === null || right === null || Array.isArray(left) !== Array.isArray(right)) return false
  const keys = Object.keys(left)
  if (keys.length !== Object.keys(right).length) return false
  return keys.every(
    (key) =>
      Object.hasOwn(right, key) &&
      isSame((left as Record<string, unknown>)[key], (right as Record<string, unknown>)[key]),
  )
}

function differenceOf(recorded: Entry | undefined, computed: Entry): string {
  const verdict = (entry: Entry) =>
    entry.type === 'call.denied' ? `${entry.type} (${entry.reason})` : entry.type
  if (recorded === undefined) return `missing: ${verdict(computed)}`
  if (recorded.type !== computed.type) {
    return `recorded as ${verdict(recorded)}; the lease says ${verdict(computed)}`
  }
  const fields = Object.keys(computed).filter(
    (key) => !isSame((recorded as never)[key], (computed as never)[key]),
  )
  const names = fields.length > 0 ? fields.join(', ') : 'members that do not belong there'
  return `${verdict(recorded)}: computed again, ${names} is different`
}
