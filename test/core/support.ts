import type { Command } from '../../src/core/command.ts'
import { decide } from '../../src/core/decide.ts'
import type { Decision, Reply } from '../../src/core/decision.ts'
import type { Entry, EntryOf, EntryType } from '../../src/core/entry.ts'
import { evolve } from '../../src/core/evolve.ts'
import type { Facts, Touch } from '../../src/core/facts.ts'
import type { AskId, CallId, EscalationId, Instant, LeaseId, RunId } from '../../src/core/id.ts'
import type { Grant, Terms } from '../../src/core/lease.ts'
import type { RefusalCode } from '../../src/core/reason.ts'
import type { Call, Lease, Run, Tree } from '../../src/core/tree.ts'

/** 2026-11-23T12:00:00Z. */
export const T0: Instant = 1_795_435_200_000
export const ROOT: RunId = 'run_root'
export const SECOND = 1000

export type CommandOf<K extends Command['do']> = Extract<Command, { do: K }>

/** A lease that grants one of everything these tests call, and limits nothing. */
export const TERMS: Terms = {
  version: 1,
  agent: 'agent',
  purpose: 'tests of the core',
  user: 'asker@example.com',
  grants: [
    {
      actions: ['doc.read', 'doc.write', 'doc.erase', 'pr.open', 'pay.send', 'mail.send'],
      resources: { repos: ['clord'] },
      where: {},
    },
  ],
  deny: ['secret.read'],
  ask: [],
  onExceed: 'deny',
  expiresInSeconds: 3600,
  notAfter: null,
  until: [],
  maxToolCalls: null,
  limits: {},
  workSeconds: null,
  usd: null,
  delegate: null,
  requireReceipt: true,
  ceiling: null,
  approvers: null,
  labels: {},
}

export const RULE = { policy: null, approvers: null, self: false, answerSeconds: 600 } as const
export const ENVELOPE = {
  requester: 'asker@example.com',
  agent: 'agent',
  purpose: 'tests of the core',
  client: null,
} as const

export const APPROVER = { person: 'approver@example.com', via: 'console' } as const
export const ASKER = { person: 'asker@example.com', via: 'terminal' } as const
export const SERVER = { server: 'daypass' } as const
export const HASH = 'a'.repeat(64)

const EFFECTS: Readonly<Record<string, Pick<Touch, 'effect' | 'reversible'>>> = {
  'doc.read': { effect: 'read', reversible: true },
  'doc.erase': { effect: 'destructive', reversible: false },
  'mail.send': { effect: 'egress', reversible: false },
}

export function touchOf(action: string, repo = 'clord'): Touch {
  const { effect, reversible } = Object.hasOwn(EFFECTS, action)
    ? EFFECTS[action]!
    : { effect: 'write' as const, reversible: true }
  return { action, effect, reversible, resources: { repos: [repo] }, within: {}, hosts: [] }
}

/** Facts of a call of one action; `argsDigest` stands for its arguments. */
export function factsOf(action: string, more: Partial<Facts> = {}): Facts {
  return {
    tool: `tools.${action}`,
    definition: HASH,
    status: 'mapped',
    touches: [touchOf(action)],
    args: {},
    argsDigest: 'digest',
    usd: null,
    idempotent: false,
    fault: null,
    guardrail: null,
    ...more,
  }
}

export interface CallOptions {
  readonly run?: RunId
  readonly key?: string
  readonly facts?: Partial<Facts>
  readonly call?: CallId
}

/** A tree with the ledger that made it, and a clock that the test moves. */
export class Book {
  readonly entries: Entry[] = []
  readonly commands: Command[] = []
  now: Instant = T0
  #tree: Tree | null = null
  #drawn = 0

  get tree(): Tree {
    return this.#tree!
  }

