import { z } from '@hono/zod-openapi'
import type { Entry } from '../../core/entry.ts'
import type { Touch } from '../../core/facts.ts'
import type {
  AskId,
  CallId,
  EscalationId,
  Instant,
  Json,
  LeaseId,
  RunId,
  TreeId,
} from '../../core/id.ts'
import type { Constraint, Grant, Terms } from '../../core/lease.ts'
import type { Prompt } from '../../lease-file/prompt.ts'
import type { Explanation } from '../../ledger/explanation.ts'
import type { Receipt } from '../../ledger/receipt.ts'

/**
 * What goes over the wire, written once: requests are checked against it, the OpenAPI document is
 * generated from it, and the client's types are inferred from it.
 */

/** Names, addresses, ids. */
const NAME_CHARACTERS_MAX = 320
/** A sentence of a person. */
const TEXT_CHARACTERS_MAX = 2_000

export function list<T extends z.ZodType>(item: T) {
  return z.array(item).readonly()
}

/** A name in the document is for the thing itself; where there may be none, that is said there. */
export function orNull<T extends z.ZodType>(schema: T) {
  return z.union([schema, z.null()])
}

/** An id has its prefix; what is behind it is drawn at random. */
function id<T extends string>(prefix: string, what: string) {
  const pattern = new RegExp(`^${prefix}_[A-Za-z0-9]{1,64}$`)
  const schema = z
    .string()
    .regex(pattern, `must be the id of ${what}`)
    .openapi({ example: `${prefix}_7k3mq2wv9x4hj8npcz5t` })
  // Checked by the pattern; the type says which id it is.
  return schema as unknown as z.ZodType<T>
}

export const runId = id<RunId>('run', 'a run')
export const treeId = id<TreeId>('tree', 'a run tree')
export const leaseId = id<LeaseId>('lease', 'a lease')
export const callId = id<CallId>('call', 'a call')
export const askId = id<AskId>('ask', 'an ask')
export const escalationId = id<EscalationId>('esc', 'an escalation')

export const name = z.string().min(1).max(NAME_CHARACTERS_MAX)
export const text = z.string().max(TEXT_CHARACTERS_MAX)
export const instant = z
  .int()
  .min(0)
  .describe('milliseconds since 1970-01-01T00:00:00Z') as z.ZodType<Instant>
export const count = z.int().min(0)
export const usd = z.string().describe('US dollars as a decimal string, such as `2.00`')
export const hash = z
  .string()
  .regex(/^(?:sha256:)?[0-9a-f]{64}$/, 'must be a SHA-256 in hexadecimal digits')

/** A value of JSON of which nothing more is known. */
export const json = z.unknown().openapi({ description: 'any JSON' }) as unknown as z.ZodType<Json>

const constraint: z.ZodType<Constraint> = z
  .lazy(() =>
    z.object({
      exact: json.optional(),
      one_of: list(json).optional(),
      not_one_of: list(json).optional(),
      max: z.union([z.string(), z.number()]).optional(),
      min: z.union([z.string(), z.number()]).optional(),
      pattern: z.string().optional(),
      each: constraint.optional(),
    }),
  )
  .openapi('Constraint', { description: 'All members that are present must hold.' })

const patterns = list(z.string())
const values = z.record(z.string(), list(z.string()))

export const grant = z
  .object({
    actions: patterns.describe('action patterns'),
    resources: values.describe('resource type → patterns'),
    where: z.record(z.string(), constraint).describe('argument → constraint'),
  })
  .openapi('Grant', {
    description: 'One line of permission: actions × resources × argument constraints.',
  }) satisfies z.ZodType<Grant>

export const terms = z
  .object({
    version: z.literal(1),
    agent: z.string(),
    purpose: z.string(),
    user: z.string(),
    grants: list(grant),
    deny: patterns,
    ask: patterns,
    onExceed: z.enum(['deny', 'ask', 'suspend']),
    expiresInSeconds: count,
    notAfter: instant.nullable(),
    until: patterns,
    maxToolCalls: count.nullable(),
    limits: z.record(z.string(), count),
    workSeconds: count.nullable(),
    usd: usd.nullable(),
    delegate: z.object({ maxDepth: count, maxChildren: count, ask: z.boolean() }).nullable(),
    requireReceipt: z.boolean(),
    ceiling: patterns.nullable(),
    approvers: list(z.string()).nullable(),
    labels: z.record(z.string(), z.string()),
  })
  .openapi('Terms', {
    description: 'The terms of a lease, resolved: sugar is expanded, durations are seconds.',
  }) satisfies z.ZodType<Terms>

