import { randomUUID } from 'node:crypto'
import type { Facts } from '../core/facts.ts'
import type { CallId, RunId } from '../core/id.ts'
import type { CallKey } from './call-key.ts'
import type { Principal } from './door.ts'

/** Tasks that are remembered; of more the oldest cannot be asked for any longer. */
const TASKS_MAX = 10_000

/** A call that was answered with a task, and all that it takes to go on with it. */
export interface OpenTask {
  readonly principal: Principal
  readonly server: string
  /** The upstream's own id of it. */
  readonly task: string
  readonly call: CallId
  readonly key: CallKey
  readonly facts: Facts
}

/**
 * The tasks of calls that have not ended, by ids of our own: a guessed or overheard id of an
 * upstream opens nothing, and an id of ours opens nothing for another run (threat 26). They live as
 * long as this process: a call whose task is forgotten has an unknown outcome.
 */
export class Tasks {
  readonly #all = new Map<string, OpenTask>()
  readonly #settled = new Set<string>()
  readonly #offs = new Map<string, () => void>()

  /** `off` is called when the task is forgotten. */
  add(task: OpenTask, off: () => void): string {
    if (this.#all.size >= TASKS_MAX) this.forget(this.#all.keys().next().value!)
    const id = `task_${randomUUID()}`
    this.#all.set(id, task)
    this.#offs.set(id, off)
    return id
  }

  find(id: string, run: RunId): OpenTask | null {
    const task = this.#all.get(id)
    return task !== undefined && task.principal.run === run ? task : null
  }

  /** True once: for the one who records how it ended. */
  settle(id: string): boolean {
    if (this.#settled.has(id)) return false
    this.#settled.add(id)
    return true
  }

  /** It could not be recorded; the next one who asks tries again. */
  reopen(id: string): void {
    this.#settled.delete(id)
  }

  /** Their run tree is closed, and nothing of it is asked for any more. */
  forgetAll(runs: { has(run: RunId): boolean }): void {
    for (const [id, { principal }] of this.#all) if (runs.has(principal.run)) this.forget(id)
  }

  forget(id: string): void {
    this.#offs.get(id)?.()
    this.#offs.delete(id)
    this.#all.delete(id)
    this.#settled.delete(id)
  }
}
