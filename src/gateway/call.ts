import { createHash } from 'node:crypto'
import type { Outcome } from '../core/command.ts'
import type { Reply } from '../core/decision.ts'
import type { Facts } from '../core/facts.ts'
import type { AskId, CallId, Instant } from '../core/id.ts'
import type { Vocabulary } from '../core/vocabulary.ts'
import { newId } from '../runs/new-id.ts'
import type { Runs } from '../runs/runs.ts'
import { type CallKey, callKeyOf, type Rounds } from './call-key.ts'
import { type DenialContext, denialReply, toolError, waitingReply } from './denial.ts'
import { type Desks, factsOfMethod } from './desk.ts'
import { toClient } from './dispatch.ts'
import type { JudgedRequest, Principal, ToolCallRequest } from './door.ts'
import type { InFlight } from './in-flight.ts'
import { INVALID_PARAMS, type JsonObject, type RpcReply, rpcError } from './jsonrpc.ts'
import type { Locks } from './locks.ts'
import type { Results } from './results.ts'
import { CALL_TOTAL_MS, type UpstreamReply } from './upstream-link.ts'
import type { Upstreams } from './upstreams.ts'

/** How long a call is held while a person is asked; then the client is told to repeat it. */
const ASK_HOLD_MS = 45_000
/** Beyond the longest wait for an answer: another process may then settle the call as unknown. */
const DEADLINE_SECONDS = CALL_TOTAL_MS / 1000 + 60

export interface CallParts {
  readonly runs: Runs
  readonly desks: Desks
  readonly upstreams: Upstreams
  readonly locks: Locks
  readonly inFlight: InFlight
  readonly results: Results
  readonly rounds: Rounds
  readonly vocabulary: Vocabulary
  readonly clock: () => Instant
}

/** A request on its way through the door: what `execute` needs beside the verdict. */
interface Passage {
  readonly principal: Principal
  readonly key: CallKey
  readonly facts: (salt: string) => Facts | Promise<Facts>
  readonly serials: Parameters<Locks['acquire']>[0]
  readonly send: (signal: AbortSignal) => Promise<UpstreamReply>
  readonly signal: AbortSignal
  readonly server: string
  readonly tool: string
}

/**
 * The path of a call (design §5): facts, verdict, durable record, upstream, settlement. Whatever goes
 * wrong before the verdict is durable is a denial, and the upstream hears nothing of it.
 */
export async function passCall(
  parts: CallParts,
  principal: Principal,
  request: ToolCallRequest,
): Promise<RpcReply> {
  const round = openRound(parts, principal, request)
  if (round === null) return rpcError(INVALID_PARAMS, 'this `requestState` is not valid here')
  const { params, key } = round
  const upstream = parts.upstreams.get(request.server)
  return pass(parts, {
    principal,
    key,
    serials: parts.desks.serials(request),
    facts: async (salt) => {
      const tree = await parts.runs.tree(principal).read()
      const run = tree?.runs.get(principal.run)
      if (tree === null || run === undefined) throw new Error('the run is not known')
      return parts.desks.facts(request, run, tree, salt)
    },
    send: (signal) =>
      upstream!.call('tools/call', params, {
        signal,
        onNotification: request.notify,
        clientCapabilities: request.clientCapabilities,
      }),
    signal: request.signal,
    server: request.server,
    tool: `${request.server}.${request.tool}`,
  })
}

/** The same path for `resources/read`, `prompts/get` and `completion/complete`. */
export function passMethod(
  parts: CallParts,
  principal: Principal,
  request: JudgedRequest,
): Promise<RpcReply> {
  return pass(parts, {
    principal,
    key: { key: `once:${newId('call')}`, durable: false },
    serials: [],
    facts: (salt) => factsOfMethod(request, salt),
    send: request.send,
    signal: request.signal,
    server: request.server,
    tool: `${request.server}.${request.method}`,
  })
}

async function pass(parts: CallParts, passage: Passage): Promise<RpcReply> {
  const holdUntil = performance.now() + ASK_HOLD_MS
  try {
    const salt = await parts.desks.salt(passage.principal)
    for (;;) {
      const release = await parts.locks.acquire(passage.serials)
      try {
        const facts = await passage.facts(salt)
        const call = newId('call')
        const reply = await authorize(parts, passage, facts, call)
        const context = await contextOf(parts, passage, facts, call)
        if (reply.kind !== 'ask') return await act(parts, passage, reply, context)
        if (performance.now() >= holdUntil || passage.signal.aborted) {
          return waitingReply(reply.ask, reply.deadline, context)
        }
        release()
        await parts.inFlight.answered(reply.ask, {
          signal: passage.signal,
          waitMs: holdUntil - performance.now(),
        })
      } finally {
        release()
      }
    }
  } catch (error) {
    return failedClosed(error)
  }
}

/** Threats 18 and 80: an error before or while deciding is a denial; nothing ran. */
function failedClosed(error: unknown): RpcReply {
  const code = error instanceof Error && error.name === 'StoreError' ? 'ledger' : 'internal'
  const why =
    code === 'ledger'
      ? 'The verdict could not be recorded, and nothing runs unrecorded.'
      : 'The call could not be judged.'
  const text = `Denied. (${code}_unavailable)\n${why} Nothing was run.\nTry again later.`
  return toolError(text, { decision: 'deny', reason: `${code}_unavailable` })
}

