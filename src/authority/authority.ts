import type { Actor, ApprovalRule, Command, Envelope } from '../core/command.ts'
import type { Of } from '../core/decision.ts'
import type { Entry } from '../core/entry.ts'
import type { Instant, Json, OrgId, RunId, TreeId } from '../core/id.ts'
import type { Terms } from '../core/lease.ts'
import { RULES_VERSION } from '../core/limits.ts'
import type { Refusal } from '../core/reason.ts'
import { err, ok, type Result } from '../core/result.ts'
import type { Run, Tree } from '../core/tree.ts'
import { formatDuration } from '../lease-file/duration.ts'
import { type Prompt, promptHash } from '../lease-file/prompt.ts'
import { fromRows } from '../ledger/chain.ts'
import { issueReceipt, type Receipt } from '../ledger/receipt.ts'
import { templateOf } from '../runs/locks.ts'
import { newId } from '../runs/new-id.ts'
import type { Runs } from '../runs/runs.ts'
import type { Store, TreeKey } from '../store/store.ts'
import { BadgeOffice, BEARER, type Holder, type IssuedBadge } from './badges.ts'
import type { Keys } from './keys.ts'
import type { Policy } from './policy.ts'
import type { TokenBuckets } from './rates.ts'

export interface RunRequest {
  /** Drawn by who has shown the prompt already; absent: drawn here. */
  readonly run?: RunId
  readonly terms: Terms
  /** The prompt for a run; composed once the run's id is known. */
  readonly prompt: (run: RunId) => Prompt
  readonly envelope: Envelope
  readonly rule: ApprovalRule
}

export interface OpenRun extends TreeKey {
  readonly run: RunId
  readonly prompt: Prompt
  readonly promptHash: string
}

/** A run as lists show it. */
export interface RunSummary {
  readonly run: RunId
  readonly tree: TreeId
  readonly openedAt: Instant
  readonly closedAt: Instant | null
}

/**
 * Issues leases and badges, and answers for them: opens runs, takes answers, ends runs, hands out
 * receipts. Everything goes through `Runs`; nothing here judges.
 */
export class Authority {
  readonly org: OrgId
  readonly #runs: Runs
  readonly #store: Store
  readonly #keys: Keys
  readonly #badges: BadgeOffice
  readonly #leaseSecondsMax: number
  readonly #mayAdd: Policy['mayAdd']
  readonly #promptRates: TokenBuckets | null

  constructor(options: {
    org: OrgId
    runs: Runs
    store: Store
    keys: Keys
    clock: () => Instant
    /** Issuer and audience: one URL serves both. */
    issuer: () => string
    /** The longest life of a lease, amendments included. */
    leaseSecondsMax: number
    /** What the configuration says to what an amendment adds. */
    mayAdd: Policy['mayAdd']
    /** How often one requester may put a prompt before people; absent: as they like. */
    prompts?: TokenBuckets
  }) {
    this.org = options.org
    this.#runs = options.runs
    this.#store = options.store
    this.#keys = options.keys
    this.#badges = new BadgeOffice(options)
    this.#leaseSecondsMax = options.leaseSecondsMax
    this.#mayAdd = options.mayAdd
    this.#promptRates = options.prompts ?? null
  }

