import { canonicalJson } from '../core/canonical-json.ts'
import type { ApprovalRule, Envelope } from '../core/command.ts'
import type { Instant, RunId } from '../core/id.ts'
import type { Terms } from '../core/lease.ts'
import type { Refusal } from '../core/reason.ts'
import { err, ok, type Result } from '../core/result.ts'
import type { Run } from '../core/tree.ts'
import type { Vocabulary } from '../core/vocabulary.ts'
import { formatDuration } from '../lease-file/duration.ts'
import type { LeaseLimits } from '../lease-file/limits.ts'
import { parseLease } from '../lease-file/parse.ts'
import type { Problem } from '../lease-file/problem.ts'
import { promptOf } from '../lease-file/prompt.ts'
import type { Authority, OpenRun } from './authority.ts'

/** Under this label, terms say who delegated; the prompt shows it. No document can claim it. */
export const DELEGATOR_LABEL = 'delegated_by'

export interface DelegationParts {
  /** Of the parent's organisation. */
  readonly authority: Authority
  readonly vocabulary: Vocabulary
  readonly hosts: Readonly<Record<string, readonly string[]>>
  readonly limits: LeaseLimits
  readonly clock: () => Instant
}

/** The fields of a lease file under `lease:`, as JSON of untrusted origin. */
export type LeaseFields = Readonly<Record<string, unknown>>

/**
 * Opens a run below another with a narrower lease. Who asks has proven to be the parent's agent.
 *
 * What restricts the parent restricts the child without being repeated: denials, asks, the ceiling,
 * a fixed end. What is counted is not inherited: a child gets its calls and money by name, out of
 * what the parent has left. A wider lease is refused with the dimension that was wider.
 *
 * A person approves the child where the parent's lease says so, by the parent's rule; no policy
 * does. The calls of any child that destroy, leave data elsewhere or can't be undone ask each time,
 * whatever its lease says (`judge`).
 */
export async function delegate(
  parts: DelegationParts,
  asked: { readonly parent: RunId; readonly lease: LeaseFields },
): Promise<Result<OpenRun, Refusal>> {
  const { authority, vocabulary, hosts } = parts
  const found = await authority.find(asked.parent)
  const parent = found?.run
  if (found === null || parent?.lease == null) {
    return err({ code: 'run_unknown', message: `no run ${asked.parent} with a lease here` })
  }
  const read = childTerms(asked.lease, parent, parts)
  if (!read.ok) return read
  const { terms, warnings } = read.value
  const pending = await pendingChild(authority, found, terms)
  if (pending !== null) return ok(pending)
  const { requester } = parent.envelope
  const { agent, purpose } = terms
  const context = { vocabulary, hosts, requester, agent, client: null, warnings }
  const envelope: Envelope = { requester, agent, purpose, client: null }
  return authority.delegate({
    parent: parent.id,
    terms,
    prompt: (run) => promptOf(terms, { ...context, run, outside: 'not_watched' }),
    envelope,
    rule: childRule(parent.lease.rule),
  })
}

/**
 * A subagent with these very terms that waits for a person. Whoever repeats the request joins it:
 * nobody is asked twice.
 */
async function pendingChild(
  authority: Authority,
  { key, tree, run }: NonNullable<Awaited<ReturnType<Authority['find']>>>,
  terms: Terms,
): Promise<OpenRun | null> {
  const same = canonicalJson(terms as never)
  for (const id of run.children) {
    const lease = tree.runs.get(id)!.lease!
    if (lease.state !== 'requested' || canonicalJson(lease.terms as never) !== same) continue
    const prompt = await authority.prompt(lease.promptHash)
    if (prompt !== null) return { ...key, run: id, prompt, promptHash: lease.promptHash }
  }
  return null
}

/** As strict as the parent's, and more: nobody has written a policy about subagents. */
function childRule(rule: ApprovalRule): ApprovalRule {
  return { ...rule, policy: null }
}

function childTerms(
  lease: LeaseFields,
  parent: Run,
  { vocabulary, limits, clock }: DelegationParts,
): Result<{ terms: Terms; warnings: readonly Problem[] }, Refusal> {
  const above = parent.lease!.terms
  const fields = { ...defaultsFrom(above), ...lease }
  // JSON is YAML, so the one reader of leases reads it, with its limits.
  const text = JSON.stringify({ lease: fields })
  const parsed = parseLease(text, { file: 'lease', vocabulary, limits, now: clock() })
  if (parsed.terms === null) {
    const wrong = parsed.problems.find(({ severity }) => severity === 'error')
    const hint = wrong === undefined || wrong.hint === '' ? '' : `; ${wrong.hint}`
    const message = `${wrong?.message ?? 'this is not a lease'}${hint}`
    return err({ code: 'malformed', message })
  }
  const terms = restrictedBy(above, parsed.terms)
  const labels = { ...terms.labels, [DELEGATOR_LABEL]: `${parent.envelope.agent}, ${parent.id}` }
  return ok({ terms: { ...terms, labels }, warnings: parsed.problems })
}

/** What a child's lease need not say. Its task, its actions and its budget it must. */
function defaultsFrom({ agent, user, expiresInSeconds, onExceed }: Terms): LeaseFields {
  return {
    agent,
    user,
    expires_in: formatDuration(expiresInSeconds),
    // A run that stops where it exceeds its task has no subagent that goes on.
    on_exceed: onExceed === 'suspend' ? 'suspend' : 'deny',
  }
}

/** INVARIANT: every line takes away or keeps; none gives. */
function restrictedBy(above: Terms, terms: Terms): Terms {
  const both = (one: readonly string[], other: readonly string[]) => [
    ...new Set([...one, ...other]),
  ]
  const ends = [above.notAfter, terms.notAfter].filter((each) => each !== null)
  return {
    ...terms,
    deny: both(terms.deny, above.deny),
    ask: both(terms.ask, above.ask),
    ceiling: terms.ceiling ?? above.ceiling,
    notAfter: ends.length === 0 ? null : Math.min(...ends),
    requireReceipt: terms.requireReceipt || above.requireReceipt,
  }
}
