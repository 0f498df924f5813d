import { parseConstraint } from './constraint.ts'
import { parseDecimal } from './decimal.ts'
import type { Grant, Terms } from './lease.ts'
import { DEPTH_MAX } from './limits.ts'
import { parseActionPattern, parseResourcePattern } from './pattern.ts'
import { err, ok, type Result } from './result.ts'
import { hasHidden, quote } from './text.ts'

/** Each call is compared with each item, and a person reads each before the yes. */
const ITEMS_MAX = 256
/** A lease of more than a year is an account. The configuration sets much less. */
const SECONDS_MAX = 366 * 24 * 3600
/** Beyond any task; keeps sums of budgets exact. */
const COUNT_MAX = 1_000_000
/** The last instant that a date can name (ECMA-262, time values). */
const INSTANT_MAX = 8_640_000_000_000_000
/** Names, addresses, labels. */
const TEXT_CHARS_MAX = 4096

type Check = (value: unknown, path: string) => readonly string[]

/**
 * Whether JSON of untrusted origin is `Terms`: every member present and of its type, none unknown,
 * numbers in range, patterns and constraints parse. The errors name each place. Only then may it go
 * to `compileTerms`, `attenuates` or a command.
 */
export function validateTerms(terms: unknown): Result<true, readonly string[]> {
  const faults = isRecord(terms) ? checkMembers(TERMS)(terms, '') : ['terms: not a mapping']
  return faults.length === 0 ? ok(true) : err(faults)
}

/** Whether JSON of untrusted origin is a list of grants. */
export function validateGrants(grants: unknown): Result<true, readonly string[]> {
  const faults = checkList(checkMembers(GRANT), 0)(grants, 'grants')
  return faults.length === 0 ? ok(true) : err(faults)
}

const checkAction: Check = (value, path) => parseFault(value, path, parseActionPattern)
const checkResource: Check = (value, path) => parseFault(value, path, parseResourcePattern)

/** Of a member's name, which is always a string. */
const checkExactAction = (name: string, path: string): readonly string[] =>
  name.includes('*')
    ? [`${path}: ${quote(name)} is a pattern; write one action`]
    : checkAction(name, path)

const checkConstraint: Check = (value, path) => {
  const parsed = parseConstraint(value)
  if (parsed.ok) return []
  return [`${joinPath(path, parsed.error.path)}: ${parsed.error.message}`]
}

const checkUsd: Check = (value, path) => {
  if (typeof value !== 'string') return [`${path}: not a decimal string; write "2.00"`]
  const parsed = parseDecimal(value)
  if (!parsed.ok) return [`${path}: ${parsed.error}`]
  return parsed.value.units < 0n ? [`${path}: ${quote(value)} is negative`] : []
}

/** The purpose may have lines; who prints it escapes what hides. */
const checkPurpose: Check = (value, path) => {
  const isSound = typeof value === 'string' && value.trim() !== '' && value.isWellFormed()
  return isSound && value.length <= TEXT_CHARS_MAX
    ? []
    : [`${path}: not a text of 1 to ${TEXT_CHARS_MAX} characters`]
}

const checkName: Check = (value, path) => {
  const faults = checkPurpose(value, path)
  if (faults.length > 0) return faults
  return hasHidden(value as string) ? [`${path}: has an invisible or control character`] : []
}

const checkLabel: Check = (value, path) => (value === '' ? [] : checkName(value, path))

const checkFlag: Check = (value, path) =>
  typeof value === 'boolean' ? [] : [`${path}: not true or false`]

const GRANT: Readonly<Record<keyof Grant, Check>> = {
  actions: checkList(checkAction, 1),
  resources: checkMap(checkList(checkResource, 1)),
  where: checkMap(checkConstraint),
}

const TERMS: Readonly<Record<keyof Terms, Check>> = {
  version: (value, path) => (value === 1 ? [] : [`${path}: unknown version; write 1`]),
  agent: checkName,
  purpose: checkPurpose,
  user: checkName,
  grants: checkList(checkMembers(GRANT), 0),
  deny: checkList(checkAction, 0),
  ask: checkList(checkAction, 0),
  onExceed: checkOneOf(['deny', 'ask', 'suspend']),
  expiresInSeconds: checkInteger(1, SECONDS_MAX),
  notAfter: orNull(checkInteger(0, INSTANT_MAX)),
  until: checkList(checkAction, 0),
  maxToolCalls: orNull(checkInteger(1, COUNT_MAX)),
  limits: checkMap(checkInteger(0, COUNT_MAX), checkExactAction),
  workSeconds: orNull(checkInteger(1, SECONDS_MAX)),
  usd: orNull(checkUsd),
  delegate: orNull(
    checkMembers({
      maxDepth: checkInteger(1, DEPTH_MAX),
      maxChildren: checkInteger(1, COUNT_MAX),
      ask: checkFlag,
    }),
  ),
  requireReceipt: checkFlag,
  ceiling: orNull(checkList(checkAction, 0)),
  approvers: orNull(checkList(checkName, 1)),
  labels: checkMap(checkLabel),
}

function parseFault(
  value: unknown,
  path: string,
  parse: (text: string) => Result<unknown, string>,
): readonly string[] {
  if (typeof value !== 'string') return [`${path}: not a string; write a pattern`]
  const parsed = parse(value)
  return parsed.ok ? [] : [`${path}: ${parsed.error}`]
}

/** Every member of the table and no other. */
function checkMembers(members: Readonly<Record<string, Check>>): Check {
  return (value, path) => {
    if (!isRecord(value)) return [`${path}: not a mapping`]
    const faults: string[] = []
    for (const name of Object.keys(value)) {
      if (!Object.hasOwn(members, name)) faults.push(`${joinPath(path, name)}: unknown member`)
    }
    for (const [name, check] of Object.entries(members)) {
      const at = joinPath(path, name)
      if (Object.hasOwn(value, name)) faults.push(...check(value[name], at))
      else faults.push(`${at}: missing`)
    }
    return faults
  }
}

function checkList(check: Check, itemsMin: number): Check {
  return (value, path) => {
    if (!Array.isArray(value)) return [`${path}: not a list`]
    if (value.length < itemsMin) return [`${path}: an empty list; leave it out or name something`]
    if (value.length > ITEMS_MAX) return [`${path}: more than ${ITEMS_MAX} items`]
    return value.flatMap((item, index) => check(item, `${path}[${index}]`))
  }
}

function checkMap(
  check: Check,
  checkKey: (name: string, path: string) => readonly string[] = checkName,
): Check {
  return (value, path) => {
    if (!isRecord(value)) return [`${path}: not a mapping`]
    const entries = Object.entries(value)
    if (entries.length > ITEMS_MAX) return [`${path}: more than ${ITEMS_MAX} items`]
    return entries.flatMap(([name, item]) => {
      const at = joinPath(path, name)
      return [...checkKey(name, at), ...check(item, at)]
    })
  }
}

function checkInteger(min: number, max: number): Check {
  return (value, path) =>
    Number.isInteger(value) &&
    !Object.is(value, -0) &&
    (value as number) >= min &&
    (value as number) <= max
      ? []
      : [`${path}: not a whole number from ${min} to ${max}`]
}

function checkOneOf(words: readonly string[]): Check {
  return (value, path) =>
    words.includes(value as string) ? [] : [`${path}: not one of ${words.join(', ')}`]
}

function orNull(check: Check): Check {
  return (value, path) => (value === null ? [] : check(value, path))
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function joinPath(base: string, name: string): string {
  return base === '' || name === '' ? base + name : `${base}.${name}`
}
