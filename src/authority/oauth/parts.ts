import type { ClientMetadata } from 'oidc-provider'
import type { Instant, OrgId, RunId } from '../../core/id.ts'
import type { Store } from '../../store/store.ts'
import type { Authority } from '../authority.ts'
import type { Authenticate, Caller } from '../caller.ts'
import type { Keys } from '../keys.ts'
import type { RequestParts } from '../requests.ts'
import type { Templates } from '../templates.ts'
import type { PublicFetchOptions } from './public-fetch.ts'

export type Person = Extract<Caller, { kind: 'person' }>

export interface OAuthSettings {
  /** Every badge is bound to a key of its client (RFC 9449). */
  readonly requireDpop: boolean
  /** Clients may register themselves (RFC 7591). */
  readonly dynamicRegistration: boolean
  /** A client may be named by the URL of its metadata. */
  readonly clientMetadata: boolean
}

/** What the authorization server stands on. */
export interface OAuthParts extends Omit<RequestParts, 'authority'> {
  /** Public URL without a path: the issuer. */
  readonly url: string
  readonly store: Store
  readonly keys: Keys
  readonly clock: () => Instant
  readonly settings: OAuthSettings
  /** Who sits at the browser. */
  readonly authenticate: Authenticate
  readonly authorityOf: (org: OrgId) => Authority
  readonly templates: Pick<Templates, 'all' | 'get'>
  /** The longest life of a lease: nothing that comes from a grant lives longer. */
  readonly leaseSecondsMax: number
  /** Clients that are there without registering: machines, and whoever holds a badge. */
  readonly clients: readonly ClientMetadata[]
  /** How documents of clients are fetched; for tests. */
  readonly publicFetch?: PublicFetchOptions
}

/** The one resource that badges are for (RFC 8707). */
export function audienceOf(url: string): string {
  return `${url}/mcp`
}

/** A person of an organisation, as the authorization server names its accounts. */
export interface Account {
  readonly org: OrgId
  readonly person: string
}

export function accountId({ org, person }: Account): string {
  return JSON.stringify([org, person])
}

/** Throws for what `accountId` has not made. */
export function readAccount(id: string): Account {
  const [org, person] = JSON.parse(id) as [string, string]
  return { org, person }
}

/** The run that a grant is for, which its authorization details say (RFC 9396); null: none. */
export function runOf(details: readonly object[] | undefined): RunId | null {
  const run = (details?.[0] as { run?: unknown } | undefined)?.run
  return typeof run === 'string' ? (run as RunId) : null
}
