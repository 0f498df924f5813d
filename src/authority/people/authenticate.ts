import { hash, timingSafeEqual } from 'node:crypto'
import { type BadgeReader, type Presented, presentedIn } from '../../badge/reader.ts'
import type { OrgId } from '../../core/id.ts'
import { type Authenticate, type Caller, ROLES } from '../caller.ts'
import { isFromOwnPage } from './csrf.ts'
import type { Sessions } from './sessions.ts'

/** Longer names are not names of people. */
const PERSON_CHARACTERS_MAX = 320
/** Methods that change nothing (RFC 9110 §9.2.1). */
const SAFE = new Set(['GET', 'HEAD', 'OPTIONS'])

type Machine = Extract<Caller, { kind: 'machine' }>

export interface AuthenticateParts {
  /** The token in `.daypass/server.json`, and for whom it stands. */
  readonly operator: { readonly token: string; readonly person: string; readonly org: OrgId }
  readonly sessions: Sessions
  /** Access tokens of client credentials; null: none of these. */
  readonly machineOf: (presented: Presented) => Promise<Machine | null>
  readonly badges: BadgeReader
  /** Origin of the public URL. */
  readonly origin: string
}

/**
 * Who sent a request: the operator, a machine, an agent, or a person's browser. A request that has
 * an `Authorization` is whoever that proves and nobody else: a token that is wrong does not become
 * the person whose cookie comes with it (threat 28).
 */
export function authenticateWith(parts: AuthenticateParts): Authenticate {
  return async (request) => {
    const { headers } = request
    const authorization = headers.get('authorization')
    if (authorization === null) return personAt(parts, request)
    const path = new URL(request.url).pathname
    const presented = presentedIn(
      { authorization, dpop: headers.get('dpop') },
      { method: request.method, path },
    )
    if (presented === null) return null
    if (isOperator(presented, parts.operator.token)) return operator(parts.operator, headers)
    const machine = await parts.machineOf(presented)
    if (machine !== null) return machine
    const badge = await parts.badges.read(presented)
    return badge === null ? null : { kind: 'agent', badge }
  }
}

/**
 * The person whose browser this is. What changes something must come from a page of ours: a page on
 * another port of the same host is the same site, so `SameSite` alone would let it through.
 */
async function personAt(
  { sessions, origin }: AuthenticateParts,
  { headers, method }: Request,
): Promise<Caller | null> {
  if (!SAFE.has(method) && !isFromOwnPage(headers, origin)) return null
  const session = await sessions.of(headers)
  if (session === null) return null
  const { org, person, roles } = session
  return { kind: 'person', org, person, roles, via: 'console' }
}

/** Compares digests, so that the time taken says nothing about the token (threat 52). */
function isOperator({ scheme, token }: Presented, expected: string): boolean {
  const digest = (value: string) => hash('sha256', value, 'buffer')
  return scheme === 'bearer' && timingSafeEqual(digest(token), digest(expected))
}

function operator(
  { person, org }: AuthenticateParts['operator'],
  headers: Headers,
): Extract<Caller, { kind: 'person' }> {
  const name = personOf(headers.get('daypass-person'), person)
  return { kind: 'person', org, person: name, roles: new Set(ROLES), via: 'terminal' }
}

/**
 * Who speaks. The token proves the operating system's user, who may go by another name in a second
 * terminal; in a local installation that name is taken on their word, as the first one was.
 */
function personOf(given: string | null, operator: string): string {
  if (given === null || given.length > PERSON_CHARACTERS_MAX) return operator
  try {
    return decodeURIComponent(given) || operator
  } catch {
    return operator
  }
}
