import type { Reply } from '../core/decision.ts'
import type { Facts } from '../core/facts.ts'
import type { AskId, CallId, RunId } from '../core/id.ts'
import type { Tree } from '../core/tree.ts'
import { newId } from '../runs/new-id.ts'
import { type CallKey, callKeyOf } from './call-key.ts'
import { type DenialContext, denialNotice, whatOf } from './denial.ts'
import { factsOfMethod } from './desk.ts'
import type { JudgedRequest, Principal, ToolCallRequest } from './door.ts'
import { execute } from './execute.ts'
import type { Lead } from './in-flight.ts'
import { INVALID_PARAMS, type JsonObject, type RpcReply, rpcError } from './jsonrpc.ts'
import {
  asRpcError,
  asToolResult,
  busyNotice,
  cancelledNotice,
  type Notice,
  notKeptNotice,
  unavailableNotice,
  waitingNotice,
} from './notice.ts'
import type { CallParts, Passage } from './passage.ts'
import { CALL_TOTAL_MS } from './upstream-link.ts'

/** How long a call is held while a person is asked; then the client is told to repeat it. */
const ASK_HOLD_MS = 45_000
/** Beyond the longest wait for an answer: another process may then settle the call as unknown. */
const DEADLINE_SECONDS = CALL_TOTAL_MS / 1000 + 60

/**
 * The path of a call (design §5): facts, verdict, durable record, upstream, settlement. Whatever
 * goes wrong before the verdict is durable is a denial, and the upstream hears nothing of it.
 */
export async function passCall(
  parts: CallParts,
  principal: Principal,
  request: ToolCallRequest,
): Promise<RpcReply> {
  const round = openRound(parts, request.rawParams, {
    run: principal.run,
    tool: `${request.server}.${request.tool}`,
    key: () => callKeyOf(principal, request),
  })
  if (round === null) return rpcError(INVALID_PARAMS, 'this `requestState` is not valid here')
  const { params, key } = round
  return pass(parts, {
    principal,
    key,
    serials: parts.desks.serials(request),
    facts: async (salt) => {
      const live = parts.runs.tree(principal)
      const tree = live.peek() ?? (await live.read())
      const run = tree?.runs.get(principal.run)
      if (tree === null || run === undefined) throw new Error('the run is not known')
      return parts.desks.facts(request, run, tree, salt)
    },
    send: (...how) => request.send(params, ...how),
    signal: request.signal,
    server: request.server,
    tool: `${request.server}.${request.tool}`,
    say: asToolResult,
  })
}

/** The same path for every other request that the door judges. */
export async function passMethod(
  parts: CallParts,
  principal: Principal,
  request: JudgedRequest,
): Promise<RpcReply> {
  const tool = `${request.server}.${request.method}`
  const key = () => ({ key: `once:${newId('call')}`, durable: false })
  const round = openRound(parts, request.params, { run: principal.run, tool, key })
  if (round === null) return rpcError(INVALID_PARAMS, 'this `requestState` is not valid here')
  return pass(parts, {
    principal,
    key: round.key,
    serials: [],
    facts: (salt) => factsOfMethod(request, salt),
    send: (...how) => request.send(round.params, ...how),
    signal: request.signal,
    server: request.server,
    tool,
    say: asRpcError,
  })
}

/** The path itself. */
export async function pass(parts: CallParts, passage: Passage): Promise<RpcReply> {
  const holdUntil = performance.now() + (parts.askHoldMs ?? ASK_HOLD_MS)
  let held = null as { ask: AskId; lead: Lead } | null
  let answer: RpcReply | null = null
  try {
    const salt = await parts.desks.salt(passage.principal)
    for (;;) {
      const step = await judgeAndRun(parts, passage, salt)
      if (step.ask === null) {
        answer = step.isJudged ? step.reply : null
        return step.reply
      }
      const { ask } = step
      const patience = { signal: passage.signal, waitMs: holdUntil - performance.now() }
      if (patience.waitMs <= 0 || passage.signal.aborted) return passage.say(step.waiting)
      if (held?.ask !== ask) {
        held?.lead.finish(null)
        const lead = parts.inFlight.lead(ask)
        held = lead === null ? null : { ask, lead }
      }
      if (held !== null) await parts.inFlight.answered(passage.principal, ask, patience)
      else {
        const led = await parts.inFlight.led(ask, patience)
        if (led !== null) return led
      }
    }
  } catch (error) {
    return passage.say(unavailableNotice(error))
  } finally {
    held?.lead.finish(answer)
  }
}

