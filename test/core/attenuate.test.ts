import fc from 'fast-check'
import { describe, expect, it, test } from 'vitest'
import { attenuates } from '../../src/core/attenuate.ts'
import { compileTerms } from '../../src/core/compile.ts'
import type { Touch } from '../../src/core/facts.ts'
import { permits } from '../../src/core/grant.ts'
import type { Json } from '../../src/core/id.ts'
import type { Grant, Terms } from '../../src/core/lease.ts'
import { deniesAction, matchesAction } from '../../src/core/pattern.ts'
import { arbitraryGrant, callFor, narrowed } from './arbitrary-grant.ts'
import { atLeast, runs } from './runs.ts'

const GRANT: Grant = {
  actions: ['a', 'b.*'],
  resources: { repos: ['x'] },
  where: { n: { max: 2 } },
}

const FIXED_END = Date.parse('2026-06-23T02:12:00Z')

const PARENT: Terms = {
  version: 1,
  agent: 'maintenance-agent',
  purpose: 'update a dependency',
  user: 'maintainer@example.com',
  grants: [GRANT],
  deny: ['secret.read', 'b.delete'],
  ask: ['b.merge'],
  onExceed: 'deny',
  expiresInSeconds: 1800,
  notAfter: FIXED_END,
  until: ['b.create'],
  maxToolCalls: 30,
  limits: { 'b.create': 1 },
  workSeconds: 1200,
  usd: '2.00',
  delegate: { maxDepth: 2, maxChildren: 2, ask: true },
  requireReceipt: true,
  ceiling: ['a', 'b.**'],
  approvers: ['ann@example.com', 'bob@example.com'],
  labels: {},
}

/** Narrower than the parent: one call less, and a level less to delegate. */
const CHILD: Terms = {
  ...PARENT,
  agent: 'helper',
  purpose: 'read the changelog',
  maxToolCalls: 29,
  delegate: { maxDepth: 1, maxChildren: 2, ask: true },
}

const child = (part: Partial<Terms>): Terms => ({ ...CHILD, ...part })
const only = (part: Partial<Grant>): Partial<Terms> => ({ grants: [{ ...GRANT, ...part }] })

