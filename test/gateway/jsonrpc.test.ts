import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { JSON_DEPTH_MAX, parseStrict, readMessage } from '../../src/gateway/jsonrpc.ts'
import {
  CLIENT_NOTIFICATIONS,
  isHeard,
  isPassedOn,
  ruleOf,
  UPSTREAM_NOTIFICATIONS,
  UPSTREAM_REQUESTS,
} from '../../src/gateway/methods.ts'
import {
  decodeHeaderValue,
  encodeHeaderValue,
  qualifyTool,
  splitTool,
} from '../../src/gateway/names.ts'
import {
  METHODS_OF_SERVERS,
  METHODS_OF_SPECIFICATION,
  NOTIFICATIONS_OF_CLIENTS,
  NOTIFICATIONS_OF_SERVERS,
} from './support/specification.ts'

const code = (text: string | Buffer): number | 'ok' => {
  const parsed = parseStrict(text)
  return parsed.ok ? 'ok' : parsed.error.error.code
}

describe('threat 9: a member named twice', () => {
  test.each([
    '{"a":1,"a":2}',
    '{"a":1,"\\u0061":2}',
    '{"a":{"b":1,"c":[{"d":1,"d":1}]}}',
    '{"__proto__":1,"__proto__":2}',
    '[{"a":1},{"a":1,"a":{}}]',
    '{"a\\"":1,"a\\u0022":2}',
    '{"":1,"":2}',
  ])('is refused: %s', (text) => {
    expect(code(text)).toBe(-32600)
  })

  test.each([
    '{"a":1,"b":{"a":2}}',
    '{"a":"b:c","b":"{\\"a\\":1,\\"a\\":2}"}',
    '{"a\\\\":1,"a":"\\\\\\""}',
    '[{"a":1},{"a":1}]',
    '{"__proto__":{"x":1},"constructor":2}',
    '"a:b"',
  ])('is not seen where there is none: %s', (text) => {
    expect(code(text)).toBe('ok')
  })

  test('every JSON value survives as it is; doubling any member of it is refused', () => {
    fc.assert(
      fc.property(fc.jsonValue({ noUnicodeString: false }), (value) => {
        const text = JSON.stringify(value)
        const honest = parseStrict(text)
        // Numbers beyond what is exact are refused on purpose.
        if (!honest.ok) expect(honest.error.error.message).toContain('exactly')
        else expect(JSON.stringify(honest.value)).toBe(text)
        if (honest.ok) expect(code(`{"k":${text},"k":${text}}`)).toBe(-32600)
      }),
      { numRuns: 2_000 },
    )
  })
})

test('threat 11: a number that is not what its text says is refused', () => {
  for (const text of [
    '[1e309]',
    '[9007199254740993]',
    '{"a":-1e400}',
    '["\\ud800"]',
    '{"\\udc00":1}',
  ])
    expect(code(text)).toBe(-32600)
  for (const text of ['[1.5]', '[9007199254740991]', '[-0]', '[1e-9]'])
    expect(code(text)).toBe('ok')
})

test('threat 17: nesting is bounded, and measured before anything walks it', () => {
  const nested = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth)
  expect(code(nested(JSON_DEPTH_MAX))).toBe('ok')
  expect(code(nested(JSON_DEPTH_MAX + 1))).toBe(-32600)
  expect(code(nested(1_000_000))).toBe(-32600)
  expect(code(`{"a":"${'['.repeat(10_000)}"}`)).toBe('ok')
})

test('threat 7: bytes that are not UTF-8 are refused, overlong forms among them', () => {
  expect(code(Buffer.from([0x22, 0xc0, 0xae, 0x22]))).toBe(-32700)
  expect(code(Buffer.from('"ü"'))).toBe('ok')
})

