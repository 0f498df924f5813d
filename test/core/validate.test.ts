import { describe, expect, it, test } from 'vitest'
import { compileTerms } from '../../src/core/compile.ts'
import type { Terms } from '../../src/core/lease.ts'
import { validateGrants, validateTerms } from '../../src/core/validate.ts'

const TERMS: Terms = {
  version: 1,
  agent: 'repo-maintenance-agent',
  purpose: 'update dependency and open PR',
  user: 'maintainer@example.com',
  grants: [
    {
      actions: ['repo.read', 'repo.push'],
      resources: { repos: ['clord'], branches: ['agent/*'] },
      where: { amount: { max: '100.00' } },
    },
  ],
  deny: ['production.deploy'],
  ask: ['pull_request.merge'],
  onExceed: 'deny',
  expiresInSeconds: 1800,
  notAfter: null,
  until: ['pull_request.create'],
  maxToolCalls: 30,
  limits: { 'pull_request.create': 1 },
  workSeconds: 1200,
  usd: '2.00',
  delegate: { maxDepth: 1, maxChildren: 2, ask: true },
  requireReceipt: true,
  ceiling: null,
  approvers: ['lead@example.com'],
  labels: { run_id: 'run-1', subject: '' },
}

const grant = (part: object) => ({ grants: [{ ...TERMS.grants[0], ...part }] })

