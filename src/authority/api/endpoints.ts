import { z } from '@hono/zod-openapi'
import type { ToolCheck } from '../../catalog/pin.ts'
import { endpoint } from './endpoint.ts'
import { done, more, RUN_ENDPOINTS, reason } from './endpoints-runs.ts'
import {
  askId,
  callId,
  escalationId,
  grant,
  hash,
  instant,
  json,
  list,
  name,
  outlined,
  runId,
  terms,
  text,
  touch,
  treeId,
} from './schemas.ts'

const EVERYBODY = ['requester', 'approver', 'auditor', 'admin'] as const
/** A requester may answer for themselves where the configuration lets them; an agent never. */
const ANSWERING = ['requester', 'approver'] as const

const answering = { personsOnly: true, callers: ANSWERING, tag: 'Approvals' } as const
const subject = { run: runId, tree: treeId, requester: z.string(), agent: z.string() }

const approval = z
  .discriminatedUnion('kind', [
    z.object({
      ...subject,
      kind: z.literal('lease'),
      promptHash: z.string(),
      purpose: z.string(),
      since: instant,
      deadline: instant,
    }),
    z.object({
      ...subject,
      kind: z.literal('ask'),
      ask: askId,
      binding: z.string().describe('what an approval names'),
      tool: z.string(),
      touches: list(touch),
      arguments: z.record(z.string(), json),
      since: instant,
      deadline: instant,
    }),
    z.object({
      ...subject,
      kind: z.literal('escalation'),
      escalation: escalationId,
      offer: list(grant),
      more,
      words: z.string().describe("the agent's own words, unchecked"),
      deadline: instant,
    }),
    z.object({
      ...subject,
      kind: z.literal('unknown'),
      call: callId,
      tool: z.string(),
      actions: list(z.string()),
    }),
  ])
  .openapi('Approval')

const check = outlined<ToolCheck>('ToolCheck', {
  description: 'What is known of a tool, compared with the catalog and what was accepted.',
  members: { tool: { type: 'string' }, status: { type: 'string' } },
})

const template = z
  .object({
    name: z.string(),
    title: z.string(),
    scope: z.string(),
    terms,
    warnings: list(z.string()),
  })
  .openapi('Template')

/** What a bulk revocation is about. Exactly one member. */
export const scope = z
  .union([
    z.strictObject({ run: runId }),
    z.strictObject({ tree: treeId }),
    z.strictObject({ agent: name }),
    z.strictObject({ requester: name }),
    z.strictObject({ template: name }),
    z.strictObject({ everything: z.literal(true) }),
  ])
  .openapi('RevocationScope')

const lock = z
  .object({
    id: z.string(),
    scope,
    by: z.string(),
    reason: z.string(),
    since: instant,
  })
  .openapi('Lock', { description: 'While it stands, nothing that it is about can be opened.' })

