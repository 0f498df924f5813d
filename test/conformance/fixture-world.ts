import { createRequestStateCodec, type RequestStateCodec } from '@modelcontextprotocol/server'
import { Tasks } from './fixture-tasks.ts'

/** The tool that comes and goes. */
export const DYNAMIC = 'test_dynamic'

/** What all connections to the fixture share. */
export class World {
  readonly tasks = new Tasks()
  /** Names of tools that come and go. */
  readonly extra = new Set<string>()
  readonly states: RequestStateCodec<{ step: number }> = createRequestStateCodec({
    key: crypto.getRandomValues(new Uint8Array(32)),
  })
  readonly #onTools = new Set<() => void>()
  readonly #onPrompts = new Set<() => void>()

  /** `DYNAMIC` appears, or disappears again. */
  changeTools(): void {
    if (!this.extra.delete(DYNAMIC)) this.extra.add(DYNAMIC)
    for (const tell of this.#onTools) tell()
  }

  changePrompts(): void {
    for (const tell of this.#onPrompts) tell()
  }

  /** Returns the unsubscribe. */
  onChange(tools: () => void, prompts: () => void): () => void {
    this.#onTools.add(tools)
    this.#onPrompts.add(prompts)
    return () => {
      this.#onTools.delete(tools)
      this.#onPrompts.delete(prompts)
    }
  }
}
