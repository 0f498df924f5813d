import { type createRoute, z } from '@hono/zod-openapi'
import type { AskId, CallId, EscalationId, RunId } from '../../core/id.ts'
import type { Role } from '../caller.ts'
import { PROBLEM_TYPE } from './problem.ts'
import { askId, callId, escalationId, name, problem, runId } from './schemas.ts'

/** Who may use an endpoint: a role of a person or a machine, or an agent by its badge. */
export type CallerWord = Role | 'agent'

/**
 * An endpoint as data: the server registers it, the OpenAPI document describes it, and the types of
 * the client follow from it.
 */
export interface Endpoint<
  M extends 'get' | 'post' | 'delete' = 'get' | 'post' | 'delete',
  P extends string = string,
  Q extends z.ZodType = z.ZodType,
  B extends z.ZodType = z.ZodType,
  A extends z.ZodType = z.ZodType,
> {
  readonly method: M
  readonly path: P
  readonly tag: string
  readonly summary: string
  readonly callers: readonly CallerWord[]
  /** A machine may not use it whatever its roles: only a signed-in person approves. */
  readonly personsOnly: boolean
  readonly query: Q
  readonly body: B
  readonly status: 200 | 201
  readonly answer: A
  /** The answer is a stream of server-sent events; `answer` is one of them. */
  readonly streams: boolean
}

/** No query, no body. */
export const nothing = z.strictObject({})
type Nothing = typeof nothing

/** Declares an endpoint; what is not said is: no query, no body, 200, no stream. */
export function endpoint<
  const M extends 'get' | 'post' | 'delete',
  const P extends string,
  A extends z.ZodType,
  Q extends z.ZodType = Nothing,
  B extends z.ZodType = Nothing,
>(declared: {
  readonly method: M
  readonly path: P
  readonly tag: string
  readonly summary: string
  readonly callers: readonly CallerWord[]
  readonly personsOnly?: boolean
  readonly query?: Q
  readonly body?: B
  readonly status?: 200 | 201
  readonly answer: A
  readonly streams?: boolean
}): Endpoint<M, P, Q, B, A> {
  return {
    personsOnly: false,
    status: 200,
    streams: false,
    ...declared,
    query: (declared.query ?? nothing) as Q,
    body: (declared.body ?? nothing) as B,
  }
}

/** What may stand in a path, and what it must look like. */
const PARAMETERS = {
  run: runId,
  ask: askId,
  call: callId,
  escalation: escalationId,
  lock: z.string().regex(/^lock_[A-Za-z0-9]{1,64}$/),
  server: name,
  tool: name,
  template: name,
} as const

interface ParameterTypes {
  readonly run: RunId
  readonly ask: AskId
  readonly call: CallId
  readonly escalation: EscalationId
}

type NamesIn<P extends string> = P extends `${string}{${infer N}}${infer Rest}`
  ? N | NamesIn<Rest>
  : never

/** The parameters of a path template: `{run}` is a `RunId`. */
export type ParametersOf<P extends string> = {
  readonly [N in NamesIn<P>]: N extends keyof ParameterTypes ? ParameterTypes[N] : string
}

function parametersOf(path: string) {
  const names = [...path.matchAll(/\{(\w+)\}/g)].map(
    ([, found]) => found as keyof typeof PARAMETERS,
  )
  return z.object(Object.fromEntries(names.map((each) => [each, PARAMETERS[each]])))
}

/** What a handler gets, checked; and what it answers. */
export interface InputOf<E extends Endpoint> {
  readonly params: ParametersOf<E['path']>
  readonly query: z.output<E['query']>
  readonly body: z.output<E['body']>
}
export type AnswerOf<E extends Endpoint> = z.output<E['answer']>

const IDEMPOTENCY = z.object({
  'idempotency-key': z
    .string()
    .min(1)
    .max(255)
    .optional()
    .openapi({
      description:
        'The same key with the same body gets the first answer again, for 24 hours; with another ' +
        'body it is refused.',
    }),
})
const LAST_EVENT = z.object({
  'last-event-id': z
    .string()
    .regex(/^\d{1,15}$/)
    .optional()
    .openapi({
      description: 'Sequence number of the last entry that was received.',
    }),
})

const PROBLEMS: readonly (readonly [status: number, description: string])[] = [
  [400, 'The request is malformed.'],
  [401, 'Nobody that is known sent this.'],
  [403, 'The caller may not do this.'],
  [404, 'There is no such thing here, or the caller must not know of it.'],
  [409, 'The state of the run does not let this happen.'],
  [413, 'The request is too large.'],
  [422, 'The idempotency key was used for another request.'],
  [429, 'Too many requests.'],
  [503, 'Nothing is known to have been done; try again later.'],
]

function problems() {
  return Object.fromEntries(
    PROBLEMS.map(([status, description]) => [
      status,
      { description, content: { [PROBLEM_TYPE]: { schema: problem } } },
    ]),
  )
}

/** The endpoint as the OpenAPI library takes it. */
export function routeOf(operationId: string, each: Endpoint): Parameters<typeof createRoute>[0] {
  const type = each.streams ? 'text/event-stream' : 'application/json'
  const headers = each.streams ? LAST_EVENT : each.method === 'post' ? IDEMPOTENCY : undefined
  const params = parametersOf(each.path)
  return {
    method: each.method,
    path: each.path,
    operationId,
    tags: [each.tag],
    summary: each.summary,
    'x-daypass-callers': [...each.callers],
    request: {
      ...(Object.keys(params.shape).length === 0 ? {} : { params }),
      query: each.query as z.ZodObject,
      ...(headers === undefined ? {} : { headers }),
      ...(each.method === 'post'
        ? { body: { required: true, content: { 'application/json': { schema: each.body } } } }
        : {}),
    },
    responses: {
      [each.status]: { description: each.summary, content: { [type]: { schema: each.answer } } },
      ...problems(),
    },
  }
}
