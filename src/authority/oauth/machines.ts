import { createPublicKey, type JsonWebKey } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { jwtVerify, SignJWT } from 'jose'
import type { ClientMetadata } from 'oidc-provider'
import { SeenProofs, verifyProof } from '../../badge/dpop.ts'
import type { Presented } from '../../badge/reader.ts'
import type { Instant, OrgId } from '../../core/id.ts'
import { err, ok, type Result } from '../../core/result.ts'
import { newId } from '../../runs/new-id.ts'
import type { Caller, Role } from '../caller.ts'
import type { MachineConfig } from '../config.ts'
import type { Keys } from '../keys.ts'
import { GRANT_TYPES } from './clients.ts'

/** A CI job or an orchestrator of the configuration. */
export interface Machine {
  readonly client: string
  readonly org: OrgId
  readonly roles: ReadonlySet<Role>
  /** The only templates that it may use; null: any that the policy lets it. */
  readonly templates: readonly string[] | null
}

/** Long enough for one job step; what it opened does not end with it. */
const TOKEN_SECONDS = 600
const TYPE = 'at+jwt'
const ALGORITHM = 'EdDSA'

export interface MachineList {
  readonly machines: readonly Machine[]
  readonly clients: readonly ClientMetadata[]
}

export interface MachinesParts {
  readonly url: string
  readonly keys: Keys
  readonly clock: () => Instant
  /** How long a retired key still verifies. */
  readonly overlapMs: number
}

/** Where the tokens of machines are for (RFC 8707): the API, which is not the gateway. */
export function apiAudience(url: string): string {
  return `${url}/v1`
}

/**
 * The machines of a configuration: as clients that sign assertions with their own key
 * (private_key_jwt, RFC 7523), and as callers of the API by the tokens that they get for them.
 */
export class Machines {
  readonly #machines: ReadonlyMap<string, Machine>
  readonly #parts: MachinesParts
  readonly #seen: SeenProofs
  /** For the authorization server. */
  readonly clients: readonly ClientMetadata[]

  constructor({ machines, clients }: MachineList, parts: MachinesParts) {
    this.#machines = new Map(machines.map((machine) => [machine.client, machine]))
    this.clients = clients
    this.#parts = parts
    this.#seen = new SeenProofs(parts.clock())
  }

  named(client: string): Machine | null {
    return this.#machines.get(client) ?? null
  }

  /** An access token for the API (RFC 9068), for a machine that has authenticated. */
  async issue(machine: Machine, jkt: string | null) {
    const { url, keys, clock } = this.#parts
    const now = Math.floor(clock() / 1000)
    const { client, org } = machine
    const bound = jkt === null ? {} : { cnf: { jkt } }
    const token = await new SignJWT({ client_id: client, org, ...bound })
      .setProtectedHeader({ alg: ALGORITHM, typ: TYPE, kid: keys.signing.kid })
      .setIssuer(url)
      .setAudience(apiAudience(url))
      .setSubject(client)
      .setIssuedAt(now)
      .setExpirationTime(now + TOKEN_SECONDS)
      .setJti(newId('token'))
      .sign(keys.signing.privateKey)
    const type = jkt === null ? 'Bearer' : 'DPoP'
    return { access_token: token, token_type: type, expires_in: TOKEN_SECONDS }
  }

