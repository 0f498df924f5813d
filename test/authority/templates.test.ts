import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { shippedVocabulary } from '../../src/authority/catalogs.ts'
import { Templates, termsFor } from '../../src/authority/templates.ts'
import { DEFAULT_LEASE_LIMITS } from '../../src/lease-file/limits.ts'

let folder: string
let now = 0
const LEASE = `lease:
  purpose: look at clord
  actions: [repo.read]
  resources: { repos: [clord] }
  expires_in: 10m
  max_tool_calls: 5
`

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'daypass-templates-'))
  mkdirSync(join(folder, 'templates'))
})
afterEach(() => rmSync(folder, { recursive: true }))

function write(name: string, text: string): void {
  writeFileSync(join(folder, 'templates', name), text)
}

function templates(onExceed?: 'suspend'): Templates {
  const clock = () => now
  const shared = { folder, vocabulary: shippedVocabulary(), limits: DEFAULT_LEASE_LIMITS, clock }
  return new Templates({ ...shared, onExceed })
}

test('are the leases beside the configuration, by name', () => {
  write('b.yaml', LEASE)
  write('a.yml', LEASE.replace('purpose', 'user: owner@clord.example\n  purpose'))
  write('notes.txt', 'nothing')
  const found = templates()
  expect(found.all().map(({ name, scope, title }) => [name, scope, title])).toEqual([
    ['a', 'lease:a', 'look at clord'],
    ['b', 'lease:b', 'look at clord'],
  ])
  expect(found.problems()).toEqual([])
  expect(found.get('c')).toBeNull()
})

test('without a user are for whoever asks', () => {
  write('all.yaml', LEASE)
  write('one.yaml', LEASE.replace('purpose', 'user: owner@clord.example\n  purpose'))
  const found = templates()
  expect(termsFor(found.get('all')!, 'mira@clord.example').user).toBe('mira@clord.example')
  expect(termsFor(found.get('one')!, 'mira@clord.example').user).toBe('owner@clord.example')
})

test('that are wrong are not offered, and say why', () => {
  write('bad.yaml', LEASE.replace('expires_in: 10m', 'expires_in: 10d'))
  write('odd name.yaml', LEASE)
  write('twice.yaml', LEASE)
  write('twice.yml', LEASE)
  write('huge.yaml', `${LEASE}# ${'x'.repeat(70_000)}\n`)
  const found = templates()
  expect(found.all().map(({ name }) => name)).toEqual(['twice'])
  const problems = found.problems().join('\n')
  expect(problems).toMatch(/bad\.yaml:5:15: unknown duration/)
  expect(problems).toContain('letters, digits')
  expect(problems).toContain('another template has this name')
  expect(problems).toContain('too large for a lease')
})

test('take what the configuration says where they say nothing', () => {
  write('silent.yaml', LEASE)
  write('says.yaml', LEASE.replace('purpose', 'on_exceed: ask\n  purpose'))
  expect(templates('suspend').get('silent')!.terms.onExceed).toBe('suspend')
  expect(templates('suspend').get('says')!.terms.onExceed).toBe('ask')
  expect(templates().get('silent')!.terms.onExceed).toBe('deny')
})

test('are read again when they may have changed', () => {
  write('a.yaml', LEASE)
  const found = templates()
  expect(found.get('a')!.terms.maxToolCalls).toBe(5)
  write('a.yaml', LEASE.replace('max_tool_calls: 5', 'max_tool_calls: 7'))
  now += 2_000
  expect(found.get('a')!.terms.maxToolCalls).toBe(7)
  rmSync(join(folder, 'templates', 'a.yaml'))
  now += 2_000
  expect(found.get('a')).toBeNull()
})
