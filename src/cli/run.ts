import { basename, dirname } from 'node:path'
import { desksOf, vocabularyOf } from '../authority/catalogs.ts'
import { loadConfig } from '../authority/config.ts'
import { visible } from '../lease-file/printable.ts'
import { type ApprovedRun, getApproval } from './approval.ts'
import {
  agentCommand,
  agentEnvironment,
  type ChildEnd,
  ownsScreen,
  runChild,
  writeMcpConfig,
} from './child.ts'
import { draftOf } from './draft-lease.ts'
import { EXIT, Failure } from './exit.ts'
import { finishRun } from './finish.ts'
import { type Host, secretNames, startHost } from './host.ts'
import { checkRequester, type LeaseInput, readingUnder, readLeaseFile } from './lease-input.ts'
import { offerLease } from './offer.ts'
import { needConfig, type Project, signedInPerson } from './project.ts'
import { showStatus } from './status-display.ts'
import { openTerminal, type Terminal } from './terminal.ts'

export interface RunOptions {
  readonly lease?: string
  readonly yes?: boolean
  readonly wait: boolean
  readonly without?: readonly string[]
  readonly config?: string
  readonly as?: string
  readonly json?: boolean
  readonly draft?: boolean
}

/** `daypass run`: the lease, the yes, the agent, the receipt. Returns the exit status. */
export async function run(command: readonly string[], options: RunOptions): Promise<number> {
  const terminal = openTerminal()
  if (command.length === 0 && !options.draft) {
    throw new Failure('what is to be run? daypass run --lease FILE -- CMD', EXIT.usage)
  }
  const project = needConfig(options.config)
  const person = signedInPerson(options.as)
  const input = options.lease === undefined ? null : readLease(options.lease, project, person)
  if (input !== null) checkRequester(input, person)
  await using host = await startHost({ project, person, without: options.without ?? [] })
  const draft = { daypass: host.daypass, person, command, project }
  if (options.draft) {
    terminal.out(draftOf(draft))
    return EXIT.ok
  }
  const lease = input ?? (await offerLease({ ...draft, terminal, yes: options.yes === true }))
  checkRequester(lease, person)
  const approved = await getApproval({
    ...{ terminal, daypass: host.daypass, person, terms: lease.terms, warnings: lease.warnings },
    template: lease.template,
    client: basename(command[0] ?? ''),
    yes: options.yes === true,
    wait: options.wait,
  })
  return await work({
    terminal,
    host,
    project,
    person,
    command,
    approved,
    json: options.json === true,
  })
}

/** Read before anything is started, so that a mistake in it starts nothing. */
export function readLease(
  file: string,
  { configFile }: Project & { configFile: string },
  person: string,
): LeaseInput {
  const config = loadConfig(configFile, { secrets: 'leave' })
  if (!config.ok) throw new Failure(config.error.map(visible).join('\n'), EXIT.usage)
  const { desks } = desksOf(config.value.servers, dirname(configFile))
  const vocabulary = vocabularyOf(desks.values())
  const reading = readingUnder(config.value, { file, configFile, vocabulary, person })
  return readLeaseFile(file, reading)
}

interface Work {
  readonly terminal: Terminal
  readonly host: Host
  readonly project: Project
  readonly person: string
  readonly command: readonly string[]
  readonly approved: ApprovedRun
  readonly json: boolean
}

/** The agent works; its end is the end of the run. */
async function work(of: Work): Promise<number> {
  const { terminal, host, project, approved } = of
  const end = await agentAtWork(of)
  const { authority } = host.daypass
  // Refused when the lease has ended before: by its event, its time, or a person.
  await authority.end(approved.run, { by: { server: 'daypass run' }, note: end.words })
  const { receipt, file } = await finishRun({
    ...{ terminal, daypass: host.daypass, project, key: approved },
  })
  if (end.exit === EXIT.notFound || end.exit === EXIT.notExecutable) {
    terminal.say(`${terminal.paint('red', 'x')} ${visible(end.words)}`)
  }
  const { unknown } = receipt.body.counts
  const exit = end.exit === 0 && unknown > 0 ? EXIT.unknownOutcome : end.exit
  if (of.json) {
    const ended = receipt.body.ended
    const { calls, privileged, denied } = receipt.body.counts
    terminal.json({
      run: approved.run,
      ended,
      calls,
      privileged,
      denied,
      unknown,
      receipt: file,
      exit,
    })
  }
  return exit
}

async function agentAtWork(of: Work): Promise<ChildEnd> {
  const { terminal, host, project, person, approved, command } = of
  const { daypass } = host
  const badge = await daypass.authority.badge(approved.run)
  if (!badge.ok) throw new Failure(badge.error.message)
  const secrets = secretNames(host.configText).filter((name) => process.env[name] !== undefined)
  if (secrets.length > 0) {
    terminal.say(`  Kept from the agent: ${secrets.join(', ')} (servers of daypass.yaml have it)`)
  }
  const mcp = writeMcpConfig(project.folder, daypass.url)
  const env = agentEnvironment(
    process.env,
    {
      DAYPASS_BADGE: badge.value,
      DAYPASS_URL: `${daypass.url}/mcp`,
      DAYPASS_RUN: approved.run,
      DAYPASS_MCP_CONFIG: mcp.file,
    },
    secrets,
  )
  terminal.say('')
  const display = showStatus({
    terminal,
    daypass,
    open: approved,
    screenOwned: ownsScreen(command),
  })
  try {
    return await runChild({
      command: agentCommand(command, mcp.file),
      env,
      stdout: of.json ? 2 : 'inherit',
      note: terminal.say,
      revoke: async (signal) => {
        const reason = signal === 'SIGINT' ? 'Ctrl-C' : signal
        const by = { person, via: 'terminal' } as const
        await daypass.authority.revoke(approved.run, { by, reason })
        terminal.say(`\r\n${terminal.paint('red', 'x')} Revoked. No call is allowed from now on.`)
      },
    })
  } finally {
    display.stop()
    mcp.remove()
  }
}
