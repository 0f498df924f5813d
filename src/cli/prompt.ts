import { dirname } from 'node:path'
import { desksOf, hostsByAction, vocabularyOf } from '../authority/catalogs.ts'
import { EMPTY_CONFIG, loadConfig } from '../authority/config.ts'
import { shortHash } from '../lease-file/printable.ts'
import { promptHash, promptOf } from '../lease-file/prompt.ts'
import { renderPrompt } from '../lease-file/render-prompt.ts'
import { EXIT } from './exit.ts'
import { readingUnder, readLeaseFile } from './lease-input.ts'
import { findProject, signedInPerson } from './project.ts'
import type { ListOptions } from './ps.ts'
import { openTerminal } from './terminal.ts'

/** `daypass prompt FILE`: what would be asked. Starts nothing, requests nothing. */
export function prompt(file: string, options: ListOptions): number {
  const terminal = openTerminal()
  const project = findProject(options.config)
  const config =
    project?.configFile == null ? null : loadConfig(project.configFile, { secrets: 'leave' })
  const desks =
    project === null || !config?.ok
      ? new Map()
      : desksOf(config.value.servers, dirname(project.configFile!)).desks
  const vocabulary = vocabularyOf(desks.values())
  const person = signedInPerson(options.as)
  const lease = readLeaseFile(file, {
    ...readingUnder(config?.ok ? config.value : EMPTY_CONFIG, {
      ...{ file, configFile: project?.configFile ?? file, vocabulary, person },
    }),
    allowPast: true,
    outcome: 'nothing was asked.',
  })
  const shown = promptOf(lease.terms, {
    run: 'run_(not requested)',
    requester: lease.requestedBy ?? person,
    agent: lease.terms.agent,
    client: null,
    hosts: hostsByAction(desks.values()),
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
