import { err, ok, type Result } from './result.ts'
import { hasHidden, quote, utf8Bytes } from './text.ts'

/*
 * One text for one resource (SPEC, "Canonical values"). Two spellings of one thing become the same
 * text, or are refused; nothing is ever folded into a match. `canonicalise` is idempotent. A `*` in
 * a value is the character `*`: values are never read as patterns.
 */

/** Longer values are refused: no path, URL or address of that length is meant well. */
export const VALUE_BYTES_MAX = 4096

/**
 * Looks like `.`: one-dot leader, two-dot leader, ellipsis, vertical ellipsis, small, full-width.
 */
const CONFUSABLE_DOT = /[\u2024\u2025\u2026\ufe19\ufe52\uff0e]/u

/**
 * Looks like `/` or `\`: fraction, division, set minus, big solidus, mathematical, small,
 * full-width.
 */
const CONFUSABLE_SLASH =
  /[\u0337\u0338\u2044\u2215\u2216\u2571\u2572\u29f5\u29f8\u29f9\ufe68\uff0f\uff3c]/u

/** `.`, `/` or `\`, percent-encoded once or more (threat 2). */
const ENCODED_SEPARATOR = /%(?:25)*(?:2e|2f|5c)/iu

/**
 * The canonical text of a value of a resource type, or words for the caller on why there is none.
 * Types without rules of their own are plain strings, kept byte for byte.
 */
export function canonicalise(type: string, value: unknown): Result<string, string> {
  if (typeof value !== 'string') {
    return err(`${type}: ${typeName(value)} is not a string; pass one string`)
  }
  const fault = textFault(value)
  if (fault !== null) return err(`${type}: ${fault}`)
  const result = canonicalText(type, value)
  if (!result.ok) return err(`${type}: ${quote(value)} ${result.error}`)
  // A URL grows when it is encoded; beyond the limit no pattern would match it.
  if (result.value.length > VALUE_BYTES_MAX) {
    return err(`${type}: ${quote(value)} is longer than ${VALUE_BYTES_MAX} bytes when encoded`)
  }
  return result
}

function canonicalText(type: string, value: string): Result<string, string> {
  switch (type) {
    case 'paths':
      return canonicalPath(value)
    case 'urls':
      return canonicalUrl(value)
    case 'hosts':
      return canonicalHost(value)
    case 'emails':
      return canonicalEmail(value)
    case 'branches':
    case 'base_branches':
      return canonicalBranch(value)
    default:
      return plainText(value)
  }
}

function typeName(value: unknown): string {
  if (value === null) return '`null`'
  return Array.isArray(value) ? 'a list' : value === undefined ? 'nothing' : `a ${typeof value}`
}

/** What no value of any type may have. */
function textFault(value: string): string | null {
  if (value === '') return 'the value is empty'
  if (value.length > VALUE_BYTES_MAX || utf8Bytes(value) > VALUE_BYTES_MAX) {
    return `${quote(value)} is longer than ${VALUE_BYTES_MAX} bytes`
  }
  if (hasHidden(value)) return `${quote(value)} has an invisible or control character`
  if (value !== value.normalize('NFC')) {
    return `${quote(value)} is not in Unicode normal form C; write its composed characters`
  }
  return null
}

/**
 * A plain string is kept byte for byte. It may be a path to somebody, so a way out of a directory
 * is refused in it too: `**` of a pattern would otherwise swallow it.
 */
function plainText(value: string): Result<string, string> {
  if (value.includes('\\')) return err('has a backslash; write `/`')
  if (ENCODED_SEPARATOR.test(value)) return err('has an encoded `.`, `/` or `\\`; write it plainly')
  if (value !== '.' && hasDotSegment(value)) {
    return err('has a `.` or `..` segment; write the value without it')
  }
  return ok(value)
}

function hasDotSegment(value: string): boolean {
  return /(?:^|\/)\.\.?(?:\/|$)/u.test(value)
}

/**
 * A path is relative to what the server is bound to, with `/` between segments; the bound directory
 * itself is `.`. `//` and `/./` collapse; everything that some system reads differently is refused.
 */
function canonicalPath(value: string): Result<string, string> {
  if (value.startsWith('/')) return err('is absolute; write the path relative to its root')
  if (value.includes('\\')) return err('has a backslash; write `/` between segments')
  if (/%[0-9a-f]{2}/iu.test(value)) return err('has percent-encoding; write the characters plainly')
  if (value.includes(';')) return err('has `;`, which some servers cut at; rename the file')
  if (CONFUSABLE_DOT.test(value)) return err('has a character that looks like `.`')
  if (CONFUSABLE_SLASH.test(value)) return err('has a character that looks like a slash')
  const segments: string[] = []
  for (const segment of value.split('/')) {
    if (segment === '' || segment === '.') continue
    if (segment === '..') return err('has a `..` segment; write the path it leads to')
    if (/(?:\.|\s)$/u.test(segment) || /^\s/u.test(segment)) {
      return err('has a segment with a space at an end or a trailing dot; write it without')
    }
    segments.push(segment)
  }
  // Looked at last: behind a `./` that is dropped they stand in front as well.
  const path = segments.length === 0 ? '.' : segments.join('/')
  if (/^[A-Za-z]:/u.test(path)) return err('starts with a drive letter; write a relative path')
  if (path.startsWith('~')) return err('starts with `~`, which may expand; write a relative path')
  return ok(path)
}

/**
 * Origin and path, as the WHATWG URL parser reads them; the root path is left out, as is a trailing
 * `/`. Query and fragment do not name the resource; a lease constrains them through the argument.
 */
