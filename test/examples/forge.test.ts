import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Client } from '@modelcontextprotocol/client'
import canonicalize from 'canonicalize'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type RunningForge, startForge } from '../../examples/dependency-update/forge.ts'
import { isBranchName } from '../../examples/dependency-update/forge-git.ts'
import { createDemo, type Demo } from '../../examples/dependency-update/setup.ts'
import { connectClient, forgeTransport } from './direct-router.ts'

const TOKEN = 'forge-token-of-the-test'

let dir: string
let demo: Demo
let forge: RunningForge
let client: Client

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'daypass-forge-'))
  demo = await createDemo(join(dir, 'demo'))
  forge = await start()
  client = await connectClient(forgeTransport(forge.url, TOKEN))
})

afterEach(async () => {
  await client.close()
  await forge.close()
  rmSync(dir, { recursive: true, force: true })
})

function start(): Promise<RunningForge> {
  const stateFile = join(dir, 'state.json')
  const repos = { clord: demo.bare }
  return startForge({ port: 0, token: TOKEN, repos, stateFile, logFile: join(dir, 'log.jsonl') })
}

interface Answer {
  readonly isError: boolean
  readonly text: string
  readonly structured: Record<string, unknown>
}

async function call(tool: string, args: Record<string, unknown>): Promise<Answer> {
  const result = await client.callTool({ name: tool, arguments: args })
  const text = result.content.map((block) => (block.type === 'text' ? block.text : '')).join('\n')
  const structured = (result.structuredContent ?? {}) as Record<string, unknown>
  return { isError: result.isError === true, text, structured }
}

function git(...args: string[]): string {
  return execFileSync('git', ['-C', demo.worktree, ...args], { encoding: 'utf8' }).trim()
}

/** A branch with one commit that writes one file, pushed. Leaves the working tree on it. */
function pushBranch(branch: string, file: string, text: string): string {
  git('checkout', '--quiet', '-b', branch, 'main')
  writeFileSync(join(demo.worktree, file), text)
  git('add', '--', file)
  git('commit', '--quiet', '-m', `write ${file}`)
  git('push', '--quiet', 'origin', branch)
  return git('rev-parse', 'HEAD')
}

const remote = (ref: string) => git('ls-remote', 'origin', ref).split('\t')[0]
const draft = { repo: 'clord', head: 'topic', base: 'main', title: 'Topic', body: '' }

describe('tools', () => {
  test('are the same in both protocol eras and in every process', async () => {
    const legacy = await connectClient(forgeTransport(forge.url, TOKEN), 'legacy')
    const again = await start()
    const other = await connectClient(forgeTransport(again.url, TOKEN))
    expect(client.getNegotiatedProtocolVersion()).toBe('2026-07-28')
    expect(legacy.getNegotiatedProtocolVersion()).toBe('2025-11-25')
    const tools = async (of: Client) => canonicalize((await of.listTools()).tools)
    const modern = await tools(client)
    expect(await tools(legacy)).toBe(modern)
    expect(await tools(other)).toBe(modern)
    const names = (await client.listTools()).tools.map((tool) => tool.name)
    expect(names.toSorted()).toEqual([
      'create_pull_request',
      'deploy',
      'get_pull_request',
      'invite_user',
      'list_branches',
      'list_pull_requests',
      'list_users',
      'merge_pull_request',
      'read_secret',
      'run_tests',
    ])
    await legacy.close()
    await other.close()
    await again.close()
  })

  test('answer a legacy client, too', async () => {
    const legacy = await connectClient(forgeTransport(forge.url, TOKEN), 'legacy')
    const result = await legacy.callTool({ name: 'list_branches', arguments: { repo: 'clord' } })
    expect(result.structuredContent).toEqual({
      branches: [{ name: 'main', commit: git('rev-parse', 'main') }],
    })
    await legacy.close()
  })

  test('refuse an argument that they do not know', async () => {
    const answer = await call('create_pull_request', { ...draft, bcc: 'x@example.com' })
    expect(answer).toMatchObject({ isError: true, text: expect.stringContaining('bcc') })
    expect(forge.state.records.pullRequests).toEqual([])
  })

  test('refuse a repository that is not theirs', async () => {
    for (const repo of ['other', '../clord', '__proto__', 'constructor']) {
      expect(await call('list_branches', { repo })).toMatchObject({ isError: true })
    }
  })
})

