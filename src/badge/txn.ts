import { type KeyObject, sign } from 'node:crypto'
import { decodeJwt, type JWTPayload, type JWTVerifyGetKey, jwtVerify } from 'jose'
import type { Touch } from '../core/facts.ts'
import type { AskId, CallId, Instant, LeaseId, OrgId, RunId, TreeId } from '../core/id.ts'
import { err, ok, type Result } from '../core/result.ts'

/**
 * The envelope that travels with a call to a server: a transaction token
 * (draft-ietf-oauth-transaction-tokens-10). It says for which call of which run a message is, so
 * that a tool can refuse by itself. It is checked when the message arrives, so it lives for a
 * minute, however long the call takes; what holds later is asked of the authority.
 */

/** Draft, "HTTP Header": over HTTP. */
export const TXN_HEADER = 'txn-token'
/** Member of `_meta`: over stdio, which has no headers. */
export const TXN_META = 'daypass/txn'

/** Long enough for a message to arrive, a full queue at the server included. */
export const TXN_LIFE_SECONDS = 60
/** The clocks of the gateway's and the tool's machine may be so far apart. */
export const TXN_SKEW_SECONDS = 5
/** How long after it was signed a token can name its call to the authority: as long as a call. */
export const TXN_NAMES_SECONDS = 3_600
/** A header that servers take: most stop at 8 KiB for all of them. Touches beyond are left out. */
export const TXN_TOUCHES_BYTES_MAX = 3_072
/** What no token of ours is longer than. */
const TXN_CHARS_MAX = 16_384

/** Who said yes. Null where nobody had to: a subagent within its parent's lease. */
export type Approver = { readonly person: string } | { readonly policy: string } | null

/** A touch of the call, as the lease had to permit it. */
export type TxnTouch = Pick<Touch, 'action' | 'effect' | 'resources' | 'within'>

/** What a transaction token says. */
export interface Txn {
  readonly org: OrgId
  readonly tree: TreeId
  readonly run: RunId
  /** The runs above, the nearest first. */
  readonly parents: readonly RunId[]
  readonly lease: LeaseId
  /** 1 at approval, one more for each amendment. */
  readonly revision: number
  readonly leaseExpiresAt: Instant
  readonly call: CallId
  readonly requester: string
  readonly agent: string
  readonly purpose: string
  /** As the client names itself; unchecked. */
  readonly client: string | null
  /** `server.tool`. */
  readonly tool: string
  /** What the call was allowed to do; null: too long to travel, the authority knows it. */
  readonly touches: readonly TxnTouch[] | null
  readonly approval: {
    readonly lease: Approver
    /** The approval of exactly this call, if it needed one. */
    readonly ask: { readonly id: AskId; readonly person: string | null } | null
  }
}

export interface TxnIssue {
  readonly key: { readonly kid: string; readonly privateKey: KeyObject }
  readonly issuer: string
  readonly audience: string
  readonly now: Instant
}

/**
 * Signs a token (draft, "Txn-Token Format"). Synchronous: it is made while the message leaves, and
 * takes some 50 µs. It never outlives the lease.
 */
export function issueTxn(txn: Txn, { key, issuer, audience, now }: TxnIssue): string {
  const iat = Math.floor(now / 1000)
  const actions = [...new Set(txn.touches?.map(({ action }) => action))]
  const touches = txn.touches?.map(({ action, effect, resources, within }) => ({
    ...{ action, effect, resources, within },
  }))
  const isShort = JSON.stringify(touches ?? null).length <= TXN_TOUCHES_BYTES_MAX
  const { org, tree, run, parents, lease, revision, agent, purpose, tool, approval } = txn
  const claims = {
    iss: issuer,
    iat,
    exp: Math.min(iat + TXN_LIFE_SECONDS, Math.floor(txn.leaseExpiresAt / 1000)),
    aud: audience,
    txn: txn.call,
    sub: txn.requester,
    scope: actions.join(' '),
    req_wl: `${issuer}/mcp`,
    tctx: {
      ...{ org, tree, run, parents, lease, revision, agent, purpose, tool, approval },
      lease_expires_at: txn.leaseExpiresAt,
      touches: isShort ? (touches ?? null) : null,
    },
    rctx: { client: txn.client },
  }
  const head = { typ: TYPE, alg: ALGORITHM, kid: key.kid }
  const signed = `${encoded(head)}.${encoded(claims)}`
  return `${signed}.${sign(null, Buffer.from(signed), key.privateKey).toString('base64url')}`
}

const TYPE = 'txntoken+jwt'
const ALGORITHM = 'EdDSA'

function encoded(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url')
}

export type TxnFault =
  | 'malformed'
  /** Not signed by the issuer, or not as what it is shown as (threat 47). */
  | 'untrusted'
  /** Meant for another server. */
  | 'other_audience'
  /** Too old; or of a time to come, because the clocks differ. */
  | 'expired'
  /** The keys of the issuer cannot be had now. */
  | 'keys_unavailable'

