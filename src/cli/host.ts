import { readFileSync } from 'node:fs'
import { isNode, LineCounter, parseDocument } from 'yaml'
import { loadConfig } from '../authority/config.ts'
import { hidden } from '../authority/status.ts'
import { visible } from '../lease-file/printable.ts'
import { type Daypass, own, ownerOf, startDaypass } from '../server.ts'
import { EXIT, Failure } from './exit.ts'
import type { Project } from './project.ts'

/** How long servers may take to come up: package runners may have to install them first. */
const READY_MS = 60_000
/** One that died is started again a few times; what it last said is known when that is over. */
const VERDICT_MS = 5_000
/** Another process that owns the database may end; then this one takes over. */
const OWN_EVERY_MS = 2_000

export interface HostOptions {
  readonly project: Project & { readonly configFile: string }
  readonly person: string
  readonly without: readonly string[]
}

/** Daypass in this process, with its servers up, reachable for other commands. */
export interface Host extends AsyncDisposable {
  readonly daypass: Daypass
  readonly configText: string
}

/** Starts everything, or fails with what a person can do. Nothing is left running then. */
export async function startHost(options: HostOptions): Promise<Host> {
  const { project, person, without } = options
  checkWithout(project, without)
  const started = await startDaypass({
    folder: project.folder,
    configFile: project.configFile,
    operator: person,
    without,
  }).catch((error: unknown) => {
    throw new Failure(error instanceof Error ? error.message : String(error))
  })
  if (!started.ok) throw new Failure(started.error.map(visible).join('\n'), EXIT.usage)
  const daypass = started.value
  const configText = readFileSync(project.configFile, 'utf8')
  const release = keepOwned(project, daypass)
  const host: Host = {
    daypass,
    configText,
    [Symbol.asyncDispose]: async () => {
      await (await release)()
      await daypass.close()
    },
  }
  try {
    await release
    await serversSettled(daypass)
    const down = downServers(daypass, { ...options, configText })
    if (down !== null) throw new Failure(down)
    return host
  } catch (error) {
    await host[Symbol.asyncDispose]()
    throw error
  }
}

/** A name that is misspelled would start the server that was to be left out. */
function checkWithout({ configFile }: HostOptions['project'], without: readonly string[]): void {
  if (without.length === 0) return
  const config = loadConfig(configFile, { secrets: 'leave' })
  // What is wrong with the configuration is said by whoever starts it.
  if (!config.ok) return
  const names = config.value.servers.map(({ name }) => name)
  const unknown = without.find((name) => !names.includes(name))
  if (unknown !== undefined) throw unknownServer(unknown, names, 'nothing was started.')
}

/** No such server: the names there are, and what did not happen. */
export function unknownServer(
  name: string,
  names: readonly string[],
  outcome: string | null = null,
): Failure {
  const known = names.length === 0 ? 'none' : names.map(visible).join(', ')
  const tail = outcome === null ? '' : `\n  ${outcome}`
  return new Failure(`no server \`${visible(name)}\`; there are: ${known}${tail}`, EXIT.usage)
}

/** Waits until each server is up, or has failed for good and its last words are known. */
export async function serversSettled(daypass: Daypass): Promise<void> {
  await daypass.upstreams.ready(READY_MS)
  for (const until = Date.now() + VERDICT_MS; Date.now() < until; ) {
    const states = Object.values(daypass.upstreams.health()).map(({ state }) => state)
    if (!states.includes('starting')) return
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

/** Owns the project as soon as nobody else does. Returns what gives it up. */
export async function keepOwned(project: Project, daypass: Daypass): Promise<() => Promise<void>> {
  const owner = { url: daypass.localUrl, operatorToken: daypass.operatorToken }
  let release = await own(project.folder, owner)
  let trying: Promise<void> = Promise.resolve()
  const timer = setInterval(() => {
    if (release !== null) return
    trying = trying.then(async () => {
      if (release === null && (await ownerOf(project.folder)) === null) {
        release = await own(project.folder, owner)
      }
    })
  }, OWN_EVERY_MS)
  timer.unref()
  return async () => {
    clearInterval(timer)
    await trying.catch(() => {})
    release?.()
  }
}

/** What is wrong with the servers that are not up; null: nothing. */
export function downServers(
  daypass: Daypass,
  at: { project: { configFile: string }; configText: string },
): string | null {
  const health = Object.entries(hidden(daypass.upstreams.health(), daypass.config))
  const down = health.filter(([, { state }]) => state !== 'up')
  if (down.length === 0) return null
  const up = health.length - down.length
  const rest =
    up === 0
      ? 'no other server is up.'
      : `the other ${up === 1 ? 'server is' : `${up} servers are`} up.`
  return down
    .map(([name, state]) => {
      const { command, line, member } = placeOf(at.configText, name)
      const why = visible(whyDown(state))
      const tail = state.state === 'failed' ? stderrTail(state.stderr) : []
      return [
        `can't reach the ${name} server \`${visible(command)}\` (${why})`,
        ...tail.map((text) => `  | ${visible(text)}`),
        `  ${at.project.configFile}:${line}  servers.${name}.${member}`,
        `  ${rest} Fix it, or start without it: --without ${name}`,
      ].join('\n')
    })
    .join('\n')
}

type Health = ReturnType<Daypass['upstreams']['health']>[string]

/** Why a server is not up, in a few words. */
export function whyDown(health: Health): string {
  if (health.state === 'starting') return health.message ?? 'still starting'
  if (health.state !== 'failed') return health.state
  if (health.exitCode === 127) return 'exit 127: command not found'
  if (health.exitCode === null) return health.message
  return typeof health.exitCode === 'number' ? `exit ${health.exitCode}` : String(health.exitCode)
}

/** The last lines that a server wrote before it died. */
export function stderrTail(stderr: string): string[] {
  return stderr
    .split('\n')
    .filter((line) => line.trim() !== '')
    .slice(-4)
    .map((line) => line.slice(0, 160))
}

/** Where a server is configured, and how it is started or reached. */
export function placeOf(configText: string, server: string) {
  const lines = new LineCounter()
  const document = parseDocument(configText, { lineCounter: lines })
  const member = document.hasIn(['servers', server, 'url']) ? 'url' : 'command'
  const node = document.getIn(['servers', server, member], true)
  const value = isNode(node) ? (node.toJS(document) as unknown) : ''
  const offset = isNode(node) ? (node.range?.[0] ?? 0) : 0
  const command = Array.isArray(value) ? value.join(' ') : String(value)
  return { command, member, line: lines.linePos(offset).line }
}

/**
 * Variables of the environment that the configuration gives to servers: secrets that stay there.
 */
export function secretNames(configText: string): string[] {
  const found = [...configText.matchAll(/(?<!\w)env:([A-Za-z_][A-Za-z0-9_]*)/g)]
  return [...new Set(found.map((match) => match[1]!))]
}
