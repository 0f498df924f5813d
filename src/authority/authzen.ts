import { z } from '@hono/zod-openapi'
import { type Context, Hono } from 'hono'
import { bodyLimit } from 'hono/body-limit'
import type { Txn, TxnFault } from '../badge/txn.ts'
import type { AskId, CallId, Instant, Json, OrgId, RunId } from '../core/id.ts'
import type { Result } from '../core/result.ts'
import type { Run, Tree } from '../core/tree.ts'
import type { Runs } from '../runs/runs.ts'
import { StoreError } from '../store/store.ts'
import { maySee, orgOf } from './api/access.ts'
import { Problem } from './api/problem.ts'
import { type Answer, answerOf, type Question } from './authzen-judge.ts'
import type { Authenticate, Caller } from './caller.ts'
import type { Reading } from './read-only.ts'

/**
 * AuthZEN Authorization API 1.0: is this run allowed to do this action right now, for this
 * resource, under this approval, before this expiry? The subject is a run. A denial is an answer
 * (200); every answer is computed from the state that is stored at that moment.
 */

const BODY_BYTES_MAX = 256 * 1024
/** Questions in one request: each is judged by itself. */
const EVALUATIONS_MAX = 100
const NAME_CHARACTERS_MAX = 4_096
const VALUES_MAX = 256

export interface AuthzenParts {
  /** The public URL. */
  readonly url: string
  readonly authenticate: Authenticate
  /** The tool that was called with this transaction token. */
  readonly txnOf: (token: string) => Promise<Result<Txn, TxnFault>>
  readonly runs: Runs
  readonly clock: () => Instant
  readonly reading: Reading
  readonly serves: (server: string) => boolean
}

/** Who asks: somebody who is known here, or a tool about the call that reached it. */
type Asker = { readonly caller: Caller } | { readonly txn: Txn }

const name = z.string().min(1).max(NAME_CHARACTERS_MAX)
const values = z.record(name, z.array(name).max(VALUES_MAX))
const entity = z.looseObject({ type: name, id: name })
const context = z.looseObject({
  /** The call that is under way; `txn` is what a transaction token calls it. */
  call: name.optional(),
  txn: name.optional(),
  /** The id of the ask that a person has answered with yes. */
  approval: name.optional(),
  expiry: z.union([z.int().min(0), z.iso.datetime({ offset: true })]).optional(),
  resources: values.optional(),
  within: values.optional(),
  arguments: z.record(name, z.unknown()).optional(),
})
const question = z.looseObject({
  subject: entity,
  action: z.looseObject({ name }),
  resource: entity,
  context: context.optional(),
})
const SEMANTICS = ['execute_all', 'deny_on_first_deny', 'permit_on_first_permit'] as const
const several = z.looseObject({
  evaluations: z.array(z.looseObject({})).max(EVALUATIONS_MAX).optional(),
  options: z.looseObject({ evaluations_semantic: z.enum(SEMANTICS).optional() }).optional(),
})

type Asked = z.output<typeof question>
interface Evaluation {
  readonly decision: boolean
  readonly context: Readonly<Record<string, unknown>>
}

/** Whether a path is answered here. */
export function isAuthzen(path: string): boolean {
  return path.startsWith('/access/') || path === '/.well-known/authzen-configuration'
}

export function createAuthzen(parts: AuthzenParts): Hono {
  const app = new Hono()
  const tooLarge = () =>
    new Problem(413, 'too_large', `a body has at most ${BODY_BYTES_MAX} bytes`).response()
  app.use('/access/*', async (c, next) => {
    await next()
    const id = c.req.header('x-request-id')
    if (id !== undefined) c.res.headers.set('x-request-id', id)
  })
  app.use('/access/*', bodyLimit({ maxSize: BODY_BYTES_MAX, onError: tooLarge }))
  app.get('/.well-known/authzen-configuration', (c) => c.json(metadataOf(parts.url)))
  app.post('/access/v1/evaluation', async (c) => {
    const asker = await askerOf(parts, c.req.raw)
    const asked = question.safeParse(await bodyOf(c))
    if (!asked.success) throw malformed(asked.error)
    return c.json(await evaluate(parts, asker, asked.data))
  })
  app.post('/access/v1/evaluations', async (c) => {
    const asker = await askerOf(parts, c.req.raw)
    return c.json(await evaluateAll(parts, asker, await bodyOf(c)))
  })
  app.notFound(() => new Problem(404, 'not_found', 'no such page here').response())
  app.onError((error) => {
    if (error instanceof Problem) return error.response()
    // Whoever asks gets no answer that could be taken for a yes.
    const status = error instanceof StoreError ? 503 : 500
    return new Problem(status, 'unavailable', 'nothing could be decided').response()
  })
  return app
}

/** AuthZEN 1.0 §9.1. */
function metadataOf(url: string) {
  return {
    policy_decision_point: url,
    access_evaluation_endpoint: `${url}/access/v1/evaluation`,
    access_evaluations_endpoint: `${url}/access/v1/evaluations`,
  }
}

