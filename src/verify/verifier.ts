import { createRemoteJWKSet } from 'jose'
import { type Txn, type TxnFault, verifyTxn } from '../badge/txn.ts'
import { err, ok, type Result } from '../core/result.ts'

/** How long a tool waits for its authority; without an answer it refuses. */
const ANSWER_MS = 5_000
/**
 * Between two looks for a key that is not known: a key that was rotated in is found soon, and
 * forged names of keys do not become a flood of requests.
 */
const KEYS_COOLDOWN_MS = 5_000

/** What a verified token says: which call of which run this is. Made only here. */
export type Envelope = Txn

/** What a tool is about to do: an action on one resource, in the words of the lease. */
export interface Need {
  /** `note.delete` */
  readonly action: string
  /** Type of the resource, `projects`. */
  readonly type: string
  /** The resource, `apollo`. */
  readonly id: string
}

export interface Refusal {
  /**
   * `missing`, a fault of the token, `unavailable` (nobody can say, so: no), or the authority's
   * reason, such as `lease_ended`.
   */
  readonly code: string
  readonly message: string
}

export interface VerifierOptions {
  /** URL of the authority (`server.url` of `daypass.yaml`). Absent: `DAYPASS_ISSUER`. */
  readonly issuer?: string
  /**
   * Who the tool is: the URL at which the gateway reaches it, without query; over stdio its name in
   * `daypass.yaml`. Absent: `DAYPASS_AUDIENCE`, which the gateway sets for its child processes.
   */
  readonly audience?: string
  /** Milliseconds since 1970; for tests. */
  readonly clock?: () => number
}

/**
 * Checks the tokens that arrive with calls, and asks the authority what a call may do. Whatever
 * goes wrong is a refusal. The keys are the configured issuer's: fetched once, kept for 10 minutes,
 * and never taken from a token.
 */
export class Verifier {
  readonly issuer: string
  readonly audience: string
  readonly #clock: () => number
  readonly #keys: ReturnType<typeof createRemoteJWKSet>
  /** Beside the envelopes, so that whoever logs one does not log its token. */
  readonly #tokens = new WeakMap<Envelope, string>()

  /** Throws a TypeError for a configuration that could not verify anything. */
  constructor(options: VerifierOptions = {}) {
    const { DAYPASS_ISSUER, DAYPASS_AUDIENCE } = process.env
    this.issuer = issuerOf(options.issuer ?? DAYPASS_ISSUER)
    this.audience = options.audience ?? DAYPASS_AUDIENCE ?? ''
    if (this.audience === '') throw new TypeError('no `audience`: say whom tokens must be for')
    this.#clock = options.clock ?? Date.now
    this.#keys = createRemoteJWKSet(new URL(`${this.issuer}/oauth/jwks`), {
      timeoutDuration: ANSWER_MS,
      cooldownDuration: KEYS_COOLDOWN_MS,
    })
  }

  /** Verifies the token of a call that arrives now: signature, type, issuer, audience, time. */
  async verify(token: unknown): Promise<Result<Envelope, Refusal>> {
    if (typeof token !== 'string' || token === '') return err(refusal('missing'))
    const { issuer, audience } = this
    const check = { issuer, audience, keys: this.#keys, now: this.#clock() }
    const verified = await verifyTxn(token, check)
    if (!verified.ok) return err(refusal(verified.error))
    this.#tokens.set(verified.value, token)
    return verified
  }

  /**
   * Is this run allowed to do this action right now, for this resource, under this approval, before
   * this expiry? Asks the authority (AuthZEN 1.0), which decides on the state of the run. Ask again
   * before each step that cannot be undone: a lease can end while a tool works.
   */
  async ask(envelope: Envelope, need: Need): Promise<Result<void, Refusal>> {
    const token = this.#tokens.get(envelope)
    if (token === undefined) throw new TypeError('not an envelope of this verifier')
    const { action, type, id } = need
    const question = {
      subject: { type: 'run', id: envelope.run },
      action: { name: action },
      resource: { type, id },
      context: { txn: envelope.call },
    }
    try {
      const response = await fetch(`${this.issuer}/access/v1/evaluation`, {
        method: 'POST',
        headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
        body: JSON.stringify(question),
        redirect: 'error',
        signal: AbortSignal.timeout(ANSWER_MS),
      })
      const answer = (await response.json()) as Answer | null
      if (response.status === 200 && answer?.decision === true) return ok(undefined)
      const reason = answer?.decision === false ? answer.context?.reason : null
      const code = typeof reason === 'string' ? reason : 'unavailable'
      return err({ code, message: `${envelope.run} may not ${action} on ${type} \`${id}\`` })
    } catch {
      return err(refusal('unavailable'))
    }
  }
}

interface Answer {
  readonly decision?: unknown
  readonly context?: { readonly reason?: unknown }
}

/** Keys that come over an open network could be anybody's. */
function issuerOf(text: string | undefined): string {
  const url = text === undefined ? null : URL.parse(text)
  if (url === null) throw new TypeError('no `issuer`: say the URL of the authority')
  const isHere = /^(?:localhost|127\.0\.0\.1|\[::1\])$/.test(url.hostname)
  if (url.protocol === 'https:' || (url.protocol === 'http:' && isHere)) {
    return text!.replace(/\/$/, '')
  }
  throw new TypeError('`issuer` must be an https URL (http only on this machine)')
}

const MESSAGES: Readonly<Record<TxnFault | 'missing' | 'unavailable', string>> = {
  missing: 'this call carries no token of Daypass; make it through the gateway',
  malformed: 'the token of this call cannot be read',
  untrusted: 'the token of this call is not of the authority that this tool believes',
  other_audience: 'the token of this call is for another server',
  expired: 'the token of this call is not good at this time',
  keys_unavailable: 'the keys of the authority cannot be had now',
  unavailable: 'the authority does not answer now',
}

function refusal(code: keyof typeof MESSAGES): Refusal {
  return { code, message: MESSAGES[code] }
}
