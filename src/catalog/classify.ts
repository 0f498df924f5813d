import { hash } from 'node:crypto'
import { canonicalJson } from '../core/canonical-json.ts'
import type { Effect, Facts, Touch } from '../core/facts.ts'
import type { Json } from '../core/id.ts'
import { err, ok, type Result } from '../core/result.ts'
import { type Args, applies, argument, argumentFault } from './arguments.ts'
import type { ServerBinding } from './bindings.ts'
import {
  type Catalog,
  onlyReads,
  type Probe,
  type Rule,
  type Source,
  type Tool,
  type TypedSource,
} from './catalog.ts'
import { addFileUse, FileTouches } from './files.ts'
import { untrackedSecrets } from './git-probe.ts'
import { type Call, valuesOf } from './sources.ts'
import { isRecord } from './yaml-reader.ts'

export interface ClassifyInput {
  readonly server: ServerBinding
  /** Null: no catalog is configured for the server. */
  readonly catalog: Catalog | null
  /** From `checkTools`: what is known of the definition that the server presents now. */
  readonly definitionStatus: Facts['status']
  /** Its hash; "" if the server presents none. */
  readonly definition: string
  readonly tool: string
  readonly args: unknown
  /** Arguments that a lease of the chain constrains. */
  readonly capture: readonly string[]
  /** Secret of the run tree, so that a digest does not give away a guessable argument. */
  readonly digestSalt: string
  /** From `checkTools`: the server itself says that the tool does more than the catalog says. */
  readonly raise?: Effect | null
}

/**
 * The facts of a call. INVARIANT: sound: every resource the call can reach is named, or `fault`
 * says why that cannot be told. Answers at once unless a probe needs a process; never throws. A
 * probe is true only while `serialOf` of the call is held.
 */
export function classify(input: ClassifyInput): Facts | Promise<Facts> {
  const facts = baseFacts(input)
  if (facts.fault === null && facts.status === 'unmapped') return unmappedFacts(input, facts)
  if (facts.fault !== null || facts.status !== 'mapped') return facts
  const tool = input.catalog?.tools.get(input.tool)
  // `mapped` without a tool is a contradiction of the caller: not known is not allowed.
  if (tool === undefined || input.catalog === null) {
    return unmappedFacts(input, { ...facts, status: 'unmapped' })
  }
  const args = (input.args ?? {}) as Args
  const fault = guarded(() => argumentFault(input.server, tool, args))
  if (fault !== null) return { ...facts, fault }
  const rules = tool.rules.filter((rule) => applies(tool, rule.when, args))
  const probes = slowProbes(input.server, rules, args)
  if (probes !== null) return withProbes({ input, facts, tool, args, rules, probes })
  return finish({ input, facts, tool, args, rules, untracked: new Map() })
}

