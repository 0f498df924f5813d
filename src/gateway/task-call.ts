import { chainOf, isUsable } from '../core/chain.ts'
import type { Outcome } from '../core/command.ts'
import { pass } from './call.ts'
import { toClient } from './dispatch.ts'
import type { Principal, TaskRequest } from './door.ts'
import { INVALID_PARAMS, isObject, type JsonObject, type RpcReply, rpcError } from './jsonrpc.ts'
import { asRpcError, noticeOf, withoutOurMeta } from './notice.ts'
import type { CallParts, Passage } from './passage.ts'
import { guardQuestions } from './questions.ts'
import type { OpenTask } from './tasks.ts'
import type { UpstreamReply } from './upstream-link.ts'

/**
 * Goes on with a call that became a task. Asking how it is doing needs a lease that is in force;
 * input for it is decided and recorded as every round of a call is; what it has come to is its
 * outcome.
 */
export async function passTask(
  parts: CallParts,
  principal: Principal,
  request: TaskRequest,
): Promise<RpcReply> {
  const open = parts.tasks.find(request.taskId, principal.run)
  if (open === null) return rpcError(INVALID_PARAMS, 'unknown task')
  const params = { ...request.params, taskId: open.task }
  const send = (signal: AbortSignal, _isOver?: () => boolean, envelope?: () => string) =>
    request.send(open.server, params, signal, envelope)
  switch (request.method) {
    case 'tasks/update':
      // Whatever comes of it, the call goes on until its task has ended.
      return pass(parts, { ...passageOf(open, request), send, outcomeOf: () => 'deferred' })
    case 'tasks/cancel':
      // Asking for less needs no permission.
      return toClient(await send(request.signal), open.server)
    case 'tasks/get':
      return isInForce(parts, principal) ? look(parts, open, request, send) : noLease()
  }
}

async function look(
  parts: CallParts,
  open: OpenTask,
  request: TaskRequest,
  send: (signal: AbortSignal) => Promise<UpstreamReply>,
): Promise<RpcReply> {
  const answer = await send(request.signal)
  const reply = forClient(open, request.taskId, answer)
  const outcome = endOf(answer)
  if (outcome === null || !parts.tasks.settle(request.taskId)) return reply
  let isRecorded = false
  const record = async (): Promise<UpstreamReply> => {
    isRecorded = true
    return answer
  }
  const passage = { ...passageOf(open, request), send: record, outcomeOf: () => outcome }
  const settled = await pass(parts, passage)
  if (isRecorded) return reply
  // Denied, or input for it was under way: the next one who asks records it.
  parts.tasks.reopen(request.taskId)
  return wasDenied(settled) ? settled : reply
}

function passageOf(open: OpenTask, request: TaskRequest): Omit<Passage, 'send' | 'outcomeOf'> {
  const { principal, key, facts, server } = open
  const { signal } = request
  return {
    ...{ principal, key, server, signal },
    facts: () => facts,
    serials: [],
    tool: facts.tool,
    say: asRpcError,
  }
}

/** Null while it goes on. */
function endOf(answer: UpstreamReply): Outcome | null {
  if (!('result' in answer)) return null
  const { status, result } = answer.result
  if (status === 'completed')
    return isObject(result) && result.isError === true ? 'failed' : 'succeeded'
  return status === 'failed' || status === 'cancelled' ? 'failed' : null
}

function forClient(open: OpenTask, taskId: string, answer: UpstreamReply): RpcReply {
  const reply = guardQuestions(open.server, toClient(answer, open.server))
  if ('error' in reply) return reply
  const { result } = reply.result
  const inner = isObject(result) ? withoutOurMeta({ result }) : null
  const cleaned: JsonObject = inner !== null && 'result' in inner ? { result: inner.result } : {}
  return withoutOurMeta({ result: { ...reply.result, ...cleaned, taskId } })
}

function isInForce({ runs, clock }: CallParts, principal: Principal): boolean {
  const tree = runs.tree(principal).peek()
  const run = tree?.runs.get(principal.run)
  if (tree == null || run === undefined) return false
  return chainOf(tree, run).every((each) => isUsable(each, clock()))
}

function wasDenied(reply: RpcReply): boolean {
  if (!('error' in reply) || !isObject(reply.error.data)) return false
  return reply.error.data.decision === 'deny'
}

function noLease(): RpcReply {
  const lines = ['Denied. The lease of this run is not in force, so its tasks are not shown.']
  return asRpcError(noticeOf(lines, { decision: 'deny', reason: 'lease_ended' }))
}
