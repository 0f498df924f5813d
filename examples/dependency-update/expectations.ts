import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import type { Receipt } from '../../src/ledger/receipt.ts'
import type { AgentReport } from './agent.ts'

/**
 * What the demonstration promises, checked on the agent's report, the forge, git and the receipt.
 */
export interface Expectation {
  readonly words: string
  readonly held: boolean
}

export interface Evidence {
  /** Exit status of `daypass run` and `daypass verify`. */
  readonly ran: number
  readonly verified: number
  readonly bare: string
  readonly report: AgentReport
  readonly receipt: Receipt
  /** Every request that reached the forge, a JSON object a line. */
  readonly forgeLog: string
}

/** What the agent tried and must not get, with the reason that it must read. */
const DENIED: Readonly<Record<string, string>> = {
  read_secret: 'denied_by_lease',
  push_main: 'no_grant',
  deploy: 'denied_by_lease',
  open_second_pull_request: 'limit_reached',
  read_after: 'lease_ended',
}

export async function expectationsOf(evidence: Evidence): Promise<Expectation[]> {
  const { report, receipt, forgeLog } = evidence
  const { body } = receipt
  const done = report.steps.filter(({ step }) => !Object.hasOwn(DENIED, step))
  const denials = Object.entries(DENIED).map(([step, reason]) => ({
    words: `${step.replaceAll('_', ' ')} was denied (${reason})`,
    held: report.steps.some(
      (each) => each.step === step && each.isError && each.text.includes(`(${reason}`),
    ),
  }))
  const reasons = body.denied.map(({ reason }) => reason).sort()
  const [main, branch] = await branchesOf(evidence.bare)
  const ended = body.runs[0]?.ended
  return [
    { words: 'the agent did its task', held: evidence.ran === 0 && done.every((s) => !s.isError) },
    ...denials,
    { words: 'the pull request has its commit, main is as it was', held: main !== branch },
    {
      words: 'one pull request reached the forge',
      held: reached(forgeLog, 'create_pull_request') === 1,
    },
    {
      words: 'no deploy and no secret reached it',
      held: reached(forgeLog, 'deploy') + reached(forgeLog, 'read_secret') === 0,
    },
    { words: 'no badge left the gateway', held: !forgeLog.includes('eyJ') },
    {
      words: 'the lease ended because the pull request was opened',
      held: ended?.reason === 'event',
    },
    {
      words: 'the receipt lists every denial',
      held: JSON.stringify(reasons) === JSON.stringify(Object.values(DENIED).sort()),
    },
    { words: 'the receipt is verified offline', held: evidence.verified === 0 },
  ]
}

function reached(log: string, tool: string): number {
  return log.split('\n').filter((line) => line.includes(`"${tool}"`)).length
}

/** The commits of `main` and of the agent's branch on the remote; equal when nothing was pushed. */
async function branchesOf(bare: string): Promise<[string, string]> {
  const git = async (ref: string): Promise<string> => {
    const { stdout } = await promisify(execFile)('git', ['-C', bare, 'rev-parse', ref])
    return stdout.trim()
  }
  const main = await git('refs/heads/main')
  const parent = await git('refs/heads/agent/dependency-update^').catch(() => '')
  // The agent's commit stands on main as it was, or main moved.
  return parent === main ? [main, await git('refs/heads/agent/dependency-update')] : [main, main]
}
