import fc from 'fast-check'
import type { Touch } from '../../src/core/facts.ts'
import type { Json } from '../../src/core/id.ts'
import type { Constraint, Grant } from '../../src/core/lease.ts'
import {
  matchesAction,
  matchesResource,
  parseActionPattern,
  parseResourcePattern,
} from '../../src/core/pattern.ts'

/** In these tests `paths` narrow within a repository, and the other types stand on their own. */
const WITHIN = ['paths']

const ACTIONS = ['a', 'a.b', 'a.c', 'a.b.c', 'b', 'b.c']
const ACTION_PATTERNS = [...ACTIONS, '*', '**', 'a.*', 'a.**', '**.c', 'a*.b']
const VALUES = ['x', 'y', 'x/y', 'x/x', 'y/x/x', '.']
const VALUE_PATTERNS = [...VALUES, '*', '**', 'x*', 'x/*', 'x/**', '**/x', '*/*']

const constraint = fc.constantFrom<Constraint>(
  { exact: 1 },
  { exact: 'x' },
  { one_of: [1, 'x'] },
  { not_one_of: ['x'] },
  { max: 1 },
  { max: '2.0' },
  { min: 1 },
  { pattern: '**' },
  { pattern: 'x/**' },
  { each: { pattern: '**' } },
)

const patterns = fc.uniqueArray(fc.constantFrom(...VALUE_PATTERNS), { minLength: 1, maxLength: 3 })

export const arbitraryGrant: fc.Arbitrary<Grant> = fc.record({
  actions: fc.uniqueArray(fc.constantFrom(...ACTION_PATTERNS), { minLength: 1, maxLength: 2 }),
  resources: fc.record(
    { repos: patterns, branches: patterns, paths: patterns },
    { requiredKeys: [] },
  ),
  where: fc.option(fc.dictionary(fc.constantFrom('n', 'm'), constraint, { maxKeys: 1 }), {
    nil: {},
    freq: 1,
  }),
})

/** A grant that is often narrower: fewer patterns, or values that the patterns match. */
export function narrowed(grant: Grant): fc.Arbitrary<Grant> {
  const fewer = (texts: readonly string[], all: readonly string[]) =>
    fc.oneof(
      fc.subarray([...texts], { minLength: 1 }),
      fc.uniqueArray(fc.constantFrom(...all), { minLength: 1, maxLength: 2 }),
    )
  const resources = Object.entries(grant.resources).map(([type, texts]) =>
    fewer(texts, VALUES).map((each): [string, readonly string[]] => [type, each]),
  )
  return fc.record({
    actions: fewer(grant.actions, ACTIONS),
    resources: fc.tuple(...resources).map((entries) => Object.fromEntries(entries)),
    where: fc.oneof(fc.constant(grant.where), fc.constant({ ...grant.where, m: { exact: 1 } })),
  })
}

const values = fc.uniqueArray(fc.constantFrom(...VALUES), { minLength: 1, maxLength: 2 })

export const arbitraryTouch: fc.Arbitrary<Touch> = fc.record({
  action: fc.constantFrom(...ACTIONS),
  effect: fc.constant('write' as const),
  reversible: fc.boolean(),
  resources: fc.record({ repos: values, branches: values }, { requiredKeys: [] }),
  within: fc.record({ paths: values }, { requiredKeys: [] }),
  hosts: fc.constant([]),
})

export const arbitraryArgs: fc.Arbitrary<Record<string, Json>> = fc.dictionary(
  fc.constantFrom('n', 'm'),
  fc.constantFrom<Json>(1, 2, '1.5', 'x', 'x/y', ['x'], [], null),
  { maxKeys: 2 },
)

/** A call that has what the grant names, so that the grant often permits it. */
export function callNear(grant: Grant): fc.Arbitrary<{ touch: Touch; args: Record<string, Json> }> {
  const matching = <T>(all: readonly T[], isMatch: (one: T) => boolean) => {
    const some = all.filter(isMatch)
    return fc.constantFrom(...(some.length === 0 ? all : some))
  }
  const isGranted = (action: string) =>
    grant.actions.some((text) => {
      const pattern = parseActionPattern(text)
      return pattern.ok && matchesAction(pattern.value, action)
    })
  const ofType = ([type, texts]: [string, readonly string[]]) =>
    fc
      .uniqueArray(
        matching(VALUES, (value) =>
          texts.some((text) => {
            const pattern = parseResourcePattern(text)
            return pattern.ok && matchesResource(pattern.value, value)
          }),
        ),
        { minLength: 1, maxLength: 2 },
      )
      .map((list): [string, readonly string[]] => [type, list])
  const entries = Object.entries(grant.resources)
  const pick = (within: boolean) =>
    fc
      .tuple(...entries.filter(([type]) => WITHIN.includes(type) === within).map(ofType))
      .map((list) => Object.fromEntries(list))
  const touch = fc.record({
    action: matching(ACTIONS, isGranted),
    effect: fc.constant('write' as const),
    reversible: fc.boolean(),
    resources: pick(false),
    within: pick(true),
    hosts: fc.constant([]),
  })
  return fc.record({ touch, args: arbitraryArgs })
}

/** Any call, or one near the grant. */
export function callFor(grant: Grant): fc.Arbitrary<{ touch: Touch; args: Record<string, Json> }> {
  return fc.oneof(fc.record({ touch: arbitraryTouch, args: arbitraryArgs }), callNear(grant))
}
