/**
 * Exit statuses of every command, in one place. `daypass help exit-codes` prints this table. `run`
 * passes on the status of the agent when nothing here applies.
 */
export const EXIT = {
  ok: 0,
  /** It failed, and nothing was done. `verify`: the receipt is tampered with or wrong. */
  failed: 1,
  /** The command, a file or an id is wrong. `verify`: signed by a key that is not pinned. */
  usage: 2,
  /** Nobody has said yes. `verify`: this build cannot compute the receipt again. */
  notApproved: 3,
  /** It is done, and nobody knows the outcome of at least one call. */
  unknownOutcome: 4,
  notExecutable: 126,
  notFound: 127,
} as const

export const EXIT_TABLE = `Exit statuses

  0    done; verify: the receipt is verified
  1    failed, with a reason; verify: tampered with or wrong
  2    the command, a file or an id is wrong; verify: unknown signer
  3    not approved: refused, or nobody answered; verify: can't be computed again
  4    done, but the outcome of at least one call is unknown
  126  run: the agent's program can't be executed
  127  run: the agent's program was not found
  128+ run: the agent was ended by this signal (130: Ctrl-C, 143: SIGTERM)

When none of these applies, run exits with the agent's own status.
`

/**
 * A failure that a person reads: lower case, what is wrong, what to do next. Never a stack trace.
 */
export class Failure extends Error {
  readonly exit: number
  /** For programs: the code of the refusal, if the API gave one. */
  readonly code: string | null

  constructor(message: string, exit: number = EXIT.failed, code: string | null = null) {
    super(message)
    this.name = 'Failure'
    this.exit = exit
    this.code = code
  }
}

/** What `--json` prints when a command fails. */
export interface ErrorDocument {
  readonly error: {
    /** A code of the API such as `run_unknown`, else the meaning of the status. */
    readonly code: string
    /** As people read it; lines after the first say what to do. */
    readonly message: string
    /** The exit status of this process. */
    readonly exit: number
  }
}

const CODES: Readonly<Record<number, string>> = {
  [EXIT.usage]: 'usage',
  [EXIT.notApproved]: 'not_approved',
  [EXIT.notExecutable]: 'not_executable',
  [EXIT.notFound]: 'not_found',
}

/** The document of a failure. */
export function errorDocument({ code, message, exit }: Failure): ErrorDocument {
  return { error: { code: code ?? CODES[exit] ?? 'failed', message, exit } }
}