describe('threat 63: a child that exceeds its parent is refused', () => {
  const table: [string, Partial<Terms>, string][] = [
    // dimension, what the child's lease has instead of the parent's, what the message says
    ['user', { user: 'eve@example.com' }, 'for `maintainer@example.com`'],
    ['grants', only({ actions: ['a', 'c'] }), 'the child `c`'],
    ['grants', only({ actions: ['b.**'] }), 'the child `b.**`'],
    ['grants', only({ resources: { repos: ['x', 'y'] } }), 'repos `x`, the child `y`'],
    ['grants', only({ resources: { repos: ['**'] } }), 'repos `x`, the child `**`'],
    ['grants', only({ resources: {} }), 'names no repos'],
    ['grants', only({ where: {} }), 'repeat the constraint'],
    ['grants', only({ where: { n: { max: 3 } } }), '`{"max":2}`'],
    ['grants', { grants: [GRANT, { ...GRANT, where: {} }] }, 'repeat the constraint'],
    ['deny', { deny: ['secret.read'] }, 'denies `b.delete`'],
    ['deny', { deny: ['secret.read.x', 'b.delete'] }, 'denies `secret.read`'],
    ['ask', { ask: [] }, 'add `b.merge`'],
    ['ask', { ask: ['b.merge.x'] }, 'add `b.merge`'],
    ['on_exceed', { onExceed: 'ask' }, 'write `deny`'],
    ['expires_in', { expiresInSeconds: 1801 }, 'write 1800s or less'],
    ['expires_in', { notAfter: null }, 'ends at a fixed time'],
    ['expires_in', { notAfter: FIXED_END + 1 }, 'ends at a fixed time'],
    ['max_tool_calls', { maxToolCalls: 31 }, 'write 30 calls or less'],
    ['max_tool_calls', { maxToolCalls: null }, 'the child no limit'],
    ['limits', { limits: {} }, '`b.create`'],
    ['limits', { limits: { 'b.create': 2 } }, 'write 1 calls or less'],
    ['budget.minutes', { workSeconds: 1201 }, 'write 1200s or less'],
    ['budget.minutes', { workSeconds: null }, 'the child no limit'],
    ['budget.usd', { usd: '2.01' }, 'write "2.00" or less'],
    ['budget.usd', { usd: null }, 'the child no limit'],
    [
      'delegate',
      { delegate: { maxDepth: 2, maxChildren: 1, ask: true } },
      'write 1 levels or less',
    ],
    [
      'delegate',
      { delegate: { maxDepth: 1, maxChildren: 3, ask: true } },
      'write 2 children or less',
    ],
    ['delegate', { delegate: { maxDepth: 1, maxChildren: 1, ask: false } }, 'write `ask: true`'],
    ['require_receipt', { requireReceipt: false }, 'require_receipt: true'],
    ['approvers', { approvers: ['eve@example.com'] }, 'the child `eve@example.com`'],
    ['not_narrower', { maxToolCalls: 30 }, 'permits all that'],
    ['not_narrower', { maxToolCalls: 30, delegate: null }, 'permits all that'],
    ['not_narrower', { maxToolCalls: 30, usd: '2' }, 'permits all that'],
  ]

  it.each(table)('%s: %j', (dimension, part, words) => {
    expect(attenuates(child(part), PARENT)).toEqual({
      ok: false,
      error: { dimension, message: expect.stringContaining(words) },
    })
  })

  test('ceiling: a grant above the ceiling of the parent', () => {
    const parent = { ...PARENT, ceiling: ['a'] }
    for (const ceiling of [null, ['**'], ['a', 'b.*']]) {
      expect(attenuates(child({ ceiling }), parent)).toMatchObject({
        error: { dimension: 'ceiling' },
      })
    }
    expect(attenuates(child({ ceiling: ['a'] }), parent).ok).toBe(true)
    expect(attenuates(child({ ceiling: null, ...only({ actions: ['a'] }) }), parent).ok).toBe(true)
  })

  test('delegate: a parent with one level leaves none', () => {
    const parent: Terms = { ...PARENT, delegate: { maxDepth: 1, maxChildren: 9, ask: false } }
    const refused = { error: { dimension: 'delegate' } }
    expect(attenuates(CHILD, parent)).toMatchObject(refused)
    expect(attenuates(CHILD, { ...PARENT, delegate: null })).toMatchObject(refused)
    expect(attenuates(child({ delegate: null }), parent).ok).toBe(true)
  })

  test('limits: an action that the child limits otherwise, without being granted it', () => {
    const part = { limits: { 'b.create': 2 }, ...only({ actions: ['a'] }) }
    expect(attenuates(child(part), PARENT)).toMatchObject({ error: { dimension: 'limits' } })
  })

  test('ask: one that the child asks for anyway need not be asked for in the words of the parent', () => {
    const parent = { ...PARENT, ask: ['b.*'] }
    const part = { ask: ['b.merge'], ...only({ actions: ['b.merge'] }) }
    expect(attenuates(child(part), parent).ok).toBe(true)
    const unasked = { ask: ['b.merge'], ...only({ actions: ['b.merge', 'b.create'] }) }
    expect(attenuates(child(unasked), parent)).toMatchObject({ error: { dimension: 'ask' } })
  })

  test('terms that are not valid are nothing to compare', () => {
    expect(() => attenuates(child({ deny: ['**.**'] }), PARENT)).toThrow('invalid terms: `**.**`')
  })

  test.each<[Partial<Terms>, Partial<Terms>, string]>([
    // the child's, the parent's, the whole message: both values, and what to write
    [
      { maxToolCalls: 31 },
      {},
      'the parent has 30 calls, the child 31 calls; write 30 calls or less',
    ],
    [
      { maxToolCalls: null },
      {},
      'the parent has 30 calls, the child no limit; write 30 calls or less',
    ],
    [{ usd: '2.01' }, {}, 'the parent has "2.00", the child "2.01"; write "2.00" or less'],
    [{ usd: null }, {}, 'the parent has "2.00", the child no limit; write "2.00" or less'],
    [
      { ask: [] },
      {},
      'the parent asks before each `b.merge`, the child may do `b.*` unasked; ' +
        "add `b.merge` to the child's ask",
    ],
    [
      { ceiling: null },
      { ceiling: ['a', 'c'] },
      "the parent's ceiling is `a`, `c`, the child may do `b.*`; " +
        'repeat the ceiling or leave the action out',
    ],
    [
      { ceiling: null },
      { ceiling: [] },
      "the parent's ceiling is nothing, the child may do `a`; " +
        'repeat the ceiling or leave the action out',
    ],
    [
      {},
      { delegate: { maxDepth: 1, maxChildren: 9, ask: true } },
      "the parent leaves no level below the child; leave out the child's delegate",
    ],
    [
      { approvers: ['eve@example.com'] },
      {},
      'the parent names `ann@example.com`, `bob@example.com`, the child `eve@example.com`; ' +
        "write one of the parent's",
    ],
    [
      { maxToolCalls: 30 },
      {},
      "the child's lease permits all that the parent's does; " +
        'leave out a grant, or write fewer calls or a shorter time',
    ],
  ])('%#: in words', (part, above, message) => {
    expect(attenuates(child(part), { ...PARENT, ...above })).toMatchObject({ error: { message } })
  })

  test('the first dimension that fails is named', () => {
    const both = child({ ...only({ actions: ['c'] }), usd: null })
    expect(attenuates(both, PARENT)).toMatchObject({ error: { dimension: 'grants' } })
  })
})

