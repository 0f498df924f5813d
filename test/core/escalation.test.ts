import { describe, expect, test } from 'vitest'
import type { Touch } from '../../src/core/facts.ts'
import type { RunId } from '../../src/core/id.ts'
import type { Grant, Terms } from '../../src/core/lease.ts'
import { APPROVER, active, type Book, ROOT, RULE, SECOND, SERVER, touchOf } from './support.ts'

const CHILD: RunId = 'run_child'
const DELEGATE = { maxDepth: 1, maxChildren: 2, ask: false }
const READ: Grant = { actions: ['doc.read'], resources: { repos: ['clord'] }, where: {} }

const grantOf = (action: string, ...repos: string[]): Grant => {
  return { actions: [action], resources: { repos }, where: {} }
}
const at = (...touches: Touch[]) => ({ facts: { touches } })
const elsewhere = (action: string, repo = 'other') => at(touchOf(action, repo))

/** A root that may read and write, and a child that may read. */
function family(parent: Partial<Terms> = {}, child: Partial<Terms> = {}): Book {
  const book = active({ delegate: DELEGATE, ...parent })
  book.must(book.delegation(CHILD, { grants: [READ], limits: {}, ...child }))
  return book
}

function escalated(book: Book, wants: readonly Grant[], more: Parameters<Book['escalation']>[1]) {
  const command = book.escalation(wants, more)
  book.must(command)
  return book.tree.escalations.get(command.escalation)!
}

describe('what the engine offers', () => {
  test('is what this run was denied, and nobody else', () => {
    const book = family()
    book.denied('doc.read', { run: CHILD, ...elsewhere('doc.read') })
    const wants = [grantOf('doc.read', '**')]
    expect(book.refusal(book.escalation(wants))).toBe('nothing_denied')
    expect(escalated(book, wants, { run: CHILD }).dossier.offer).toEqual([
      grantOf('doc.read', 'other'),
    ])
  })

  test('is only what was asked for, and says whether more was wanted', () => {
    const book = active()
    book.denied('doc.read', elsewhere('doc.read'))
    book.denied('doc.write', elsewhere('doc.write'))
    const { dossier } = escalated(book, [grantOf('doc.write', 'other')], {})
    expect(dossier.offer).toEqual([grantOf('doc.write', 'other')])
    expect(dossier).toMatchObject({ tried: [5], wantedMore: false, before: 0 })
    const second = escalated(book, [grantOf('doc.*', '**')], {})
    expect(second.dossier).toMatchObject({ tried: [4, 5], wantedMore: true, before: 1 })
  })

  test('is one grant for calls that lack the same', () => {
    const book = active()
    book.denied('doc.read', elsewhere('doc.read'))
    book.denied('doc.read', { facts: { ...elsewhere('doc.read').facts, argsDigest: 'x' } })
    const { dossier } = escalated(book, [grantOf('doc.read', 'other')], {})
    expect(dossier.offer).toEqual([grantOf('doc.read', 'other')])
    expect(dossier.tried).toHaveLength(2)
  })

  test('is nothing for a call of which one touch cannot be granted, or is not wanted', () => {
    const book = active()
    const strange = touchOf('doc.write', 'a*b')
    book.denied('doc.read', at(touchOf('doc.read', 'other'), strange))
    expect(book.refusal(book.escalation([grantOf('doc.*', '**')]))).toBe('nothing_denied')
    const other = active()
    other.denied('doc.read', at(touchOf('doc.read', 'other'), touchOf('doc.write', 'other')))
    expect(other.refusal(other.escalation([grantOf('doc.read', '**')]))).toBe('nothing_denied')
    expect(other.refusal(other.escalation([grantOf('doc.*', '**')]))).toBeNull()
  })

  test('leaves out the touches that are granted already', () => {
    const book = active()
    book.denied('doc.read', at(touchOf('doc.read'), touchOf('doc.write', 'other')))
    const { dossier } = escalated(book, [grantOf('doc.*', '**')], {})
    expect(dossier.offer).toEqual([grantOf('doc.write', 'other')])
  })

  test('leaves out what any one of several grants allows', () => {
    const book = active({ grants: [READ, grantOf('doc.write', 'clord')] })
    book.denied('doc.read', at(touchOf('doc.read'), touchOf('doc.write', 'other')))
    const { dossier } = escalated(book, [grantOf('doc.*', '**')], {})
    expect(dossier.offer).toEqual([grantOf('doc.write', 'other')])
  })

  test('tells what is left, in whole seconds', () => {
    const book = active({ maxToolCalls: 5 })
    book.allowed('doc.read')
    book.pass(0.4)
    const { dossier, deadline } = escalated(book, [], { seconds: 1 })
    expect(dossier.left).toEqual({ calls: 4, seconds: 3599 })
    expect(dossier).toMatchObject({ offer: [], more: { calls: 0, seconds: 1 } })
    expect(deadline).toBe(book.now + 600 * SECOND)
  })
})

