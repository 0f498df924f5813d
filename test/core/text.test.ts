import { describe, expect, test } from 'vitest'
import { hasHidden, quote, utf8Bytes } from '../../src/core/text.ts'

describe('texts', () => {
  test('user input is quoted, and cut at 120 characters', () => {
    expect(quote('clord')).toBe('`clord`')
    expect(quote('x'.repeat(120))).toBe(`\`${'x'.repeat(120)}\``)
    expect(quote('x'.repeat(121))).toBe(`\`${'x'.repeat(120)}…\``)
  })

  test('threats 6, 7: what hides or reorders is spelled out, each time', () => {
    expect(quote('a\u202eb\u202ec')).toBe('`a\\u{202e}b\\u{202e}c`')
    expect(quote('a\u{e0041}\n')).toBe('`a\\u{e0041}\\u{a}`')
    expect(quote('half \ud800')).toBe('`half \\u{fffd}`')
  })

  test('hidden: a character that nobody sees, or half of one', () => {
    for (const text of ['a\u200b', '\ufeffa', 'a\u0000', '\u{e0041}', 'a\ud800', '\udc00a']) {
      expect(hasHidden(text), JSON.stringify(text)).toBe(true)
    }
    for (const text of ['', 'a b', 'Überweisung', '日本', '😀', '\u2010', '\u202f']) {
      expect(hasHidden(text), text).toBe(false)
    }
  })

  test('bytes are counted as UTF-8 has them', () => {
    // The first and the last character of each length.
    for (const text of ['', 'a', '\u007f', '\u0080', '\u07ff', '\u0800', '\ud7ff', '\ue000']) {
      expect(utf8Bytes(text), JSON.stringify(text)).toBe(Buffer.byteLength(text))
    }
    for (const text of ['\uffff', '\u{10000}', '\u{10ffff}', 'aß€😀z']) {
      expect(utf8Bytes(text), JSON.stringify(text)).toBe(Buffer.byteLength(text))
    }
  })
})
