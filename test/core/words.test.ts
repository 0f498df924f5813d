import { describe, expect, test } from 'vitest'
import { canonicalise } from '../../src/core/canonical.ts'
import { parseConstraint } from '../../src/core/constraint.ts'
import { grantExcess } from '../../src/core/grant.ts'
import type { Json } from '../../src/core/id.ts'
import type { Constraint, Grant } from '../../src/core/lease.ts'
import { parseActionPattern, parseResourcePattern } from '../../src/core/pattern.ts'
import { active, TERMS, touchOf } from './support.ts'

/*
 * Whoever is refused reads in whole words what is wrong and what to write instead. The tables of
 * the other tests look for a part of each message; here the messages stand as people see them.
 */

describe('a pattern that does not parse', () => {
  test.each([
    ['', 'an empty pattern; write an action such as `repo.read`'],
    ['a'.repeat(513), ' is longer than 512 characters; write a shorter pattern'],
    ['a\u200b', '`a\\u{200b}` has an invisible or control character; write it without'],
    ['e\u0301', ' is not in Unicode normal form C and would match nothing; retype it'],
    [
      'a/b',
      '`a/b` has `/`, which no action has; ' +
        'write letters, digits, `_`, `-`, and `.` between segments, with `*` or `**` as wildcards',
    ],
    ['a..b', '`a..b` has an empty segment; write `a.b`'],
    ['..', '`..` has an empty segment; write `**`'],
    ['**.a.**', '`**.a.**` has two `**`; write one at most'],
    ['a.**b', '`a.**b`: `**` must be a whole segment; write `**.*` or a single `*`'],
  ])('%#: an action', (text, words) => {
    const parsed = parseActionPattern(text)
    expect(!parsed.ok && parsed.error.endsWith(words), !parsed.ok ? parsed.error : '').toBe(true)
  })

  test.each([
    ['', 'an empty pattern; write a value, or `**` for every value'],
    ['a/./b', '`a/./b` has a `.` or `..` segment; write the path without it'],
    ['!a', '`!a` starts with `!`: there is no negation; list what is granted'],
    ['a?', '`a?` has `?`, which is not pattern syntax here; write `*`'],
    ['{a,b}', '`{a,b}` has braces, which are not pattern syntax here; write one pattern for each'],
    ['a\\b', '`a\\b` has a backslash; write `/` between segments (there is no escape)'],
    ['//a', '`//a` starts with `/`; resources are relative, write `a`'],
    ['/', '`/` starts with `/`; resources are relative, write `**`'],
    ['a//', '`a//` ends in `/`; write `a/**` for all that is beneath'],
    ['a/**b', '`a/**b`: `**` must be a whole segment; write `**/*` or a single `*`'],
  ])('%#: a resource', (text, words) => {
    expect(parseResourcePattern(text)).toEqual({ ok: false, error: words })
  })
})

const MEMBERS = 'exact, one_of, not_one_of, max, min, pattern, each'
const INEXACT =
  'not an exact value; numbers must be finite and within 2^53, others are written as strings'

describe('a constraint that does not parse', () => {
  test.each<[unknown, string, string]>([
    [null, '', `not a constraint; write a mapping with one of ${MEMBERS}`],
    [{}, '', `an empty constraint; write one of ${MEMBERS}`],
    [{ most: 1 }, 'most', `unknown constraint \`most\`; write one of ${MEMBERS}`],
    [{ exact: -0 }, 'exact', INEXACT],
    [{ one_of: [1, 2 ** 53] }, 'one_of[1]', INEXACT],
    [{ one_of: [] }, 'one_of', 'not a list with values; write `[a, b]`'],
    [{ one_of: Array(257).fill(1) }, 'one_of', 'more than 256 values'],
    [{ not_one_of: [{}] }, 'not_one_of[0]', 'not a plain value; not_one_of excludes plain values'],
    [{ max: true }, 'max', 'not a number; write an integer or a decimal string such as "100.00"'],
    [{ min: 0.5 }, 'min', '`0.5` is not exact; write it as a decimal string, in quotes'],
    [{ pattern: 7 }, 'pattern', 'not a string; write a pattern'],
    [
      { min: '2', max: 1 },
      '',
      'min `2` is above max `1`, so nothing satisfies it; lower min or raise max',
    ],
    [{ each: { each: { max: null } } }, 'each.each.max', 'not a number; write an integer'],
    [{ each: { min: 2, max: 1 } }, 'each', 'min `2` is above max `1`'],
  ])('%#', (constraint, path, words) => {
    const message = expect.stringContaining(words)
    expect(parseConstraint(constraint)).toEqual({ ok: false, error: { path, message } })
  })

  test('nests `each` at most four times', () => {
    const nested = (levels: number): Constraint => {
      return levels === 0 ? { max: 1 } : { each: nested(levels - 1) }
    }
    expect(parseConstraint(nested(4)).ok).toBe(true)
    expect(parseConstraint(nested(5))).toEqual({
      ok: false,
      error: { path: 'each.each.each.each.each', message: 'more than 4 levels of each' },
    })
  })

  test('compares with values of at most 32 levels', () => {
    const nested = (levels: number): Json => (levels === 0 ? 1 : [nested(levels - 1)])
    const inObjects = (levels: number): Json => (levels === 0 ? 1 : { a: inObjects(levels - 1) })
    for (const make of [nested, inObjects]) {
      expect(parseConstraint({ exact: make(32) }).ok).toBe(true)
      expect(parseConstraint({ exact: make(33) }).ok).toBe(false)
    }
  })
})

