import fc from 'fast-check'
import { describe, expect, it, test } from 'vitest'
import { canonicalise } from '../../src/core/canonical.ts'
import { matchesResource, parseResourcePattern } from '../../src/core/pattern.ts'
import { atLeast, runs } from './runs.ts'
import { rows } from './table.ts'
import { fastestMs } from './timing.ts'

const TYPES = ['paths', 'urls', 'hosts', 'emails', 'branches', 'base_branches', 'repos']

const refused = (type: string, value: unknown) =>
  expect(canonicalise(type, value), JSON.stringify(value)).toMatchObject({ ok: false })

describe('kept, changed, refused', () => {
  it.each(
    rows(`
      paths      src/a.ts                        src/a.ts
      paths      ./src//a/./b                    src/a/b
      paths      src/                            src
      paths      .                               .
      paths      ./                              .
      paths      app/[slug]/page.tsx             app/[slug]/page.tsx
      paths      100%.txt                        100%.txt
      paths      a b/c                           a b/c
      paths      src/*.ts                        src/*.ts
      paths      ...a/b                          ...a/b
      urls       https://Example.com             https://example.com
      urls       HTTPS://example.com:443/        https://example.com
      urls       http://example.com:443/a/       http://example.com:443/a
      urls       https://example.com/a?x=../b    https://example.com/a
      urls       https://example.com/a#/../b     https://example.com/a
      urls       http://0x7f.1/a                 http://127.0.0.1/a
      urls       http://2130706433               http://127.0.0.1
      urls       http://0177.0.0.1               http://127.0.0.1
      urls       http://[0:0:0:0:0:0:0:1]/       http://[::1]
      urls       https://example.com/é           https://example.com/%C3%A9
      urls       https://example.com/a%20b       https://example.com/a%20b
      hosts      Example.com                     example.com
      hosts      example.com:8443                example.com:8443
      hosts      127.1                           127.0.0.1
      hosts      [::1]:80                        [::1]:80
      hosts      localhost                       localhost
      emails     Bob.Smith@EXAMPLE.com           Bob.Smith@example.com
      emails     a+tag@example.com               a+tag@example.com
      branches   main                            main
      branches   refs/heads/agent/x              agent/x
      branches   a@b                             a@b
      repos      clord                           clord
      repos      Clord                           Clord
      repos      straße                          straße
    `),
  )('%s: %s is %s', (type, value, canonical) => {
    expect(canonicalise(type!, value!)).toEqual({ ok: true, value: canonical })
  })

  it.each(
    rows(`
      paths      ..                              \`..\`
      paths      a/../b                          \`..\`
      paths      /etc/passwd                     absolute
      paths      //etc                           absolute
      paths      C:/x                            drive
      paths      ~/.ssh                          \`~\`
      paths      ./~/.ssh                        \`~\`
      paths      .//C:/x                         drive
      paths      a\\..\\b                        backslash
      paths      %2e%2e/x                        percent
      paths      %2E./x                          percent
      paths      a%252e%252e%252fb               percent
      paths      a%%32%65b                       percent
      paths      %c0%ae                          percent
      paths      a;x/b                           \`;\`
      paths      a./b                            trailing dot
      paths      a/b.                            trailing dot
      paths      a../b                           trailing dot
      urls       ftp://example.com               http
      urls       https:example.com               http
      urls       https:///example.com            http
      urls       https:\\\\example.com           http
      urls       //example.com                   http
      urls       javascript:alert(1)             http
      urls       https://ok@evil.com/            user name
      urls       https://ok:pw@evil.com/         user name
      urls       https://evil.com\\@ok.com       http
      urls       https://example.com./a          trailing dot
      urls       https://a..b/                   host
      urls       https://exаmple.com             xn--
      urls       https://evil．com               xn--
      urls       https://ⓔxample.com             xn--
      urls       https://%65xample.com           host
      urls       https://[::ffff:127.0.0.1]/     IPv4
      urls       https://[::127.0.0.1]/          IPv4
      urls       https://[64:ff9b::1.2.3.4]/     IPv4
      urls       https://[fe80::1%25eth0]/       host
      urls       https://1.2.3.4.5/              host
      urls       https://example.com:99999/      port
      urls       https://example.com:08/         host
      urls       https://example.com/a/../b      \`..\`
      urls       https://example.com/%2e%2e/b    encoded
      urls       https://example.com/%252e/b     twice
      urls       https://example.com/a%2fb       encoded
      urls       https://example.com/a%5cb       encoded
      urls       https://example.com/a\\b        backslash
      urls       https://example.com/a//b        empty
      urls       https://example.com/..;/b       \`;\`
      urls       https://example.com/a%3bb       \`;\`
      urls       https://example.com/%00         invisible
      urls       https://example.com/%0d%0a      invisible
      urls       https://example.com/%e2%80%ae   invisible
      urls       https://example.com/%c0%ae      malformed
      urls       https://example.com/%ff         malformed
      urls       https://example.com/%           malformed
      urls       https://example.com/．．/b      looks like
      hosts      example.com/a                   host
      hosts      https://example.com             host
      hosts      a@b.com                         host
      hosts      example.com:0                   host
      hosts      example.com:65536               port
      hosts      -a.com                          label
      hosts      [::ffff:10.0.0.1]               IPv4
      emails     Bob <bob@example.com>           plain address
      emails     a@x.com,b@x.com                 plain address
      emails     a@x.com;b@x.com                 plain address
      emails     a@x.com b@x.com                 plain address
      emails     a@b@x.com                       plain address
      emails     "a b"@x.com                     plain address
      emails     a%evil.com@x.com                plain address
      emails     evil!a@x.com                    plain address
      emails     mailto:a@x.com                  plain address
      emails     a@x.com?bcc=b@y.com             plain address
      emails     .a@x.com                        plain address
      emails     a..b@x.com                      plain address
      emails     а@x.com                         plain address
      emails     a@[127.0.0.1]                   plain address
      emails     a@127.0.0.1                     domain
      emails     a@localhost                     domain
      emails     a@x.com.                        dot
      branches   refs/heads/                     no branch
      branches   refs/heads/refs/heads/x         namespace
      branches   refs/tags/v1                    namespace
      branches   tags/v1                         namespace
      branches   heads/main                      namespace
      branches   HEAD                            symbolic
      branches   FETCH_HEAD                      symbolic
      branches   @                               range
      branches   main@{1}                        range
      branches   a..b                            range
      branches   main~1                          which no branch
      branches   main^                           which no branch
      branches   a:main                          which no branch
      branches   agent/*                         which no branch
      branches   a b                             which no branch
      branches   a?                              which no branch
      branches   a[b                             which no branch
      branches   a\\b                            which no branch
      branches   agent/%2e%2e/main               encoded
      branches   agent%252fmain                  encoded
      branches   +main                           option
      branches   --all                           option
      branches   a//b                            segment
      branches   /a                              segment
      branches   a/                              segment
      branches   .a                              segment
      branches   a/.b                            segment
      branches   a.                              segment
      branches   a.lock                          segment
      branches   a.lock/b                        segment
      repos      ../x                            \`..\`
      repos      a/../b                          \`..\`
      repos      a/./b                           \`..\`
      repos      a\\b                            backslash
      repos      a%2e%2e                         encoded
      repos      a%252fb                         encoded
    `),
  )('%s: %s is refused and says: %s', (type, value, words) => {
    expect(canonicalise(type!, value!)).toMatchObject({
      ok: false,
      error: expect.stringContaining(words!),
    })
  })

  test('a commit id is not a branch', () => {
    refused('branches', 'a'.repeat(40))
    refused('branches', 'a'.repeat(64))
    expect(canonicalise('branches', 'a'.repeat(39)).ok).toBe(true)
  })

  test('threat 5: spaces at the ends of a segment are refused', () => {
    for (const path of ['a ', ' a', 'a /b', 'a/ b', 'a/b ', 'a\u00a0/b', 'a\u3000']) {
      refused('paths', path)
    }
  })
})

