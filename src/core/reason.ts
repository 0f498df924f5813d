/**
 * Why a call is not allowed, in the order in which `decide` checks (SPEC, "Decision order"): the
 * first that applies wins. Keep the order; the table test walks it.
 */
export const REASONS = [
  // 1. the run is open
  'run_unknown',
  'tree_closed',
  // 2. the lease and every ancestor's is active and not expired
  'lease_requested',
  'lease_ended',
  'lease_expired',
  'lease_suspended',
  'ancestor_ended',
  'ancestor_expired',
  'ancestor_suspended',
  // 3. the tool is known, its definition the pinned one, the facts sound
  'tool_unknown',
  'tool_unmapped',
  'definition_changed',
  'facts_unsound',
  // 4. guardrails
  'guardrail_denied',
  // 5. denials of the whole chain
  'denied_by_lease',
  'denied_by_ancestor',
  // 6. a grant of the lease and of each ancestor permits
  'outside_ceiling',
  'no_grant',
  'resource_unresolved',
  'constraint_failed',
  'ancestor_no_grant',
  // 7. retry of a known call key
  'key_reused',
  'call_frozen',
  // 8. budget
  'calls_exhausted',
  'limit_reached',
  'work_exhausted',
  'usd_exhausted',
  'until_pending',
  // 9. asks
  'ask_refused',
  'asks_exhausted',
] as const

export type Reason = (typeof REASONS)[number]

/** Why a command other than `authorize` is refused. Nothing is recorded. */
export const REFUSALS = [
  'malformed',
  'already_open',
  'not_open',
  'run_unknown',
  'run_exists',
  'lease_not_requested',
  'lease_not_active',
  'lease_not_suspended',
  'lease_ended',
  'prompt_mismatch',
  'request_expired',
  'not_an_approver',
  'self_approval',
  'policy_not_allowed',
  'call_unknown',
  'id_taken',
  'call_not_in_flight',
  'call_not_unknown',
  'denial_unknown',
  'ask_unknown',
  'ask_not_pending',
  'ask_expired',
  'binding_mismatch',
  'cannot_delegate',
  'depth_exceeded',
  'too_many_children',
  'not_narrower',
  'budget_exceeds_parent',
  'nothing_denied',
  'escalation_unknown',
  'escalation_not_pending',
  'escalations_exhausted',
  'exceeds_ancestor',
  'denied_for_good',
  'not_expired',
  'calls_in_flight',
  'tree_not_ended',
  'tree_closed',
  'rules_unknown',
] as const

/**
 * Two are not the core's. `locked`: the store refuses what a bulk revocation is about.
 * `too_many_requests`: the authority does not ask people so often.
 */
export type RefusalCode = (typeof REFUSALS)[number] | 'locked' | 'too_many_requests'

/** A refused command: the code, and words for an authorised caller that say what to do. */
export interface Refusal {
  readonly code: RefusalCode
  readonly message: string
}
