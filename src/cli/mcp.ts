import { serveStdio } from '../gateway/stdio-server.ts'
import { type Daypass, startDaypass } from '../server.ts'
import { VERSION } from '../version.ts'
import { type ApprovedRun, getApproval } from './approval.ts'
import { bridgeStdio } from './bridge.ts'
import { EXIT, Failure } from './exit.ts'
import { finishRun } from './finish.ts'
import { startHost } from './host.ts'
import { checkRequester } from './lease-input.ts'
import { needConfig, signedInPerson } from './project.ts'
import { type RunOptions, readLease } from './run.ts'
import { openTerminal, type Terminal } from './terminal.ts'

const SERVER_INFO = { name: 'daypass', version: VERSION }

/**
 * `daypass mcp`: an MCP server on stdin and stdout, for clients that start their servers. With a
 * badge in the environment it leads to the door that the badge is for; with a lease it opens a run
 * for this connection; with neither, every call is denied.
 */
export async function mcp(options: RunOptions): Promise<number> {
  const terminal: Terminal = { ...openTerminal(), canAsk: false, columns: 80 }
  const { DAYPASS_BADGE: badge, DAYPASS_URL: url } = process.env
  if (options.lease !== undefined) return serveLease(terminal, options, options.lease)
  if (badge !== undefined && url !== undefined) {
    await bridgeStdio({ url, badge, input: process.stdin, output: process.stdout })
    return EXIT.ok
  }
  if (badge !== undefined) {
    terminal.say('DAYPASS_BADGE is set and DAYPASS_URL is not; every call is denied')
  } else terminal.say('no badge and no lease: every call is denied. Write --lease FILE')
  return serveNobody()
}

/** Answers a client that has no identity, so that it can read why nothing is allowed. */
async function serveNobody(): Promise<number> {
  const started = await startDaypass({
    folder: null,
    configFile: null,
    operator: 'nobody',
    servers: false,
  })
  if (!started.ok) throw new Failure(started.error.join('\n'))
  await using daypass = disposable(started.value)
  await serve(daypass, null)
  return EXIT.ok
}

function disposable(daypass: Daypass): Daypass & AsyncDisposable {
  return { ...daypass, [Symbol.asyncDispose]: () => daypass.close() }
}

async function serve(daypass: Daypass, run: ApprovedRun | null): Promise<void> {
  const principal =
    run === null ? null : { org: run.org, tree: run.tree, run: run.run, session: '' }
  const server = serveStdio(
    daypass.door,
    daypass.upstreams,
    principal,
    process.stdin,
    process.stdout,
    { serverInfo: SERVER_INFO },
  )
  await server.done
}

async function serveLease(terminal: Terminal, options: RunOptions, file: string): Promise<number> {
  const project = needConfig(options.config)
  const person = signedInPerson(options.as)
  const lease = readLease(file, project, person)
  checkRequester(lease, person)
  await using host = await startHost({ project, person, without: options.without ?? [] })
  const { daypass } = host
  const approved = await getApproval({
    ...{ terminal, daypass, person, terms: lease.terms, warnings: lease.warnings },
    template: lease.template,
    client: null,
    yes: options.yes === true,
    wait: options.wait,
  })
  let note = 'the connection ended'
  const onSignal = (signal: NodeJS.Signals): void => {
    note = signal
    const by = { person, via: 'terminal' } as const
    void daypass.authority
      .revoke(approved.run, { by, reason: signal })
      .finally(() => process.stdin.destroy())
  }
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, onSignal)
  await serve(daypass, approved)
  // Refused when the lease has ended before: by its event, its time, or a person.
  await daypass.authority.end(approved.run, { by: { server: 'daypass mcp' }, note })
  const { receipt } = await finishRun({ terminal, daypass, project, key: approved })
  return receipt.body.counts.unknown > 0 ? EXIT.unknownOutcome : EXIT.ok
}
