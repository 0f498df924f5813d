import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ownPath } from '../../../src/authority/people/return-path.ts'

describe('a page to return to', () => {
  test.each([
    ['/', '/'],
    ['/consent/abc?x=1&y=%2F', '/consent/abc?x=1&y=%2F'],
    ['/a/../b', '/b'],
    ['/a?next=//evil.example', '/a?next=//evil.example'],
  ])('%s is one of ours', (given, path) => expect(ownPath(given)).toBe(path))

  test.each([
    ...['', 'consent', 'https://evil.example', '//evil.example', '/\\evil.example'],
    ...['\\\\evil.example', '/\t/evil.example', '/\n//evil.example', ' /x', '/x y', '/ä'],
    ...['javascript:alert(1)', '/..//evil.example', '/a/..//evil.example', `/${'a'.repeat(1024)}`],
    ...['/.//evil.example', '/%5c/../\u0000'],
  ])('%j is not', (given) => expect(ownPath(given)).toBeNull())

  test('what is none of ours by type is none', () => {
    for (const given of [undefined, null, 1, ['/x'], { toString: () => '/x' }]) {
      expect(ownPath(given)).toBeNull()
    }
  })

  test('law: wherever a browser goes from there, it stays with us', () => {
    const piece = fc.constantFrom('/', '\\', '.', '..', '@', ':', '?', '#', 'a', '%2f', '\t', '//')
    const text = fc.array(piece, { maxLength: 8 }).map((pieces) => `/${pieces.join('')}`)
    fc.assert(
      fc.property(fc.oneof(text, fc.string()), (given) => {
        const path = ownPath(given)
        if (path === null) return
        const origin = 'https://daypass.example'
        expect(new URL(path, `${origin}/sign-in`).origin).toBe(origin)
        // Once more, as when it is kept and read again.
        expect(ownPath(path)).toBe(path)
      }),
      { numRuns: 2_000 },
    )
  })
})
