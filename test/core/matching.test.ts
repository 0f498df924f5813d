import { describe, expect, test } from 'vitest'
import { compileConstraint, constraintContained, satisfies } from '../../src/core/constraint.ts'
import type { Json } from '../../src/core/id.ts'
import type { Constraint } from '../../src/core/lease.ts'
import {
  deniesAction,
  matchesResource,
  overlapsDenial,
  parseActionPattern,
  parseResourcePattern,
} from '../../src/core/pattern.ts'

/** Single cases where an error of one character or one step would show. */

function matches(pattern: string, value: string): boolean {
  const parsed = parseResourcePattern(pattern)
  if (!parsed.ok) throw new Error(parsed.error)
  return matchesResource(parsed.value, value)
}

function action(text: string) {
  const parsed = parseActionPattern(text)
  if (!parsed.ok) throw new Error(parsed.error)
  return parsed.value
}

describe('the parts of a segment', () => {
  test.each<[string, string, boolean]>([
    // pattern, value, matches
    ['a*bc*c', 'abcc', true],
    ['a*bc*c', 'abc', false], // the middle and the end would share a character
    ['ab*b*c', 'abxc', false], // the beginning and the middle would
    ['ab*b*c', 'abbc', true],
    ['a*b*b*c', 'abc', false], // two parts of the middle would
    ['a*b*b*c', 'abbc', true],
    ['x/ab*b*c', 'x/abxc', false],
    ['x/a*bc*c', 'x/abcc', true],
    ['a*bc*cd', 'axbcd', false], // long enough, and still one character short of apart
    ['a*bc*cd', 'axbccd', true],
    ['a*xy*b*c', 'abxy-c', false], // a part that stands only before the one it follows
    ['a*xy*b*c', 'axybc', true],
    ['a*b*c', 'acb', false], // out of order
    ['a*a', 'a', false],
    ['a*a', 'aa', true],
    ['*a*', 'b', false],
  ])('%s on %s: %s', (pattern, value, expected) => {
    expect(matches(pattern, value)).toBe(expected)
  })
})

describe('schemes and `**`', () => {
  test.each<[string, string, boolean]>([
    ['https://host/**', 'https://host/a/b', true],
    ['https://host/**', 'https://host', true],
    ['https://host/**', 'https://hostile', false],
    ['https://*/a', 'https://host/a', true],
    ['*/a', 'https://host/a', true], // the scheme belongs to the first segment
    ['**/a', 'https://host/a', true],
    ['**/host/a', 'https://host/a', false],
    ['*/b', 'aa:/b', true], // one slash makes no scheme
    ['aa:/b', 'aa:/b', true],
    ['**/b', 'a/c', false],
    ['a/**/b', 'a/b', true],
    ['a/**/b', 'a', false],
    ['a/**/a', 'a', false], // one segment is not two
    ['a/**/b/c', 'a/c', false],
  ])('%s on %s: %s', (pattern, value, expected) => {
    expect(matches(pattern, value)).toBe(expected)
  })

  test.each(['aa//b', '://a', 'https//a'])('an empty segment is none: %s', (text) => {
    expect(parseResourcePattern(text).ok).toBe(false)
    expect(matches('**', text)).toBe(false)
    expect(matches('*', text)).toBe(false)
  })

  test.each(['a//b', 'a/./b', 'a/../b', '../a', './a', 'https://host//a', 'a/..', '/a', 'a/'])(
    'threat 1: no wildcard swallows %s',
    (value) => {
      for (const pattern of ['**', 'a/**', '*/**', 'https://host/**']) {
        expect(matches(pattern, value), pattern).toBe(false)
      }
    },
  )

  test('a dot in front of a name is a name', () => {
    for (const value of ['.github', 'a/.env', '...', 'a/...b', '.a/b']) {
      expect(matches('**', value), value).toBe(true)
    }
  })
})

describe('denials', () => {
  test('are as long as actions are', () => {
    expect(deniesAction(action('*'), 'a'.repeat(4096))).toBe(true)
    expect(deniesAction(action('b*'), 'a'.repeat(4096)), 'read, and not matched').toBe(false)
    expect(deniesAction(action('b*'), 'a'.repeat(4097)), 'not read').toBe(true)
  })

  test.each<[string, string, boolean]>([
    ['a.b', 'a.b', true],
    ['a.b.c', 'a.b', true], // a descendant of what is denied
    ['a', 'a.b', false],
    ['a.*', 'a.b.c', false],
    ['a.**', 'a.b.c', true],
    ['*', 'a', true],
    ['a*', 'ab*', true],
    ['a*c', 'b*', false],
    ['a*b', 'ac', false],
    ['ab', 'a', false],
    ['**.x', 'a', true],
    ['b.x', '**.a', false],
  ])('%s meets the denial %s: %s', (pattern, denial, expected) => {
    expect(overlapsDenial(action(pattern), action(denial))).toBe(expected)
  })
})

