import type { Txn } from '../badge/txn.ts'
import type { Outcome } from '../core/command.ts'
import type { Facts } from '../core/facts.ts'
import type { Instant } from '../core/id.ts'
import type { Vocabulary } from '../core/vocabulary.ts'
import type { Runs } from '../runs/runs.ts'
import type { CallKey, Rounds } from './call-key.ts'
import type { Desks } from './desk.ts'
import type { Principal } from './door.ts'
import type { InFlight } from './in-flight.ts'
import type { RpcReply } from './jsonrpc.ts'
import type { Locks } from './locks.ts'
import type { Notice } from './notice.ts'
import type { Results } from './results.ts'
import type { Tasks } from './tasks.ts'
import type { UpstreamReply } from './upstream-link.ts'
import type { Upstreams } from './upstreams.ts'

export interface CallParts {
  readonly runs: Runs
  readonly desks: Desks
  readonly upstreams: Upstreams
  readonly locks: Locks
  readonly inFlight: InFlight
  readonly results: Results
  readonly rounds: Rounds
  readonly tasks: Tasks
  readonly vocabulary: Vocabulary
  readonly clock: () => Instant
  /** Signs what travels with a call to a server that wants it. */
  readonly signTxn: (txn: Txn, audience: string) => string
  /** Shorter in tests. */
  readonly askHoldMs?: number
}

/** A request on its way through the door: what it takes beside the verdict. */
export interface Passage {
  readonly principal: Principal
  readonly key: CallKey
  readonly facts: (salt: string) => Facts | Promise<Facts>
  readonly serials: Parameters<Locks['acquire']>[0]
  readonly send: (
    signal: AbortSignal,
    isOver: () => boolean,
    envelope?: () => string,
  ) => Promise<UpstreamReply>
  readonly signal: AbortSignal
  readonly server: string
  readonly tool: string
  /** What an answer says about the call; for requests whose result is not the call's own. */
  readonly outcomeOf?: (reply: UpstreamReply) => Outcome
  /** How the client reads what the engine says. */
  readonly say: (notice: Notice) => RpcReply
}
