import { err, ok, type Result } from '../core/result.ts'
import {
  INVALID_PARAMS,
  isObject,
  type JsonObject,
  type RpcError,
  type RpcReply,
  rpcError,
} from './jsonrpc.ts'

/**
 * What a server may ask of a client, and the capability with which a client says that it answers.
 */
const CAPABILITY_FOR: Readonly<Record<string, string>> = {
  'elicitation/create': 'elicitation',
  'sampling/createMessage': 'sampling',
  'roots/list': 'roots',
}
/** Questions in one round of `input_required`; a person is asked each of them. */
const QUESTIONS_MAX = 32
const TASKS_EXTENSION = 'io.modelcontextprotocol/tasks'

/** Of what a client can do, that which upstreams may make use of; everything else stays here. */
export function relayedCapabilities(
  declared: JsonObject,
  options: { readonly withholdsRoots: boolean; readonly tasks: boolean },
): JsonObject {
  const relayed: JsonObject = {}
  for (const name of Object.values(CAPABILITY_FOR)) {
    if (name === 'roots' && options.withholdsRoots) continue
    if (isObject(declared[name])) relayed[name] = declared[name]
  }
  if (options.tasks && declaresTasks(declared)) relayed.extensions = { [TASKS_EXTENSION]: {} }
  return relayed
}

export function declaresTasks({ extensions }: JsonObject): boolean {
  return isObject(extensions) && isObject(extensions[TASKS_EXTENSION])
}

/** The extension as servers and clients declare it. */
export const TASKS_DECLARED: JsonObject = { extensions: { [TASKS_EXTENSION]: {} } }

/**
 * A question of a server as its client may see it, or why it must not (threat 35): a person is told
 * who asks, before anything that the server says, and is sent to no page that is not https. What
 * belongs to the server's own hop (progress token, task) stays behind.
 */
export function guardQuestion(
  server: string,
  method: unknown,
  params: JsonObject,
): Result<JsonObject, string> {
  if (typeof method !== 'string' || !Object.hasOwn(CAPABILITY_FOR, method)) {
    return err('it asked for something that Daypass does not know')
  }
  const { task: _task, _meta, ...rest } = params
  const meta = isObject(_meta) ? withoutToken(_meta) : undefined
  const clean: JsonObject = meta === undefined ? rest : { ...rest, _meta: meta }
  if (method === 'sampling/createMessage') {
    // To the client all servers behind the gateway are one: their context is not one server's to
    // see.
    const { includeContext: _context, ...sampling } = clean
    return ok(sampling)
  }
  if (method !== 'elicitation/create') return ok(clean)
  if (clean.mode === 'url' || clean.url !== undefined) {
    const url = typeof clean.url === 'string' ? URL.parse(clean.url) : null
    if (url?.protocol !== 'https:' || url.username !== '' || url.password !== '') {
      return err('it asked to open a page that is not plain https')
    }
  }
  const said = typeof clean.message === 'string' ? clean.message : ''
  return ok({ ...clean, message: `[from server ${server}, not from Daypass] ${said}` })
}

function withoutToken({ progressToken: _, ...meta }: JsonObject): JsonObject | undefined {
  return Object.keys(meta).length === 0 ? undefined : meta
}

/**
 * Guards the questions of an `input_required` result, of a task, or of an error that demands the
 * visit of a page; any other reply stays as it is.
 */
export function guardQuestions(server: string, reply: RpcReply): RpcReply {
  if ('error' in reply) return guardError(server, reply)
  const { inputRequests, resultType, status } = reply.result
  if (resultType !== 'input_required' && status !== 'input_required') return reply
  if (inputRequests === undefined) return reply
  const questions = isObject(inputRequests) ? Object.entries(inputRequests) : null
  if (questions === null || questions.length > QUESTIONS_MAX) return refused(server, 'too much')
  const guarded: JsonObject = {}
  for (const [key, question] of questions) {
    if (!isObject(question)) return refused(server, 'it asked for something that is no request')
    const given = isObject(question.params) ? question.params : {}
    const params = guardQuestion(server, question.method, given)
    if (!params.ok) return refused(server, params.error)
    Object.defineProperty(guarded, key, {
      value: { ...question, params: params.value },
      enumerable: true,
    })
  }
  return { result: { ...reply.result, inputRequests: guarded } }
}

/** MCP 2025-11-25: the call needs what a person does on a page. */
const URL_ELICITATION_REQUIRED = -32042

function guardError(server: string, reply: { error: RpcError }): RpcReply {
  const { code, data } = reply.error
  if (code !== URL_ELICITATION_REQUIRED || !isObject(data)) return reply
  const { elicitations } = data
  if (!Array.isArray(elicitations) || elicitations.length > QUESTIONS_MAX) {
    return refused(server, 'it asked for something that is no request')
  }
  const guarded: JsonObject[] = []
  for (const elicitation of elicitations) {
    const params = isObject(elicitation) ? elicitation : {}
    const clean = guardQuestion(server, 'elicitation/create', { mode: 'url', ...params })
    if (!clean.ok) return refused(server, clean.error)
    guarded.push(clean.value)
  }
  return { error: { ...reply.error, data: { ...data, elicitations: guarded } } }
}

function refused(server: string, why: string): RpcReply {
  return rpcError(INVALID_PARAMS, `\`${server}\` asked, and Daypass does not pass it on: ${why}`)
}

/** Whether the client has said that it answers this method. */
export function answers(capabilities: JsonObject, method: string): boolean {
  const capability = Object.hasOwn(CAPABILITY_FOR, method) ? CAPABILITY_FOR[method] : undefined
  return capability !== undefined && capabilities[capability] !== undefined
}
