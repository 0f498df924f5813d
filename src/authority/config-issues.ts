import { type core, z } from 'zod'
import type { Path } from '../catalog/yaml-reader.ts'
import { didYouMean } from '../lease-file/problem.ts'
import { CONFIG_SCHEMA, type ConfigFile } from './config-schema.ts'

type Fail = (path: Path, message: string, at?: 'value' | 'key') => undefined

/** Checks the shape of the file; tells every problem at its place. Null if there is any. */
export function readShape(values: Record<string, unknown>, fail: Fail): ConfigFile | null {
  const parsed = CONFIG_SCHEMA.safeParse(values, { reportInput: true, error: wordsOf })
  if (parsed.success) return parsed.data
  for (const issue of parsed.error.issues) tell(issue, fail)
  return null
}

/** Where a field has no words of its own. */
function wordsOf(issue: core.$ZodRawIssue): string {
  if (issue.code === 'invalid_type') {
    if (issue.expected === 'object' || issue.expected === 'record') return 'must be a map'
    return `must be a ${issue.expected === 'array' ? 'list' : issue.expected}`
  }
  return 'must be something else'
}

function tell(issue: core.$ZodIssue, fail: Fail): void {
  const path = issue.path as (string | number)[]
  if (issue.code === 'unrecognized_keys') {
    const known = fieldsAt(CONFIG_SCHEMA, path)
    for (const key of issue.keys) {
      const meant = didYouMean(key, known)
      const hint = meant === null ? `known: ${known.join(', ')}` : `did you mean \`${meant}\`?`
      fail([...path, key], `unknown field \`${key}\`; ${hint}`, 'key')
    }
    return
  }
  if (issue.code === 'invalid_key') {
    fail(path, issue.issues[0]?.message ?? 'cannot be a name here', 'key')
    return
  }
  if (issue.input === undefined && path.length > 0) {
    fail(path, `\`${path.at(-1)}\` is missing; it ${issue.message}`)
    return
  }
  fail(path, issue.message)
}

/** The fields that the schema has at a path. */
function fieldsAt(schema: z.ZodType, path: readonly (string | number)[]): string[] {
  const at = schema instanceof z.ZodOptional ? (schema.unwrap() as z.ZodType) : schema
  const [step, ...rest] = path
  if (at instanceof z.ZodObject) {
    const shape = at.shape as Record<string, z.ZodType>
    if (step === undefined) return Object.keys(shape)
    return shape[step] === undefined ? [] : fieldsAt(shape[step], rest)
  }
  if (step === undefined) return []
  if (at instanceof z.ZodRecord) return fieldsAt(at.valueType as z.ZodType, rest)
  if (at instanceof z.ZodArray) return fieldsAt(at.element as z.ZodType, rest)
  return []
}