  /** Opens a run and requests its lease. Nobody has said yes yet. */
  async open(request: RunRequest): Promise<Result<OpenRun, Refusal>> {
    const wait = this.#waitFor(request)
    if (wait > 0) {
      const message = `too many requests that need a person; ask again in ${wait} s`
      return err({ code: 'too_many_requests', message })
    }
    const key = { org: this.org, tree: newId('tree') }
    const run = request.run ?? newId('run')
    const prompt = request.prompt(run)
    const hash = promptHash(prompt)
    await this.#keepPrompt(hash, prompt)
    const { envelope, terms, rule } = request
    // In one tick, so that one append holds both: no crash leaves a run without its request.
    const [opened, requested] = await Promise.all([
      this.#runs.execute(key, { do: 'open', ...key, run, rules: RULES_VERSION, envelope }),
      this.#runs.execute(key, {
        do: 'request',
        run,
        lease: newId('lease'),
        terms,
        promptHash: hash,
        rule,
      }),
    ])
    if (!opened.ok) return opened
    if (!requested.ok) {
      const note = 'its lease could not be requested'
      await this.#runs.execute(key, { do: 'end', run, by: { server: 'daypass' }, note })
      return requested
    }
    return ok({ ...key, run, prompt, promptHash: hash })
  }

  /** Opens a run below another. Its lease is active at once, unless the parent's asks a person. */
  async delegate(
    request: RunRequest & { readonly parent: RunId },
  ): Promise<Result<OpenRun, Refusal>> {
    const { parent, envelope, terms, rule } = request
    const key = await this.#runs.find(this.org, parent)
    if (key === null) return unknown(parent)
    const run = request.run ?? newId('run')
    const prompt = request.prompt(run)
    const hash = promptHash(prompt)
    await this.#keepPrompt(hash, prompt)
    const reply = await this.#runs.execute(key, {
      ...{ do: 'delegate', parent, run, lease: newId('lease') },
      ...{ terms, promptHash: hash, envelope, rule },
    })
    return reply.ok ? ok({ ...key, run, prompt, promptHash: hash }) : reply
  }

  /** The badge of a run whose lease is active, for whoever has it. */
  async badge(run: RunId): Promise<Result<string, Refusal>> {
    const issued = await this.badgeFor(run, BEARER)
    return issued.ok ? ok(issued.value.token) : issued
  }

  /** The badge of a run whose lease is active, made out to a client or a key. */
  async badgeFor(run: RunId, holder: Holder): Promise<Result<IssuedBadge, Refusal>> {
    const found = await this.find(run)
    return found === null ? unknown(run) : this.#badges.issue(found.tree, found.run, holder)
  }

  /** A person who is asked too often stops reading: after how many seconds to ask (threat 71). */
  #waitFor({ rule, terms, envelope }: RunRequest): number {
    if (rule.policy !== null && terms.approvers === null) return 0
    return this.#promptRates?.take(`${this.org} ${envelope.requester}`) ?? 0
  }

  /** A command about a run, in the tree that it belongs to. */
  async command(run: RunId, command: Command): Promise<Result<void, Refusal>> {
    const key = await this.#runs.find(this.org, run)
    if (key === null) return unknown(run)
    if (command.do === 'amend') {
      const tree = await this.#runs.tree(key).read()
      const refusal = this.#tooLong(tree, command) ?? this.#notAllowed(tree, command)
      if (refusal !== null) return err(refusal)
    }
    const reply = await this.#runs.execute(key, command)
    return reply.ok ? ok(undefined) : reply
  }

  /**
   * Why an amendment would let a lease live longer than any lease may; null if it would not. Two at
   * once can pass together: then the badge dies before the lease, which harms nobody but the agent.
   */
  #tooLong(tree: Tree | null, { escalation, more }: Of<'amend'>): Refusal | null {
    const run = tree?.escalations.get(escalation)?.run
    const lease = run === undefined ? null : tree!.runs.get(run)!.lease
    // The core has an answer for an escalation that there is not, and for a count that is none.
    if (lease == null || more.seconds === 0) return null
    const secondsMax = Math.min(this.#leaseSecondsMax, lease.rule.lifeSecondsMax ?? Infinity)
    const left = Math.max(0, secondsMax - lease.terms.expiresInSeconds)
    if (more.seconds <= left) return null
    const most = formatDuration(secondsMax)
    const message = `a lease lives at most ${most} here; at most ${left} seconds can be added`
    return { code: 'malformed', message }
  }

  /** Why the configuration does not let somebody add this to a lease; null if it does. */
  #notAllowed(tree: Tree | null, { escalation, offer, by }: Of<'amend'>): Refusal | null {
    const id = tree?.escalations.get(escalation)?.run
    const run = id === undefined ? null : tree!.runs.get(id)!
    if (run?.lease == null) return null
    const { terms } = run.lease
    const { requester } = run.envelope
    const to = { terms, requester, template: templateOf(run), org: this.org }
    const message = this.#mayAdd(offer, to, by)
    return message === null ? null : { code: 'not_an_approver', message }
  }

  approve(run: RunId, answer: { by: Actor; promptHash: string }): Promise<Result<void, Refusal>> {
    return this.command(run, { do: 'approve', run, proof: null, ...answer })
  }

  refuse(run: RunId, answer: { by: Actor; reason: string }): Promise<Result<void, Refusal>> {
    return this.command(run, { do: 'refuse', run, ...answer })
  }

  /** Resolves when no node can allow another call of this run. */
  revoke(run: RunId, answer: { by: Actor; reason: string }): Promise<Result<void, Refusal>> {
    return this.command(run, { do: 'revoke', run, ...answer })
  }

  end(run: RunId, answer: { by: Actor; note: string }): Promise<Result<void, Refusal>> {
    return this.command(run, { do: 'end', run, ...answer })
  }

  async find(id: RunId): Promise<{ key: TreeKey; tree: Tree; run: Run } | null> {
    const key = await this.#runs.find(this.org, id)
    if (key === null) return null
    const tree = await this.#runs.tree(key).read()
    const run = tree?.runs.get(id)
    return tree === null || run === undefined ? null : { key, tree, run }
  }

  /** The run trees of the organisation, newest first. */
  async list(options: { open: boolean; limit: number }): Promise<Tree[]> {
    const query = { org: this.org, limit: options.limit, ...(options.open ? { open: true } : {}) }
    const page = await this.#store.listTrees(query)
    const trees = await Promise.all(page.items.map((item) => this.#runs.tree(item).read()))
    return trees.filter((tree) => tree !== null)
  }

  async entries(key: TreeKey): Promise<Entry[]> {
    const read = fromRows(await this.#store.load(key, 0))
    if (!read.ok) throw new Error(`the ledger of ${key.tree} is damaged: ${read.error}`)
    return [...read.value]
  }

  /** Closes a run tree that has ended, and waits until its receipt is there. */
  async close(key: TreeKey): Promise<Receipt> {
    await this.#runs.close(key)
    const receipt = await this.receipt(key)
    if (receipt === null) throw new Error(`the receipt of ${key.tree} was not written`)
    return receipt
  }

  /** The signed receipt; null while the tree is not closed. Made when first asked for, and kept. */
  async receipt(key: TreeKey): Promise<Receipt | null> {
    const stored = await this.#store.getReceipt(key, 0)
    if (stored !== null) return JSON.parse(stored.body) as Receipt
    const entries = await this.entries(key)
    const closedAt = entries.findIndex((entry) => entry.type === 'tree.closed')
    if (closedAt < 0) return null
    const prompts = await this.#prompts(entries)
    const receipt = issueReceipt({
      entries: entries.slice(0, closedAt + 1),
      prompts,
      key: this.#keys.signing,
    })
    const body = JSON.stringify(receipt)
    await this.#store.putReceipt(key, { number: 0, at: entries[closedAt]!.at, body })
    await this.#store.dropResults(key)
    return receipt
  }

  async prompt(hash: string): Promise<Prompt | null> {
    const text = await this.#store.getSetting(this.org, `prompt:${hash}`)
    return text === null ? null : (JSON.parse(text) as Prompt)
  }

  async #keepPrompt(hash: string, prompt: Prompt): Promise<void> {
    const key = `prompt:${hash}`
    const value = JSON.stringify(prompt)
    // A conflict means that the very same prompt is there already.
    await this.#store.setSetting({ org: this.org, key, expected: null, value })
  }

  async #prompts(entries: readonly Entry[]): Promise<Record<string, Json>> {
    const prompts: Record<string, Json> = {}
    for (const entry of entries) {
      if (entry.type !== 'lease.requested' && entry.type !== 'run.delegated') continue
      const { promptHash: hash } = entry.command
      const prompt = await this.prompt(hash)
      if (prompt !== null) prompts[hash] = prompt as unknown as Json
    }
    return prompts
  }
}

function unknown(run: RunId): Result<never, Refusal> {
  return err({ code: 'run_unknown', message: `no run ${run} here; \`daypass ps\` lists them` })
}
