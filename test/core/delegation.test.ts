import { describe, expect, test } from 'vitest'
import { compileTerms } from '../../src/core/compile.ts'
import type { Entry, EntryOf } from '../../src/core/entry.ts'
import type { RunId } from '../../src/core/id.ts'
import type { Terms } from '../../src/core/lease.ts'
import { RUNS_PER_TREE_MAX } from '../../src/core/limits.ts'
import { replay } from '../../src/core/replay.ts'
import {
  APPROVE,
  APPROVER,
  ASKER,
  active,
  ENVELOPE,
  ROOT,
  SECOND,
  SERVER,
  T0,
  TERMS,
  touchOf,
} from './support.ts'

const CHILD: RunId = 'run_child'
const DELEGATE = { maxDepth: 2, maxChildren: 2, ask: false }
const HOUR = 3600

const wanting = (...actions: string[]) => [{ actions, resources: { repos: ['other'] }, where: {} }]

describe('delegation', () => {
  const parent = (terms: Partial<Terms> = {}) => active({ delegate: DELEGATE, ...terms })
  const less = { expiresInSeconds: 60 }

  test('1: a parent gives only what it has, and less', () => {
    const book = parent()
    const grants = [...TERMS.grants, { actions: ['x.y'], resources: {}, where: {} }]
    expect(book.refusal(book.delegation(CHILD, { grants }))).toBe('not_narrower')
    expect(book.refusal(book.delegation(CHILD, {}))).toBe('not_narrower')
    expect(book.refusal(book.delegation(CHILD, less))).toBeNull()
  })

  test('2: what the child does not mention it does not have', () => {
    const book = parent()
    book.must(book.delegation(CHILD, { grants: [{ ...TERMS.grants[0]!, actions: ['doc.read'] }] }))
    expect(book.denied('doc.write', { run: CHILD })).toBe('no_grant')
  })

  test('3: it names its task and both runs', () => {
    const book = parent()
    const envelope = { ...ENVELOPE, purpose: 'read the docs' }
    book.must(book.delegation(CHILD, less, ROOT, { envelope }))
    expect(book.of('run.delegated')[0]!.command).toMatchObject({
      parent: ROOT,
      run: CHILD,
      envelope,
    })
    expect(book.run(CHILD)).toMatchObject({ parent: ROOT, depth: 1, envelope })
  })

  test('4: its budget comes out of the parent, and what is left returns', () => {
    const book = parent({ maxToolCalls: 10, usd: '10.00', limits: { 'doc.read': 3 } })
    book.must(book.delegation(CHILD, { maxToolCalls: 6, usd: '4.00', limits: { 'doc.read': 2 } }))
    expect(book.lease().held).toMatchObject({ calls: 6, usd: '4', byAction: { 'doc.read': 2 } })
    book.settle(book.allowed('doc.read', { run: CHILD, facts: { usd: '1.50' } }))
    book.must({ do: 'end', run: CHILD, by: SERVER, note: 'done' })
    expect(book.lease().held).toMatchObject({ calls: 0, usd: '0', byAction: { 'doc.read': 0 } })
    expect(book.lease().spentBelow).toMatchObject({ calls: 1, usd: '1.5' })
  })

  test('threat 64: siblings together never have more than the parent', () => {
    const book = parent({ maxToolCalls: 10 })
    book.must(book.delegation(CHILD, { maxToolCalls: 6 }))
    expect(book.refusal(book.delegation('run_2', { maxToolCalls: 5 }))).toBe(
      'budget_exceeds_parent',
    )
    book.must(book.delegation('run_2', { maxToolCalls: 4 }))
    expect(book.denied('doc.read')).toBe('calls_exhausted')
  })

  test('5: a child delegates only if its own lease says so', () => {
    const book = parent()
    book.must(book.delegation(CHILD, less))
    expect(book.refusal(book.delegation('run_2', { expiresInSeconds: 9 }, CHILD))).toBe(
      'cannot_delegate',
    )
  })

  test('6: destructive, irreversible and egress calls of a child always ask', () => {
    const book = parent()
    book.must(book.delegation(CHILD, less))
    for (const action of ['doc.erase', 'mail.send']) {
      expect(book.call(action).kind).toBe('allow')
      expect(book.call(action, { run: CHILD }).kind).toBe('ask')
    }
    const touches = [{ ...touchOf('doc.write'), reversible: false }]
    expect(book.call('doc.write', { run: CHILD, facts: { touches } }).kind).toBe('ask')
    expect(book.call('doc.write', { run: CHILD }).kind).toBe('allow')
  })

  test('the parent asks before a subagent, where its lease says so', () => {
    const book = parent({ delegate: { ...DELEGATE, ask: true } })
    book.must(book.delegation(CHILD, less))
    expect(book.denied('doc.read', { run: CHILD })).toBe('lease_requested')
    expect(book.refusal({ ...APPROVE, run: CHILD, by: ASKER })).toBe('self_approval')
    book.must({ ...APPROVE, run: CHILD })
    book.allowed('doc.read', { run: CHILD })
  })

  test('another name on the envelope of the child does not make its requester another person', () => {
    const book = parent({ delegate: { ...DELEGATE, ask: true } })
    const envelope = { ...ENVELOPE, requester: 'somebody@example.com' }
    book.must(book.delegation(CHILD, less, ROOT, { envelope }))
    expect(book.refusal({ ...APPROVE, run: CHILD, by: ASKER })).toBe('self_approval')
  })

  test('threat 71: subagents that must be approved count as asks', () => {
    const book = parent({ delegate: { ...DELEGATE, ask: true } })
    for (let count = 0; count < 20; count++) {
      const run: RunId = `run_${count}`
      book.must(book.delegation(run, less))
      book.must({ do: 'refuse', run, by: APPROVER, reason: 'no' })
    }
    expect(book.refusal(book.delegation(CHILD, less))).toBe('too_many_children')
  })

  test('a tree has at most so many runs, and those that ended count', () => {
    const book = parent({ delegate: { maxDepth: 2, maxChildren: 1000, ask: false } })
    book.must(book.delegation(CHILD, less))
    book.must({ do: 'end', run: CHILD, by: SERVER, note: 'done' })
    // Runs below others, as many as still fit but one; made for real in test/runs.
    for (let count = book.tree.runs.size; count < RUNS_PER_TREE_MAX - 1; count++) {
      book.tree.runs.set(`run_${count}`, book.run(CHILD))
    }
    book.must(book.delegation('run_last', less))
    const refused = book.do(book.delegation('run_more', less))
    const error = { code: 'too_many_children', message: 'at most 5000 runs in a run tree' }
    expect(refused).toEqual({ ok: false, error })
  })

  test('threat 57: a parent with 1,000 subagents is revoked, and nobody survives', () => {
    const book = parent({ delegate: { ...DELEGATE, maxChildren: 1000 } })
    for (let count = 0; count < 1000; count++) book.must(book.delegation(`run_${count}`, less))
    expect(book.refusal(book.delegation(CHILD, less))).toBe('too_many_children')
    book.must({ do: 'revoke', run: ROOT, by: APPROVER, reason: 'stop' })
    const alive = [...book.tree.runs.values()].filter(({ lease }) => lease!.state !== 'ended')
    expect(alive).toEqual([])
  })

  test('a child of a suspended parent waits with it', () => {
    const book = parent()
    book.must(book.delegation(CHILD, less))
    book.must({ do: 'suspend', run: ROOT, by: APPROVER, reason: 'wait' })
    expect(book.denied('doc.read', { run: CHILD })).toBe('ancestor_suspended')
    expect(book.refusal(book.delegation('run_2', { expiresInSeconds: 9 }))).toBe('lease_not_active')
    expect(book.refusal(book.escalation([], { run: CHILD, calls: 1 }))).toBe('lease_not_active')
  })

  test('a child that ends with its parent is charged to whoever is left above', () => {
    const book = parent({ maxToolCalls: 10 })
    const middle: RunId = 'run_middle'
    book.must(book.delegation(middle, { maxToolCalls: 8, delegate: { ...DELEGATE, maxDepth: 1 } }))
    book.must(book.delegation(CHILD, { maxToolCalls: 5 }, middle))
    for (let count = 0; count < 3; count++) book.allowed('doc.read', { run: CHILD })
    book.must({ do: 'revoke', run: middle, by: APPROVER, reason: 'stop' })
    expect(book.lease().spentBelow.calls).toBe(3)
  })
})