describe('a call outside a grant', () => {
  const where = { n: { max: 2 } }
  const book = (change: Partial<Grant>) => active({ grants: [{ ...TERMS.grants[0]!, ...change }] })
  const many = Array.from({ length: 10 }, (_, index) => `r${index}`)

  test.each<[Partial<Grant>, Partial<Parameters<typeof deny>[1]>, string]>([
    [
      {},
      { resources: { repos: ['other'] } },
      '`other` is outside repos: `clord`; ask for a grant that names it',
    ],
    [
      { resources: { repos: many } },
      { resources: { repos: ['other'] } },
      '`other` is outside repos: `r0`, `r1`, `r2`, `r3`, `r4`, `r5`, `r6`, `r7` and 2 more; ' +
        'ask for a grant that names it',
    ],
    [
      { resources: { repos: many.slice(0, 8) } },
      { resources: { repos: ['other'] } },
      '`other` is outside repos: `r0`, `r1`, `r2`, `r3`, `r4`, `r5`, `r6`, `r7`; ' +
        'ask for a grant that names it',
    ],
    [
      {},
      { resources: { repos: ['clord'], boards: ['b'] } },
      'the call touches boards `b`, and the grant names no boards; ask for a grant with boards',
    ],
    [
      {},
      { resources: { repos: ['clord'], boards: [] } },
      'the call touches boards nothing, and the grant names no boards; ask for a grant with boards',
    ],
    [
      {},
      { resources: { repos: ['clord'], zones: ['z'], elders: ['e'], tiers: ['t'] } },
      'the call touches elders `e`, and the grant names no elders; ask for a grant with elders',
    ],
    [
      {},
      { resources: {} },
      'the grant is limited to certain repos, and the call does not say which it touches; ' +
        'pass the argument that names it',
    ],
    [{ where }, {}, 'the argument `n` is missing; pass it so that `{"max":2}`'],
    [{ where }, { args: { n: 3 } }, 'the argument `n`: `3` does not satisfy `{"max":2}`'],
  ])('%#: reads what is missing', (grant, call, words) => {
    expect(deny(book(grant), call)).toBe(words)
  })

  function deny(
    made: ReturnType<typeof book>,
    call: { resources?: Record<string, string[]>; args?: Record<string, Json> },
  ) {
    const touch = { ...touchOf('doc.read'), ...(call.resources && { resources: call.resources }) }
    const reply = made.call('doc.read', { facts: { touches: [touch], args: call.args ?? {} } })
    return reply.kind === 'deny' && reply.determined
  }
})

describe('a grant wider than its parent', () => {
  const grant = (change: Partial<Grant>): Grant => ({
    actions: ['a'],
    resources: { repos: ['x', 'y'] },
    where: { n: { max: 2 } },
    ...change,
  })
  const constrains = 'the parent constrains `n` by `{"max":2}`, the child '
  test.each<[Partial<Grant>, string]>([
    [{ actions: ['b'] }, 'the parent grants `a`, the child `b`; leave it out'],
    [
      { resources: {} },
      '`a`: the parent grants repos `x`, `y`, the child names no repos; name some of these',
    ],
    [
      { resources: { repos: ['x', '*'] } },
      '`a`: the parent grants repos `x`, `y`, the child `*`; ' +
        'write one of these, or a narrower one',
    ],
    [{ where: {} }, `\`a\`: ${constrains}not at all; repeat the constraint`],
    [
      { where: { n: { max: 3 } } },
      `\`a\`: ${constrains}by \`{"max":3}\`; repeat the parent's, or write a narrower one`,
    ],
    [
      { where: { m: { max: 1 }, n: { max: 3 } } },
      `\`a\`: ${constrains}by \`{"max":3}\`; repeat the parent's, or write a narrower one`,
    ],
    [{ where: { n: {} } }, `where.n: an empty constraint; write one of ${MEMBERS}`],
    [{ actions: ['a..b'] }, 'actions: `a..b` has an empty segment; write `a.b`'],
  ])('%#: reads what to write', (change, words) => {
    expect(grantExcess(grant(change), [grant({})])).toBe(words)
  })

  test('beside no parent at all', () => {
    expect(grantExcess(grant({}), [])).toBe(
      'the parent grants nothing, the child `a`; leave it out',
    )
    expect(grantExcess(grant({}), [grant({})])).toBeNull()
  })
})

