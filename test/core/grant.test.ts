import fc from 'fast-check'
import { describe, expect, it, test } from 'vitest'
import type { Touch } from '../../src/core/facts.ts'
import { compileGrant, grantContained, permits, smallestGrant } from '../../src/core/grant.ts'
import type { Json } from '../../src/core/id.ts'
import type { Grant } from '../../src/core/lease.ts'
import {
  arbitraryArgs,
  arbitraryGrant,
  arbitraryTouch,
  callFor,
  narrowed,
} from './arbitrary-grant.ts'
import { atLeast, runs } from './runs.ts'
import { rows } from './table.ts'

const grantOf = (part: Partial<Grant>): Grant => ({
  actions: ['a'],
  resources: {},
  where: {},
  ...part,
})

const touchOf = (part: Partial<Touch>): Touch => ({
  action: 'a',
  effect: 'read',
  reversible: true,
  resources: {},
  within: {},
  hosts: [],
  ...part,
})

function judge(grant: Grant, touch: Touch, args: Record<string, Json> = {}) {
  const compiled = compileGrant(grant)
  if (!compiled.ok) throw new Error(compiled.error)
  return permits(compiled.value, touch, args)
}

const ESSAY = grantOf({
  actions: ['repo.read', 'repo.push', 'pull_request.create'],
  resources: { repos: ['clord'], branches: ['agent/dependency-update'] },
})

