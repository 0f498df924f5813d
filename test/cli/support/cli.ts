import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url))
export const MAIN = here('../../../src/cli/main.ts')
export const AGENT = here('./agent.ts')
const PTY_HOST = here('./pty-host.py')
const FILESYSTEM = here(
  '../../../node_modules/@modelcontextprotocol/server-filesystem/dist/index.js',
)
export const MIRA = 'mira@clord.example'
/** A step that waits is given up after this long; machines under load are slow. */
const PATIENCE_MS = 40_000

export interface Ended {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** A process of the CLI under way. Everything that it has printed so far can be waited for. */
export class Running {
  readonly child: ChildProcess
  readonly ended: Promise<Ended>
  stdout = ''
  stderr = ''
  /** Both, in the order in which they came. */
  all = ''

  constructor(child: ChildProcess) {
    this.child = child
    child.stdout?.on('data', (chunk) => {
      this.stdout += chunk
      this.all += chunk
    })
    child.stderr?.on('data', (chunk) => {
      this.stderr += chunk
      this.all += chunk
    })
    this.ended = new Promise((resolve) => {
      child.once('close', (code, signal) => {
        const { stdout, stderr } = this
        this.isOver = true
        resolve({ code: code ?? (signal === null ? -1 : -2), stdout, stderr })
      })
    })
  }

  isOver = false

  type(text: string): void {
    this.child.stdin?.write(text)
  }

  /** Waits until the output, from `from` on, has the text. Returns where it ends. */
  async until(text: string | RegExp, from = 0): Promise<number> {
    for (const start = Date.now(); ; ) {
      const seen = this.all.slice(from)
      const at = typeof text === 'string' ? seen.indexOf(text) : seen.search(text)
      if (at >= 0) return from + at + (typeof text === 'string' ? text.length : 1)
      if (Date.now() - start > PATIENCE_MS || this.isOver) {
        throw new Error(`\`${text}\` never came:\n${this.all}`)
      }
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }
}

/**
 * A folder with a served `work` folder, a configuration and a lease that reads and writes there.
 */
export class Place implements Disposable {
  readonly dir: string
  readonly work: string

  constructor(options: { approvals?: string } = {}) {
    this.dir = realpathSync(mkdtempSync(join(tmpdir(), 'daypass-cli-')))
    this.work = join(this.dir, 'work')
    mkdirSync(this.work)
    this.write('work/a.txt', 'hello\n')
    this.write('work/.env', 'SECRET=1\n')
    this.write(
      'daypass.yaml',
      `version: 1
servers:
  files:
    command: [${process.execPath}, ${FILESYSTEM}, ./work]
    catalog: filesystem
    bind: { roots: [{ path: ./work, name: work }] }
${options.approvals ?? ''}`,
    )
    this.write('lease.yaml', LEASE)
  }

  write(name: string, text: string): string {
    const file = join(this.dir, name)
    writeFileSync(file, text)
    return file
  }

  receipts(): string[] {
    return readdirSync(join(this.dir, '.daypass', 'receipts'))
  }

  /** Starts the CLI with nothing to type: stdin is a pipe that stays open. */
  start(
    args: readonly string[],
    env: Record<string, string> = {},
    { cwd = this.dir }: { readonly cwd?: string } = {},
  ): Running {
    return new Running(
      spawn(process.execPath, [MAIN, ...args], {
        cwd,
        env: { ...cleanEnv(), ...env },
        stdio: ['pipe', 'pipe', 'pipe'],
      }),
    )
  }

  cli(
    args: readonly string[],
    env: Record<string, string> = {},
    options: { readonly cwd?: string } = {},
  ): Promise<Ended> {
    return this.start(args, env, options).ended
  }

  /** Starts the CLI in a pseudo terminal of its own. */
  terminal(
    args: readonly string[],
    options: { columns?: number; env?: Record<string, string> } = {},
  ): Running {
    const size = [String(options.columns ?? 80), '40']
    return new Running(
      spawn('python3', [PTY_HOST, ...size, process.execPath, MAIN, ...args], {
        cwd: this.dir,
        env: { ...cleanEnv(), TERM: 'xterm', ...options.env },
        stdio: ['pipe', 'pipe', 'pipe'],
      }),
    )
  }

  /** The command line of an agent that calls these tools. */
  agent(...steps: string[]): string[] {
    return ['--', process.execPath, AGENT, ...steps]
  }

  /** `files.TOOL` on a file of the work folder. */
  step(tool: string, file: string, more: Record<string, unknown> = {}): string {
    return `files.${tool}=${JSON.stringify({ path: join(this.work, file), ...more })}`
  }

  [Symbol.dispose](): void {
    rmSync(this.dir, { recursive: true, force: true })
  }
}

function cleanEnv(): Record<string, string> {
  const { PATH = '', HOME = '', TMPDIR } = process.env
  return { PATH, HOME, DAYPASS_USER: MIRA, ...(TMPDIR === undefined ? {} : { TMPDIR }) }
}

export const LEASE = `lease:
  agent: looker
  user: ${MIRA}
  purpose: look at files
  actions: [file.read, file.write]
  resources: { paths: ["work/**"] }
  deny: [secret.read]
  expires_in: 10m
  max_tool_calls: 5
  require_receipt: true
`

export const READ_ONLY_LEASE = LEASE.replace(', file.write', '')

/** The text without escape codes and carriage returns, as a person reads it. */
export function plain(text: string): string {
  return (
    text
      // biome-ignore lint/suspicious/noControlCharactersInRegex: that is what is taken out
      .replace(/\x1b\[[0-9;?]*[A-Za-z]|\x1b[78]|\x1b\][^\x07]*\x07/g, '')
      .replaceAll('\r', '')
  )
}
