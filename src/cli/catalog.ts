import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { CATALOG_FOLDER, shippedCatalogs } from '../authority/catalogs.ts'
import { loadConfig } from '../authority/config.ts'
import { draftCatalog } from '../catalog/draft.ts'
import { loadCatalog } from '../catalog/load.ts'
import type { ToolCheck, ToolDefinition } from '../catalog/pin.ts'
import type { RunId } from '../core/id.ts'
import { namesTool } from '../core/judge.ts'
import type { Tree } from '../core/tree.ts'
import { visible } from '../lease-file/printable.ts'
import { ownerOf, startDaypass } from '../server.ts'
import { Api } from './api.ts'
import { EXIT, Failure } from './exit.ts'
import { downServers, serversSettled, startHost, unknownServer } from './host.ts'
import { findProject, needConfig, signedInPerson, vocabularyIn } from './project.ts'
import type { ListOptions } from './ps.ts'
import { openTerminal, type Terminal } from './terminal.ts'

/** A server of which no call is known. */
const NO_CATALOG = 'no catalog: denied, unless a lease names a tool; then each call asks'

type Checks = Readonly<Record<string, readonly ToolCheck[]>>

/** `daypass catalog list`: the catalogs that ship, and those that the servers use. */
export function catalogList(options: ListOptions): number {
  const terminal = openTerminal()
  const config = loadConfig(needConfig(options.config).configFile)
  if (!config.ok) throw new Failure(config.error.map(visible).join('\n'), EXIT.usage)
  const servers = config.value.servers.map(({ name, catalog }) => ({ name, catalog }))
  const shipped = shippedCatalogs().map((name) => {
    const file = join(CATALOG_FOLDER, `${name}.yaml`)
    const loaded = loadCatalog(readFileSync(file, 'utf8'), file)
    if (!loaded.ok) throw new Failure(`the catalog \`${name}\` is damaged`)
    const { server, tools, title } = loaded.value
    return { name, title, package: server.package, version: server.version, tools: tools.size }
  })
  if (options.json) {
    terminal.json({ servers, shipped })
    return EXIT.ok
  }
  for (const { name, catalog } of servers) {
    const words = catalog === null ? NO_CATALOG : `catalog ${catalog}`
    terminal.say(`${name.padEnd(16)}  ${words}`)
  }
  terminal.say(`${servers.length === 0 ? '' : '\n'}Shipped with Daypass`)
  for (const each of shipped) {
    const { name, version, tools } = each
    terminal.say(`  ${name.padEnd(14)}  ${tools} tools of ${each.package} ${version}`)
  }
  return EXIT.ok
}

/** `daypass catalog actions`: every action that leases and catalogs may name. */
export function catalogActions(options: ListOptions): number {
  const terminal = openTerminal()
  const { actions, aliases } = vocabularyIn(findProject(options.config))
  if (options.json) {
    terminal.json({ actions: Object.fromEntries(actions), aliases: Object.fromEntries(aliases) })
    return EXIT.ok
  }
  for (const [name, word] of actions) {
    const mark = word.irreversible === null ? '' : terminal.paint('magenta', "  ! can't be undone")
    terminal.say(`${name.padEnd(22)}  ${word.phrase}${mark}`)
  }
  terminal.say('')
  for (const [name, stands] of aliases) terminal.say(`${name} stands for ${stands.join(', ')}`)
  return EXIT.ok
}

/** `daypass catalog check`: what each server presents, held against its catalog. */
export async function catalogCheck(options: ListOptions): Promise<number> {
  const terminal = openTerminal()
  const { checks, named } = await withChecks(options, async (found, api) => ({
    checks: found,
    named: namedTools(found, await api.trees({ all: false })),
  }))
  if (options.json) terminal.json({ servers: checks, named: Object.fromEntries(named) })
  else {
    for (const [server, tools] of Object.entries(checks)) {
      sayChecks({ terminal, server, named }, tools)
    }
  }
  return Object.values(checks).flat().some(isQuarantined) ? EXIT.failed : EXIT.ok
}

/** Not to be called until somebody has looked; left out on purpose is no surprise. */
export function isQuarantined({ status, unmapped }: ToolCheck): boolean {
  return status === 'changed' || (status === 'unmapped' && unmapped === null)
}

/** `server.tool` → the runs whose lease names this tool, for tools that no catalog maps. */
type Named = ReadonlyMap<string, readonly RunId[]>