describe('permits', () => {
  // action, resources of the touch, types within, arguments, verdict
  const GRANT = grantOf({
    actions: ['repo.*'],
    resources: { repos: ['clord'], paths: ['src/**'] },
    where: { n: { max: 2 } },
  })
  it.each(
    rows(`
      repo.read    repos:clord        paths:src/a          1       permitted
      repo.read    repos:clord        paths:src            "2"     permitted
      repo.read    repos:clord        paths:src,src/b      1       permitted
      repo.read    repos:clord        paths:src,docs       1       no_grant
      repo.read    repos:clord,other  paths:src            1       no_grant
      repo.read    repos:clord-evil   paths:src            1       no_grant
      repo         repos:clord        paths:src            1       no_grant
      repo.x.y     repos:clord        paths:src            1       no_grant
      other.read   repos:             -                    absent  no_grant
      repo.read    repos:clord        -                    1       resource_unresolved
      repo.read    repos:clord        paths:               1       resource_unresolved
      repo.read    repos:             paths:src            1       resource_unresolved
      repo.read    -                  paths:src            1       resource_unresolved
      repo.read    repos:clord        branches:main        1       resource_unresolved
      repo.read    repos:clord        paths:src            3       constraint_failed
      repo.read    repos:clord        paths:src            absent  constraint_failed
      repo.read    repos:clord        paths:src            [1]     constraint_failed
      repo.read    repos:other        paths:src            3       no_grant
    `),
  )('%s on %s within %s with %s: %s', (action, resources, within, n, verdict) => {
    const touch = touchOf({ action: action!, resources: types(resources!), within: types(within!) })
    const args: Record<string, Json> = n === 'absent' ? {} : { n: JSON.parse(n!) as Json }
    expect(judge(GRANT, touch, args)?.reason ?? 'permitted').toBe(verdict)
  })

  /** `repos:clord,other` */
  function types(text: string): Record<string, string[]> {
    if (text === '-') return {}
    const [type, list] = text.split(':') as [string, string]
    return { [type]: list === '' ? [] : list.split(',') }
  }

  test('a type that the call touches and the grant does not name is denied', () => {
    const touch = touchOf({ resources: { accounts: ['GB29'] } })
    expect(judge(grantOf({}), touch)).toEqual({
      reason: 'no_grant',
      detail: expect.stringContaining('names no accounts'),
    })
    expect(judge(grantOf({}), touchOf({ within: { paths: ['a'] } }))).toBeNull()
  })

  test('a type in both places is checked in both', () => {
    const grant = grantOf({ resources: { paths: ['a'] } })
    const touch = (resource: string, within: string) =>
      touchOf({ resources: { paths: [resource] }, within: { paths: [within] } })
    expect(judge(grant, touch('a', 'a'))).toBeNull()
    expect(judge(grant, touch('a', 'b'))?.reason).toBe('no_grant')
    expect(judge(grant, touch('b', 'a'))?.reason).toBe('no_grant')
  })

  test("the essay's lease: the branch it names and no other", () => {
    const push = (branch: string) =>
      touchOf({ action: 'repo.push', resources: { repos: ['clord'], branches: [branch] } })
    expect(judge(ESSAY, push('agent/dependency-update'))).toBeNull()
    expect(judge(ESSAY, push('main'))).toEqual({
      reason: 'no_grant',
      detail:
        '`main` is outside branches: `agent/dependency-update`; ask for a grant that names it',
    })
  })

  test('threat 10: `__proto__` and `constructor` name nothing by inheritance', () => {
    const named = JSON.parse('{"__proto__":["x"]}') as Grant['resources']
    expect(judge(grantOf({ resources: named }), touchOf({}))?.reason).toBe('resource_unresolved')
    expect(judge(grantOf({ resources: named }), touchOf({ resources: named }))).toBeNull()
    const inherited = JSON.parse('{"__proto__":{"exact":{}}}') as Grant['where']
    expect(judge(grantOf({ where: inherited }), touchOf({}))?.reason).toBe('constraint_failed')
    for (const name of ['constructor', 'toString', '__proto__', 'hasOwnProperty']) {
      const where = JSON.parse(`{"${name}":{"not_one_of":["x"]}}`) as Grant['where']
      expect(judge(grantOf({ where }), touchOf({}))?.reason).toBe('constraint_failed')
      const resources = JSON.parse(`{"${name}":["**"]}`) as Grant['resources']
      expect(judge(grantOf({ resources }), touchOf({}))?.reason).toBe('resource_unresolved')
      expect(judge(grantOf({}), touchOf({ resources }))?.reason).toBe('no_grant')
    }
  })

  test('threat 13: one good and one bad recipient is denied', () => {
    const grant = grantOf({ resources: { emails: ['*@x.com'] } })
    expect(judge(grant, touchOf({ resources: { emails: ['a@x.com', 'b@x.com'] } }))).toBeNull()
    const mixed = touchOf({ resources: { emails: ['a@x.com', 'b@evil.com'] } })
    expect(judge(grant, mixed)?.detail).toContain('`b@evil.com`')
  })

  test('threat 70: a detail shows hidden characters and is cut', () => {
    const touch = touchOf({ resources: { repos: [`a\u202e\u001b[31m${'x'.repeat(5_000)}`] } })
    const shortfall = judge(grantOf({ resources: { repos: ['b'] } }), touch)
    expect(shortfall?.detail).toContain('a\\u{202e}\\u{1b}[31m')
    expect(shortfall?.detail.length).toBeLessThan(400)
  })

  test('law: default deny; a grant permits only what each of its parts names', () => {
    let permitted = 0
    const pair = arbitraryGrant.chain((grant) => fc.tuple(fc.constant(grant), callFor(grant)))
    fc.assert(
      fc.property(pair, ([grant, { touch, args }]) => {
        const verdict = judge(grant, touch, args)
        if (verdict === null) permitted++
        expect(verdict === null).toBe(permitsNaively(grant, touch, args))
      }),
      { numRuns: runs(5_000) },
    )
    expect(permitted).toBeGreaterThan(atLeast(500))
  })

  test('threat 19: the order of patterns, types and values does not matter', () => {
    const turn = <T>(record: Readonly<Record<string, T>>) =>
      Object.fromEntries(Object.entries(record).reverse())
    fc.assert(
      fc.property(arbitraryGrant, arbitraryTouch, arbitraryArgs, (grant, touch, args) => {
        const turned = {
          actions: [...grant.actions, ...grant.actions].reverse(),
          resources: turn(grant.resources),
          where: turn(grant.where),
        }
        const other = { ...touch, resources: turn(touch.resources), within: turn(touch.within) }
        expect(judge(turned, other, args) === null).toBe(judge(grant, touch, args) === null)
      }),
    )
  })
})