function canonicalUrl(value: string): Result<string, string> {
  const parts = /^(https?):\/\/([^/?#\\]+)([^?#]*)(?:[?#].*)?$/iu.exec(value)
  if (parts === null) return err('is not an http or https URL; write `https://host/path`')
  const [, scheme, authority, path] = parts as unknown as [string, string, string, string]
  if (authority.includes('@')) return err('has a user name before the host; write it without')
  const host = canonicalHost(authority)
  if (!host.ok) return host
  const fault = urlPathFault(path)
  if (fault !== null) return err(fault)
  let parsed: URL
  try {
    parsed = new URL(`${scheme}://${host.value}${path}`)
  } catch {
    return err('does not parse as a URL')
  }
  // The parser leaves out the port that the scheme has anyway.
  return ok(parsed.origin + parsed.pathname.replace(/\/$/u, ''))
}

function urlPathFault(path: string): string | null {
  if (path.includes('\\')) return 'has a backslash; write `/`'
  if (path.includes('//')) return 'has an empty path segment; write a single `/`'
  if (/%25/u.test(path)) return 'is percent-encoded twice; encode it once'
  if (/\s/u.test(path)) return 'has a space; write it as `%20`'
  let decoded: string
  try {
    decoded = decodeURIComponent(path)
  } catch {
    return 'has malformed percent-encoding; encode UTF-8'
  }
  if (ENCODED_SEPARATOR.test(path)) return 'has an encoded `.`, `/` or `\\`; write it plainly'
  if (decoded.includes(';')) return 'has `;`, which some servers cut at; write the path without it'
  if (hasDotSegment(decoded)) return 'has a `.` or `..` segment; write the path it leads to'
  if (hasHidden(decoded)) return 'has an invisible or control character in its path'
  if (CONFUSABLE_DOT.test(decoded) || CONFUSABLE_SLASH.test(decoded)) {
    return 'has a character that looks like `.` or a slash'
  }
  return null
}

/** `host` or `host:port`; names in lower case, IPv4 dotted, IPv6 in brackets. */
function canonicalHost(value: string): Result<string, string> {
  const parts = /^(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::([1-9][0-9]{0,4}))?$/iu.exec(value)
  if (parts === null) {
    return err('has no plain host; write `host` or `host:port`, other scripts as `xn--…`')
  }
  const name = canonicalName(parts[1]!)
  if (!name.ok) return name
  const port = parts[2]
  if (port === undefined) return name
  if (Number(port) > 65_535) return err('has a port beyond 65535')
  return ok(`${name.value}:${port}`)
}

/** The URL parser makes `0x7f.1` and `2130706433` the address they mean (threat 14). */
function canonicalName(name: string): Result<string, string> {
  let host: string
  try {
    host = new URL(`http://${name}/`).hostname
  } catch {
    return err('has no valid host')
  }
  if (host.startsWith('[')) {
    if (/^\[(?:::ffff:|64:ff9b:|::[0-9a-f]{1,4}:[0-9a-f]{1,4}\])/u.test(host)) {
      return err('is an IPv4 address inside an IPv6 address; write the IPv4 address')
    }
    return ok(host)
  }
  const labels = host.split('.')
  const valid = labels.every((label) => /^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/u.test(label))
  return valid && host.length <= 253
    ? ok(host)
    : err('has a host with an empty or malformed label; write it without a trailing dot')
}

/** Exactly one ASCII addr-spec with a dot-atom before the `@` (RFC 5322 section 3.4.1). */
function canonicalEmail(value: string): Result<string, string> {
  const parts = /^([A-Za-z0-9_'+=&~-]+(?:\.[A-Za-z0-9_'+=&~-]+)*)@([A-Za-z0-9.-]+)$/u.exec(value)
  if (parts === null || parts[1]!.length > 64) {
    return err('is not one plain address; write `name@example.com` without a display name')
  }
  const domain = canonicalName(parts[2]!)
  if (!domain.ok) return domain
  if (/(?:^|\.)[0-9]+$/u.test(domain.value) || !domain.value.includes('.')) {
    return err('has no domain name after the `@`; write `name@example.com`')
  }
  return ok(`${parts[1]}@${domain.value}`)
}

/**
 * A branch by its short name, as git-check-ref-format(1) allows it. Names that git resolves to
 * something else (a symbolic ref, another namespace, a commit id, a refspec) are refused.
 */
function canonicalBranch(value: string): Result<string, string> {
  const name = value.startsWith('refs/heads/') ? value.slice('refs/heads/'.length) : value
  if (name === '') return err('names no branch')
  if (/[\s~^:?*[\\]/u.test(name)) {
    return err('has a space or one of `~ ^ : ? * [ \\`, which no branch name has')
  }
  if (ENCODED_SEPARATOR.test(name)) {
    return err('has an encoded `.`, `/` or `\\`, which a forge may decode; rename the branch')
  }
  if (name.startsWith('-') || name.startsWith('+')) {
    return err('starts with `-` or `+`, which git reads as an option or a forced push')
  }
  if (name.includes('..') || name.includes('@{') || name === '@') {
    return err('has `..` or `@{`, which git reads as a range or an older value')
  }
  if (/^(?:refs|heads|tags|remotes)(?:\/|$)/u.test(name)) {
    return err('starts with a namespace of refs; write the short name of the branch')
  }
  if (/^(?:[A-Z_]*HEAD|[0-9a-f]{40}|[0-9a-f]{64})$/u.test(name)) {
    return err('is a symbolic ref or a commit id; write the name of the branch')
  }
  const sound = name
    .split('/')
    .every((part) => part !== '' && !part.startsWith('.') && !/(?:\.|\.lock)$/u.test(part))
  return sound
    ? ok(name)
    : err('has a segment that is empty, starts or ends with `.`, or is `.lock`')
}
