import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { isSame } from '../../src/core/replay.ts'
import {
  notificationText,
  parseStrict,
  type RpcMessage,
  readMessage,
  requestText,
  responseText,
} from '../../src/gateway/jsonrpc.ts'
import { LineReader } from '../../src/gateway/lines.ts'
import { parseReceipt } from '../../src/ledger/structure.ts'
import { cases, edited, Share } from './support.ts'

const NAMES = [
  ...['jsonrpc', 'id', 'method', 'params', 'result', 'error', 'code', 'message', 'data'],
  ...['name', 'arguments', '_meta', 'progressToken', '__proto__', 'constructor', 'toJSON', ''],
]
const METHODS = ['tools/call', 'initialize', 'ping', 'notifications/cancelled', 'tools/Call', '']
const NUMBERS = [
  ...['0', '-0', '1', '-1', '1.5', '1e2', '1E400', '-1e400', '1e-400', '9007199254740991'],
  ...['9007199254740992', '9007199254740993', '0.1', '1.0', '00', '01', '+1', '.5', 'NaN', '1_0'],
]
const PIECES = [
  ...['{', '}', '[', ']', '"', ':', ',', '\\', ' ', '\n', '\t', '\u0000', '\ufeff', '\\u0000'],
  ...['\\ud800', '\\u0061', '"id":1,', '"method":"ping",', '"jsonrpc":"2.0",', '{"a":1,"a":2}'],
  ...['null', 'true', '/**/', "'", '\u2028', '[[[[[[[[', ...NUMBERS],
]

/** A name or text as JSON, some of its characters as escapes. */
const quoted = (text: fc.Arbitrary<string>) =>
  fc.tuple(text, fc.nat(7)).map(([plain, every]) => {
    const json = JSON.stringify(plain)
    if (every === 0) return json
    return json.replaceAll(/(?<!\\)[a-z](?![^\\]?\\)/g, (letter, at) =>
      at % every === 0 && !json.includes('\\')
        ? `\\u${letter.charCodeAt(0).toString(16).padStart(4, '0')}`
        : letter,
    )
  })

const space = fc.constantFrom('', '', '', ' ', '\n', '\t ')
const name = quoted(fc.oneof(fc.constantFrom(...NAMES), fc.string({ maxLength: 4 })))
const { json } = fc.letrec<{ json: string; list: string; map: string }>((tie) => ({
  json: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.constantFrom('null', 'true', 'false', '"2.0"', ...NUMBERS.slice(0, 10)),
    quoted(fc.oneof(fc.string({ unit: 'binary' }), fc.constantFrom(...METHODS))),
    tie('list'),
    tie('map'),
  ),
  list: fc
    .tuple(fc.array(tie('json'), { maxLength: 4 }), space)
    .map(([items, gap]) => `[${gap}${items.join(`,${gap}`)}]`),
  map: fc
    .tuple(fc.array(fc.tuple(name, tie('json')), { maxLength: 5 }), space)
    .map(([items, gap]) => `{${items.map((item) => item.join(`:${gap}`)).join(`${gap},`)}}`),
}))

/** An object with the members of a message, each of which may be missing or wrong. */
const member = (own: string, values: readonly string[]) =>
  fc.oneof(
    { weight: 8, arbitrary: fc.constantFrom(...values).map((value) => `"${own}":${value}`) },
    { weight: 1, arbitrary: json.map((value) => `"${own}":${value}`) },
    { weight: 1, arbitrary: fc.constant('') },
  )
const params = fc.oneof(json, fc.constant('{}')).map((value) => `"params":${value}`)
const message = fc
  .tuple(
    member('jsonrpc', ['"2.0"']),
    fc.oneof(member('id', ['1', '"a"', '0', '-5', 'true', '1.5']), fc.constant('')),
    fc.oneof(
      member(
        'method',
        METHODS.map((method) => JSON.stringify(method)),
      ),
      member('result', ['{}', '{"content":[]}']),
      member('error', ['{"code":-32600,"message":"no"}', '{"code":1,"message":"","data":[]}']),
    ),
    fc.option(params, { nil: '' }),
  )
  .map((members) => `{${members.filter((each) => each !== '').join(',')}}`)

const texts = fc.oneof(
  { weight: 5, arbitrary: message },
  { weight: 2, arbitrary: json },
  { weight: 3, arbitrary: edited(message, PIECES) },
  { weight: 2, arbitrary: edited(json, PIECES) },
  { weight: 1, arbitrary: fc.array(fc.constantFrom(...PIECES)).map((all) => all.join('')) },
)

