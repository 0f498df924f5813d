import type { Era } from './era.ts'

/**
 * How a method is treated.
 * `local`: the gateway answers from what it knows; nothing reaches an upstream for it.
 * `judged`: the door decides before anything reaches an upstream.
 * `pass`: relayed without a decision, to the one peer it belongs to.
 * `deny`: refused, with the reason given here.
 */
export type Rule = 'local' | 'judged' | 'pass' | 'deny'

interface MethodRule {
  readonly rule: Rule
  readonly eras: readonly Era[]
  /** Why it is refused. */
  readonly why?: string
}

const BOTH: readonly Era[] = ['legacy', 'modern']
const LEGACY: readonly Era[] = ['legacy']
const MODERN: readonly Era[] = ['modern']

const NO_TASKS =
  'tasks are offered from 2026-07-28 on, as the extension `io.modelcontextprotocol/tasks`'
const NO_PROGRESS = 'no question that is passed on asks for progress'

/** Requests that a client may send: every method of 2024-11-05 … 2026-07-28 and its extensions. */
export const CLIENT_REQUESTS = {
  initialize: { rule: 'local', eras: LEGACY },
  ping: { rule: 'local', eras: LEGACY },
  'server/discover': { rule: 'local', eras: MODERN },
  'subscriptions/listen': { rule: 'local', eras: MODERN },
  'tools/list': { rule: 'local', eras: BOTH },
  'tools/call': { rule: 'judged', eras: BOTH },
  'resources/list': { rule: 'judged', eras: BOTH },
  'resources/templates/list': { rule: 'judged', eras: BOTH },
  'resources/read': { rule: 'judged', eras: BOTH },
  'prompts/list': { rule: 'judged', eras: BOTH },
  'prompts/get': { rule: 'judged', eras: BOTH },
  'completion/complete': { rule: 'judged', eras: BOTH },
  'resources/subscribe': { rule: 'judged', eras: LEGACY },
  'resources/unsubscribe': { rule: 'local', eras: LEGACY },
  'logging/setLevel': { rule: 'pass', eras: LEGACY },
  'tasks/get': { rule: 'judged', eras: MODERN },
  'tasks/result': { rule: 'deny', eras: LEGACY, why: NO_TASKS },
  'tasks/list': { rule: 'deny', eras: LEGACY, why: NO_TASKS },
  'tasks/update': { rule: 'judged', eras: MODERN },
  'tasks/cancel': { rule: 'judged', eras: MODERN },
} as const satisfies Record<string, MethodRule>

type ClientMethod = keyof typeof CLIENT_REQUESTS

/** The methods that are answered; the others are denied. */
export type AnsweredMethod = {
  [M in ClientMethod]: (typeof CLIENT_REQUESTS)[M]['rule'] extends 'deny' ? never : M
}[ClientMethod]

/** Notifications that a client may send. What is not listed is dropped: it reaches nobody. */
export const CLIENT_NOTIFICATIONS: Readonly<Record<string, MethodRule>> = {
  'notifications/initialized': { rule: 'local', eras: LEGACY },
  'notifications/cancelled': { rule: 'local', eras: BOTH },
  'notifications/progress': { rule: 'deny', eras: LEGACY, why: NO_PROGRESS },
  'notifications/roots/list_changed': { rule: 'pass', eras: LEGACY },
  'notifications/tasks/status': { rule: 'deny', eras: LEGACY, why: NO_TASKS },
}

/**
 * Requests that an upstream may send. `pass`: to the client whose session the connection serves, if
 * it has said that it answers them. A connection that serves everybody is offered none of them.
 */
export const UPSTREAM_REQUESTS: Readonly<Record<string, MethodRule>> = {
  ping: { rule: 'local', eras: LEGACY },
  'sampling/createMessage': { rule: 'pass', eras: LEGACY },
  'elicitation/create': { rule: 'pass', eras: LEGACY },
  'roots/list': { rule: 'pass', eras: LEGACY },
  'tasks/get': { rule: 'deny', eras: LEGACY, why: NO_TASKS },
  'tasks/result': { rule: 'deny', eras: LEGACY, why: NO_TASKS },
  'tasks/list': { rule: 'deny', eras: LEGACY, why: NO_TASKS },
  'tasks/cancel': { rule: 'deny', eras: LEGACY, why: NO_TASKS },
}

/** Notifications that an upstream may send. `pass`: to the client that it belongs to. */
export const UPSTREAM_NOTIFICATIONS: Readonly<Record<string, MethodRule>> = {
  'notifications/progress': { rule: 'pass', eras: BOTH },
  'notifications/message': { rule: 'pass', eras: BOTH },
  'notifications/tools/list_changed': { rule: 'local', eras: BOTH },
  'notifications/prompts/list_changed': { rule: 'local', eras: BOTH },
  'notifications/resources/list_changed': { rule: 'local', eras: BOTH },
  'notifications/subscriptions/acknowledged': { rule: 'local', eras: MODERN },
  'notifications/resources/updated': { rule: 'pass', eras: BOTH },
  'notifications/elicitation/complete': { rule: 'pass', eras: LEGACY },
  'notifications/tasks/status': { rule: 'deny', eras: BOTH, why: NO_TASKS },
  'notifications/cancelled': { rule: 'pass', eras: LEGACY },
}

/**
 * The rule for a request of a client. Anything unknown is denied, and so is a method of the other
 * era (threat 27: no method gets by because nobody thought of it).
 */
export function ruleOf(
  method: string,
  era: Era,
): { rule: Exclude<Rule, 'deny'>; method: AnsweredMethod } | { rule: 'deny'; why: string } {
  const known: MethodRule | undefined = Object.hasOwn(CLIENT_REQUESTS, method)
    ? CLIENT_REQUESTS[method as ClientMethod]
    : undefined
  if (known === undefined)
    return { rule: 'deny', why: `unknown method \`${method.slice(0, 100)}\`` }
  if (!known.eras.includes(era)) {
    return { rule: 'deny', why: `\`${method}\` does not exist in this protocol revision` }
  }
  return known.rule === 'deny'
    ? { rule: 'deny', why: known.why ?? 'not offered' }
    : { rule: known.rule, method: method as AnsweredMethod }
}

/** Whether a notification of a client is for anybody here; any other is dropped. */
export function isHeard(method: string, era: Era): boolean {
  const known = Object.hasOwn(CLIENT_NOTIFICATIONS, method)
    ? CLIENT_NOTIFICATIONS[method]
    : undefined
  return known !== undefined && known.rule !== 'deny' && known.eras.includes(era)
}

/** Whether an upstream may say this to a client that it is connected to. */
export function isPassedOn(method: string): boolean {
  const known = Object.hasOwn(UPSTREAM_NOTIFICATIONS, method)
    ? UPSTREAM_NOTIFICATIONS[method]
    : undefined
  return known?.rule === 'pass'
}
