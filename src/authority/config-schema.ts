import { z } from 'zod'
import { parseActionPattern, parseResourcePattern } from '../core/pattern.ts'
import { parseDuration } from '../lease-file/duration.ts'
import { ROLES } from './caller.ts'
import { isReference } from './secret.ts'

/**
 * The shape of `daypass.yaml`, from which `schemas/daypass.schema.json` is made. Durations come out
 * as seconds. What a field refers to (files, secrets, other fields) is checked by `config.ts`.
 */

const SECONDS_MAX = 366 * 24 * 3600
const ITEMS_MAX = 200
const TEXT_MAX = 1024

const text = z.string('must be a text').min(1, 'must not be empty').max(TEXT_MAX, 'is too long')
const flag = z.boolean('must be true or false')
const list = <T extends z.ZodType>(item: T) =>
  z.array(item, 'must be a list').min(1, 'must not be empty').max(ITEMS_MAX, 'is too long')
const count = (most: number) =>
  z
    .int('must be a whole number')
    .min(1, `must be from 1 to ${most}`)
    .max(most, `must be from 1 to ${most}`)

const WRITE_DURATION = 'must be a duration such as 30m, 1h30m or 8h'
const duration = z
  .string(WRITE_DURATION)
  .regex(/^(?=\d)(?:\d{1,6}h)?(?:\d{1,6}m)?(?:\d{1,6}s)?$/, WRITE_DURATION)
  .transform((value, context) => {
    const parsed = parseDuration(value)
    if (parsed.ok && parsed.value <= SECONDS_MAX) return parsed.value
    context.addIssue({
      code: 'custom',
      message: parsed.ok ? 'is more than a year' : WRITE_DURATION,
    })
    return z.NEVER
  })

const actions = list(
  text.superRefine((value, context) => {
    const parsed = parseActionPattern(value)
    if (!parsed.ok) context.addIssue({ code: 'custom', message: parsed.error })
  }),
)
const EFFECTS = ['write', 'destructive', 'egress'] as const
const effects = list(z.enum(EFFECTS, `must be one of ${EFFECTS.join(', ')}`))
const role = z.enum(ROLES, `must be one of ${ROLES.join(', ')}`)
const TEMPLATE = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/
const WRITE_TEMPLATE = 'must be the name of a template: letters, digits, `-`, `_`, `.`'
const template = z.string(WRITE_TEMPLATE).regex(TEMPLATE, WRITE_TEMPLATE)
const templates = list(template)
const ORG = /^[a-z0-9][a-z0-9-]{0,63}$/
const org = z.string().regex(ORG, 'must be small letters, digits and `-`')

const WRITE_REFERENCE =
  'must be env:NAME, file:PATH or exec:PROGRAM: the secret itself is not written here'
const secret = z
  .string(WRITE_REFERENCE)
  .regex(/^(?:env|file|exec):\S/, WRITE_REFERENCE)
  .refine(isReference, WRITE_REFERENCE)