describe('threat 65: a chain of delegations', () => {
  const MIDDLE: RunId = 'run_middle'
  const LEAF: RunId = 'run_leaf'

  /** The root has a subagent, which has one itself. */
  const chained = () => {
    const book = active({ delegate: DELEGATE, maxToolCalls: 10 })
    book.must(book.delegation(MIDDLE, { maxToolCalls: 8, delegate: { ...DELEGATE, maxDepth: 1 } }))
    book.must(book.delegation(LEAF, { maxToolCalls: 5 }, MIDDLE))
    return book
  }

  test('that comes back to a run which is there already is refused', () => {
    const book = chained()
    const terms = { expiresInSeconds: 60 }
    expect(book.refusal(book.delegation(MIDDLE, terms, MIDDLE))).toBe('run_exists')
    expect(book.refusal(book.delegation(ROOT, terms, MIDDLE))).toBe('run_exists')
    expect(book.refusal(book.delegation(ROOT, terms, LEAF))).toBe('run_exists')
    const taken = { lease: book.lease(LEAF).id }
    expect(book.refusal(book.delegation('run_new', terms, ROOT, taken))).toBe('id_taken')
  })

  test('that hangs on a run of another tree is refused', () => {
    const spliced = { parent: 'run_elsewhere' } as const
    const book = chained()
    const terms = { expiresInSeconds: 60 }
    expect(book.refusal(book.delegation('run_new', terms, ROOT, spliced))).toBe('run_unknown')
  })

  test('ends at the depth that the root allows, and never goes deeper than four', () => {
    const book = chained()
    expect(book.run(LEAF).depth).toBe(2)
    const terms = { expiresInSeconds: 60, delegate: { ...DELEGATE, maxDepth: 1 } }
    expect(book.refusal(book.delegation('run_new', { expiresInSeconds: 60 }, LEAF))).toBe(
      'cannot_delegate',
    )
    const deeper = active({ delegate: DELEGATE })
    deeper.must(deeper.delegation(MIDDLE, terms))
    const again = { ...terms, expiresInSeconds: 30 }
    expect(deeper.refusal(deeper.delegation(LEAF, again, MIDDLE))).toBe('not_narrower')
    const deepest = { delegate: { ...DELEGATE, maxDepth: 5 } }
    expect(() => active(deepest)).toThrow(/maxDepth/)
  })

  test.each<[string, (delegations: EntryOf<'run.delegated'>[]) => Entry[]]>([
    ['reordered', ([middle, leaf]) => [leaf!, middle!]],
    ['circular', ([middle, leaf]) => [hung(middle!, LEAF), leaf!]],
    ['its own parent', ([middle, leaf]) => [hung(middle!, MIDDLE), leaf!]],
    ['spliced', ([middle, leaf]) => [middle!, hung(leaf!, 'run_elsewhere')]],
    ['cut out', ([, leaf]) => [leaf!]],
    ['doubled', ([middle, leaf]) => [middle!, middle!, leaf!]],
  ])('%s in a ledger is not believed', (_what, change) => {
    const book = chained()
    const delegations = book.of('run.delegated')
    const before = book.entries.slice(0, -delegations.length)
    expect(book.entries.slice(-delegations.length)).toEqual(delegations)
    expect(replay(book.entries).ok).toBe(true)
    const changed = [...before, ...change(delegations)]
    const renumbered = changed.map((entry, index) => ({ ...entry, seq: index + 1 }))
    expect(replay(renumbered)).toMatchObject({ ok: false, error: { kind: 'different' } })
  })

  function hung(entry: EntryOf<'run.delegated'>, parent: RunId): Entry {
    return { ...entry, command: { ...entry.command, parent } }
  }
})

