import { hash } from 'node:crypto'
import { isOver } from '../core/chain.ts'
import type { Outcome } from '../core/command.ts'
import type { Facts } from '../core/facts.ts'
import type { CallId } from '../core/id.ts'
import { type DenialContext, endText, whatOf } from './denial.ts'
import { toClient } from './dispatch.ts'
import { envelopeOf } from './envelope.ts'
import type { JsonObject, RpcReply } from './jsonrpc.ts'
import { failureNotice, unreadableNotice, withoutOurMeta } from './notice.ts'
import type { CallParts, Passage } from './passage.ts'
import { guardQuestions, TASKS_DECLARED } from './questions.ts'
import { failure, OVER_BEFORE_SENT, type UpstreamReply } from './upstream-link.ts'

/** A link longer than this says more than what was made. */
const URL_CHARACTERS_MAX = 200

interface Allowed {
  readonly call: CallId
  readonly context: DenialContext
  readonly salt: string
}

/**
 * Runs a call that was allowed, and settles it.
 * INVARIANT: reached only with a durable `call.allowed` or `call.resumed`.
 */
export function execute(parts: CallParts, passage: Passage, allowed: Allowed): Promise<RpcReply> {
  const { principal } = passage
  const { call, salt } = allowed
  const send = async (ended: AbortSignal): Promise<RpcReply> => {
    const upstream = await sendUnlessOver(parts, passage, { allowed, ended })
    // Written out once: a result may be long.
    const text = JSON.stringify(upstream)
    const outcome = (passage.outcomeOf ?? outcomeOf)(upstream)
    const reply = replyOf(parts, passage, allowed, upstream)
    const settled = parts.runs.execute(principal, {
      do: 'settle',
      call,
      outcome,
      resultDigest: 'failure' in upstream ? null : digestOf(salt, text),
      usd: null,
      note: noteOf(upstream),
    })
    if (outcome === 'succeeded' || outcome === 'failed') {
      const { durable } = passage.key
      parts.results.keep(principal, call, reply, { durable, characters: text.length })
    }
    // A settlement that ends a lease is durable before the answer leaves; others ride along. What
    // cannot be recorded now is recorded later, see `Runs`.
    const recorded = settled.then(
      () => {},
      () => {},
    )
    if (parts.inFlight.endsLease(principal, call)) await recorded
    return reply
  }
  return parts.inFlight.run(principal, call, { client: passage.signal, send })
}

/**
 * Threat 61: what was allowed a moment ago is not sent once the lease is over. Never rejects.
 * `ended` aborts when the lease ends or the client gives up.
 */
async function sendUnlessOver(
  parts: CallParts,
  passage: Passage,
  { allowed, ended }: { allowed: Allowed; ended: AbortSignal },
): Promise<UpstreamReply> {
  let isSent = false
  const live = parts.runs.tree(passage.principal)
  const isOverNow = (): boolean => {
    const tree = live.peek()
    const run = tree?.runs.get(passage.principal.run)
    return tree === null || run === undefined || isOver(tree, run, parts.clock())
  }
  try {
    if (live.peek() === null) await live.read()
    if (isOverNow()) return failure('cancelled', OVER_BEFORE_SENT, { sent: false })
    isSent = true
    return await passage.send(ended, isOverNow, envelopeOf(parts, passage, allowed))
  } catch {
    const message = 'the gateway failed while the call was under way'
    return failure('protocol', message, { sent: isSent })
  }
}

function outcomeOf(reply: UpstreamReply): Outcome {
  if ('failure' in reply) return reply.failure.sent ? 'unknown' : 'failed'
  if ('error' in reply) return 'failed'
  const { resultType, isError } = reply.result
  if (resultType !== undefined && resultType !== 'complete') return 'deferred'
  return isError === true ? 'failed' : 'succeeded'
}

/** What the client reads. */
function replyOf(
  parts: CallParts,
  passage: Passage,
  { call, context }: Allowed,
  upstream: UpstreamReply,
): RpcReply {
  if ('failure' in upstream) {
    const tree = parts.runs.tree(passage.principal).peek() ?? context.tree
    const run = tree.runs.get(passage.principal.run)
    const lease = run?.lease ?? null
    const isDead = run !== undefined && isOver(tree, run, parts.clock())
    const why = isDead && lease !== null ? endText(lease) : null
    const about = { id: call, what: whatOf(context), server: passage.server }
    return passage.say(failureNotice(upstream.failure, about, why))
  }
  try {
    const guarded = guardQuestions(passage.server, toClient(upstream, passage.server))
    const sealed = sealRound(parts, passage, guarded)
    return withoutOurMeta(sealTask(parts, passage, { call, facts: context.facts }, sealed))
  } catch {
    return passage.say(unreadableNotice(call))
  }
}

/** Short words of the engine on what happened; a link or number of what was made, if it says so. */
function noteOf(reply: UpstreamReply): string | null {
  if ('failure' in reply) return reply.failure.sent ? reply.failure.why : 'never sent'
  if ('error' in reply) return `error ${reply.error.code}`
  const made = reply.result.structuredContent
  if (typeof made !== 'object' || made === null) return null
  const { url, number } = made as JsonObject
  const link = typeof url === 'string' ? linkOf(url) : null
  if (link !== null) return link
  return Number.isSafeInteger(number) ? `#${number}` : null
}

/**
 * A link without what may be secret in it: credentials, query and fragment stay out of the ledger.
 */
function linkOf(text: string): string | null {
  const url = URL.parse(text)
  if (url === null || !/^https?:$/.test(url.protocol)) return null
  const link = `${url.origin}${url.pathname}`
  return link.length <= URL_CHARACTERS_MAX ? link : null
}

/** Salted, since what a tool answers is often easy to guess. */
function digestOf(salt: string, text: string): string {
  return hash('sha256', salt + text, 'hex')
}

/** The client gets an id of ours for a task: it is good for this run, and says whose task it is. */
function sealTask(
  parts: CallParts,
  { principal, server, key }: Passage,
  made: { call: CallId; facts: Facts },
  reply: RpcReply,
): RpcReply {
  if ('error' in reply || reply.result.resultType !== 'task') return reply
  const { taskId: task } = reply.result
  if (typeof task !== 'string') return reply
  // What the end of a lease means for calls in flight, it means for those that go on as tasks.
  const off = parts.inFlight.onEnd(principal.run, () => {
    const upstream = parts.upstreams.get(server)
    void upstream?.call('tasks/cancel', { taskId: task }, { clientCapabilities: TASKS_DECLARED })
  })
  const taskId = parts.tasks.add({ principal, server, task, key, ...made }, off)
  return { result: { ...reply.result, taskId } }
}

function sealRound(parts: CallParts, passage: Passage, reply: RpcReply): RpcReply {
  if ('error' in reply || reply.result.resultType !== 'input_required') return reply
  const { requestState } = reply.result
  const state = typeof requestState === 'string' ? requestState : null
  const round = { key: passage.key.key, run: passage.principal.run, tool: passage.tool, state }
  const sealed = parts.rounds.seal(round, parts.clock())
  return { result: { ...reply.result, requestState: sealed } }
}