export interface TxnCheck {
  readonly issuer: string
  /** Null for the issuer itself, who is asked about the tokens of all its servers. */
  readonly audience: string | null
  /** From what is configured, never from the token. Throws jose's error for an unknown key. */
  readonly keys: JWTVerifyGetKey
  readonly now: Instant
  /** The token only names its call to the authority, which then decides on the state. */
  readonly names?: boolean
}

/** Verifies type, algorithm, key, signature, issuer, audience and time. */
export async function verifyTxn(token: string, check: TxnCheck): Promise<Result<Txn, TxnFault>> {
  if (token.length > TXN_CHARS_MAX) return err('malformed')
  try {
    const { payload } = await jwtVerify(token, check.keys, {
      algorithms: [ALGORITHM],
      typ: TYPE,
      issuer: check.issuer,
      ...(check.audience === null ? {} : { audience: check.audience }),
      clockTolerance: TXN_SKEW_SECONDS,
      maxTokenAge: TXN_LIFE_SECONDS,
      currentDate: new Date(check.names === true ? namedAt(token, check.now) : check.now),
      requiredClaims: ['iss', 'iat', 'exp', 'aud', 'txn', 'sub', 'scope', 'req_wl', 'tctx'],
    })
    const txn = readTxn(payload)
    return txn === null ? err('malformed') : ok(txn)
  } catch (error) {
    return err(faultOf(error))
  }
}

/** When to look at a token that names a call: when it was signed, if that is not too long ago. */
function namedAt(token: string, now: Instant): Instant {
  const at = (decodeJwt(token).iat ?? 0) * 1000
  const isRecent = at <= now && now - at <= TXN_NAMES_SECONDS * 1000
  return isRecent ? at : now
}

function faultOf(error: unknown): TxnFault {
  const { code, claim } = error as { code?: string; claim?: string }
  if (code === 'ERR_JWT_EXPIRED') return 'expired'
  if (code === 'ERR_JWT_CLAIM_VALIDATION_FAILED') {
    if (claim === 'aud') return 'other_audience'
    return claim === 'iat' ? 'expired' : 'untrusted'
  }
  if (code === 'ERR_JWT_INVALID' || code === 'ERR_JWS_INVALID') return 'malformed'
  const isKnown = code?.startsWith('ERR_JW') === true || code === 'ERR_JOSE_ALG_NOT_ALLOWED'
  return isKnown && code !== 'ERR_JWKS_TIMEOUT' ? 'untrusted' : 'keys_unavailable'
}

function readTxn(payload: JWTPayload): Txn | null {
  const { txn, sub, tctx, rctx } = payload
  if (!isRecord(tctx) || !isId(txn, 'call_') || !isText(sub)) return null
  const { org, tree, run, parents, lease, revision, agent, purpose, tool } = tctx
  const { approval, touches, lease_expires_at: leaseExpiresAt } = tctx
  const client = isRecord(rctx) ? (rctx.client ?? null) : null
  if (!isId(tree, 'tree_') || !isId(run, 'run_') || !isId(lease, 'lease_')) return null
  if (!isText(org) || !isText(agent) || typeof purpose !== 'string' || !isText(tool)) return null
  if (!Number.isSafeInteger(revision) || !Number.isSafeInteger(leaseExpiresAt)) return null
  if (!Array.isArray(parents) || !parents.every((each) => isId(each, 'run_'))) return null
  if (client !== null && typeof client !== 'string') return null
  if (touches !== null && !(Array.isArray(touches) && touches.every(isTouch))) return null
  const approved = readApproval(approval)
  if (approved === null) return null
  return {
    ...{ org, agent, purpose, tool, client, approval: approved },
    parents: parents as RunId[],
    touches: touches as TxnTouch[] | null,
    tree: tree as TreeId,
    run: run as RunId,
    lease: lease as LeaseId,
    revision: revision as number,
    leaseExpiresAt: leaseExpiresAt as Instant,
    call: txn as CallId,
    requester: sub,
  }
}

function readApproval(value: unknown): Txn['approval'] | null {
  if (!isRecord(value)) return null
  const { lease, ask } = value
  const isApprover = lease === null || (isRecord(lease) && isText(lease.person ?? lease.policy))
  const isAsk =
    ask === null ||
    (isRecord(ask) && isId(ask.id, 'ask_') && (ask.person === null || isText(ask.person)))
  return isApprover && isAsk ? (value as unknown as Txn['approval']) : null
}

function isTouch(value: unknown): value is TxnTouch {
  if (!isRecord(value)) return false
  const { action, effect, resources, within } = value
  return isText(action) && isText(effect) && isValues(resources) && isValues(within)
}

function isValues(value: unknown): boolean {
  if (!isRecord(value)) return false
  return Object.values(value).every((values) => Array.isArray(values) && values.every(isText))
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== ''
}

function isId(value: unknown, prefix: string): value is string {
  return typeof value === 'string' && value.startsWith(prefix)
}
