import type { ApprovalRule, Envelope } from '../core/command.ts'
import type { OrgId, RunId } from '../core/id.ts'
import type { Terms } from '../core/lease.ts'
import type { Refusal } from '../core/reason.ts'
import { err, ok, type Result } from '../core/result.ts'
import type { Vocabulary } from '../core/vocabulary.ts'
import type { Problem } from '../lease-file/problem.ts'
import { promptOf } from '../lease-file/prompt.ts'
import { TEMPLATE_LABEL } from '../runs/locks.ts'
import type { Authority, OpenRun, RunRequest } from './authority.ts'
import type { Caller, Role } from './caller.ts'

export { TEMPLATE_LABEL }

/** How a request may be answered, as the configuration says; in words if it may not be made. */
export type RuleFor = (request: {
  readonly terms: Terms
  readonly requester: string
  readonly roles: ReadonlySet<Role>
  readonly template: string | null
  readonly org: OrgId
}) => Result<ApprovalRule, string>

export interface RequestParts {
  /** Of the caller's organisation. */
  readonly authority: Authority
  readonly vocabulary: Vocabulary
  /** Action → hosts, as the prompt shows them. */
  readonly hosts: Readonly<Record<string, readonly string[]>>
  readonly ruleFor: RuleFor
}

export interface AskedRun {
  /** Who asks: the requester of the run. An agent cannot open a run. */
  readonly caller: Exclude<Caller, { kind: 'agent' }>
  readonly terms: Terms
  /** The template that the terms come from, however narrowed; null: a document of its own. */
  readonly template: string | null
  /** What runs; null: the agent that the terms name. */
  readonly agent: string | null
  /** The client program, as it names itself. Shown, never judged. */
  readonly client: string | null
  /** What the prompt warns of. */
  readonly warnings: readonly Problem[]
}

/**
 * Opens a run and requests its lease: prompt, envelope and rule, the same for the terminal, the API
 * and the consent page. Nobody has said yes yet; see `approveByPolicy`.
 */
export async function requestRun(
  parts: RequestParts,
  asked: AskedRun,
): Promise<Result<OpenRun, Refusal>> {
  const drafted = draftRun(parts, asked)
  return drafted.ok ? parts.authority.open(drafted.value) : drafted
}

/** What `requestRun` would open: a page shows its prompt before anything is opened. */
export function draftRun(
  { authority, vocabulary, hosts, ruleFor }: RequestParts,
  { caller, template, client, warnings, ...asked }: AskedRun,
): Result<RunRequest, Refusal> {
  const requester = caller.kind === 'person' ? caller.person : caller.client
  const { [TEMPLATE_LABEL]: _, ...labels } = asked.terms.labels
  const terms: Terms = {
    ...asked.terms,
    // Bulk revocation finds runs by it, so no document can claim it.
    labels: template === null ? labels : { ...labels, [TEMPLATE_LABEL]: template },
  }
  const agent = asked.agent ?? terms.agent
  const rule = ruleFor({ terms, requester, roles: caller.roles, template, org: authority.org })
  if (!rule.ok) return err({ code: 'policy_not_allowed', message: rule.error })
  const context = { requester, agent, client, hosts, warnings, vocabulary }
  const prompt = (run: RunId) => promptOf(terms, { ...context, run, outside: 'not_watched' })
  const envelope: Envelope = { requester, agent, purpose: terms.purpose, client }
  return ok({ terms, prompt, envelope, rule: rule.value })
}

/** Approves what a policy may approve. False: a person must say yes. */
export async function approveByPolicy(
  authority: Authority,
  { run, promptHash }: OpenRun,
): Promise<Result<boolean, Refusal>> {
  const lease = (await authority.find(run))?.run.lease
  const policy = lease?.rule.policy ?? null
  if (lease == null || policy === null || lease.terms.approvers !== null) return ok(false)
  const approved = await authority.approve(run, { by: { policy }, promptHash })
  return approved.ok ? ok(true) : approved
}
