import { hash } from 'node:crypto'
import type { BadgeReader } from '../../badge/reader.ts'
import type { Instant } from '../../core/id.ts'
import type { Store } from '../../store/store.ts'
import { type Authenticate, ROLES } from '../caller.ts'
import type { PeopleConfig } from '../config.ts'
import type { Keys } from '../keys.ts'
import { sealWith } from '../oauth/seal.ts'
import { type AuthenticateParts, authenticateWith } from './authenticate.ts'
import { cookieOf } from './cookies.ts'
import { type Csrf, csrfWith } from './csrf.ts'
import { Idp } from './idp.ts'
import { SignInLinks } from './links.ts'
import { Sessions } from './sessions.ts'
import { createSignIn, type SignInMode } from './sign-in.ts'

export interface PeopleParts {
  /** Public URL without a path. */
  readonly url: string
  readonly store: Store
  readonly keys: Pick<Keys, 'derive'>
  readonly clock: () => Instant
  /** Null: local mode, with the operator as the one person. */
  readonly config: PeopleConfig | null
  readonly operator: AuthenticateParts['operator']
  readonly machineOf: AuthenticateParts['machineOf']
  readonly badges: BadgeReader
}

export interface People {
  readonly authenticate: Authenticate
  readonly sessions: Sessions
  readonly csrf: Csrf
  /** Requests for `/sign-in` and below. */
  readonly fetch: (request: Request) => Response | Promise<Response>
  /** Local mode: one-time links for the operator's terminal. Null: people sign in elsewhere. */
  readonly links: SignInLinks | null
}

/** Whether a path is one of the sign-in pages. */
export function isSignIn(path: string): boolean {
  return path === '/sign-in' || path.startsWith('/sign-in/')
}

/** The people of an installation: how they sign in, and who sent a request. */
export function createPeople(parts: PeopleParts): People {
  const { store, keys, clock, config, operator } = parts
  // As browsers write it in `Origin`.
  const url = new URL(parts.url).origin
  const sessions = new Sessions({
    ...{ store, clock },
    cookie: cookieOf('daypass', url),
    rules: rulesOf(config, operator.person),
  })
  const csrf = csrfWith(keys.derive('csrf'))
  const { person, org } = operator
  const links = config === null ? new SignInLinks({ store, clock, url }) : null
  const mode: SignInMode =
    config === null
      ? { kind: 'local', links: links!, person: { org, person, roles: new Set(ROLES) } }
      : { kind: 'team', config, idp: idpOf(config, { url, clock }) }
  const authenticate = authenticateWith({ ...parts, sessions, origin: url })
  const app = createSignIn({
    ...{ url, clock, mode, sessions, csrf, authenticate, defaultOrg: org },
    attempts: { cookie: cookieOf('daypass-sign-in', url), seal: sealWith(keys.derive('sign-in')) },
  })
  return { authenticate, sessions, csrf, links, fetch: (request) => app.fetch(request) }
}

function idpOf(config: PeopleConfig, { url, clock }: Pick<PeopleParts, 'url' | 'clock'>): Idp {
  return new Idp({ config, redirectUri: `${url}/sign-in/callback`, clock })
}

/** Digest of what makes somebody a person with roles here. Another one ends all sessions. */
function rulesOf(config: PeopleConfig | null, operator: string): string {
  const rules =
    config === null
      ? ['local', operator]
      : [config.issuer, config.clientId, config.personClaim, config.roles, config.org]
  return hash('sha256', JSON.stringify(rules), 'base64url')
}
