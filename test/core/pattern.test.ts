import fc from 'fast-check'
import { describe, expect, it, test } from 'vitest'
import {
  containsAction,
  containsDenial,
  containsResource,
  deniesAction,
  matchesAction,
  matchesResource,
  overlapsDenial,
  parseActionPattern,
  parseResourcePattern,
} from '../../src/core/pattern.ts'
import type { Result } from '../../src/core/result.ts'
import {
  arbitraryFamily,
  arbitraryMatch,
  arbitraryPattern,
  denialRegexOf,
  isIncluded,
  regexOf,
  sharesText,
} from './pattern-oracle.ts'
import { atLeast, runs } from './runs.ts'
import { rows } from './table.ts'
import { fastestMs } from './timing.ts'

const CASES = runs(20_000)

function value<T>(result: Result<T, string>): T {
  if (!result.ok) throw new Error(result.error)
  return result.value
}

const action = (text: string) => value(parseActionPattern(text))
const resource = (text: string) => value(parseResourcePattern(text))

describe('matchesResource', () => {
  it.each(
    rows(`
      clord                  clord                      yes
      clord                  Clord                      no
      clord                  clord-evil                 no
      clord                  clord/evil                 no
      clord*                 clord                      yes
      clord*                 clord-evil                 yes
      clord*                 clord/evil                 no
      *                      a                          yes
      *                      a/b                        no
      *                      .                          no
      .                      .                          yes
      .                      a                          no
      **                     .                          yes
      **                     a                          yes
      **                     a/b/c                      yes
      src/**                 src                        yes
      src/**                 src/a/b.ts                 yes
      src/**                 srcs/a                     no
      src/**/*.ts            src/a.ts                   yes
      src/**/*.ts            src/a/b/c.ts               yes
      src/**/*.ts            src/a/b/c.tsx              no
      **/*.ts                a.ts                       yes
      **/a/b                 b                          no
      a/**/a                 a                          no
      a/**/a                 a/a                        yes
      a*a                    a                          no
      a*a                    aa                         yes
      *a*b*                  xxaxxbxx                   yes
      *a*b*                  xxbxxaxx                   no
      *ab*ab                 abab                       yes
      *ab*ab                 ab                         no
      *aab                   aaab                       yes
      [slug]/page            [slug]/page                yes
      [slug]/page            s/page                     no
      https://h.example/**   https://h.example          yes
      https://h.example/**   https://h.example/v1/a     yes
      https://h.example/**   https://h.example.evil/v1  no
      https://*.example/a    https://h.example/a        yes
      *.example/a            https://h.example/a        yes
      https:**               https://evil               refused
    `),
  )('%s on %s: %s', (pattern, text, expected) => {
    const parsed = parseResourcePattern(pattern!)
    if (expected === 'refused') return expect(parsed.ok).toBe(false)
    expect(matchesResource(value(parsed), text!)).toBe(expected === 'yes')
  })

  test('threat 1: `**` does not match a way out of the directory', () => {
    for (const way of ['src/../etc', 'src/..', '../src', 'src/a/../../etc', 'src/./a', './src']) {
      expect(matchesResource(resource('**'), way), way).toBe(false)
      expect(matchesResource(resource('src/**'), way), way).toBe(false)
    }
    expect(matchesResource(resource('**'), 'src/..a/.b/c..'), 'dots in names').toBe(true)
  })

  test('threat 3: /clord-evil is not under /clord', () => {
    for (const pattern of ['clord', 'clord/**', 'clord/*']) {
      expect(matchesResource(resource(pattern), 'clord-evil')).toBe(false)
      expect(matchesResource(resource(pattern), 'clord-evil/a')).toBe(false)
    }
  })

  test('threat 5: empty segments match nothing', () => {
    for (const text of ['', '/', 'a//b', '/a', 'a/', 'https://', 'https:///a', 'https://h//a']) {
      expect(matchesResource(resource('**'), text), text).toBe(false)
      expect(matchesResource(resource('*/**'), text), text).toBe(false)
    }
  })

  test('threat 8: case and special letters are matched byte for byte', () => {
    expect(matchesResource(resource('straße'), 'STRASSE')).toBe(false)
    expect(matchesResource(resource('istanbul'), 'İstanbul')).toBe(false)
    expect(matchesResource(resource('*ß'), 'straß')).toBe(true)
    expect(matchesResource(resource('*ß'), 'strass')).toBe(false)
  })

  test('a `*` in a value is a character, not a pattern', () => {
    expect(matchesResource(resource('main'), '*')).toBe(false)
    expect(matchesResource(resource('a/**'), '**')).toBe(false)
    expect(matchesResource(resource('m*'), 'm*')).toBe(true)
  })

  test('threat 16: a 50 kB input is decided under 5 ms, for every kind of pattern', () => {
    const inputs = ['a'.repeat(50_000), 'a/'.repeat(25_000), `${'a'.repeat(4_094)}/b`]
    const patterns = [
      `${'*a'.repeat(200)}*b`,
      `*${'a'.repeat(250)}b*${'a'.repeat(250)}`,
      `${'*/'.repeat(120)}**/${'*a*/'.repeat(30)}b`,
      'a/**/b',
    ].map(resource)
    for (const pattern of patterns) matchesResource(pattern, inputs[2]!)
    for (const input of inputs) {
      for (const pattern of patterns) {
        expect(
          fastestMs(() => {
            matchesResource(pattern, input)
          }),
        ).toBeLessThan(5)
      }
    }
  })

  test('threat 16: a value of more than 4,096 characters matches no wildcard', () => {
    expect(matchesResource(resource('*'), 'a'.repeat(4_096))).toBe(true)
    expect(matchesResource(resource('*'), 'a'.repeat(4_097))).toBe(false)
    expect(matchesAction(action('**'), 'a'.repeat(4_097))).toBe(false)
    expect(deniesAction(action('b.*'), 'a'.repeat(4_097)), 'denied all the same').toBe(true)
  })

  test('law: matches what the regular expression of the pattern matches', () => {
    let matched = 0
    fc.assert(
      fc.property(arbitraryMatch('/'), ({ pattern, value: text }) => {
        const expected = new RegExp(`^(?:${regexOf(pattern, '/')})$`, 'u').test(text)
        if (expected) matched++
        expect(matchesResource(resource(pattern), text)).toBe(expected)
      }),
      { numRuns: CASES },
    )
    expect(matched).toBeGreaterThan(CASES / 20)
  })
})

