import { canonicalise } from '../../core/canonical.ts'
import { err, ok, type Result } from '../../core/result.ts'
import { hasHidden } from '../../core/text.ts'
import { ROLES } from '../caller.ts'
import type { PeopleConfig } from '../config.ts'
import type { Person } from './sessions.ts'

/** What the identity provider says of somebody, verified. */
export type Claims = Readonly<Record<string, unknown>>

export type ClaimFault =
  /** The claim that names people is missing, or is no name. */
  | 'no_name'
  /** The identity provider does not vouch for the address. */
  | 'email_unverified'
  | 'org_unknown'
  /** Two organisations at once: nobody can say which one is meant. */
  | 'org_ambiguous'
  | 'no_role'

/** As long as an e-mail address may be (RFC 5321 §4.5.3.1). */
const NAME_CHARACTERS_MAX = 320

type Rules = Pick<PeopleConfig, 'personClaim' | 'roles' | 'org'>

/**
 * Who somebody is here, by what the identity provider says and the configuration makes of it.
 * `defaultOrg`: the one organisation where the configuration names none. What is missing or
 * ambiguous is nobody.
 */
export function personOf(
  claims: Claims,
  rules: Rules,
  defaultOrg: string,
): Result<Person, ClaimFault> {
  const name = nameOf(claims, rules.personClaim)
  if (!name.ok) return name
  const org = rules.org === null ? ok(defaultOrg) : orgOf(claims, rules.org)
  if (!org.ok) return org
  const given = textsAt(claims, rules.roles.claim)
  const roles = new Set(
    ROLES.filter((role) => rules.roles.map[role]?.some((value) => given.includes(value))),
  )
  if (roles.size === 0) return err('no_role')
  return ok({ org: org.value, person: name.value, roles })
}

/**
 * People are compared by name when it matters who asked and who said yes. So an e-mail address is
 * one that is verified, in lower case: another spelling of it is not another person.
 */
function nameOf(claims: Claims, claim: string): Result<string, ClaimFault> {
  const value = at(claims, claim)
  if (typeof value !== 'string' || value === '' || value.length > NAME_CHARACTERS_MAX) {
    return err('no_name')
  }
  if (hasHidden(value) || value.trim() !== value) return err('no_name')
  if (claim !== 'email') return ok(value)
  const address = canonicalise('emails', value)
  if (!address.ok) return err('no_name')
  const verified = at(claims, 'email_verified')
  // Some providers write every claim as a text.
  if (verified !== true && verified !== 'true') return err('email_unverified')
  return ok(address.value.toLowerCase())
}

function orgOf(
  claims: Claims,
  { claim, map }: NonNullable<Rules['org']>,
): Result<string, ClaimFault> {
  const known = textsAt(claims, claim).filter((value) => Object.hasOwn(map, value))
  const orgs = new Set(known.map((value) => map[value]!))
  const [org] = orgs
  if (org === undefined) return err('org_unknown')
  return orgs.size === 1 ? ok(org) : err('org_ambiguous')
}

function textsAt(claims: Claims, claim: string): string[] {
  const value = at(claims, claim)
  const values = Array.isArray(value) ? value : [value]
  return values.filter((each) => typeof each === 'string')
}

/** A claim by its name; where there is none of that name, by its path: `realm_access.roles`. */
function at(claims: Claims, name: string): unknown {
  if (Object.hasOwn(claims, name)) return claims[name]
  let value: unknown = claims
  for (const member of name.split('.')) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, member)) {
      return undefined
    }
    value = (value as Record<string, unknown>)[member]
  }
  return value
}
