import { createRequestStateCodec, type RequestStateCodec } from '@modelcontextprotocol/server'
import { Tasks } from './fixture-tasks.ts'

/** The tool that comes and goes. */
export const DYNAMIC = 'test_dynamic'

/** The resource that changes. */
export const WATCHED = 'test://watched-resource'

export interface Changes {
  readonly tools: () => void
  readonly prompts: () => void
  readonly resource: () => void
}

/** What all connections to the fixture share. */
export class World {
  readonly tasks = new Tasks()
  /** Names of tools that come and go. */
  readonly extra = new Set<string>()
  readonly states: RequestStateCodec<{ step: number }> = createRequestStateCodec({
    key: crypto.getRandomValues(new Uint8Array(32)),
  })
  readonly #watchers = new Set<Changes>()

  /** `DYNAMIC` appears, or disappears again. */
  changeTools(): void {
    if (!this.extra.delete(DYNAMIC)) this.extra.add(DYNAMIC)
    for (const { tools } of this.#watchers) tools()
  }

  changePrompts(): void {
    for (const { prompts } of this.#watchers) prompts()
  }

  /** `WATCHED` reads differently now. */
  changeResource(): void {
    for (const { resource } of this.#watchers) resource()
  }

  /** Returns the unsubscribe. */
  onChange(changes: Changes): () => void {
    this.#watchers.add(changes)
    return () => this.#watchers.delete(changes)
  }
}
