import type { Badge } from '../badge/badge.ts'
import type { BadgeReader, Presented } from '../badge/reader.ts'
import { chainOf, isOver, isUsable } from '../core/chain.ts'
import { namesTool } from '../core/judge.ts'
import { deniesAction, matchesAction } from '../core/pattern.ts'
import type { Lease, Run } from '../core/tree.ts'
import { passCall, passMethod } from './call.ts'
import type {
  Door,
  JudgedRequest,
  Principal,
  TaskRequest,
  ToolCallRequest,
  UpstreamTool,
} from './door.ts'
import { INTERNAL_ERROR, type RpcReply, rpcError } from './jsonrpc.ts'
import type { CallParts } from './passage.ts'
import { passTask } from './task-call.ts'

/** The door of the gateway: identifies by badge, shows what the lease grants, judges every call. */
export class JudgedDoor implements Door {
  readonly #parts: CallParts
  readonly #badges: BadgeReader
  readonly #onSessionEnd: (principal: Principal) => void
  #isStopping = false

  constructor(
    parts: CallParts,
    options: { badges: BadgeReader; onSessionEnd: (principal: Principal) => void },
  ) {
    this.#parts = parts
    this.#badges = options.badges
    this.#onSessionEnd = options.onSessionEnd
  }

  identify(presented: Presented | null): Principal | null | Promise<Principal | null> {
    const badge = presented === null ? null : this.#badges.read(presented)
    return badge instanceof Promise ? badge.then(principalOf) : principalOf(badge)
  }

  /** Lets no new call in. Those in flight go on, and what was asked can still be answered. */
  stop(): void {
    this.#isStopping = true
  }

  callTool(principal: Principal, request: ToolCallRequest): Promise<RpcReply> {
    if (this.#isStopping) return Promise.resolve(STOPPING)
    return passCall(this.#parts, principal, request)
  }

  relay(principal: Principal, request: JudgedRequest): Promise<RpcReply> {
    if (this.#isStopping) return Promise.resolve(STOPPING)
    return passMethod(this.#parts, principal, request)
  }

  task(principal: Principal, request: TaskRequest): Promise<RpcReply> {
    return passTask(this.#parts, principal, request)
  }

  visibleTools(principal: Principal, tools: readonly UpstreamTool[]): readonly UpstreamTool[] {
    const chain = this.#usableChain(principal)
    if (chain === null) return []
    const { desks } = this.#parts
    return tools.filter((tool) => {
      const name = desks.unmappedName(tool)
      const isNamed = name !== null && chain.every(({ lease }) => namesTool(lease!, name))
      const actions = isNamed ? [name] : desks.actionsOf(tool)
      return actions.some((action) => chain.every(({ lease }) => mayEver(lease!, action)))
    })
  }

  /** Listings beside tools show nothing that can be read: what is read is judged one by one. */
  mayList(principal: Principal, { method }: { server: string; method: string }): boolean {
    const chain = this.#usableChain(principal)
    const action = LISTED[method]
    return (
      chain !== null && action !== undefined && chain.every(({ lease }) => mayEver(lease!, action))
    )
  }

  #usableChain(principal: Principal): readonly Run[] | null {
    const tree = this.#parts.runs.tree(principal).peek()
    const run = tree?.runs.get(principal.run)
    if (tree == null || run === undefined) return null
    const chain = chainOf(tree, run)
    return chain.every((each) => isUsable(each, this.#parts.clock())) ? chain : null
  }

  /** Calls that are under way. */
  get inFlight(): number {
    return this.#parts.inFlight.size
  }

  /** A definition was accepted: everybody may see other tools now. */
  toolsChanged(): void {
    this.#parts.inFlight.announceAll()
  }

  sessionEnded(principal: Principal): void {
    this.#onSessionEnd(principal)
  }

  onEnd(principal: Principal, ended: (why: string) => void): () => void {
    const off = this.#parts.inFlight.onEnd(principal.run, ended)
    const tree = this.#parts.runs.tree(principal).peek()
    const run = tree?.runs.get(principal.run)
    if (tree == null || run === undefined || !isOver(tree, run, this.#parts.clock())) return off
    const soon = setImmediate(() => ended(run.lease?.endReason ?? 'expired'))
    return () => {
      clearImmediate(soon)
      off()
    }
  }

  onVisibilityChanged(principal: Principal, changed: () => void): () => void {
    return this.#parts.inFlight.onChange(principal.run, changed)
  }
}

/** Nothing was decided, so nothing is recorded: the same call is as good as new elsewhere. */
const STOPPING: RpcReply = rpcError(
  INTERNAL_ERROR,
  'This gateway is stopping. Nothing was run and nothing was spent; repeat the same call later.',
)

/** What must be granted, on anything, for a listing to be of use. */
const LISTED: Readonly<Record<string, string>> = {
  'resources/list': 'mcp.resource.read',
  'resources/templates/list': 'mcp.resource.read',
  'prompts/list': 'mcp.prompt.get',
}

function principalOf(badge: Badge | null): Principal | null {
  if (badge === null) return null
  const { org, tree, run } = badge
  return { org, tree, run, session: '' }
}

/** Whether some call of this action could be allowed, or asked for, under the lease. */
function mayEver(lease: Lease, action: string): boolean {
  const { deny, ceiling, grants } = lease.compiled
  if (deny.some((pattern) => deniesAction(pattern, action))) return false
  if (ceiling !== null && !ceiling.some((pattern) => matchesAction(pattern, action))) return false
  if (lease.terms.onExceed === 'ask') return true
  return grants.some((grant) => grant.actions.some((pattern) => matchesAction(pattern, action)))
}
