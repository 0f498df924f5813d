import type { Presented } from '../authority/pinning.ts'
import { compareDefinitions, type DefinitionChange } from '../catalog/compare.ts'
import { visible } from '../lease-file/printable.ts'
import type { Api } from './api.ts'
import { withChecks } from './catalog.ts'
import { definitionLines } from './definition-lines.ts'
import { EXIT, Failure } from './exit.ts'
import type { ListOptions } from './ps.ts'
import { askLine } from './question.ts'
import { openTerminal, type Terminal } from './terminal.ts'

export interface PinOptions extends ListOptions {
  readonly hash?: string
}

interface Tool {
  readonly server: string
  readonly tool: string
  /** `server.tool`, safe to print. */
  readonly name: string
}

/**
 * `daypass catalog pin SERVER.TOOL`: shows how the presented definition differs from the accepted
 * one, and accepts it by its hash: after a yes, or with `--hash` from an earlier look.
 */
export async function catalogPin(text: string, options: PinOptions): Promise<number> {
  const terminal = openTerminal()
  const tool = toolOf(text)
  const hash = options.hash === undefined ? null : hashOf(options.hash)
  return await withChecks(options, async (_, api) => {
    const presented = await api.get<Presented>(pathOf(tool))
    const { status, definition } = presented.check
    if (status === 'unmapped') throw unmapped(tool)
    if (hash !== null) {
      await pin(api, tool, hash)
      return done(terminal, { tool, hash, json: options.json })
    }
    const changes = compareDefinitions(presented.accepted, presented.definition)
    if (options.json) {
      const { server, tool: name } = tool
      const { accepted, definition: now } = presented
      const pinned = status === 'mapped'
      terminal.json({ server, tool: name, definition, pinned, accepted, presented: now, changes })
      return pinned ? EXIT.ok : EXIT.notApproved
    }
    if (status === 'mapped') {
      terminal.say(`${terminal.paint('green', '+')} ${tool.name} is as pinned`)
      terminal.say(`  sha256:${definition}`)
      return EXIT.ok
    }
    show(terminal, { tool, presented, changes })
    await needYes(terminal, tool, definition)
    await pin(api, tool, definition)
    return done(terminal, { tool, hash: definition, json: false })
  })
}

function toolOf(text: string): Tool {
  const name = visible(text)
  const dot = text.indexOf('.')
  if (dot < 1) throw new Failure(`\`${name}\` is not SERVER.TOOL`, EXIT.usage)
  return { server: text.slice(0, dot), tool: text.slice(dot + 1), name }
}

function hashOf(text: string): string {
  const found = /^(?:sha256:)?([0-9a-f]{64})$/.exec(text)
  if (found !== null) return found[1]!
  const how = 'write sha256: and 64 hex digits, as daypass catalog pin prints it'
  throw new Failure(`\`${visible(text)}\` is not a hash\n  ${how}`, EXIT.usage)
}

function pathOf({ server, tool }: Tool): string {
  return `/v1/catalog/${encodeURIComponent(server)}/${encodeURIComponent(tool)}`
}

function unmapped({ server, name }: Tool): Failure {
  return new Failure(
    `no catalog says what \`${name}\` touches, so there is nothing to pin\n` +
      `  write one: daypass catalog draft ${visible(server)}`,
  )
}

async function pin(api: Api, tool: Tool, hash: string): Promise<void> {
  try {
    await api.post(`${pathOf(tool)}/pin`, { hash })
  } catch (error) {
    if (!(error instanceof Failure) || error.code !== 'definition_changed') throw error
    const next = `nothing was pinned. Look at it: daypass catalog pin ${tool.name}`
    throw new Failure(`${error.message}\n  ${next}`, error.exit, error.code)
  }
}

function done(
  terminal: Terminal,
  { tool, hash, json }: { readonly tool: Tool; readonly hash: string; readonly json?: boolean },
): number {
  if (json) terminal.json({ server: tool.server, tool: tool.tool, definition: hash, pinned: true })
  else terminal.say(`${terminal.paint('green', '+')} Pinned ${tool.name}  sha256:${hash}`)
  return EXIT.ok
}

/** Everything that is different, and what stands out in it; then the hash that a yes accepts. */
function show(
  terminal: Terminal,
  of: { tool: Tool; presented: Presented; changes: readonly DefinitionChange[] },
): void {
  const { tool, presented, changes } = of
  const known = presented.accepted !== null
  terminal.say(
    known
      ? `${tool.name} is not as it was pinned. Pinned (-), presented now (+):`
      : `${tool.name}: the pinned definition was never seen on this machine. All of the new one:`,
  )
  terminal.say('')
  for (const line of definitionLines(changes, terminal)) terminal.say(line)
  for (const { where, words } of presented.check.flags) {
    terminal.say(`${terminal.paint('magenta', '!')} ${visible(`${where}: ${words}`)}`)
  }
  terminal.say(`\nsha256:${presented.check.definition}`)
}

/** Returns after a yes. Anything else leaves by a failure, and nothing is pinned. */
async function needYes(terminal: Terminal, tool: Tool, hash: string): Promise<void> {
  if (!terminal.canAsk) {
    throw new Failure(
      'no terminal to ask in; nothing was pinned\n' +
        `  if that is what you want: daypass catalog pin ${tool.name} --hash sha256:${hash}`,
      EXIT.notApproved,
    )
  }
  const question = terminal.paint('bold', 'Pin it?')
  const prompt = () => `${question}  p pin   n no > `
  for (;;) {
    const typed = await askLine({ terminal, deadline: null, prompt })
    const word = typed.kind === 'line' ? typed.text.toLowerCase() : 'n'
    if (word === 'p' || word === 'pin') return
    if (word === 'n' || word === 'no') throw new Failure('nothing was pinned', EXIT.notApproved)
  }
}