/** The rule as a person would say it, one pattern and one value at a time. */
function permitsNaively(grant: Grant, touch: Touch, args: Record<string, Json>): boolean {
  const single = (part: Partial<Grant>, other: Partial<Touch>, values = {}) =>
    judge(grantOf(part), touchOf(other), values) === null
  const all = [...Object.entries(touch.resources), ...Object.entries(touch.within)]
  return (
    grant.actions.some((action) => single({ actions: [action] }, { action: touch.action })) &&
    Object.keys(touch.resources).every((type) => grant.resources[type] !== undefined) &&
    Object.entries(grant.resources).every(([type, patterns]) => {
      const values = all.filter(([each]) => each === type).flatMap(([, list]) => list)
      return (
        values.length > 0 &&
        values.every((value) =>
          patterns.some((text) =>
            single({ resources: { t: [text] } }, { resources: { t: [value] } }),
          ),
        )
      )
    }) &&
    Object.entries(grant.where).every(
      ([name, constraint]) =>
        args[name] !== undefined && single({ where: { n: constraint } }, {}, { n: args[name] }),
    )
  )
}

describe('compileGrant', () => {
  it.each([
    [{ actions: ['a..b'] }, 'actions: `a..b`'],
    [{ resources: { repos: ['a/'] } }, 'resources.repos: `a/` ends'],
    [{ where: { n: { most: 1 } } }, 'where.n.most: unknown constraint'],
    [{ where: { n: { each: { max: 'x' } } } }, 'where.n.each.max: `x` is not a decimal'],
  ])('%j is refused: %s', (part, words) => {
    const result = compileGrant(grantOf(part as Partial<Grant>))
    expect(result).toMatchObject({ ok: false, error: expect.stringContaining(words) })
  })
})

describe('grantContained', () => {
  const repos = (...texts: string[]) => grantOf({ resources: { repos: texts } })
  const n = (constraint: Grant['where'][string]) => grantOf({ where: { n: constraint } })
  const table: [string, Grant, Grant[], boolean][] = [
    ['the same grant', ESSAY, [ESSAY], true],
    ['no parent', ESSAY, [], false],
    [
      'an action of the parent',
      grantOf({ actions: ['a.b'] }),
      [grantOf({ actions: ['a.*'] })],
      true,
    ],
    ['a descendant', grantOf({ actions: ['a.b'] }), [grantOf({ actions: ['a'] })], false],
    [
      'actions from two parents',
      grantOf({ actions: ['a', 'b'] }),
      [grantOf({}), grantOf({ actions: ['b'] })],
      true,
    ],
    ['a repo of the parent', repos('x'), [repos('x', 'y')], true],
    ['a union of patterns', repos('**'), [repos('.', '*', '*/*/**')], true],
    ['a hole in the union', repos('**'), [repos('.', '*', '*/*/*/**')], false],
    ['no mention of the type', grantOf({}), [repos('x')], false],
    ['a type more', grantOf({ resources: { repos: ['x'], paths: ['a'] } }), [repos('x')], true],
    ['a constraint kept', n({ max: 1 }), [n({ max: 2 })], true],
    ['a constraint widened', n({ max: 3 }), [n({ max: 2 })], false],
    ['a constraint dropped', grantOf({}), [n({ max: 2 })], false],
    ['a constraint more', n({ max: 3 }), [grantOf({})], true],
    ['split over two parents', repos('x', 'y'), [repos('x'), repos('y')], false],
    ['an invalid parent', grantOf({}), [grantOf({ actions: ['a', '**.**'] })], false],
  ]
  it.each(table)('%s', (_, child, parents, expected) => {
    expect(grantContained(child, parents)).toBe(expected)
  })

  const family = fc
    .array(arbitraryGrant, { minLength: 1, maxLength: 3 })
    .chain((parents) =>
      fc.record({
        parents: fc.constant(parents),
        child: fc.oneof(arbitraryGrant, fc.constantFrom(...parents).chain(narrowed)),
      }),
    )
    .chain(({ parents, child }) =>
      fc.record({
        parents: fc.constant(parents),
        child: fc.constant(child),
        calls: fc.array(callFor(child), { minLength: 6, maxLength: 6 }),
      }),
    )

  test('threat 63: child permits ⇒ a parent permits', () => {
    const seen = { contained: 0, permitted: 0, excluded: 0 }
    fc.assert(
      fc.property(family, ({ parents, child, calls }) => {
        if (!grantContained(child, parents)) return
        seen.contained++
        for (const { touch, args } of calls) {
          if (judge(child, touch, args) !== null) continue
          seen.permitted++
          const permitted = parents.some((parent) => judge(parent, touch, args) === null)
          // A type that only the child names narrows within a resource; as a resource of its own it
          // is denied by the parent's grant.
          const isNamed = (parent: Grant) =>
            Object.keys(touch.resources).every((type) => Object.hasOwn(parent.resources, type))
          if (!permitted && !parents.every(isNamed)) seen.excluded++
          else expect(permitted).toBe(true)
        }
      }),
      { numRuns: runs(5_000) },
    )
    expect(seen.contained).toBeGreaterThan(atLeast(300))
    expect(seen.permitted).toBeGreaterThan(atLeast(500))
    expect(seen.excluded).toBeLessThan(seen.permitted / 4)
  })
})