describe('a constraint on one value', () => {
  test.each<[Constraint, Json, boolean]>([
    [{ exact: [1, 2] }, [1, 2], true],
    [{ exact: [1, 2] }, [1], false],
    [{ exact: [1] }, [1, 2], false],
    [{ exact: [1, 2] }, [1, 3], false],
    [{ exact: { a: 1, b: 2 } }, { b: 2, a: 1 }, true],
    [{ exact: { a: 1, b: 2 } }, { a: 1, b: 3 }, false],
    [{ exact: { a: 1 } }, { b: 1 }, false],
    [{ exact: { a: 1 } }, { a: 2 }, false],
    [{ exact: { a: 1 } }, { a: 1, b: 2 }, false],
    [{ exact: [] }, {}, false],
    [{ exact: {} }, [], false],
    [{ exact: null }, null, true],
    [{ exact: null }, {}, false],
    [{ max: '2', min: '2' }, '2.00', true],
    [{ min: 1 }, 1, true],
    [{ min: 1 }, '0.99', false],
    [{ max: 1 }, true, false],
    [{ max: 1 }, null, false],
    [{ max: 1 }, [1], false],
    [{ max: Number.MAX_SAFE_INTEGER }, Number.MAX_SAFE_INTEGER, true],
    [{ not_one_of: ['a'] }, 'b', true],
    [{ not_one_of: ['a'] }, 1, false],
    [{ not_one_of: [null] }, null, false],
    [{ not_one_of: ['a', null] }, null, false],
    [{ not_one_of: ['a', 1] }, null, false],
    [{ not_one_of: ['a', true] }, false, true],
    [{ not_one_of: ['a'] }, ['b'], false],
    [{ not_one_of: ['a'] }, { b: 1 }, false],
    [{ not_one_of: ['a'] }, 'b/..', false],
    [{ pattern: '**' }, 1, false],
    [{ pattern: '1' }, 1, false],
  ])('%j on %j: %s', (constraint, value, expected) => {
    expect(satisfies(constraint, value)).toBe(expected)
  })

  test('a number that JSON has rounded satisfies nothing', () => {
    expect(satisfies({ min: 1 }, 2 ** 53)).toBe(false)
    expect(satisfies({ not_one_of: [1] }, 2 ** 53)).toBe(false)
    expect(satisfies({ not_one_of: [1] }, Number.NaN)).toBe(false)
    expect(satisfies({ not_one_of: [1] }, undefined)).toBe(false)
  })

  test('one that does not parse is a mistake of the programmer', () => {
    expect(() => compileConstraint({ max: 'x' })).toThrow('`x` is not a decimal')
    expect(() => compileConstraint({ pattern: 'a//b' })).toThrow('has an empty segment')
  })
})

describe('a constraint within another', () => {
  test.each<[Constraint, Constraint, boolean]>([
    [{ max: 1 }, { not_one_of: ['5', 5] }, true],
    [{ min: 6 }, { not_one_of: ['5', 5] }, true],
    [{ max: 9 }, { not_one_of: ['5', 5] }, false],
    [{ max: 1 }, { not_one_of: ['5'] }, false], // a bound admits numbers too
    [{ max: 1 }, { not_one_of: [5] }, false],
    [{ each: { max: 1 } }, { not_one_of: ['5', 5] }, false],
    [{ pattern: 'a*' }, { not_one_of: ['b'] }, true],
    [{ pattern: 'a*' }, { not_one_of: ['b', 'ab'] }, false],
    [{ pattern: 'a*' }, { not_one_of: [1] }, false],
    [{ not_one_of: ['a', 'b'] }, { not_one_of: ['a'] }, true],
    [{ not_one_of: ['a'] }, { not_one_of: ['a', 'b'] }, false],
    [{ max: 1 }, {}, false], // neither is a constraint
    [{}, { max: 1 }, false],
    [{ max: 'x' }, { max: 'x' }, false],
  ])('%j in %j: %s', (child, parent, expected) => {
    expect(constraintContained(child, parent)).toBe(expected)
  })
})
