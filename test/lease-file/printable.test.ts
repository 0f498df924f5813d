import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { durationWords, formatDuration, parseDuration } from '../../src/lease-file/duration.ts'
import { hasHidden, printable, shortHash, visible } from '../../src/lease-file/printable.ts'
import { columnsOf, wrapWords } from '../../src/lease-file/wrap.ts'

test.each([
  // what                  text              shown
  ['right-to-left', 'a\u202eb', 'a\\u{202e}b'],
  ['zero width', 'pay\u200bpal', 'pay\\u{200b}pal'],
  ['ANSI', '\u001b[2J', '\\u{1b}[2J'],
  ['line end', 'a\nb\r', 'a\\u{a}b\\u{d}'],
  ['tag', 'x\u{e0041}', 'x\\u{e0041}'],
  ['C1', 'a\u009bb', 'a\\u{9b}b'],
  ['half a pair', 'a\ud800', 'a\\u{d800}'],
  ['filler', 'a\u3164', 'a\\u{3164}'],
  ['other letters', 'Zoë, 日本, ß', 'Zoë, 日本, ß'],
])('threat 70: %s is shown', (_what, text, shown) => {
  expect(printable(text)).toBe(shown)
})

test('threat 70: 100 kB are cut with a count and a hash', () => {
  const text = 'x'.repeat(1604)
  const hash = createHash('sha256').update(text).digest('hex')
  expect(printable(text)).toBe(`${'x'.repeat(400)}... 1,204 more, sha256 ${shortHash(hash)}`)
  expect(printable('x'.repeat(400))).toBe('x'.repeat(400))
})

test('law: nothing hidden is left, and shown text stays as it is', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      expect(hasHidden(visible(text))).toBe(false)
      expect(visible(visible(text))).toBe(visible(text))
    }),
  )
})

test.each([
  ['30m', 1800],
  ['1h30m', 5400],
  ['2h', 7200],
  ['45s', 45],
  ['1h1m1s', 3661],
  ['90m', 5400],
])('%s is %d seconds', (text, seconds) => {
  expect(parseDuration(text)).toEqual({ ok: true, value: seconds })
})

test.each([
  '',
  '30',
  '30 m',
  '30 mins',
  '1.5h',
  'PT30M',
  '30M',
  '-5m',
  '5m1h',
  '5m5m',
  '0s',
  '1d',
  '9999999h',
  '30m ',
])('`%s` is no duration', (text) => {
  expect(parseDuration(text).ok).toBe(false)
})

test('law: a written duration reads back', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 10_000_000 }), (seconds) => {
      expect(parseDuration(formatDuration(seconds))).toEqual({ ok: true, value: seconds })
    }),
  )
  expect(durationWords(5401)).toBe('1 hour 30 minutes 1 second')
})

test('law: wrapping loses no word and fits', () => {
  const word = fc.string({
    minLength: 1,
    maxLength: 30,
    unit: fc.constantFrom('a', 'b', '日', '.'),
  })
  fc.assert(
    fc.property(
      fc.array(word, { minLength: 1 }),
      fc.integer({ min: 10, max: 80 }),
      (words, columns) => {
        const lines = wrapWords(words.join(' '), columns, '  ')
        expect(lines.every((line) => columnsOf(line) <= columns)).toBe(true)
        expect(lines.join('').replaceAll(' ', '')).toBe(words.join(''))
      },
    ),
  )
})
