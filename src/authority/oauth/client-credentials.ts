import type { RunId } from '../../core/id.ts'
import { ok, type Result } from '../../core/result.ts'
import { parseStrictJson } from '../../core/strict-json.ts'
import { narrowTerms } from '../../lease-file/narrow.ts'
import type { Authority } from '../authority.ts'
import { approveByPolicy, type RequestParts, requestRun } from '../requests.ts'
import { type Template, type Templates, termsFor } from '../templates.ts'
import { answered, HOLD_MS } from './answered.ts'
import {
  badgeAnswer,
  fault,
  type OAuthFault,
  refusedAs,
  type TokenAnswer,
  type TokenRequest,
} from './grant.ts'
import { apiAudience, type Machine, type Machines } from './machines.ts'
import { audienceOf } from './parts.ts'
import { readWish, type Wish } from './wish.ts'

export const MACHINE_PARAMS = ['scope', 'resource', 'audience', 'authorization_details', 'run']
/** A wish is flat. */
const DEPTH_MAX = 8

export interface MachineGrantParts extends Omit<RequestParts, 'authority'> {
  readonly url: string
  readonly machines: Machines
  readonly templates: Pick<Templates, 'get'>
  readonly authorityOf: (org: string) => Authority
  readonly clock: () => number
  /** Shorter in tests. */
  readonly holdMs?: number
}

/**
 * Client credentials (RFC 6749 §4.4), for machines of the configuration. For the API, the answer is
 * a token with which the machine opens runs and looks after them. For the gateway (`resource`, or a
 * template by `scope` or `authorization_details`), it opens a run, and the answer is its badge: at
 * once where a policy approves it, else when a person has.
 */
export async function clientCredentials(
  request: TokenRequest,
  parts: MachineGrantParts,
): Promise<TokenAnswer> {
  const { params, client, jkt } = request
  const machine = parts.machines.named(client)
  if (machine === null) return fault('unauthorized_client', 'this client is no machine of ours')
  const target = params.resource ?? params.audience
  const wantsLease = params.scope ?? params.authorization_details ?? params.run
  if (target === apiAudience(parts.url) || (target === undefined && wantsLease === undefined)) {
    return ok(await parts.machines.issue(machine, jkt))
  }
  if (target !== undefined && target !== audienceOf(parts.url)) {
    const places = `${audienceOf(parts.url)} or ${apiAudience(parts.url)}`
    return fault('invalid_target', `tokens are for ${places}`)
  }
  const authority = parts.authorityOf(machine.org)
  const opened =
    params.run === undefined
      ? await open(request, machine, { ...parts, authority })
      : await knownRun(params.run, machine, authority)
  if (!opened.ok) return opened
  const run = await answered(authority, opened.value, { holdMs: parts.holdMs ?? HOLD_MS })
  if (!run.ok) return run
  const badge = await authority.badgeFor(run.value.id, { client, jkt })
  if (!badge.ok) return refusedAs('access_denied', badge.error)
  return ok(badgeAnswer(badge.value, run.value, { url: parts.url, now: parts.clock(), jkt }))
}

async function open(
  { params }: TokenRequest,
  machine: Machine,
  parts: MachineGrantParts & { readonly authority: Authority },
): Promise<Result<RunId, OAuthFault>> {
  const details = detailsIn(params.authorization_details)
  if (!details.ok) return details
  const wish = readWish(params.scope, details.value)
  if (!wish.ok) return fault('invalid_authorization_details', wish.error)
  const template = templateFor(wish.value, machine, parts)
  if (!template.ok) return template
  const full = termsFor(template.value, machine.client)
  const terms = narrowTerms(full, wish.value.less, parts.vocabulary)
  if (!terms.ok) return fault('invalid_authorization_details', terms.error)
  const { name, warnings } = template.value
  const caller = { kind: 'machine', ...machine } as const
  const asked = { caller, terms: terms.value, template: name, warnings, agent: null, client: null }
  const opened = await requestRun(parts, asked)
  if (!opened.ok) return refusedAs('access_denied', opened.error)
  const approved = await approveByPolicy(parts.authority, opened.value)
  return approved.ok ? ok(opened.value.run) : refusedAs('access_denied', approved.error)
}

function detailsIn(text: string | undefined): Result<unknown, OAuthFault> {
  if (text === undefined) return ok(undefined)
  const read = parseStrictJson(text, { depthMax: DEPTH_MAX, numbers: 'exact' })
  if (read.ok) return ok(read.value)
  const why = `\`authorization_details\` is not sound JSON: ${read.error.fault}`
  return fault('invalid_authorization_details', why)
}

/** The one template that is meant. A machine that has but one need not name it. */
function templateFor(
  { templates: wished }: Wish,
  { templates: own }: Machine,
  { templates }: MachineGrantParts,
): Result<Template, OAuthFault> {
  const [name, ...more] = wished ?? own ?? []
  if (name === undefined || more.length > 0) {
    return fault('invalid_scope', 'name one template: scope `lease:NAME`')
  }
  const template = templates.get(name)
  return template === null ? fault('invalid_scope', `no template \`${name}\` here`) : ok(template)
}

/** A run that this machine has asked for before. */
async function knownRun(
  id: string,
  machine: Machine,
  authority: Authority,
): Promise<Result<RunId, OAuthFault>> {
  const run = (await authority.find(id as RunId))?.run
  const isOwn = run?.parent === null && run.envelope.requester === machine.client
  return isOwn ? ok(run.id) : fault('invalid_request', '`run` names no run of this machine')
}
