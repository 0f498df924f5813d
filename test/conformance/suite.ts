import { spawn } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The revisions whose requirements are run. */
export const REVISIONS = ['2025-11-25', '2026-07-28'] as const

export const SUITE = fileURLToPath(
  new URL('../../node_modules/@modelcontextprotocol/conformance/dist/index.js', import.meta.url),
)

/** One run of the suite takes seconds; one that hangs must not hold the tests. */
const RUN_MAX_MS = 120_000

/** A verdict of the suite. */
export interface Check {
  readonly scenario: string
  readonly id: string
  readonly name: string
  readonly status: string
  readonly errorMessage?: string
}

/** Runs everything that a revision requires, pending scenarios and extensions included. */
export async function runSuite(url: string, revision: string): Promise<Check[]> {
  const folder = mkdtempSync(join(tmpdir(), 'daypass-conformance-'))
  try {
    const args = [SUITE, 'server', '--url', url, '--requirements', revision, '-o', folder]
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'pipe'] })
    const stderr: Buffer[] = []
    child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk))
    const timer = setTimeout(() => child.kill('SIGKILL'), RUN_MAX_MS)
    // It exits with 1 when a scored check fails: the checks say which.
    await new Promise((resolve) => child.once('close', resolve))
    clearTimeout(timer)
    const checks = readdirSync(folder)
      .sort()
      .flatMap((name) => readChecks(folder, name))
    if (checks.length === 0) throw new Error(`the suite said nothing: ${Buffer.concat(stderr)}`)
    return checks
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function readChecks(folder: string, name: string): Check[] {
  const scenario = name.replace(/^server-/, '').replace(/-\d{4}-\d\d-\d\dT[\d-]+Z$/, '')
  const checks = JSON.parse(readFileSync(join(folder, name, 'checks.json'), 'utf8')) as Check[]
  return checks.map((check) => ({ ...check, scenario }))
}

/** Everything that two runs are compared by, as one sorted list of lines. */
export function verdicts(checks: readonly Check[]): string[] {
  return checks
    .map(({ scenario, id, name, status }) => `${scenario} ${id} ${name} ${status}`)
    .sort()
}

/** Lines of one list that the other does not have as often. */
export function missing(from: readonly string[], these: readonly string[]): string[] {
  const left = [...these]
  return from.filter((line) => {
    const at = left.indexOf(line)
    if (at >= 0) left.splice(at, 1)
    return at < 0
  })
}