describe('pull requests', () => {
  test('need a head that exists on the remote', async () => {
    git('checkout', '--quiet', '-b', 'topic')
    const { isError, text } = await call('create_pull_request', draft)
    expect({ isError, text }).toEqual({
      isError: true,
      text: 'clord has no branch `topic` on the remote',
    })
  })

  test('need commits that the base does not have', async () => {
    git('push', '--quiet', 'origin', 'main:topic')
    const { isError, text } = await call('create_pull_request', draft)
    expect({ isError, text }).toEqual({
      isError: true,
      text: 'no commits between main and topic: there is nothing to review',
    })
  })

  test('show what really changed since the branch left its base', async () => {
    const head = pushBranch('topic', 'a b\tc.txt', 'one\ntwo\n')
    git('checkout', '--quiet', 'main')
    writeFileSync(join(demo.worktree, 'README.md'), 'meanwhile\n')
    git('commit', '--quiet', '-am', 'meanwhile')
    git('push', '--quiet', 'origin', 'main')
    const opened = await call('create_pull_request', draft)
    expect(opened.isError).toBe(false)
    expect(opened.structured).toMatchObject({
      number: 1,
      url: 'https://forge.clord.example/clord/pulls/1',
      headCommit: head,
      files: [{ path: 'a b\tc.txt', additions: 2, deletions: 0 }],
      state: 'open',
    })
    const read = await call('get_pull_request', { repo: 'clord', number: 1 })
    expect(read.structured).toEqual(opened.structured)
    const listed = await call('list_pull_requests', { repo: 'clord' })
    expect(listed.structured).toEqual({ pullRequests: [opened.structured] })
  })

  test('exist once for the same branches, also when two calls race', async () => {
    pushBranch('topic', 'a.txt', 'a\n')
    const both = await Promise.all([
      call('create_pull_request', draft),
      call('create_pull_request', { ...draft, title: 'Again' }),
    ])
    expect(both.filter((answer) => answer.isError)).toHaveLength(1)
    expect(forge.state.records.pullRequests).toHaveLength(1)
  })

  test('are merged for real', async () => {
    const head = pushBranch('topic', 'a.txt', 'a\n')
    await call('create_pull_request', draft)
    const base = remote('refs/heads/main')
    const merged = await call('merge_pull_request', { repo: 'clord', number: 1 })
    expect(merged.structured).toMatchObject({
      state: 'merged',
      mergeCommit: remote('refs/heads/main'),
    })
    git('fetch', '--quiet')
    expect(git('show', 'origin/main:a.txt')).toBe('a')
    expect(git('log', '-1', '--format=%P', 'origin/main')).toBe(`${base} ${head}`)
    const again = await call('merge_pull_request', { repo: 'clord', number: 1 })
    expect(again).toMatchObject({ isError: true, text: 'pull request 1 is merged' })
  })

  test('with a conflict are not merged and leave everything as it was', async () => {
    pushBranch('topic', 'README.md', 'mine\n')
    await call('create_pull_request', draft)
    pushBranch('other', 'README.md', 'theirs\n')
    git('push', '--quiet', 'origin', 'other:main')
    const base = remote('refs/heads/main')
    const { isError, text } = await call('merge_pull_request', { repo: 'clord', number: 1 })
    expect(isError).toBe(true)
    expect(text).toMatch(/^git merge failed: .*CONFLICT/s)
    expect(remote('refs/heads/main')).toBe(base)
    expect(forge.state.getPullRequest('clord', 1).state).toBe('open')
  })
})

