import { hash } from 'node:crypto'
import { canonicalJson } from '../core/canonical-json.ts'
import type { Effect, Facts } from '../core/facts.ts'
import { err, ok, type Result } from '../core/result.ts'
import { type Catalog, onlyReads, type Tool } from './catalog.ts'
import { inspectText, type TextFlag } from './inspect.ts'
import { isRecord } from './yaml-reader.ts'

/** A tool as an upstream lists it: whatever members it has. */
export type ToolDefinition = { readonly name: string } & Readonly<Record<string, unknown>>

/**
 * SHA-256 (hex) over the RFC 8785 form of the whole definition, `_meta` included: descriptions
 * steer the model, schemas the arguments, and what a client makes of `_meta` is not known here. Any
 * change is a change (threat 29). The order of members is not.
 */
export function definitionHash(definition: ToolDefinition): string {
  return hash('sha256', canonicalJson(definition), 'hex')
}

/**
 * Definitions that a person accepted on this machine: server → tool → hash. `.daypass/pins.json`.
 */
export type Pins = ReadonlyMap<string, ReadonlyMap<string, string>>

/**
 * Reads the text of a pins file. Damaged means no pin: a pin that is guessed would un-quarantine.
 */
export function readPins(text: string): Result<Pins, string> {
  let root: unknown
  try {
    root = JSON.parse(text)
  } catch {
    return err('the pins file is not JSON: delete it and pin again')
  }
  if (!isRecord(root)) return err('the pins file must be an object of servers')
  const pins = new Map<string, ReadonlyMap<string, string>>()
  for (const [server, tools] of Object.entries(root)) {
    if (!isRecord(tools)) return err(`pins of \`${server}\` must be an object of tools`)
    for (const [tool, pin] of Object.entries(tools)) {
      if (typeof pin !== 'string' || !/^[0-9a-f]{64}$/.test(pin)) {
        return err(`the pin of \`${server}.${tool}\` is not a SHA-256 in hex`)
      }
    }
    pins.set(server, new Map(Object.entries(tools as Record<string, string>)))
  }
  return ok(pins)
}

/** The text of a pins file; sorted, so that it reads well in a diff. */
export function writePins(pins: Pins): string {
  const sorted = <T>(map: ReadonlyMap<string, T>) => [...map].sort(([a], [b]) => (a < b ? -1 : 1))
  const plain = sorted(pins).map(([server, tools]) => [server, Object.fromEntries(sorted(tools))])
  return `${JSON.stringify(Object.fromEntries(plain), null, 2)}\n`
}

/** Pins with one more accepted definition. */
export function mergePin(pins: Pins, pin: { server: string; tool: string; hash: string }): Pins {
  const tools = new Map(pins.get(pin.server) ?? [])
  return new Map(pins).set(pin.server, tools.set(pin.tool, pin.hash))
}

export interface ToolCheck {
  readonly tool: string
  /** As `Facts.status`; `missing`: the catalog has it and the server does not present it. */
  readonly status: Exclude<Facts['status'], 'unknown'> | 'missing'
  /** Hash of the definition now presented; "" when missing. */
  readonly definition: string
  /** Why the catalog leaves the tool out, when it does so on purpose. */
  readonly unmapped: string | null
  readonly flags: readonly ToolFlag[]
  /** To be handed to `classify`: the server says that the tool does more than the catalog says. */
  readonly raise: Effect | null
}

export type ToolFlag =
  | TextFlag
  | { readonly flag: 'duplicate_name'; readonly where: string; readonly words: string }
  | { readonly flag: 'annotation'; readonly where: string; readonly words: string }
  | { readonly flag: 'program'; readonly where: string; readonly words: string }

/**
 * Compares what a server presents with the catalog and the person's own pins. Every presented tool
 * and every tool of the catalog gets one answer.
 */
export function checkTools(
  catalog: Catalog | null,
  tools: readonly ToolDefinition[],
  pins: ReadonlyMap<string, string> = new Map(),
): readonly ToolCheck[] {
  const counts = new Map<string, number>()
  for (const { name } of tools) counts.set(name, (counts.get(name) ?? 0) + 1)
  const checks = tools.map((definition) =>
    checkTool(definition, catalog, {
      pin: pins.get(definition.name),
      count: counts.get(definition.name)!,
    }),
  )
  const missing = [...(catalog?.tools.keys() ?? [])].filter((name) => !counts.has(name))
  return [
    ...checks,
    ...missing.map(
      (tool): ToolCheck => ({
        tool,
        status: 'missing',
        definition: '',
        unmapped: null,
        flags: [],
        raise: null,
      }),
    ),
  ]
}

/** The check of a tool of another program than was accepted under this name (threat 32). */
export function ofAnotherProgram(check: ToolCheck): ToolCheck {
  if (check.status === 'missing') return check
  const words =
    'another program than the accepted one: its command, environment, address or a file of it ' +
    'has changed; a pin accepts it for this tool'
  const flag = { flag: 'program', where: 'the server', words } as const
  return { ...check, status: 'changed', flags: [...check.flags, flag] }
}

function checkTool(
  definition: ToolDefinition,
  catalog: Catalog | null,
  known: { pin: string | undefined; count: number },
): ToolCheck {
  const digest = definitionHash(definition)
  const tool = catalog?.tools.get(definition.name)
  const flags: ToolFlag[] = [...inspectText(definition)]
  if (known.count > 1) {
    const words = 'the server presents this name more than once: which one runs cannot be told'
    flags.push({ flag: 'duplicate_name', where: definition.name, words })
  }
  const raise = tool === undefined ? null : raiseOf(catalog!, tool, definition)
  if (raise !== null) {
    const words = 'the server says it can destroy, the catalog says it only reads'
    flags.push({ flag: 'annotation', where: 'annotations', words })
  }
  const pinned = tool?.definitions.includes(digest) === true || known.pin === digest
  return {
    tool: definition.name,
    status: tool === undefined ? 'unmapped' : pinned && known.count === 1 ? 'mapped' : 'changed',
    definition: digest,
    unmapped: catalog?.unmapped.get(definition.name) ?? null,
    flags,
    raise,
  }
}

/** Only an explicit word counts: the protocol's defaults would call everything destructive. */
function raiseOf(catalog: Catalog, tool: Tool, definition: ToolDefinition): Effect | null {
  const { annotations } = definition
  const says = isRecord(annotations) && annotations.destructiveHint === true
  return says && tool.rules.every((rule) => onlyReads(catalog, rule)) ? 'destructive' : null
}
