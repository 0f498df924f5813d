import { describe, expect, test } from 'vitest'
import { faultOf, isCount } from '../../src/core/check-command.ts'
import type { Command } from '../../src/core/command.ts'
import { APPROVE, APPROVER, active, OPEN, requested, TERMS } from './support.ts'

/*
 * What is checked of a command before anything is decided: types do not reach across processes.
 * Each limit is tried on both of its sides.
 */

const YEAR = 366 * 24 * 3600
const GRANT = TERMS.grants[0]!
const call = active().authorize('doc.read')
const settle: Command = {
  do: 'settle',
  call: 'call_1',
  outcome: 'succeeded',
  resultDigest: null,
  usd: null,
  note: null,
}
const resolve: Command = { do: 'resolve', call: 'call_1', by: APPROVER, happened: true }
const fold: Command = { do: 'fold', denial: 1, times: 1 }
const escalation = active().escalation([GRANT], { calls: 1, seconds: 1 })
const amend = { do: 'amend', escalation: 'esc_1', by: APPROVER, offer: [], proof: null } as const
const more = { calls: 0, seconds: 0 }
const delegate = { maxDepth: 1, maxChildren: 1, ask: false }
const delegation = active({ delegate }).delegation('run_child', { maxToolCalls: 1 })
const request = requested().commands.at(-1)!
const facts = call.facts

function fault(command: unknown): string | null {
  return faultOf(command as Command)
}

describe('a command that can be decided', () => {
  test.each<[string, unknown]>([
    ['an opening', OPEN],
    ['an approval', APPROVE],
    ['a request', request],
    ['a delegation', delegation],
    ['a call', call],
    ['a call without time to lose', { ...call, deadlineSeconds: 0 }],
    ['a call with a year of time', { ...call, deadlineSeconds: YEAR }],
    ['an id of 512 characters', { ...call, key: 'k'.repeat(512) }],
    ['an outcome', settle],
    ['an outcome for nothing', { ...settle, usd: '0' }],
    ['a failure', { ...settle, outcome: 'failed' }],
    ['a doubt', { ...settle, outcome: 'unknown' }],
    ['a call that goes on', { ...settle, outcome: 'deferred' }],
    ['a yes', resolve],
    ['a no', { ...resolve, happened: false }],
    ['a denial again', fold],
    ['an escalation', escalation],
    ['words of 4,096 characters', { ...escalation, words: 'w'.repeat(4096) }],
    ['an amendment of nothing', { ...amend, more }],
    ['an amendment', { ...amend, more: { calls: 1, seconds: 2 }, offer: [GRANT] }],
  ])('%s', (_, command) => {
    expect(fault(command)).toBeNull()
  })
})

const NO_ID = 'an id or key is a text of 1 to 512 characters'
const NO_MORE = 'more calls and seconds are whole numbers from 0'
const NO_WORDS = 'words are a text of at most 4096 characters'
const NO_NAMES = 'the facts name no tool or no arguments'

describe('a command that nothing is decided about', () => {
  test.each<[unknown, string]>([
    [{ ...OPEN, org: '' }, NO_ID],
    [{ ...OPEN, tree: 1 }, NO_ID],
    [{ ...OPEN, run: undefined }, NO_ID],
    [{ ...request, lease: '' }, NO_ID],
    [{ ...delegation, parent: '' }, NO_ID],
    [{ ...delegation, run: '' }, NO_ID],
    [{ ...delegation, lease: '' }, NO_ID],
    [{ ...call, call: '' }, NO_ID],
    [{ ...call, key: 'k'.repeat(513) }, NO_ID],
    [{ ...call, key: 'half \ud800' }, NO_ID],
    [{ ...call, ask: null }, NO_ID],
    [{ ...call, executor: '' }, NO_ID],
    [{ ...escalation, escalation: '' }, NO_ID],
    [{ ...call, deadlineSeconds: YEAR + 1 }, '`31622401` is no number of seconds'],
    [{ ...call, deadlineSeconds: 0.5 }, '`0.5` is no number of seconds'],
    [{ ...call, deadlineSeconds: '60' }, '`60` is no number of seconds'],
    [{ ...escalation, answerSeconds: -1 }, '`-1` is no number of seconds'],
    [{ ...call, facts: null }, NO_NAMES],
    [{ ...call, facts: 'facts' }, NO_NAMES],
    [{ ...call, facts: { ...facts, tool: undefined } }, NO_NAMES],
    [{ ...call, facts: { ...facts, argsDigest: 1 } }, NO_NAMES],
    [{ ...call, facts: { ...facts, touches: {} } }, 'the facts do not say what the call touches'],
    [{ ...settle, outcome: 'done' }, 'the outcome is not one'],
    [{ ...settle, usd: '-1' }, 'the cost is not an amount'],
    [{ ...settle, usd: 1 }, 'the cost is not an amount'],
    [{ ...resolve, happened: 'yes' }, '`happened` is not true or false'],
    [{ ...fold, times: 0 }, '`times` is not a count'],
    [{ ...fold, times: '1' }, '`times` is not a count'],
    [{ ...escalation, more: undefined }, NO_MORE],
    [{ ...escalation, more: { calls: -1, seconds: 0 } }, NO_MORE],
    [{ ...escalation, more: { calls: 0, seconds: -1 } }, NO_MORE],
    [{ ...escalation, words: 'w'.repeat(4097) }, NO_WORDS],
    [{ ...escalation, words: null }, NO_WORDS],
    [{ ...escalation, wants: {} }, 'grants: not a list'],
    [{ ...amend, more: { calls: 0.5, seconds: 0 } }, NO_MORE],
    [{ ...amend, more, offer: [{ ...GRANT, actions: [] }] }, 'grants[0].actions: an empty list'],
    [{ ...request, terms: { ...TERMS, version: 2 } }, 'version: unknown version'],
    [{ ...request, rule: { ...delegation.rule, answerSeconds: -1 } }, '`-1` is no number'],
    [{ ...delegation, terms: null }, 'terms: not a mapping'],
  ])('%#', (command, words) => {
    expect(fault(command)).toContain(words)
  })

  test('a count is whole, not negative, and exact', () => {
    const counts = [0, 1, Number.MAX_SAFE_INTEGER]
    const others = [-1, 0.5, Number.MAX_SAFE_INTEGER + 1, Number.NaN, '1', null, 1n]
    expect(counts.map(isCount)).toEqual(counts.map(() => true))
    expect(others.map(isCount)).toEqual(others.map(() => false))
  })
})