describe('tests', () => {
  test('run what the branch holds on the remote', async () => {
    const good = await call('run_tests', { repo: 'clord', branch: 'main' })
    expect(good.structured).toMatchObject({
      commit: git('rev-parse', 'main'),
      passed: true,
      tests: 3,
      pass: 3,
      fail: 0,
    })
    pushBranch('bad', 'src/table.js', 'export const table = () => []\n')
    const bad = await call('run_tests', { repo: 'clord', branch: 'bad' })
    expect(bad.isError).toBe(false)
    expect(bad.structured).toMatchObject({ passed: false, tests: 3, pass: 1, fail: 2 })
  })

  test('see nothing of the environment of the forge', async () => {
    process.env.FORGE_TOKEN = TOKEN
    const environment = `import { test } from 'node:test'
const names = Object.keys(process.env).filter((name) => !name.startsWith('NODE_TEST_')).sort()
test('environment', () => { throw new Error(JSON.stringify(names)) })
`
    pushBranch('topic', 'test/environment.test.js', environment)
    const { structured } = await call('run_tests', { repo: 'clord', branch: 'topic' })
    delete process.env.FORGE_TOKEN
    const [, names = '[]'] = /error: '(\[.*\])'/.exec(String(structured.output)) ?? []
    expect(JSON.parse(names)).toEqual(['HOME', 'LC_ALL', 'PATH'])
  })

  test('that flood the output are stopped and have not passed', async () => {
    const flood = `import { test } from 'node:test'
test('flood', async () => { for (;;) await new Promise((r) => process.stdout.write('x'.repeat(65536), r)) })
`
    pushBranch('topic', 'test/flood.test.js', flood)
    const { structured } = await call('run_tests', { repo: 'clord', branch: 'topic' })
    expect(structured.passed).toBe(false)
    expect(String(structured.output).length).toBeLessThanOrEqual(16 * 1024)
  })

  test('that do not exist have proven nothing', async () => {
    git('checkout', '--quiet', '-b', 'topic')
    git('rm', '--quiet', '-r', 'test')
    git('commit', '--quiet', '-m', 'no tests')
    git('push', '--quiet', 'origin', 'topic')
    const { structured } = await call('run_tests', { repo: 'clord', branch: 'topic' })
    expect(structured).toMatchObject({ passed: false, tests: 0 })
  })

  test('leave no checkout behind', async () => {
    const { TMPDIR } = process.env
    const own = join(dir, 'tmp')
    mkdirSync(own)
    process.env.TMPDIR = own
    const { structured } = await call('run_tests', { repo: 'clord', branch: 'main' })
    if (TMPDIR === undefined) delete process.env.TMPDIR
    else process.env.TMPDIR = TMPDIR
    expect(structured.passed).toBe(true)
    expect(readdirSync(own)).toEqual([])
    expect(readdirSync(demo.bare)).not.toContain('worktrees')
  })
})

describe('operations', () => {
  test('deploy, invite and reveal change or show the state', async () => {
    const deployed = await call('deploy', { repo: 'clord', environment: 'production' })
    expect(deployed.structured).toMatchObject({ commit: git('rev-parse', 'main') })
    expect(await call('deploy', { repo: 'clord', environment: 'moon' })).toMatchObject({
      isError: true,
    })
    await call('invite_user', { email: 'new@clord.example', repo: 'clord' })
    const { structured } = await call('list_users', {})
    expect(structured).toEqual({
      users: [
        { email: 'maintainer@clord.example', repos: ['clord'], state: 'member' },
        { email: 'new@clord.example', repos: ['clord'], state: 'invited' },
      ],
    })
    const secret = await call('read_secret', { name: 'NPM_TOKEN' })
    expect(secret.structured.value).toMatch(/^npm_[0-9a-f]{36}$/)
    expect(await call('read_secret', { name: 'OTHER' })).toMatchObject({
      isError: true,
      text: 'no secret `OTHER`',
    })
  })

  test('outlive the process in the state file', async () => {
    await call('invite_user', { email: 'new@clord.example', repo: 'clord' })
    const { value } = (await call('read_secret', { name: 'NPM_TOKEN' })).structured
    const next = await start()
    expect(next.state.listUsers().map((user) => user.email)).toContain('new@clord.example')
    expect(next.state.readSecret('NPM_TOKEN')).toBe(value)
    await next.close()
  })
})

