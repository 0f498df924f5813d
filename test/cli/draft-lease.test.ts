import { mkdtempSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { desksOf, hostsByAction, vocabularyOf } from '../../src/authority/catalogs.ts'
import { parseConfig } from '../../src/authority/config.ts'
import { draftOf } from '../../src/cli/draft-lease.ts'
import { DEFAULT_LEASE_LIMITS } from '../../src/lease-file/limits.ts'
import { parseLease } from '../../src/lease-file/parse.ts'

const folder = realpathSync(mkdtempSync(join(tmpdir(), 'daypass-draft-')))
afterAll(() => rmSync(folder, { recursive: true }))

/** The draft for these servers, as text and as the grants that it parses to. */
function drafted(servers: string) {
  const config = parseConfig(`servers:\n${servers}`, join(folder, 'daypass.yaml'))
  if (!config.ok) throw new Error(config.error.join('\n'))
  const { desks: bound, problems } = desksOf(config.value.servers, folder)
  expect(problems).toEqual([])
  const vocabulary = vocabularyOf(bound.values())
  const daypass = { bound, vocabulary, hosts: hostsByAction(bound.values()) }
  const text = draftOf({ daypass, person: 'mira@clord.example', command: ['claude'] })
  const limits = DEFAULT_LEASE_LIMITS
  const parsed = parseLease(text, { vocabulary, limits, now: 0, file: 'draft.yaml' })
  expect(parsed.problems.filter(({ severity }) => severity === 'error')).toEqual([])
  return { text, grants: parsed.terms!.grants }
}

test('a draft names the database, cluster and memory that servers are bound to', () => {
  const { text, grants } = drafted(`
  pg: { command: [pg], catalog: postgres, bind: { database: shop } }
  notes: { command: [notes], catalog: memory, bind: { memory: team } }
`)
  expect(grants.map(({ actions, resources }) => [actions, resources])).toEqual([
    [['database.query'], { databases: ['shop'] }],
    [['memory.read'], { memories: ['team'] }],
  ])
  expect(text).not.toContain('**')
})

test('what only a call says stays open within what is bound, and a comment says so', () => {
  const { text, grants } = drafted(`
  mongo: { command: [mongo], catalog: mongodb, bind: { cluster: main } }
`)
  const of = (type: string) => [...new Set(grants.flatMap((grant) => grant.resources[type] ?? []))]
  expect(of('clusters')).toEqual(['main'])
  expect(of('databases')).toEqual(['main/*'])
  expect(of('collections')).toEqual(['**'])
  expect(text).toMatch(/^# `\*\*` is any value\. .*write yours:\n#\s+collections$/m)
})

test('two servers with the same action keep to their own', () => {
  const { grants } = drafted(`
  one: { command: [pg], catalog: postgres, bind: { database: shop } }
  two: { command: [pg], catalog: postgres, bind: { database: stock } }
`)
  expect(grants.map(({ resources }) => resources.databases)).toEqual([['shop'], ['stock']])
})
