import { hash } from 'node:crypto'
import { createRoute, OpenAPIHono } from '@hono/zod-openapi'
import type { Context } from 'hono'
import { bodyLimit } from 'hono/body-limit'
import { HTTPException } from 'hono/http-exception'
import { StoreError } from '../../store/store.ts'
import { VERSION } from '../../version.ts'
import type { Caller } from '../caller.ts'
import { checkCaller, orgOf } from './access.ts'
import { callAnswers, escalationAnswers, inboxHandlers, leaseAnswers } from './approvals.ts'
import { callHandlers } from './calls.ts'
import { type Endpoint, type InputOf, routeOf } from './endpoint.ts'
import { ENDPOINTS, type Endpoints } from './endpoints.ts'
import { EventStreams } from './events.ts'
import { Idempotency } from './idempotency.ts'
import type { ApiParts, Asked, Handlers } from './parts.ts'
import { Problem } from './problem.ts'
import { revocationHandlers } from './revocations.ts'
import { changeHandlers, findWhole, lookHandlers, recordHandlers } from './runs.ts'
import { serverHandlers } from './served.ts'

/** Bodies are a lease, a reason or a hash; a lease has at most 64 KiB, and JSON escapes it. */
const BODY_BYTES_MAX = 256 * 1024

type Env = { Variables: { caller: Caller } }
type Work = (input: InputOf<Endpoint>, asked: Asked) => Promise<unknown>

export interface Api {
  /** Requests for `/v1/*`. */
  readonly fetch: (request: Request) => Response | Promise<Response>
  /** The OpenAPI 3.1 document. */
  readonly document: () => object
  /** Ends the event streams. */
  close(): void
}

/**
 * The HTTP API. Who calls is found out first, what they may ask next, then what they ask: a
 * stranger learns nothing, and what is not understood is refused whole.
 */
export function createApi(parts: ApiParts): Api {
  const app = new OpenAPIHono<Env>({ defaultHook: refuseInvalid })
  const streams = new EventStreams(parts)
  app.openAPIRegistry.registerComponent('securitySchemes', 'bearer', BEARER)
  let made: object | null = null
  const document = () => {
    made ??= app.getOpenAPI31Document(documentHead())
    return made
  }
  app.onError((error) => problemOf(error).response())
  app.notFound(() => new Problem(404, 'not_found', 'no such page of the API').response())
  app.get('/v1/openapi.json', (c) => c.json(document()))
  app.use('*', async (c, next) => {
    const caller = await parts.authenticate(c.req.raw)
    if (caller === null) throw new Problem(401, 'unauthorized', UNAUTHORIZED, CHALLENGE)
    c.set('caller', caller)
    await next()
  })
  const tooLarge = () =>
    new Problem(413, 'too_large', `a body has at most ${BODY_BYTES_MAX} bytes`).response()
  app.use('*', bodyLimit({ maxSize: BODY_BYTES_MAX, onError: tooLarge }))
  register(app, parts, streams)
  return { fetch: (request) => app.fetch(request), document, close: () => streams.close() }
}

const BEARER = {
  type: 'http',
  scheme: 'bearer',
  description:
    'A badge, an access token of a machine, or the token of the operator. A signed-in browser ' +
    'sends its session cookie instead.',
} as const
const UNAUTHORIZED = 'nobody that is known here sent this'
const CHALLENGE = { headers: { 'www-authenticate': 'Bearer' } }

function handlersOf(parts: ApiParts): Handlers {
  return {
    ...lookHandlers(parts),
    ...recordHandlers(parts),
    ...changeHandlers(parts),
    ...callHandlers(parts),
    ...inboxHandlers(parts),
    ...leaseAnswers(),
    ...callAnswers(),
    ...escalationAnswers(parts),
    ...revocationHandlers(parts),
    ...serverHandlers(parts),
  }
}

