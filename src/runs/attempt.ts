import type { Command } from '../core/command.ts'
import { decide } from '../core/decide.ts'
import type { Reply } from '../core/decision.ts'
import type { Entry } from '../core/entry.ts'
import { evolve } from '../core/evolve.ts'
import type { Instant, RunId } from '../core/id.ts'
import type { Refusal } from '../core/reason.ts'
import { err, ok, type Result } from '../core/result.ts'
import type { Tree } from '../core/tree.ts'
import { type ChainRow, toRows } from '../ledger/chain.ts'
import { LIMITS, type Opened } from '../store/store.ts'
import { locksOf } from './locks.ts'

/** A batch takes no further command beyond this, so that no store refuses it as a whole. */
const BATCH_ROWS_MAX = 4_000
const BATCH_BYTES_MAX = 4 * 1_048_576

export interface Pending {
  /** Null: write how often denials have repeated. */
  readonly command: Command | null
  readonly resolve: (reply: Result<Reply, Refusal>) => void
  readonly reject: (error: unknown) => void
}

export interface Thrown {
  readonly thrown: unknown
}

export type Answer = Result<Reply, Refusal> | Thrown

/**
 * One try to decide commands one after the other, each on what the ones before it have made of the
 * tree. Nothing of it is durable. It owns the tree that it is given, which `evolve` changes in
 * place.
 */
export class Attempt {
  tree: Tree | null
  readonly rows: ChainRow[] = []
  readonly entries: Entry[] = []
  /** One for each command that was taken; fewer than the batch when it would become too large. */
  readonly answers: Answer[] = []
  /** What has repeated and is not written, if this attempt becomes durable. */
  readonly repeats: Map<number, number>
  /** The command whose entries could not be folded: the tree is spoiled. */
  poison: { readonly index: number; readonly thrown: unknown } | null = null
  #hash: string
  #bytes = 0

  constructor(from: { tree: Tree | null; hash: string; repeats: ReadonlyMap<number, number> }) {
    this.tree = from.tree
    this.#hash = from.hash
    this.repeats = new Map(from.repeats)
  }

  run(batch: readonly Pending[], clock: () => Instant): void {
    for (const [index, { command }] of batch.entries()) {
      if (this.rows.length >= BATCH_ROWS_MAX || this.#bytes >= BATCH_BYTES_MAX) return
      try {
        const folds = command === null || command.do === 'close'
        // What does not fit is written by the next attempt, before this command.
        if (folds && !this.#fold(clock)) return
        const answer = command === null ? DONE : this.#one(command, clock)
        this.answers.push(answer)
      } catch (thrown) {
        this.poison = { index, thrown }
        return
      }
    }
  }

  /** False: more have repeated than one append holds. */
  #fold(clock: () => Instant): boolean {
    for (const [denial, times] of this.repeats) {
      if (this.rows.length >= BATCH_ROWS_MAX || this.#bytes >= BATCH_BYTES_MAX) return false
      this.#one({ do: 'fold', denial, times }, clock)
      this.repeats.delete(denial)
    }
    return true
  }

  /** Throws only when an entry cannot be folded. */
  #one(command: Command, clock: () => Instant): Answer {
    let decided: ReturnType<typeof decide>
    let rows: ChainRow[] = []
    try {
      decided = decide(this.tree, command, clock())
      if (!decided.ok) return err(decided.error)
      rows = rowsOf(this.#hash, decided.value.entries)
    } catch (thrown) {
      // Threat 18: what cannot be decided or written down is rejected alone, and changes nothing.
      return { thrown }
    }
    for (const entry of decided.value.entries) this.tree = evolve(this.tree, entry)
    this.entries.push(...decided.value.entries)
    this.rows.push(...rows)
    this.#hash = rows.at(-1)?.hash ?? this.#hash
    for (const { body } of rows) this.#bytes += body.length
    const reply = decided.value.reply
    if (reply.kind === 'deny' && reply.repeats !== null) {
      this.repeats.set(reply.repeats, (this.repeats.get(reply.repeats) ?? 0) + 1)
    }
    return ok(reply)
  }
}

const DONE: Answer = ok({ kind: 'done' })

/** Throws for what the ledger cannot hold: no JSON, or more than an entry may have. */
function rowsOf(hash: string, entries: readonly Entry[]): ChainRow[] {
  const rows = toRows(hash, entries)
  for (const { body } of rows) {
    if (Buffer.byteLength(body) > LIMITS.bodyBytes) {
      throw new RangeError(`an entry has more than ${LIMITS.bodyBytes} bytes`)
    }
  }
  return rows
}

/** Whoever is answered goes on at once; more than these would keep the loop from all others. */
const ANSWER_SLICE = 16

export function answerAll(batch: readonly Pending[], answers: readonly Answer[], from = 0): void {
  const to = Math.min(answers.length, from + ANSWER_SLICE)
  for (let index = from; index < to; index++) {
    const each = batch[index]!
    const answer = answers[index]!
    if ('thrown' in answer) each.reject(answer.thrown)
    else each.resolve(answer)
  }
  if (to < answers.length) setImmediate(answerAll, batch, answers, to)
}

/** What the index of the store learns from a batch. */
export function indexOf(entries: readonly Entry[]) {
  const unless = locksOf(entries)
  const index: { opened?: Opened; closedAt?: Instant; runs?: RunId[]; unless?: string[] } =
    unless.length === 0 ? {} : { unless }
  for (const entry of entries) {
    if (entry.type === 'tree.opened') {
      const { run: root, envelope } = entry.command
      const { requester, agent, purpose } = envelope
      index.opened = { root, openedAt: entry.at, requester, agent, purpose }
    }
    if (entry.type === 'run.delegated') index.runs = [...(index.runs ?? []), entry.command.run]
    if (entry.type === 'tree.closed') index.closedAt = entry.at
  }
  return index
}
