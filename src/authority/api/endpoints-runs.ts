import { z } from '@hono/zod-openapi'
import { endpoint } from './endpoint.ts'
import {
  askId,
  callId,
  count,
  entry,
  escalationId,
  explanation,
  grant,
  instant,
  json,
  list,
  name,
  orNull,
  prompt,
  RUN_STATES,
  receipt,
  run,
  runId,
  snapshot,
  text,
  touch,
  treeId,
  usd,
} from './schemas.ts'

/** Runs in one page. */
const PAGE_MAX = 200
const PAGE_DEFAULT = 50
/** Entries in one page: a few megabytes at most. */
export const ENTRIES_MAX = 1_000
/** Trees of which the CLI shows the runs. */
export const TREES_MAX = 500
/** Actions of one call that an outside enforcement point names. */
const TOUCHES_MAX = 64
/** An outside enforcement point that is silent for longer has died. */
const CALL_SECONDS_MAX = 6 * 3_600
const CALL_SECONDS_DEFAULT = 600

const EVERYBODY = ['requester', 'approver', 'auditor', 'admin'] as const
const ANYBODY = [...EVERYBODY, 'agent'] as const
const OWNERS = ['requester', 'admin', 'agent'] as const

export const done = z.object({ done: z.literal(true) })
export const reason = z.strictObject({ reason: text.optional() })

const cursor = z.string().max(512).optional().describe('`next` of the page before')
const flag = z.enum(['true', 'false']).optional()
/** A number of a query; the document says that it is one, and not that it may be absent. */
const whole = (most: number) =>
  z.coerce.number().int().min(0).max(most).openapi({ type: 'integer' })

/** A lease as a document: the fields under `lease:`, as JSON or as the text of a YAML file. */
const document = z.union([z.string().min(1), z.record(z.string(), json)])

const opened = z
  .object({
    run: runId,
    tree: treeId,
    state: z.enum(RUN_STATES),
    promptHash: z.string().describe('what an approval names'),
    prompt,
    warnings: list(z.string()).describe('what the prompt shows as warnings'),
  })
  .openapi('OpenedRun')

const narrowing = z.strictObject({
  drop: list(name).optional().describe('actions to take away'),
  maxToolCalls: z.int().min(1).optional(),
  workSeconds: z.int().min(1).optional(),
  expiresInSeconds: z.int().min(1).optional(),
})

export const more = z.strictObject({ calls: count.default(0), seconds: count.default(0) })

const decided = z
  .object({
    decision: z.enum(['allow', 'deny', 'ask', 'join', 'replay']),
    call: orNull(callId).describe('to settle once it is done; null: nothing may be done'),
    ask: orNull(askId),
    deadline: instant.nullable().describe('until when the ask can be answered'),
    reason: z.string().nullable(),
    determined: z.string().nullable().describe('the line of the lease that decided'),
    missing: list(grant).describe('the smallest grants that would have allowed it'),
    text: z.string().nullable().describe('the denial as the agent should read it'),
  })
  .openapi('Decision')

