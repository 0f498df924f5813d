import { randomBytes } from 'node:crypto'
import type { ServerBinding } from '../catalog/bindings.ts'
import type { Catalog } from '../catalog/catalog.ts'
import { classify, type Serial, serialOf } from '../catalog/classify.ts'
import {
  checkTools,
  ofAnotherProgram,
  type Pins,
  type ToolCheck,
  type ToolDefinition,
} from '../catalog/pin.ts'
import { chainOf } from '../core/chain.ts'
import type { Facts } from '../core/facts.ts'
import type { Run, Tree } from '../core/tree.ts'
import type { Store, TreeKey } from '../store/store.ts'
import type { JudgedRequest, ToolCallRequest, UpstreamTool } from './door.ts'
import type { Upstreams } from './upstreams.ts'

export interface Desk {
  readonly binding: ServerBinding
  readonly catalog: Catalog | null
}

/** Whether the program behind a server's name is one that somebody accepted. */
export interface AcceptedPrograms {
  /** Looks at what the program is now. */
  look(server: string): void
  /** Looks again, when the last look is old; true: it is another program than then. */
  hasChanged(server: string): boolean
  /** As of the last look. */
  isAccepted(server: string, tool: string): boolean
}

const FILE_ACTIONS = [
  ['read', 'file.read', 'repo.read', 'secret.read'],
  ['write', 'file.write', 'repo.file.write', 'secret.write', 'repo.internals.write'],
  ['delete', 'file.delete', 'repo.file.delete'],
] as const

/** Turns requests into facts: the catalogs, the pins, and what each server presents now. */
export class Desks {
  readonly #desks: ReadonlyMap<string, Desk>
  readonly #upstreams: Upstreams
  readonly #store: Store
  readonly #programs: AcceptedPrograms
  readonly #salts = new Map<string, string>()
  /** Per server: the checks of its latest listing, by tool. */
  readonly #checks = new Map<string, ReadonlyMap<string, ToolCheck>>()
  #pins: Pins

