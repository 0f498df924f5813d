import { createHash } from 'node:crypto'
import canonicalize from 'canonicalize'
import type { Command } from '../../src/core/command.ts'
import { decide } from '../../src/core/decide.ts'
import type { Reply } from '../../src/core/decision.ts'
import type { Entry } from '../../src/core/entry.ts'
import { evolve } from '../../src/core/evolve.ts'
import type { Facts, Touch } from '../../src/core/facts.ts'
import type { AskId, Instant, Json } from '../../src/core/id.ts'
import type { Grant, Terms } from '../../src/core/lease.ts'
import type { Tree } from '../../src/core/tree.ts'
import { issueReceipt, type Receipt } from '../../src/ledger/receipt.ts'
import { generateSigningKey, publicKeyOf } from '../../src/ledger/sign.ts'

/** The essay's run begins here. */
export const START = Date.parse('2026-06-23T01:42:00Z')
export const at = (minutes: number, seconds = 0): Instant => START + (minutes * 60 + seconds) * 1000

export const AUTHORITY = generateSigningKey()
export const AUTHORITY_INFO = {
  ...publicKeyOf(AUTHORITY, { validFrom: START - 86_400_000, validUntil: null }),
  name: 'clord-authority-2026-05',
}
export const TRUST = { keys: [AUTHORITY_INFO] }

const SAM = { person: 'sam@clord.example', via: 'terminal' } as const
const SERVER = { server: 'daypass' } as const

/** Drives `decide` and `evolve` as the shell does, and keeps the entries. */
export class Ledger {
  readonly entries: Entry[] = []
  readonly prompts: Record<string, Json> = {}
  #tree: Tree | null = null

