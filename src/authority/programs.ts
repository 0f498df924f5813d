import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse } from 'yaml'
import { mergePin, type Pins, readPins, writePins } from '../catalog/pin.ts'
import { type Program, ProgramHasher } from '../catalog/program.ts'
import { isRecord } from '../catalog/yaml-reader.ts'
import { err, ok, type Result } from '../core/result.ts'
import type { ServerConfig } from './config.ts'

/** No tool can have this name: what a server was when this project first used it. */
const FIRST = '*'
/** Below `.daypass`. */
const FILE = 'programs.json'
/** A file that is swapped under a running server is noticed within this time. */
const LOOK_MS = 1_000

/**
 * What stands behind the names of servers. The environment is read as it is written: what
 * `env:NAME` stands for may change, the line itself may not.
 */
export function programsOf(
  servers: readonly ServerConfig[],
  configFile: string | null,
): ReadonlyMap<string, Program> {
  const root: unknown =
    configFile === null ? null : parse(readFileSync(configFile, 'utf8'), { maxAliasCount: 0 })
  const written = isRecord(root) && isRecord(root.servers) ? root.servers : {}
  return new Map(
    servers.map(({ name, upstream }): [string, Program] => {
      if (upstream.kind === 'http') return [name, { kind: 'http', url: upstream.url }]
      const { command, args = [], cwd = '.' } = upstream
      const server = written[name]
      const env = isRecord(server) && isRecord(server.env) ? server.env : {}
      return [name, { kind: 'stdio', command, args, cwd, env: env as Record<string, string> }]
    }),
  )
}

/**
 * The programs behind the names of servers (threat 32). The first one is accepted: a person has
 * just written it into the configuration. Another one under the same name, or the same one with
 * other files, is not, until a person pins its tools again.
 */
export class Programs {
  readonly #programs: ReadonlyMap<string, Program>
  readonly #folder: string | null
  readonly #hasher = new ProgramHasher()
  #accepted: Pins
  /** As of the last look. */
  readonly #now = new Map<string, string>()
  readonly #lookedAt = new Map<string, number>()

  private constructor(
    programs: ReadonlyMap<string, Program>,
    known: { readonly accepted: Pins; readonly folder: string | null },
  ) {
    this.#programs = programs
    this.#folder = known.folder
    this.#accepted = known.accepted
  }

  /** `folder`: `.daypass`; null: nothing is remembered, so everything is new. */
  static open(
    programs: ReadonlyMap<string, Program>,
    folder: string | null,
  ): Result<Programs, string> {
    const file = folder === null ? null : join(folder, FILE)
    const read: Result<Pins, string> =
      file === null || !existsSync(file) ? ok(new Map()) : readPins(readFileSync(file, 'utf8'))
    if (!read.ok) return err(`\`${FILE}\`: ${read.error}`)
    const opened = new Programs(programs, { accepted: read.value, folder })
    opened.#meet()
    return ok(opened)
  }

  /** Looks at what would be started now. */
  look(server: string): void {
    this.#lookedAt.set(server, performance.now())
    const program = this.#programs.get(server)
    if (program === undefined) return
    try {
      this.#now.set(server, this.#hasher.hash(program))
    } catch {
      // A file that cannot be read is none that was accepted.
      this.#now.delete(server)
    }
  }

  /** Looks again, when the last look is old; true: it is another program than then. */
  hasChanged(server: string): boolean {
    if (performance.now() - (this.#lookedAt.get(server) ?? 0) < LOOK_MS) return false
    const before = this.#now.get(server)
    this.look(server)
    return this.#now.get(server) !== before
  }

  /** Whether a tool is still that of a program which somebody accepted. */
  isAccepted(server: string, tool: string): boolean {
    const now = this.#now.get(server)
    const accepted = this.#accepted.get(server)
    return now !== undefined && (accepted?.get(FIRST) === now || accepted?.get(tool) === now)
  }

  /** A person has accepted what this tool is now, and with it the program as it was looked at. */
  accept(server: string, tool: string): void {
    const hash = this.#now.get(server)
    if (hash === undefined || this.isAccepted(server, tool)) return
    this.#keep(mergePin(this.#accepted, { server, tool, hash }))
  }

  #meet(): void {
    let accepted = this.#accepted
    for (const server of this.#programs.keys()) {
      this.look(server)
      const hash = this.#now.get(server)
      if (accepted.has(server) || hash === undefined) continue
      accepted = mergePin(accepted, { server, tool: FIRST, hash })
    }
    if (accepted !== this.#accepted) this.#keep(accepted)
  }

  #keep(accepted: Pins): void {
    if (this.#folder !== null) {
      mkdirSync(this.#folder, { recursive: true, mode: 0o700 })
      const file = join(this.#folder, FILE)
      writeFileSync(`${file}.new`, writePins(accepted), { mode: 0o600 })
      renameSync(`${file}.new`, file)
    }
    this.#accepted = accepted
  }
}
