import { type ChildProcess, fork } from 'node:child_process'
import { join } from 'node:path'

/** Each part of a measurement runs in a process of its own, and takes orders one at a time. */

// biome-ignore lint/suspicious/noExplicitAny: each part has orders of its own
export type Answers = Readonly<Record<string, (order: any) => unknown>>

/** Makes this file the entry of such a process: answers an order with what the function gives. */
export function answering(meta: ImportMeta, answers: Answers): void {
  if (!meta.main) return
  process.on('message', (order: { do: string }) => {
    void (async () => {
      try {
        const answer = order.do === 'cpu' ? cpu() : await answers[order.do]!(order)
        process.send!({ answer })
      } catch (error) {
        process.send!({ error: error instanceof Error ? error.stack : String(error) })
      }
    })()
  })
  process.on('disconnect', () => process.exit())
}

/** Milliseconds of processor that this process has used, all threads. Every part answers it. */
function cpu(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1_000
}

export class Part implements AsyncDisposable {
  readonly #child: ChildProcess

  constructor(file: string, options: { args?: string[]; execArgv?: string[] } = {}) {
    const { args = [], execArgv = [] } = options
    this.#child = fork(join(import.meta.dirname, file), args, { execArgv })
  }

  get pid(): number {
    return this.#child.pid!
  }

  ask<T>(order: { readonly do: string; readonly [more: string]: unknown }): Promise<T> {
    const child = this.#child
    return new Promise((resolve, reject) => {
      const died = (code: number | null) => reject(new Error(`a part ended (${code})`))
      child.once('exit', died)
      child.once('message', (message: { answer?: T; error?: string }) => {
        child.off('exit', died)
        if (message.error === undefined) resolve(message.answer as T)
        else reject(new Error(message.error))
      })
      child.send(order)
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const exited = new Promise((resolve) => this.#child.once('exit', resolve))
    this.#child.disconnect()
    await exited
  }
}
