import { readFileSync } from 'node:fs'
import { relative, resolve } from 'node:path'
import type { Config } from '../authority/config.ts'
import { templateFiles, templateName } from '../authority/templates.ts'
import type { Instant } from '../core/id.ts'
import type { Terms } from '../core/lease.ts'
import type { Vocabulary } from '../core/vocabulary.ts'
import type { LeaseLimits } from '../lease-file/limits.ts'
import { type LeaseDefaults, parseLease } from '../lease-file/parse.ts'
import { printable } from '../lease-file/printable.ts'
import { type Problem, renderProblem } from '../lease-file/problem.ts'
import { EXIT, Failure } from './exit.ts'

/** A lease as a person wrote it, ready to be requested. */
export interface LeaseInput {
  readonly terms: Terms
  readonly warnings: readonly Problem[]
  readonly requestedBy: string | null
  /** The template that it is; null: a lease of the person's own. */
  readonly template: string | null
}

export interface LeaseReading {
  readonly vocabulary: Vocabulary
  readonly limits: LeaseLimits
  readonly now: Instant
  readonly defaults?: LeaseDefaults
  readonly template?: string | null
  /** To show a document whose `expires_at` is over; never to request it. */
  readonly allowPast?: boolean
  /** What did not happen because of an error. */
  readonly outcome?: string
}

/** How a file is read under a configuration. A template of it is for whoever asks. */
export function readingUnder(
  config: Pick<Config, 'limits' | 'policy'>,
  of: {
    readonly file: string
    readonly configFile: string
    readonly vocabulary: Vocabulary
    readonly person: string
  },
): LeaseReading {
  const { vocabulary, person: user } = of
  const folder = resolve(of.configFile, '..')
  const here = templateFiles(folder).map((file) => resolve(file))
  const isTemplate = here.includes(resolve(of.file))
  const { on_exceed: onExceed } = config.policy
  const defaults = {
    ...(onExceed === undefined ? {} : { onExceed }),
    ...(isTemplate ? { user } : {}),
  }
  const template = isTemplate ? templateName(of.file) : null
  return { vocabulary, limits: config.limits, now: Date.now(), defaults, template }
}

/** Reads a lease file. Every problem of it is in the failure, as compilers print them. */
export function readLeaseFile(file: string, reading: LeaseReading): LeaseInput {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch {
    const outcome = reading.outcome ?? 'nothing was started.'
    throw new Failure(`can't read the lease \`${printable(file)}\`\n  ${outcome}`, EXIT.usage)
  }
  const shown = relative(process.cwd(), file)
  return readLeaseText(text, shown.startsWith('..') || shown === '' ? file : shown, reading)
}

/** Reads the text of a lease. */
export function readLeaseText(text: string, file: string, reading: LeaseReading): LeaseInput {
  const parsed = parseLease(text, { ...reading, file })
  const errors = parsed.problems.filter((problem) => problem.severity === 'error')
  if (parsed.terms === null || errors.length > 0) {
    const options = reading.outcome === undefined ? {} : { outcome: reading.outcome }
    const shown = errors.map((problem) => renderProblem(problem, text, options))
    throw new Failure(shown.join('\n\n') || `\`${file}\` is not a lease`, EXIT.usage)
  }
  return {
    terms: parsed.terms,
    warnings: parsed.problems,
    requestedBy: parsed.requestedBy,
    template: reading.template ?? null,
  }
}

/** An envelope's claim of who asks is refused unless that is who is signed in. */
export function checkRequester(input: LeaseInput, person: string): void {
  if (input.requestedBy === null || input.requestedBy === person) return
  throw new Failure(
    `the lease says \`requested_by: ${printable(input.requestedBy)}\`, but you are ` +
      `\`${printable(person)}\`\n` +
      '  ask under your own name, or say who you are: --as PERSON, DAYPASS_USER',
    EXIT.usage,
  )
}
