import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import {
  desksOf,
  shippedVocabulary,
  vocabularyOf,
  vocabularyOfFile,
} from '../../src/authority/catalogs.ts'
import { parseConfig } from '../../src/authority/config.ts'

const folder = realpathSync(mkdtempSync(join(tmpdir(), 'daypass-catalogs-')))
afterAll(() => rmSync(folder, { recursive: true }))

const CATALOG = `
catalog: nap
version: 1
title: Nap
server: { package: nap, version: "1" }
actions:
  nap.read: { effect: read }
  nap.take: { effect: destructive, reversible: false }
tools:
  take: { definition: ${'a'.repeat(64)}, args: {}, rules: [{ do: nap.take, on: {} }] }
  read: { definition: ${'b'.repeat(64)}, args: {}, rules: [{ do: nap.read, on: {} }] }
`

function desks() {
  mkdirSync(join(folder, '.daypass'), { recursive: true })
  writeFileSync(join(folder, 'nap.yaml'), CATALOG)
  const text = 'servers:\n  nap: { command: [nap], catalog: ./nap.yaml }\n'
  const config = parseConfig(text, join(folder, 'daypass.yaml'))
  if (!config.ok) throw new Error(config.error.join('\n'))
  return desksOf(config.value.servers, folder, [join(folder, '.daypass')])
}

test('actions that only a catalog of the project has are words of the prompt', () => {
  const { desks: own, problems } = desks()
  expect(problems).toEqual([])
  const { actions } = vocabularyOf(own.values())
  expect(actions.get('nap.take')).toMatchObject({
    phrase: 'nap.take',
    glance: 'delete',
    irreversible: expect.any(String),
  })
  expect(actions.get('nap.read')).toMatchObject({ glance: null, irreversible: null })
  // What ships keeps its words.
  const shipped = shippedVocabulary().actions
  expect(actions.get('repo.read')).toEqual(shipped.get('repo.read'))
})

test('the catalogs of the project and the folder of Daypass are guarded from its servers', () => {
  const guarded = desks().desks.get('nap')!.binding.guarded
  expect(guarded).toEqual([
    { real: join(folder, '.daypass'), secret: true },
    { real: join(folder, 'nap.yaml'), secret: false },
  ])
})

test('the words of a configuration need no secrets, and no catalog that can be read', () => {
  const file = join(folder, 'words.yaml')
  writeFileSync(join(folder, 'nap.yaml'), CATALOG)
  writeFileSync(join(folder, 'torn.yaml'), 'catalog: [')
  const wordsOf = (text: string) => {
    writeFileSync(file, text)
    return vocabularyOfFile(file).actions
  }
  const shipped = shippedVocabulary().actions
  const own = `servers:
  nap: { command: [nap], catalog: ./nap.yaml, env: { TOKEN: env:NOBODY_HAS_THIS } }
  git: { command: [git], catalog: git }
  torn: { command: [torn], catalog: ./torn.yaml }
  gone: { command: [gone], catalog: ./gone.yaml }
  none: { command: [none] }
`
  expect(wordsOf(own).get('nap.take')!.phrase).toBe('nap.take')
  expect(wordsOf(own).size).toBe(shipped.size + 2)
  for (const text of ['servers: {', '- 1', 'servers: [a]', '']) {
    expect(wordsOf(text)).toEqual(shipped)
  }
  rmSync(file)
  expect(vocabularyOfFile(file).actions).toEqual(shipped)
})