const HTTPS = 'must be an https URL (http only on this machine)'
const issuer = z
  .string(HTTPS)
  .regex(/^(?:https:\/\/|http:\/\/(?:localhost|127\.0\.0\.1|\[::1\])[:/])[^\s?#]+$/, HTTPS)

const texts = z.record(z.string(), z.string('must be a text; put numbers in quotes'))

const serverEntry = z.strictObject({
  command: z
    .union(
      [z.string(), z.array(z.string()).min(1)],
      'must be a list of words: `[program, argument]`',
    )
    .optional()
    .describe('The program and its arguments; no shell reads it.'),
  url: z
    .string('must be an http or https URL')
    .regex(/^https?:\/\//, 'must be an http or https URL')
    .optional(),
  env: texts
    .optional()
    .describe('Its environment; env:NAME, file:PATH, exec:PROGRAM stand for secrets.'),
  cwd: text.optional(),
  headers: texts.optional().describe('Sent with each request; secrets as in env.'),
  catalog: text.optional().describe('A catalog that ships with Daypass, or the path of one.'),
  bind: z
    .unknown()
    .optional()
    .describe('What its calls are about: roots, worktree, repo, remotes, …'),
  timeout: duration.optional(),
  prefix: flag.optional().describe('false: tools keep their own names; only if it is alone.'),
  envelope: flag.optional().describe('true: its calls carry a signed token of their run.'),
})

const NAME =
  'names are lower-case letters, digits and hyphens, a letter first, at most 32 characters'
const servers = z
  .record(z.string().regex(/^[a-z][a-z0-9-]{0,31}$/, NAME), serverEntry, 'must be a map')
  .describe('The servers that stand behind the door.')

const approvals = z.strictObject({
  self: flag.optional().describe('The requester may answer their own request.'),
  read_only_under: duration.optional().describe('As policy.read_only.under, for any lease.'),
  answer_within: duration.optional().describe('A request without an answer is refused after this.'),
})

const WRITE_URL = 'must be an origin such as https://daypass.example.com, without a path'
const WRITE_LISTEN = 'must be host:port, such as 127.0.0.1:8460'
const server = z.strictObject({
  url: z
    .string(WRITE_URL)
    .regex(/^https?:\/\/[^\s/?#@]+$/, WRITE_URL)
    .optional()
    .describe('The public URL: issuer of badges, and where clients find the gateway.'),
  listen: z
    .string(WRITE_LISTEN)
    .regex(/^(?:\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+):\d{1,5}$/, WRITE_LISTEN)
    .optional(),
  trust_proxy: z
    .int('must be a number of proxies')
    .min(0)
    .max(8)
    .optional()
    .describe('Proxies in front whose X-Forwarded-For is believed.'),
})

const people = z.strictObject({
  issuer: issuer.describe('The identity provider at which people sign in (OpenID Connect).'),
  client_id: text,
  client_secret: secret,
  person: z.strictObject({ claim: text }).optional().describe('Who somebody is; absent: email.'),
  roles: z
    .strictObject({
      claim: text,
      map: z.partialRecord(role, list(text), 'must map roles to values'),
    })
    .describe('Role → values of the claim that give it. Who has none is refused.'),
  org: z
    .strictObject({ claim: text, map: z.record(text, org) })
    .optional()
    .describe('Value of the claim → organisation. Other values are refused. Absent: one.'),
})

const machine = z.strictObject({
  client_id: text,
  public_key: text.optional().describe('Path of a public key (PEM or JWK).'),
  jwks_uri: issuer.optional(),
  jwks: z.looseObject({ keys: z.array(z.looseObject({ kty: z.string() })).min(1) }).optional(),
  org: org.optional(),
  roles: list(
    z.enum(['requester', 'auditor'], 'must be requester or auditor: machines never approve'),
  ),
  templates: templates.optional().describe('The only templates that it may use.'),
})

const oauth = z.strictObject({
  require_dpop: flag.optional().describe('Refuse badges that are not bound to a key (RFC 9449).'),
  dynamic_registration: flag.optional().describe('Clients may register themselves (RFC 7591).'),
  client_metadata: flag.optional().describe('A client may be named by the URL of its metadata.'),
})

/** What a rule is about: a lease that can do any of it. Without any of these: every lease. */
const about = {
  actions: actions.optional(),
  effects: effects.optional(),
  templates: templates.optional(),
}

const resources = z.record(
  z.string(),
  list(
    text.superRefine((value, context) => {
      const parsed = parseResourcePattern(value)
      if (!parsed.ok) context.addIssue({ code: 'custom', message: parsed.error })
    }),
  ),
)

const policy = z.strictObject({
  read_only: z
    .strictObject({ under: duration, templates: templates.optional() })
    .optional()
    .describe('A lease that only reads, for at most this long, needs nobody.'),
  person: actions
    .optional()
    .describe('Leases with one of these actions need a signed-in person, whatever else applies.'),
  approve: list(
    z.strictObject({
      ...about,
      persons: list(text).optional(),
      roles: list(role).optional(),
      self: flag.optional().describe('false: not the requester.'),
    }),
  )
    .optional()
    .describe('Who may approve what. Every rule that is about a lease must be met.'),
  resources: list(
    z.strictObject({
      orgs: list(org).optional(),
      requesters: list(text).optional(),
      allow: resources,
    }),
  )
    .optional()
    .describe('Ceilings: of these types, a lease may name these resources and no others.'),
  longest: list(z.strictObject({ ...about, expires_in: duration }))
    .optional()
    .describe('The longest life of leases, amendments included.'),
  on_exceed: z
    .enum(['deny', 'ask', 'suspend'], 'must be deny, ask or suspend')
    .optional()
    .describe('What happens to a call outside the lease, where the lease does not say.'),
  templates: z
    .partialRecord(role, templates)
    .optional()
    .describe('Role → templates that it may use. Absent: every role every template.'),
  own_leases: z
    .array(role)
    .max(ROLES.length)
    .optional()
    .describe(
      'Roles that may request a lease of their own writing. Absent: all, or, where `templates` is given, none.',
    ),
})

const limits = z.strictObject({
  max_expires_in: duration.optional(),
  max_tool_calls: count(1_000_000).optional(),
  per_caller: count(10_000_000).optional().describe('Requests a minute with one credential.'),
  per_address: count(10_000_000).optional().describe('Requests a minute from one address.'),
  sign_in: count(1_000_000).optional().describe('Of these, requests to sign in or for a token.'),
  prompts: count(100_000)
    .optional()
    .describe('Prompts an hour that one requester can put before people.'),
})

export const CONFIG_SCHEMA = z.strictObject({
  version: z.literal(1, 'this build reads version 1').optional(),
  servers: servers.optional(),
  server: server.optional(),
  people: people.optional(),
  machines: list(machine).optional(),
  oauth: oauth.optional(),
  approvals: approvals.optional(),
  policy: policy.optional(),
  limits: limits.optional(),
})

/** `daypass.yaml` as it is written, durations as seconds. */
export type ConfigFile = z.output<typeof CONFIG_SCHEMA>

/** The JSON Schema for editors. */
export function configJsonSchema(): Record<string, unknown> {
  const schema = z.toJSONSchema(CONFIG_SCHEMA, { io: 'input', target: 'draft-7' })
  return {
    $schema: schema.$schema,
    $id: 'https://daypass.dev/schemas/daypass.schema.json',
    title: 'daypass.yaml',
    ...schema,
  }
}
