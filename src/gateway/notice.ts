import type { CallId, Instant } from '../core/id.ts'
import { wrapWords } from '../lease-file/wrap.ts'
import { type JsonObject, type RpcReply, rpcError, SERVER_ERROR } from './jsonrpc.ts'
import type { Failure } from './upstream-link.ts'

/** What the engine itself says to an agent in place of a tool's result. */
export interface Notice {
  readonly text: string
  /** The same for programs. */
  readonly fields: Readonly<Record<string, unknown>>
}

/** Agents show these texts in terminals, and people read along. */
const COLUMNS = 80
const INDENT = '  '

/**
 * Results of tools with a schema of their own cannot carry ours in `structuredContent`: clients
 * validate it. So the fields stand in `_meta`.
 */
export const DECISION_META = 'daypass/decision'

/** Lines of at most 80 columns. One that goes on is indented, one that is indented stays so. */
export function noticeOf(
  lines: readonly string[],
  fields: Readonly<Record<string, unknown>>,
): Notice {
  const wrapped = lines.flatMap((line) =>
    line.startsWith(INDENT)
      ? wrapWords(line, COLUMNS - INDENT.length, '').map((part) => INDENT + part)
      : wrapWords(line, COLUMNS, INDENT),
  )
  return { text: wrapped.join('\n'), fields }
}

/** As models read a failed tool call: a result with `isError`. */
export function asToolResult({ text, fields }: Notice): RpcReply {
  const content = [{ type: 'text', text }]
  return { result: { content, isError: true, _meta: { [DECISION_META]: fields } } }
}

/** As the answer to a request whose results have another shape. */
export function asRpcError({ text, fields }: Notice): RpcReply {
  return rpcError(SERVER_ERROR, text, fields as JsonObject)
}

/** Only the engine speaks under this name: an upstream's word under it is dropped. */
export function withoutOurMeta(reply: RpcReply): RpcReply {
  if ('error' in reply) return reply
  const { _meta } = reply.result
  if (typeof _meta !== 'object' || _meta === null || !Object.hasOwn(_meta, DECISION_META)) {
    return reply
  }
  const { [DECISION_META]: _, ...rest } = _meta as JsonObject
  return { result: { ...reply.result, _meta: rest } }
}

/** Threats 18 and 80: an error before or while deciding is a denial; nothing ran. */
export function unavailableNotice(error: unknown): Notice {
  const isLedger = error instanceof Error && error.name === 'StoreError'
  const reason = isLedger ? 'ledger_unavailable' : 'internal_unavailable'
  const why = isLedger
    ? 'The verdict could not be recorded, and nothing runs unrecorded.'
    : 'The call could not be judged.'
  const lines = [`Denied. (${reason})`, why, 'Nothing was run.', 'Try again later.']
  return noticeOf(lines, { decision: 'deny', reason })
}

/** The client gave up before the call was judged. Nobody reads this but a log. */
export function cancelledNotice(): Notice {
  const lines = ['Cancelled before it was judged.', 'Nothing was run and nothing was spent.']
  return noticeOf(lines, { decision: 'none', reason: 'cancelled' })
}

/** What an agent reads while a person has not answered. */
export function waitingNotice(
  what: string,
  ask: { readonly id: string; readonly deadline: Instant; readonly tool: string },
): Notice {
  const until = new Date(ask.deadline).toISOString().slice(11, 19)
  const lines = [
    `Waiting: ${what} needs a person's yes. (${ask.id}, until ${until}Z)`,
    'Nothing was changed and nothing was spent.',
    'Repeat the same call with the same arguments to wait for the answer;',
    'repeating costs nothing. Other calls work.',
  ]
  return noticeOf(lines, { decision: 'ask', ask: ask.id, until: ask.deadline, tool: ask.tool })
}

/** The upstream has given no answer, to a call that was allowed and is on record. */
export function failureNotice(
  failure: Failure,
  call: { readonly id: CallId; readonly what: string; readonly server: string },
  /** Why the lease ended, if that is why. */
  ended: string | null,
): Notice {
  const outcome = failure.sent ? 'unknown' : 'not_run'
  const fields = { decision: 'allow', outcome, reason: failure.why, call: call.id }
  const why =
    ended === null
      ? `\`${call.server}\`: ${failure.message}.`
      : `The lease ended while it was under way: ${ended}.`
  const lines = failure.sent
    ? [
        `Unknown: nobody can tell whether ${call.what} happened. (${failure.why}, ${call.id})`,
        why,
        'It may have run, in part or whole, and what it may have spent stays spent.',
        'Look at what it did before you do anything about it; do not just repeat it.',
      ]
    : [
        `Not run: ${call.what}. (${failure.why}, ${call.id})`,
        why,
        'Nothing was changed; the call is spent.',
      ]
  if (ended !== null) lines.push('No tool will answer in this run. Write your final summary now.')
  return noticeOf(lines, fields)
}

/** The answer was there, and could not be handed on. */
export function unreadableNotice(call: CallId): Notice {
  const lines = [
    `The call was run, and its answer could not be handed on. (${call})`,
    'Look at what it did; do not just repeat it.',
  ]
  return noticeOf(lines, { decision: 'allow', reason: 'internal', call })
}

export function busyNotice(call: CallId): Notice {
  const lines = [
    `This call is in flight in another process. (${call})`,
    'Repeat it to wait for it.',
  ]
  return noticeOf(lines, { decision: 'join', call })
}

export function notKeptNotice(call: CallId): Notice {
  const lines = [
    `This call was made before and is not made twice. (${call})`,
    'Its result is no longer kept. Look at what it did instead of repeating it.',
  ]
  return noticeOf(lines, { decision: 'replay', call })
}
