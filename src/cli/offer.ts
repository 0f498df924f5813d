import { readFileSync } from 'node:fs'
import { basename, dirname } from 'node:path'
import { templateFiles } from '../authority/templates.ts'
import { printable } from '../lease-file/printable.ts'
import type { Daypass } from '../server.ts'
import { draftOf } from './draft-lease.ts'
import { EXIT, Failure } from './exit.ts'
import { type LeaseInput, readingUnder, readLeaseFile, readLeaseText } from './lease-input.ts'
import type { Project } from './project.ts'
import { askLine } from './question.ts'
import type { Terminal } from './terminal.ts'

export interface Offering {
  readonly daypass: Daypass
  readonly person: string
  readonly command: readonly string[]
  readonly project: Project & { readonly configFile: string }
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
  const { vocabulary, config } = daypass
  const { configFile } = project
  const reading = (file: string) =>
    readingUnder(config, { file, configFile, vocabulary, person: offering.person })
  const draft: Choice = {
    name: 'read only: a draft from your servers',
    read: () => readLeaseText(draftOf(offering), 'draft.yaml', reading('draft.yaml')),
  }
  const templates = templateFiles(dirname(configFile)).map(
    (file): Choice => ({
      name: `${basename(file)}: ${purposeOf(file)}`,
      read: () => readLeaseFile(file, reading(file)),
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

function purposeOf(file: string): string {
  const found = /^\s*purpose:\s*(.+)$/m.exec(readFileSync(file, 'utf8'))
  return found === null ? 'no purpose' : printable(found[1]!)
}
