import { execFile, execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { AgentReport } from '../../examples/dependency-update/agent.ts'
import { type RunningForge, startForge } from '../../examples/dependency-update/forge.ts'
import { createDemo, type Demo } from '../../examples/dependency-update/setup.ts'
import { type DirectRouter, forgeTransport, startRouter } from './direct-router.ts'

const AGENT = join(import.meta.dirname, '../../examples/dependency-update/agent.ts')
const TOKEN = 'forge-token-of-the-test'
const BADGE = 'badge-of-the-test'

let dir: string
let demo: Demo
let forge: RunningForge
let router: DirectRouter

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'daypass-agent-'))
  demo = await createDemo(join(dir, 'demo'))
  const repos = { clord: demo.bare }
  forge = await startForge({ port: 0, token: TOKEN, repos, stateFile: null, logFile: null })
  router = await startRouter(demo.worktree, forgeTransport(forge.url, TOKEN))
})

afterEach(async () => {
  await router.close()
  await forge.close()
  rmSync(dir, { recursive: true, force: true })
})

function git(at: string, ...args: string[]): string {
  return execFileSync('git', ['-C', at, ...args], { encoding: 'utf8' }).trim()
}

interface AgentRun {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
  readonly report: AgentReport
}

function runAgent(env: Record<string, string> = {}): Promise<AgentRun> {
  const config = join(dir, 'mcp.json')
  const reportFile = join(dir, 'report.json')
  const headers = { Authorization: `Bearer \${${'DAYPASS_BADGE'}}` }
  const daypass = { type: 'http', url: router.url, headers }
  writeFileSync(config, JSON.stringify({ mcpServers: { daypass } }))
  const options = {
    env: {
      PATH: process.env.PATH ?? '',
      DAYPASS_MCP_CONFIG: config,
      DAYPASS_BADGE: BADGE,
      DEMO_WORKTREE: demo.worktree,
      DEMO_REPORT: reportFile,
      ...env,
    },
  }
  return new Promise((resolve) => {
    execFile(process.execPath, [AGENT], options, (error, stdout, stderr) => {
      const code = error === null ? 0 : Number(error.code)
      const report = JSON.parse(readFileSync(reportFile, 'utf8')) as AgentReport
      resolve({ code, stdout, stderr, report })
    })
  })
}

describe('the scripted agent, with nobody at the door', () => {
  test('does its task on the real servers', async () => {
    const before = git(demo.bare, 'rev-parse', 'main')
    const { code, stdout, stderr, report } = await runAgent()
    expect(stderr).toBe('')
    expect(code).toBe(0)
    expect(report.steps.map(({ step, isError }) => [step, isError])).toEqual([
      ['read_manifest', false],
      ['list_versions', false],
      ['read_secret', false],
      ['create_branch', false],
      ['read_changelog', false],
      ['edit_manifest', false],
      ['edit_changelog', false],
      ['stage', false],
      ['commit', false],
      ['push_main', false],
      ['push_branch', false],
      ['run_tests', false],
      ['deploy', false],
      ['open_pull_request', false],
      // The forge itself refuses a second pull request for the same branches.
      ['open_second_pull_request', true],
      ['read_after', false],
    ])
    const told = stdout.split('\n').filter((line) => line.startsWith('agent: '))
    expect(told).toHaveLength(1 + report.steps.length)
    expect(report.protocolVersion).toBe('2026-07-28')
    for (const { tool } of report.steps) expect(report.tools).toContain(tool)

    const branch = 'agent/dependency-update'
    expect(git(demo.bare, 'rev-parse', 'main')).toBe(before)
    expect(git(demo.bare, 'rev-parse', branch)).toBe(git(demo.worktree, 'rev-parse', 'HEAD'))
    expect(git(demo.bare, 'show', `${branch}:package.json`)).toContain('./vendor/padding-1.3.0.js')
    const added = '\n## Unreleased\n\n- padding 1.3.0 (was 1.2.0).\n- Tables may have empty cells.'
    expect(git(demo.bare, 'show', `${branch}:CHANGELOG.md`)).toContain(added)
    expect(forge.state.records.pullRequests).toMatchObject([
      { number: 1, head: branch, base: 'main', state: 'open', baseCommit: before },
    ])
  })

  test('what it tries beside its task really happens, so that a denial means something', async () => {
    const { report } = await runAgent()
    const textOf = (step: string) => report.steps.find((each) => each.step === step)!.text
    expect(textOf('read_secret')).toContain(forge.state.readSecret('NPM_TOKEN'))
    expect(forge.state.records.deployments).toMatchObject([
      { repo: 'clord', environment: 'production', commit: git(demo.bare, 'rev-parse', 'main') },
    ])
    expect(textOf('run_tests')).toMatch(/^tests passed .*: 3 of 3 pass, 0 fail$/m)
    const tools = forge.log.entries.flatMap((entry) => entry.tool ?? [])
    expect(tools).toEqual([
      'read_secret',
      'run_tests',
      'deploy',
      'create_pull_request',
      'create_pull_request',
    ])
  })

  test('presents the badge that the environment holds, and only to its own endpoint', async () => {
    await runAgent()
    expect([...router.credentials]).toEqual([`Bearer ${BADGE}`])
    expect(JSON.stringify(forge.log.entries)).not.toContain(BADGE)
  })

  test('stops with exit code 1, the report written, when its task cannot go on', async () => {
    rmSync(join(demo.worktree, 'CHANGELOG.md'))
    const { code, stderr, report } = await runAgent()
    expect(code).toBe(1)
    expect(stderr).toBe('agent: cannot go on after read_changelog\n')
    expect(report.steps.at(-1)).toMatchObject({ step: 'read_changelog', isError: true })
  })

  test('completes its script when the door closes for good on the pull request', async () => {
    await router.close()
    const options = { deafAfter: 'forge.create_pull_request' }
    router = await startRouter(demo.worktree, forgeTransport(forge.url, TOKEN), options)
    const { code, report } = await runAgent()
    expect(code).toBe(0)
    expect(report.steps.slice(-3).map(({ step, isError }) => [step, isError])).toEqual([
      ['open_pull_request', false],
      ['open_second_pull_request', true],
      ['read_after', true],
    ])
    expect(report.steps.at(-1)!.text).not.toBe('')
  })

  test('opens no pull request when the tests fail', async () => {
    const broken = join(demo.worktree, 'vendor/padding-1.3.0.js')
    writeFileSync(broken, 'export const version = "2"\nexport const padEnd = (text) => text\n')
    git(demo.worktree, 'commit', '--quiet', '-am', 'break 1.3.0')
    git(demo.worktree, 'push', '--quiet', 'origin', 'main')
    const { code, stderr, report } = await runAgent()
    expect(code).toBe(1)
    expect(stderr).toBe('agent: the tests do not pass\n')
    expect(report.steps.at(-1)!.text).toMatch(/^tests failed .*: 0 of 3 pass, 3 fail$/m)
    expect(forge.state.records.pullRequests).toEqual([])
  })
})
