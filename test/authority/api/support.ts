import { createApi } from '../../../src/authority/api/api.ts'
import { Authorities } from '../../../src/authority/authorities.ts'
import { badgeReader } from '../../../src/authority/badge-reader.ts'
import type { Caller, Role } from '../../../src/authority/caller.ts'
import { shippedVocabulary } from '../../../src/authority/catalogs.ts'
import { EMPTY_CONFIG } from '../../../src/authority/config.ts'
import { freshKeys } from '../../../src/authority/keys.ts'
import { authenticateWith } from '../../../src/authority/people/authenticate.ts'
import { cookieOf } from '../../../src/authority/people/cookies.ts'
import { Sessions } from '../../../src/authority/people/sessions.ts'
import { policyOf } from '../../../src/authority/policy.ts'
import { Programs } from '../../../src/authority/programs.ts'
import { Templates } from '../../../src/authority/templates.ts'
import type { Instant, RunId } from '../../../src/core/id.ts'
import { Desks } from '../../../src/gateway/desk.ts'
import { Upstreams } from '../../../src/gateway/upstreams.ts'
import { newId } from '../../../src/runs/new-id.ts'
import { Runs } from '../../../src/runs/runs.ts'
import { openMemory } from '../../../src/store/memory.ts'
import type { Store } from '../../../src/store/store.ts'

export const URL_OF_ALL = 'http://127.0.0.1:4816'

/** A lease document as a client of the API writes it. */
export const LEASE = {
  agent: 'repo-maintenance-agent',
  purpose: 'update dependency',
  user: 'mira@clord.example',
  resources: { repos: ['clord'] },
  actions: ['repo.read', 'repo.push'],
  expires_in: '30m',
  max_tool_calls: 30,
}

export interface Answer {
  readonly status: number
  readonly headers: Headers
  // biome-ignore lint/suspicious/noExplicitAny: a test looks wherever it wants
  readonly body: any
}

/** Sends requests as somebody. */
export type Ask = (
  method: string,
  path: string,
  body?: unknown,
  headers?: Readonly<Record<string, string>>,
) => Promise<Answer>

export interface World {
  readonly store: Store
  readonly runs: Runs
  readonly authorities: Authorities
  readonly api: ReturnType<typeof createApi>
  /** Turns the clock forward. */
  pass(ms: number): void
  /** A person who has signed in. */
  person(person: string, roles: readonly Role[], org?: string): Promise<Ask>
  machine(client: string, roles: readonly Role[], org?: string): Ask
  bearer(token: string): Ask
  fetch(path: string, init?: RequestInit): Promise<Response>
}

/** The API over a store in memory, with sessions, badges and policy as the server wires them. */
export function openWorld(
  options: { readonly store?: Store; readonly templates?: string } = {},
): World {
  let late = 0
  const clock = (): Instant => Date.now() + late
  const store = options.store ?? openMemory()
  const runs = new Runs({ store, clock, executor: newId('exec') })
  const keys = freshKeys(clock())
  const vocabulary = shippedVocabulary()
  const { limits } = EMPTY_CONFIG
  const leaseSecondsMax = limits.maxExpiresInSeconds
  const folder = options.templates ?? null
  const templates = new Templates({ folder, vocabulary, limits, clock })
  const reading = { vocabulary, hosts: {}, bound: new Map() }
  const policy = policyOf({ ...EMPTY_CONFIG, templates }, reading)
  const authorities = new Authorities({
    ...{ runs, store, keys, clock, leaseSecondsMax, mayAdd: policy.mayAdd },
    issuer: () => URL_OF_ALL,
  })
  const sessions = new Sessions({
    store,
    cookie: cookieOf('session', URL_OF_ALL),
    clock,
    rules: '',
  })
  const machines = new Map<string, Extract<Caller, { kind: 'machine' }>>()
  const authenticate = authenticateWith({
    operator: { token: 'operator-token', person: 'mira@clord.example', org: 'local' },
    sessions,
    machineOf: async ({ token }) => machines.get(token) ?? null,
    badges: badgeReader({ url: URL_OF_ALL, keys, clock, runs, ...limits }),
    origin: URL_OF_ALL,
  })
  const upstreams = new Upstreams({}, { client: { name: 'test', version: '1' } })
  const programs = Programs.open(new Map(), null)
  if (!programs.ok) throw new Error(programs.error)
  const desks = new Desks({
    ...{ desks: new Map(), upstreams, pins: new Map(), programs: programs.value, store },
  })
  const api = createApi({
    ...{ authenticate, runs, store, clock, limits, templates, policy, vocabulary, desks },
    authorityOf: (org) => authorities.of(org),
    hosts: {},
    status: () => ({ version: 'test' }),
    catalog: () => ({ servers: {} }),
    pinning: { look: () => null, pin: () => ({ ok: false, error: { code: 'tool_unknown' } }) },
  })
  const fetch = async (path: string, init: RequestInit = {}): Promise<Response> =>
    api.fetch(new Request(URL_OF_ALL + path, init))
  const asker =
    (own: Readonly<Record<string, string>>): Ask =>
    async (method, path, body, headers = {}) => {
      const response = await fetch(path, {
        method,
        headers: {
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
          ...own,
          ...headers,
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      })
      const text = await response.text()
      return {
        status: response.status,
        headers: response.headers,
        body: text === '' ? null : JSON.parse(text),
      }
    }
  return {
    ...{ store, runs, authorities, api, fetch },
    pass: (ms) => {
      late += ms
    },
    person: async (person, roles, org = 'local') => {
      const set = await sessions.start({ org, person, roles: new Set(roles) }, new Headers())
      return asker({ cookie: set.split(';')[0]!, origin: URL_OF_ALL })
    },
    machine: (client, roles, org = 'local') => {
      const token = `token-of-${org}-${client}`
      machines.set(token, { kind: 'machine', org, client, roles: new Set(roles) })
      return asker({ authorization: `Bearer ${token}` })
    },
    bearer: (token) => asker({ authorization: `Bearer ${token}` }),
  }
}

export interface OpenedRun {
  readonly run: RunId
  readonly tree: string
  readonly promptHash: string
}

/** A run that waits for a yes. */
export async function request(ask: Ask, more: Record<string, unknown> = {}): Promise<OpenedRun> {
  const { status, body } = await ask('POST', '/v1/runs', { lease: { ...LEASE, ...more } })
  if (status !== 201) throw new Error(JSON.stringify(body))
  return body
}

/** A run with a yes, and the badge of its agent. */
export async function active(
  { requester, approver }: { readonly requester: Ask; readonly approver: Ask },
  more: Record<string, unknown> = {},
): Promise<OpenedRun & { readonly badge: string }> {
  const opened = await request(requester, more)
  const { promptHash } = opened
  const yes = await approver('POST', `/v1/runs/${opened.run}/approve`, { promptHash })
  if (yes.status !== 200) throw new Error(JSON.stringify(yes.body))
  const { body } = await requester('POST', `/v1/runs/${opened.run}/badge`)
  return { ...opened, badge: body.badge }
}