describe('every type', () => {
  it.each(TYPES)('threats 6, 7: %s with hidden characters are refused', (type) => {
    for (const char of '\u0000\r\n\t\u001b\u007f\u0085\u00ad\u200b\u200d\u2028\u202e\u2066\ufeff\uffff') {
      for (const value of [`a${char}b`, `a@x.com${char}`, `https://x.com/${char}`, `${char}a`]) {
        refused(type, value)
      }
    }
    refused(type, 'a\ud800')
    refused(type, 'e\u0301')
  })

  it.each(['．', '․', '‥', '…', '﹒', '／', '⁄', '∕', '⧸', '＼', '﹨'])(
    'threat 7: a path with the look-alike %s is refused, not folded',
    (char) => {
      refused('paths', `a/${char}/b`)
      refused('paths', `a${char}b`)
    },
  )

  it.each(TYPES)('threat 12: %s take one string and nothing else', (type) => {
    for (const value of [null, undefined, 1, true, ['main'], [], {}, { toString: () => 'main' }]) {
      refused(type, value)
    }
    refused(type, '')
  })

  it.each(TYPES)('threat 16: %s of 50 kB are decided under 5 ms', (type) => {
    const texts = ['a', '%25', '../', 'a/', '.', 'é', 'a@', '\u0301', '[', '0x']
    for (const text of texts.map((each) => each.repeat(50_000 / each.length))) {
      expect(
        fastestMs(() => {
          canonicalise(type, text)
          canonicalise(type, text.slice(0, 4096))
        }),
      ).toBeLessThan(5)
    }
  })

  test.each([
    ['a display name', 'Ann <ann@example.com>'],
    ['a display name that is another address', '"ann@example.com" <eve@evil.example>'],
    ['angle brackets alone', '<ann@example.com>'],
    ['a comment', 'ann@example.com (or eve@evil.example)'],
    ['two addresses after a comma', 'ann@example.com,eve@evil.example'],
    ['two after a comma and a space', 'ann@example.com, eve@evil.example'],
    ['two after a semicolon', 'ann@example.com;eve@evil.example'],
    ['two after a space', 'ann@example.com eve@evil.example'],
    ['a group', 'team:ann@example.com,eve@evil.example;'],
    ['a route', '@evil.example:ann@example.com'],
    ['a second `@`', 'ann@example.com@evil.example'],
    ['a percent hack', 'ann%example.com@evil.example'],
    ['a bang path', 'evil.example!ann@example.com'],
    ['header fields', 'ann@example.com?bcc=eve@evil.example'],
    ['a scheme', 'mailto:ann@example.com'],
    ['a quoted name', '"ann eve"@example.com'],
  ])('threat 15: %s is not one plain address', (_what, text) => {
    refused('emails', text)
    refused('emails', ` ${text}`)
  })

  test('the limit counts bytes', () => {
    expect(canonicalise('repos', 'a'.repeat(4096)).ok).toBe(true)
    refused('repos', 'a'.repeat(4097))
    expect(canonicalise('repos', 'é'.repeat(2048)).ok).toBe(true)
    refused('repos', `${'é'.repeat(2048)}a`)
    expect(canonicalise('repos', '漢'.repeat(1365)).ok).toBe(true)
    refused('repos', '漢'.repeat(1366))
    expect(canonicalise('repos', '😀'.repeat(1024)).ok).toBe(true)
    refused('repos', `${'😀'.repeat(1024)}a`)
    // What a URL becomes counts as well: six characters for each of these.
    expect(canonicalise('urls', `https://x.com/${'é'.repeat(680)}`).ok).toBe(true)
    refused('urls', `https://x.com/${'é'.repeat(681)}`)
  })

  test('an odd type name is a plain type', () => {
    for (const type of ['__proto__', 'constructor', 'toString', '']) {
      expect(canonicalise(type, 'a')).toEqual({ ok: true, value: 'a' })
    }
  })
})

