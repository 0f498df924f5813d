/**
 * The main job, end to end, on real servers: `npm start`. An agent updates a dependency under the
 * lease beside this file; on the way it tries what it may not do. Interactive in a terminal,
 * unattended otherwise. Exits 0 only if every expectation held.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join, relative, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import type { AgentReport } from './agent.ts'
import { type Expectation, expectationsOf } from './expectations.ts'
import { createDemo, demoConfig } from './setup.ts'

const ROOT = resolve(import.meta.dirname, '..', '..')
/**
 * Made anew each time, and left for you to look at. Not in `.daypass`: what lies there is a secret.
 */
const FOLDER = resolve(process.env.DEMO_FOLDER ?? join(ROOT, '.demo'))
/** As over a network: long enough for an eager agent to ask for a second pull request meanwhile. */
const FORGE_LATENCY_MS = 500
const PERSON = 'maintainer@clord.example'

interface Forge {
  readonly url: string
  readonly logFile: string
  readonly process: ChildProcess
}

async function startForge(bare: string, token: string): Promise<Forge> {
  const logFile = join(FOLDER, 'forge.jsonl')
  const file = join(import.meta.dirname, 'forge.ts')
  const words = ['--repo', `clord=${bare}`, '--log', logFile, '--latency', `${FORGE_LATENCY_MS}`]
  const child = spawn(process.execPath, [file, ...words], {
    env: { ...process.env, FORGE_TOKEN: token },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const lines = createInterface({ input: child.stdout })
  const [line] = (await Promise.race([
    once(lines, 'line'),
    once(child, 'exit').then(() => Promise.reject(new Error('the forge did not start'))),
  ])) as [string]
  return { url: (JSON.parse(line) as { url: string }).url, logFile, process: child }
}

/** Runs the CLI of the checkout as a person would, on this terminal. */
async function daypass(
  words: readonly string[],
  env: Record<string, string> = {},
): Promise<number> {
  const cli = join(ROOT, 'src', 'cli', 'main.ts')
  const child = spawn(process.execPath, [cli, ...words], {
    cwd: FOLDER,
    env: { ...process.env, ...env },
    stdio: 'inherit',
  })
  const [code] = (await once(child, 'exit')) as [number | null]
  return code ?? 1
}

function say(text: string): void {
  process.stderr.write(`${text}\n`)
}

async function main(): Promise<number> {
  rmSync(FOLDER, { recursive: true, force: true })
  mkdirSync(FOLDER, { recursive: true })
  const { worktree, bare } = await createDemo(FOLDER)
  const token = randomBytes(16).toString('hex')
  const forge = await startForge(bare, token)
  // Ctrl-C is for the run: it revokes the lease, and this program reports what became of it.
  process.on('SIGINT', () => {})
  try {
    const config = { ...demoConfig({ worktree, forgeUrl: forge.url }), approvals: { self: true } }
    writeFileSync(join(FOLDER, 'daypass.yaml'), JSON.stringify(config, null, 2))
    copyFileSync(join(import.meta.dirname, 'lease.yaml'), join(FOLDER, 'lease.yaml'))
    const reportFile = join(FOLDER, 'report.json')
    const agent = [process.execPath, join(import.meta.dirname, 'agent.ts')]
    const yes = process.stdin.isTTY && process.stderr.isTTY ? [] : ['--yes']
    say('$ daypass run --lease lease.yaml -- node agent.ts\n')
    const ran = await daypass(
      ['run', '--lease', 'lease.yaml', '--as', PERSON, ...yes, '--', ...agent],
      { FORGE_TOKEN: token, DEMO_WORKTREE: worktree, DEMO_REPORT: reportFile },
    )
    const receipts = join(FOLDER, '.daypass', 'receipts')
    const [name] = readdirSync(receipts).filter((file) => file.endsWith('.json'))
    if (name === undefined) throw new Error('no receipt was saved')
    const receiptFile = join(receipts, name)
    say(`\n$ daypass verify ${relative(FOLDER, receiptFile)}\n`)
    const verified = await daypass(['verify', receiptFile])
    return report(
      await expectationsOf({
        ran,
        verified,
        bare,
        report: JSON.parse(readFileSync(reportFile, 'utf8')) as AgentReport,
        receipt: JSON.parse(readFileSync(receiptFile, 'utf8')),
        forgeLog: readFileSync(forge.logFile, 'utf8'),
      }),
    )
  } finally {
    forge.process.kill()
  }
}

function report(expectations: readonly Expectation[]): number {
  say('\nWhat was expected of this run')
  for (const { words, held } of expectations) say(`  ${held ? '+' : 'x'} ${words}`)
  const missed = expectations.filter(({ held }) => !held).length
  say(missed === 0 ? '+ Everything held.' : `x ${missed} did not hold.`)
  say(`Everything that was made is in ${relative(process.cwd(), FOLDER)}.`)
  return missed === 0 ? 0 : 1
}

process.exitCode = await main().catch((error: unknown) => {
  say(`x ${error instanceof Error ? error.message : String(error)}`)
  return 1
})
