import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import type { Desk } from '../gateway/desk.ts'
import { printable } from '../lease-file/printable.ts'
import type { Daypass } from '../server.ts'
import { EXIT, Failure } from './exit.ts'
import { type LeaseInput, readLeaseFile, readLeaseText } from './lease-input.ts'
import type { Project } from './project.ts'
import { askLine } from './question.ts'
import { onlyReads } from './read-only.ts'
import type { Terminal } from './terminal.ts'
import { yamlText } from './yaml-text.ts'

/** A draft is for a first look round, not for a day's work. */
const DRAFT_EXPIRES = '30m'
const DRAFT_CALLS = 100

export interface Offering {
  readonly daypass: Daypass
  readonly person: string
  readonly command: readonly string[]
  readonly project: Project & { readonly configFile: string }
}

/**
 * A lease for when there is none yet: everything that the configured servers can read, except
 * secrets, on what they are bound to.
 */
export function draftOf(offering: Offering): string {
  const lease = draftLease(offering)
  const head =
    '# A read-only lease, drafted from the servers of daypass.yaml. Narrow it to your task,\n' +
    '# then: daypass run --lease FILE -- CMD\n'
  return head + yamlText({ lease })
}

function draftLease({ daypass, person, command }: Offering) {
  const grants = draftGrants(daypass)
  if (grants.length === 0) {
    throw new Failure(
      'no server of daypass.yaml has a catalog with something to read\n' +
        '  write a lease, and a catalog for your servers: daypass catalog draft SERVER',
    )
  }
  return {
    agent: basename(command[0] ?? 'agent'),
    user: person,
    purpose: 'look around, read only',
    grants,
    expires_in: DRAFT_EXPIRES,
    max_tool_calls: DRAFT_CALLS,
    require_receipt: true,
  }
}

/**
 * One grant for each set of resource types that calls carry: a grant that names a type which a call
 * does not carry would not permit it.
 */
function draftGrants(daypass: Daypass) {
  const bound = boundValues(daypass)
  const byTypes = new Map<string, { types: readonly string[]; actions: Set<string> }>()
  for (const desk of daypass.bound.values()) {
    for (const { action, types } of touchesOf(desk)) {
      if (!onlyReads(action, daypass)) continue
      const sorted = [...types].sort((a, b) => Number(a !== 'repos') - Number(b !== 'repos'))
      const group = byTypes.get(sorted.join()) ?? { types: sorted, actions: new Set<string>() }
      group.actions.add(action)
      byTypes.set(sorted.join(), group)
    }
  }
  return [...byTypes.values()].flatMap(({ types, actions }) => {
    const resources = types.map((type) => [type, bound[type] ?? ['**']] as const)
    if (resources.some(([, values]) => values.length === 0)) return []
    return [{ actions: [...actions].sort(), resources: Object.fromEntries(resources) }]
  })
}

/** What the servers are bound to. Other types are not bound to anything: any value. */
function boundValues(daypass: Daypass): Record<string, string[]> {
  const repos = new Set<string>()
  const paths = new Set<string>()
  for (const { binding } of daypass.bound.values()) {
    for (const { repo, name } of binding.roots) {
      if (repo === null) paths.add(`${name}/**`)
      else repos.add(repo)
    }
    const repo = binding.values.get('repo')
    if (repo !== undefined) repos.add(repo)
  }
  return { repos: [...repos], paths: [...paths] }
}

/** Actions and resource types of a server's tools. What files are is decided by where they lie. */
function touchesOf({ catalog }: Desk): { action: string; types: readonly string[] }[] {
  const rules = [...(catalog?.tools.values() ?? [])].flatMap(({ rules }) => rules)
  return rules.flatMap((rule) => {
    if (rule.do === 'fault') return []
    if (rule.do === 'touch') {
      const types = rule.resources.map(({ type }) => type)
      return rule.actions.map((action) => ({ action, types }))
    }
    return [
      { action: 'repo.read', types: ['repos', 'branches'] },
      { action: 'file.read', types: ['paths'] },
    ]
  })
}

interface Choice {
  readonly name: string
  readonly read: () => LeaseInput
}

/** Offers the templates of the project and a read-only draft. Without a terminal: the draft. */
export async function offerLease(
  offering: Offering & { readonly terminal: Terminal; readonly yes: boolean },
): Promise<LeaseInput> {
  const { terminal, daypass, project } = offering
  const reading = {
    vocabulary: daypass.vocabulary,
    limits: daypass.config.limits,
    now: Date.now(),
  }
  const draft: Choice = {
    name: 'read only: a draft from your servers',
    read: () => readLeaseText(draftOf(offering), 'draft.yaml', { ...reading, now: Date.now() }),
  }
  const templates = templatesOf(project).map(
    (file): Choice => ({
      name: `${basename(file)}: ${purposeOf(file)}`,
      read: () => readLeaseFile(file, { ...reading, now: Date.now() }),
    }),
  )
  const choices = [draft, ...templates]
  if (!terminal.canAsk || offering.yes || choices.length === 1) return draft.read()
  terminal.say('No lease was given. Which one?')
  for (const [index, { name }] of choices.entries()) terminal.say(`  ${index + 1} ${name}`)
  for (;;) {
    const prompt = () => `Lease [1-${choices.length}] > `
    const typed = await askLine({ terminal, deadline: null, prompt })
    if (typed.kind !== 'line') throw new Failure('no lease was chosen', EXIT.notApproved)
    const choice = /^\d{1,3}$/.test(typed.text) ? choices[Number(typed.text) - 1] : undefined
    if (choice !== undefined) return choice.read()
  }
}

/** Leases of the project that are kept for use again. */
export function templatesOf({ configFile }: { readonly configFile: string }): string[] {
  const folder = join(dirname(configFile), 'templates')
  if (!existsSync(folder)) return []
  return readdirSync(folder)
    .filter((name) => /\.ya?ml$/.test(name))
    .sort()
    .map((name) => join(folder, name))
}

function purposeOf(file: string): string {
  const found = /^\s*purpose:\s*(.+)$/m.exec(readFileSync(file, 'utf8'))
  return found === null ? 'no purpose' : printable(found[1]!)
}