  /**
   * Whose token this is; null: of no machine that there is now. Roles are those of the
   * configuration, not of the token. Bound tokens need a proof (RFC 9449 §7).
   */
  async callerOf(presented: Presented): Promise<Extract<Caller, { kind: 'machine' }> | null> {
    const claims = await this.#verify(presented.token)
    if (claims === null) return null
    const machine = this.named(claims.client)
    // An organisation that it was moved from must not be reached with an old token.
    if (machine === null || machine.org !== claims.org) return null
    if (!(await this.#isUsedRightly(presented, claims.jkt))) return null
    const { client, org, roles } = machine
    return { kind: 'machine', client, org, roles }
  }

  async #verify(token: string) {
    const { url, keys, clock, overlapMs } = this.#parts
    try {
      const { payload } = await jwtVerify(
        token,
        ({ kid = '' }) => {
          const key = keys.keyOf(kid, { now: clock(), overlapMs })
          if (key === null) throw new Error('unknown key')
          return key
        },
        {
          ...{ algorithms: [ALGORITHM], typ: TYPE, issuer: url, audience: apiAudience(url) },
          currentDate: new Date(clock()),
          requiredClaims: ['exp', 'sub', 'client_id', 'org'],
        },
      )
      const { client_id: client, org, cnf } = payload
      if (typeof client !== 'string' || typeof org !== 'string') return null
      if (cnf === undefined) return { client, org, jkt: null }
      const jkt = (cnf as { jkt?: unknown }).jkt
      return typeof jkt === 'string' ? { client, org, jkt } : null
    } catch {
      return null
    }
  }

  async #isUsedRightly(presented: Presented, jkt: string | null): Promise<boolean> {
    const { scheme, token, proof, method, path } = presented
    if (jkt === null) return scheme === 'bearer'
    if (scheme !== 'dpop' || proof === null) return false
    const request = { proof, method, url: `${this.#parts.url}${path}`, use: { token, jkt } }
    return (await verifyProof(request, this.#seen, this.#parts.clock())).ok
  }
}

/** The machines of a configuration, with their public keys. The errors are for who writes it. */
export function readMachines(
  configs: readonly MachineConfig[],
  defaultOrg: OrgId,
): Result<MachineList, string[]> {
  const problems: string[] = []
  const clients = configs.flatMap((config) => {
    const keys = keysOf(config)
    if (!keys.ok) problems.push(`the machine \`${config.clientId}\`: ${keys.error}`)
    return keys.ok ? [clientOf(config, keys.value)] : []
  })
  if (problems.length > 0) return err(problems)
  const machines = configs.map(({ clientId, org, roles, templates }) => ({
    ...{ client: clientId, org: org ?? defaultOrg, roles: new Set(roles), templates },
  }))
  return ok({ machines, clients })
}

type ClientKeys = Pick<ClientMetadata, 'jwks' | 'jwks_uri'>

function keysOf({ key }: MachineConfig): Result<ClientKeys, string> {
  if (key.kind === 'url') return ok({ jwks_uri: key.url })
  if (key.kind === 'jwks') return checkKeys(key.jwks.keys)
  let text: string
  try {
    text = readFileSync(key.path, 'utf8')
  } catch {
    return err(`can't read its public key \`${key.path}\``)
  }
  return readKeys(text)
}

/** PEM, one JWK, or a JWKS. */
function readKeys(text: string): Result<ClientKeys, string> {
  try {
    if (text.includes('-----BEGIN')) {
      if (text.includes('PRIVATE KEY')) return err('its key is a private one; give the public half')
      return checkKeys([createPublicKey(text).export({ format: 'jwk' })])
    }
    const json = JSON.parse(text) as { keys?: object[] }
    return checkKeys(json.keys ?? [json])
  } catch {
    return err('its public key is neither PEM, JWK nor JWKS')
  }
}

/** A private key in a configuration is a mistake that must not go unnoticed. */
function checkKeys(keys: readonly object[]): Result<ClientKeys, string> {
  if (keys.length === 0) return err('it has no public key')
  for (const jwk of keys) {
    if ('d' in jwk || 'k' in jwk) return err('its key is a secret one; give the public half')
    try {
      createPublicKey({ format: 'jwk', key: jwk as JsonWebKey })
    } catch {
      return err('its public key is no JWK')
    }
  }
  return ok({ jwks: { keys: keys as never } })
}

function clientOf({ clientId }: MachineConfig, keys: ClientKeys): ClientMetadata {
  return {
    client_id: clientId,
    client_name: clientId,
    token_endpoint_auth_method: 'private_key_jwt',
    grant_types: [GRANT_TYPES.machine, GRANT_TYPES.exchange],
    redirect_uris: [],
    response_types: [],
    ...keys,
  }
}
