import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createDemo, type Demo, demoConfig } from '../../examples/dependency-update/setup.ts'
import { loadVocabulary } from '../../src/catalog/load-vocabulary.ts'
import type { Instant } from '../../src/core/id.ts'
import { DEFAULT_LEASE_LIMITS } from '../../src/lease-file/limits.ts'
import { parseLease } from '../../src/lease-file/parse.ts'
import { connectClient, forgeTransport } from './direct-router.ts'

const ROOT = join(import.meta.dirname, '../..')

let dir: string
let demo: Demo

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'daypass-demo-'))
  demo = await createDemo(join(dir, 'new', 'demo'))
})

afterEach(() => rmSync(dir, { recursive: true, force: true }))

const git = (...args: string[]) =>
  execFileSync('git', ['-C', demo.worktree, ...args], { encoding: 'utf8' }).trim()

test('the repository is clean, on main, pushed, and runs no hook', () => {
  expect(git('status', '--porcelain', '--branch')).toBe('## main...origin/main')
  expect(git('remote', 'get-url', 'origin')).toBe(demo.bare)
  expect(readdirSync(git('config', '--local', 'core.hooksPath'))).toEqual([])
  expect(git('log', '--format=%an <%ae>')).toBe('Maintainer <maintainer@clord.example>')
  expect(git('config', '--local', 'user.name')).toBe('repo-maintenance-agent')
})

test('its tests pass with either version of the dependency', () => {
  for (const version of ['1.2.0', '1.3.0']) {
    const manifest = join(demo.worktree, 'package.json')
    execFileSync('sed', ['-i.old', `s/padding-[0-9.]*\\.js/padding-${version}.js/`, manifest])
    expect(readFileSync(manifest, 'utf8')).toContain(`./vendor/padding-${version}.js`)
    const env = { PATH: process.env.PATH }
    const argv = ['--test', '--test-reporter=tap']
    const out = execFileSync(process.execPath, argv, { cwd: demo.worktree, env, encoding: 'utf8' })
    expect(out).toMatch(/^# pass 3$/m)
  }
})

test('the configuration starts programs that exist and holds no secret', () => {
  const { servers } = demoConfig({ worktree: demo.worktree, forgeUrl: 'http://127.0.0.1:1/mcp' })
  for (const { command } of [servers.filesystem, servers.git]) {
    for (const path of command) expect(existsSync(path), path).toBe(true)
  }
  expect(servers.forge.headers).toEqual({ Authorization: 'Bearer env:FORGE_TOKEN' })
})

test('the lease parses without a complaint', () => {
  const file = join(ROOT, 'examples/dependency-update/lease.yaml')
  const vocabulary = loadVocabulary(readFileSync(join(ROOT, 'catalog/actions.yaml'), 'utf8'))
  const now = Date.parse('2026-06-23T01:42:00Z') as Instant
  const options = { file: 'lease.yaml', vocabulary, now, limits: DEFAULT_LEASE_LIMITS }
  const { terms, problems } = parseLease(readFileSync(file, 'utf8'), options)
  expect(problems).toEqual([])
  expect(terms).toMatchObject({
    agent: 'repo-maintenance-agent',
    user: 'maintainer@clord.example',
    deny: [
      'pull_request.merge',
      'production.deploy',
      'secret.read',
      'billing.write',
      'user.invite',
    ],
    until: ['pull_request.create'],
    limits: { 'pull_request.create': 1 },
    maxToolCalls: 30,
    expiresInSeconds: 1800,
    workSeconds: 1200,
    delegate: null,
    requireReceipt: true,
  })
  // The grants, whichever comes first: work on the agent's branch, and reading main.
  const onMain = terms!.grants.filter((grant) => grant.resources.branches?.includes('main'))
  expect(onMain.map((grant) => grant.actions)).toEqual([['repo.read']])
})

test('the forge starts as its own process, says where, and ends on SIGTERM', async () => {
  const script = join(ROOT, 'examples/dependency-update/forge.ts')
  const child = spawn(process.execPath, [script, '--repo', `clord=${demo.bare}`], {
    env: { PATH: process.env.PATH, FORGE_TOKEN: 'secret' },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const ended = new Promise((resolve) => child.once('exit', (code) => resolve(code)))
  const [line] = (await once(createInterface({ input: child.stdout }), 'line')) as [string]
  const { url } = JSON.parse(line) as { url: string }
  const client = await connectClient(forgeTransport(url, 'secret'))
  const result = await client.callTool({ name: 'list_branches', arguments: { repo: 'clord' } })
  expect(result.isError ?? false).toBe(false)
  await client.close()
  child.kill('SIGTERM')
  expect(await ended).toBe(0)
})

test('the forge does not start without a token', () => {
  const script = join(ROOT, 'examples/dependency-update/forge.ts')
  const start = () =>
    execFileSync(process.execPath, [script], { env: { PATH: process.env.PATH }, stdio: 'pipe' })
  expect(start).toThrow(/no token: set FORGE_TOKEN/)
})
