import { existsSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { loadConfig } from '../authority/config.ts'
import type { ToolCheck } from '../catalog/pin.ts'
import type { RunId } from '../core/id.ts'
import { printable, visible } from '../lease-file/printable.ts'
import { type Daypass, type Owner, ownerOf, startDaypass } from '../server.ts'
import { Api } from './api.ts'
import { checkWords, isQuarantined } from './catalog.ts'
import { EXIT, Failure } from './exit.ts'
import { serversSettled, stderrTail, whyDown } from './host.ts'
import { findProject, type Project, signedInPerson } from './project.ts'
import type { ListOptions } from './ps.ts'
import { openTerminal, type Terminal } from './terminal.ts'
import { endWords, leftOf, stateOf } from './words.ts'

const CLOCK_SLACK_MS = 5_000
const REACH_MS = 3_000

type Health = ReturnType<Daypass['upstreams']['health']>

/** One thing that was looked at. `x` explains denials, `!` is worth knowing. */
interface Finding {
  readonly mark: '+' | 'x' | '!'
  readonly about: string
  readonly text: string
  /** What to do. */
  readonly todo: string | null
}

function fine(about: string, text: string): Finding {
  return { mark: '+', about, text, todo: null }
}
function bad(about: string, text: string, todo: string): Finding {
  return { mark: 'x', about, text, todo }
}
function note(about: string, text: string, todo: string | null = null): Finding {
  return { mark: '!', about, text, todo }
}

/** `daypass doctor`: answers "why is everything denied?", from the machine up to the badge. */
export async function doctor(options: ListOptions): Promise<number> {
  const terminal = openTerminal()
  const findings: Finding[] = [fine('node', process.versions.node)]
  const say = (all: readonly Finding[]): void => {
    findings.push(...all)
  }
  const project = lookFor(options, say)
  if (project !== null) {
    say(keyFindings(project))
    await lookInside(project, options, say)
  }
  say(await badgeFindings(project, options))
  const failed = findings.some(({ mark }) => mark === 'x')
  if (options.json) terminal.json({ ok: !failed, findings })
  else print(terminal, findings)
  return failed ? EXIT.failed : EXIT.ok
}

type Say = (findings: readonly Finding[]) => void

function lookFor(options: ListOptions, say: Say): Project | null {
  try {
    const project = findProject(options.config)
    if (project === null) {
      say([bad('config', 'no `daypass.yaml` here or above', 'write one: daypass init')])
      return null
    }
    if (project.configFile === null) {
      say([bad('config', `none beside ${project.folder}`, 'write one: daypass init')])
      return project
    }
    const config = loadConfig(project.configFile)
    if (!config.ok) {
      say(config.error.map((text) => bad('config', visible(text), 'correct it and look again')))
      return project
    }
    const { length } = config.value.servers
    const text = `${project.configFile}, ${length === 1 ? '1 server' : `${length} servers`}`
    say([
      length === 0 ? bad('config', text, 'without servers there is no tool') : fine('config', text),
    ])
    return project
  } catch (error) {
    if (!(error instanceof Failure)) throw error
    say([bad('config', error.message, 'look at --config')])
    return null
  }
}

/** Whoever can read the key can sign receipts and badges. */
function keyFindings({ folder }: Project): Finding[] {
  const files = ['authority.pem', 'secret'].map((name) => join(folder, name))
  const there = files.filter((file) => existsSync(file))
  if (there.length === 0) return [fine('keys', 'none yet; the first run makes them')]
  const open = there.filter((file) => (statSync(file).mode & 0o077) !== 0)
  if (open.length === 0) return [fine('keys', `readable by you only, in ${folder}`)]
  return open.map((file) =>
    bad('keys', `others can read ${file}`, `chmod 600 ${file}, and make a new key if they did`),
  )
}

/**
 * Store, clock, servers and catalogs: of the owner if there is one, else of a process started here.
 */
async function lookInside(project: Project, options: ListOptions, say: Say): Promise<void> {
  const owner = await ownerOf(project.folder)
  if (owner !== null) {
    say([fine('owner', `process ${owner.pid} at ${owner.url}`)])
    await using api = await Api.open(project, signedInPerson(options.as))
    return lookAround(api, project, say)
  }
  const started = await startDaypass({
    folder: project.folder,
    configFile: project.configFile,
    operator: signedInPerson(options.as),
  }).catch((error: unknown) => String(error instanceof Error ? error.message : error))
  if (typeof started === 'string') {
    say([
      bad(
        'store',
        visible(started),
        `look at ${project.folder}; without a store nothing is allowed`,
      ),
    ])
    return
  }
  if (!started.ok) {
    say(started.error.map((text) => bad('servers', visible(text), 'correct daypass.yaml')))
    return
  }
  const daypass = started.value
  try {
    await serversSettled(daypass)
    const { url, operatorToken: token } = daypass
    const here: Owner = { url, token, pid: process.pid }
    await lookAround(Api.of(here, signedInPerson(options.as)), project, say)
  } finally {
    await daypass.close()
  }
}

async function lookAround(api: Api, project: Project, say: Say): Promise<void> {
  const trees = await api.trees({ all: true })
  const open = trees.filter(({ phase }) => phase !== 'closed').length
  say([fine('store', `opens; ${trees.length} run trees, ${open} open`)])
  const status = await api.get<{ now: number; servers: Health }>('/v1/status')
  const last = Math.max(0, ...trees.map(({ at }) => at))
  const behind = last - status.now
  say([
    behind > CLOCK_SLACK_MS
      ? bad('clock', `${leftOf(behind)} behind the last entry`, 'set the clock; leases end by it')
      : fine('clock', new Date(status.now).toISOString()),
  ])
  say(serverFindings(status.servers))
  const { servers } = await api.get<{ servers: Record<string, ToolCheck[]> }>('/v1/catalog')
  for (const [server, checks] of Object.entries(servers)) {
    if (status.servers[server]?.state === 'up') say(catalogFindings(server, checks))
  }
  say(approvalFindings(project))
}

function serverFindings(servers: Health): Finding[] {
  return Object.entries(servers).flatMap(([name, health]): Finding[] => {
    if (health.state !== 'up') {
      const tail = health.state === 'failed' ? stderrTail(health.stderr) : []
      const words = [whyDown(health), ...tail.map((line) => `| ${line}`)].map(visible).join('\n')
      return [bad(`server ${name}`, words, `start its command by hand, or use --without ${name}`)]
    }
    return [
      fine(`server ${name}`, `up, protocol ${health.version}`),
      ...health.notes.map((text) => note(`server ${name}`, visible(text))),
    ]
  })
}

function catalogFindings(server: string, checks: readonly ToolCheck[]): Finding[] {
  const about = `catalog ${server}`
  const mapped = checks.filter(({ status }) => status === 'mapped').length
  const wrong = checks.filter(isQuarantined)
  const flags = checks.flatMap(({ tool, flags }) =>
    flags.map(({ where, words }) => note(about, visible(`${tool}: ${where}: ${words}`))),
  )
  if (mapped === 0) {
    const todo = `write a catalog: daypass catalog draft ${server}`
    return [
      bad(about, `none of ${checks.length} tools is known; denied, unless a lease names one`, todo),
      ...flags,
    ]
  }
  return [
    fine(about, `${mapped} of ${checks.length} tools as pinned`),
    ...wrong.map((check) => note(about, visible(checkWords(server, check)!.slice(2)))),
    ...flags,
  ]
}

function approvalFindings({ configFile }: Project): Finding[] {
  const config = configFile === null ? null : loadConfig(configFile)
  if (!config?.ok || config.value.approvals.self) return []
  return [
    note('approvals', 'nobody can allow what they asked for', 'somebody else: daypass approve'),
  ]
}

/** The badge of this environment, if it is an agent's: whose, and whether its lease lives. */
async function badgeFindings(project: Project | null, options: ListOptions): Promise<Finding[]> {
  const { DAYPASS_BADGE: badge, DAYPASS_URL: url } = process.env
  if (badge === undefined) {
    return [note('badge', 'none in this environment', 'agents get one from daypass run')]
  }
  const claims = claimsOf(badge)
  if (claims === null) {
    return [bad('badge', 'DAYPASS_BADGE is not a badge', 'start the agent with daypass run')]
  }
  const over = claims.exp * 1000 - Date.now()
  const found: Finding[] = [
    over <= 0
      ? bad('badge', `expired ${leftOf(-over)} ago, of ${claims.run}`, 'open a new run')
      : fine('badge', `of ${claims.run}, ${leftOf(over)} left`),
    await reachFinding(url, badge),
  ]
  if (project !== null) found.push(await leaseFinding(project, options, claims.run))
  return found
}

/** What a badge says, unchecked: only to say which one it is. */
function claimsOf(badge: string): { run: RunId; exp: number } | null {
  try {
    const body = Buffer.from(badge.split('.')[1] ?? '', 'base64url').toString('utf8')
    const { run, exp } = JSON.parse(body) as { run?: unknown; exp?: unknown }
    if (typeof run !== 'string' || typeof exp !== 'number') return null
    return { run: printable(run) as RunId, exp }
  } catch {
    return null
  }
}

async function reachFinding(url: string | undefined, badge: string): Promise<Finding> {
  if (url === undefined) return bad('gateway', 'DAYPASS_URL is not set', 'start with daypass run')
  try {
    const headers = { authorization: `Bearer ${badge}` }
    const signal = AbortSignal.timeout(REACH_MS)
    const { status } = await fetch(url, { headers, signal, redirect: 'manual' })
    if (status === 401) return bad('gateway', `${url} does not know the badge`, 'open a new run')
    return fine('gateway', `${url} answers, and knows the badge`)
  } catch {
    return bad('gateway', `${url} does not answer`, 'its daypass run has ended; open a new run')
  }
}

async function leaseFinding(project: Project, options: ListOptions, run: RunId): Promise<Finding> {
  try {
    await using api = await Api.open(project, signedInPerson(options.as))
    const found = await api.show(run)
    const { lease } = found.run
    const { word } = stateOf(found.tree, found.run, Date.now())
    if (lease?.state === 'active' && word !== 'expired') return fine('lease', word)
    const why = lease?.endReason == null ? word : endWords(lease.endReason, lease.endNote)
    return bad('lease', visible(why), 'open a new run')
  } catch (error) {
    if (!(error instanceof Failure)) throw error
    return bad('lease', error.message, 'the badge is of another project')
  }
}

const STYLES = { '+': 'green', x: 'red', '!': 'magenta' } as const
const ABOUT_COLUMNS = 18

function print(terminal: Terminal, findings: readonly Finding[]): void {
  const pad = ' '.repeat(ABOUT_COLUMNS + 2)
  for (const { mark, about, text, todo } of findings) {
    const [first = '', ...rest] = text.split('\n')
    terminal.say(`${terminal.paint(STYLES[mark], mark)} ${about.padEnd(ABOUT_COLUMNS)}${first}`)
    for (const line of rest) terminal.say(pad + line)
    if (todo !== null) terminal.say(`${pad}${todo}`)
  }
  const wrong = findings.filter(({ mark }) => mark === 'x').length
  terminal.say('')
  if (wrong === 0) terminal.say(terminal.paint('bold', 'Nothing here denies everything.'))
  else terminal.say(terminal.paint('bold', `${wrong} found. The first one explains most.`))
}
