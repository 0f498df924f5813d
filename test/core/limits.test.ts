import { describe, expect, test } from 'vitest'
import { isHighRisk, isPrivileged } from '../../src/core/facts.ts'
import * as limits from '../../src/core/limits.ts'
import { unreachable } from '../../src/core/result.ts'
import { expandActions, type Vocabulary } from '../../src/core/vocabulary.ts'
import { touchOf } from './support.ts'

describe('tables', () => {
  test('the limits of a run tree are those that SPEC names', () => {
    expect({ ...limits }).toEqual({
      RULES_VERSION: 1,
      DENIALS_DISTINCT_MAX: 100,
      DENIALS_RECORDED_MAX: 200,
      ASKS_PER_RUN_MAX: 20,
      CHILDREN_PER_RUN_MAX: 1000,
      RUNS_PER_TREE_MAX: 5000,
      ESCALATIONS_PER_RUN_MAX: 20,
      ASK_ANSWER_SECONDS: 600,
      ASK_USE_SECONDS: 600,
      DEPTH_MAX: 4,
      CLOSE_WAIT_SECONDS: 30,
    })
  })

  test('a call that does more than read is privileged, also beside one that reads', () => {
    expect(isPrivileged([])).toBe(false)
    expect(isPrivileged([touchOf('doc.read')])).toBe(false)
    expect(isPrivileged([touchOf('doc.read'), touchOf('doc.write')])).toBe(true)
  })

  test.each([
    ['read', true, false],
    ['read', false, false],
    ['write', true, false],
    ['write', false, true],
    ['destructive', true, true],
    ['destructive', false, true],
    ['egress', true, true],
    ['egress', false, true],
  ] as const)('%s, reversible %s: high risk %s', (effect, reversible, expected) => {
    const touch = { ...touchOf('doc.read'), effect, reversible }
    expect(isHighRisk([touch])).toBe(expected)
    expect(isHighRisk([touchOf('doc.read'), touch])).toBe(expected)
  })

  test('an alias stands for its actions, once each, in the order they are written', () => {
    const aliases = new Map([['secrets.read', ['secret.read', 'key.read']]])
    const vocabulary: Vocabulary = { actions: new Map(), aliases, resourceTypes: new Map() }
    const expanded = expandActions(vocabulary, ['a', 'secrets.read', 'secret.read', 'a'])
    expect(expanded).toEqual(['a', 'secret.read', 'key.read'])
  })

  test('what cannot happen says what happened', () => {
    expect(() => unreachable({ do: 'dance' } as never)).toThrow('unreachable: {"do":"dance"}')
  })
})
