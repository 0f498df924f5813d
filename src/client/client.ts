import { createParser, type EventSourceMessage } from 'eventsource-parser'
import type { z } from 'zod'
import type { Endpoint, ParametersOf } from '../authority/api/endpoint.ts'
import type { Endpoints } from '../authority/api/endpoints.ts'
import type { Entry } from '../core/entry.ts'
import type { RunId } from '../core/id.ts'
import { OPERATIONS } from './operations.ts'

export type { Entry } from '../core/entry.ts'

/** A server that does not answer in this time is taken for down. */
const ANSWER_MS = 60_000
/** Before a stream of events that broke off is taken up again. */
const RECONNECT_MS = 1_000

export interface ClientOptions {
  /** The public URL of the server, such as `https://daypass.example`. */
  readonly url: string
  /** A badge, an access token of a machine, or the token of the operator. */
  readonly token: string
  /** Sent with every request. */
  readonly headers?: Readonly<Record<string, string>>
}

// biome-ignore lint/complexity/noBannedTypes: asks whether every member of T can be left out
type IsOptional<T> = {} extends T ? true : false
type Part<N extends string, T> =
  IsOptional<T> extends true ? { readonly [K in N]?: T } : { readonly [K in N]: T }

export interface RequestOptions {
  /** The same key with the same request gets the first answer again, for 24 hours. */
  readonly idempotencyKey?: string
  readonly signal?: AbortSignal
}

/** What an operation takes: the parameters of its path, its query, its body. */
export type RequestOf<E extends Endpoint> = Part<'params', ParametersOf<E['path']>> &
  Part<'query', z.input<E['query']>> &
  Part<'body', z.input<E['body']>> &
  RequestOptions
export type AnswerTo<K extends keyof Endpoints> = z.output<Endpoints[K]['answer']>

type Operation<K extends keyof Endpoints> =
  IsOptional<RequestOf<Endpoints[K]>> extends true
    ? (request?: RequestOf<Endpoints[K]>) => Promise<AnswerTo<K>>
    : (request: RequestOf<Endpoints[K]>) => Promise<AnswerTo<K>>

export interface Watch {
  readonly params: { readonly run: RunId }
  /** Sequence number of the last entry that is known; 0: from the first. */
  readonly after?: number
  readonly signal?: AbortSignal
}

/** Every operation of the API, by its operation id. Rejects with a `DaypassError`. */
export type Client = {
  readonly [K in Exclude<keyof Endpoints, 'streamEvents'>]: Operation<K>
} & {
  /** Entries as they are recorded, each once and in order, until the run tree is closed. */
  readonly streamEvents: (watch: Watch) => AsyncGenerator<Entry>
}

/** An answer that is no success (RFC 9457), or none at all (`status` 0, `code` `unreachable`). */
export class DaypassError extends Error {
  readonly status: number
  /** The reason code: `run_unknown`, `prompt_mismatch`, … */
  readonly code: string
  readonly problem: Readonly<Record<string, unknown>>

  constructor(status: number, problem: Readonly<Record<string, unknown>>, options?: ErrorOptions) {
    super(typeof problem.detail === 'string' ? problem.detail : `status ${status}`, options)
    this.name = 'DaypassError'
    this.status = status
    this.code = typeof problem.title === 'string' ? problem.title : 'unknown'
    this.problem = problem
  }
}

interface AnyRequest extends RequestOptions {
  readonly params?: Readonly<Record<string, string>>
  readonly query?: Readonly<Record<string, unknown>>
  readonly body?: unknown
}

/** A client of the API. Its types are those of the server's schemas; nothing is checked twice. */
export function createClient(options: ClientOptions): Client {
  const operations = Object.entries(OPERATIONS).map(([id, where]) => [
    id,
    (request: AnyRequest = {}) => send(options, where, request),
  ])
  return {
    ...Object.fromEntries(operations),
    streamEvents: (watch: Watch) => watchEntries(options, watch),
  } as Client
}

async function send(options: ClientOptions, where: string, request: AnyRequest): Promise<unknown> {
  const { body, idempotencyKey, signal } = request
  const timeout = AbortSignal.timeout(ANSWER_MS)
  const response = await reach(options, where, request, {
    signal: signal === undefined ? timeout : AbortSignal.any([signal, timeout]),
    headers: {
      accept: 'application/json',
      ...(where.startsWith('post ') ? { 'content-type': 'application/json' } : {}),
      ...(idempotencyKey === undefined ? {} : { 'idempotency-key': idempotencyKey }),
    },
    ...(where.startsWith('post ') ? { body: JSON.stringify(body ?? {}) } : {}),
  })
  return response.json()
}

/** The response to a request; an answer that is no success is an error. */
async function reach(
  { url, token, headers }: ClientOptions,
  where: string,
  { params = {}, query = {} }: AnyRequest,
  init: RequestInit & { readonly headers: Readonly<Record<string, string>> },
): Promise<Response> {
  const [method = '', template = ''] = where.split(' ')
  const path = template.replaceAll(/\{(\w+)\}/g, (_, name) => encodeURIComponent(params[name]!))
  const given = Object.entries(query).filter(([, value]) => value !== undefined)
  const search = new URLSearchParams(
    given.map(([name, value]): [string, string] => [name, String(value)]),
  )
  const target = `${url.replace(/\/$/, '')}${path}${given.length === 0 ? '' : `?${search}`}`
  const authorization = `Bearer ${token}`
  let response: Response
  try {
    response = await fetch(target, {
      ...init,
      method: method.toUpperCase(),
      headers: { ...headers, ...init.headers, authorization },
      // A token goes to the server that was named, and to no other.
      redirect: 'error',
    })
  } catch (cause) {
    if (init.signal?.aborted) throw init.signal.reason
    const problem = { title: 'unreachable', detail: `${url} does not answer` }
    throw new DaypassError(0, problem, { cause })
  }
  if (response.ok) return response
  const problem: unknown = await response.json().catch(() => ({}))
  throw new DaypassError(response.status, problem as Readonly<Record<string, unknown>>)
}

/** Takes the stream up again where it broke off; ends when the tree is closed. */
async function* watchEntries(
  options: ClientOptions,
  { params, after = 0, signal }: Watch,
): AsyncGenerator<Entry> {
  for (let last = after; ; ) {
    const response = await reach(
      options,
      OPERATIONS.streamEvents,
      { params },
      {
        headers: { accept: 'text/event-stream', 'last-event-id': String(last) },
        ...(signal === undefined ? {} : { signal }),
      },
    )
    try {
      for await (const entry of entriesIn(response)) {
        last = entry.seq
        yield entry
        if (entry.type === 'tree.closed') return
      }
    } catch (error) {
      if (signal?.aborted) throw signal.reason
      // A connection that broke is taken up again; what is no entry is not.
      if (error instanceof SyntaxError) throw error
    }
    await new Promise((resolve) => setTimeout(resolve, RECONNECT_MS))
  }
}

async function* entriesIn(response: Response): AsyncGenerator<Entry> {
  const ready: EventSourceMessage[] = []
  const parser = createParser({ onEvent: (event) => ready.push(event) })
  const decoder = new TextDecoder()
  for await (const chunk of response.body as ReadableStream<Uint8Array>) {
    parser.feed(decoder.decode(chunk, { stream: true }))
    for (const { data } of ready.splice(0)) yield JSON.parse(data) as Entry
  }
}
