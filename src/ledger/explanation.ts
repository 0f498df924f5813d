import type { Actor } from '../core/command.ts'
import type { EndReason, Entry, EntryOf } from '../core/entry.ts'
import type { CallId, Instant, RunId } from '../core/id.ts'
import type { Reason } from '../core/reason.ts'
import type { CallPart } from './receipt-body.ts'

/** One of the seven questions, answered in words; the facts behind it are beside them. */
export interface Answer<T> {
  readonly question: string
  readonly text: string
  readonly facts: T
}

/** What a static token cannot say, about one run or one call. */
export interface Explanation {
  readonly run: RunId
  readonly call: CallId | null
  readonly asked: Answer<{ readonly requester: string; readonly user: string | null }>
  readonly task: Answer<{ readonly purpose: string; readonly within: readonly string[] }>
  readonly approved: Answer<Approved>
  readonly stops: Answer<Stops>
  readonly retry: Answer<Retry>
  readonly through: Answer<{ readonly direct: boolean; readonly chain: readonly RunId[] }>
  readonly standing: Answer<{ readonly exists: boolean }>
}

export interface Approved {
  /** Who approved the lease. */
  readonly by: Actor | null
  /** What may be called: action patterns of the grants. */
  readonly actions: readonly string[]
  readonly calls: readonly CallPart[]
  /** Of an explained call that was denied. */
  readonly denied: { readonly reason: Reason; readonly determined: string } | null
}

export interface Stops {
  readonly ended: { readonly reason: EndReason; readonly at: Instant } | null
  readonly expiresAt: Instant | null
  readonly until: readonly string[]
  readonly callsLeft: number | null
  readonly workMsLeft: number | null
}

export interface Retry {
  /** The call is a repetition of an earlier one. */
  readonly of: CallId | null
  /** Null: there is no retry to judge. */
  readonly inside: boolean | null
  readonly retries: readonly {
    readonly seq: number
    readonly call: CallId
    readonly inside: boolean
  }[]
}

/** An entry that answers one attempt to call. */
export type Attempt = EntryOf<'call.allowed' | 'call.resumed' | 'call.denied' | 'ask.opened'>

export function isAttempt(entry: Entry): entry is Attempt {
  return 'command' in entry && entry.command.do === 'authorize'
}