const isId = (id: unknown) => typeof id === 'string' || Number.isSafeInteger(id)

function textOf(read: RpcMessage): string {
  if (read.kind === 'request') return requestText(read.id, read.method, read.params)
  if (read.kind === 'notification') return notificationText(read.method, read.params)
  return responseText(read.id, read.reply)
}

describe('text from a client or a server', () => {
  test('is refused with words, or is sent on as the value that was read', () => {
    const kept = new Share()
    fc.assert(
      fc.property(texts, (text) => {
        const parsed = parseStrict(text)
        kept.count(parsed.ok)
        if (!parsed.ok) {
          expect(parsed.error.error.message).toMatch(/^the message /)
          expect(parsed.error.error.code).toBeLessThan(-32_000)
          return
        }
        const sent = JSON.stringify(parsed.value)
        const received = parseStrict(sent)
        expect(received.ok && isSame(received.value, parsed.value)).toBe(true)
        expect(received.ok && JSON.stringify(received.value)).toBe(sent)
      }),
      cases(),
    )
    expect(kept.value).toBeGreaterThan(0.3)
    expect(kept.value).toBeLessThan(0.9)
  })

  test('is read by a second parser as the same value, and repeats no member for it', () => {
    fc.assert(
      fc.property(texts, (text) => {
        const parsed = parseStrict(text)
        const other = parseReceipt(text)
        if (parsed.ok) expect(other).toEqual({ ok: true, value: parsed.value })
        if (!other.ok) expect(parsed.ok).toBe(false)
      }),
      cases({ part: 0.5 }),
    )
  })

  test('that is a message is the same message when it is written and read again', () => {
    const kinds = { request: 0, notification: 0, response: 0, none: 0 }
    fc.assert(
      fc.property(texts, (text) => {
        const parsed = parseStrict(text)
        const read = parsed.ok ? readMessage(parsed.value) : parsed
        kinds[read.ok ? read.value.kind : 'none']++
        if (!read.ok) return
        if (read.value.kind !== 'notification') expect(isId(read.value.id)).toBe(true)
        const again = parseStrict(textOf(read.value))
        const message = again.ok ? readMessage(again.value) : again
        expect(message.ok && isSame(message.value, read.value)).toBe(true)
      }),
      cases({ part: 0.5 }),
    )
    expect(Math.min(...Object.values(kinds))).toBeGreaterThan(20)
  })
})

test('bytes never throw, and what is not UTF-8 is refused', () => {
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 40 }).map((all) => Buffer.from(all)),
    fc.tuple(texts, fc.nat(), fc.nat(255)).map(([text, at, byte]) => {
      const buffer = Buffer.from(text)
      if (buffer.length > 0) buffer[at % buffer.length] = byte
      return buffer
    }),
  )
  fc.assert(
    fc.property(bytes, (buffer) => {
      const parsed = parseStrict(buffer)
      const text = buffer.toString('utf8')
      const isLossless = Buffer.from(text).equals(buffer)
      expect(parsed.ok).toBe(isLossless && parseStrict(text).ok)
    }),
    cases({ part: 0.3 }),
  )
})

test('no value is read as a message that it is not, and none throws', () => {
  fc.assert(
    fc.property(fc.anything({ withNullPrototype: true }), (value) => {
      const read = readMessage(value)
      if (read.ok) expect((value as { jsonrpc: unknown }).jsonrpc).toBe('2.0')
    }),
    cases({ part: 0.1 }),
  )
})

test('lines are the same however the stream is cut', () => {
  const stream = fc.array(texts.map((text) => text.replaceAll('\n', ' '))).map((lines) => {
    return Buffer.from(lines.map((line) => `${line}\n`).join(''))
  })
  const read = (chunks: readonly Buffer[]) => {
    const lines: string[] = []
    const onTooLong = () => lines.push('too long')
    const reader = new LineReader({
      lineBytesMax: 1_048_576,
      onLine: (line) => lines.push(line),
      onTooLong,
    })
    for (const chunk of chunks) reader.push(chunk)
    reader.end()
    return lines
  }
  fc.assert(
    fc.property(stream, fc.array(fc.nat(60), { minLength: 1 }), (bytes, sizes) => {
      const chunks: Buffer[] = []
      for (let at = 0, turn = 0; at < bytes.length; turn++) {
        const size = 1 + sizes[turn % sizes.length]!
        chunks.push(bytes.subarray(at, at + size))
        at += size
      }
      expect(read(chunks)).toEqual(read([bytes]))
    }),
    cases({ part: 0.05 }),
  )
})
