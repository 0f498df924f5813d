import { describe, expect, test } from 'vitest'
import type { Facts } from '../../src/core/facts.ts'
import type { Terms } from '../../src/core/lease.ts'
import { active, TERMS } from './support.ts'

/** Facts of a call of a tool that no catalog has, as the catalog makes them. */
const UNMAPPED: Partial<Facts> = {
  tool: 'demo.get-env',
  status: 'unmapped',
  touches: [
    {
      action: 'demo.get-env',
      effect: 'destructive',
      reversible: false,
      resources: {},
      within: {},
      hosts: [],
    },
  ],
}
const call = { facts: UNMAPPED }
const granting = (actions: readonly string[], more: Partial<Terms> = {}) =>
  active({ grants: [...TERMS.grants, { actions, resources: {}, where: {} }], ...more })

describe('a tool that no catalog maps', () => {
  test('is denied without its name in the lease', () => {
    expect(active().call('doc.read', call)).toMatchObject({ reason: 'tool_unmapped' })
  })

  test.each([['**'], ['demo.**'], ['demo.*'], ['demo.get-*'], ['demo'], ['demo.get-env.x']])(
    'is denied under the pattern or other name %s',
    (pattern) => {
      expect(granting([pattern]).call('doc.read', call)).toMatchObject({ reason: 'tool_unmapped' })
    },
  )

  test('no `on_exceed` and no `ask` lifts that', () => {
    const book = active({ onExceed: 'ask', ask: ['demo.get-env'] })
    expect(book.call('doc.read', call)).toMatchObject({ reason: 'tool_unmapped' })
  })

  test('asks each time when the lease names it', () => {
    const book = granting(['demo.get-env'])
    expect(book.call('doc.read', call).kind).toBe('ask')
    book.approveCall(book.asked('doc.read', call))
    expect(book.call('doc.read', call).kind).toBe('allow')
    expect(book.call('doc.read', call).kind).toBe('ask')
  })

  test('a yes is for one definition: a server that changed it is asked about anew', () => {
    const book = granting(['demo.get-env'])
    book.approveCall(book.asked('doc.read', call))
    const changed = { facts: { ...UNMAPPED, definition: 'b'.repeat(64) } }
    expect(book.call('doc.read', changed).kind).toBe('ask')
  })

  test('a denial beats the name, a ceiling bounds it, a grant of resources does not fit', () => {
    const denied = granting(['demo.get-env'], { deny: ['demo'] })
    expect(denied.call('doc.read', call)).toMatchObject({ reason: 'denied_by_lease' })
    const bounded = granting(['demo.get-env'], { ceiling: ['doc.*'] })
    expect(bounded.call('doc.read', call)).toMatchObject({ reason: 'outside_ceiling' })
    const narrow = { actions: ['demo.get-env'], resources: { repos: ['clord'] }, where: {} }
    const book = active({ grants: [narrow] })
    expect(book.call('doc.read', call)).toMatchObject({ reason: 'resource_unresolved' })
  })

  test('a changed definition, an unknown tool and a fault stay denied', () => {
    const book = granting(['demo.get-env'])
    const reasonOf = (more: Partial<Facts>) =>
      book.call('doc.read', { facts: { ...UNMAPPED, ...more } })
    expect(reasonOf({ status: 'changed' })).toMatchObject({ reason: 'definition_changed' })
    expect(reasonOf({ status: 'unknown' })).toMatchObject({ reason: 'tool_unknown' })
    expect(reasonOf({ fault: 'no object' })).toMatchObject({ reason: 'facts_unsound' })
  })

  test('facts that claim anything but the tool itself are not believed', () => {
    const book = granting(['demo.get-env', 'doc.read'])
    const touch = UNMAPPED.touches![0]!
    for (const touches of [[], [touch, touch], [{ ...touch, action: 'doc.read' }]]) {
      const facts = { ...UNMAPPED, touches }
      expect(book.call('doc.read', { facts })).toMatchObject({ reason: 'tool_unmapped' })
    }
  })

  test('a child has it only when every lease above names it too', () => {
    const delegate = { maxDepth: 1, maxChildren: 3, ask: false }
    const grant = { actions: ['demo.get-env'], resources: {}, where: {} }
    for (const [above, kind] of [
      [['demo.get-env', 'doc.read'], 'ask'],
      [['demo.*', 'doc.read'], 'deny'],
    ] as const) {
      const book = granting(above, { delegate })
      book.must(book.delegation('run_child', { grants: [grant] }))
      expect(book.call('doc.read', { ...call, run: 'run_child' }).kind, above[0]).toBe(kind)
    }
  })
})
