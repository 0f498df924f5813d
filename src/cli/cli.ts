import { CommanderError } from 'commander'
import { EXIT, EXIT_TABLE, Failure } from './exit.ts'
import { createProgram } from './program.ts'
import { openTerminal } from './terminal.ts'

/** Runs one command line. Every failure is words and a status, never a stack trace. */
export async function runProgram(argv: readonly string[]): Promise<number> {
  if (argv[2] === 'help' && argv[3] === 'exit-codes') {
    process.stdout.write(EXIT_TABLE)
    return EXIT.ok
  }
  let status: number = EXIT.ok
  const program = createProgram((given) => {
    status = given
  })
  try {
    await program.parseAsync([...argv])
    return status
  } catch (error) {
    return report(error)
  }
}

function report(error: unknown): number {
  const terminal = openTerminal()
  if (error instanceof Failure) {
    terminal.say(error.message)
    return error.exit
  }
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage
  const message = error instanceof Error ? error.message : String(error)
  terminal.say(`${message}\n  this should not happen; daypass doctor looks at the installation`)
  return EXIT.failed
}