describe('branch names', () => {
  test('that could be an option, a refspec, a revision or a path are refused by every tool', async () => {
    const names = ['--upload-pack=x', '-d', '+main', 'a:main', 'main~1', 'main^{}', '@{-1}', 'HEAD']
    names.push('../main', '/main', 'a//b', 'a..b', 'a.lock', 'a.', 'a b', 'a\nb', 'refs/../x', '')
    for (const name of names) {
      expect(isBranchName(name), name).toBe(false)
      const asBranch = await call('run_tests', { repo: 'clord', branch: name })
      const asHead = await call('create_pull_request', { ...draft, head: name })
      const asBase = await call('create_pull_request', { ...draft, head: 'main', base: name })
      expect([asBranch.isError, asHead.isError, asBase.isError], name).toEqual([true, true, true])
    }
  })

  test('that the forge accepts are names for git', () => {
    const part = fc.string({ unit: fc.constantFrom(...'ab0_.-+@{~^:\\* /'), maxLength: 12 })
    const accepted = fc.sample(part.filter(isBranchName), 150)
    for (const name of accepted) {
      expect(
        () => execFileSync('git', ['check-ref-format', `refs/heads/${name}`]),
        name,
      ).not.toThrow()
    }
  })
})

describe('the door of the forge', () => {
  const post = (headers: Record<string, string>, body: string) =>
    fetch(forge.url, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body,
    })
  const deployCall = JSON.stringify({
    jsonrpc: '2.0',
    id: 1,
    method: 'tools/call',
    params: { name: 'deploy', arguments: { repo: 'clord', environment: 'production' } },
  })

  test('needs the token', async () => {
    expect((await post({}, deployCall)).status).toBe(401)
    for (const authorization of ['Bearer other', TOKEN, `Basic ${TOKEN}`]) {
      expect((await post({ authorization }, deployCall)).status).toBe(401)
    }
    expect((await fetch(new URL('/log', forge.url))).status).toBe(401)
    expect((await fetch(new URL('/state', forge.url))).status).toBe(401)
    expect(forge.state.records.deployments).toEqual([])
  })

  test('refuses a foreign origin, a body too large and a body that is not JSON', async () => {
    const authorization = `Bearer ${TOKEN}`
    const foreign = await post({ authorization, origin: 'https://evil.example' }, deployCall)
    expect(foreign.status).toBe(403)
    expect((await post({ authorization }, `"${'x'.repeat(300_000)}"`)).status).toBe(413)
    expect((await post({ authorization }, '{')).status).toBe(400)
    expect(forge.log.entries.map((entry) => entry.refused).filter(Boolean)).toEqual([403, 413, 400])
    expect(forge.state.records.deployments).toEqual([])
  })

  test('records what came, whole, but no value of a credential', async () => {
    await post({ authorization: 'Bearer some-badge', 'x-forwarded': 'other-badge' }, deployCall)
    const value = forge.state.readSecret('NPM_TOKEN')
    await call('read_secret', { name: 'NPM_TOKEN' })
    const headers = { authorization: `Bearer ${TOKEN}` }
    const response = await fetch(new URL('/log', forge.url), { headers })
    const log = await response.text()
    const entries = JSON.parse(log) as RunningForge['log']['entries']
    expect(entries.find((entry) => entry.refused === 401)!.headers).toMatchObject({
      authorization: expect.stringMatching(/^Bearer sha256:[0-9a-f]{16}$/),
      'x-forwarded': 'other-badge',
    })
    expect(entries.at(-1)).toMatchObject({
      method: 'tools/call',
      tool: 'read_secret',
      params: { arguments: { name: 'NPM_TOKEN' } },
    })
    for (const secret of [TOKEN, 'some-badge', value]) expect(log).not.toContain(secret)
    const lines = readFileSync(join(dir, 'log.jsonl'), 'utf8').trim().split('\n')
    expect(lines.map((line) => JSON.parse(line))).toEqual(entries)
  })
})