/** What an action is spelled with; a tool of another name cannot be granted by it. */
const ACTION = /^[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*$/

/**
 * Of a tool that no catalog has nothing is known, so the one touch is the tool itself, taken for
 * the worst. A lease permits it only by exactly this name, and each call asks.
 */
function unmappedFacts(input: ClassifyInput, facts: Facts): Facts {
  const action = facts.tool
  if (!ACTION.test(action)) return facts
  const worst = { effect: 'destructive', reversible: false } as const
  return {
    ...facts,
    touches: [{ action, ...worst, resources: {}, within: {}, hosts: [] }],
    args: capturedArgs((input.args ?? {}) as Args, [], input.capture),
  }
}

interface Work {
  readonly input: ClassifyInput
  readonly facts: Facts
  readonly tool: Tool
  readonly args: Args
  readonly rules: readonly Rule[]
}

async function withProbes(work: Work & { probes: ReadonlySet<Probe> }): Promise<Facts> {
  const worktree = work.input.server.worktree?.real ?? ''
  const untracked = new Map<string, Result<readonly string[], string>>()
  for (const probe of work.probes) {
    untracked.set(probe, await untrackedSecrets({ worktree, ignored: probe === 'ignored_secrets' }))
  }
  return finish({ ...work, untracked })
}

function finish(work: Work & { untracked: Call['untracked'] }): Facts {
  const { input, facts, tool, args } = work
  const call: Call = { server: input.server, tool, args, untracked: work.untracked, branch: null }
  let touches: readonly Touch[] = []
  const fault = guarded(() => {
    const found = touchesOf(call, input.catalog!, work.rules)
    if (!found.ok) return found.error
    touches = input.raise ? found.value.map((touch) => raised(touch, input.raise!)) : found.value
    return touches.length > 0 ? null : 'the catalog has no rule for these arguments'
  })
  return {
    tool: facts.tool,
    definition: facts.definition,
    status: facts.status,
    touches: fault === null ? touches : [],
    args: capturedArgs(args, tool.record, input.capture),
    argsDigest: facts.argsDigest,
    usd: tool.usd,
    idempotent: tool.idempotent,
    fault,
    guardrail: null,
  }
}

/** Threat 18: a throw while facts are gathered is a denial, not a crash and not a pass. */
function guarded(check: () => string | null): string | null {
  try {
    return check()
  } catch {
    return 'the facts of this call could not be gathered'
  }
}

function baseFacts(input: ClassifyInput): Facts {
  const { args } = input
  const isMap = args === undefined || isRecord(args)
  const digest = digestOf(input.digestSalt, args ?? {})
  const fault = !isMap
    ? 'the arguments must be an object'
    : digest === null
      ? 'the arguments are not JSON'
      : null
  return {
    tool: `${input.server.name}.${input.tool}`,
    definition: input.definition,
    status: statusOf(input),
    touches: [],
    args: {},
    argsDigest: digest ?? hash('sha256', input.digestSalt, 'hex'),
    usd: null,
    idempotent: false,
    fault,
    guardrail: null,
  }
}

function statusOf(input: ClassifyInput): Facts['status'] {
  const { catalog, tool, definitionStatus } = input
  if (definitionStatus !== 'mapped') return definitionStatus
  return catalog?.tools.has(tool) ? 'mapped' : 'unmapped'
}

/** RFC 8785 makes equal arguments equal bytes, whatever the order of their members. */
function digestOf(salt: string, args: unknown): string | null {
  try {
    return hash('sha256', salt + canonicalJson(args), 'hex')
  } catch {
    return null
  }
}

/** `fromEntries` defines members, so a captured `__proto__` stays a member. */
function capturedArgs(
  args: Args,
  record: readonly string[],
  capture: readonly string[],
): Readonly<Record<string, Json>> {
  if (record.length === 0 && capture.length === 0) return {}
  const names = [...record, ...capture].filter((name) => Object.hasOwn(args, name))
  return Object.fromEntries(names.map((name) => [name, args[name] as Json]))
}

function touchesOf(
  call: Call,
  catalog: Catalog,
  rules: readonly Rule[],
): Result<readonly Touch[], string> {
  const touches: Touch[] = []
  let files: FileTouches | null = null
  for (const rule of rules) {
    if (rule.do === 'fault') return err(rule.words)
    if (rule.do === 'files') {
      files ??= new FileTouches(catalog, call.server.guarded ?? [])
      for (const use of rule.uses) {
        const fault = addFileUse(files, call.server, use, call.args)
        if (fault !== null) return err(fault)
      }
      continue
    }
    const touch = oneTouch(call, rule)
    if (!touch.ok) return touch
    if (touch.value === null) continue
    for (const action of rule.actions) {
      const kind = catalog.actions.get(action)!
      touches.push({
        action,
        effect: rule.effect ?? kind.effect,
        reversible: rule.reversible ?? kind.reversible,
        resources: touch.value.resources,
        within: touch.value.within,
        hosts: touch.value.hosts,
      })
    }
  }
  return ok(files === null ? touches : [...touches, ...files.touches()])
}

/** Null: the rule is about secrets and there is none, so it adds nothing. */
function oneTouch(
  call: Call,
  rule: Rule & { do: 'touch' },
): Result<Pick<Touch, 'resources' | 'within' | 'hosts'> | null, string> {
  const resources = typedValues(call, rule.resources)
  if (!resources.ok) return resources
  if (resources.value.secrets?.length === 0) return ok(null)
  const within = typedValues(call, rule.within)
  if (!within.ok) return within
  const hosts: string[] = []
  for (const source of rule.hosts) {
    const values = valuesOf(call, 'hosts', source)
    if (!values.ok) return values
    hosts.push(...(values.value ?? []))
  }
  return ok({ resources: resources.value, within: within.value, hosts })
}

function typedValues(
  call: Call,
  typed: readonly TypedSource[],
): Result<Readonly<Record<string, readonly string[]>>, string> {
  const found: Record<string, readonly string[]> = {}
  for (const { type, sources } of typed) {
    let values: readonly string[] | null = []
    for (const source of sources) {
      const some = valuesOf(call, type, source)
      if (!some.ok) return some
      if (some.value === null || values === null) values = null
      else values = sources.length === 1 ? some.value : [...values, ...some.value]
    }
    if (values !== null) found[type] = values
  }
  return ok(found)
}

/** Annotations are untrusted: they may tighten, never grant (threat 33). */
function raised(touch: Touch, effect: Effect): Touch {
  return touch.effect === 'read' ? { ...touch, effect, reversible: false } : touch
}

/** Probes among the rules that need a process, and so an answer before the rules are applied. */
function slowProbes(
  server: ServerBinding,
  rules: readonly Rule[],
  args: Args,
): ReadonlySet<Probe> | null {
  if (server.worktree === null) return null
  const probes = new Set<Probe>()
  for (const rule of rules) {
    if (rule.do !== 'touch') continue
    for (const source of rule.resources.flatMap((typed) => typed.sources)) {
      const probe = slowProbe(source, args)
      if (probe !== null) probes.add(probe)
    }
  }
  return probes.size > 0 ? probes : null
}

function slowProbe(source: Source, args: Args): Probe | null {
  if (source.from === 'secrets_of' && source.wide) {
    return argument(args, source.arg) === undefined ? null : 'untracked_secrets'
  }
  if (source.from !== 'probe') return null
  return source.probe === 'untracked_secrets' || source.probe === 'ignored_secrets'
    ? source.probe
    : null
}

/** What must stand still between the probe and the upstream's answer. */
export interface Serial {
  readonly key: string
  /** Calls that only read may share the key; anything else holds it alone. */
  readonly mode: 'shared' | 'exclusive'
}

/**
 * The lock that the gateway takes before `classify` and keeps until the upstream has answered: a
 * branch that was probed must still be checked out when the tool runs. Keys are working trees, so
 * that a file server and a git server on one tree exclude each other. Empty: nothing to hold.
 */
export function serialOf(
  server: ServerBinding,
  catalog: Catalog | null,
  tool: string,
): readonly Serial[] {
  const rules = catalog?.tools.get(tool)?.rules ?? []
  const mode =
    catalog !== null && rules.every((rule) => onlyReads(catalog, rule)) ? 'shared' : 'exclusive'
  const keys = new Set<string>()
  if (rules.some((rule) => rule.do === 'files'))
    for (const root of server.roots) keys.add(root.real)
  if (rules.length > 0 && server.worktree !== null) keys.add(server.worktree.real)
  // One order for everybody, or two calls on two trees could wait for each other.
  return [...keys].sort().map((key) => ({ key, mode }))
}
