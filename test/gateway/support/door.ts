import type { Presented } from '../../../src/badge/reader.ts'
import { toClient } from '../../../src/gateway/dispatch.ts'
import type {
  Door,
  JudgedRequest,
  Principal,
  ToolCallRequest,
  UpstreamTool,
} from '../../../src/gateway/door.ts'
import type { RpcReply } from '../../../src/gateway/jsonrpc.ts'
import type { UpstreamReply } from '../../../src/gateway/upstream-link.ts'
import type { Upstreams } from '../../../src/gateway/upstreams.ts'

/**
 * A door for the tests of what stands around it: allows everything that is not listed in `denied`.
 */
export class TestDoor implements Door {
  readonly calls: { principal: Principal; request: ToolCallRequest }[] = []
  readonly judged: JudgedRequest[] = []
  readonly replies: UpstreamReply[] = []
  readonly ended: Principal[] = []
  /** Names `server.tool`, or methods. */
  readonly denied = new Set<string>()
  readonly tokens = new Map<string, Principal>()
  readonly #onEnd = new Set<{ run: string; f: (why: string) => void }>()
  readonly #onVisibility = new Set<() => void>()
  upstreams!: Upstreams

  constructor() {
    this.tokens.set('alice', principalOf('alice'))
    this.tokens.set('bob', principalOf('bob'))
  }

  identify(presented: Presented | null): Principal | null | Promise<Principal | null> {
    const token = presented?.token ?? null
    const known = token === null ? null : (this.tokens.get(token) ?? null)
    // Both ways that a door may answer.
    return known?.run === 'run_bob' || token?.startsWith('ey') ? Promise.resolve(known) : known
  }

  async callTool(principal: Principal, request: ToolCallRequest): Promise<RpcReply> {
    this.calls.push({ principal, request })
    const name = `${request.server}.${request.tool}`
    if (this.denied.has(name)) {
      const text = `denied: ${name} is not granted`
      return { result: { content: [{ type: 'text', text }], isError: true } }
    }
    const upstream = this.upstreams.get(request.server)
    if (upstream === undefined) return { error: { code: -32602, message: 'unknown server' } }
    const reply = await request.send(request.rawParams, request.signal, () => false)
    this.replies.push(reply)
    return toClient(reply, request.server)
  }

  visibleTools(_principal: Principal, tools: readonly UpstreamTool[]): readonly UpstreamTool[] {
    return tools.filter(({ name }) => !this.denied.has(name))
  }

  async relay(_principal: Principal, request: JudgedRequest): Promise<RpcReply> {
    this.judged.push(request)
    if (this.denied.has(request.method)) {
      const data = { reason: 'no_grant' }
      return { error: { code: -32000, message: `denied: ${request.method}`, data } }
    }
    return toClient(await request.send(request.params, request.signal, () => false), request.server)
  }

  async task(): Promise<RpcReply> {
    return { error: { code: -32602, message: 'unknown task' } }
  }

  mayList(_principal: Principal, { method }: { method: string }): boolean {
    return !this.denied.has(method)
  }

  sessionEnded(principal: Principal): void {
    this.ended.push(principal)
  }

  onEnd({ run }: Principal, f: (why: string) => void): () => void {
    const entry = { run, f }
    this.#onEnd.add(entry)
    return () => this.#onEnd.delete(entry)
  }

  onVisibilityChanged(_principal: Principal, f: () => void): () => void {
    this.#onVisibility.add(f)
    return () => this.#onVisibility.delete(f)
  }

  /** The end of a run's authority. */
  end(run: string): void {
    for (const entry of [...this.#onEnd]) if (entry.run === `run_${run}`) entry.f('revoked')
  }

  changeVisibility(): void {
    for (const f of [...this.#onVisibility]) f()
  }

  get watchers(): number {
    return this.#onEnd.size + this.#onVisibility.size
  }
}

export function principalOf(name: string): Principal {
  return { org: 'org', tree: `tree_${name}`, run: `run_${name}`, session: '' }
}