const OTHER_ENDPOINTS = {
  listApprovals: endpoint({
    method: 'get',
    path: '/v1/approvals',
    tag: 'Approvals',
    summary: 'What waits for a person: leases, calls, escalations, calls of unknown outcome',
    callers: EVERYBODY,
    answer: z.object({ items: list(approval) }),
  }),
  approveRun: endpoint({
    ...answering,
    method: 'post',
    path: '/v1/runs/{run}/approve',
    summary: 'Allow a lease, by the hash of the prompt that was read',
    body: z.strictObject({ promptHash: z.string().max(128) }),
    answer: done,
  }),
  refuseRun: endpoint({
    ...answering,
    method: 'post',
    path: '/v1/runs/{run}/refuse',
    summary: 'Refuse a lease; the reason reaches the agent',
    body: reason,
    answer: done,
  }),
  resumeRun: endpoint({
    ...answering,
    method: 'post',
    path: '/v1/runs/{run}/resume',
    summary: 'Let a suspended run go on',
    body: reason,
    answer: done,
  }),
  approveAsk: endpoint({
    ...answering,
    method: 'post',
    path: '/v1/runs/{run}/asks/{ask}/approve',
    summary: 'Allow exactly this call, once',
    body: z.strictObject({ binding: z.string() }),
    answer: done,
  }),
  refuseAsk: endpoint({
    ...answering,
    method: 'post',
    path: '/v1/runs/{run}/asks/{ask}/refuse',
    summary: 'Refuse this call; the reason reaches the agent',
    body: reason,
    answer: done,
  }),
  approveEscalation: endpoint({
    ...answering,
    method: 'post',
    path: '/v1/runs/{run}/escalations/{escalation}/approve',
    summary: 'Grant what the escalation offers, or less',
    body: z.strictObject({ offer: list(grant), more: more.default({ calls: 0, seconds: 0 }) }),
    answer: done,
  }),
  refuseEscalation: endpoint({
    ...answering,
    method: 'post',
    path: '/v1/runs/{run}/escalations/{escalation}/refuse',
    summary: 'Grant nothing more',
    body: reason,
    answer: done,
  }),
  resolveCall: endpoint({
    ...answering,
    method: 'post',
    path: '/v1/runs/{run}/calls/{call}/resolve',
    summary: 'Say whether a call of unknown outcome happened',
    body: z.strictObject({ happened: z.boolean() }),
    answer: done,
  }),
  revokeAll: endpoint({
    method: 'post',
    path: '/v1/revocations',
    tag: 'Revocations',
    summary: 'Revoke every run that matches; once answered, none is left and none slipped through',
    callers: ['admin'],
    body: z.strictObject({
      scope,
      reason: text.optional(),
      keepLocked: z
        .boolean()
        .default(false)
        .describe('nothing that matches can be opened until the lock is lifted'),
    }),
    answer: z.object({
      revoked: list(runId).describe('the topmost runs that were ended'),
      lock: z.string().nullable().describe('null: lifted already'),
    }),
  }),
  listLocks: endpoint({
    method: 'get',
    path: '/v1/locks',
    tag: 'Revocations',
    summary: 'Locks that stand',
    callers: ['auditor', 'admin'],
    answer: z.object({ items: list(lock) }),
  }),
  liftLock: endpoint({
    method: 'delete',
    path: '/v1/locks/{lock}',
    tag: 'Revocations',
    summary: 'Lift a lock',
    callers: ['admin'],
    answer: done,
  }),
  getCatalog: endpoint({
    method: 'get',
    path: '/v1/catalog',
    tag: 'Catalog',
    summary: 'Every tool of every server, compared with what was accepted',
    callers: EVERYBODY,
    answer: z.object({ servers: z.record(z.string(), list(check)) }),
  }),
  getTool: endpoint({
    method: 'get',
    path: '/v1/catalog/{server}/{tool}',
    tag: 'Catalog',
    summary: 'A tool as it is presented now, beside what was accepted before',
    callers: EVERYBODY,
    answer: z.object({ check, definition: json, accepted: json.nullable() }),
  }),
  pinTool: endpoint({
    method: 'post',
    path: '/v1/catalog/{server}/{tool}/pin',
    tag: 'Catalog',
    summary: 'Accept the definition with this hash, if it is still presented',
    callers: ['admin'],
    personsOnly: true,
    body: z.strictObject({ hash }),
    answer: z.object({ definition: z.string() }),
  }),
  listTemplates: endpoint({
    method: 'get',
    path: '/v1/templates',
    tag: 'Templates',
    summary: 'Leases that can be asked for by name',
    callers: EVERYBODY,
    answer: z.object({ items: list(template) }),
  }),
  getTemplate: endpoint({
    method: 'get',
    path: '/v1/templates/{template}',
    tag: 'Templates',
    summary: 'One template',
    callers: EVERYBODY,
    answer: template,
  }),
  getStatus: endpoint({
    method: 'get',
    path: '/v1/status',
    tag: 'Server',
    summary: 'Health of servers, store and clock',
    callers: EVERYBODY,
    answer: z.record(z.string(), json),
  }),
} as const

/** Every endpoint of the API, by its operation id. */
export const ENDPOINTS = { ...RUN_ENDPOINTS, ...OTHER_ENDPOINTS } as const
export type Endpoints = typeof ENDPOINTS
