import { randomUUID } from 'node:crypto'
import { ClientSession } from './client-session.ts'
import type { Principal } from './door.ts'
import type { Gate } from './gate.ts'
import type { RequestId } from './jsonrpc.ts'
import type { EventStream } from './sse.ts'

/** Sessions that one run may hold; a client that leaks them must not fill the memory. */
const SESSIONS_PER_RUN_MAX = 64
/** A session without a request or a stream for this long is over. */
const SESSION_IDLE_MS = 3_600_000
const SWEEP_MS = 60_000

/** A client session of the legacy era. It belongs to the principal that opened it. */
export interface Session {
  readonly id: string
  readonly principal: Principal
  readonly version: string
  /** Requests in flight, so that `notifications/cancelled` finds them. */
  readonly inFlight: Map<RequestId, AbortController>
  readonly client: ClientSession
  stream: EventStream | null
  seenAt: number
}

/** The legacy sessions of one gateway process. */
export class SessionTable {
  readonly #sessions = new Map<string, Session>()
  readonly #gate: Gate
  readonly #sweep: NodeJS.Timeout

  constructor(gate: Gate) {
    this.#gate = gate
    this.#sweep = setInterval(() => this.#endIdle(), SWEEP_MS)
    this.#sweep.unref()
  }

  /** Opens a session under an id that cannot be guessed; null when the run has too many. */
  open(opener: Principal, version: string, capabilities: unknown): Session | null {
    let held = 0
    for (const session of this.#sessions.values()) if (sameRun(session, opener)) held++
    if (held >= SESSIONS_PER_RUN_MAX) return null
    const id = randomUUID()
    const principal = { ...opener, session: id }
    const push = (text: string): boolean => {
      session.stream?.send(text)
      return session.stream !== null
    }
    const session: Session = {
      id,
      principal,
      version,
      inFlight: new Map(),
      client: new ClientSession({ gate: this.#gate, principal, capabilities, push }),
      stream: null,
      seenAt: performance.now(),
    }
    this.#sessions.set(id, session)
    return session
  }

  /**
   * The session of this id, if this principal opened it. A session id is a name and no credential:
   * for anybody else it does not exist.
   */
  find(id: string, principal: Principal): Session | null {
    const session = this.#sessions.get(id)
    if (session === undefined || !sameRun(session, principal)) return null
    session.seenAt = performance.now()
    return session
  }

  end(session: Session): void {
    if (!this.#sessions.delete(session.id)) return
    session.stream?.end()
    for (const abort of session.inFlight.values()) abort.abort()
    void session.client.close()
    this.#gate.door.sessionEnded(session.principal)
  }

  close(): void {
    clearInterval(this.#sweep)
    for (const session of [...this.#sessions.values()]) this.end(session)
  }

  #endIdle(): void {
    const now = performance.now()
    for (const session of [...this.#sessions.values()]) {
      const idle = session.stream === null && session.inFlight.size === 0
      if (idle && now - session.seenAt > SESSION_IDLE_MS) this.end(session)
    }
  }
}

function sameRun({ principal }: Session, other: Principal): boolean {
  return principal.org === other.org && principal.tree === other.tree && principal.run === other.run
}
