import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { Pool } from 'undici'
import type { RunId } from '../../src/core/id.ts'
import { buildVictim, type VictimProgram } from './build.ts'
import { addCall, writeProject } from './stage.ts'
import { type RecordingUpstream, startUpstream } from './upstream.ts'
import type { Order, Ready, StorePoint } from './victim-order.ts'

/** Calls that are under way at a time. */
export const CLIENTS = 12
/** A victim that does neither get ready nor die in this time is a failure. */
const LIFE_MS_MAX = 60_000

/**
 * When a victim dies. Counts are of calls; milliseconds after the order, after it was ready, or
 * after the execution, where none means at once and before the answer. Who waits for an execution
 * or a point dies at the latest when the budget is used up.
 */
export type Death =
  | { readonly by: 'clock'; readonly from: 'order' | 'ready'; readonly ms: number }
  | { readonly by: 'point'; readonly at: StorePoint; readonly count: number }
  | { readonly by: 'execution'; readonly count: number; readonly ms?: number }
  | { readonly by: 'answer'; readonly count: number }
  /** Not a death: it is told to end when something was answered. */
  | { readonly by: 'peace' }

export interface Sent {
  readonly run: RunId
  /** The text that the client read; null: none came. */
  answer: { readonly text: string; readonly isError: boolean } | null
}

/**
 * Processes that have loaded their modules and wait for an order: while some live, as many get
 * ready.
 */
export class Victims {
  readonly #program: VictimProgram
  readonly #waiting: ChildProcess[] = []

  private constructor(program: VictimProgram) {
    this.#program = program
  }

  /** `atOnce`: how many live at a time. */
  static async open({ atOnce }: { atOnce: number }): Promise<Victims> {
    const victims = new Victims(await buildVictim())
    victims.#getReady()
    // One that ends in peace leaves what was compiled in its life; one that is killed does not.
    const arena = await Arena.open({ budget: 300, victims })
    await arena.life({ by: 'peace' })
    await arena.close()
    while (victims.#waiting.length < atOnce) victims.#getReady()
    return victims
  }

  take(): ChildProcess {
    this.#getReady()
    return this.#waiting.shift()!
  }

  async close(): Promise<void> {
    for (const child of this.#waiting) {
      const exited = once(child, 'exit')
      child.kill('SIGKILL')
      await exited
    }
    this.#program.close()
  }

  #getReady(): void {
    const { file, compiled } = this.#program
    const env = { ...process.env, NODE_COMPILE_CACHE: compiled }
    this.#waiting.push(spawn(process.execPath, [file], { env, stdio: ['pipe', 'pipe', 'inherit'] }))
  }
}

/** One folder, one upstream, and one victim after the other. */
export class Arena {
  readonly folder = mkdtempSync(join(tmpdir(), 'daypass-crash-'))
  readonly upstream: RecordingUpstream
  /** By the id of the call. */
  readonly sent = new Map<string, Sent>()
  readonly #budget: number
  readonly #victims: Victims
  #lastId = 0

  private constructor(upstream: RecordingUpstream, options: { budget: number; victims: Victims }) {
    this.upstream = upstream
    this.#budget = options.budget
    this.#victims = options.victims
    writeProject(this.folder, { url: upstream.url })
  }

  static async open(options: { budget: number; victims: Victims }): Promise<Arena> {
    return new Arena(await startUpstream(), options)
  }

  get database(): string {
    return join(this.folder, '.daypass', 'daypass.db')
  }

  /** Lets one victim work until it dies as ordered. */
  async life(death: Death, { isHasty = false } = {}): Promise<void> {
    const child = this.#victims.take()
    if (child.exitCode !== null) throw new Error('a victim did not start')
    const exited = once(child, 'exit')
    const kill = (): void => {
      if (death.by === 'peace') child.stdin!.end()
      else child.kill('SIGKILL')
    }
    const point = death.by === 'point' ? death : { at: null, count: 0 }
    const order: Order = {
      ...{ folder: this.folder, budget: this.#budget },
      ...{ at: point.at, count: point.count, isHasty },
    }
    let isTooLong = false
    const tooLong = setTimeout(() => {
      isTooLong = true
      child.kill('SIGKILL')
    }, LIFE_MS_MAX)
    const ready = once(createInterface({ input: child.stdout! }), 'line')
    child.stdin!.write(`${JSON.stringify(order)}\n`)
    if (death.by === 'clock' && death.from === 'order') setTimeout(kill, death.ms)
    const first = await Promise.race([ready, exited])
    if (typeof first[0] === 'string') {
      if (death.by === 'clock' && death.from === 'ready') setTimeout(kill, death.ms)
      await this.#load(JSON.parse(first[0]) as Ready, death, { kill, exited })
    }
    const [, signal] = await exited
    clearTimeout(tooLong)
    if (isTooLong) throw new Error('the victim outlived its order')
    if (death.by !== 'peace' && signal !== 'SIGKILL') throw new Error('the victim ended by itself')
  }

  async close(): Promise<void> {
    await this.upstream.close()
    rmSync(this.folder, { recursive: true, force: true })
  }

  async #load(
    ready: Ready,
    death: Death,
    { kill, exited }: { kill: () => void; exited: Promise<unknown> },
  ): Promise<void> {
    let executions = 0
    let answers = 0
    this.upstream.onExecuted = () => {
      if (death.by !== 'execution' || ++executions !== death.count) return false
      if (death.ms === undefined) kill()
      else setTimeout(kill, death.ms)
      return death.ms === undefined
    }
    const pool = new Pool(new URL(ready.url).origin, { connections: CLIENTS })
    let isOver = false
    void exited.then(() => {
      isOver = true
      return pool.destroy()
    })
    const forgotten = this.#unanswered(ready.run)
    const client = async (): Promise<void> => {
      while (!isOver) {
        const repeated = forgotten.pop()
        const sent = await this.#call(pool, ready, repeated ?? `call-${++this.#lastId}`)
        if (sent.answer === null) return
        answers++
        const isUsedUp = repeated === undefined && sent.answer.isError
        if (isUsedUp && (death.by === 'execution' || death.by === 'point')) kill()
        if ((death.by === 'answer' && answers >= death.count) || death.by === 'peace') kill()
      }
    }
    await Promise.all(Array.from({ length: CLIENTS }, client))
  }

  /** What was sent to earlier victims and not answered is repeated, under the same key. */
  #unanswered(run: RunId): string[] {
    const ids = [...this.sent].filter(([, sent]) => sent.run === run && sent.answer === null)
    return ids.slice(0, CLIENTS / 2).map(([id]) => id)
  }

  /** Without an answer: the victim is gone. */
  async #call(pool: Pool, ready: Ready, id: string): Promise<Sent> {
    const sent: Sent = { run: ready.run, answer: null }
    this.sent.set(id, sent)
    const { body, headers } = addCall(ready.badge, { id, text: `note ${id}` })
    try {
      const reply = await pool.request({ path: '/mcp', method: 'POST', headers, body })
      const { result } = (await reply.body.json()) as {
        result: { content: { text: string }[]; isError?: boolean }
      }
      sent.answer = { text: result.content[0]!.text, isError: result.isError === true }
    } catch {
      // It was killed.
    }
    return sent
  }
}