async function authorize(
  parts: CallParts,
  { principal, key }: Passage,
  facts: Facts,
  call: CallId,
): Promise<Reply> {
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
}

async function contextOf(
  { runs, clock, vocabulary }: CallParts,
  { principal }: Passage,
  facts: Facts,
  call: CallId,
): Promise<DenialContext> {
  const live = runs.tree(principal)
  const tree = live.peek() ?? (await live.read())
  if (tree === null) throw new Error('the run is not known')
  return { facts, tree, run: tree.runs.get(principal.run), call, now: clock(), vocabulary }
}

type Verdict = Exclude<Reply, { kind: 'ask' }>

async function act(
  parts: CallParts,
  passage: Passage,
  reply: Verdict,
  context: DenialContext,
): Promise<RpcReply> {
  switch (reply.kind) {
    case 'allow':
      return execute(parts, passage, reply.call)
    case 'deny':
      return denialReply(reply, context)
    case 'join': {
      const joined = parts.inFlight.reply(reply.call)
      return joined ?? busyReply(reply.call)
    }
    case 'replay': {
      const stored = await parts.results.get(passage.principal, reply.call)
      return stored ?? notKeptReply(reply.call)
    }
    case 'done':
      throw new Error('not an answer to a call')
  }
}

function busyReply(call: CallId): RpcReply {
  const text = `This call is in flight in another process. (${call})\nRepeat it to wait for it.`
  return toolError(text, { decision: 'join', call })
}

function notKeptReply(call: CallId): RpcReply {
  const text =
    `This call was made before and is not made twice. (${call})\n` +
    'Its result is no longer kept. Look at what it did instead of repeating it.'
  return toolError(text, { decision: 'replay', call })
}

/** INVARIANT: reached only with a durable `call.allowed` or `call.resumed`. */
function execute(parts: CallParts, passage: Passage, call: CallId): Promise<RpcReply> {
  const { principal } = passage
  return parts.inFlight.run(principal, call, async (ended) => {
    const signal = AbortSignal.any([passage.signal, ended])
    const upstream = await passage.send(signal)
    const reply = sealRound(parts, passage, toClient(upstream, passage.server))
    const outcome = outcomeOf(upstream)
    const settled = parts.runs.execute(principal, {
      do: 'settle',
      call,
      outcome,
      resultDigest: outcome === 'unknown' ? null : digestOf(upstream),
      usd: null,
      note: noteOf(upstream),
    })
    if (outcome === 'succeeded' || outcome === 'failed') {
      parts.results.keep(principal, call, reply, { durable: passage.key.durable })
    }
    // A settlement that ends a lease is durable before the answer leaves; others ride along. What
    // cannot be recorded stays `allowed` in the ledger, and is settled as unknown later.
    const recorded = settled.then(
      () => {},
      () => {},
    )
    if (parts.inFlight.endsLease(principal, call)) await recorded
    return reply
  })
}

function outcomeOf(reply: UpstreamReply): Outcome {
  if ('failure' in reply) return reply.failure.sent ? 'unknown' : 'failed'
  if ('error' in reply) return 'failed'
  const { resultType, isError } = reply.result
  if (resultType !== undefined && resultType !== 'complete') return 'deferred'
  return isError === true ? 'failed' : 'succeeded'
}

/** Short words of the engine on what happened; a URL or number of what was made, if it says so. */
function noteOf(reply: UpstreamReply): string | null {
  if ('failure' in reply) return reply.failure.why
  if ('error' in reply) return `error ${reply.error.code}`
  const made = reply.result.structuredContent
  if (typeof made !== 'object' || made === null) return null
  const { url, number } = made as JsonObject
  if (typeof url === 'string' && url.length <= 200) return url
  return typeof number === 'number' ? `#${number}` : null
}

function digestOf(reply: UpstreamReply): string {
  return createHash('sha256').update(JSON.stringify(reply)).digest('hex')
}

/** An `input_required` round comes back with the state that we gave out; see `Rounds`. */
function openRound(
  parts: CallParts,
  principal: Principal,
  request: ToolCallRequest,
): { params: JsonObject; key: CallKey } | null {
  const { requestState, ...params } = request.rawParams
  if (requestState === undefined && params.inputResponses === undefined) {
    return { params, key: callKeyOf(principal, request) }
  }
  const where = { run: principal.run, tool: `${request.server}.${request.tool}` }
  const round = parts.rounds.open(requestState, where, parts.clock())
  if (round === null) return null
  const state = round.state === null ? {} : { requestState: round.state }
  return { params: { ...params, ...state }, key: { key: round.key, durable: false } }
}

function sealRound(parts: CallParts, passage: Passage, reply: RpcReply): RpcReply {
  if ('error' in reply || reply.result.resultType !== 'input_required') return reply
  const { requestState } = reply.result
  const state = typeof requestState === 'string' ? requestState : null
  const round = { key: passage.key.key, run: passage.principal.run, tool: passage.tool, state }
  const sealed = parts.rounds.seal(round, parts.clock())
  return { result: { ...reply.result, requestState: sealed } }
}
