import { existsSync, readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { formatProblem, type Path, YamlReader } from '../catalog/yaml-reader.ts'
import { err, ok, type Result } from '../core/result.ts'
import { DEFAULT_LEASE_LIMITS, type LeaseLimits } from '../lease-file/limits.ts'
import type { Role } from './caller.ts'
import { applyOverrides } from './config-env.ts'
import { readShape } from './config-issues.ts'
import type { ConfigFile } from './config-schema.ts'
import { type Reading, readServers, type ServerConfig } from './config-servers.ts'
import { resolveText, Secret } from './secret.ts'

export type { ServerConfig } from './config-servers.ts'

/** `daypass.yaml` with everything that it leaves out. Durations are seconds. */
export interface Config {
  readonly servers: readonly ServerConfig[]
  readonly server: {
    /** The public URL: issuer, and where clients find the gateway; null: the loopback one. */
    readonly url: string | null
    /** Where `daypass serve` listens. */
    readonly listen: { readonly host: string; readonly port: number }
    /** Proxies in front whose `X-Forwarded-For` is believed. */
    readonly trustProxy: number
  }
  /** Where people sign in; null: local mode, with one person and all roles. */
  readonly people: PeopleConfig | null
  /** CI jobs and orchestrators, by client credentials. */
  readonly machines: readonly MachineConfig[]
  readonly oauth: {
    readonly requireDpop: boolean
    readonly dynamicRegistration: boolean
    readonly clientMetadata: boolean
  }
  readonly approvals: {
    /** The requester may answer their own request. */
    readonly self: boolean
    readonly answerSeconds: number
  }
  /** As it is written; `policy.ts` says what it means. */
  readonly policy: PolicyConfig
  readonly limits: LeaseLimits
  readonly rates: RateConfig
  /** Every secret that was resolved, so that it can be hidden where somebody else repeats it. */
  readonly secrets: readonly Secret[]
}

export interface PeopleConfig {
  readonly issuer: string
  readonly clientId: string
  readonly clientSecret: Secret
  /** The claim that says who somebody is. */
  readonly personClaim: string
  readonly roles: {
    readonly claim: string
    /** Role → values of the claim that give it. */
    readonly map: Readonly<Partial<Record<Role, readonly string[]>>>
  }
  /** Value of the claim → organisation; null: there is one. */
  readonly org: { readonly claim: string; readonly map: Readonly<Record<string, string>> } | null
}

export interface MachineConfig {
  readonly clientId: string
  readonly key:
    | { readonly kind: 'file'; readonly path: string }
    | { readonly kind: 'url'; readonly url: string }
    | { readonly kind: 'jwks'; readonly jwks: { readonly keys: readonly object[] } }
  /** Null: the one organisation of an installation that has one. */
  readonly org: string | null
  readonly roles: readonly Role[]
  /** The only templates that it may use; null: as its roles. */
  readonly templates: readonly string[] | null
}

export type PolicyConfig = NonNullable<ConfigFile['policy']>

/** Requests a minute, prompts an hour. */
export interface RateConfig {
  readonly perCaller: number
  readonly perAddress: number
  readonly signIn: number
  readonly prompts: number
}

export const DEFAULT_LISTEN = { host: '127.0.0.1', port: 8460 } as const
/** An agent in a loop stays below; a flood from one credential does not starve the others. */
const PER_CALLER = 60_000
const PER_ADDRESS = 120_000
/** Each costs a signature or a request to the identity provider. */
const SIGN_IN = 1_200
/** Prompts an hour: a person who is asked more often stops reading (threat 71). */
const PROMPTS = 240
const ANSWER_SECONDS = 300

export const EMPTY_CONFIG: Config = {
  servers: [],
  server: { url: null, listen: DEFAULT_LISTEN, trustProxy: 0 },
  people: null,
  machines: [],
  oauth: { requireDpop: false, dynamicRegistration: true, clientMetadata: true },
  approvals: { self: true, answerSeconds: ANSWER_SECONDS },
  policy: {},
  limits: DEFAULT_LEASE_LIMITS,
  rates: {
    perCaller: PER_CALLER,
    perAddress: PER_ADDRESS,
    signIn: SIGN_IN,
    prompts: PROMPTS,
  },
  secrets: [],
}

/** Members whose value is a secret, also where somebody writes it into the file. */
const NAMED_SECRET = /auth|cookie|credential|key|pass|secret|token/i

export interface ConfigOptions {
  /** What overrides the file and holds its secrets; the environment of this process if absent. */
  readonly env?: NodeJS.ProcessEnv
  /**
   * `leave`: references stay as they are, for whoever does not start servers. Secrets need not be
   * there then, and no program is asked for them.
   */
  readonly secrets?: 'resolve' | 'leave'
}

/** Reads a configuration file. Problems read `daypass.yaml:14:5: …`. */
export function loadConfig(file: string, options: ConfigOptions = {}): Result<Config, string[]> {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch {
    return err([`can't read \`${file}\`; write one with \`daypass init\``])
  }
  return parseConfig(text, file, options)
}

/** Reads the text of `daypass.yaml`. Relative paths are relative to the file's folder. */
export function parseConfig(
  text: string,
  file: string,
  { env = process.env, secrets = 'resolve' }: ConfigOptions = {},
): Result<Config, string[]> {
  const reader = new YamlReader(text, file)
  const root = reader.root()
  const map = root === null ? {} : (reader.map([], root) ?? {})
  if (reader.problems.length > 0) return err(reader.problems.map(formatProblem))
  const { values, from, problems } = applyOverrides(map, env)
  const fail = (path: Path, message: string, at?: 'value' | 'key'): undefined => {
    const variable = from.get(path.slice(0, 2).join('.'))
    if (variable === undefined) return reader.fail(path, message, at)
    problems.push(`${variable}: ${message}`)
    return undefined
  }
  const shape = readShape(values, fail)
  const found: Secret[] = []
  const folder = resolve(file, '..')
  const resolveAt = (path: Path, written: string): string => {
    if (secrets === 'leave') return written
    const resolved = resolveText(written, { folder, env })
    if (!resolved.ok) return fail(path, resolved.error) ?? ''
    const literal = NAMED_SECRET.test(String(path.at(-1)))
      ? [written, written.split(' ').at(-1)!]
      : []
    found.push(...[...resolved.value.secrets, ...literal].map((value) => new Secret(value)))
    return resolved.value.text
  }
  const config = shape === null ? null : build(shape, { folder, fail, resolve: resolveAt })
  const all = [...reader.problems.map(formatProblem), ...problems]
  return config === null || all.length > 0 ? err(all) : ok({ ...config, secrets: found })
}

/** What the fields mean together. */
function build(file: ConfigFile, reading: Reading): Omit<Config, 'secrets'> {
  const { limits, rates } = EMPTY_CONFIG
  return {
    servers: readServers(file.servers, reading),
    server: readServer(file.server, reading),
    people: file.people === undefined ? null : readPeople(file.people, reading),
    machines: readMachines(file.machines ?? [], reading),
    oauth: {
      requireDpop: file.oauth?.require_dpop ?? EMPTY_CONFIG.oauth.requireDpop,
      dynamicRegistration:
        file.oauth?.dynamic_registration ?? EMPTY_CONFIG.oauth.dynamicRegistration,
      clientMetadata: file.oauth?.client_metadata ?? EMPTY_CONFIG.oauth.clientMetadata,
    },
    approvals: {
      self: file.approvals?.self ?? EMPTY_CONFIG.approvals.self,
      answerSeconds: file.approvals?.answer_within ?? ANSWER_SECONDS,
    },
    policy: readPolicy(file, reading),
    limits: {
      ...limits,
      maxExpiresInSeconds: file.limits?.max_expires_in ?? limits.maxExpiresInSeconds,
      maxToolCalls: file.limits?.max_tool_calls ?? limits.maxToolCalls,
    },
    rates: {
      perCaller: file.limits?.per_caller ?? rates.perCaller,
      perAddress: file.limits?.per_address ?? rates.perAddress,
      signIn: file.limits?.sign_in ?? rates.signIn,
      prompts: file.limits?.prompts ?? rates.prompts,
    },
  }
}

const LOOPBACK = /^(?:localhost|127\.0\.0\.1|\[::1\])$/

function readServer(server: ConfigFile['server'], { fail }: Reading): Config['server'] {
  const url = server?.url ?? null
  const [, host = '', port = ''] = /^(.*):(\d+)$/.exec(server?.listen ?? '') ?? []
  const listen = server?.listen === undefined ? DEFAULT_LISTEN : { host, port: Number(port) }
  if (listen.port > 65_535) fail(['server', 'listen'], 'a port is at most 65535')
  const isTls = url?.startsWith('https://') === true
  if (url !== null && !isTls && !(URL.canParse(url) && LOOPBACK.test(new URL(url).hostname))) {
    fail(['server', 'url'], 'must be https: badges would travel in the clear')
  }
  if (!LOOPBACK.test(listen.host) && !isTls) {
    const write = 'write `server.url: https://…`, of the proxy in front that ends TLS'
    fail(
      ['server', 'listen'],
      `others can reach this, and badges would travel in the clear; ${write}`,
    )
  }
  return { url, listen, trustProxy: server?.trust_proxy ?? 0 }
}

function readPeople(
  people: NonNullable<ConfigFile['people']>,
  { fail, resolve: resolveAt }: Reading,
): PeopleConfig {
  if (Object.keys(people.roles.map).length === 0) {
    fail(['people', 'roles', 'map'], 'nobody would have a role: write `requester: [VALUE]`')
  }
  return {
    issuer: people.issuer,
    clientId: people.client_id,
    clientSecret: new Secret(resolveAt(['people', 'client_secret'], people.client_secret)),
    personClaim: people.person?.claim ?? 'email',
    roles: people.roles,
    org: people.org ?? null,
  }
}

function readMachines(
  machines: NonNullable<ConfigFile['machines']>,
  { fail, folder }: Reading,
): MachineConfig[] {
  return machines.flatMap((machine, index) => {
    const path = ['machines', index]
    const same = machines.findIndex((other) => other.client_id === machine.client_id)
    if (same < index) fail([...path, 'client_id'], 'another machine has this name')
    const { public_key: file, jwks_uri: url, jwks } = machine
    const key = keyOf(file === undefined ? undefined : resolve(folder, file), url, jwks)
    if (key === null) {
      fail([...path, 'client_id'], 'write one of `public_key`, `jwks_uri` and `jwks` for it')
      return []
    }
    if (key.kind === 'file' && !existsSync(key.path)) {
      fail([...path, 'public_key'], `can't read \`${file}\``)
    }
    const { client_id: clientId, org = null, roles, templates = null } = machine
    return [{ clientId, key, org, roles, templates }]
  })
}

/** The key of a machine, which has exactly one; null: none, or several. */
function keyOf(
  path: string | undefined,
  url: string | undefined,
  jwks: MachineJwks | undefined,
): MachineConfig['key'] | null {
  if ([path, url, jwks].filter((each) => each !== undefined).length !== 1) return null
  if (path !== undefined) return { kind: 'file', path }
  if (url !== undefined) return { kind: 'url', url }
  return { kind: 'jwks', jwks: jwks! }
}

type MachineJwks = NonNullable<NonNullable<ConfigFile['machines']>[number]['jwks']>

function readPolicy({ policy = {}, approvals }: ConfigFile, { fail }: Reading): PolicyConfig {
  for (const [index, { persons, roles, self }] of (policy.approve ?? []).entries()) {
    if (persons !== undefined || roles !== undefined || self === false) continue
    const path = ['policy', 'approve', index]
    fail(path, 'this rule asks for nothing: write `persons`, `roles` or `self: false`')
  }
  const under = approvals?.read_only_under
  if (under === undefined) return policy
  if (policy.read_only !== undefined) {
    fail(['approvals', 'read_only_under'], '`policy.read_only` says this too: keep one of them')
  }
  return { ...policy, read_only: { under } }
}
