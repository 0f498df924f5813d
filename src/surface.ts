import type { IncomingMessage, ServerResponse } from 'node:http'
import { getRequestListener } from '@hono/node-server'
import { createApi } from './authority/api/api.ts'
import { LOCAL_ORG } from './authority/authorities.ts'
import { createAuthzen, isAuthzen } from './authority/authzen.ts'
import { Front } from './authority/front.ts'
import { createOAuth } from './authority/oauth/oauth.ts'
import { HOLDER, registerOwn } from './authority/oauth/register.ts'
import { asset } from './authority/pages/layout.ts'
import { createPeople, isSignIn, type People } from './authority/people/people.ts'
import { type Readiness, readinessOf } from './authority/readiness.ts'
import { hiding } from './authority/secret.ts'
import { catalogOf, statusOf } from './authority/status.ts'
import type { OrgId } from './core/id.ts'
import { type Engine, type Parts, SERVER_INFO } from './engine.ts'
import type { HostRules } from './gateway/http-guard.ts'
import { createMcpHandler } from './gateway/http-server.ts'

/** Everything that answers HTTP, behind one handler. */
export interface Surface {
  handle(req: IncomingMessage, res: ServerResponse): void
  readonly people: People
  readonly readiness: () => Promise<Readiness>
  /** Lets nothing new in. */
  drain(): void
  /** Ends sessions and streams. */
  close(): void
}

/** Puts it together over an engine. */
export function surfaceOf(parts: Parts, engine: Engine, hostRules: HostRules): Surface {
  const { config, clock, keys, store, options } = parts
  const { url, runs, upstreams, door, machines, badges } = engine
  const people = createPeople({
    ...{ url, store, keys, clock, badges, config: config.people },
    operator: { token: engine.operatorToken, person: options.operator, org: LOCAL_ORG },
    machineOf: (presented) => machines.callerOf(presented),
  })
  const api = apiOf(parts, engine, people)
  const oauth = oauthOf(parts, engine, people)
  const metadata = `${url}/.well-known/oauth-protected-resource/mcp`
  const mcp = createMcpHandler(door, upstreams, {
    ...{ serverInfo: SERVER_INFO, hostRules, resourceMetadataUrl: metadata },
  })
  const authzen = authzenOf(parts, engine, people)
  const rest = getRequestListener((request) => {
    const { pathname } = new URL(request.url)
    if (isSignIn(pathname)) return people.fetch(request)
    return asset(pathname) ?? (isAuthzen(pathname) ? authzen : api).fetch(request)
  })
  const { executor } = runs
  const readiness = readinessOf({ store, executor, keys, upstreams, clock })
  const front = frontOf(parts, { hosts: hostRules.hosts, readiness })
  return {
    handle: (req, res) => {
      const path = req.url?.split('?', 1)[0] ?? ''
      if (front.answers(req, res, path)) return
      if (path === '/mcp') mcp(req, res)
      else if (oauth.serves(path)) oauth.handle(req, res)
      else void rest(req, res)
    },
    ...{ people, readiness },
    drain: () => front.drain(),
    close: () => {
      mcp.close()
      api.close()
    },
  }
}

function apiOf(parts: Parts, engine: Engine, { authenticate }: People) {
  const { config, store, clock } = parts
  const { runs, desks, vocabulary, hosts, templates, policy, pinning, upstreams } = engine
  return createApi({
    ...{ authenticate, runs, store, clock, desks, vocabulary, hosts, templates, policy },
    authorityOf: (org) => engine.authorities.of(org),
    limits: config.limits,
    status: () => statusOf(parts, upstreams),
    catalog: () => catalogOf(parts, desks),
    pinning,
  })
}

function oauthOf(parts: Parts, engine: Engine, { authenticate }: People) {
  const { config, options, store, keys, clock } = parts
  const { url, vocabulary, hosts, templates, policy, machines, badges } = engine
  const common = {
    ...{ url, store, keys, clock, authenticate, vocabulary, hosts, templates },
    ruleFor: policy.ruleFor,
    authorityOf: (org: OrgId) => engine.authorities.of(org),
    settings: config.oauth,
    ...(options.publicFetch === undefined ? {} : { publicFetch: options.publicFetch }),
    leaseSecondsMax: config.limits.maxExpiresInSeconds,
    clients: [HOLDER, ...machines.clients],
  }
  const grants = { badges, machines, limits: config.limits, ...config.oauth, ...common }
  return createOAuth(common, (provider) => registerOwn(provider, grants))
}

function authzenOf({ clock, desks: bound }: Parts, engine: Engine, { authenticate }: People) {
  const { url, runs, txns, vocabulary, hosts, desks } = engine
  return createAuthzen({
    ...{ url, authenticate, runs, clock },
    txnOf: (token) => txns.read(token),
    reading: { vocabulary, hosts, bound },
    serves: (server) => desks.serves(server),
  })
}

/** What every request passes first. */
function frontOf(
  { options, config, clock }: Parts,
  wired: { readonly hosts: readonly string[]; readonly readiness: () => Promise<Readiness> },
): Front {
  const log = options.serve?.log(hiding(config.secrets)) ?? null
  const { rates, server } = config
  return new Front({ ...wired, rates, trustProxy: server.trustProxy, clock, log })
}
