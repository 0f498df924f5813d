import { createLog, type Log } from '../authority/log.ts'
import { hidden } from '../authority/status.ts'
import { visible } from '../lease-file/printable.ts'
import { type Daypass, startDaypass } from '../server.ts'
import { EXIT, Failure } from './exit.ts'
import { keepOwned, whyDown } from './host.ts'
import { needConfig, signedInPerson } from './project.ts'
import { openTerminal } from './terminal.ts'

/** How long calls in flight may take to end after a signal; then their outcome is unknown. */
const DRAIN_MS = 30_000
/** How often it is looked whether a server came up or went down. */
const HEALTH_MS = 1_000

export interface ServeOptions {
  readonly config?: string
  readonly as?: string
  readonly log?: string
  readonly json?: boolean
}

/**
 * `daypass serve`: the authority and the gateway for a team, in the foreground, until SIGTERM or
 * SIGINT. Then it lets no new call in, waits for those in flight and closes; a second signal does
 * not wait. The status is 4 if the outcome of a call is unknown then.
 */
export async function serve(options: ServeOptions): Promise<number> {
  const terminal = openTerminal()
  const format = options.log ?? (terminal.isTty && options.json !== true ? 'text' : 'json')
  if (format !== 'json' && format !== 'text') {
    throw new Failure(`unknown log format \`${visible(format)}\`; write json or text`, EXIT.usage)
  }
  const project = needConfig(options.config)
  let log: Log = () => {}
  const started = await startDaypass({
    ...{ folder: project.folder, configFile: project.configFile },
    operator: signedInPerson(options.as),
    serve: {
      log: (hide) => {
        log = createLog({ format, write: terminal.say, clock: Date.now, hide })
        return log
      },
    },
  }).catch((error: NodeJS.ErrnoException) => {
    throw new Failure(startWords(error))
  })
  if (!started.ok) throw new Failure(started.error.map(visible).join('\n'), EXIT.usage)
  const daypass = started.value
  const release = await keepOwned(project, daypass)
  const stopped = signalled()
  const health = watchServers(daypass, log)
  if (format === 'text') await announce(daypass, terminal.say)
  log('info', 'listening', { url: daypass.url, local: daypass.localUrl })
  const { signal, again } = await stopped
  clearInterval(health)
  log('info', 'stopping', { signal, inFlight: daypass.door.inFlight })
  const left = await Promise.race([
    daypass.drain(DRAIN_MS),
    again.then(() => daypass.door.inFlight),
  ])
  if (left > 0) log('warn', 'calls with an unknown outcome', { calls: left })
  await release()
  await daypass.close()
  log('info', 'stopped')
  return left > 0 ? EXIT.unknownOutcome : EXIT.ok
}

function startWords(error: NodeJS.ErrnoException): string {
  const { code, message } = error
  if (code === 'EADDRINUSE' || code === 'EADDRNOTAVAIL' || code === 'EACCES') {
    return `can't listen: ${message}\n  write another \`server.listen\` in daypass.yaml`
  }
  return message
}

/** The first signal; `again` resolves with the second. */
function signalled(): Promise<{ signal: string; again: Promise<void> }> {
  const first = Promise.withResolvers<string>()
  const second = Promise.withResolvers<void>()
  let count = 0
  for (const name of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
    process.on(name, () => {
      count++
      if (count === 1) first.resolve(name)
      else second.resolve()
    })
  }
  return first.promise.then((signal) => ({ signal, again: second.promise }))
}

/** Where things are, for the person at the terminal. The link is for eyes, so no log has it. */
async function announce(daypass: Daypass, say: (text: string) => void): Promise<void> {
  say(`Daypass listens at ${daypass.url}`)
  say(`  MCP      ${daypass.url}/mcp`)
  say(`  health   ${daypass.localUrl}/healthz, ${daypass.localUrl}/readyz`)
  const link = await daypass.signInLinks?.make()
  say(`  sign in  ${link?.url ?? `${daypass.url}/sign-in`}`)
  if (link !== undefined) say('           once, within 10 minutes; then: daypass sign-in')
}

/** Tells when a server comes up or goes down. */
function watchServers(daypass: Daypass, log: Log): NodeJS.Timeout {
  const known = new Map<string, string>()
  const look = (): void => {
    for (const [server, health] of Object.entries(daypass.upstreams.health())) {
      const { state } = health
      if (known.get(server) === state) continue
      known.set(server, state)
      const why = state === 'up' ? null : whyDown(hidden(health, daypass.config))
      log(state === 'failed' ? 'warn' : 'info', 'server', { server, state, why })
    }
  }
  look()
  const timer = setInterval(look, HEALTH_MS)
  timer.unref()
  return timer
}
