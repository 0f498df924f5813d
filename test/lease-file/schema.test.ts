import { readdirSync } from 'node:fs'
import { Ajv } from 'ajv'
import { describe, expect, test } from 'vitest'
import { parseAllDocuments } from 'yaml'
import { ENVELOPE_FIELDS } from '../../src/lease-file/envelope-document.ts'
import { LEASE_FIELDS } from '../../src/lease-file/lease-document.ts'
import { read } from './support.ts'

const schema = JSON.parse(read('schemas/lease.schema.json'))
const validate = new Ajv({ allErrors: true, strict: true, strictRequired: false }).compile(schema)

const files = (folder: string) =>
  readdirSync(new URL(`../fixtures/leases/${folder}`, import.meta.url)).map((n) => `${folder}/${n}`)

/** What an editor does: each document of the file is checked on its own. */
function passes(name: string): boolean {
  const documents = parseAllDocuments(read(name), { uniqueKeys: true })
  if (!Array.isArray(documents) || documents.length > 2) return false
  const leases = documents.filter((document) => document.has('lease')).length
  return (
    documents.every((document) => document.errors.length === 0 && validate(document.toJS())) &&
    (documents.length === 1 || leases === 1)
  )
}

describe('schemas/lease.schema.json', () => {
  const good = [...files('valid'), ...files('warning'), 'essay-prompt.yaml']
  test.each(good)('accepts %s', (name) => {
    expect(passes(`test/fixtures/leases/${name}`)).toBe(true)
    expect(validate.errors).toBeNull()
  })

  test('accepts the lease of the demonstration', () => {
    expect(passes('examples/dependency-update/lease.yaml')).toBe(true)
  })

  test.each(files('invalid'))('judges %s as the file declares', (name) => {
    const path = `test/fixtures/leases/${name}`
    const declared = /^# schema: (passes|fails);/.exec(read(path))![1]
    expect(passes(path) ? 'passes' : 'fails').toBe(declared)
  })

  test('knows the same fields as the parser', () => {
    const { lease, envelope } = schema.definitions
    expect(Object.keys(lease.properties).toSorted()).toEqual([...LEASE_FIELDS].toSorted())
    expect(Object.keys(envelope.properties).toSorted()).toEqual([...ENVELOPE_FIELDS].toSorted())
  })
})
