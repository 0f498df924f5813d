import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { basename, join } from 'node:path'
import type { Terms } from '../core/lease.ts'
import type { Vocabulary } from '../core/vocabulary.ts'
import { type LeaseLimits, TEXT_BYTES_MAX } from '../lease-file/limits.ts'
import { parseLease } from '../lease-file/parse.ts'
import { type Problem, renderProblem } from '../lease-file/problem.ts'

/** Leases that are kept for use again: `templates/NAME.yaml` beside `daypass.yaml`. */
export interface Template {
  readonly name: string
  /** What it is for. */
  readonly title: string
  /** Whom the work is for is filled in by `termsFor`. */
  readonly terms: Terms
  readonly warnings: readonly Problem[]
  /** The OAuth scope that asks for it. */
  readonly scope: string
  /** The file names whom the work is for; otherwise it is for whoever asks. */
  readonly isForOne: boolean
}

/** Whom a template is for before somebody asks; no address of anybody. */
const NOBODY = 'whoever asks'
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/
const FILE = /^(.+)\.ya?ml$/
/** A folder with more files was named by mistake. */
const TEMPLATES_MAX = 500
/** How old a look at the folder may be: templates change while a server runs. */
const LOOK_MS = 1_000

/** The terms of a template, for whoever asks. */
export function termsFor({ terms, isForOne }: Template, requester: string): Terms {
  return isForOne ? terms : { ...terms, user: requester }
}

export interface TemplateOptions {
  /** The folder of `daypass.yaml`; null: there are none. */
  readonly folder: string | null
  readonly vocabulary: Vocabulary
  readonly limits: LeaseLimits
  readonly onExceed?: Terms['onExceed'] | undefined
  readonly clock: () => number
}

/**
 * The templates of a folder as they are now. A file that is no lease, or whose name is no word for
 * a scope, is not there; `problems` says why.
 */
export class Templates {
  readonly #options: TemplateOptions
  #found: { readonly at: number; readonly all: Map<string, Template>; problems: string[] } | null =
    null

  constructor(options: TemplateOptions) {
    this.#options = options
  }

  /** By name. */
  all(): Template[] {
    return [...this.#look().all.values()]
  }

  get(name: string): Template | null {
    return this.#look().all.get(name) ?? null
  }

  /** What is wrong with the others, as compilers print it. */
  problems(): string[] {
    return this.#look().problems
  }

  #look() {
    const now = this.#options.clock()
    if (this.#found !== null && Math.abs(now - this.#found.at) < LOOK_MS) return this.#found
    const all = new Map<string, Template>()
    const problems: string[] = []
    for (const file of templateFiles(this.#options.folder)) {
      const read = this.#read(file, now)
      if (typeof read === 'string') problems.push(read)
      else if (all.has(read.name)) problems.push(`${file}: another template has this name`)
      else all.set(read.name, read)
    }
    this.#found = { at: now, all, problems }
    return this.#found
  }

  #read(file: string, now: number): Template | string {
    const name = templateName(file)
    if (!NAME.test(name)) {
      return `${file}: the name of a template has letters, digits, \`-\`, \`_\` and \`.\` only`
    }
    const { vocabulary, limits, onExceed } = this.#options
    let text: string
    try {
      // The parser refuses it too; this keeps it out of memory.
      if (statSync(file).size > TEXT_BYTES_MAX) return `${file}: too large for a lease`
      text = readFileSync(file, 'utf8')
    } catch {
      return `${file}: can't be read`
    }
    const defaults = { user: NOBODY, ...(onExceed === undefined ? {} : { onExceed }) }
    const parsed = parseLease(text, { file, vocabulary, limits, now, defaults })
    const { terms, problems } = parsed
    if (terms === null) {
      const errors = problems.filter(({ severity }) => severity === 'error')
      const outcome = 'this template is not offered.'
      return errors.map((problem) => renderProblem(problem, text, { outcome })).join('\n\n')
    }
    const isForOne = terms.user !== NOBODY
    const scope = `lease:${name}`
    return { name, title: terms.purpose, terms, warnings: problems, scope, isForOne }
  }
}

/** The name of a template, from that of its file. */
export function templateName(file: string): string {
  return FILE.exec(basename(file))?.[1] ?? ''
}

/** The files of the folder `templates` beside a configuration, by name. */
export function templateFiles(folder: string | null): string[] {
  const templates = folder === null ? '' : join(folder, 'templates')
  if (folder === null || !existsSync(templates)) return []
  return readdirSync(templates)
    .filter((name) => FILE.test(name))
    .sort()
    .slice(0, TEMPLATES_MAX)
    .map((name) => join(templates, name))
}