/** Text from the pieces that attacks are made of. */
const hostile = fc
  .array(
    fc.constantFrom(
      'a',
      'B',
      '.',
      '..',
      '/',
      '//',
      '\\',
      '%2e',
      '%2E',
      '%252e',
      '%2f',
      '%5c',
      ';',
      '~',
      ' ',
      '@',
      ':',
      '*',
      '**',
      '?',
      '#',
      '-',
      '+',
      '.lock',
      'refs/heads/',
      'HEAD',
      'https://',
      'x.com',
      ':80',
      ':443',
      '[::1]',
      '0x7f.1',
      'é',
      'e\u0301',
      'ß',
      '．',
      '\u200b',
      '\u0000',
      '\uffff',
      '{',
      '^',
    ),
    { maxLength: 7 },
  )
  .map((pieces) => pieces.join(''))

const near = fc.oneof(
  fc.constantFrom('X.com', 'A.b@X.com', 'x.com:443', '0x7f.1:81', '[::1]', 'a-b.c', '1.1'),
  hostile,
  hostile.map((text) => `https://x.com/${text}`),
  hostile.map((text) => `a/${text}`),
  hostile.map((text) => `${text}@x.com`),
)

describe('laws', () => {
  it.each(TYPES)('threat 1: canonical %s are canonical', (type) => {
    let kept = 0
    fc.assert(
      fc.property(near, (text) => {
        const once = canonicalise(type, text)
        if (!once.ok) return
        kept++
        expect(canonicalise(type, once.value)).toEqual(once)
      }),
      { numRuns: runs(5_000) },
    )
    expect(kept).toBeGreaterThan(atLeast(50))
  })

  it.each(TYPES.slice(0, -1))(
    'every canonical value of %s can be granted: `**` sees it',
    (type) => {
      const all = parseResourcePattern('**')
      fc.assert(
        fc.property(near, (text) => {
          const value = canonicalise(type, text)
          if (!value.ok || !all.ok) return
          expect(matchesResource(all.value, value.value)).toBe(true)
        }),
        { numRuns: runs(5_000) },
      )
    },
  )

  test('threats 1, 2: a canonical path has no way out, by whatever decoding', () => {
    fc.assert(
      fc.property(near, (text) => {
        const path = canonicalise('paths', text)
        if (!path.ok) return
        expect(path.value).not.toMatch(/(?:^|\/)\.\.(?:\/|$)|^\/|\\|\/\/|%[0-9a-f]{2}|[\p{Cc};]/iu)
        const resolved = new URL(
          `file:///root/${path.value.replaceAll('?', '%3f').replaceAll('#', '%23')}`,
        )
        expect(resolved.pathname.startsWith('/root/')).toBe(true)
      }),
      { numRuns: runs(20_000) },
    )
  })

  test('threat 14: a canonical URL has the origin that the parser sees in the original', () => {
    fc.assert(
      fc.property(near, (text) => {
        const url = canonicalise('urls', text)
        if (!url.ok) return
        expect(new URL(url.value).origin).toBe(new URL(text).origin)
        expect(url.value.startsWith(new URL(text).origin)).toBe(true)
      }),
      { numRuns: runs(20_000) },
    )
  })
})