async function askerOf({ authenticate, txnOf }: AuthzenParts, request: Request): Promise<Asker> {
  const caller = await authenticate(request)
  if (caller !== null) return { caller }
  const token = /^bearer (\S+)$/i.exec(request.headers.get('authorization') ?? '')?.[1]
  const txn = token === undefined ? null : await txnOf(token)
  if (txn?.ok) return { txn: txn.value }
  const headers = { 'www-authenticate': 'Bearer' }
  throw new Problem(401, 'unauthorized', 'nobody that is known here sent this', { headers })
}

async function bodyOf(c: Context): Promise<Record<string, unknown>> {
  const body: unknown = await c.req.json().catch(() => null)
  if (typeof body === 'object' && body !== null && !Array.isArray(body)) {
    return body as Record<string, unknown>
  }
  throw new Problem(400, 'malformed', 'the body is not a JSON object')
}

function malformed({ issues }: z.ZodError): Problem {
  const [first] = issues
  const at = first === undefined ? 'the request' : first.path.map(String).join('.')
  return new Problem(400, 'malformed', `${at}: ${first?.message ?? 'cannot be read'}`)
}

/** AuthZEN 1.0 §7: defaults of the request, overridden by each evaluation; three semantics. */
async function evaluateAll(
  parts: AuthzenParts,
  asker: Asker,
  body: Record<string, unknown>,
): Promise<Evaluation | { evaluations: Evaluation[] }> {
  const read = several.safeParse(body)
  if (!read.success) throw malformed(read.error)
  const { evaluations = [], options, ...defaults } = read.data
  // Without evaluations it is the request of the other endpoint (§7.1).
  if (evaluations.length === 0) {
    const asked = question.safeParse(defaults)
    if (!asked.success) throw malformed(asked.error)
    return evaluate(parts, asker, asked.data)
  }
  const semantic = options?.evaluations_semantic ?? 'execute_all'
  const answers: Evaluation[] = []
  for (const own of evaluations) {
    const asked = question.safeParse({ ...defaults, ...own })
    const answer = asked.success
      ? await evaluate(parts, asker, asked.data)
      : unreadable(malformed(asked.error))
    answers.push(answer)
    if (semantic === 'deny_on_first_deny' && !answer.decision) break
    if (semantic === 'permit_on_first_permit' && answer.decision) break
  }
  return { evaluations: answers }
}

function unreadable({ message }: Problem): Evaluation {
  return { decision: false, context: { reason: 'malformed', error: { status: 400, message } } }
}

async function evaluate(parts: AuthzenParts, asker: Asker, asked: Asked): Promise<Evaluation> {
  const { subject } = asked
  const denied = (reason: string): Evaluation => ({ decision: false, context: { reason } })
  if (subject.type !== 'run') return denied('subject_unknown')
  const org = 'txn' in asker ? asker.txn.org : orgOf(asker.caller)
  const found = await readFresh(parts.runs, org, subject.id as RunId)
  // What must not be known of is not there.
  if (found === null || !maySeeAs(asker, found.tree, found.run)) return denied('run_unknown')
  const { tree, run } = found
  const asks = questionOf(asked)
  // A tool asks about the call that reached it, and about no other.
  if ('txn' in asker && asks.call !== null && asks.call !== asker.txn.call) {
    return denied('not_this_call')
  }
  const call = 'txn' in asker ? asker.txn.call : asks.call
  const answer = answerOf(tree, run, {
    question: { ...asks, call },
    ...{ clock: parts.clock(), reading: parts.reading, serves: parts.serves },
  })
  return viewOf(answer, run)
}

function maySeeAs(asker: Asker, tree: Tree, run: Run): boolean {
  if ('caller' in asker) return maySee(asker.caller, tree, run)
  return asker.txn.tree === tree.id && asker.txn.run === run.id
}

/** As it is stored now, by whatever process. */
async function readFresh(
  runs: Runs,
  org: OrgId,
  id: RunId,
): Promise<{ tree: Tree; run: Run } | null> {
  const key = await runs.find(org, id)
  const tree = key === null ? null : await runs.tree(key).read({ fresh: true })
  const run = tree?.runs.get(id)
  return tree === null || run === undefined ? null : { tree, run }
}

function questionOf({ action, resource, context = {} }: Asked): Question {
  const { expiry, resources = {} } = context
  const { type, id } = resource
  const others = Object.hasOwn(resources, type) ? resources[type]! : []
  return {
    action: action.name,
    resource: { type, id },
    resources: { ...resources, [type]: [id, ...others] },
    within: context.within ?? {},
    args: (context.arguments ?? {}) as Readonly<Record<string, Json>>,
    call: ((context.call ?? context.txn) as CallId | undefined) ?? null,
    ask: (context.approval as AskId | undefined) ?? null,
    expiry: typeof expiry === 'string' ? Date.parse(expiry) : (expiry ?? null),
  }
}

function viewOf(answer: Answer, { id, lease }: Run): Evaluation {
  const expires = lease?.expiresAt == null ? null : new Date(lease.expiresAt).toISOString()
  const state = { run: id, lease: lease?.id ?? null, revision: lease?.revision ?? 0, expires }
  if (answer.decision) return { decision: true, context: { ...state, reason: 'allowed' } }
  const { reason, determined } = answer
  return { decision: false, context: { ...state, reason, determined } }
}