describe('a child that is less in one dimension is accepted', () => {
  const same = child({ maxToolCalls: 30 })
  const table: [string, Partial<Terms>][] = [
    ['actions', only({ actions: ['a'] })],
    ['no grant', { grants: [] }],
    ['a type more', only({ resources: { repos: ['x'], paths: ['src/**'] } })],
    ['a constraint narrower', only({ where: { n: { max: 1 } } })],
    ['a denial more', { deny: [...PARENT.deny, 'a.x'] }],
    ['a denial of the ancestor', { deny: ['secret', 'b.delete'] }],
    ['a wider denial', { deny: ['secret.**', 'b.delete'] }],
    ['an ask more', { ask: ['b.merge', 'a'] }],
    ['a lower ceiling', { ceiling: ['a'] }],
    ['stops at excess', { onExceed: 'suspend' }],
    ['a shorter time', { expiresInSeconds: 1799 }],
    ['an earlier end', { notAfter: FIXED_END - 1 }],
    ['a call less', { maxToolCalls: 29 }],
    ['a limit more', { limits: { 'b.create': 1, a: 3 } }],
    ['a lower limit', { limits: { 'b.create': 0 } }],
    ['less work', { workSeconds: 1199 }],
    ['a cent less', { usd: '1.99' }],
    ['an event more', { until: ['b.create', 'a'] }],
    ['a limit left out with its action', { limits: {}, ...only({ actions: ['a'] }) }],
    ['an ask left out with its action', { ask: [], ...only({ actions: ['a'] }) }],
  ]
  it.each(table)('%s', (_, part) => {
    expect(attenuates(same, PARENT).ok).toBe(false)
    expect(attenuates({ ...same, ...part }, PARENT)).toEqual({ ok: true, value: true })
  })

  test('an unlimited parent sets no bound', () => {
    const parent: Terms = {
      ...PARENT,
      maxToolCalls: null,
      workSeconds: null,
      usd: null,
      limits: {},
      ceiling: null,
      approvers: null,
      notAfter: null,
    }
    const wide = child({ maxToolCalls: null, workSeconds: null, usd: '900', limits: {} })
    expect(attenuates(wide, parent)).toEqual({ ok: true, value: true })
  })
})

