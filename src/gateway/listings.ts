import type { Principal } from './door.ts'
import type { Era } from './era.ts'
import type { Gate } from './gate.ts'
import { isObject, type JsonObject } from './jsonrpc.ts'
import { declaresTasks, TASKS_DECLARED } from './questions.ts'
import type { Upstream } from './upstream.ts'

/**
 * How long a listing waits for upstreams that are still starting; they are announced when they are
 * up.
 */
export const READY_WAIT_MS = 10_000

/** The tools that this principal may see, of all upstreams, under their clients' names. */
export async function listTools(gate: Gate, principal: Principal): Promise<JsonObject> {
  const { upstreams, door } = gate
  await upstreams.ready(READY_WAIT_MS)
  // What is known is answered at once; what has changed is announced when it is known.
  const refreshed = [...upstreams.all()].map((upstream) =>
    upstream.tools.size === 0 ? upstream.refreshTools() : void upstream.refreshTools(),
  )
  await Promise.all(refreshed)
  const visible = door.visibleTools(principal, upstreams.tools())
  return { tools: visible.map(({ definition, name }) => ({ ...definition, name })) }
}

/** Resources or templates. Their URIs stay as they are: results and links refer to them. */
export async function listResources(
  gate: Gate,
  principal: Principal,
  listing: 'resources' | 'resourceTemplates',
): Promise<JsonObject> {
  const method = listing === 'resources' ? 'resources/list' : 'resources/templates/list'
  const groups = await perServer(gate, principal, method, (upstream) => upstream.list(listing))
  return { [listing]: groups.flatMap(({ items }) => items) }
}

/** Prompts, under their clients' names. */
export async function listPrompts(gate: Gate, principal: Principal): Promise<JsonObject> {
  const list = (upstream: Upstream) => upstream.list('prompts')
  const groups = await perServer(gate, principal, 'prompts/list', list)
  const prompts = groups.flatMap(({ server, items }) =>
    items.map((prompt) => ({
      ...prompt,
      name: gate.upstreams.names.prompt(server, String(prompt.name)),
    })),
  )
  return { prompts }
}

/** The listings of those servers for which the door allows the method. */
async function perServer(
  gate: Gate,
  principal: Principal,
  method: string,
  list: (upstream: Upstream) => Promise<readonly JsonObject[]>,
): Promise<{ server: string; items: readonly JsonObject[] }[]> {
  await gate.upstreams.ready(READY_WAIT_MS)
  const groups = [...gate.upstreams.all()].map(async (upstream) => {
    const server = upstream.name
    const visible = gate.door.mayList(principal, { server, method })
    return { server, items: visible ? await list(upstream) : [] }
  })
  return Promise.all(groups)
}

/** Longest text of one upstream that becomes part of the instructions to a model. */
const INSTRUCTIONS_LENGTH_MAX = 4_000

/** What the gateway offers: whatever at least one upstream offers and the gateway relays. */
export async function offer(
  gate: Gate,
  era: Era,
): Promise<{ capabilities: JsonObject; instructions: string }> {
  await gate.upstreams.ready(READY_WAIT_MS)
  const capabilities: JsonObject = { tools: { listChanged: true } }
  const texts = [
    'Every tool is named `server.tool` and is used under the lease of this run. A call outside of the ' +
      'lease is denied; the denial says what is missing and what can be done instead.',
  ]
  for (const upstream of gate.upstreams.all()) {
    if (upstream.offers('resources')) {
      const subscribe =
        upstream.canWatch ||
        (isObject(capabilities.resources) && capabilities.resources.subscribe === true)
      capabilities.resources = { listChanged: true, subscribe }
    }
    if (upstream.offers('prompts')) capabilities.prompts = { listChanged: true }
    if (upstream.offers('completions')) capabilities.completions = {}
    if (upstream.offers('logging')) capabilities.logging = {}
    if (
      era === 'modern' &&
      upstream.introduction !== null &&
      declaresTasks(upstream.introduction.capabilities)
    ) {
      Object.assign(capabilities, TASKS_DECLARED)
    }
    const words = upstream.introduction?.instructions
    if (words) texts.push(`${upstream.name}: ${words.slice(0, INSTRUCTIONS_LENGTH_MAX)}`)
  }
  return { capabilities, instructions: texts.join('\n\n') }
}

/** Which changes somebody wants to hear of. */
export interface ChangeFilter {
  readonly tools: boolean
  readonly prompts: boolean
  readonly resources: boolean
  /** Resources whose changes are told, one by one. */
  readonly uris: readonly string[]
}

/** Resources that one subscription may watch. */
const WATCHED_MAX = 64

/** The part of a `subscriptions/listen` filter that is honoured; null when it is none. */
export function readFilter(params: JsonObject): ChangeFilter | null {
  const wanted = params.notifications
  if (!isObject(wanted)) return null
  const uris = wanted.resourceSubscriptions ?? []
  if (!Array.isArray(uris) || uris.some((uri) => typeof uri !== 'string')) return null
  return {
    uris: [...new Set(uris as string[])].slice(0, WATCHED_MAX),
    tools: wanted.toolsListChanged === true,
    prompts: wanted.promptsListChanged === true,
    resources: wanted.resourcesListChanged === true,
  }
}

/**
 * Calls `send` with the notification of each change that the filter wants. Returns the unsubscribe.
 */
export function watchListings(
  gate: Gate,
  principal: Principal,
  filter: ChangeFilter,
  send: (method: string) => void,
): () => void {
  const offs: (() => void)[] = []
  const toolsChanged = (): void => send('notifications/tools/list_changed')
  if (filter.tools) offs.push(gate.door.onVisibilityChanged(principal, toolsChanged))
  offs.push(
    gate.upstreams.onListingChanged((_server, listing) => {
      if (listing === 'tools') {
        if (filter.tools) toolsChanged()
      } else if (listing === 'prompts') {
        if (filter.prompts) send('notifications/prompts/list_changed')
      } else if (filter.resources) {
        send('notifications/resources/list_changed')
      }
    }),
  )
  return () => {
    for (const off of offs) off()
  }
}
