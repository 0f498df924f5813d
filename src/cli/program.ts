import { Command } from 'commander'
import { VERSION } from '../version.ts'

type Exit = (status: number) => void

// Each command is loaded when it is called: a status bar should not pay for the gateway.

export interface ProgramOptions {
  /** Told the status of a command. */
  readonly exit: Exit
  /** Errors are not written: whoever catches them has another form for them. */
  readonly silent?: boolean
}

/** The command line as commander knows it. */
export function createProgram({ exit, silent = false }: ProgramOptions): Command {
  const program = new Command('daypass')
    .description('Temporary badges for AI agent runs: scoped, watched, dead when the work is done.')
    .version(VERSION, '-V, --version')
    .enablePositionalOptions()
    .showSuggestionAfterError()
    .configureHelp({ helpWidth: 80, sortSubcommands: false })
    .configureOutput({ outputError: (text, write) => silent || write(inOurWords(text)) })
    .exitOverride()
  setupCommands(program, exit)
  runCommands(program, exit)
  answerCommands(program, exit)
  receiptCommands(program, exit)
  program.addHelpText('after', '\nExit statuses: daypass help exit-codes')
  return program
}

/** Commander writes `error: unknown option '--x'`. */
export function inOurWords(text: string): string {
  return text.replace(/^error: /, '').replaceAll("'", '`')
}

const collect = (value: string, before: readonly string[] = []): string[] => [...before, value]

/** Options that every command about a project has. */
function common(command: Command): Command {
  return command
    .option('-c, --config <file>', 'daypass.yaml (default: here or above)')
    .option('--as <person>', 'who you are (default: DAYPASS_USER, git user.email)')
    .option('--json', 'one JSON document on stdout')
}

function setupCommands(program: Command, exit: Exit): void {
  program
    .command('init')
    .description('write daypass.yaml here, with the servers of an existing .mcp.json')
    .option('--json', 'one JSON document on stdout')
    .action(async (options) => exit(await (await import('./init.ts')).init(options)))
  const config = program.command('config').description('daypass.yaml')
  common(config.command('check', { isDefault: true }))
    .description('find every problem of it, of its catalogs and of its templates')
    .action(async (options) => exit(await (await import('./config.ts')).configCheck(options)))
  common(config.command('show'))
    .description('print it as it is in force, without secrets')
    .action(async (options) => exit(await (await import('./config.ts')).configShow(options)))
  common(program.command('doctor'))
    .description('find out why everything is denied')
    .action(async (options) => exit(await (await import('./doctor.ts')).doctor(options)))
  const catalog = program.command('catalog').description('what the tools of your servers touch')
  common(catalog.command('list', { isDefault: true }))
    .description('the catalogs of your servers, and those that ship')
    .action(async (options) => exit(await (await import('./catalog.ts')).catalogList(options)))
  common(catalog.command('check'))
    .description('hold what the servers present against their catalogs')
    .action(async (options) => exit(await (await import('./catalog.ts')).catalogCheck(options)))
  common(catalog.command('pin'))
    .description('show what a server presents beside what was pinned, and accept it')
    .argument('<server.tool>')
    .option('--hash <sha256>', 'accept this definition and no other, without a question')
    .action(async (name: string, options) =>
      exit(await (await import('./catalog-pin.ts')).catalogPin(name, options)),
    )
  common(catalog.command('draft'))
    .description('print a catalog to fill in, from what a server presents')
    .argument('<server>')
    .action(async (name: string, options) =>
      exit(await (await import('./catalog.ts')).catalogDraft(name, options)),
    )
  common(catalog.command('actions'))
    .description('every action that a lease may name')
    .action(async (options) => exit(await (await import('./catalog.ts')).catalogActions(options)))
}

