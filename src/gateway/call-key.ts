import { createHash, createHmac, randomUUID, timingSafeEqual } from 'node:crypto'
import type { Instant } from '../core/id.ts'
import type { Principal, ToolCallRequest } from './door.ts'

/** Where clients put the id of a tool use; the same in a hook and at the gateway. */
const TOOL_USE_META = ['claudecode/toolUseId', 'callId'] as const
const KEY_CHARACTERS_MAX = 256
/** How long a client may take to answer an `input_required` round. */
const ROUND_MS = 15 * 60_000

export interface CallKey {
  readonly key: string
  /** The client can repeat it after a restart of either side. */
  readonly durable: boolean
}

/**
 * The key under which a repeated call is recognised. A tool-use id or an `Idempotency-Key` holds
 * for the run; a JSON-RPC id only within one connection; otherwise no call repeats another.
 */
export function callKeyOf(principal: Principal, request: ToolCallRequest): CallKey {
  for (const member of TOOL_USE_META) {
    const id = Object.hasOwn(request.meta, member) ? request.meta[member] : undefined
    if (isKey(id)) return { key: `use:${member}:${wordOf(id)}`, durable: true }
  }
  if (isKey(request.idempotencyKey)) {
    return { key: `idem:${wordOf(request.idempotencyKey)}`, durable: true }
  }
  if (principal.session !== '') {
    const id = wordOf(JSON.stringify(request.requestId))
    return { key: `rpc:${principal.session}:${id}`, durable: false }
  }
  return { key: `once:${randomUUID()}`, durable: false }
}

function isKey(value: unknown): value is string {
  return typeof value === 'string' && value !== ''
}

/**
 * A key as the ledger holds it. One that is long or strange is hashed, not dropped: a call whose
 * key is dropped would be made again by whoever repeats it.
 */
function wordOf(key: string): string {
  if (key.length <= KEY_CHARACTERS_MAX && /^[\x21-\x24\x26-\x7e]+$/.test(key)) return key
  return `%${createHash('sha256').update(key, 'utf16le').digest('hex')}`
}

interface Round {
  readonly key: string
  readonly run: string
  readonly tool: string
  readonly until: Instant
  readonly nonce: string
  /** The upstream's own state; null if it sent none. */
  readonly state: string | null
}

/**
 * `requestState` of `input_required` rounds (MCP 2026-07-28). The client holds it, so it is an
 * input like any other: it carries the call key and the upstream's own state, is authenticated,
 * bound to run and tool, used once, and only says that the call goes on: the call itself is decided
 * again.
 */
export class Rounds {
  readonly #secret: Buffer
  readonly #open = new Map<string, Instant>()

  constructor(secret: Buffer) {
    this.#secret = secret
  }

  seal(round: Omit<Round, 'until' | 'nonce'>, now: Instant): string {
    for (const [nonce, until] of this.#open) if (until <= now) this.#open.delete(nonce)
    const nonce = randomUUID()
    this.#open.set(nonce, now + ROUND_MS)
    const sealed: Round = { ...round, until: now + ROUND_MS, nonce }
    const body = Buffer.from(JSON.stringify(sealed)).toString('base64url')
    return `${body}.${this.#mac(body)}`
  }

  /** Null: not ours, tampered with, of another run or tool, too old, or used before. */
  open(text: unknown, where: { run: string; tool: string }, now: Instant): Round | null {
    if (typeof text !== 'string') return null
    const [body = '', mac = '', ...more] = text.split('.')
    if (more.length > 0) return null
    const expected = Buffer.from(this.#mac(body))
    const given = Buffer.from(mac)
    if (given.length !== expected.length || !timingSafeEqual(given, expected)) return null
    const round = JSON.parse(Buffer.from(body, 'base64url').toString()) as Round
    if (round.run !== where.run || round.tool !== where.tool || now >= round.until) return null
    return this.#open.delete(round.nonce) ? round : null
  }

  #mac(body: string): string {
    return createHmac('sha256', this.#secret).update(`requestState\n${body}`).digest('base64url')
  }
}