function register(app: OpenAPIHono<Env>, parts: ApiParts, streams: EventStreams): void {
  const handlers = handlersOf(parts) as Record<string, Work>
  const idempotency = new Idempotency(parts)
  const asked = (c: Context<Env>): Asked => {
    const caller = c.get('caller')
    return { caller, authority: parts.authorityOf(orgOf(caller)), now: parts.clock() }
  }
  for (const [id, endpoint] of Object.entries(ENDPOINTS) as [keyof Endpoints, Endpoint][]) {
    const route = createRoute({
      ...routeOf(id, endpoint),
      // Before anything of the request is read.
      middleware: async (c: Context<Env>, next: () => Promise<void>) => {
        checkCaller(c.get('caller'), endpoint)
        await next()
      },
    })
    app.openapi(route, async (c: Context) => {
      const input = inputOf(c, endpoint)
      if (id === 'streamEvents') return watch(streams, c, input, asked(c))
      const work = () => handlers[id]!(input, asked(c))
      const key = c.req.header('idempotency-key')
      // A badge is a secret and is not kept; to issue one again changes nothing.
      const isOnce = endpoint.method === 'post' && key !== undefined && id !== 'issueBadge'
      if (!isOnce) return c.json(await work(), endpoint.status)
      const digest = hash('sha256', `POST ${c.req.path}\n${await c.req.text()}`, 'hex')
      const answer = await idempotency.once({ key, digest, caller: c.get('caller') }, work)
      return c.json(answer, endpoint.status)
    })
  }
  refuseOtherMethods(app)
}

/** What passed the schemas of the endpoint. */
function inputOf(c: Context, { method, path }: Endpoint): InputOf<Endpoint> {
  const valid = (part: string): unknown => c.req.valid(part as never)
  return {
    params: (path.includes('{') ? valid('param') : {}) as InputOf<Endpoint>['params'],
    query: valid('query'),
    body: method === 'post' ? valid('json') : {},
  }
}

async function watch(
  streams: EventStreams,
  c: Context,
  input: InputOf<Endpoint>,
  asked: Asked,
): Promise<Response> {
  const { params } = input as InputOf<Endpoints['streamEvents']>
  const { key } = await findWhole(asked, params.run)
  const after = Number(c.req.header('last-event-id') ?? 0)
  return streams.open({ key, caller: asked.caller, after, signal: c.req.raw.signal })
}

/** RFC 9110 §15.5.6: a page that is there, asked in a way that it does not answer. */
function refuseOtherMethods(app: OpenAPIHono<Env>): void {
  const methods = new Map<string, string[]>()
  for (const { method, path } of Object.values(ENDPOINTS) as Endpoint[]) {
    methods.set(path, [...(methods.get(path) ?? []), method.toUpperCase()])
  }
  for (const [path, allowed] of methods) {
    const headers = { allow: allowed.join(', ') }
    app.all(path.replaceAll(/\{(\w+)\}/g, ':$1'), () =>
      new Problem(405, 'method_not_allowed', `use ${headers.allow}`, { headers }).response(),
    )
  }
}

interface Validated {
  readonly success: boolean
  readonly target: string
  readonly error?: { readonly issues: readonly { path: PropertyKey[]; message: string }[] }
}

function refuseInvalid({ success, target, error }: Validated): undefined {
  if (success) return undefined
  const where = { json: 'body', param: 'path', query: 'query', header: 'header' }[target] ?? target
  const errors = (error?.issues ?? []).map(({ path, message }) => ({
    at: [where, ...path.map(String)].join('.'),
    message,
  }))
  const first = errors[0] === undefined ? 'the request' : `${errors[0].at}: ${errors[0].message}`
  throw new Problem(400, 'malformed', first, { more: { errors } })
}

function problemOf(error: unknown): Problem {
  if (error instanceof Problem) return error
  // What the library itself refuses: a body that is no JSON.
  if (error instanceof HTTPException && error.status < 500) {
    return new Problem(400, 'malformed', 'the body is not JSON')
  }
  if (error instanceof StoreError) {
    const message = 'the store cannot say what it holds: look before you try again'
    return new Problem(503, 'ledger_unavailable', message)
  }
  return new Problem(500, 'internal', 'the request failed; look before you try again')
}

function documentHead() {
  const tags = [...new Set((Object.values(ENDPOINTS) as Endpoint[]).map(({ tag }) => tag))]
  return {
    openapi: '3.1.0',
    info: {
      title: 'Daypass',
      version: VERSION,
      description:
        'Runs, leases, approvals and receipts. `x-daypass-callers` of an operation names the ' +
        'roles that may use it; `agent` is a badge.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: '/' }],
    security: [{ bearer: [] }],
    tags: tags.map((name) => ({ name, description: TAGS[name]! })),
  }
}

const TAGS: Readonly<Record<string, string>> = {
  Runs: 'Opening, looking at, pausing and ending runs.',
  Records: 'What was recorded of a run.',
  Calls: 'Calls whose tool runs outside, behind an enforcement point of its own.',
  Approvals: 'What waits for a person. No machine and no agent answers.',
  Revocations: 'Ending many runs at once.',
  Catalog: 'Tools, and the acceptance of what a person saw.',
  Templates: 'Leases that can be asked for by name.',
  Server: 'The server itself.',
}
