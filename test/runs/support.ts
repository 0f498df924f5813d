import { hash } from 'node:crypto'
import type { Command } from '../../src/core/command.ts'
import type { Reply } from '../../src/core/decision.ts'
import type { Entry } from '../../src/core/entry.ts'
import type { Facts } from '../../src/core/facts.ts'
import type { CallId, Instant, RunId, TreeId } from '../../src/core/id.ts'
import type { Terms } from '../../src/core/lease.ts'
import { RULES_VERSION } from '../../src/core/limits.ts'
import type { Refusal } from '../../src/core/reason.ts'
import type { Result } from '../../src/core/result.ts'
import { fromRows } from '../../src/ledger/chain.ts'
import { newId } from '../../src/runs/new-id.ts'
import { Runs } from '../../src/runs/runs.ts'
import type { Store, TreeKey } from '../../src/store/store.ts'

export const NOW: Instant = Date.parse('2026-06-23T01:42:00Z')
export const MAINTAINER = { person: 'mira@clord.example', via: 'terminal' } as const
const PROMPT_HASH = 'ab'.repeat(32)

/** A clock that stands still until a test moves it. */
export interface Clock {
  now: Instant
}

export function runsOf(store: Store, options: { clock?: Clock; executor?: string } = {}): Runs {
  const { clock, executor = newId('exec') } = options
  return new Runs({ store, clock: clock === undefined ? Date.now : () => clock.now, executor })
}

export function termsOf(more: Partial<Terms> = {}): Terms {
  return {
    version: 1,
    agent: 'repo-maintenance-agent',
    purpose: 'update dependency and open PR',
    user: 'mira@clord.example',
    grants: [{ actions: ['repo.read', 'repo.push'], resources: { repos: ['clord'] }, where: {} }],
    deny: [],
    ask: [],
    onExceed: 'deny',
    expiresInSeconds: 1800,
    notAfter: null,
    until: [],
    maxToolCalls: 30,
    limits: {},
    workSeconds: null,
    usd: null,
    delegate: null,
    requireReceipt: true,
    ceiling: null,
    approvers: null,
    labels: {},
    ...more,
  } as Terms
}

export function factsOf(action = 'repo.read', args: unknown = {}): Facts {
  const isRead = action === 'repo.read'
  const resources = { repos: ['clord'] }
  const effect = isRead ? 'read' : 'write'
  return {
    tool: `git.${action}`,
    definition: 'd'.repeat(64),
    status: 'mapped',
    touches: [{ action, effect, reversible: isRead, resources, within: {}, hosts: [] }],
    args: {},
    argsDigest: hash('sha256', JSON.stringify(args), 'hex'),
    usd: null,
    idempotent: false,
    fault: null,
    guardrail: null,
  }
}

export interface Opened extends TreeKey {
  readonly run: RunId
}

const envelope = {
  requester: 'mira@clord.example',
  agent: 'repo-maintenance-agent',
  purpose: 'update dependency and open PR',
  client: null,
}
const rule = { policy: null, approvers: null, self: true, answerSeconds: 300 }

/** A tree whose root has requested its lease; `approve` answers. */
export async function request(runs: Runs, terms: Terms = termsOf()): Promise<Opened> {
  const key = { org: 'clord', tree: newId('tree') as TreeId }
  const run = newId('run') as RunId
  must(await runs.execute(key, { do: 'open', ...key, run, rules: RULES_VERSION, envelope }))
  const lease = newId('lease') as never
  must(await runs.execute(key, { do: 'request', run, lease, terms, promptHash: PROMPT_HASH, rule }))
  return { ...key, run }
}

export async function openRun(runs: Runs, more: Partial<Terms> = {}): Promise<Opened> {
  const opened = await request(runs, termsOf(more))
  must(await runs.execute(opened, approval(opened)))
  return opened
}

export function approval({ run }: Opened): Command {
  return { do: 'approve', run, by: MAINTAINER, promptHash: PROMPT_HASH, proof: null }
}

export function authorize(
  runs: Runs,
  { run }: { run: RunId },
  more: { facts?: Facts; key?: string; call?: CallId; deadlineSeconds?: number } = {},
): Extract<Command, { do: 'authorize' }> {
  return {
    do: 'authorize',
    run,
    call: more.call ?? (newId('call') as CallId),
    key: more.key ?? `once:${newId('key')}`,
    ask: newId('ask') as never,
    facts: more.facts ?? factsOf(),
    executor: runs.executor,
    deadlineSeconds: more.deadlineSeconds ?? 600,
  }
}

export function settle(call: CallId, outcome: 'succeeded' | 'failed' | 'unknown' = 'succeeded') {
  return { do: 'settle', call, outcome, resultDigest: null, usd: null, note: null } as const
}

export function revoke(run: RunId): Command {
  return { do: 'revoke', run, by: MAINTAINER, reason: 'stop' }
}

export function must(result: Result<Reply, Refusal>): Reply {
  if (!result.ok) throw new Error(`${result.error.code}: ${result.error.message}`)
  return result.value
}

export function kindOf(result: Result<Reply, Refusal>): string {
  if (!result.ok) return result.error.code
  return result.value.kind === 'deny' ? result.value.reason : result.value.kind
}

/** Everything that is stored of a tree, with its chain checked. */
export async function ledgerOf(store: Store, { org, tree }: TreeKey): Promise<Entry[]> {
  const read = fromRows(await store.load({ org, tree }, 0))
  if (!read.ok) throw new Error(read.error.message)
  return read.value
}

export function countOf(entries: readonly Entry[], type: Entry['type']): number {
  return entries.filter((entry) => entry.type === type).length
}