describe('actions', () => {
  it.each(
    rows(`
      repo.write       repo.write           grants   denies
      repo.write       repo.write.branch    -        denies
      repo.write       repo.writer          -        -
      repo.write       repo                 -        -
      repo.*           repo.write           grants   denies
      repo.*           repo.write.branch    -        denies
      repo.*           repo                 -        -
      repo.**          repo                 grants   denies
      repo.**          repo.write.branch    grants   denies
      *                repo                 grants   denies
      *                repo.read            -        denies
      **               repo.read            grants   denies
      **.delete        repo.push.delete     grants   denies
      **.delete        repo.push.delete.x   -        denies
      repo.**.force    repo.push.force.now  -        denies
      repo.*.force     repo.push.force.now  -        denies
      repo.w*e         repo.write           grants   denies
      repo.w*e         repo.write.e         -        denies
    `),
  )('%s on %s: %s, %s', (pattern, text, grants, denies) => {
    expect(matchesAction(action(pattern!), text!)).toBe(grants === 'grants')
    expect(deniesAction(action(pattern!), text!)).toBe(denies === 'denies')
  })

  test('a malformed action is granted by no wildcard', () => {
    for (const text of ['', '.', 'repo.', '.repo', 'repo..read']) {
      expect(matchesAction(action('**'), text), text).toBe(false)
      expect(matchesAction(action('repo.**'), text), text).toBe(false)
    }
  })

  test('law: denies what the regular expression of the denial matches', () => {
    fc.assert(
      fc.property(arbitraryMatch('.'), ({ pattern, value: text }) => {
        const granted = new RegExp(`^(?:${regexOf(pattern, '.')})$`, 'u').test(text)
        const denied = new RegExp(`^(?:${denialRegexOf(pattern)})$`, 'u').test(text)
        expect(matchesAction(action(pattern), text)).toBe(granted)
        expect(deniesAction(action(pattern), text)).toBe(denied)
      }),
      { numRuns: CASES },
    )
  })
})

