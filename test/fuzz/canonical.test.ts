import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { canonicalise, VALUE_BYTES_MAX } from '../../src/core/canonical.ts'
import { matchesResource, parseResourcePattern } from '../../src/core/pattern.ts'
import { cases, edited, Share } from './support.ts'

const SOUND: Readonly<Record<string, readonly string[]>> = {
  paths: ['src/a.ts', './src//b/./c', '.', 'a b/[slug]/c.d', '...x/y'],
  urls: ['https://Example.com:443/a/b?c#d', 'http://0x7f.1/é', 'http://[0:0::1]:8080/a%20b/'],
  hosts: ['Example.com:8443', '127.1', '[::1]:80', 'xn--mnchen-3ya.de', 'localhost'],
  emails: ['Bob.Smith@EXAMPLE.com', "o'neil+tag@a-b.example.org", 'a_b@xn--mnchen-3ya.de'],
  branches: ['refs/heads/agent/x', 'main', 'feature/a.b-c@d', 'ß/漢字'],
  base_branches: ['main', 'release/1.0'],
  repos: ['clord', 'Clord/straße', 'a.b/c-d'],
  customers: ['ACME 7', 'x/y/z', '*'],
}

/** What attacks on names are made of. */
const PIECES = [
  ...['.', '..', '/', '//', '\\', ';', '~', ' ', '@', ':', '*', '**', '?', '#', '-', '+', '[', '{'],
  ...[
    '%2e',
    '%2E',
    '%252e',
    '%2f',
    '%5c',
    '%00',
    '%0d%0a',
    '%c0%ae',
    '%',
    '%e2%80%ae',
    '%3b',
    '%2500',
  ],
  ...['/../', '/./', '/.%2e/', '..;/', '.lock', 'refs/heads/', 'refs/tags/', 'HEAD', 'C:', '.git'],
  ...['https://', 'http:', 'ok@evil.example', ':443', ':0', '[::1]', '[::ffff:1.2.3.4]', '0x7f.1'],
  ...['é', 'e\u0301', 'İ', 'ß', '．', '／', '＼', '…', '\u200b', '\u202e', '\u0000', '\n', '\r'],
  ...['\u001b[2J', '\u2028', '\ufeff', '\ud800', '\uffff', '\u{e0041}', '漢', '😀', 'xn--', '^'],
]

const long = fc
  .tuple(fc.constantFrom('a', 'é', '漢', '😀', 'a/', 'a.', '%20', '-'), fc.nat(VALUE_BYTES_MAX))
  .map(([text, times]) => text.repeat(times))

function textsOf(type: string): fc.Arbitrary<string> {
  const sound = fc.constantFrom(...SOUND[type]!)
  return fc.oneof(
    { weight: 8, arbitrary: edited(sound, PIECES) },
    { weight: 2, arbitrary: fc.array(fc.constantFrom(...PIECES)).map((all) => all.join('')) },
    { weight: 2, arbitrary: fc.string({ unit: 'grapheme' }) },
    { weight: 1, arbitrary: fc.tuple(sound, long).map(([head, tail]) => head + tail) },
  )
}

/** Line breaks, controls, halves of surrogate pairs; what is invisible or turns text around. */
const UNSEEN =
  /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\u00ad\u061c\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]/u
const WAY_OUT = /(?:^|[/\\])\.\.(?:[/\\]|$)/u

/** Every reading that some server gives a name: as it is, and decoded once or twice. */
function readingsOf(text: string): string[] {
  const readings = [text]
  for (let times = 0; times < 2; times++) {
    try {
      readings.push(decodeURIComponent(readings.at(-1)!))
    } catch {
      break
    }
  }
  return readings
}

describe.each(Object.keys(SOUND))('canonical %s', (type) => {
  const parameters = cases({ part: 0.2 })

  test('are canonical, or there are none and words say why', () => {
    const kept = new Share()
    fc.assert(
      fc.property(textsOf(type), (text) => {
        const once = canonicalise(type, text)
        kept.count(once.ok)
        if (once.ok) expect(canonicalise(type, once.value)).toEqual(once)
        else expect(once.error).not.toMatch(UNSEEN)
      }),
      parameters,
    )
    expect(kept.value).toBeGreaterThan(0.1)
    expect(kept.value).toBeLessThan(0.9)
  })

  test('have one spelling, no hidden character and no way out, by whatever decoding', () => {
    fc.assert(
      fc.property(textsOf(type), (text) => {
        const once = canonicalise(type, text)
        if (!once.ok) return
        expect(once.value.normalize('NFC')).toBe(once.value)
        expect(Buffer.byteLength(once.value)).toBeLessThanOrEqual(VALUE_BYTES_MAX)
        expect(once.value).not.toMatch(UNSEEN)
        for (const reading of readingsOf(once.value)) {
          expect(reading).not.toMatch(WAY_OUT)
          expect(reading).not.toContain('\\')
          // Only these are decoded by those who take them for what they are.
          if (type === 'urls' || type === 'paths') expect(reading).not.toMatch(UNSEEN)
        }
      }),
      parameters,
    )
  })

  test('match the pattern that is written like them, and `**`', () => {
    const all = parseResourcePattern('**')
    fc.assert(
      fc.property(textsOf(type), (text) => {
        const once = canonicalise(type, text)
        if (!once.ok) return
        const own = parseResourcePattern(once.value)
        if (own.ok) expect(matchesResource(own.value, once.value)).toBe(true)
        // A plain text may have empty segments, which no pattern matches: refused, never widened.
        const isSegmented = !once.value.split('/').includes('')
        if (all.ok && isSegmented && once.value !== '.') {
          expect(matchesResource(all.value, once.value)).toBe(true)
        }
      }),
      parameters,
    )
  })
})

test('whatever is no text is refused, whatever the type is called', () => {
  const types = fc.oneof(fc.constantFrom(...Object.keys(SOUND)), fc.string())
  fc.assert(
    fc.property(types, fc.anything(), (type, value) => {
      const canonical = canonicalise(type, value)
      if (typeof value !== 'string') expect(canonical.ok).toBe(false)
    }),
    cases({ part: 0.1 }),
  )
})