  constructor(options: {
    desks: ReadonlyMap<string, Desk>
    upstreams: Upstreams
    pins: Pins
    programs: AcceptedPrograms
    store: Store
  }) {
    this.#desks = options.desks
    this.#upstreams = options.upstreams
    this.#store = options.store
    this.#pins = options.pins
    this.#programs = options.programs
    options.upstreams.onListingChanged((server) => this.#checks.delete(server))
  }

  setPins(pins: Pins): void {
    this.#pins = pins
    this.#checks.clear()
  }

  /** What is known of every tool that a server presents, and of those that it should. */
  checks(server: string): ReadonlyMap<string, ToolCheck> {
    let known = this.#checks.get(server)
    if (known === undefined || this.#programs.hasChanged(server)) {
      const tools = [...(this.#upstreams.get(server)?.tools.values() ?? [])]
      const definitions = tools.map(({ definition }) => definition as ToolDefinition)
      const catalog = this.#desks.get(server)?.catalog ?? null
      const checks = checkTools(catalog, definitions, this.#pins.get(server))
      this.#programs.look(server)
      const ofProgram = (check: ToolCheck) =>
        this.#programs.isAccepted(server, check.tool) ? check : ofAnotherProgram(check)
      known = new Map(checks.map((check) => [check.tool, ofProgram(check)]))
      this.#checks.set(server, known)
    }
    return known
  }

  /** Whether this server is configured here: then its catalog says what its calls do. */
  serves(server: string): boolean {
    return this.#desks.has(server)
  }

  /** What must stand still from the facts of a call until its answer. */
  serials(request: ToolCallRequest): readonly Serial[] {
    const desk = this.#desks.get(request.server)
    return desk === undefined ? [] : serialOf(desk.binding, desk.catalog, request.tool)
  }

  facts(
    request: Pick<ToolCallRequest, 'server' | 'tool' | 'args'>,
    run: Run,
    tree: Tree,
    salt: string,
  ): Facts | Promise<Facts> {
    const desk = this.#desks.get(request.server)
    const check = this.checks(request.server).get(request.tool)
    if (desk === undefined || check === undefined || check.status === 'missing') {
      return unknownTool(request, salt)
    }
    return classify({
      server: desk.binding,
      catalog: desk.catalog,
      definitionStatus: check.status,
      definition: check.definition,
      tool: request.tool,
      args: request.args,
      capture: constrainedBy(tree, run),
      digestSalt: salt,
      raise: check.raise,
    })
  }

  /** The actions that some call of this tool can be, to show it or not. Empty: quarantined. */
  actionsOf(tool: UpstreamTool): readonly string[] {
    const check = this.checks(tool.server).get(tool.tool)
    const rules = this.#desks.get(tool.server)?.catalog?.tools.get(tool.tool)?.rules ?? []
    if (check?.status !== 'mapped') return []
    return rules.flatMap((rule) => {
      if (rule.do === 'fault') return []
      if (rule.do === 'touch') return rule.actions
      return rule.uses.flatMap(({ use }) =>
        FILE_ACTIONS.filter(([kind]) => fileUseDoes(use, kind)).flatMap(([, ...names]) => names),
      )
    })
  }

  /** The name by which a lease permits a tool that no catalog maps; null for every other tool. */
  unmappedName({ server, tool }: UpstreamTool): string | null {
    return this.checks(server).get(tool)?.status === 'unmapped' ? `${server}.${tool}` : null
  }

  /** Secret of the tree that salts the digests of arguments; made once, kept by the store. */
  salt(key: TreeKey): string | Promise<string> {
    return this.#salts.get(saltKey(key)) ?? this.#loadSalt(key)
  }

  async #loadSalt({ org, tree }: TreeKey): Promise<string> {
    const key = `salt:${tree}`
    const fresh = randomBytes(16).toString('hex')
    const set = await this.#store.setSetting({ org, key, expected: null, value: fresh })
    const salt = set.ok ? fresh : await this.#store.getSetting(org, key)
    if (salt === null) throw new Error('the salt of the run tree is gone')
    this.#salts.set(saltKey({ org, tree }), salt)
    return salt
  }
}

/** No organisation is given the salt of another one, whatever it names. */
function saltKey({ org, tree }: TreeKey): string {
  return `${org}\n${tree}`
}

function fileUseDoes(use: string, kind: 'read' | 'write' | 'delete'): boolean {
  if (use === 'move') return true
  if (use === 'write' || use === 'mkdir') return kind === 'write'
  if (use === 'delete') return kind === 'delete'
  return kind === 'read'
}

/** Arguments that a grant anywhere up the chain constrains. */
export function constrainedBy(tree: Tree, run: Run): string[] {
  const names: string[] = []
  for (const { lease } of chainOf(tree, run)) {
    for (const grant of lease?.terms.grants ?? []) names.push(...Object.keys(grant.where))
  }
  return names
}

function unknownTool(
  { server, tool, args }: Pick<ToolCallRequest, 'server' | 'tool' | 'args'>,
  salt: string,
): Facts | Promise<Facts> {
  return classify({
    server: { name: server, roots: [], worktree: null, remotes: new Map(), values: new Map() },
    catalog: null,
    definitionStatus: 'unknown',
    definition: '',
    tool,
    args,
    capture: [],
    digestSalt: salt,
  })
}

/** Requests other than tool calls that reach an upstream, as actions of the vocabulary. */
const METHOD_ACTIONS: Readonly<Record<string, { action: string; type: string; member: string }>> = {
  'resources/read': { action: 'mcp.resource.read', type: 'mcp_resources', member: 'uri' },
  'resources/subscribe': { action: 'mcp.resource.read', type: 'mcp_resources', member: 'uri' },
  'prompts/get': { action: 'mcp.prompt.get', type: 'mcp_prompts', member: 'name' },
  'completion/complete': { action: 'mcp.complete', type: 'mcp_servers', member: '' },
}

/** Facts of such a request. What a lease must name is the server and the URI or the name. */
export async function factsOfMethod(request: JudgedRequest, salt: string): Promise<Facts> {
  // Of the client's hop only: an ask must not be another one for another progress token. And a
  // round of questions and answers belongs to the request that it began with.
  const { _meta, inputResponses: _responses, requestState: _state, ...args } = request.params
  const facts = await unknownTool(
    { ...EMPTY_CALL, server: request.server, tool: request.method, args: args as never },
    salt,
  )
  const known = Object.hasOwn(METHOD_ACTIONS, request.method)
    ? METHOD_ACTIONS[request.method]!
    : undefined
  if (known === undefined) return facts
  const value = known.member === '' ? '' : request.params[known.member]
  if (typeof value !== 'string') return { ...facts, fault: `\`${known.member}\` must be a string` }
  const resources =
    known.member === ''
      ? { mcp_servers: [request.server] }
      : { mcp_servers: [request.server], [known.type]: [value] }
  const touch = { action: known.action, effect: 'read', reversible: true, resources } as const
  return { ...facts, status: 'mapped', touches: [{ ...touch, within: {}, hosts: [] }] }
}

const EMPTY_CALL = {
  meta: {},
  rawParams: {},
  requestId: 0,
  era: 'modern',
  idempotencyKey: null,
  signal: new AbortController().signal,
  send: () => Promise.reject(new Error('never sent')),
} as const
