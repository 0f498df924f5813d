import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { hostname, userInfo } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { shippedVocabulary, vocabularyOfFile } from '../authority/catalogs.ts'
import type { Vocabulary } from '../core/vocabulary.ts'
import { EXIT, Failure } from './exit.ts'

export const CONFIG_NAME = 'daypass.yaml'
export const FOLDER_NAME = '.daypass'

/**
 * Where a command works: the configuration, and the folder beside it that holds everything else.
 */
export interface Project {
  /** Null: there is a folder, and no configuration. */
  readonly configFile: string | null
  /** `.daypass`. */
  readonly folder: string
}

/** The project of `--config FILE`, or the nearest one at or above the working directory. */
export function findProject(config?: string): Project | null {
  if (config !== undefined) {
    const configFile = resolve(config)
    if (!existsSync(configFile)) {
      throw new Failure(`can't read \`${config}\`; write one with daypass init`, EXIT.usage)
    }
    return { configFile, folder: join(dirname(configFile), FOLDER_NAME) }
  }
  for (let at = process.cwd(); ; at = dirname(at)) {
    const configFile = join(at, CONFIG_NAME)
    const folder = join(at, FOLDER_NAME)
    if (existsSync(configFile)) return { configFile, folder }
    if (existsSync(join(folder, 'daypass.db'))) return { configFile: null, folder }
    if (dirname(at) === at) return null
  }
}

/** The project, or a failure that says how to make one. */
export function needProject(config?: string): Project {
  const project = findProject(config)
  if (project !== null) return project
  throw new Failure(
    `no \`${CONFIG_NAME}\` in this folder or above it\n` +
      '  write one: daypass init (it imports an existing .mcp.json)',
    EXIT.usage,
  )
}

/** The project with its configuration, for commands that start servers. */
export function needConfig(config?: string): Project & { readonly configFile: string } {
  const project = needProject(config)
  if (project.configFile !== null) return { ...project, configFile: project.configFile }
  throw new Failure(
    `no \`${CONFIG_NAME}\` beside \`${project.folder}\`\n  write one: daypass init`,
    EXIT.usage,
  )
}

/** The words by which a project calls actions; without a project, those that ship. */
export function vocabularyIn(project: Project | null): Vocabulary {
  return project?.configFile == null ? shippedVocabulary() : vocabularyOfFile(project.configFile)
}

/**
 * The signed-in person of a local installation: whoever the operating system's user says they are.
 * `--as`, then `DAYPASS_USER`, then git's e-mail address, then user and host.
 */
export function signedInPerson(as?: string): string {
  const named = as ?? process.env.DAYPASS_USER
  if (named !== undefined && named !== '') return named
  return gitEmail() ?? `${userInfo().username}@${hostname()}`
}

function gitEmail(): string | null {
  try {
    const found = execFileSync('git', ['config', 'user.email'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
      timeout: 2_000,
    }).trim()
    return found === '' ? null : found
  } catch {
    // No git, or no address configured: the next answer serves.
    return null
  }
}