describe('validateTerms', () => {
  test('valid terms pass, and compile', () => {
    expect(validateTerms(TERMS)).toEqual({ ok: true, value: true })
    expect(validateTerms(JSON.parse(JSON.stringify(TERMS))).ok).toBe(true)
    const compiled = compileTerms(TERMS)
    expect(compiled.grants[0]?.resources.map(({ type }) => type).sort()).toEqual([
      'branches',
      'repos',
    ])
    expect(compiled.deny.map(({ text }) => text)).toEqual(['production.deploy'])
    expect(compiled.ceiling).toBeNull()
  })

  test('nullable members may be null', () => {
    const none = {
      maxToolCalls: null,
      workSeconds: null,
      usd: null,
      delegate: null,
      approvers: null,
    }
    expect(validateTerms({ ...TERMS, ...none }).ok).toBe(true)
  })

  it.each([
    [{ version: 2 }, 'version: unknown version'],
    [{ extra: 1 }, 'extra: unknown member'],
    [JSON.parse('{"__proto__":{}}'), '__proto__: unknown member'],
    [{ constructor: 1 }, 'constructor: unknown member'],
    [{ agent: '' }, 'agent: not a text'],
    [{ agent: 'a\u202eb' }, 'agent: has an invisible'],
    [{ user: 5 }, 'user: not a text'],
    [{ purpose: 'x'.repeat(4097) }, 'purpose: not a text'],
    [{ grants: {} }, 'grants: not a list'],
    [{ grants: Array(257).fill(TERMS.grants[0]) }, 'grants: more than 256'],
    [grant({ actions: [] }), 'grants[0].actions: an empty list'],
    [grant({ actions: ['a..b'] }), 'grants[0].actions[0]: `a..b`'],
    [grant({ resources: { repos: [] } }), 'grants[0].resources.repos: an empty list'],
    [grant({ resources: { repos: ['x', 'y/'] } }), 'grants[0].resources.repos[1]: `y/`'],
    [grant({ resources: { repos: 'clord' } }), 'grants[0].resources.repos: not a list'],
    [grant({ where: { n: { most: 1 } } }), 'grants[0].where.n.most: unknown constraint'],
    [grant({ note: 1 }), 'grants[0].note: unknown member'],
    [{ grants: [{ actions: ['a'], where: {} }] }, 'grants[0].resources: missing'],
    [{ deny: ['**.**'] }, 'deny[0]: `**.**`'],
    [{ deny: 'a' }, 'deny: not a list'],
    [{ ask: [1] }, 'ask[0]: not a string'],
    [{ until: [''] }, 'until[0]: an empty pattern'],
    [{ onExceed: 'allow' }, 'onExceed: not one of'],
    [{ expiresInSeconds: 0 }, 'expiresInSeconds: not a whole'],
    [{ expiresInSeconds: -1 }, 'expiresInSeconds: not a whole'],
    [{ expiresInSeconds: 1.5 }, 'expiresInSeconds: not a whole'],
    [{ expiresInSeconds: Number.POSITIVE_INFINITY }, 'expiresInSeconds: not a whole'],
    [{ expiresInSeconds: 1e12 }, 'expiresInSeconds: not a whole'],
    [{ expiresInSeconds: '1800' }, 'expiresInSeconds: not a whole'],
    [{ expiresInSeconds: null }, 'expiresInSeconds: not a whole'],
    [{ notAfter: -1 }, 'notAfter: not a whole'],
    [{ notAfter: 1.5 }, 'notAfter: not a whole'],
    [{ notAfter: Number.NaN }, 'notAfter: not a whole'],
    [{ notAfter: 8_640_000_000_000_001 }, 'notAfter: not a whole'],
    [{ notAfter: '2026-06-23T02:12:00Z' }, 'notAfter: not a whole'],
    [{ notAfter: undefined }, 'notAfter: not a whole'],
    [{ maxToolCalls: 0 }, 'maxToolCalls: not a whole'],
    [{ maxToolCalls: undefined }, 'maxToolCalls: not a whole'],
    [{ limits: { 'a.*': 1 } }, 'limits.a.*: `a.*` is a pattern'],
    [{ limits: { a: -1 } }, 'limits.a: not a whole'],
    [{ limits: { a: -0 } }, 'limits.a: not a whole'],
    [{ limits: JSON.parse('{"__proto__":-1}') }, 'limits.__proto__: not a whole'],
    [{ workSeconds: 0.5 }, 'workSeconds: not a whole'],
    [{ usd: 2 }, 'usd: not a decimal string'],
    [{ usd: '-1' }, 'usd: `-1` is negative'],
    [{ usd: '1e3' }, 'usd: `1e3` is not a decimal'],
    [{ delegate: { maxDepth: 5, maxChildren: 1, ask: true } }, 'delegate.maxDepth: not a whole'],
    [{ delegate: { maxDepth: 0, maxChildren: 1, ask: true } }, 'delegate.maxDepth: not a whole'],
    [{ delegate: { maxDepth: 1, maxChildren: 1 } }, 'delegate.ask: missing'],
    [{ delegate: { maxDepth: 1, maxChildren: 1, ask: 'no' } }, 'delegate.ask: not true or false'],
    [{ requireReceipt: 1 }, 'requireReceipt: not true or false'],
    [{ ceiling: ['x y'] }, 'ceiling[0]: `x y`'],
    [{ approvers: [] }, 'approvers: an empty list'],
    [{ labels: { a: 1 } }, 'labels.a: not a text'],
  ])('threat 20: case %# is refused: %s', (part, words) => {
    const hostile = Object.defineProperties({ ...TERMS }, Object.getOwnPropertyDescriptors(part))
    const result = validateTerms(hostile)
    expect(!result.ok && result.error).toEqual([expect.stringContaining(words)])
    if (!result.ok && /pattern|`a\.\.b`|`\*\*\.\*\*`/u.test(words) && !words.startsWith('limits')) {
      expect(() => compileTerms(hostile as Terms)).toThrow('invalid terms')
    }
  })

  it.each(Object.keys(TERMS))('%s may not be missing', (name) => {
    const { [name as keyof Terms]: _, ...rest } = TERMS
    expect(validateTerms(rest)).toEqual({ ok: false, error: [`${name}: missing`] })
  })

  it.each([null, undefined, 1, 'x', [], [TERMS]])('no terms: %#', (value) => {
    expect(validateTerms(value)).toEqual({ ok: false, error: ['terms: not a mapping'] })
  })

  test.each<[object, string]>([
    [{ version: 2 }, 'version: unknown version; write 1'],
    [{ purpose: ' ' }, 'purpose: not a text of 1 to 4096 characters'],
    [{ purpose: 'a\ud800' }, 'purpose: not a text of 1 to 4096 characters'],
    [{ agent: 'a\nb' }, 'agent: has an invisible or control character'],
    [{ deny: [1] }, 'deny[0]: not a string; write a pattern'],
    [{ deny: 'a' }, 'deny: not a list'],
    [{ deny: Array(257).fill('a') }, 'deny: more than 256 items'],
    [{ approvers: [] }, 'approvers: an empty list; leave it out or name something'],
    [{ limits: [] }, 'limits: not a mapping'],
    [{ limits: { 'a.*': 1 } }, 'limits.a.*: `a.*` is a pattern; write one action'],
    [{ limits: { a: 1_000_001 } }, 'limits.a: not a whole number from 0 to 1000000'],
    [
      { limits: Object.fromEntries(Array.from({ length: 257 }, (_, index) => [`a${index}`, 1])) },
      'limits: more than 256 items',
    ],
    [{ onExceed: 'allow' }, 'onExceed: not one of deny, ask, suspend'],
    [{ expiresInSeconds: 31_622_401 }, 'expiresInSeconds: not a whole number from 1 to 31622400'],
    [{ usd: 2 }, 'usd: not a decimal string; write "2.00"'],
    [{ usd: '-0.01' }, 'usd: `-0.01` is negative'],
    [{ delegate: [] }, 'delegate: not a mapping'],
    [{ requireReceipt: null }, 'requireReceipt: not true or false'],
    [{ labels: { '': 'a' } }, 'labels: not a text of 1 to 4096 characters'],
    [{ grants: [null] }, 'grants[0]: not a mapping'],
    [grant({ where: { n: 1 } }), 'grants[0].where.n: not a constraint'],
  ])('%#: says where the fault is, and what to write', (part, words) => {
    const result = validateTerms({ ...TERMS, ...part })
    expect(!result.ok && result.error).toEqual([expect.stringMatching(startOf(words))])
  })

  test.each<[object]>([
    [{ purpose: 'x'.repeat(4096) }],
    [{ purpose: 'two\nlines' }],
    [{ deny: Array(256).fill('a') }],
    [{ deny: [], ask: [], until: [], grants: [], limits: {}, labels: {} }],
    [{ limits: { a: 0, b: 1_000_000 } }],
    [{ limits: Object.fromEntries(Array.from({ length: 256 }, (_, i) => [`a${i}`, 1])) }],
    [{ expiresInSeconds: 1 }],
    [{ expiresInSeconds: 31_622_400, workSeconds: 31_622_400, maxToolCalls: 1_000_000 }],
    [{ notAfter: 0 }],
    [{ notAfter: 8_640_000_000_000_000 }],
    [{ usd: '0' }],
    [{ delegate: { maxDepth: 4, maxChildren: 1, ask: false } }],
    [{ onExceed: 'suspend' }],
    [{ ceiling: [] }],
    [{ labels: { a: '' } }],
  ])('%#: is within the limits', (part) => {
    expect(validateTerms({ ...TERMS, ...part })).toEqual({ ok: true, value: true })
  })

  test('a list of grants is checked as grants of terms are', () => {
    expect(validateGrants(TERMS.grants)).toEqual({ ok: true, value: true })
    expect(validateGrants([])).toEqual({ ok: true, value: true })
    const error = ['grants[0]: not a mapping']
    expect(validateGrants(['a'])).toEqual({ ok: false, error })
    expect(validateGrants(null)).toEqual({ ok: false, error: ['grants: not a list'] })
  })

  test('every fault is named', () => {
    const result = validateTerms({ ...TERMS, usd: 2, ask: [1], bogus: 0 })
    expect(!result.ok && result.error.length).toBe(3)
  })
})

/** The whole message, or its beginning where another part makes the rest. */
function startOf(words: string): RegExp {
  const literal = words.replace(/[.*+?^${}()|[\]\\]/gu, '\\$&')
  return new RegExp(`^${literal}${words.endsWith('constraint') ? '' : '$'}`, 'u')
}
