import { describe, expect, test } from 'vitest'
import { addSpent, limitedTo, nothingSpent, spentOn, takeSpent } from '../../src/core/spent.ts'
import type { Spent } from '../../src/core/tree.ts'

function spent(calls: number, byAction: Record<string, number>, usd: string): Spent {
  return { calls, byAction: Object.assign(Object.create(null), byAction), usd }
}

describe('counted budgets', () => {
  test('what is handed up has only the actions that are limited there', () => {
    const part = limitedTo(spent(3, { 'doc.read': 1, 'doc.write': 2 }, '0.5'), { 'doc.write': 9 })
    expect({ ...part.byAction }).toEqual({ 'doc.write': 2 })
    expect([part.calls, part.usd]).toEqual([3, '0.5'])
  })

  test('adding and taking the same leaves what was there', () => {
    const total = spent(1, { a: 1 }, '1.25')
    const part = spent(2, { a: 2, b: 3 }, '0.75')
    addSpent(total, part)
    expect({ ...total, byAction: { ...total.byAction } }).toEqual({
      calls: 3,
      byAction: { a: 3, b: 3 },
      usd: '2',
    })
    takeSpent(total, part)
    expect({ ...total, byAction: { ...total.byAction } }).toEqual({
      calls: 1,
      byAction: { a: 1, b: 0 },
      usd: '1.25',
    })
  })

  test('threat 10: no action is inherited from a prototype', () => {
    expect(spentOn(nothingSpent(), 'constructor')).toBe(0)
    expect(spentOn({ calls: 0, byAction: {}, usd: '0' }, 'toString')).toBe(0)
  })
})
