/** What clients may say about themselves, and what we make of it. */

/** Hosts on which a program of the person's own computer listens (RFC 8252 §7.3). */
const LOOPBACK_HOSTS: ReadonlySet<string> = new Set(['localhost', '127.0.0.1', '[::1]'])

/**
 * Schemes by which an operating system hands an address to a program. An unknown one could start
 * anything (threat 49), so besides reversed domain names (RFC 8252 §7.1) only these are let
 * through.
 */
const APP_SCHEMES: ReadonlySet<string> = new Set([
  ...['cursor:', 'vscode:', 'vscode-insiders:', 'vscodium:', 'windsurf:', 'zed:', 'jetbrains:'],
])
const REVERSED_DOMAIN = /^[a-z][a-z0-9-]*(?:\.[a-z0-9-]+)+:$/

export const GRANT_TYPES = {
  code: 'authorization_code',
  refresh: 'refresh_token',
  device: 'urn:ietf:params:oauth:grant-type:device_code',
  /** RFC 8693: delegation. */
  exchange: 'urn:ietf:params:oauth:grant-type:token-exchange',
  /** Only machines of the configuration get anything for it. */
  machine: 'client_credentials',
} as const

/** RFC 9396: the one type of authorization details that we know. */
export const LEASE_TYPE = 'daypass_lease'

/** A client's description while it is being read (RFC 7591 §2). */
type Metadata = Record<string, unknown>

/** Where an answer would go. Fails closed: an address that is not understood goes nowhere. */
export type Destination =
  /** A program of the person's own computer: which one, nobody can tell (threat 50). */
  | { readonly kind: 'loopback' | 'app'; readonly name: string }
  | { readonly kind: 'web'; readonly name: string }

/** Who asks, as the page shows it. All of it is the client's own claim, but the address. */
export interface ShownClient {
  readonly name: string
  /** Where its document is published; null: it has registered itself. */
  readonly publishedBy: string | null
  /** Null: a device, whose code the person has typed. */
  readonly destination: Destination | null
}

/** Null: nothing is ever sent there. */
export function destinationOf(redirectUri: string): Destination | null {
  const url = URL.parse(redirectUri)
  if (url === null || url.hash !== '' || url.username !== '' || url.password !== '') return null
  if (url.protocol === 'https:') return { kind: 'web', name: url.host }
  if (url.protocol === 'http:') {
    return LOOPBACK_HOSTS.has(url.hostname) ? { kind: 'loopback', name: url.host } : null
  }
  const isApp = APP_SCHEMES.has(url.protocol) || REVERSED_DOMAIN.test(url.protocol)
  return isApp ? { kind: 'app', name: url.protocol.slice(0, -1) } : null
}

/**
 * Reads what a client says about itself, whether it registers or publishes a document, and changes
 * it to what is held against it. False: it wants answers sent where nothing is ever sent.
 */
export function normalizeClient(
  metadata: Metadata,
  { requireDpop }: { readonly requireDpop: boolean },
): boolean {
  const uris: unknown[] = Array.isArray(metadata.redirect_uris) ? metadata.redirect_uris : []
  const kinds = uris.map((uri) => (typeof uri === 'string' ? destinationOf(uri) : null)?.kind)
  if (kinds.includes(undefined)) return false
  // RFC 8252 §7.3: the port of a program on this computer is free, and only there.
  const isNative = kinds.length > 0 && kinds.every((kind) => kind !== 'web')
  metadata.application_type = isNative ? 'native' : 'web'
  // A scope of ours names a template, and which one may be used is asked at every run.
  delete metadata.scope
  metadata.authorization_details_types = [LEASE_TYPE]
  const known: readonly unknown[] = Object.values(GRANT_TYPES)
  if (Array.isArray(metadata.grant_types)) {
    metadata.grant_types = metadata.grant_types.filter((type) => known.includes(type))
  }
  if (requireDpop) metadata.dpop_bound_access_tokens = true
  return true
}