describe('parsing', () => {
  it.each(
    rows(`
      action     ''           an action such as \`repo.read\`
      action     a..b         \`a.b\`
      action     .a           \`a\`
      action     **.**        one at most
      action     a.**.b.**    one at most
      action     a.b**        whole segment
      action     ***          whole segment
      action     a/b          \`/\`
      action     a b          letters, digits
      action     !a           letters, digits
      resource   ''           \`**\` for every value
      resource   a//b         \`a/b\`
      resource   /a           \`a\`
      resource   /            \`**\`
      resource   a/           \`a/**\`
      resource   **/a/**      one at most
      resource   a/**.ts      \`**/*\`
      resource   a/../b       \`..\` segment
      resource   ./a          \`.\` or
      resource   ..           \`..\` segment
      resource   !a           no negation
      resource   a?           \`*\`
      resource   {a,b}        one pattern for each
      resource   a\\b         backslash
      resource   https:///a   empty segment
    `),
  )('%s pattern %s is refused and says: %s', (kind, text, hint) => {
    const parse = kind === 'action' ? parseActionPattern : parseResourcePattern
    const result = parse(text === "''" ? '' : text!)
    expect(result).toMatchObject({ ok: false, error: expect.stringContaining(hint!) })
  })

  it.each([
    '\u0000',
    '\n',
    '\u001b',
    '\u007f',
    '\u00ad',
    '\u061c',
    '\u200b',
    '\u200d',
    '\u202e',
    '\u2066',
    '\u2060',
    '\ufeff',
    '\ufe0f',
    '\uffff',
    '\ufffe',
    '\ud800',
    '\u{e0041}',
  ])('threats 6, 7: the character %j is refused, and shown escaped', (char) => {
    for (const parse of [parseActionPattern, parseResourcePattern]) {
      const result = parse(`a${char}b`)
      expect(result.ok).toBe(false)
      expect(!result.ok && result.error.includes(char)).toBe(false)
    }
  })

  test('threat 7: a pattern that is not in normal form C is refused', () => {
    expect(parseResourcePattern('e\u0301').ok).toBe(false)
    expect(parseResourcePattern('é').ok).toBe(true)
  })

  test('threat 16: a pattern of more than 512 characters is refused', () => {
    expect(parseResourcePattern('a'.repeat(512)).ok).toBe(true)
    expect(parseResourcePattern('a'.repeat(513)).ok).toBe(false)
  })

  test('file names of web frameworks are literal', () => {
    for (const text of ['app/[slug]/page.tsx', 'routes/{id}.ts', 'a!/b', '@scope/x', '.github/a']) {
      expect(matchesResource(resource(text), text)).toBe(true)
    }
  })
})

describe('containment', () => {
  it.each(
    rows(`
      **             *  */**                 no
      **             .  */**                 yes
      a/**           a  a/*  a/*/*/**        yes
      a/**           a  a/*/*/**             no
      a/**/b         a/b  a/*/**/b           yes
      *              a*  b*                  no
      a*b*           a*                      yes
      a*b*           a*b                     no
      a*             *a*                     yes
      *a*b*          *b*a*                   no
      *a*            *                       yes
      a/b            a/*                     yes
      .              *                       no
      .              **                      yes
      https://h/**   https://*/**            yes
      https://h/**   **                      yes
      https://*/**   https://h/**            no
    `).map(([child, ...rest]) => [child!, rest.slice(0, -1), rest.at(-1)!] as const),
  )('%s in %j: %s', (child, parents, expected) => {
    expect(containsResource(parents.map(resource), resource(child))).toBe(expected === 'yes')
  })

  test('no parents contain nothing', () => {
    expect(containsAction([], action('a'))).toBe(false)
    expect(containsResource([], resource('**'))).toBe(false)
    expect(containsDenial([], action('**'))).toBe(false)
  })

  const kinds = [
    {
      name: 'actions',
      separator: '.',
      ours: (parents: string[], child: string) =>
        containsAction(parents.map(action), action(child)),
      theirs: (pattern: string) => regexOf(pattern, '.'),
    },
    {
      name: 'resources',
      separator: '/',
      ours: (parents: string[], child: string) =>
        containsResource(parents.map(resource), resource(child)),
      theirs: (pattern: string) => regexOf(pattern, '/'),
    },
    {
      name: 'denials',
      separator: '.',
      ours: (parents: string[], child: string) =>
        containsDenial(parents.map(action), action(child)),
      theirs: denialRegexOf,
    },
  ] as const

  it.each(kinds)('law: containment of $name is inclusion of automata', (kind) => {
    const shares = { contained: 0, not: 0 }
    fc.assert(
      fc.property(arbitraryFamily(kind.separator), ({ child, parents }) => {
        const expected = isIncluded(kind.theirs(child), parents.map(kind.theirs))
        shares[expected ? 'contained' : 'not']++
        expect(kind.ours(parents, child)).toBe(expected)
      }),
      { numRuns: CASES },
    )
    expect(shares.contained).toBeGreaterThanOrEqual(CASES / 10)
    expect(shares.not).toBeGreaterThanOrEqual(CASES / 10)
  })

  test('law: an overlap of a grant with a denial is an intersection of automata', () => {
    const shares = { some: 0, none: 0 }
    fc.assert(
      fc.property(arbitraryPattern('.'), arbitraryPattern('.'), (grant, denial) => {
        const expected = sharesText(regexOf(grant, '.'), denialRegexOf(denial))
        shares[expected ? 'some' : 'none']++
        expect(overlapsDenial(action(grant), action(denial))).toBe(expected)
      }),
      { numRuns: runs(5_000) },
    )
    expect(shares.some).toBeGreaterThan(atLeast(500))
    expect(shares.none).toBeGreaterThan(atLeast(500))
  })
})