describe('a value that has no canonical text', () => {
  test.each<[string, unknown, string]>([
    ['repos', null, '`null` is not a string; pass one string'],
    ['repos', undefined, 'nothing is not a string; pass one string'],
    ['repos', ['a'], 'a list is not a string; pass one string'],
    ['repos', 1, 'a number is not a string; pass one string'],
    ['repos', {}, 'a object is not a string; pass one string'],
    ['repos', '', 'the value is empty'],
    ['repos', 'a\u200b', '`a\\u{200b}` has an invisible or control character'],
    ['repos', 'a\\b', '`a\\b` has a backslash; write `/`'],
    ['repos', 'a%2fb', '`a%2fb` has an encoded `.`, `/` or `\\`; write it plainly'],
    ['repos', 'a/..', '`a/..` has a `.` or `..` segment; write the value without it'],
    ['paths', '/a', '`/a` is absolute; write the path relative to its root'],
    ['paths', 'a\\b', '`a\\b` has a backslash; write `/` between segments'],
    ['paths', 'a%41', '`a%41` has percent-encoding; write the characters plainly'],
    ['paths', 'a;b', '`a;b` has `;`, which some servers cut at; rename the file'],
    ['paths', 'a\u2024', '`a\u2024` has a character that looks like `.`'],
    ['paths', 'a\u2044', '`a\u2044` has a character that looks like a slash'],
    ['paths', '../a', '`../a` has a `..` segment; write the path it leads to'],
    [
      'paths',
      'a /b',
      '`a /b` has a segment with a space at an end or a trailing dot; write it without',
    ],
    ['paths', 'C:a', '`C:a` starts with a drive letter; write a relative path'],
    ['paths', '~a', '`~a` starts with `~`, which may expand; write a relative path'],
    ['urls', 'a', '`a` is not an http or https URL; write `https://host/path`'],
    ['urls', 'https://a@b.c', '`https://a@b.c` has a user name before the host; write it without'],
    ['hosts', 'a:99999', '`a:99999` has a port beyond 65535'],
    [
      'hosts',
      'a/b',
      '`a/b` has no plain host; write `host` or `host:port`, other scripts as `xn--…`',
    ],
    ['hosts', '1.2.3.4.5', '`1.2.3.4.5` has no valid host'],
    [
      'hosts',
      'a..b',
      '`a..b` has a host with an empty or malformed label; write it without a trailing dot',
    ],
    ['emails', 'a@b', '`a@b` has no domain name after the `@`; write `name@example.com`'],
    ['branches', 'refs/heads/', '`refs/heads/` names no branch'],
    ['branches', 'a b', '`a b` has a space or one of `~ ^ : ? * [ \\`, which no branch name has'],
    [
      'branches',
      'a%2eb',
      '`a%2eb` has an encoded `.`, `/` or `\\`, which a forge may decode; rename the branch',
    ],
    [
      'branches',
      '-a',
      '`-a` starts with `-` or `+`, which git reads as an option or a forced push',
    ],
    ['branches', '@', '`@` has `..` or `@{`, which git reads as a range or an older value'],
    [
      'branches',
      'tags/a',
      '`tags/a` starts with a namespace of refs; write the short name of the branch',
    ],
    ['branches', 'HEAD', '`HEAD` is a symbolic ref or a commit id; write the name of the branch'],
    [
      'branches',
      'a.lock',
      '`a.lock` has a segment that is empty, starts or ends with `.`, or is `.lock`',
    ],
  ])('%#: %s', (type, text, words) => {
    expect(canonicalise(type, text)).toEqual({ ok: false, error: `${type}: ${words}` })
  })
})
