import { basename } from 'node:path'
import { onlyReads, type Reading } from '../authority/read-only.ts'
import type { Source } from '../catalog/catalog.ts'
import type { Desk } from '../gateway/desk.ts'
import { Failure } from './exit.ts'
import { yamlText } from './yaml-text.ts'

/** A draft is for a first look round, not for a day's work. */
const DRAFT_EXPIRES = '30m'
const DRAFT_CALLS = 100

export interface Drafting {
  readonly daypass: Reading
  readonly person: string
  readonly command: readonly string[]
}

const ANY = '**'

/**
 * A lease for when there is none yet: everything that the configured servers can read, except
 * secrets, on what they are bound to.
 */
export function draftOf(drafting: Drafting): string {
  const grants = draftGrants(drafting.daypass)
  if (grants.length === 0) {
    throw new Failure(
      'no server of daypass.yaml has a catalog with something to read\n' +
        '  write a lease, and a catalog for your servers: daypass catalog draft SERVER',
    )
  }
  const lease = {
    agent: basename(drafting.command[0] ?? 'agent'),
    user: drafting.person,
    purpose: 'look around, read only',
    grants,
    expires_in: DRAFT_EXPIRES,
    max_tool_calls: DRAFT_CALLS,
    require_receipt: true,
  }
  const head =
    '# A read-only lease, drafted from the servers of daypass.yaml. Narrow it to your task,\n' +
    '# then: daypass run --lease FILE -- CMD\n'
  return head + anyComment(grants) + yamlText({ lease })
}

/** Which types are open, and why, so that a person who narrows the draft knows where to begin. */
function anyComment(grants: readonly DraftGrant[]): string {
  const isOpen = ([, values]: readonly [string, readonly string[]]) => values.includes(ANY)
  const open = grants.flatMap(({ resources }) => Object.entries(resources).filter(isOpen))
  const types = [...new Set(open.map(([type]) => type))].sort()
  if (types.length === 0) return ''
  return (
    '# `**` is any value. daypass.yaml does not say which there are of these; write yours:\n' +
    `#   ${types.join(', ')}\n`
  )
}

interface DraftGrant {
  readonly actions: readonly string[]
  readonly resources: Readonly<Record<string, readonly string[]>>
}

/**
 * One grant for each set of resources that calls carry: a grant that names a type which a call does
 * not carry would not permit it.
 */
function draftGrants(reading: Reading): DraftGrant[] {
  const bound = boundValues(reading)
  const groups = new Map<string, { types: readonly TypedValues[]; actions: Set<string> }>()
  for (const desk of reading.bound.values()) {
    for (const { action, types } of touchesOf(desk, bound)) {
      if (!onlyReads(action, reading)) continue
      const sorted = [...types].sort(([a], [b]) => Number(a !== 'repos') - Number(b !== 'repos'))
      const key = JSON.stringify(sorted)
      const group = groups.get(key) ?? { types: sorted, actions: new Set<string>() }
      group.actions.add(action)
      groups.set(key, group)
    }
  }
  return [...groups.values()].flatMap(({ types, actions }) => {
    if (types.some(([, values]) => values.length === 0)) return []
    return [{ actions: [...actions].sort(), resources: Object.fromEntries(types) }]
  })
}

type TypedValues = readonly [type: string, values: readonly string[]]

/** What the servers are bound to: what lies in files is decided by where they lie. */
function boundValues({ bound }: Reading): Readonly<Record<string, readonly string[]>> {
  const repos = new Set<string>()
  const paths = new Set<string>()
  for (const { binding } of bound.values()) {
    for (const { repo, name } of binding.roots) {
      if (repo === null) paths.add(`${name}/**`)
      else repos.add(repo)
    }
    const repo = binding.values.get('repo')
    if (repo !== undefined) repos.add(repo)
  }
  return { repos: [...repos], paths: [...paths] }
}

/** Actions of a server's tools, with the resources that they can be on. */
function touchesOf(
  { catalog, binding }: Desk,
  bound: Readonly<Record<string, readonly string[]>>,
): { action: string; types: readonly TypedValues[] }[] {
  const valuesOf = (type: string, sources: readonly Source[]): TypedValues => {
    if (bound[type] !== undefined) return [type, bound[type]]
    const found = sources.map((source) => patternOf(source, binding))
    const known = found.filter((value) => value !== null)
    return [type, known.length < found.length || known.length === 0 ? [ANY] : [...new Set(known)]]
  }
  const rules = [...(catalog?.tools.values() ?? [])].flatMap(({ rules }) => rules)
  return rules.flatMap((rule) => {
    if (rule.do === 'fault') return []
    if (rule.do === 'touch') {
      const types = rule.resources.map(({ type, sources }) => valuesOf(type, sources))
      return rule.actions.map((action) => ({ action, types }))
    }
    const repos = [valuesOf('repos', []), valuesOf('branches', [])]
    return [
      { action: 'repo.read', types: repos },
      { action: 'file.read', types: [valuesOf('paths', [])] },
    ]
  })
}

/** What the configuration says about a value; null: that depends on the call. */
function patternOf(source: Source, { values }: Desk['binding']): string | null {
  if (source.from === 'text') return source.value
  if (source.from === 'binding') return values.get(source.name) ?? null
  if (source.from !== 'join') return null
  // A part that the call names is one segment: `main/*` are the databases of the cluster `main`.
  const parts = source.parts.map((part) => {
    const named = part.from === 'binding' ? values.get(part.name) : undefined
    return named ?? '*'
  })
  return parts.every((part) => part === '*') ? null : parts.join('/')
}