type Step =
  | { readonly ask: null; readonly reply: RpcReply; readonly isJudged: boolean }
  | { readonly ask: AskId; readonly waiting: Notice }

/**
 * The locks are held from the facts to the answer of the upstream, and not while a person is asked.
 */
async function judgeAndRun(parts: CallParts, passage: Passage, salt: string): Promise<Step> {
  const release = await parts.locks.acquire(passage.serials)
  try {
    if (passage.signal.aborted) {
      return { ask: null, reply: passage.say(cancelledNotice()), isJudged: false }
    }
    const facts = await passage.facts(salt)
    const call = newId('call')
    const reply = await authorize(parts, passage, facts, call)
    const live = parts.runs.tree(passage.principal)
    const tree = live.peek() ?? (await live.read())
    const context = contextOf(parts, passage, { facts, call, tree })
    if (reply.kind !== 'ask') {
      const answer = await act(parts, passage, { reply, context, salt })
      return { ask: null, reply: answer, isJudged: true }
    }
    const { ask, deadline } = reply
    const waiting = waitingNotice(whatOf(context), { id: ask, deadline, tool: facts.tool })
    return { ask, waiting }
  } finally {
    release()
  }
}

async function authorize(
  parts: CallParts,
  passage: Passage,
  facts: Facts,
  call: CallId,
): Promise<Reply> {
  const { principal, key } = passage
  try {
    const decided = await parts.runs.execute(principal, {
      do: 'authorize',
      run: principal.run,
      call,
      key: key.key,
      ask: newId('ask') as AskId,
      facts,
      executor: parts.runs.executor,
      deadlineSeconds: DEADLINE_SECONDS,
    })
    if (!decided.ok) throw new Error(decided.error.message)
    return decided.value
  } catch (error) {
    // Should it turn out to be stored, whoever repeats it reads that it never ran.
    const notice = passage.say(unavailableNotice(error))
    parts.results.keep(principal, call, notice, { durable: false, characters: 0 })
    throw error
  }
}

function contextOf(
  { clock, vocabulary, upstreams }: CallParts,
  { principal, server }: Passage,
  { facts, call, tree }: { facts: Facts; call: CallId; tree: Tree | null },
): DenialContext {
  if (tree === null) throw new Error('the run is not known')
  const health = upstreams.get(server)?.health
  const isDown = health !== undefined && health.state !== 'up'
  const down = isDown ? `The server \`${server}\` is ${health.state}` : null
  return { facts, tree, run: tree.runs.get(principal.run), call, now: clock(), vocabulary, down }
}

type Verdict = Exclude<Reply, { kind: 'ask' }>

async function act(
  parts: CallParts,
  passage: Passage,
  verdict: { reply: Verdict; context: DenialContext; salt: string },
): Promise<RpcReply> {
  const { reply, context } = verdict
  switch (reply.kind) {
    case 'allow':
      return execute(parts, passage, { ...verdict, call: reply.call })
    case 'deny':
      return passage.say(denialNotice(reply, context))
    case 'join':
      return (
        (await parts.inFlight.reply(reply.call)) ??
        // Answered here, and its settlement is on its way to the ledger.
        parts.results.recent(reply.call) ??
        passage.say(busyNotice(reply.call))
      )
    case 'replay': {
      const stored = await parts.results.get(passage.principal, reply.call)
      return stored ?? passage.say(notKeptNotice(reply.call))
    }
    case 'done':
      throw new Error('not an answer to a call')
  }
}

/**
 * An `input_required` round comes back with the state that we gave out; see `Rounds`. Input without
 * a state is part of a new call, which is judged and paid for as one.
 */
function openRound(
  parts: CallParts,
  given: JsonObject,
  call: { run: RunId; tool: string; key: () => CallKey },
): { params: JsonObject; key: CallKey } | null {
  const { requestState, ...params } = given
  if (requestState === undefined) return { params, key: call.key() }
  const round = parts.rounds.open(requestState, call, parts.clock())
  if (round === null) return null
  const state = round.state === null ? {} : { requestState: round.state }
  return { params: { ...params, ...state }, key: { key: round.key, durable: false } }
}