describe('threat 67: a parent whose lease is narrower than when it delegated', () => {
  test.each<[string, Partial<Terms>, string]>([
    [
      'in what it grants',
      { grants: [{ ...TERMS.grants[0]!, actions: ['doc.write'] }] },
      'ancestor_no_grant',
    ],
    [
      'in resources',
      { grants: [{ ...TERMS.grants[0]!, resources: { repos: ['x'] } }] },
      'ancestor_no_grant',
    ],
    ['in what it denies', { deny: ['doc.read'] }, 'denied_by_ancestor'],
  ])('%s narrows its child at once', (_what, narrower, reason) => {
    const book = active({ delegate: DELEGATE })
    book.must(book.delegation(CHILD, { expiresInSeconds: 60 }))
    book.allowed('doc.read', { run: CHILD })
    const lease = book.lease()
    const terms = { ...lease.terms, ...narrower }
    const root = { ...book.run(), lease: { ...lease, terms, compiled: compileTerms(terms) } }
    book.adopt({ ...book.tree, runs: new Map(book.tree.runs).set(ROOT, root) })
    expect(book.denied('doc.read', { run: CHILD })).toBe(reason)
  })

  test('in time ends its child no later', () => {
    const book = active({ delegate: DELEGATE })
    book.must(book.delegation(CHILD, { expiresInSeconds: 600 }))
    const root = { ...book.run(), lease: { ...book.lease(), expiresAt: T0 + 10 * SECOND } }
    book.adopt({ ...book.tree, runs: new Map(book.tree.runs).set(ROOT, root) })
    book.allowed('doc.read', { run: CHILD })
    book.pass(10)
    expect(book.denied('doc.read', { run: CHILD })).toBe('ancestor_expired')
  })
})