describe('nothing to offer', () => {
  test('a denial of the lease is for good, only for who wants it', () => {
    const book = active()
    book.denied('secret.read')
    const wants = [grantOf('secret.read', 'clord')]
    expect(book.refusal(book.escalation(wants))).toBe('denied_for_good')
    expect(book.refusal(book.escalation([grantOf('doc.read', 'x')]))).toBe('nothing_denied')
    expect(book.refusal(book.escalation(wants, { calls: 1 }))).toBeNull()
    const mixed = active()
    mixed.denied('doc.read', at(touchOf('doc.read'), touchOf('secret.read')))
    expect(mixed.refusal(mixed.escalation(wants)), 'one of its touches').toBe('denied_for_good')
  })

  test('what a run above lacks is asked for there', () => {
    const paths = { repos: ['clord'], paths: ['src/**'] }
    const book = family({}, { grants: [{ ...READ, resources: paths }] })
    const resources = { repos: ['clord'], paths: ['src/a'] }
    const facts = { touches: [{ ...touchOf('doc.read'), resources }] }
    expect(book.denied('doc.read', { run: CHILD, facts })).toBe('ancestor_no_grant')
    const wants = [{ ...READ, resources: paths }]
    expect(book.refusal(book.escalation(wants, { run: CHILD }))).toBe('exceeds_ancestor')
  })
})