export const RUN_ENDPOINTS = {
  requestRun: endpoint({
    method: 'post',
    path: '/v1/runs',
    tag: 'Runs',
    summary: 'Open a run and request its lease, from a template or a document',
    callers: ['requester'],
    body: z.strictObject({
      template: name.optional(),
      lease: document.optional(),
      narrow: narrowing.optional(),
      agent: name.optional().describe('what runs; by default the agent that the lease names'),
      client: name.optional().describe('the client program; shown, never judged'),
    }),
    status: 201,
    answer: opened,
  }),
  listRuns: endpoint({
    method: 'get',
    path: '/v1/runs',
    tag: 'Runs',
    summary: 'Runs, newest first',
    callers: ANYBODY,
    query: z.strictObject({
      state: z.enum(RUN_STATES).optional(),
      open: flag.describe('only runs of trees that are not closed, or that are'),
      requester: name.optional(),
      agent: name.optional(),
      template: name.optional(),
      action: name.optional().describe('runs whose lease grants this action'),
      since: whole(Number.MAX_SAFE_INTEGER).optional().describe('opened then or later'),
      until: whole(Number.MAX_SAFE_INTEGER).optional().describe('opened before'),
      cursor,
      limit: whole(PAGE_MAX).min(1).default(PAGE_DEFAULT),
    }),
    answer: z.object({
      items: list(run),
      next: z
        .string()
        .nullable()
        .describe('the cursor of the next page, which may be empty; null: this was the last'),
    }),
  }),
  getRun: endpoint({
    method: 'get',
    path: '/v1/runs/{run}',
    tag: 'Runs',
    summary: 'A run, its lease and the prompt that somebody was asked',
    callers: ANYBODY,
    answer: z.object({ run, prompt: orNull(prompt) }),
  }),
  listTrees: endpoint({
    method: 'get',
    path: '/v1/trees',
    tag: 'Runs',
    summary: 'Whole run trees as this build holds them, newest first',
    callers: EVERYBODY,
    query: z.strictObject({ open: flag, limit: whole(TREES_MAX).min(1).default(TREES_MAX) }),
    answer: z.object({ trees: list(snapshot) }),
  }),
  getTree: endpoint({
    method: 'get',
    path: '/v1/runs/{run}/tree',
    tag: 'Runs',
    summary: 'The run tree of a run as this build holds it',
    callers: EVERYBODY,
    answer: z.object({ tree: snapshot, run: runId, prompt: orNull(prompt) }),
  }),
  getEntries: endpoint({
    method: 'get',
    path: '/v1/runs/{run}/entries',
    tag: 'Records',
    summary: 'The ledger of the run tree, in order',
    callers: ANYBODY,
    query: z.strictObject({
      after: whole(Number.MAX_SAFE_INTEGER).default(0).describe('entries behind this number'),
      limit: whole(ENTRIES_MAX).min(1).default(ENTRIES_MAX),
    }),
    answer: z.object({ entries: list(entry), next: count.nullable().describe('for `after`') }),
  }),
  streamEvents: endpoint({
    method: 'get',
    path: '/v1/runs/{run}/events',
    tag: 'Records',
    summary: 'The entries of the run tree as they are recorded, from the first or `Last-Event-ID`',
    callers: ANYBODY,
    answer: z.string().describe('`id` is the sequence number, `event` the type, `data` the entry'),
    streams: true,
  }),
  getReceipt: endpoint({
    method: 'get',
    path: '/v1/runs/{run}/receipt',
    tag: 'Records',
    summary: 'The signed receipt of a closed run tree',
    callers: ANYBODY,
    answer: receipt,
  }),
  explainRun: endpoint({
    method: 'get',
    path: '/v1/runs/{run}/explain',
    tag: 'Records',
    summary: 'Seven questions about a run, or about one of its calls',
    callers: ANYBODY,
    query: z.strictObject({ call: callId.optional() }),
    answer: explanation,
  }),
  issueBadge: endpoint({
    method: 'post',
    path: '/v1/runs/{run}/badge',
    tag: 'Runs',
    summary: 'The badge of a run whose lease is active, for whoever requested or delegated it',
    callers: ['requester', 'agent'],
    answer: z.object({ badge: z.string() }),
  }),
  endRun: endpoint({
    method: 'post',
    path: '/v1/runs/{run}/end',
    tag: 'Runs',
    summary: 'The work is done: end the lease',
    callers: OWNERS,
    body: z.strictObject({ note: text.optional() }),
    answer: done,
  }),
  suspendRun: endpoint({
    method: 'post',
    path: '/v1/runs/{run}/suspend',
    tag: 'Runs',
    summary: 'No call is allowed until the run is resumed',
    callers: [...OWNERS, 'approver'],
    body: reason,
    answer: done,
  }),
  revokeRun: endpoint({
    method: 'post',
    path: '/v1/runs/{run}/revoke',
    tag: 'Runs',
    summary: 'End the run and every run below it; once answered, no call is allowed anywhere',
    callers: [...OWNERS, 'approver'],
    body: reason,
    answer: done,
  }),
  beginCall: endpoint({
    method: 'post',
    path: '/v1/runs/{run}/calls',
    tag: 'Calls',
    summary: 'Decide a call for an enforcement point outside, and record it durably',
    callers: ['requester', 'agent'],
    body: z.strictObject({
      key: name.describe('the same for every repetition of the same call'),
      tool: z
        .string()
        .regex(/^[A-Za-z0-9_-]+\.[A-Za-z0-9_.:@/-]{1,200}$/)
        .describe('`server.tool`; no server that stands behind the gateway'),
      arguments: z.record(z.string(), json).default({}).describe('digested; never kept whole'),
      touches: z.array(touch).min(1).max(TOUCHES_MAX),
      usd: usd.nullable().default(null).describe('the most it can cost'),
      idempotent: z.boolean().default(false),
      deadlineSeconds: z.int().min(1).max(CALL_SECONDS_MAX).default(CALL_SECONDS_DEFAULT),
    }),
    answer: decided,
  }),
  settleCall: endpoint({
    method: 'post',
    path: '/v1/runs/{run}/calls/{call}/settle',
    tag: 'Calls',
    summary: 'What became of a call that was begun here',
    callers: ['requester', 'agent'],
    body: z.strictObject({
      outcome: z.enum(['succeeded', 'failed', 'unknown', 'deferred']),
      resultDigest: z
        .string()
        .regex(/^[0-9a-f]{64}$/)
        .nullable()
        .default(null),
      usd: usd.nullable().default(null),
      note: z.string().max(200).nullable().default(null),
    }),
    answer: done,
  }),
  delegateRun: endpoint({
    method: 'post',
    path: '/v1/runs/{run}/delegate',
    tag: 'Runs',
    summary: 'Give a subagent a narrower lease, as a run below this one',
    callers: ['requester', 'agent'],
    body: z.strictObject({
      lease: z.record(z.string(), json).describe('the fields under `lease:` of a lease file'),
    }),
    status: 201,
    answer: opened,
  }),
  escalateRun: endpoint({
    method: 'post',
    path: '/v1/runs/{run}/escalations',
    tag: 'Runs',
    summary: 'Ask for more: what was denied, or more calls or time',
    callers: ['requester', 'agent'],
    body: z.strictObject({
      wants: list(grant).default([]),
      more: more.default({ calls: 0, seconds: 0 }),
      words: text.default('').describe("the agent's own words, shown as unchecked"),
    }),
    status: 201,
    answer: z.object({
      escalation: escalationId,
      offer: list(grant).describe('what a person is asked for: never more than was denied'),
      more,
      deadline: instant,
    }),
  }),
} as const