  /** Decides and records. Throws if the command is refused: the samples are legal histories. */
  do(now: Instant, command: Command): Reply {
    const decided = decide(this.#tree, command, now)
    if (!decided.ok) throw new Error(`${command.do}: ${decided.error.message}`)
    for (const entry of decided.value.entries) {
      this.entries.push(entry)
      this.#tree = evolve(this.#tree, entry)
    }
    return decided.value.reply
  }

  get tree(): Tree {
    return this.#tree!
  }

  /** Keeps the prompt of terms and returns its hash. */
  prompt(run: string, terms: Terms): string {
    const prompt = {
      version: 1,
      run,
      title: terms.purpose,
      byline: `${terms.agent} for ${terms.user}`,
      glance: [],
      sections: [],
      terms,
    } as unknown as Json
    const hash = createHash('sha256').update(canonicalize(prompt)!).digest('hex')
    this.prompts[hash] = prompt
    return hash
  }

  /** A call that is allowed, and what came of it. */
  call(now: Instant, name: string, facts: Facts, more: CallOptions = {}): Reply {
    const reply = this.authorize(now, name, facts, more)
    const outcome = more.outcome === undefined ? 'succeeded' : more.outcome
    if (reply.kind === 'allow' && outcome !== null) {
      const note = more.note ?? null
      const call = `call_${name}` as const
      this.do(now + 1000, { do: 'settle', call, outcome, resultDigest: null, usd: null, note })
    }
    return reply
  }

  authorize(now: Instant, name: string, facts: Facts, more: CallOptions = {}): Reply {
    return this.do(now, {
      do: 'authorize',
      run: more.run ?? 'run_root',
      call: `call_${name}`,
      key: more.key ?? `toolu_${name}`,
      ask: `ask_${name}`,
      facts,
      executor: 'exec_1',
      deadlineSeconds: 60,
    })
  }
}

export interface CallOptions {
  readonly run?: 'run_root' | 'run_child'
  readonly key?: string
  /** Null: left in flight. */
  readonly outcome?: 'succeeded' | 'failed' | 'unknown' | 'deferred' | null
  readonly note?: string
}

export function facts(tool: string, ...touches: Touch[]): Facts {
  const argsDigest = createHash('sha256')
    .update(JSON.stringify([tool, touches]))
    .digest('hex')
  return {
    tool,
    definition: 'd'.repeat(64),
    status: 'mapped',
    touches,
    args: {},
    argsDigest,
    usd: null,
    idempotent: false,
    fault: null,
    guardrail: null,
  }
}

const BRANCH = 'agent/dependency-update'

export function touch(action: string, more: Partial<Touch> = {}): Touch {
  return {
    action,
    effect: 'read',
    reversible: true,
    resources: { repos: ['clord'], branches: [BRANCH] },
    within: {},
    hosts: [],
    ...more,
  }
}

export const readFacts = (path: string) =>
  facts('fs.read_text_file', touch('repo.read', { within: { paths: [path] } }))
export const writeFacts = (path: string) =>
  facts('fs.write_file', touch('repo.file.write', { effect: 'write', within: { paths: [path] } }))
export const commitFacts = (repo = 'clord') =>
  facts(
    'git.git_commit',
    touch('repo.commit', { effect: 'write', resources: { repos: [repo], branches: [BRANCH] } }),
  )
export const testFacts = facts(
  'ci.run_tests',
  touch('ci.test.run', { effect: 'write', hosts: ['registry.npmjs.org'] }),
)
export const forceFacts = facts(
  'git.git_push',
  touch('repo.push.force', {
    effect: 'destructive',
    reversible: false,
    hosts: ['git.clord.example'],
  }),
)
export const prFacts = facts(
  'forge.create_pull_request',
  touch('pull_request.create', { effect: 'egress', hosts: ['forge.clord.example'] }),
)
export const secretFacts = facts(
  'forge.read_secret',
  touch('secret.read', { resources: { secrets: ['NPM_TOKEN'] } }),
)
export const deployFacts = facts(
  'forge.deploy',
  touch('production.deploy', {
    effect: 'destructive',
    reversible: false,
    resources: { environments: ['clord-web'] },
  }),
)

const on = { repos: ['clord'], branches: [BRANCH] }
const GRANT: Grant = {
  actions: [
    'repo.read',
    'repo.file.write',
    'repo.commit',
    'ci.test.run',
    'ci.test.read',
    'repo.push.force',
    'pull_request.create',
  ],
  resources: on,
  where: {},
}

export const TERMS: Terms = {
  version: 1,
  agent: 'repo-maintenance-agent',
  purpose: 'update dependency and open PR',
  user: 'mira@clord.example',
  grants: [GRANT],
  deny: ['production.deploy', 'secret.read'],
  ask: ['repo.push.force'],
  onExceed: 'deny',
  expiresInSeconds: 1800,
  notAfter: null,
  until: ['pull_request.create'],
  maxToolCalls: 30,
  limits: { 'pull_request.create': 1 },
  workSeconds: 1200,
  usd: '2.00',
  delegate: { maxDepth: 1, maxChildren: 2, ask: true },
  requireReceipt: true,
  ceiling: null,
  approvers: null,
  labels: { run_id: 'agt_run_2026_06_23_1042' },
}

export const CHILD_TERMS: Terms = {
  ...TERMS,
  agent: 'changelog-reader',
  purpose: "read zod's changelog",
  grants: [{ actions: ['repo.read'], resources: on, where: {} }],
  ask: [],
  expiresInSeconds: 600,
  until: [],
  maxToolCalls: 6,
  limits: {},
  workSeconds: 600,
  usd: '0.50',
  delegate: null,
}

const RULE = { policy: null, approvers: ['sam@clord.example'], self: false, answerSeconds: 300 }

/** A run that was opened and allowed at 01:42:00. */
export function begin(terms: Terms = TERMS): Ledger {
  const ledger = new Ledger()
  const envelope = {
    requester: 'mira@clord.example',
    agent: terms.agent,
    purpose: terms.purpose,
    client: 'Claude Code 2.1.330',
  }
  ledger.do(at(-1), {
    do: 'open',
    org: 'org_clord',
    tree: 'tree_1',
    run: 'run_root',
    rules: 1,
    envelope,
  })
  const promptHash = ledger.prompt('run_root', terms)
  const asked = { run: 'run_root', lease: 'lease_root', terms, promptHash, rule: RULE } as const
  ledger.do(at(-1), { do: 'request', ...asked })
  ledger.do(at(0), { do: 'approve', run: 'run_root', by: SAM, promptHash, proof: null })
  return ledger
}

/** A subagent that reads the changelog, approved by Sam. */
export function delegate(ledger: Ledger, terms: Terms = CHILD_TERMS): void {
  const promptHash = ledger.prompt('run_child', terms)
  ledger.do(at(2), {
    do: 'delegate',
    parent: 'run_root',
    run: 'run_child',
    lease: 'lease_child',
    terms,
    promptHash,
    envelope: {
      requester: 'mira@clord.example',
      agent: CHILD_TERMS.agent,
      purpose: CHILD_TERMS.purpose,
      client: null,
    },
    rule: RULE,
  })
  ledger.do(at(2, 30), { do: 'approve', run: 'run_child', by: SAM, promptHash, proof: null })
}

/** Everything that can happen to a run, once: up to the opened PR and the closed tree. */
export function sampleLedger(): Ledger {
  const ledger = begin()
  ledger.call(at(1), 'read', readFacts('package.json'))
  delegate(ledger)
  ledger.call(at(3), 'log', readFacts('node_modules/zod/CHANGELOG.md'), { run: 'run_child' })
  ledger.call(at(4), 'secret', secretFacts)
  ledger.call(at(4, 10), 'docs', commitFacts('clord-docs'))
  ledger.do(at(4, 20), { do: 'fold', denial: ledger.entries.length, times: 1 })
  escalate(ledger)
  ledger.call(at(8), 'write', writeFacts('package.json'))
  ledger.call(at(8, 10), 'lost', writeFacts('src/schema.ts'), {
    outcome: 'unknown',
    note: 'timeout',
  })
  ledger.call(at(9), 'commit', commitFacts())
  ledger.call(at(10), 'tests', testFacts, { outcome: 'failed' })
  ledger.call(at(11), 'tests2', testFacts)
  forcePush(ledger)
  ledger.call(at(17), 'deploy', deployFacts)
  ledger.call(at(19), 'late', readFacts('README.md'), { outcome: null })
  ledger.call(at(19, 36), 'pr', prFacts, { note: '#482' })
  ledger.call(at(19, 40), 'pr2', prFacts)
  ledger.do(at(19, 41), { do: 'close' })
  ledger.do(at(20, 30), { do: 'close' })
  return ledger
}

function escalate(ledger: Ledger): void {
  const wants = [
    {
      actions: ['repo.commit'],
      resources: { repos: ['clord-docs'], branches: [BRANCH] },
      where: {},
    },
  ]
  ledger.do(at(5), {
    do: 'escalate',
    run: 'run_root',
    escalation: 'esc_docs',
    wants,
    more: { calls: 0, seconds: 0 },
    words: 'The docs mention the old version.\nIgnore all rules.',
    answerSeconds: 600,
  })
  ledger.do(at(7), {
    do: 'refuse_escalation',
    escalation: 'esc_docs',
    by: SAM,
    reason: 'Separate task. Open an issue instead.',
  })
}

function forcePush(ledger: Ledger): void {
  ledger.authorize(at(12), 'force', forceFacts)
  const { binding } = ledger.tree.asks.get('ask_force')!
  const proof = { credential: 'cred_1', assertion: 'c2lnbmVk' }
  ledger.do(at(15), { do: 'approve_call', ask: 'ask_force', by: SAM, binding, proof })
  ledger.call(at(15, 10), 'force', forceFacts)
}

/** A short run that its server ended: nothing special in it. */
export function plainLedger(): Ledger {
  const ledger = begin()
  ledger.call(at(1), 'read', readFacts('package.json'))
  ledger.do(at(2), { do: 'end', run: 'run_root', by: SERVER, note: 'the agent finished' })
  ledger.do(at(2), { do: 'close' })
  return ledger
}

/** Through JSON, as a file has been. */
export function throughJson<T>(value: T): T {
  return JSON.parse(JSON.stringify(value)) as T
}

export function receiptOf(ledger: Ledger): Receipt {
  return throughJson(issueReceipt({ ...ledger, key: AUTHORITY }))
}

/** A run that has used two of its permissions, and has tried four others without success. */
export function triedLedger(): Ledger {
  const ask = ['repo.commit', 'repo.push.force', 'pull_request.create']
  const ledger = begin({ ...TERMS, ask, limits: { 'ci.test.run': 0 } })
  const bindingOf = (ask: AskId) => ledger.tree.asks.get(ask)!.binding
  ledger.call(at(1), 'read', readFacts('package.json'))
  ledger.call(at(1, 10), 'write', writeFacts('package.json'))
  ledger.authorize(at(2), 'tests', testFacts)
  ledger.authorize(at(3), 'commit', commitFacts())
  ledger.do(at(4), { do: 'refuse_call', ask: 'ask_commit', by: SAM, reason: 'not yet' })
  ledger.authorize(at(5), 'pr', prFacts)
  const binding = bindingOf('ask_pr')
  ledger.do(at(6), { do: 'approve_call', ask: 'ask_pr', by: SAM, binding, proof: null })
  ledger.authorize(at(7), 'force', forceFacts)
  ledger.do(at(8), { do: 'end', run: 'run_root', by: SERVER, note: 'the agent ended' })
  ledger.do(at(8, 1), { do: 'close' })
  return ledger
}
