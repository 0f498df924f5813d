import { describe, expect, test } from 'vitest'
import type { CallId, RunId } from '../../src/core/id.ts'
import { explainCall, explainRun, explanationText } from '../../src/ledger/explain.ts'
import {
  at,
  begin,
  commitFacts,
  delegate,
  forceFacts,
  type Ledger,
  readFacts,
  sampleLedger,
  secretFacts,
  writeFacts,
} from './support.ts'

const sample = sampleLedger()

function run(ledger: Ledger, id: RunId, now: number) {
  const explained = explainRun(ledger.entries, id, now)
  if (!explained.ok) throw new Error(explained.error)
  return explained.value
}

function call(ledger: Ledger, id: CallId, now: number) {
  const explained = explainCall(ledger.entries, id, now)
  if (!explained.ok) throw new Error(explained.error)
  return explained.value
}

describe('the seven questions', () => {
  test('1. which user asked for the task', () => {
    const { asked } = run(sample, 'run_root', at(30))
    expect(asked.facts).toEqual({ requester: 'mira@clord.example', user: 'mira@clord.example' })
    expect(asked.text).toBe(
      'mira@clord.example asked repo-maintenance-agent in Claude Code 2.1.330.',
    )
  })

  test('2. what the task was supposed to be', () => {
    expect(run(sample, 'run_root', at(30)).task.text).toBe('update dependency and open PR.')
    expect(run(sample, 'run_child', at(30)).task).toMatchObject({
      text: "read zod's changelog, as a part of: update dependency and open PR.",
      facts: { within: ['update dependency and open PR'] },
    })
  })

  test('3. which tool calls were approved', () => {
    const { approved } = run(sample, 'run_root', at(30))
    expect(approved.facts.by).toEqual({ person: 'sam@clord.example', via: 'terminal' })
    expect(approved.facts.actions).toContain('pull_request.create')
    expect(approved.facts.calls.map((each) => each.call)).toEqual([
      'call_read',
      'call_write',
      'call_lost',
      'call_commit',
      'call_tests',
      'call_tests2',
      'call_force',
      'call_late',
      'call_pr',
    ])
    expect(approved.text).toContain('sam@clord.example approved repo.read')
  })

  test('3. whether this tool call was approved', () => {
    const yes = call(sample, 'call_force', at(30)).approved
    expect(yes.text).toMatch(/^Yes: repo\.push\.force on .* with a fresh yes \(ask_force\)/)
    const no = call(sample, 'call_secret', at(30)).approved
    expect(no.facts.denied).toEqual({ reason: 'denied_by_lease', determined: 'secret.read' })
    expect(no.text).toMatch(/^No: secret\.read on secrets NPM_TOKEN was denied/)
    const ledger = begin()
    ledger.authorize(at(1), 'force', forceFacts)
    expect(call(ledger, 'call_force', at(1)).approved.text).toMatch(/^Not yet: .*ask_force/)
  })

  test('4. when the run should stop', () => {
    const ledger = begin()
    ledger.call(at(1), 'read', readFacts('a'))
    const { stops } = run(ledger, 'run_root', at(5))
    expect(stops.facts).toEqual({
      ended: null,
      expiresAt: at(30),
      until: ['pull_request.create'],
      callsLeft: 29,
      workMsLeft: 15 * 60_000,
    })
    expect(stops.text).toBe(
      'Whichever is first: when pull_request.create has succeeded, at 02:12:00, ' +
        'after 29 more calls, after 15:00 more of work.',
    )
    expect(run(sample, 'run_root', at(30)).stops.text).toBe('It stopped at 02:01:37: event: #482.')
  })

  test('5. whether a retry is still inside the original scope', () => {
    const ledger = begin()
    const facts = { ...writeFacts('a'), idempotent: true }
    ledger.call(at(1), 'one', facts, { key: 'k', outcome: 'unknown' })
    ledger.call(at(2), 'two', facts, { key: 'k', outcome: null })
    ledger.call(at(3), 'three', writeFacts('b'), { key: 'k' })
    expect(call(ledger, 'call_two', at(4)).retry).toMatchObject({
      text: 'Yes: it is call_one again, with the same key and arguments, and spent nothing.',
      facts: { of: 'call_one', inside: true },
    })
    expect(call(ledger, 'call_three', at(4)).retry).toMatchObject({
      text: 'No: it used the key of call_one with another tool or other arguments, and was denied.',
      facts: { of: 'call_one', inside: false },
    })
    expect(call(ledger, 'call_one', at(4)).retry).toMatchObject({
      facts: { of: null, inside: null, retries: [{ call: 'call_two' }, { call: 'call_three' }] },
    })
    const { retry } = run(ledger, 'run_root', at(4))
    expect(retry.facts).toMatchObject({ inside: false, retries: [{ seq: 6 }, { seq: 7 }] })
    expect(retry.text).toContain('call_three used the key of call_one')
    expect(run(sample, 'run_root', at(30)).retry.facts.inside).toBeNull()
  })

  test('5. a retry of a call that nobody knows the outcome of', () => {
    const ledger = begin()
    ledger.call(at(1), 'one', commitFacts(), { key: 'k', outcome: 'unknown' })
    ledger.call(at(2), 'two', commitFacts(), { key: 'k' })
    expect(call(ledger, 'call_two', at(4)).retry.text).toMatch(/^Not decided: nobody knows/)
  })

  test('6. directly or through a subagent', () => {
    expect(run(sample, 'run_root', at(30)).through).toMatchObject({
      text: 'Directly: repo-maintenance-agent (run_root).',
      facts: { direct: true },
    })
    expect(call(sample, 'call_log', at(30)).through).toMatchObject({
      text:
        'Through a subagent: changelog-reader (run_child), ' +
        'delegated by repo-maintenance-agent (run_root).',
      facts: { direct: false, chain: ['run_child', 'run_root'] },
    })
  })

  test('7. whether the permission should still exist five minutes later', () => {
    const ledger = begin()
    ledger.call(at(1), 'read', readFacts('a'))
    const standing = (now: number) => call(ledger, 'call_read', now).standing
    expect(standing(at(6))).toMatchObject({ facts: { exists: true } })
    // No job has tidied up: death is a comparison with the clock.
    expect(standing(at(30))).toMatchObject({ facts: { exists: false } })
    expect(standing(at(30)).text).toBe('No: the lease is over since 02:12:00 (expired).')
    expect(standing(at(20)).text).toMatch(/^No: the lease is over since .* \(exhausted\)\.$/)
    const by = { person: 'sam@clord.example', via: 'terminal' } as const
    ledger.do(at(7), { do: 'suspend', run: 'run_root', by, reason: 'lunch' })
    expect(standing(at(8)).text).toBe('No: the lease is suspended (lunch).')
    expect(call(sample, 'call_pr', at(30)).standing.text).toBe(
      'No: the lease ended at 02:01:37 (event).',
    )
  })

  test("7. a child's permission dies with its ancestor's", () => {
    const ledger = begin()
    delegate(ledger)
    const by = { person: 'sam@clord.example', via: 'terminal' } as const
    ledger.do(at(3), { do: 'suspend', run: 'run_root', by, reason: 'lunch' })
    expect(run(ledger, 'run_child', at(4)).standing.text).toBe(
      'No: the lease of its ancestor run_root is suspended (lunch).',
    )
  })
})

describe('around them', () => {
  test('a run or call that is not there is said so', () => {
    expect(explainRun(sample.entries, 'run_x', at(1))).toEqual({
      ok: false,
      error: 'no run run_x in this tree',
    })
    expect(explainCall(sample.entries, 'call_x', at(1)).ok).toBe(false)
    expect(explainRun([], 'run_root', at(1)).ok).toBe(false)
  })

  test('a lease that nobody approved', () => {
    const entries = begin().entries.slice(0, 2)
    const explained = explainRun(entries, 'run_root', at(0))
    expect(explained.ok && explained.value.standing.text).toBe('No: the lease waits for an answer.')
    expect(explained.ok && explained.value.approved.text).toContain('Nobody approved the lease')
  })

  test('as text: seven questions, seven answers, nothing raw', () => {
    const ledger = begin()
    ledger.call(at(1), 'secret', { ...secretFacts, tool: 'evil\u001b[2J' })
    const text = explanationText(call(ledger, 'call_secret', at(2)), (raw) =>
      raw.replaceAll('\u001b', '?'),
    )
    expect(text.match(/\?$/gm)).toHaveLength(7)
    expect(text.split('\n')).toHaveLength(14)
    expect(text).not.toContain('\u001b')
  })
})
