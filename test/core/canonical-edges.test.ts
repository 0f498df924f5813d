import { describe, expect, test } from 'vitest'
import { canonicalise } from '../../src/core/canonical.ts'

/** Both sides of the line between a value that has a canonical text and one that has none. */

const label = (length: number) => 'a'.repeat(length)
const host = (last: number) => [label(63), label(63), label(63), label(last)].join('.')

describe('on this side', () => {
  test.each<[string, string, string?]>([
    ['repos', '.'],
    ['paths', 'a%4z.txt'],
    ['paths', 'src/C:x'],
    ['paths', 'src/~x'],
    ['hosts', 'example.com:65535'],
    ['hosts', 'example.com:80'],
    ['hosts', 'example.com:443'],
    ['hosts', `${label(63)}.com`],
    ['hosts', host(61)],
    ['hosts', 'a-b_c.example.com'],
    ['urls', 'http://example.com:80/a', 'http://example.com/a'],
    ['urls', 'https://example.com:443/a', 'https://example.com/a'],
    ['urls', 'http://example.com:443/a'],
    ['urls', 'https://example.com:80/a'],
    ['urls', 'HTTP://Example.com:80/A', 'http://example.com/A'],
    ['urls', 'https://[2001:db8::7f00:101]/a'],
    ['emails', `${label(64)}@example.com`],
    ['emails', 'ann@1and1.com'],
    ['emails', 'ann@a.1b.com'],
    ['branches', 'a/refs/x'],
    ['branches', 'refs-x'],
    ['branches', 'my-HEAD'],
    ['branches', 'HEADER'],
    ['branches', 'a'.repeat(41)],
    ['branches', 'a'.repeat(39)],
    ['branches', 'a.lockfile'],
    ['branches', 'a.b'],
  ])('%s: %s', (type, value, canonical = value) => {
    expect(canonicalise(type, value)).toEqual({ ok: true, value: canonical })
  })
})

describe('on the other', () => {
  test.each<[string, string, string]>([
    ['paths', 'a%4f.txt', 'percent-encoding'],
    ['paths', 'C:x', 'drive letter'],
    ['hosts', 'example.com:65536', 'beyond 65535'],
    ['hosts', 'a..b:80', 'malformed label'],
    ['hosts', `${label(64)}.com`, 'malformed label'],
    ['hosts', host(62), 'malformed label'],
    ['hosts', 'a-.com', 'malformed label'],
    ['hosts', '-a.com', 'malformed label'],
    ['urls', 'https://example.com/a b', 'has a space'],
    ['urls', 'https://[::127.0.1.1]/', 'IPv4'],
    ['urls', 'https://[::ffff:10.1.1.1]/', 'IPv4'],
    ['emails', `${label(65)}@example.com`, 'not one plain address'],
    ['emails', 'ann@1.2.3.44', 'no domain name'],
    ['emails', 'ann@1.2.3.4', 'no domain name'],
    ['branches', 'refs', 'namespace'],
    ['branches', 'heads', 'namespace'],
    ['branches', 'remotes/origin/x', 'namespace'],
    ['branches', 'FETCH_HEAD', 'symbolic ref'],
    ['branches', 'a'.repeat(40), 'commit id'],
    ['branches', 'a'.repeat(64), 'commit id'],
    ['branches', 'a.lock', 'is `.lock`'],
    ['branches', 'a.lock/b', 'is `.lock`'],
    ['branches', 'a./b', 'ends with `.`'],
    ['repos', 'a'.repeat(4097), 'is longer than 4096 bytes'],
    ['repos', 'é'.repeat(2049), 'is longer than 4096 bytes'],
    ['repos', 'e\u0301', 'is not in Unicode normal form C; write its composed characters'],
    ['urls', `https://example.com/${'é'.repeat(1000)}`, 'is longer than 4096 bytes when encoded'],
  ])('%s %#', (type, value, words) => {
    const error = expect.stringContaining(words)
    expect(canonicalise(type, value)).toEqual({ ok: false, error })
  })
})
