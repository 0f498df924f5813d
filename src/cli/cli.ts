import { CommanderError } from 'commander'
import { EXIT, EXIT_TABLE, errorDocument, Failure } from './exit.ts'
import { createProgram, inOurWords } from './program.ts'
import { openTerminal } from './terminal.ts'

/** The one command whose stdout belongs to another protocol. */
const SPEAKS_MCP = 'mcp'

/** Runs one command line. Every failure is words and a status, never a stack trace. */
export async function runProgram(argv: readonly string[]): Promise<number> {
  if (argv[2] === 'help' && argv[3] === 'exit-codes') {
    process.stdout.write(EXIT_TABLE)
    return EXIT.ok
  }
  let status: number = EXIT.ok
  const exit = (given: number): void => {
    status = given
  }
  let form = formOf(argv)
  const program = createProgram({ exit, silent: form !== 'words' })
  // Behind the command of `run`, `--json` is a word of the agent: commander knows, the guess not.
  program.hook('preAction', (_, command) => {
    if (command.opts().json !== true) form = 'words'
  })
  try {
    await program.parseAsync([...argv])
    return status
  } catch (error) {
    return report(error, form)
  }
}

/** How a failure is told: in words, or as a document on stdout, or on stderr. */
type Form = 'words' | 'stdout' | 'stderr'

/** As well as it can be told before the command line is read: it may be wrong. */
function formOf(argv: readonly string[]): Form {
  const end = argv.indexOf('--')
  const own = end < 0 ? argv : argv.slice(0, end)
  if (!own.includes('--json')) return 'words'
  return own[2] === SPEAKS_MCP ? 'stderr' : 'stdout'
}

function report(error: unknown, form: Form): number {
  const terminal = openTerminal()
  const failure = failureOf(error)
  if (failure === null) return EXIT.ok
  if (form === 'stdout') terminal.json(errorDocument(failure))
  else if (form === 'stderr') terminal.say(JSON.stringify(errorDocument(failure)))
  // Commander has said what is wrong with the command line.
  else if (!(error instanceof CommanderError)) terminal.say(failure.message)
  return failure.exit
}

/** Null: nothing went wrong; help or a version was asked for. */
function failureOf(error: unknown): Failure | null {
  if (error instanceof Failure) return error
  if (error instanceof CommanderError) {
    return error.exitCode === 0 ? null : new Failure(inOurWords(error.message), EXIT.usage)
  }
  const message = error instanceof Error ? error.message : String(error)
  const words = `${message}\n  this should not happen; daypass doctor looks at the installation`
  return new Failure(words, EXIT.failed, 'internal')
}
