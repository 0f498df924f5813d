import type { Actor, ApprovalRule, ApproverClause } from '../core/command.ts'
import { meets } from '../core/decision.ts'
import type { OrgId } from '../core/id.ts'
import type { Grant, Terms } from '../core/lease.ts'
import { containsResource, parseResourcePattern } from '../core/pattern.ts'
import { err, ok, type Result } from '../core/result.ts'
import { formatDuration } from '../lease-file/duration.ts'
import { isWithin } from '../lease-file/narrow.ts'
import type { Role } from './caller.ts'
import type { Config } from './config.ts'
import { isAbout, reaches } from './policy-reach.ts'
import { isReadOnly, READ_ONLY_POLICY, type Reading } from './read-only.ts'
import { type Templates, termsFor } from './templates.ts'

export interface PolicyRequest {
  readonly terms: Terms
  /** Who asks: a person, or the client id of a machine. */
  readonly requester: string
  readonly roles: ReadonlySet<Role>
  /** The template that the terms come from; null: a lease of the requester's own writing. */
  readonly template: string | null
  readonly org: OrgId
}

/** A lease as rules see it: whoever asks, and with which roles, does not change what it is. */
export type PolicyLease = Omit<PolicyRequest, 'roles'>

/** What `policy`, `approvals`, `machines` and `limits` of the configuration say to a request. */
export interface Policy {
  /**
   * How a request may be answered, fixed before anybody sees it; an error, in words for the
   * requester, where the configuration does not let them ask for this at all.
   */
  ruleFor(request: PolicyRequest): Result<ApprovalRule, string>
  /** Whether somebody may use a template (null: write a lease of their own). */
  mayUse(
    template: string | null,
    who: Pick<PolicyRequest, 'requester' | 'roles'>,
  ): Result<true, string>
  /**
   * Why somebody may not add these grants to a lease; null if they may. An amendment must not be a
   * way around the rules of a request.
   */
  mayAdd(grants: readonly Grant[], to: PolicyLease, by: Actor): string | null
}

type PolicyParts = Pick<Config, 'policy' | 'approvals' | 'limits' | 'machines'> & {
  readonly templates: Pick<Templates, 'get'>
}

/** The policy of a configuration and its templates, for what the catalogs of its servers can do. */
export function policyOf(config: PolicyParts, reading: Reading): Policy {
  return {
    ruleFor: (request) => ruleFor(request, config, reading),
    mayUse: (template, who) => mayUse(template, who, config),
    mayAdd: (grants, to, by) => {
      const terms = { ...to.terms, grants: [...to.terms.grants, ...grants] }
      const beyond = beyondCeiling({ ...to, terms }, config, reading)
      if (beyond !== null) return beyond
      if (!('person' in by)) return 'only a person can add to a lease'
      const unmet = clausesFor({ ...to, terms }, config, reading).find((each) => !meets(by, each))
      return unmet === undefined ? null : `${by.person} may not answer; may: ${whoOf(unmet)}`
    },
  }
}

function ruleFor(
  request: PolicyRequest,
  config: PolicyParts,
  reading: Reading,
): Result<ApprovalRule, string> {
  const { policy, approvals } = config
  const allowed = mayUse(request.template, request, config)
  if (!allowed.ok) return allowed
  const derived = derives(request, config)
  if (!derived.ok) return derived
  const lifeSecondsMax = longestLife(request, config, reading)
  const wrong =
    tooMuch(request.terms, config, lifeSecondsMax) ?? beyondCeiling(request, config, reading)
  if (wrong !== null) return err(wrong)
  const also = clausesFor(request, config, reading)
  const others = (policy.approve ?? []).some(
    (rule) => rule.self === false && isAbout(rule, request, reading),
  )
  return ok({
    policy: needsNobody(request, config, reading) ? READ_ONLY_POLICY : null,
    approvers: null,
    ...(also.length === 0 ? {} : { also }),
    self: approvals.self && !others,
    answerSeconds: approvals.answerSeconds,
    ...(lifeSecondsMax < config.limits.maxExpiresInSeconds ? { lifeSecondsMax } : {}),
  })
}

/** Terms that come from a template are it, or less: nobody's claim of that is believed. */
function derives(
  { template, terms, requester }: PolicyRequest,
  { templates }: PolicyParts,
): Result<true, string> {
  if (template === null) return ok(true)
  const found = templates.get(template)
  if (found === null) return err(`no template \`${template}\` here`)
  const within = isWithin(terms, termsFor(found, requester))
  return within.ok ? within : err(`wider than the template \`${template}\`: ${within.error}`)
}

function mayUse(
  template: string | null,
  { requester, roles }: Pick<PolicyRequest, 'requester' | 'roles'>,
  { policy, machines }: PolicyParts,
): Result<true, string> {
  const own = machines.find(({ clientId }) => clientId === requester)?.templates ?? null
  const mine = [...roles]
  if (template === null) {
    if (own !== null) return err(`${requester} may use ${own.join(', ')} and no lease of its own`)
    const writers = policy.own_leases
    const may = writers === undefined ? policy.templates === undefined : overlap(writers, mine)
    return may ? ok(true) : err('a lease of your own is not allowed here; use a template')
  }
  if (own !== null && !own.includes(template)) {
    return err(`${requester} may not use the template \`${template}\`; may: ${own.join(', ')}`)
  }
  const { templates } = policy
  if (templates === undefined) return ok(true)
  const usable = mine.flatMap((role) => templates[role] ?? [])
  if (usable.includes(template)) return ok(true)
  const may = usable.length === 0 ? 'none' : [...new Set(usable)].join(', ')
  return err(`your roles may not use the template \`${template}\`; may: ${may}`)
}

