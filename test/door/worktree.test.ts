import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Client } from '@modelcontextprotocol/client'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createDemo, type Demo, demoConfig } from '../../examples/dependency-update/setup.ts'
import { BRANCH, type House, openHouse, read, until } from './support/house.ts'

/** The real file server and the real git server on one real repository. */
let dir: string
let demo: Demo
let house: House
beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'daypass-worktree-'))
  demo = await createDemo(join(dir, 'demo'))
  const { filesystem, git } = demoConfig({ worktree: demo.worktree, forgeUrl: '' }).servers
  house = await openHouse({ moreServers: { filesystem, git } })
  gitIn('branch', BRANCH)
})
afterAll(async () => {
  await house[Symbol.asyncDispose]()
  rmSync(dir, { recursive: true, force: true })
})

function gitIn(...args: string[]): string {
  return execFileSync('git', ['-C', demo.worktree, ...args], { encoding: 'utf8' }).trim()
}

const onBranch = { repos: ['clord'], branches: [BRANCH] }
const anyBranch = { repos: ['clord'], branches: ['**'] }

function call(client: Client, name: string, args: object) {
  return client.callTool({ name, arguments: { path: demo.worktree, ...args } })
}

test('reads what the lease grants, and no secret, no link out, nothing outside', async () => {
  const opened = await house.open({
    grants: [{ actions: ['repo.read'], resources: anyBranch, where: {} }],
    deny: ['secret.read'],
  })
  const client = await house.client(opened.badge)
  writeFileSync(join(demo.worktree, '.env'), 'TOKEN=canary-file-77')
  writeFileSync(join(dir, 'outside.txt'), 'canary-file-77')
  symlinkSync(join(dir, 'outside.txt'), join(demo.worktree, 'link.txt'))
  const fetchFile = async (path: string) =>
    read(await client.callTool({ name: 'filesystem.read_text_file', arguments: { path } })).text
  expect(await fetchFile(join(demo.worktree, 'package.json'))).toContain('"name"')
  expect(await fetchFile(join(demo.worktree, '.env'))).toContain('(denied_by_lease,')
  const outside = [
    join(demo.worktree, 'link.txt'),
    join(demo.worktree, '..', '..', 'outside.txt'),
    '/etc/passwd',
  ]
  for (const path of outside) {
    const text = await fetchFile(path)
    expect(text).toMatch(/\((?:facts_unsound|no_grant|resource_unresolved),/)
    expect(text).not.toContain('canary-file-77')
  }
})

test('writes on the branch of the lease, and nowhere else', async () => {
  const opened = await house.open({
    grants: [{ actions: ['repo.file.write'], resources: onBranch, where: {} }],
  })
  const client = await house.client(opened.badge)
  const path = join(demo.worktree, 'note.txt')
  const write = () => call(client, 'filesystem.write_file', { path, content: 'hello' })
  gitIn('checkout', '-q', 'main')
  expect(read(await write()).text).toContain('(no_grant,')
  expect(existsSync(path)).toBe(false)
  gitIn('checkout', '-q', BRANCH)
  await write()
  expect(readFileSync(path, 'utf8')).toBe('hello')
  rmSync(path)
})

test('a commit and a checkout do not come between each other', async () => {
  const opened = await house.open({
    grants: [
      { actions: ['repo.commit'], resources: onBranch, where: {} },
      { actions: ['repo.branch.switch', 'repo.read'], resources: anyBranch, where: {} },
    ],
    maxToolCalls: 500,
  })
  const [commits, switches] = [await house.client(opened.badge), await house.client(opened.badge)]
  const main = gitIn('rev-parse', 'main')
  let committed = 0
  let denied = 0
  for (let round = 0; round < 6; round++) {
    gitIn('checkout', '-q', BRANCH)
    const commit = (message: string) =>
      call(commits, 'git.git_commit', { message, allowEmpty: true, noVerify: false })
    const [one, , two] = await Promise.all([
      commit(`one ${round}`),
      call(switches, 'git.git_checkout', { target: 'main' }),
      commit(`two ${round}`),
    ])
    for (const result of [one, two]) {
      if (read(result).text.includes('(no_grant,')) denied += 1
      else if (result.isError !== true) committed += 1
    }
  }
  expect(committed + denied).toBe(12)
  expect(committed).toBeGreaterThan(0)
  // Whatever was let through has landed on the branch that it was let through for.
  expect(gitIn('rev-parse', 'main')).toBe(main)
  expect(Number(gitIn('rev-list', '--count', `main..${BRANCH}`))).toBe(committed)
})

test('64 parallel calls of one tree all make progress, at a price of few appends', async () => {
  const opened = await house.open({ maxToolCalls: 64 })
  const client = await house.client(opened.badge)
  await client.callTool({ name: 'shop.read', arguments: { repo: 'clord' } })
  const commits = async () => {
    const status = (await (await house.api('GET', '/v1/status')).json()) as {
      store: { commits: number }
    }
    return status.store.commits
  }
  const before = await commits()
  const calls = Array.from({ length: 70 }, () =>
    client.callTool({ name: 'shop.read', arguments: { repo: 'clord' } }),
  )
  const texts = (await Promise.all(calls)).map((result) => read(result).text)
  expect(texts.filter((text) => text === 'read clord')).toHaveLength(63)
  expect(texts.filter((text) => /calls_exhausted|Ended/.test(text))).toHaveLength(7)
  await until(async () => (await house.run(opened)).lease!.state === 'ended', 'it ends')
  expect((await house.run(opened)).lease!.spent.calls).toBe(64)
  // One call at a time would be 126 and more.
  expect((await commits()) - before).toBeLessThan(100)
})
