import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  definitionHash,
  mergePin,
  type Pins,
  type ToolCheck,
  type ToolDefinition,
  writePins,
} from '../catalog/pin.ts'
import { err, ok, type Result } from '../core/result.ts'
import type { Desk, Desks } from '../gateway/desk.ts'
import type { Upstreams } from '../gateway/upstreams.ts'
import type { Programs } from './programs.ts'

/** Below `.daypass`: accepted definitions, each in a file that has its hash for a name. */
const KEPT = 'definitions'
/** A server whose definition is larger is not compared with what it was. */
const KEPT_BYTES_MAX = 1024 * 1024

/** A tool as it is presented now, beside what a person accepted before. */
export interface Presented {
  readonly check: ToolCheck
  readonly definition: ToolDefinition
  /** Null: none was accepted, or this machine has never seen the one that was. */
  readonly accepted: ToolDefinition | null
}

export type PinFault =
  | { readonly code: 'tool_unknown' }
  /** The server presents another definition than the one that the person saw. */
  | { readonly code: 'definition_changed'; readonly presented: string }

/**
 * The definitions of tools that a person accepts. What was accepted is kept word for word, so that
 * a change can be shown; a hash alone would only say that there is one.
 */
export class Pinning {
  readonly #desks: Desks
  readonly #bound: ReadonlyMap<string, Desk>
  readonly #upstreams: Upstreams
  readonly #programs: Programs
  readonly #folder: string | null
  readonly #pinned: () => void
  /** Without a folder: as long as the process. */
  readonly #kept = new Map<string, ToolDefinition>()
  #pins: Pins

  constructor(options: {
    readonly desks: Desks
    readonly bound: ReadonlyMap<string, Desk>
    readonly upstreams: Upstreams
    readonly pins: Pins
    readonly programs: Programs
    /** `.daypass`; null: everything in memory. */
    readonly folder: string | null
    /** Told of every acceptance. */
    readonly pinned: () => void
  }) {
    this.#desks = options.desks
    this.#bound = options.bound
    this.#upstreams = options.upstreams
    this.#programs = options.programs
    this.#pins = options.pins
    this.#folder = options.folder
    this.#pinned = options.pinned
    options.upstreams.onListingChanged((server) => this.#keepAll(server))
  }

  /** Null: no server presents that tool now. */
  look(server: string, tool: string): Presented | null {
    const definition = this.#upstreams.tool(server, tool)?.definition
    const check = this.#bound.has(server) ? this.#desks.checks(server).get(tool) : undefined
    if (definition === undefined || check === undefined || check.definition === '') return null
    const accepted = this.#acceptedHashes(server, tool).map((hash) => this.#read(hash))
    return {
      check,
      definition: definition as ToolDefinition,
      accepted: accepted.find((found) => found !== null) ?? null,
    }
  }

  /** Accepts the definition with this hash, if the server still presents it. */
  pin(server: string, tool: string, hash: string): Result<void, PinFault> {
    const presented = this.look(server, tool)
    if (presented === null) return err({ code: 'tool_unknown' })
    const { definition } = presented.check
    if (definition !== hash) return err({ code: 'definition_changed', presented: definition })
    this.#programs.accept(server, tool)
    const pins = mergePin(this.#pins, { server, tool, hash })
    if (this.#folder !== null) {
      const file = join(this.#folder, 'pins.json')
      writeFileSync(`${file}.new`, writePins(pins), { mode: 0o600 })
      renameSync(`${file}.new`, file)
    }
    this.#pins = pins
    this.#desks.setPins(pins)
    this.#keep(hash, presented.definition)
    this.#pinned()
    return ok(undefined)
  }

  /** What a person accepted, and what ships as accepted; the newest first. */
  #acceptedHashes(server: string, tool: string): readonly string[] {
    const own = this.#pins.get(server)?.get(tool)
    const shipped = this.#bound.get(server)?.catalog?.tools.get(tool)?.definitions ?? []
    return own === undefined ? shipped : [own, ...shipped]
  }

  #keepAll(server: string): void {
    if (!this.#bound.has(server)) return
    for (const { tool, status, definition: hash } of this.#desks.checks(server).values()) {
      const found = status === 'mapped' ? this.#upstreams.tool(server, tool) : undefined
      if (found !== undefined) this.#keep(hash, found.definition as ToolDefinition)
    }
  }

  /** A help for the next look; nothing that is allowed rests on it. */
  #keep(hash: string, definition: ToolDefinition): void {
    if (this.#folder === null) {
      this.#kept.set(hash, definition)
      return
    }
    const folder = join(this.#folder, KEPT)
    const file = join(folder, `${hash}.json`)
    const text = JSON.stringify(definition, null, 2)
    if (existsSync(file) || Buffer.byteLength(text) > KEPT_BYTES_MAX) return
    try {
      mkdirSync(folder, { recursive: true, mode: 0o700 })
      writeFileSync(`${file}.new`, text, { mode: 0o600 })
      renameSync(`${file}.new`, file)
    } catch {
      // A full disk: the next change is shown whole, not as a difference.
    }
  }

  /** Only what has that hash: a file that somebody edited would hide a change. */
  #read(hash: string): ToolDefinition | null {
    if (this.#folder === null) return this.#kept.get(hash) ?? null
    try {
      const text = readFileSync(join(this.#folder, KEPT, `${hash}.json`), 'utf8')
      const definition = JSON.parse(text) as ToolDefinition
      return definitionHash(definition) === hash ? definition : null
    } catch {
      return null
    }
  }
}