describe('escalation', () => {
  const outside = { facts: { touches: [touchOf('doc.read', 'other')] } }

  test('offers the smallest grant that would have allowed what was tried, and nothing else', () => {
    const book = active({ maxToolCalls: 9 })
    book.denied('doc.read', { facts: { ...outside.facts, args: { path: 'a' } } })
    const escalation = book.escalation(
      [{ actions: ['doc.**'], resources: { repos: ['**'] }, where: {} }],
      { calls: 2 },
    )
    book.must(escalation)
    const { dossier } = book.tree.escalations.get(escalation.escalation)!
    expect(dossier).toEqual({
      tried: [4],
      offer: [
        { actions: ['doc.read'], resources: { repos: ['other'] }, where: { path: { exact: 'a' } } },
      ],
      more: { calls: 2, seconds: 0 },
      left: { calls: 9, seconds: HOUR },
      wantedMore: true,
      before: 0,
    })
  })

  test('the amended lease allows what was denied, and no more than that', () => {
    const book = active()
    book.denied('doc.read', outside)
    const escalation = book.escalation(wanting('doc.read'))
    book.must(escalation)
    expect(book.tree.escalations.get(escalation.escalation)!.dossier.wantedMore).toBe(false)
    book.must(book.amendment(escalation.escalation))
    expect(book.lease().revision).toBe(2)
    book.allowed('doc.read', outside)
    const another = { facts: { touches: [touchOf('doc.read', 'third')] } }
    expect(book.denied('doc.read', another)).toBe('no_grant')
    expect(book.denied('doc.write', { facts: { touches: [touchOf('doc.write', 'other')] } })).toBe(
      'no_grant',
    )
  })

  test('more calls and time are what the approver grants', () => {
    const book = active({ maxToolCalls: 1, expiresInSeconds: 60 })
    const call = book.allowed('doc.read')
    const escalation = book.escalation([], { calls: 3, seconds: 100 })
    book.must(escalation)
    const less = { calls: 1, seconds: 100 }
    book.must({ ...book.amendment(escalation.escalation), more: less })
    book.settle(call)
    expect(book.lease().terms.maxToolCalls).toBe(2)
    expect(book.lease().expiresAt).toBe(T0 + 160 * SECOND)
  })

  test('a child gets what its parent has, never more', () => {
    const book = active({
      delegate: DELEGATE,
      grants: [{ actions: ['doc.*'], resources: { repos: ['clord', 'other'] }, where: {} }],
    })
    const grants = [{ actions: ['doc.read'], resources: { repos: ['clord'] }, where: {} }]
    book.must(book.delegation(CHILD, { grants }))
    const third = { facts: { touches: [touchOf('doc.read', 'third')] } }
    book.denied('doc.read', { run: CHILD, ...outside })
    book.denied('doc.read', { run: CHILD, ...third })
    const wants = [{ actions: ['doc.read'], resources: { repos: ['third'] }, where: {} }]
    const greedy = book.escalation(wants, { run: CHILD })
    book.must(greedy)
    expect(book.refusal(book.amendment(greedy.escalation))).toBe('exceeds_ancestor')
    const modest = book.escalation(wanting('doc.read'), { run: CHILD })
    book.must(modest)
    book.must(book.amendment(modest.escalation))
    book.allowed('doc.read', { run: CHILD, ...outside })
  })

  test('what an ancestor forbids or lacks is said when the child escalates', () => {
    const book = active({ delegate: DELEGATE })
    book.must(book.delegation(CHILD, { expiresInSeconds: 60 }))
    book.denied('secret.read', { run: CHILD })
    const wants = [{ actions: ['secret.read'], resources: {}, where: {} }]
    expect(book.refusal(book.escalation(wants, { run: CHILD }))).toBe('denied_for_good')
  })

  test('an amended child does not escape the calls per action of its parent', () => {
    const limits = { 'doc.write': 2 }
    const book = active({ delegate: DELEGATE, limits })
    const grants = [{ ...TERMS.grants[0]!, actions: ['doc.read'] }]
    book.must(book.delegation(CHILD, { grants, limits: {} }))
    book.denied('doc.write', { run: CHILD })
    book.settle(book.allowed('doc.write'))
    const wants = [{ actions: ['doc.write'], resources: { repos: ['clord'] }, where: {} }]
    const escalation = book.escalation(wants, { run: CHILD })
    book.must(escalation)
    book.must(book.amendment(escalation.escalation))
    expect(book.lease(CHILD).terms.limits).toEqual({ 'doc.write': 1 })
    expect(book.denied('doc.write')).toBe('limit_reached')
    book.settle(book.allowed('doc.write', { run: CHILD }))
    expect(book.denied('doc.write', { run: CHILD })).toBe('limit_reached')
    book.must({ do: 'end', run: CHILD, by: SERVER, note: 'done' })
    expect(book.denied('doc.write', { facts: { argsDigest: 'x' } })).toBe('limit_reached')
  })
})
