import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Ajv } from 'ajv'
import { describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { draftCatalog, pinCatalog, schemaTypes } from '../../src/catalog/draft.ts'
import { loadCatalog } from '../../src/catalog/load.ts'
import { loadVocabulary } from '../../src/catalog/load-vocabulary.ts'
import { definitionHash } from '../../src/catalog/pin.ts'
import { formatProblem } from '../../src/catalog/yaml-reader.ts'
import { CATALOGS, catalogOf, catalogText, ROOT, vocabulary } from './servers.ts'

const schema = JSON.parse(readFileSync(join(ROOT, 'schemas/catalog.schema.json'), 'utf8'))
const validate = new Ajv({ allErrors: true, strict: false }).compile(schema)

const SMALL = `catalog: small
version: 1
title: Small
server: { package: small, version: "1" }
actions:
  file.read: { effect: read }
tools:
  look:
    args: { path: string! }
    rules:
      - files: { read: path }
`

function problemsOf(text: string): readonly string[] {
  const loaded = loadCatalog(text, 'c.yaml')
  return loaded.ok ? [] : loaded.error.map(formatProblem)
}

test('a whole catalog loads', () => {
  expect(problemsOf(SMALL)).toEqual([])
})

describe('every fault of a catalog is told where it stands', () => {
  const rows: readonly [what: string, from: string, to: string, problem: RegExp][] = [
    ['unknown member', 'title: Small', 'titel: Small', /^c\.yaml:3:1: unknown member `titel`/],
    ['version', 'version: 1', 'version: 2', /^c\.yaml:2:10: must be `1`/],
    ['name', 'catalog: small', 'catalog: Big One', /^c\.yaml:1:10: `Big One`/],
    ['effect', 'effect: read', 'effect: look', /^c\.yaml:6:24: must be one of `read`/],
    [
      'silence on undoing',
      'effect: read',
      'effect: write',
      /^c\.yaml:6:\d+: must be `true` or `false` for everything/,
    ],
    ['type', 'path: string!', 'path: text!', /^c\.yaml:9:19: unknown argument type `text`/],
    ['argument of a rule', 'read: path', 'read: file', /^c\.yaml:11:24: `file` is not an argument/],
    ['kind of rule', 'files: { read: path }', 'touch: {}', /^c\.yaml:11:9: a rule has exactly/],
    [
      'action of a rule',
      'files: { read: path }',
      'do: file.write\n        on: {}',
      /^c\.yaml:11:13: action `file.write`/,
    ],
    [
      'preset',
      'files: { read: path }',
      'do: file.read\n        on: there',
      /^c\.yaml:12:13: `there` does not stand/,
    ],
    [
      'source',
      'files: { read: path }',
      'do: file.read\n        on: { paths: { guess: path } }',
      /^c\.yaml:12:22: names no source/,
    ],
    [
      'test',
      'files: { read: path }',
      'when: { flag: true }\n        fault: no',
      /^c\.yaml:11:17: `flag` is not an argument/,
    ],
    ['pin', '    args:', '    definition: abc\n    args:', /^c\.yaml:9:17: must be a SHA-256/],
    ['money', '    args:', '    usd: 5\n    args:', /^c\.yaml:9:10: must be a decimal/],
    ['duplicate', 'version: 1', 'version: 1\nversion: 1', /^c\.yaml:3:1: Map keys must be unique/],
  ]
  test.each(rows)('%s', (_, from, to, problem) => {
    expect(problemsOf(SMALL.replace(from, to)).join('\n')).toMatch(problem)
  })

  test('no rules, and an alias', () => {
    expect(problemsOf(SMALL.replace(/rules:[\s\S]*/, 'rules: []')).join()).toMatch(
      /must be a list of rules/,
    )
    expect(problemsOf(SMALL.replace('title: Small', 'title: &a x\nserver2: *a')).join()).toMatch(
      /aliases/,
    )
  })
})

describe('the catalogs that ship', () => {
  test.each(CATALOGS)('%s: valid for editors, and every tool is pinned', (name) => {
    expect(validate(parse(catalogText(name))), JSON.stringify(validate.errors)).toBe(true)
    for (const tool of catalogOf(name).tools.values()) {
      // A server that speaks both eras may define a tool twice.
      expect(tool.definitions.length, tool.name).toBeGreaterThan(0)
      expect(tool.definitions.length, tool.name).toBeLessThan(3)
    }
  })

  test.each(CATALOGS)(
    '%s: speaks the vocabulary, and never calls undoable what it calls final',
    (name) => {
      const catalog = catalogOf(name)
      for (const [action, kind] of catalog.actions) {
        const word = vocabulary.actions.get(action)
        expect(word, `${name}: ${action}`).toBeDefined()
        if (word!.irreversible !== null && kind.effect !== 'read')
          expect(kind.reversible, action).toBe(false)
        if (word!.glance !== null && word!.glance !== 'secrets')
          expect(kind.effect, action).not.toBe('read')
      }
    },
  )

  test('the schema refuses what the loader refuses', () => {
    // biome-ignore lint/suspicious/noExplicitAny: each line breaks another part of a parsed document
    const breaks: ((c: any) => void)[] = [
      (c) => {
        c.extra = 1
      },
      (c) => {
        c.version = 2
      },
      (c) => {
        c.catalog = 'Big'
      },
      (c) => {
        delete c.server.version
      },
      (c) => {
        c.actions['x.y'] = { effect: 'write' }
      },
      (c) => {
        c.actions['x.y'] = { effect: 'maybe' }
      },
      (c) => {
        c.tools.list_users.rules = []
      },
      (c) => {
        c.tools.list_users.definition = 'abc'
      },
      (c) => {
        c.tools.list_users.rules = [{ do: 'user.read', fault: 'x' }]
      },
      (c) => {
        c.tools.list_users.rules = [{ do: 'user.read', on: { a: { guess: 'x' } } }]
      },
      (c) => {
        c.tools.list_users.rules = [{ files: { move: 'x' } }]
      },
      (c) => {
        c.tools.list_users.args = { a: 'text' }
      },
      (c) => {
        c.tools.list_users.usd = 5
      },
      (c) => {
        c.unmapped = { x: 1 }
      },
    ]
    for (const change of breaks) {
      const catalog = parse(catalogText('forge'))
      change(catalog)
      expect(validate(catalog), String(change)).toBe(false)
      expect(loadCatalog(JSON.stringify(catalog), 'c').ok, String(change)).toBe(false)
    }
  })
})

describe('vocabulary', () => {
  test('reads actions, aliases and types', () => {
    expect(vocabulary.actions.get('pull_request.create')?.phrase).toBe('open PR')
    expect(vocabulary.aliases.get('secrets.read')).toEqual(['secret.read'])
    expect(vocabulary.resourceTypes.get('repos')).toBe('repo')
  })
  test.each([
    ['no actions', 'aliases: {}', /`actions` is missing/],
    ['no phrase', 'actions: { a.b: {} }', /no phrase/],
    ['bad glance', 'actions: { a.b: { phrase: x, glance: fly } }', /unknown glance/],
    [
      'dangling alias',
      'actions: { a.b: { phrase: x } }\naliases: { c: [d] }',
      /unknown action `d`/,
    ],
    [
      'action and alias',
      'actions: { a.b: { phrase: x } }\naliases: { a.b: [a.b] }',
      /is an action and an alias/,
    ],
  ])('%s throws', (_, text, words) => {
    expect(() => loadVocabulary(text)).toThrow(words)
  })
})

describe('drafts and pins', () => {
  const tool = {
    name: 'send',
    inputSchema: {
      properties: {
        to: { type: 'string' },
        many: { type: 'array', items: { type: 'string' } },
        f: { anyOf: [{ type: 'boolean' }, { type: 'string' }] },
      },
      required: ['to'],
    },
  }
  const draft = draftCatalog({ name: 'mail', package: 'mail', version: '1' }, [tool])

  test('a draft loads, is pinned, and allows nothing', () => {
    const loaded = loadCatalog(draft, 'draft')
    if (!loaded.ok) throw new Error(loaded.error.map(formatProblem).join('\n'))
    const send = loaded.value.tools.get('send')!
    expect(send.definitions).toEqual([definitionHash(tool)])
    expect(send.rules).toEqual([expect.objectContaining({ do: 'fault' })])
    expect([...send.args].map(([name, arg]) => [name, arg.types, arg.required])).toEqual([
      ['to', ['string'], true],
      ['many', ['strings'], false],
      ['f', ['boolean', 'string'], false],
    ])
    expect(schemaTypes({ type: 'null' })).toEqual(['null'])
    expect(schemaTypes({ type: 'symbol' })).toEqual([])
  })

  test('pinning changes the pins and no other character', () => {
    const text = catalogText('forge')
    const changed = { name: 'deploy', description: 'other' }
    const pinned = pinCatalog(text, [[changed]])
    const before = text.split('\n')
    const after = pinned.split('\n')
    const different = after.filter((line, index) => line !== before[index])
    expect(different).toEqual([`    definition: ${definitionHash(changed)}`])
    expect(pinCatalog(pinCatalog(SMALL, [[{ name: 'look' }]]), [[{ name: 'other' }]])).toBe(
      SMALL.replace('    args:', `    definition: ${definitionHash({ name: 'look' })}\n    args:`),
    )
  })
})

test.each(CATALOGS)('%s: an action that reads on a server never does more in a rule', (name) => {
  const catalog = catalogOf(name)
  for (const tool of catalog.tools.values()) {
    for (const rule of tool.rules) {
      if (rule.do !== 'touch') continue
      const reads = rule.actions.filter((action) => catalog.actions.get(action)!.effect === 'read')
      // Who may only read is told by the action, before any call: nothing may be sent under it.
      if (reads.length === 0) continue
      expect(rule.effect, `${tool.name}: ${reads}`).toBeNull()
      expect(rule.hosts, `${tool.name}: ${reads}`).toEqual([])
    }
  }
})