function overlap(one: readonly Role[], other: readonly Role[]): boolean {
  return one.some((role) => other.includes(role))
}

/** The shortest of the longest lives that are about a lease, in seconds. */
function longestLife(
  request: PolicyRequest,
  { policy, limits }: PolicyParts,
  reading: Reading,
): number {
  const rules = (policy.longest ?? []).filter((rule) => isAbout(rule, request, reading))
  return Math.min(limits.maxExpiresInSeconds, ...rules.map(({ expires_in }) => expires_in))
}

function tooMuch(terms: Terms, { limits }: PolicyParts, lifeSecondsMax: number): string | null {
  if (terms.expiresInSeconds > lifeSecondsMax) {
    const asked = formatDuration(terms.expiresInSeconds)
    return `such a lease lives at most ${formatDuration(lifeSecondsMax)} here, not ${asked}`
  }
  const { maxToolCalls } = terms
  if (maxToolCalls !== null && maxToolCalls > limits.maxToolCalls) {
    return `a lease has at most ${limits.maxToolCalls} tool calls here, not ${maxToolCalls}`
  }
  return null
}

/**
 * A read-only lease that needs no person. Rules of who may approve say who is asked when somebody
 * is; `person` takes actions out of this.
 */
function needsNobody(request: PolicyRequest, { policy }: PolicyParts, reading: Reading): boolean {
  const { terms, template } = request
  const { read_only: readOnly, person = [] } = policy
  if (readOnly === undefined || terms.expiresInSeconds > readOnly.under) return false
  const { templates } = readOnly
  if (templates !== undefined && !(template !== null && templates.includes(template))) return false
  return isReadOnly(terms, reading) && !reaches(terms, person, reading)
}

/** Who must say yes beyond what any lease needs. */
function clausesFor(
  request: PolicyLease,
  { policy }: PolicyParts,
  reading: Reading,
): ApproverClause[] {
  return (policy.approve ?? []).flatMap((rule) => {
    const { persons = [], roles = [] } = rule
    if (persons.length + roles.length === 0 || !isAbout(rule, request, reading)) return []
    return [{ persons, roles }]
  })
}

/** A clause in words: `lead@example.com, role admin`. */
export function whoOf({ persons, roles }: ApproverClause): string {
  return [...persons, ...roles.map((role) => `role ${role}`)].join(', ')
}

/** What of the terms lies outside the ceilings that hold for a requester; null: nothing. */
function beyondCeiling(
  { terms, requester, org }: PolicyLease,
  { policy }: PolicyParts,
  reading: Reading,
): string | null {
  const ceilings = (policy.resources ?? []).filter(
    ({ orgs, requesters }) =>
      (orgs?.includes(org) ?? true) && (requesters?.some((who) => isWho(who, requester)) ?? true),
  )
  if (ceilings.length === 0) return null
  if (terms.onExceed === 'ask') {
    return '`on_exceed: ask` could reach any resource, and yours are limited here; write `deny`'
  }
  const inner = innerTypes(reading)
  for (const { allow } of ceilings) {
    for (const [type, texts] of Object.entries(allow)) {
      for (const grant of terms.grants) {
        const wrong = beyondOne(grant, { type, texts, isInner: inner.has(type) })
        if (wrong !== null) return wrong
      }
    }
  }
  return null
}

/** `*@example.com` is everybody there; anything else is exactly one. */
function isWho(pattern: string, requester: string): boolean {
  return pattern.startsWith('*@')
    ? requester.endsWith(pattern.slice(1)) && requester.length >= pattern.length
    : pattern === requester
}

function beyondOne(
  grant: Grant,
  { type, texts, isInner }: { type: string; texts: readonly string[]; isInner: boolean },
): string | null {
  const may = texts.map((text) => `\`${text}\``).join(', ')
  const own = Object.hasOwn(grant.resources, type) ? grant.resources[type]! : null
  if (own === null) {
    // A type that lies within others is open where a grant does not name it.
    return isInner ? `a grant must name its ${type} here: ${may}` : null
  }
  const ceiling = texts.map(parsed)
  const wider = own.find((text) => !containsResource(ceiling, parsed(text)))
  return wider === undefined ? null : `${type}: \`${wider}\` is outside what you may name: ${may}`
}

function parsed(text: string) {
  const read = parseResourcePattern(text)
  if (!read.ok) throw new Error(read.error)
  return read.value
}

/** Types that calls carry within others, so that a grant need not name them. */
function innerTypes({ bound }: Reading): ReadonlySet<string> {
  const types = new Set<string>()
  for (const { catalog } of bound.values()) {
    for (const { rules } of catalog?.tools.values() ?? []) {
      for (const rule of rules) {
        if (rule.do === 'touch') for (const { type } of rule.within) types.add(type)
        else if (rule.do !== 'fault') types.add('paths')
      }
    }
  }
  return types
}