function runCommands(program: Command, exit: Exit): void {
  common(program.command('run'))
    .description('start an agent with a badge, behind the door; print the receipt at the end')
    .usage('[options] -- CMD...')
    .argument('[command...]', 'the agent and its arguments')
    .option('-l, --lease <file>', 'the lease; without it, one is offered')
    .option('-y, --yes', 'approve as yourself, without a question')
    .option('--no-wait', 'exit 3 at once when nobody can be asked here')
    .option('--without <server>', 'leave a server out (repeatable)', collect)
    .option('--draft', 'print a read-only lease for your servers, and do nothing')
    .passThroughOptions()
    .action(async (command: string[], options) =>
      exit(await (await import('./run.ts')).run(command, options)),
    )
  common(program.command('serve'))
    .description('serve the authority and the gateway, for a team; SIGTERM ends it')
    .option('--log <format>', 'json or text (default: text at a terminal)')
    .action(async (options) => exit(await (await import('./serve.ts')).serve(options)))
  common(program.command('sign-in'))
    .description('print a link that signs you in to the pages of daypass serve, once')
    .action(async (options) => exit(await (await import('./sign-in.ts')).signIn(options)))
  common(program.command('mcp'))
    .description('serve MCP on stdin and stdout, for clients that start their servers')
    .option('-l, --lease <file>', 'open a run for this connection')
    .option('-y, --yes', 'approve as yourself, without a question')
    .option('--no-wait', 'exit 3 at once when the lease needs a person')
    .option('--without <server>', 'leave a server out (repeatable)', collect)
    .action(async (options) => exit(await (await import('./mcp.ts')).mcp(options)))
  common(program.command('prompt'))
    .description('show what a lease would ask for')
    .argument('<file>', 'the lease')
    .action(async (file: string, options) =>
      exit(await (await import('./prompt.ts')).prompt(file, options)),
    )
  common(program.command('ps'))
    .description('list the runs')
    .option('-a, --all', 'ended runs too, and why they ended')
    .action(async (options) => exit(await (await import('./ps.ts')).ps(options)))
  common(program.command('show'))
    .description('show one run: what is left of it, what it did last')
    .argument('<run>', 'id or its beginning')
    .option('-a, --all', 'everything it did')
    .action(async (name: string, options) =>
      exit(await (await import('./show.ts')).show(name, options)),
    )
  common(program.command('status'))
    .description('the state of the runs')
    .option('--line', 'one line on stdout, for a status bar')
    .action(async (options) => exit(await (await import('./status.ts')).status(options)))
}

function answerCommands(program: Command, exit: Exit): void {
  const reason = '-r, --reason <text>'
  common(program.command('approve'))
    .description('allow a run, or one call that asks')
    .argument('<run|ask>', 'id or its beginning')
    .option('-y, --yes', 'without a question')
    .action(async (name: string, options) =>
      exit(await (await import('./approve.ts')).approve(name, options)),
    )
  common(program.command('refuse'))
    .description('refuse a run, or one call that asks')
    .argument('<run|ask>', 'id or its beginning')
    .option(reason, 'the agent reads it')
    .action(async (name: string, options) =>
      exit(await (await import('./approve.ts')).refuse(name, options)),
    )
  common(program.command('revoke'))
    .description('end a run now; no call is allowed afterwards')
    .argument('<run>', 'id or its beginning')
    .option(reason, 'for the record')
    .action(async (name: string, options) =>
      exit(await (await import('./revoke.ts')).revoke(name, options)),
    )
  for (const verb of ['suspend', 'resume'] as const) {
    common(program.command(verb))
      .description(verb === 'suspend' ? 'let a run pause' : 'let a suspended run go on')
      .argument('<run>', 'id or its beginning')
      .option(reason, 'for the record')
      .action(async (name: string, options) =>
        exit(await (await import('./approve.ts')).pause(verb, name, options)),
      )
  }
}

function receiptCommands(program: Command, exit: Exit): void {
  common(program.command('receipt'))
    .description('print and save the receipt of a run')
    .argument('<run>', 'id or its beginning')
    .option('-a, --all', 'lists are not cut')
    .action(async (name: string, options) =>
      exit(await (await import('./receipt.ts')).receipt(name, options)),
    )
  common(program.command('explain'))
    .description('answer the seven questions about a run or one of its calls')
    .argument('<run|call>', 'id or its beginning')
    .action(async (name: string, options) =>
      exit(await (await import('./explain.ts')).explain(name, options)),
    )
  common(program.command('verify'))
    .description('check a receipt offline: signature, chain, every decision again')
    .argument('<file>', 'the receipt; a name alone is looked up in .daypass/receipts')
    .option('-k, --key <file>', 'trust this public key and no other')
    .action(async (file: string, options) =>
      exit(await (await import('./verify.ts')).verify(file, options)),
    )
  const trust = program.command('trust').description('keys of others whose receipts you check')
  common(trust.command('add'))
    .description('pin a public key')
    .argument('<file>', 'as `daypass key export` writes it, or PEM')
    .action(async (file: string, options) =>
      exit(await (await import('./trust.ts')).trustAdd(file, options)),
    )
  common(trust.command('list', { isDefault: true }))
    .description('list the pinned keys')
    .action(async (options) => exit(await (await import('./trust.ts')).trustList(options)))
  const key = program.command('key').description('the key that signs your receipts')
  common(key.command('show', { isDefault: true }))
    .description('which key it is, and where')
    .action(async (options) => exit(await (await import('./trust.ts')).keyShow(options)))
  common(key.command('rotate'))
    .description('sign with a new one; what the old one signed stays good')
    .action(async (options) => exit((await import('./trust.ts')).keyRotate(options)))
  common(key.command('export'))
    .description('print the public key, as JSON')
    .option('--name <name>', 'what others call it')
    .action(async (options) => exit(await (await import('./trust.ts')).keyExport(options)))
}
