import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { stringify } from 'yaml'
import { actionsOfCatalog } from '../authority/catalogs.ts'
import { printable } from '../lease-file/printable.ts'
import type { Daypass } from '../server.ts'
import { EXIT, Failure } from './exit.ts'
import { type LeaseInput, readLeaseFile, readLeaseText } from './lease-input.ts'
import type { Project } from './project.ts'
import { askLine } from './question.ts'
import { onlyReads } from './read-only.ts'
import type { Terminal } from './terminal.ts'

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
  return head + stringify({ lease }, { lineWidth: 0 })
}

function draftLease({ daypass, person, command }: Offering) {
  const actions = new Set<string>()
  const repos = new Set<string>()
  const roots = new Set<string>()
  for (const { binding, catalog } of daypass.bound.values()) {
    if (catalog === null) continue
    for (const action of actionsOfCatalog(catalog)) {
      if (onlyReads(action, daypass)) actions.add(action)
    }
    for (const root of binding.roots) {
      if (root.repo === null) roots.add(root.name)
      else repos.add(root.repo)
    }
    for (const [name, value] of binding.values)
      if (name === 'repo' || name === 'repos') repos.add(value)
  }
  const about = (prefix: string) => [...actions].filter((name) => name.startsWith(prefix))
  const repoActions = [...actions].filter((name) => !name.startsWith('file.'))
  const grants = [
    ...(repos.size === 0 || repoActions.length === 0
      ? []
      : [{ actions: repoActions, resources: { repos: [...repos], branches: ['**'] } }]),
    ...(roots.size === 0 || about('file.').length === 0
      ? []
      : [
          { actions: about('file.'), resources: { paths: [...roots].map((name) => `${name}/**`) } },
        ]),
  ]
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
