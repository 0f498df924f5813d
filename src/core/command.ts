import type { Facts } from './facts.ts'
import type { AskId, CallId, EscalationId, Json, LeaseId, OrgId, RunId, TreeId } from './id.ts'
import type { Grant, Terms } from './lease.ts'

/**
 * Who did something: a person, a policy of the configuration, the run's own agent, or the server.
 */
export type Actor =
  | {
      readonly person: string
      readonly via: 'terminal' | 'api' | 'console'
      /** Roles that the shell knows this person to have; absent: none that counts here. */
      readonly roles?: readonly string[]
    }
  | { readonly policy: string }
  | { readonly agent: string }
  | { readonly server: string }

/** How a request for a lease may be answered. Decided by configuration before the request. */
export interface ApprovalRule {
  /** A policy may approve; otherwise a person must. */
  readonly policy: string | null
  /** Persons who may approve; null: anybody whom the shell has signed in as an approver. */
  readonly approvers: readonly string[] | null
  /** Each must be met by whoever says yes, beside `approvers`; absent: nothing more. */
  readonly also?: readonly ApproverClause[]
  /** The requester may approve their own run. */
  readonly self: boolean
  /** Seconds after which an unanswered request is refused. */
  readonly answerSeconds: number
  /** The longest life of the lease, amendments included; absent: as of any lease. */
  readonly lifeSecondsMax?: number
}

/** Met by one of the persons, and by whoever has one of the roles. */
export interface ApproverClause {
  readonly persons: readonly string[]
  readonly roles: readonly string[]
}

/**
 * The identity envelope of a run. `requester` is the signed-in person, never a claim of a document.
 */
export interface Envelope {
  readonly requester: string
  readonly agent: string
  readonly purpose: string
  /** Client program, as it names itself, e.g. `Claude Code 2.1.330`. Shown, never judged. */
  readonly client: string | null
}

export type Outcome =
  /** A complete result without `isError`. */
  | 'succeeded'
  /** A complete result with `isError`, or a JSON-RPC error. */
  | 'failed'
  /** No answer: nobody knows whether it happened. */
  | 'unknown'
  /** `input_required` or a task: the call goes on in a later request. */
  | 'deferred'

export type Command =
  | {
      readonly do: 'open'
      readonly org: OrgId
      readonly tree: TreeId
      readonly run: RunId
      readonly rules: number
      readonly envelope: Envelope
    }
  | {
      readonly do: 'request'
      readonly run: RunId
      readonly lease: LeaseId
      readonly terms: Terms
      /** SHA-256 (hex) of the prompt text. */
      readonly promptHash: string
      readonly rule: ApprovalRule
    }
  | {
      readonly do: 'approve'
      readonly run: RunId
      readonly by: Actor
      readonly promptHash: string
      /** A passkey assertion over the prompt hash, when there is one. */
      readonly proof: Json
    }
  | { readonly do: 'refuse'; readonly run: RunId; readonly by: Actor; readonly reason: string }
  | {
      readonly do: 'authorize'
      readonly run: RunId
      readonly call: CallId
      /** Tool-use id or idempotency key, prefixed with its scope. */
      readonly key: string
      /** The ask to open if one is needed; the shell draws its id. */
      readonly ask: AskId
      readonly facts: Facts
      /** The process that will execute the call, and for how long it may stay unanswered. */
      readonly executor: string
      readonly deadlineSeconds: number
    }
  | {
      readonly do: 'settle'
      readonly call: CallId
      readonly outcome: Outcome
      /** SHA-256 (hex) of the result, for the record; null if there is none. */
      readonly resultDigest: string | null
      /** Actual cost, decimal USD; null: as reserved. */
      readonly usd: string | null
      /** Short words of the engine: `timeout`, `cancelled`, `executor lost`, a URL or number. */
      readonly note: string | null
    }
  | {
      readonly do: 'resolve'
      readonly call: CallId
      readonly by: Actor
      readonly happened: boolean
    }
  | {
      readonly do: 'approve_call'
      readonly ask: AskId
      readonly by: Actor
      readonly binding: string
      readonly proof: Json
    }
  | { readonly do: 'refuse_call'; readonly ask: AskId; readonly by: Actor; readonly reason: string }
  | {
      readonly do: 'delegate'
      readonly parent: RunId
      readonly run: RunId
      readonly lease: LeaseId
      readonly terms: Terms
      readonly promptHash: string
      readonly envelope: Envelope
      readonly rule: ApprovalRule
    }
  | {
      readonly do: 'escalate'
      readonly run: RunId
      readonly escalation: EscalationId
      readonly wants: readonly Grant[]
      /** More of what is counted; zero for none. */
      readonly more: { readonly calls: number; readonly seconds: number }
      /** The agent's own words: shown as unchecked. */
      readonly words: string
      readonly answerSeconds: number
    }
  | {
      readonly do: 'amend'
      readonly escalation: EscalationId
      readonly by: Actor
      /** What the approver saw and grants: the engine's offer, or less. */
      readonly offer: readonly Grant[]
      readonly more: { readonly calls: number; readonly seconds: number }
      readonly proof: Json
    }
  | {
      readonly do: 'refuse_escalation'
      readonly escalation: EscalationId
      readonly by: Actor
      readonly reason: string
    }
  | { readonly do: 'suspend'; readonly run: RunId; readonly by: Actor; readonly reason: string }
  | { readonly do: 'resume'; readonly run: RunId; readonly by: Actor }
  | { readonly do: 'revoke'; readonly run: RunId; readonly by: Actor; readonly reason: string }
  | { readonly do: 'expire'; readonly run: RunId }
  /** The work is done: the agent finished, or its client went away. */
  | { readonly do: 'end'; readonly run: RunId; readonly by: Actor; readonly note: string }
  /** `times` further denials equal to the one recorded at `denial`. */
  | { readonly do: 'fold'; readonly denial: number; readonly times: number }
  | { readonly do: 'close' }