describe('smallestGrant', () => {
  test('names exactly the touch', () => {
    const touch = touchOf({
      action: 'repo.push',
      resources: { repos: ['clord'], branches: ['main', 'main'] },
      within: { paths: ['src/a'] },
    })
    expect(smallestGrant(touch, { force: true })).toEqual({
      actions: ['repo.push'],
      resources: { repos: ['clord'], branches: ['main'], paths: ['src/a'] },
      where: { force: { exact: true } },
    })
  })

  test.each([
    ['a `*` in a value', touchOf({ resources: { paths: ['src/*'] } }), {}],
    ['a `*` in an action', touchOf({ action: 'a.*' }), {}],
    ['no value', touchOf({ resources: { repos: [] } }), {}],
    ['pattern syntax of others', touchOf({ resources: { paths: ['what?'] } }), {}],
    ['a number that is not exact', touchOf({}), { n: -0 }],
    ['a hidden character', touchOf({ resources: { repos: ['a\u200b'] } }), {}],
  ])('null for %s: nothing literal says it', (_, touch, args) => {
    expect(smallestGrant(touch, args)).toBeNull()
  })

  test('law: permits its own touch, and lies in every grant that permits it', () => {
    let compared = 0
    const pair = arbitraryGrant.chain((grant) => fc.tuple(fc.constant(grant), callFor(grant)))
    fc.assert(
      fc.property(pair, ([grant, { touch, args }]) => {
        const smallest = smallestGrant(touch, args)
        expect(smallest).not.toBeNull()
        expect(judge(smallest!, touch, args)).toBeNull()
        if (judge(grant, touch, args) !== null) return
        compared++
        expect(grantContained(smallest!, [grant])).toBe(true)
      }),
      { numRuns: runs(5_000) },
    )
    expect(compared).toBeGreaterThan(atLeast(500))
  })

  test('law: permits no other touch', () => {
    let compared = 0
    const pair = fc
      .record({ touch: arbitraryTouch, args: arbitraryArgs })
      .map((own) => ({ own, smallest: smallestGrant(own.touch, own.args)! }))
      .chain(({ own, smallest }) =>
        fc.record({
          own: fc.constant(own),
          smallest: fc.constant(smallest),
          other: callFor(smallest),
        }),
      )
    fc.assert(
      fc.property(pair, ({ own, smallest, other }) => {
        if (judge(smallest, other.touch, other.args) !== null) return
        compared++
        expect(other.touch.action).toBe(own.touch.action)
        for (const type of ['repos', 'branches']) {
          const extra = other.touch.resources[type]?.filter(
            (value) => !own.touch.resources[type]?.includes(value),
          )
          expect(extra ?? []).toEqual([])
        }
        for (const [name, value] of Object.entries(own.args)) {
          expect(other.args[name]).toEqual(value)
        }
      }),
      { numRuns: runs(5_000) },
    )
    expect(compared).toBeGreaterThan(atLeast(200))
  })
})
