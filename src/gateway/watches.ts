import { err, ok, type Result } from '../core/result.ts'
import type { Era } from './era.ts'
import type { JsonObject } from './jsonrpc.ts'
import type { UpstreamReply } from './upstream-link.ts'

/** Resources of one upstream that are watched at a time; each is work for it. */
const WATCHED_MAX = 1_000

type Listener = () => void

interface Means {
  /** Null while it is not up. */
  readonly era: () => Era | null
  readonly call: (method: string, params: JsonObject) => Promise<UpstreamReply>
  /** Tells an upstream of the modern era what is watched now. */
  readonly listen: (uris: readonly string[]) => void
}

/**
 * Who wants to hear that a resource of an upstream has changed. The upstream is asked once for
 * each, however many want to hear of it, and again when it has been started again.
 */
export class Watches {
  readonly #means: Means
  readonly #listeners = new Map<string, Set<Listener>>()

  constructor(means: Means) {
    this.#means = means
  }

  get uris(): string[] {
    return [...this.#listeners.keys()]
  }

  /** Calls `changed` at each change. The result is the unsubscribe, or why it cannot be watched. */
  async watch(uri: string, changed: Listener): Promise<Result<() => void, UpstreamReply>> {
    const known = this.#listeners.get(uri)
    if (known === undefined) {
      if (this.#listeners.size >= WATCHED_MAX) {
        return err({ error: { code: -32000, message: 'too many resources are watched' } })
      }
      this.#listeners.set(uri, new Set([changed]))
      const refusal = await this.#begin(uri)
      if (refusal !== null) {
        this.#drop(uri, changed)
        return err(refusal)
      }
    } else {
      known.add(changed)
    }
    return ok(() => {
      if (this.#drop(uri, changed)) void this.#end(uri)
    })
  }

  /** The upstream says that it has changed. */
  updated(uri: unknown): void {
    if (typeof uri !== 'string') return
    for (const tell of this.#listeners.get(uri) ?? []) tell()
  }

  /** It has been started again, and knows nothing of what is watched. */
  async renew(): Promise<void> {
    if (this.#means.era() !== 'legacy') return
    await Promise.all(this.uris.map((uri) => this.#means.call('resources/subscribe', { uri })))
  }

  async #begin(uri: string): Promise<UpstreamReply | null> {
    if (this.#means.era() === 'modern') {
      this.#means.listen(this.uris)
      return null
    }
    const reply = await this.#means.call('resources/subscribe', { uri })
    return 'result' in reply ? null : reply
  }

  async #end(uri: string): Promise<void> {
    if (this.#means.era() === 'modern') this.#means.listen(this.uris)
    else await this.#means.call('resources/unsubscribe', { uri })
  }

  /** True when nobody is left. */
  #drop(uri: string, changed: Listener): boolean {
    const listeners = this.#listeners.get(uri)
    if (listeners === undefined || !listeners.delete(changed) || listeners.size > 0) return false
    return this.#listeners.delete(uri)
  }
}