test.each([
  ['{"jsonrpc":"2.0","id":null,"method":"ping"}'],
  ['{"jsonrpc":"2.0","id":1.5,"method":"ping"}'],
  ['{"jsonrpc":"2.0","id":{},"method":"ping"}'],
  ['{"jsonrpc":"1.0","id":1,"method":"ping"}'],
  ['{"jsonrpc":"2.0","id":1,"method":"ping","params":[1]}'],
  ['{"jsonrpc":"2.0","id":1,"result":{},"error":{"code":1,"message":""}}'],
  ['{"jsonrpc":"2.0","id":1,"method":7}'],
  ['[]'],
  ['7'],
])('no message: %s', (text) => {
  const parsed = parseStrict(text)
  expect(parsed.ok && readMessage(parsed.value).ok).toBe(false)
})

describe('threat 27: every method', () => {
  test('of the specification has a rule in the eras in which it exists', () => {
    for (const [method, eras] of Object.entries(METHODS_OF_SPECIFICATION)) {
      for (const era of ['legacy', 'modern'] as const) {
        const rule = ruleOf(method, era)
        if (!eras.includes(era)) expect(rule.rule, `${method} ${era}`).toBe('deny')
        else if (rule.rule === 'deny') expect(rule.why).not.toContain('unknown method')
      }
    }
  })

  test('of the specification that is not a request has one as well', () => {
    expect(Object.keys(CLIENT_NOTIFICATIONS).sort()).toEqual(
      Object.keys(NOTIFICATIONS_OF_CLIENTS).sort(),
    )
    for (const [method, eras] of Object.entries(NOTIFICATIONS_OF_CLIENTS)) {
      const missing = (['legacy', 'modern'] as const).filter((era) => !eras.includes(era))
      for (const era of missing) expect(isHeard(method, era), `${method} ${era}`).toBe(false)
    }
    expect(Object.keys(UPSTREAM_REQUESTS).sort()).toEqual([...METHODS_OF_SERVERS].sort())
    expect(Object.keys(UPSTREAM_NOTIFICATIONS).sort()).toEqual(NOTIFICATIONS_OF_SERVERS)
  })

  test.each(['constructor', '__proto__', 'notifications/x', ''])('is dropped: %s', (method) => {
    for (const era of ['legacy', 'modern'] as const) expect(isHeard(method, era)).toBe(false)
    expect(isPassedOn(method)).toBe(false)
  })

  test.each(['constructor', '__proto__', 'toString', '', 'tools/Call', 'tools/call ', 'x'])(
    'that is not in it is denied: %s',
    (method) => {
      for (const era of ['legacy', 'modern'] as const) expect(ruleOf(method, era).rule).toBe('deny')
    },
  )
})

describe('threat 31: names', () => {
  test('are taken apart where they were put together', () => {
    const server = fc.stringMatching(/^[a-z][a-z0-9-]{0,20}$/)
    const tool = fc.stringMatching(/^[A-Za-z0-9_.-]{1,60}$/)
    fc.assert(
      fc.property(server, tool, (s, t) => {
        expect(splitTool(qualifyTool(s, t))).toEqual({ server: s, name: t })
      }),
    )
  })

  test.each(['git', 'git.', '.push', 'Git.push', 'gіt.push', 'git.püsh', 'git push', 7, null])(
    'that are none: %s',
    (name) => {
      expect(splitTool(name)).toBeNull()
    },
  )

  test('a tool that cannot be named is not offered', () => {
    expect(qualifyTool('git', 'pu sh')).toBeNull()
    expect(qualifyTool('git', 'x'.repeat(128))).toBeNull()
  })
})

describe('values in headers', () => {
  test('come back as they went', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (value) => {
        const header = encodeHeaderValue(value)
        expect(header).toMatch(/^[\x20-\x7e]*$/)
        expect(decodeHeaderValue(header)).toBe(value)
      }),
    )
  })

  test.each(['=?base64?***?=', '=?base64?YQ?=', '=?base64?wK4=?='])('broken ones: %s', (header) => {
    expect(decodeHeaderValue(header)).toBeNull()
  })
})
