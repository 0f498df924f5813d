import { describe, expect, test } from 'vitest'
import { personOf } from '../../../src/authority/people/claims.ts'

const RULES = {
  personClaim: 'email',
  roles: {
    claim: 'groups',
    map: { requester: ['staff', 'guests'], approver: ['leads'], admin: ['leads'] },
  },
  org: { claim: 'tenant', map: { 'T-1': 'acme', 'T-1b': 'acme', 'T-2': 'globex' } },
} as const
const SAM = {
  email: 'Sam@Clord.Example',
  email_verified: true,
  groups: ['leads', 'other'],
  tenant: 'T-1',
}

const read = (claims: Record<string, unknown>, rules: Partial<typeof RULES> | object = {}) =>
  personOf({ ...SAM, ...claims }, { ...RULES, ...rules }, 'local')

describe('who somebody is', () => {
  test('is what the configuration makes of the claims', () => {
    expect(read({})).toEqual({
      ok: true,
      value: { org: 'acme', person: 'sam@clord.example', roles: new Set(['approver', 'admin']) },
    })
  })

  test('another spelling of an address is the same person, who answers nothing of their own', () => {
    for (const email of ['SAM@clord.example', 'sam@CLORD.example', 'sAm@cLoRd.eXaMpLe']) {
      expect(read({ email })).toMatchObject({ value: { person: 'sam@clord.example' } })
    }
  })

  test.each([
    ['missing', undefined],
    ['a number', 7],
    ['empty', ''],
    ['a display name', 'Sam <sam@clord.example>'],
    ['two addresses', 'sam@clord.example,lee@clord.example'],
    ['text after a line break', 'sam@clord.example\nadmin'],
    ['text that runs backwards', 'sam\u202e@clord.example'],
    ['other letters that look the same', 'sаm@clord.example'],
    ['an array', ['sam@clord.example']],
    ['too long', `${'a'.repeat(400)}@clord.example`],
  ])('an address that is %s names nobody', (_, email) => {
    expect(read({ email })).toEqual({ ok: false, error: 'no_name' })
  })

  test.each([false, undefined, 'false', 1, null])('nor one that is verified: %s', (verified) => {
    expect(read({ email_verified: verified })).toEqual({ ok: false, error: 'email_unverified' })
  })

  test('can be another claim, taken as it is', () => {
    const named = (employee: unknown) => read({ employee }, { personClaim: 'employee' })
    expect(named('E-0042')).toMatchObject({ value: { person: 'E-0042' } })
    for (const odd of [' E-1', 'E-1 ', 'E\u0000', 'E\u200b1', '', null, {}]) {
      expect(named(odd)).toEqual({ ok: false, error: 'no_name' })
    }
  })
})

describe('what somebody may do', () => {
  test('is nothing without a role: nobody is let in for being known', () => {
    for (const groups of [undefined, [], ['other'], 'Leads', { leads: true }, ['leads '], 5]) {
      expect(read({ groups })).toEqual({ ok: false, error: 'no_role' })
    }
  })

  test('comes from one value or many', () => {
    expect(read({ groups: 'guests' })).toMatchObject({ value: { roles: new Set(['requester']) } })
    const both = read({ groups: ['staff', 'leads'] })
    expect(both).toMatchObject({ value: { roles: new Set(['requester', 'approver', 'admin']) } })
  })

  test('comes from a claim within another, or with dots in its name', () => {
    const nested = { roles: { ...RULES.roles, claim: 'realm.roles' } }
    expect(read({ realm: { roles: ['staff'] } }, nested).ok).toBe(true)
    expect(read({ 'realm.roles': ['staff'] }, nested).ok).toBe(true)
    const inherited = { roles: { ...RULES.roles, claim: 'constructor.name' } }
    expect(read({}, inherited)).toEqual({ ok: false, error: 'no_role' })
  })
})

describe('whose somebody is', () => {
  test('is a known organisation, or none', () => {
    expect(read({ tenant: ['T-9', 'T-2'] })).toMatchObject({ value: { org: 'globex' } })
    for (const tenant of [undefined, 'T-9', 'acme', '', 'constructor', '__proto__', 'toString']) {
      expect(read({ tenant })).toEqual({ ok: false, error: 'org_unknown' })
    }
  })

  test('is one: two are nobody', () => {
    expect(read({ tenant: ['T-1', 'T-2'] })).toEqual({ ok: false, error: 'org_ambiguous' })
    expect(read({ tenant: ['T-1', 'T-1b'] })).toMatchObject({ value: { org: 'acme' } })
  })

  test('is the one organisation, where the configuration names none', () => {
    expect(read({ tenant: 'T-9' }, { org: null })).toMatchObject({ value: { org: 'local' } })
  })
})