export const effect = z.enum(['read', 'write', 'destructive', 'egress'])

export const touch = z
  .strictObject({
    action: name,
    effect,
    reversible: z.boolean(),
    resources: values,
    within: values.default({}),
    hosts: list(z.string()).default([]),
  })
  .openapi('Touch', {
    description: 'One thing a call does, and every resource it can reach.',
  }) satisfies z.ZodType<Touch, unknown>

type Member = typeof number | typeof string | typeof object | typeof objects

/** Documents that other parts define; the outline is here, the whole is in SPEC.md. */
export function outlined<T>(
  title: string,
  { description, members }: { description: string; members: Record<string, Member> },
): z.ZodType<T> {
  const schema = z.looseObject({}).openapi(title, {
    description,
    properties: members,
    required: Object.keys(members),
    additionalProperties: true,
  })
  return schema as unknown as z.ZodType<T>
}

const number = { type: 'integer' } as const
const string = { type: 'string' } as const
const object = { type: 'object', additionalProperties: true } as const
const objects = { type: 'array', items: object } as const

export const entry = outlined<Entry>('Entry', {
  description: 'One entry of the ledger of a run tree. Its other members follow from its `type`.',
  members: { seq: number, at: number, type: string },
})
export const prompt = outlined<Prompt>('Prompt', {
  description:
    'What a person is asked, as data. Its SHA-256 over RFC 8785 JSON is what they answer.',
  members: { version: number, run: string, title: string, byline: string, terms: object },
})
export const receipt = outlined<Receipt>('Receipt', {
  description: 'The signed account of a closed run tree; `daypass verify` checks it offline.',
  members: {
    format: string,
    version: number,
    body: object,
    entries: objects,
    head: string,
    signature: object,
  },
})
export const explanation = outlined<Explanation>('Explanation', {
  description: 'Seven questions about a run or one of its calls, each with its answer.',
  members: {
    run: string,
    asked: object,
    task: object,
    approved: object,
    stops: object,
    retry: object,
    through: object,
    standing: object,
  },
})
/** A run tree as this build folds it: for the CLI, which folds it back. */
export const snapshot = outlined<Json>('Tree', {
  description: 'A run tree as this build holds it. Its shape follows the rules version `rules`.',
  members: { id: string, rules: number, seq: number, phase: string },
})

const spent = z.object({ calls: count, usd })
const left = z.object({
  calls: count.nullable().describe('null: not limited'),
  usd: usd.nullable(),
  seconds: count.nullable().describe('until the lease expires; null before it is approved'),
})

export const lease = z
  .object({
    id: leaseId,
    revision: count,
    terms,
    promptHash: z.string(),
    requestedAt: instant,
    answerBy: instant.describe('an unanswered request is refused then'),
    approvedAt: instant.nullable(),
    expiresAt: instant.nullable(),
    endedAt: instant.nullable(),
    endReason: z
      .enum([
        ...['completed', 'expired', 'revoked', 'exhausted'],
        ...['event', 'refused', 'parent_ended'],
      ] as const)
      .nullable(),
    endNote: z.string().nullable(),
    suspendedWhy: z.string().nullable(),
    spent,
    left,
  })
  .openapi('Lease')

export const RUN_STATES = ['opening', 'requested', 'active', 'suspended', 'ended'] as const

export const run = z
  .object({
    id: runId,
    tree: treeId,
    parent: orNull(runId),
    children: list(runId),
    depth: count,
    state: z.enum(RUN_STATES).describe('at the time of the answer: an expired lease has ended'),
    phase: z.enum(['open', 'ended', 'closing', 'closed']).describe('of the whole run tree'),
    requester: z.string(),
    agent: z.string(),
    purpose: z.string(),
    client: z.string().nullable(),
    template: z.string().nullable(),
    openedAt: instant,
    lease: orNull(lease),
    inFlight: list(callId),
    unknown: list(callId).describe('calls of which nobody knows whether they happened'),
  })
  .openapi('Run')

export const problem = z
  .object({
    type: z.string(),
    title: z.string().describe('the reason code'),
    status: z.int(),
    detail: z.string(),
  })
  .openapi('Problem', { description: 'RFC 9457 problem details.' })
