import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { constants } from 'node:os'
import { basename, join } from 'node:path'
import { EXIT } from './exit.ts'

/**
 * On a terminal the agent hears Ctrl-C itself; it is told once more only if it goes on for this
 * long.
 */
const FORWARD_AFTER_MS = 3_000

/** The client configuration that points an agent at the door, and at nothing else. */
export interface McpConfig {
  readonly file: string
  remove(): void
}

/** Writes the configuration. It names the badge, and does not hold it: `${DAYPASS_BADGE}`. */
export function writeMcpConfig(folder: string, url: string): McpConfig {
  const dir = mkdtempSync(join(folder, 'run-'))
  const file = join(dir, 'mcp.json')
  // biome-ignore lint/suspicious/noTemplateCurlyInString: expanded by the MCP client
  const headers = { Authorization: 'Bearer ${DAYPASS_BADGE}' }
  const config = { mcpServers: { daypass: { type: 'http', url: `${url}/mcp`, headers } } }
  writeFileSync(file, `${JSON.stringify(config, null, 2)}\n`, { mode: 0o600 })
  return { file, remove: () => rmSync(dir, { recursive: true, force: true }) }
}

/**
 * The environment of an agent: ours, without anything of Daypass but what is given here, and
 * without the variables that the configuration hands to servers: those secrets stay behind the
 * door.
 */
export function agentEnvironment(
  ours: NodeJS.ProcessEnv,
  given: Readonly<Record<string, string>>,
  secrets: readonly string[],
): NodeJS.ProcessEnv {
  const kept = Object.entries(ours).filter(
    ([name]) => !name.startsWith('DAYPASS_') && !secrets.includes(name),
  )
  return { ...Object.fromEntries(kept), ...given }
}

/** The command line of an agent; Claude Code is told to use no other server than the door. */
export function agentCommand(command: readonly string[], mcpConfig: string): string[] {
  const [program = '', ...args] = command
  if (basename(program) !== 'claude') return [program, ...args]
  return [program, '--mcp-config', mcpConfig, '--strict-mcp-config', ...args]
}

/** An agent that draws on the whole screen is never written into. */
export function ownsScreen(command: readonly string[]): boolean {
  const [program = '', ...args] = command
  const isPrinting = args.some((arg) => arg === '-p' || arg === '--print')
  return basename(program) === 'claude' && !isPrinting
}

export interface ChildOptions {
  readonly command: readonly string[]
  readonly env: NodeJS.ProcessEnv
  /** Where the agent's stdout goes: ours, or stderr when ours belongs to a JSON document. */
  readonly stdout: 'inherit' | 2
  /** The first signal to us: revoke. Resolves when no call can be allowed any more. */
  readonly revoke: (signal: NodeJS.Signals) => Promise<void>
  readonly note: (text: string) => void
}

export interface ChildEnd {
  /** As a shell reports it: its status, or 128 and the signal. */
  readonly exit: number
  readonly words: string
}

/** Runs the agent to its end. The first Ctrl-C or SIGTERM revokes, the second kills. */
export async function runChild(options: ChildOptions): Promise<ChildEnd> {
  const [program = '', ...args] = options.command
  const stdio = ['inherit', options.stdout, 'inherit'] as const
  const child = spawn(program, args, { env: options.env, stdio: [...stdio] })
  const ended = endOf(child, program)
  const timers: NodeJS.Timeout[] = []
  let signals = 0
  const onSignal = (signal: NodeJS.Signals): void => {
    signals++
    if (signals > 1) {
      child.kill('SIGKILL')
      return
    }
    const forward = () => void child.kill(signal)
    // The terminal has sent its Ctrl-C to the agent too: twice would be "stop at once" to many.
    if (signal === 'SIGINT' && process.stdin.isTTY) {
      timers.push(setTimeout(forward, FORWARD_AFTER_MS))
      void options.revoke(signal)
    } else void options.revoke(signal).finally(forward)
  }
  for (const name of SIGNALS) process.on(name, onSignal)
  const end = await ended
  for (const timer of timers) clearTimeout(timer)
  for (const name of SIGNALS) process.off(name, onSignal)
  return end
}

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

function endOf(child: ChildProcess, program: string): Promise<ChildEnd> {
  const { promise, resolve } = Promise.withResolvers<ChildEnd>()
  child.once('error', (error: NodeJS.ErrnoException) => {
    if (child.pid !== undefined) return
    const missing = error.code === 'ENOENT'
    const words = missing ? `\`${program}\` was not found` : `\`${program}\` can't be executed`
    resolve({ exit: missing ? EXIT.notFound : EXIT.notExecutable, words })
  })
  child.once('exit', (code, signal) => {
    if (signal === null) resolve({ exit: code ?? 0, words: `the agent exited with ${code ?? 0}` })
    else resolve({ exit: 128 + constants.signals[signal], words: `${signal} ended the agent` })
  })
  return promise
}
