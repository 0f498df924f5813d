import type { Instant, OrgId } from '../../core/id.ts'
import type { Desks } from '../../gateway/desk.ts'
import type { LeaseLimits } from '../../lease-file/limits.ts'
import type { Runs } from '../../runs/runs.ts'
import type { Store } from '../../store/store.ts'
import type { Authority } from '../authority.ts'
import type { Authenticate, Caller } from '../caller.ts'
import type { Pinning } from '../pinning.ts'
import type { Policy } from '../policy.ts'
import type { RequestParts } from '../requests.ts'
import type { Templates } from '../templates.ts'
import type { AnswerOf, InputOf } from './endpoint.ts'
import type { Endpoints } from './endpoints.ts'

/** What the API stands on. */
export interface ApiParts extends Omit<RequestParts, 'authority' | 'ruleFor'> {
  readonly authenticate: Authenticate
  readonly authorityOf: (org: OrgId) => Authority
  readonly runs: Runs
  readonly store: Store
  readonly clock: () => Instant
  readonly limits: LeaseLimits
  readonly templates: Pick<Templates, 'all' | 'get'>
  readonly policy: Policy
  readonly desks: Pick<Desks, 'facts' | 'salt' | 'serves'>
  /** Health of servers, store and clock. */
  readonly status: () => Promise<Record<string, unknown>> | Record<string, unknown>
  readonly catalog: () => Record<string, unknown>
  readonly pinning: Pick<Pinning, 'look' | 'pin'>
}

/** Who asks, proven, and of whom. */
export interface Asked {
  readonly caller: Caller
  /** Of the caller's organisation. */
  readonly authority: Authority
  readonly now: Instant
}

/** An endpoint's work. It throws a `Problem` for what is no success. */
export type Handler<K extends keyof Endpoints> = (
  input: InputOf<Endpoints[K]>,
  asked: Asked,
) => Promise<AnswerOf<Endpoints[K]>>

export type Handlers<K extends keyof Endpoints = Exclude<keyof Endpoints, 'streamEvents'>> = {
  readonly [P in K]: Handler<P>
}