const termsOf = (grants: fc.Arbitrary<Grant[]>): fc.Arbitrary<Terms> =>
  fc
    .record({
      grants,
      deny: fc.constantFrom([], [], ['a.b'], ['b.c'], ['**.c'], ['a.b.c']),
      ask: fc.constantFrom([], [], ['a'], ['a.*'], ['b', '**.c']),
      ceiling: fc.constantFrom(null, null, ['a.**', 'b'], ['a', 'b.*', '**.c'], ['**']),
      maxToolCalls: fc.constantFrom(null, 1, 2),
      usd: fc.constantFrom(null, '0.1', '0.10', '1'),
      expiresInSeconds: fc.constantFrom(1, 2),
      notAfter: fc.constantFrom(null, 1, 2),
    })
    .map((part) => ({ ...PARENT, limits: {}, until: [], approvers: null, delegate: null, ...part }))

interface Call {
  readonly touch: Touch
  readonly args: Readonly<Record<string, Json>>
}

/** What of a lease is decided without a tree: denials, ceiling, grants, asks. */
function verdict(terms: Terms, { touch, args }: Call): { allowed: boolean; asked: boolean } {
  const { deny, ceiling, grants, ask } = compileTerms(terms)
  const denied = deny.some((pattern) => deniesAction(pattern, touch.action))
  const above = ceiling?.some((pattern) => matchesAction(pattern, touch.action)) === false
  const granted = grants.some((grant) => permits(grant, touch, args) === null)
  return {
    allowed: granted && !denied && !above,
    asked: ask.some((pattern) => matchesAction(pattern, touch.action)),
  }
}

describe('laws', () => {
  const parents = termsOf(fc.array(arbitraryGrant, { minLength: 1, maxLength: 3 }))
  const families = parents
    .chain((parent) =>
      fc.record({
        parent: fc.constant(parent),
        child: fc
          .record({
            other: termsOf(
              fc.array(fc.constantFrom(...parent.grants).chain(narrowed), { maxLength: 2 }),
            ),
            keeps: fc.boolean(),
          })
          .map(({ other, keeps }) => {
            if (!keeps) return other
            const ask = [...other.ask, ...parent.ask]
            const deny = [...other.deny, ...parent.deny]
            return { ...parent, grants: other.grants, ask, deny, expiresInSeconds: 1, notAfter: 1 }
          }),
      }),
    )
    .chain((family) =>
      fc.record({
        parent: fc.constant(family.parent),
        child: fc.constant(family.child),
        calls: fc.array(
          family.child.grants.length === 0
            ? callFor(family.parent.grants[0]!)
            : fc.constantFrom(...family.child.grants).chain(callFor),
          { minLength: 6, maxLength: 6 },
        ),
      }),
    )

  test('threat 63: child allows ⇒ parent allows, and asks for what the parent asks for', () => {
    const seen = { narrower: 0, wider: 0, allowed: 0, excluded: 0 }
    fc.assert(
      fc.property(families, ({ parent, child: own, calls }) => {
        if (!attenuates(own, parent).ok) return void seen.wider++
        seen.narrower++
        for (const call of calls) {
          const below = verdict(own, call)
          if (!below.allowed) continue
          seen.allowed++
          const above = verdict(parent, call)
          // A type that only the child names, touched as a resource of its own: see grantContained.
          const types = Object.keys(call.touch.resources)
          const isNamed = (grant: Grant) => types.every((type) => type in grant.resources)
          if (!above.allowed && !parent.grants.every(isNamed)) seen.excluded++
          else expect(above.allowed).toBe(true)
          expect(below.asked || !above.asked).toBe(true)
        }
      }),
      { numRuns: runs(8_000) },
    )
    expect(seen.narrower).toBeGreaterThan(atLeast(500))
    expect(seen.wider).toBeGreaterThan(atLeast(500))
    expect(seen.allowed).toBeGreaterThan(atLeast(200))
    expect(seen.excluded).toBeLessThan(seen.allowed / 4)
  })

  test('a lease is not narrower than itself, and of two at most one is narrower', () => {
    fc.assert(
      fc.property(families, ({ parent, child: own }) => {
        expect(attenuates(parent, parent)).toMatchObject({ error: { dimension: 'not_narrower' } })
        if (attenuates(own, parent).ok) expect(attenuates(parent, own).ok).toBe(false)
      }),
      { numRuns: runs(2_000) },
    )
  })
})
