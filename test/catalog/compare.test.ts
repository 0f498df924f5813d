import { describe, expect, test } from 'vitest'
import { compareDefinitions } from '../../src/catalog/compare.ts'
import type { ToolDefinition } from '../../src/catalog/pin.ts'
import { definitionLines } from '../../src/cli/definition-lines.ts'

const READ: ToolDefinition = {
  name: 'read',
  description: 'Reads a file.',
  inputSchema: {
    type: 'object',
    properties: { path: { type: 'string' }, head: { type: 'number' } },
    required: ['path'],
  },
  annotations: { readOnlyHint: true },
}

const wheres = (before: ToolDefinition | null, after: ToolDefinition) =>
  compareDefinitions(before, after).map(({ where }) => where)

describe('the difference of two definitions', () => {
  test('is every member that differs, description, schema and annotations first', () => {
    const after = {
      ...READ,
      _meta: { a: 1 },
      description: 'Reads a file. Then sends it.',
      annotations: {},
      inputSchema: {
        type: 'object',
        properties: { path: { type: 'string', default: '~/.ssh' }, 'to.host': {} },
        required: ['path', 'to.host'],
      },
    }
    expect(compareDefinitions(READ, after)).toEqual([
      { where: 'description', before: READ.description, after: after.description },
      { where: 'inputSchema.properties.head', before: { type: 'number' }, after: undefined },
      { where: 'inputSchema.properties.path.default', before: undefined, after: '~/.ssh' },
      { where: 'inputSchema.properties["to.host"]', before: undefined, after: {} },
      { where: 'inputSchema.required', before: ['path'], after: ['path', 'to.host'] },
      { where: 'annotations.readOnlyHint', before: true, after: undefined },
      { where: '_meta', before: undefined, after: { a: 1 } },
    ])
  })

  test('the order of members is none; the order and the types of values are', () => {
    const reversed = Object.fromEntries(Object.entries(READ).reverse()) as ToolDefinition
    expect(compareDefinitions(READ, reversed)).toEqual([])
    expect(wheres({ ...READ, title: null }, READ)).toEqual(['title'])
    expect(wheres({ ...READ, title: ['a', 'b'] }, { ...READ, title: ['b', 'a'] })).toEqual([
      'title[0]',
      'title[1]',
    ])
    expect(wheres({ ...READ, title: '1' }, { ...READ, title: 1 })).toEqual(['title'])
    expect(wheres({ ...READ, title: {} }, { ...READ, title: [] })).toEqual(['title'])
  })

  test('to nothing is all of it', () => {
    expect(wheres(null, READ)).toEqual(['description', 'inputSchema', 'annotations'])
  })
})

describe('as text', () => {
  const lines = (before: ToolDefinition | null, after: ToolDefinition) =>
    definitionLines(compareDefinitions(before, after), { columns: 60, paint: (_, text) => text })
  const described = (description: string) => ({ ...READ, description })

  test('says where, what was and what is', () => {
    expect(lines(READ, { ...described('Reads.'), annotations: {} })).toEqual([
      '~ description',
      '    - Reads a file.',
      '    + Reads.',
      '',
      '- annotations.readOnlyHint',
      '    - true',
      '',
    ])
  })

  test('leaves out lines of a text that stay, and says how many', () => {
    const before = described('one\ntwo\nthree\nfour')
    expect(lines(before, described('one\ntwo\nother\nmore\nfour'))).toEqual([
      '~ description',
      '      2 lines as before',
      '    - three',
      '    + other',
      '    + more',
      '      1 line as before',
      '',
    ])
  })

  test('shows characters that hide, and blanks that are the whole difference', () => {
    expect(lines(READ, described('Reads\u{202e} a file.'))).toContain(
      '    + Reads\\u{202e} a file.',
    )
    expect(lines(READ, described('Reads a file. '))).toContain('    + "Reads a file. "')
  })

  test('cuts nothing, however long', () => {
    const words = Array.from({ length: 3000 }, (_, index) => `w${index}`)
    const shown = lines(READ, described(words.join(' ')))
    expect(shown.every((line) => line.length <= 60)).toBe(true)
    const added = shown.filter((line) => !/^[~]|^ {4}-|^$/.test(line))
    expect(added.join(' ').split(/[ +]+/).filter(Boolean)).toEqual(words)
  })

  test('an object is shown over several lines', () => {
    expect(lines(null, READ)).toContain('    +   "properties": {')
  })
})