/** A subagent can use only what every run above it names too. */
function namedTools(checks: Checks, trees: readonly Tree[]): Named {
  const runs = trees.flatMap((tree) =>
    [...tree.runs.values()].filter((run) => run.lease !== null && run.lease.state !== 'ended'),
  )
  const names = Object.entries(checks).flatMap(([server, tools]) =>
    tools.filter(({ status }) => status === 'unmapped').map(({ tool }) => `${server}.${tool}`),
  )
  return new Map(
    names.flatMap((name): [string, RunId[]][] => {
      const by = runs.filter(({ lease }) => namesTool(lease!, name)).map(({ id }) => id)
      return by.length === 0 ? [] : [[name, by]]
    }),
  )
}

function sayChecks(
  {
    terminal,
    server,
    named,
  }: { readonly terminal: Terminal; readonly server: string; readonly named: Named },
  tools: readonly ToolCheck[],
): void {
  const mapped = tools.filter(({ status }) => status === 'mapped').length
  const words = `${mapped} of ${tools.length} tools as pinned`
  const allFine = !tools.some(isQuarantined)
  terminal.say(
    `${allFine ? terminal.paint('green', '+') : terminal.paint('red', 'x')} ${server}: ${words}`,
  )
  for (const tool of tools) {
    const line = checkWords(server, tool, named.get(`${server}.${tool.tool}`))
    if (line !== null) terminal.say(`    ${visible(line)}`)
    for (const { words, where } of tool.flags) {
      terminal.say(`      ${terminal.paint('magenta', '!')} ${visible(`${where}: ${words}`)}`)
    }
  }
}

/** What is to be done about a tool; null: nothing. `runs`: whose lease names it. */
export function checkWords(
  server: string,
  { tool, status, unmapped }: ToolCheck,
  runs: readonly RunId[] = [],
): string | null {
  switch (status) {
    case 'mapped':
      return null
    case 'missing':
      return `- ${tool}: in the catalog; the server does not have it`
    case 'changed':
      return `x ${tool}: not as it was pinned. See how: daypass catalog pin ${server}.${tool}`
    case 'unmapped':
      return unmapped === null
        ? `${runs.length === 0 ? 'x' : '?'} ${tool}: no catalog says what it touches; ${byName(server, tool, runs)}`
        : `- ${tool}: left out on purpose: ${unmapped}; ${byName(server, tool, runs)}`
  }
}

/** What becomes of calls of a tool that no catalog maps. */
function byName(server: string, tool: string, runs: readonly RunId[]): string {
  if (runs.length === 0)
    return `denied, unless a lease names ${server}.${tool}: then each call asks`
  return `each call asks in ${runs.join(', ')}, whose lease names it; denied elsewhere`
}

/** Asks the process that owns the project, whose servers are up, or starts them here. */
export async function withChecks<T>(
  options: ListOptions,
  use: (checks: Checks, api: Api) => Promise<T>,
): Promise<T> {
  const project = needConfig(options.config)
  const person = signedInPerson(options.as)
  if ((await ownerOf(project.folder)) !== null) {
    await using api = await Api.open(project, person)
    return await use((await api.get<{ servers: Checks }>('/v1/catalog')).servers, api)
  }
  await using _host = await startHost({ project, person, without: [] })
  await using api = await Api.open(project, person)
  return await use((await api.get<{ servers: Checks }>('/v1/catalog')).servers, api)
}

/** `daypass catalog draft SERVER`: a catalog to fill in, from what the server presents. */
export async function catalogDraft(server: string, options: ListOptions): Promise<number> {
  const terminal = openTerminal()
  const project = needConfig(options.config)
  const config = loadConfig(project.configFile)
  if (!config.ok) throw new Failure(config.error.map(visible).join('\n'), EXIT.usage)
  const names = config.value.servers.map(({ name }) => name)
  if (!names.includes(server)) throw unknownServer(server, names)
  const started = await startDaypass({
    folder: null,
    configFile: project.configFile,
    operator: signedInPerson(options.as),
    without: names.filter((name) => name !== server),
  })
  if (!started.ok) throw new Failure(started.error.map(visible).join('\n'), EXIT.usage)
  const daypass = started.value
  try {
    await serversSettled(daypass)
    const configText = readFileSync(project.configFile, 'utf8')
    const down = downServers(daypass, { project, configText })
    if (down !== null) throw new Failure(down)
    const upstream = daypass.upstreams.get(server)!
    const tools = [...upstream.tools.values()].map(({ definition }) => definition as ToolDefinition)
    const info = upstream.introduction?.serverInfo as
      | { name?: string; version?: string }
      | undefined
    const head = { name: server, package: info?.name ?? server, version: info?.version ?? '0' }
    terminal.out(draftCatalog(head, tools))
    return EXIT.ok
  } finally {
    await daypass.close()
  }
}