describe('an amendment', () => {
  test('is a person’s, also where a policy may approve the lease', () => {
    const book = active({}, { rule: { ...RULE, policy: 'read-only' } })
    const { id } = escalated(book, [], { calls: 1 })
    const yes = book.amendment(id)
    expect(book.refusal({ ...yes, by: { policy: 'read-only' } })).toBe('policy_not_allowed')
    expect(book.refusal({ ...yes, by: SERVER })).toBe('not_an_approver')
    book.must(yes)
    expect(book.tree.escalations.get(id)).toMatchObject({ state: 'amended', by: APPROVER.person })
    expect(book.refusal(yes)).toBe('escalation_not_pending')
  })

  test('comes before the deadline, and gives at most what was offered', () => {
    const book = active({ maxToolCalls: 2, expiresInSeconds: 100 })
    const { id } = escalated(book, [], { calls: 2, seconds: 20 })
    const yes = book.amendment(id)
    expect(book.refusal({ ...yes, more: { calls: 3, seconds: 20 } })).toBe('binding_mismatch')
    expect(book.refusal({ ...yes, more: { calls: 2, seconds: 21 } })).toBe('binding_mismatch')
    book.must({ ...yes, more: { calls: 1, seconds: 20 } })
    expect(book.lease()).toMatchObject({
      revision: 2,
      terms: { maxToolCalls: 3, expiresInSeconds: 120 },
    })
    const late = active()
    const second = escalated(late, [], { seconds: 1 })
    late.pass(600)
    expect(late.refusal(late.amendment(second.id))).toBe('escalation_not_pending')
  })

  test('leaves a lease without a count of calls without one', () => {
    const book = active()
    const { id } = escalated(book, [], { calls: 5 })
    book.must(book.amendment(id))
    expect(book.lease().terms.maxToolCalls).toBeNull()
  })

  test('that makes no valid lease is refused, with the reason', () => {
    const book = active({ maxToolCalls: 1 })
    const { id } = escalated(book, [], { calls: 1_000_000 })
    expect(book.do(book.amendment(id))).toMatchObject({
      error: {
        code: 'malformed',
        message: expect.stringMatching(/^with this the lease is not valid: maxToolCalls: not a /u),
      },
    })
  })

  test('gives a child no more calls than its parent has, and no longer life', () => {
    const book = family({ maxToolCalls: 10, expiresInSeconds: 100 }, { maxToolCalls: 6 })
    const { id } = escalated(book, [], { run: CHILD, calls: 5, seconds: 50 })
    const yes = book.amendment(id)
    expect(book.do(yes)).toMatchObject({
      error: { code: 'budget_exceeds_parent', message: 'the parent has 4 calls left' },
    })
    book.must({ ...yes, more: { calls: 4, seconds: 50 } })
    expect(book.lease().held.calls).toBe(10)
    expect(book.lease(CHILD).expiresAt).toBe(book.lease().expiresAt)
  })

  test('is not bounded by a count that the parent does not have', () => {
    const book = family({}, { maxToolCalls: 6 })
    book.must(book.amendment(escalated(book, [], { run: CHILD, calls: 5 }).id))
    expect(book.lease(CHILD).terms.maxToolCalls).toBe(11)
  })

  test('of two grants needs both in every lease above', () => {
    const book = family()
    book.denied('doc.write', { run: CHILD })
    book.denied('doc.read', { run: CHILD, ...elsewhere('doc.read') })
    const { id } = escalated(book, [grantOf('doc.*', '**')], { run: CHILD })
    const yes = book.amendment(id)
    expect(yes.offer).toHaveLength(2)
    expect(book.do(yes)).toMatchObject({
      error: { code: 'exceeds_ancestor', message: 'run_root lacks it: escalate there first' },
    })
    book.must({ ...yes, offer: [grantOf('doc.write', 'clord')] })
  })

  test('of an action that the parent counts takes from that count what is left, if anything is', () => {
    const wants = [grantOf('doc.write', 'clord')]
    const book = family({ limits: { 'doc.write': 2, 'doc.erase': 1 } })
    book.denied('doc.write', { run: CHILD })
    const { id } = escalated(book, wants, { run: CHILD })
    book.allowed('doc.write')
    book.allowed('doc.write')
    expect(book.do(book.amendment(id))).toMatchObject({
      error: {
        code: 'budget_exceeds_parent',
        message: 'the parent has no calls of doc.write left',
      },
    })
    const other = family({ limits: { 'doc.write': 2, 'doc.erase': 1 } })
    other.denied('doc.write', { run: CHILD })
    other.must(other.amendment(escalated(other, wants, { run: CHILD }).id))
    expect(other.lease(CHILD).terms.limits).toEqual({ 'doc.write': 2 })
    expect({ ...other.lease().held.byAction }).toMatchObject({ 'doc.write': 2 })
  })

  test('of several grants counts each that the parent counts', () => {
    const book = family({ limits: { 'doc.write': 2 } })
    book.denied('doc.write', { run: CHILD })
    book.denied('pr.open', { run: CHILD })
    const wants = [grantOf('**', 'clord')]
    book.must(book.amendment(escalated(book, wants, { run: CHILD }).id))
    expect(book.lease(CHILD).terms.limits).toEqual({ 'doc.write': 2 })
  })

  test('keeps a limit that the child has of its own', () => {
    const limits = { 'doc.write': 3 }
    const book = family({ limits }, { limits: { 'doc.write': 1 } })
    book.denied('doc.write', { run: CHILD })
    const { id } = escalated(book, [grantOf('doc.write', 'clord')], { run: CHILD })
    book.must(book.amendment(id))
    expect(book.lease(CHILD).terms.limits).toEqual({ 'doc.write': 1 })
    book.allowed('doc.write')
    book.allowed('doc.write')
    expect(book.denied('doc.write')).toBe('limit_reached')
  })
})

describe('a refusal of an escalation', () => {
  const refuse = (book: Book, escalation: `esc_${string}`, by: object = APPROVER) =>
    book.refusal({ do: 'refuse_escalation', escalation, by, reason: 'no' } as never)

  test('is a person’s, once, while the run lives', () => {
    const book = active({ expiresInSeconds: 60 })
    const { id } = escalated(book, [], { seconds: 1 })
    expect(refuse(book, id, SERVER)).toBe('not_an_approver')
    expect(refuse(book, id)).toBeNull()
    expect(book.tree.escalations.get(id)).toMatchObject({
      state: 'refused',
      by: APPROVER.person,
      reason: 'no',
    })
    expect(refuse(book, id)).toBe('escalation_not_pending')
    expect(book.refusal(book.amendment(id))).toBe('escalation_not_pending')
    const second = escalated(book, [], { seconds: 1 })
    book.pass(60)
    expect(refuse(book, second.id)).toBe('lease_ended')
    expect(refuse(book, 'esc_none')).toBe('escalation_unknown')
    expect(book.refusal(book.escalation([], { run: 'run_nobody' }))).toBe('run_unknown')
  })

  test('counts: a run escalates at most 20 times', () => {
    const book = active()
    for (let count = 0; count < 20; count++) {
      refuse(book, escalated(book, [], { seconds: 1 }).id)
    }
    expect(book.refusal(book.escalation([], { seconds: 1 }))).toBe('escalations_exhausted')
    expect(book.run(ROOT).escalationsOpened).toBe(20)
  })
})
