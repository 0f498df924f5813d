import { dirname } from 'node:path'
import { deskOf, hostsByAction, shippedVocabulary } from '../authority/catalogs.ts'
import { loadConfig } from '../authority/config.ts'
import { DEFAULT_LEASE_LIMITS } from '../lease-file/limits.ts'
import { shortHash } from '../lease-file/printable.ts'
import { promptHash, promptOf } from '../lease-file/prompt.ts'
import { renderPrompt } from '../lease-file/render-prompt.ts'
import { EXIT } from './exit.ts'
import { readLeaseFile } from './lease-input.ts'
import { findProject, type Project, signedInPerson } from './project.ts'
import type { ListOptions } from './ps.ts'
import { openTerminal } from './terminal.ts'

/** `daypass prompt FILE`: what would be asked. Starts nothing, requests nothing. */
export function prompt(file: string, options: ListOptions): number {
  const terminal = openTerminal()
  const project = findProject(options.config)
  const config = project?.configFile == null ? null : loadConfig(project.configFile)
  const vocabulary = shippedVocabulary()
  const lease = readLeaseFile(file, {
    vocabulary,
    limits: config?.ok ? config.value.limits : DEFAULT_LEASE_LIMITS,
    now: Date.now(),
    allowPast: true,
    outcome: 'nothing was asked.',
  })
  const person = signedInPerson(options.as)
  const shown = promptOf(lease.terms, {
    run: 'run_(not requested)',
    requester: lease.requestedBy ?? person,
    agent: lease.terms.agent,
    client: null,
    hosts: project === null || !config?.ok ? {} : hostsOf(project, config.value),
    warnings: lease.warnings,
    vocabulary,
    outside: 'not_watched',
  })
  if (options.json) terminal.json({ prompt: shown, hash: promptHash(shown) })
  else {
    terminal.say(renderPrompt(shown, terminal))
    terminal.say(`\nPrompt ${shortHash(promptHash(shown))}, as if it were asked now`)
  }
  return EXIT.ok
}

/**
 * Where the bound servers send data; a server that is not bound right says so when it is started.
 */
function hostsOf(
  { configFile }: Project,
  config: Extract<ReturnType<typeof loadConfig>, { ok: true }>['value'],
): Record<string, string[]> {
  const desks = config.servers.flatMap((server) => {
    const desk = deskOf(server, dirname(configFile!))
    return desk.ok ? [desk.value] : []
  })
  return hostsByAction(desks)
}