  /** Decides, folds, remembers. */
  do(command: Command): Decision {
    this.commands.push(command)
    const decision = decide(this.#tree, command, this.now)
    if (!decision.ok) return decision
    for (const entry of decision.value.entries) {
      this.entries.push(entry)
      // What a store gives back is a copy; the tree must not live on what the test holds.
      this.#tree = evolve(this.#tree, structuredClone(entry))
    }
    return decision
  }

  /** Goes on with another tree in place of the one that the entries made. */
  adopt(tree: Tree): void {
    this.#tree = tree
  }

  /** As `do`, for a command that must be accepted. */
  must(command: Command): readonly Entry[] {
    const decision = this.do(command)
    if (!decision.ok) throw new Error(`${decision.error.code}: ${decision.error.message}`)
    return decision.value.entries
  }

  /** The code with which the command is refused; null if it is accepted. */
  refusal(command: Command): RefusalCode | null {
    const decision = this.do(command)
    if (decision.ok) return null
    const { code, message } = decision.error
    // Whoever is refused is told what is wrong, whatever the test asks about.
    if (!/^\S+ \S+ /u.test(message)) throw new Error(`${code} has no words: \`${message}\``)
    return code
  }

  pass(seconds: number): void {
    this.now += seconds * SECOND
  }

  /** A number that was not drawn before. */
  draw(): number {
    this.#drawn += 1
    return this.#drawn
  }

  run(id: RunId = ROOT): Run {
    return this.tree.runs.get(id)!
  }

  lease(id: RunId = ROOT): Lease {
    return this.run(id).lease!
  }

  of<T extends EntryType>(type: T): EntryOf<T>[] {
    return this.entries.filter((entry): entry is EntryOf<T> => entry.type === type)
  }

  authorize(action: string, options: CallOptions = {}): CommandOf<'authorize'> {
    const id = this.draw()
    return {
      do: 'authorize',
      run: options.run ?? ROOT,
      call: options.call ?? `call_${id}`,
      key: options.key ?? `key:${id}`,
      ask: `ask_${id}`,
      facts: factsOf(action, options.facts),
      executor: 'executor',
      deadlineSeconds: 60,
    }
  }

  /** The answer to a call. */
  call(action: string, options: CallOptions = {}): Reply {
    const decision = this.do(this.authorize(action, options))
    if (!decision.ok) throw new Error(decision.error.code)
    return decision.value.reply
  }

  /** The id of a call that must be allowed. */
  allowed(action: string, options: CallOptions = {}): CallId {
    const reply = this.call(action, options)
    if (reply.kind !== 'allow') throw new Error(`not allowed: ${JSON.stringify(reply)}`)
    return reply.call
  }

  /** The reason of a call that must be denied. */
  denied(action: string, options: CallOptions = {}): string {
    const reply = this.call(action, options)
    if (reply.kind !== 'deny') throw new Error(`not denied: ${reply.kind}`)
    return reply.reason
  }

  /** The ask that a call must need. */
  asked(action: string, options: CallOptions = {}): AskId {
    const reply = this.call(action, options)
    if (reply.kind !== 'ask') throw new Error(`not asked: ${JSON.stringify(reply)}`)
    return reply.ask
  }

  settle(
    call: CallId,
    outcome: CommandOf<'settle'>['outcome'] = 'succeeded',
    usd: string | null = null,
  ): readonly Entry[] {
    return this.must({ do: 'settle', call, outcome, resultDigest: null, usd, note: null })
  }

  callState(call: CallId): Call['state'] {
    return this.tree.calls.get(call)!.state
  }

  approveCall(ask: AskId, by: CommandOf<'approve_call'>['by'] = APPROVER): readonly Entry[] {
    return this.must(this.approval(ask, by))
  }

  approval(ask: AskId, by: CommandOf<'approve_call'>['by'] = APPROVER): CommandOf<'approve_call'> {
    const { binding } = this.tree.asks.get(ask)!
    return { do: 'approve_call', ask, by, binding, proof: null }
  }

  delegation(
    run: RunId,
    terms: Partial<Terms>,
    parent: RunId = ROOT,
    more: Partial<CommandOf<'delegate'>> = {},
  ): CommandOf<'delegate'> {
    const lease: LeaseId = `lease_${run}`
    const narrower = { ...this.lease(parent).terms, delegate: null, ...terms }
    const asked = { promptHash: HASH, envelope: ENVELOPE, rule: RULE }
    return { do: 'delegate', parent, run, lease, terms: narrower, ...asked, ...more }
  }

  escalation(
    wants: readonly Grant[],
    options: { run?: RunId; calls?: number; seconds?: number } = {},
  ): CommandOf<'escalate'> {
    const escalation: EscalationId = `esc_${this.draw()}`
    const { run = ROOT, calls = 0, seconds = 0 } = options
    const more = { calls, seconds }
    return { do: 'escalate', run, escalation, wants, more, words: 'please', answerSeconds: 600 }
  }

  /** The yes to all that the engine offered. */
  amendment(escalation: EscalationId): CommandOf<'amend'> {
    const { offer, more } = this.tree.escalations.get(escalation)!.dossier
    return { do: 'amend', escalation, by: APPROVER, offer, more, proof: null }
  }
}

export interface LeaseOptions {
  readonly rule?: CommandOf<'request'>['rule']
}

export const OPEN: CommandOf<'open'> = {
  do: 'open',
  org: 'org',
  tree: 'tree_1',
  run: ROOT,
  rules: 1,
  envelope: ENVELOPE,
}

/** A tree whose root asks for a lease with these terms. */
export function requested(terms: Partial<Terms> = {}, options: LeaseOptions = {}): Book {
  const book = new Book()
  book.must(OPEN)
  const rule = options.rule ?? RULE
  const lease = { run: ROOT, lease: 'lease_root', terms: { ...TERMS, ...terms } } as const
  book.must({ do: 'request', ...lease, promptHash: HASH, rule })
  return book
}

export const APPROVE: CommandOf<'approve'> = {
  do: 'approve',
  run: ROOT,
  by: APPROVER,
  promptHash: HASH,
  proof: null,
}

/** A tree whose root has an active lease with these terms. */
export function active(terms: Partial<Terms> = {}, options: LeaseOptions = {}): Book {
  const book = requested(terms, options)
  book.must(APPROVE)
  return book
}

/** What no store may have changed: a copy as JSON gives it, with members in the order of names. */
export function sortedCopy<T>(value: T): T {
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map(sortedCopy) as T
  const members = Object.entries(value).sort(([left], [right]) => (left < right ? -1 : 1))
  return Object.fromEntries(members.map(([name, member]) => [name, sortedCopy(member)])) as T
}

/** Entries as golden files have them: sorted members, one entry a line. */
export function sortedJson(entries: readonly Entry[]): string {
  return `[\n${entries.map((entry) => JSON.stringify(sortedCopy(entry))).join(',\n')}\n]\n`
}
