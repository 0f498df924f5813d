import type { Refusal, RefusalCode } from '../../core/reason.ts'

/** Statuses of this API for what a caller did wrong, or for what is too much. */
export type ProblemStatus = 400 | 401 | 403 | 404 | 405 | 409 | 413 | 422 | 429 | 500 | 503

export const PROBLEM_TYPE = 'application/problem+json'

/**
 * An answer that is no success, as RFC 9457 has it. Thrown by handlers; one place makes the
 * response of it.
 */
export class Problem extends Error {
  readonly status: ProblemStatus
  readonly code: string
  /** Members beside those of the RFC (§3.2). */
  readonly more: Readonly<Record<string, unknown>>
  readonly headers: Readonly<Record<string, string>>

  constructor(
    status: ProblemStatus,
    code: string,
    detail: string,
    {
      more = {},
      headers = {},
    }: {
      readonly more?: Readonly<Record<string, unknown>>
      readonly headers?: Readonly<Record<string, string>>
    } = {},
  ) {
    super(detail)
    this.name = 'Problem'
    this.status = status
    this.code = code
    this.more = more
    this.headers = headers
  }

  /** RFC 9457 §3.1. The `title` is our reason code: programs compare it, people read `detail`. */
  body(): Record<string, unknown> {
    const { status, code, message: detail } = this
    return { type: `urn:daypass:${code}`, title: code, status, detail, ...this.more }
  }

  response(): Response {
    return new Response(JSON.stringify(this.body()), {
      status: this.status,
      headers: { 'content-type': PROBLEM_TYPE, 'cache-control': 'no-store', ...this.headers },
    })
  }
}

/** Refusals that are not a conflict with the state of the run. */
const STATUS: Partial<Record<RefusalCode, ProblemStatus>> = {
  malformed: 400,
  run_unknown: 404,
  call_unknown: 404,
  ask_unknown: 404,
  escalation_unknown: 404,
  denial_unknown: 404,
  not_an_approver: 403,
  self_approval: 403,
  policy_not_allowed: 403,
  too_many_requests: 429,
}

/** What the core refused, with its own code. */
export function refused({ code, message }: Refusal): Problem {
  return new Problem(STATUS[code] ?? 409, code, message)
}

/** One answer for what is not there and for what the caller must not know of. */
export function unknownRun(run: string): Problem {
  return new Problem(404, 'run_unknown', `no run ${run} here`)
}
