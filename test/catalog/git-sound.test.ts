import { cpSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import type { Client } from '@modelcontextprotocol/client'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { bindServer } from '../../src/catalog/bindings.ts'
import { classify } from '../../src/catalog/classify.ts'
import type { Facts } from '../../src/core/facts.ts'
import { catalogOf, git, gitServer, scratch } from './servers.ts'

/*
 * Facts against what really happens: each call runs through the real server on a real repository,
 * and whatever changed in refs, HEAD, files, configuration or the remote must be named by the
 * facts.
 */

const catalog = catalogOf('git')
const dir = scratch()
const template = join(dir.path, 'template')
let client: Client
let count = 0

/**
 * main ← topic (one commit more) ← agent/x, which is checked out, with local work of every kind.
 */
function makeTemplate(): void {
  const tree = join(template, 'clord')
  mkdirSync(tree, { recursive: true })
  git(template, 'init', '-q', '--bare', '-b', 'main', 'bare.git')
  git(tree, 'init', '-q', '-b', 'main')
  const commit = (name: string, text: string) => {
    writeFileSync(join(tree, name), text)
    git(tree, 'add', name)
    git(tree, 'commit', '-q', '-m', name)
  }
  commit('a.txt', 'one\n')
  commit('.npmrc', '//registry/:_authToken=canary-tracked\n')
  git(tree, 'tag', 'v1')
  git(tree, 'remote', 'add', 'origin', '../bare.git')
  git(tree, 'push', '-q', 'origin', 'main')
  git(tree, 'checkout', '-q', '-b', 'topic')
  commit('t.txt', 'topic\n')
  git(tree, 'push', '-q', 'origin', 'topic')
  git(tree, 'checkout', '-q', 'main')
  commit('m.txt', 'main only\n')
  git(tree, 'checkout', '-q', '-b', 'agent/x', 'v1')
  commit('x.txt', 'x\n')
  git(tree, 'branch', 'both')
  git(tree, 'tag', 'both')
  writeFileSync(join(tree, 'a.txt'), 'changed\n')
  writeFileSync(join(tree, 'new.txt'), 'untracked\n')
  writeFileSync(join(template, 'outside.txt'), 'canary-outside\n')
}

interface World {
  readonly root: string
  readonly tree: string
}

function world(): World {
  const root = join(dir.path, `w${++count}`)
  cpSync(template, root, { recursive: true })
  return { root, tree: join(root, 'clord') }
}

async function factsOf(tree: string, tool: string, args: object): Promise<Facts> {
  const bind = { worktree: tree, repo: 'clord', remotes: { origin: 'git.example.com' } }
  const server = bindServer('git', bind, catalog)
  if (!server.ok) throw new Error(server.error.join('\n'))
  return classify({
    server: server.value,
    catalog,
    definitionStatus: 'mapped',
    definition: 'x',
    tool,
    args,
    capture: [],
    digestSalt: 's',
  })
}

/** Everything that a call could change, as `what → value`. */
function snapshot({ root, tree }: World): Map<string, string> {
  const found = new Map<string, string>()
  const refs = (cwd: string, as: string) => {
    const text = git(cwd, 'for-each-ref', '--format=%(refname) %(objectname)')
    for (const line of text.split('\n').filter(Boolean)) {
      const [ref, hash] = line.split(' ') as [string, string]
      found.set(`${as} ${ref}`, hash)
    }
  }
  refs(tree, 'local')
  refs(join(root, 'bare.git'), 'remote')
  found.set('HEAD', readFileSync(join(tree, '.git/HEAD'), 'utf8'))
  found.set('index', git(tree, 'ls-files', '--stage'))
  const config = git(tree, 'config', '--local', '--list').split('\n')
  found.set('config', config.filter((line) => !line.startsWith('branch.')).join('\n'))
  for (const file of filesBeneath(root))
    found.set(`file ${file}`, readFileSync(join(root, file), 'utf8'))
  return found
}

function filesBeneath(root: string): string[] {
  return readdirSync(root, { recursive: true })
    .map(String)
    .filter((path) => !/(?:^|\/)(?:\.git|bare\.git)(?:\/|$)/.test(path))
    .filter((path) => statSync(join(root, path)).isFile())
    .map((path) => relative('.', path))
}

/** Whether the facts name a change; this is the reading of them that a person would make. */
function isNamed(facts: Facts, what: string, after: string | undefined): boolean {
  const has = (pattern: RegExp, branch?: string) =>
    facts.touches.some(
      ({ action, resources }) =>
        pattern.test(action) &&
        (branch === undefined || !resources.branches || resources.branches.includes(branch)),
    )
  const [kind, ref = ''] = what.split(' ')
  const branch = /^refs\/heads\/(.+)$/.exec(ref)?.[1]
  if (kind === 'remote') {
    return branch ? has(/^repo\.push(?:\.force|\.delete)?$/, branch) : has(/^repo\.push\.tags$/)
  }
  if (kind === 'local') {
    if (branch) return has(/^repo\.(?:commit|branch\.(?:create|delete)|history\.rewrite)$/, branch)
    if (ref.startsWith('refs/tags/')) return has(/^repo\.(?:tag\.|fetch)/)
    if (ref.startsWith('refs/remotes/')) return has(/^repo\.(?:push|fetch|internals\.write)/)
    return ref === 'refs/stash' && has(/^repo\.(?:file\.write|history\.rewrite)$/)
  }
  if (kind === 'HEAD') {
    const name = /refs\/heads\/(.+)\n/.exec(after ?? '')?.[1]
    return has(/^repo\.branch\.(?:switch|create)$/, name) || has(/^repo\.history\.rewrite$/)
  }
  if (kind === 'config') return has(/^repo\.internals\.write$/)
  if (kind === 'index') return has(/^repo\.(?:commit|file\.|branch\.switch|history\.rewrite)/)
  return ref.startsWith('clord/') && has(/^repo\.(?:file\.|branch\.switch|history\.rewrite)/)
}

beforeAll(async () => {
  makeTemplate()
  client = await gitServer(join(dir.path, 'logs'))
})
afterAll(async () => {
  await client.close()
  dir.remove()
})

/** Actions that the facts must have, `+`: and the call must have succeeded. */
const RUNS: readonly [tool: string, args: Record<string, unknown>, actions: string][] = [
  ['git_status', {}, 'repo.read'],
  ['git_log', {}, 'repo.read'],
  ['git_log', { branch: 'main..topic', patch: true }, 'repo.read'],
  ['git_show', { object: 'HEAD~1' }, 'repo.read'],
  ['git_show', { object: 'HEAD', filePath: '.npmrc' }, 'repo.read secret.read'],
  ['git_diff', {}, 'repo.read'],
  ['git_diff', { source: 'main', target: 'topic', autoExclude: false }, 'repo.read'],
  ['git_diff', { paths: ['.npmrc'] }, 'repo.read secret.read'],
  ['git_diff', { includeUntracked: true, nameOnly: true }, 'repo.read'],
  ['git_blame', { filePath: 'a.txt' }, 'repo.read'],
  ['git_blame', { filePath: '.npmrc' }, 'repo.read secret.read'],
  ['git_reflog', {}, 'repo.read'],
  ['git_changelog_analyze', { reviewTypes: ['gaps'] }, 'repo.read'],
  ['git_branch', {}, 'repo.read'],
  ['git_branch', { mode: 'show-current' }, 'repo.read'],
  ['git_branch', { mode: 'create', branchName: 'agent/y' }, 'repo.branch.create'],
  [
    'git_branch',
    { mode: 'create', branchName: 'agent/y', startPoint: 'topic' },
    'repo.branch.create repo.read',
  ],
  [
    'git_branch',
    { mode: 'create', branchName: 'topic', force: true },
    'repo.branch.create repo.history.rewrite',
  ],
  ['git_branch', { mode: 'delete', branchName: 'topic', force: true }, 'repo.branch.delete'],
  [
    'git_branch',
    { mode: 'rename', branchName: 'agent/x', newBranchName: 'agent/z' },
    'repo.branch.delete repo.branch.create',
  ],
  [
    'git_branch',
    { mode: 'rename', branchName: 'topic', newBranchName: 'main', force: true },
    'repo.branch.delete repo.branch.create repo.history.rewrite',
  ],
  ['git_checkout', { target: 'main' }, 'repo.branch.switch'],
  [
    'git_checkout',
    { target: 'agent/y', createBranch: true },
    'repo.branch.create repo.branch.switch',
  ],
  ['git_checkout', { target: 'topic', force: true }, 'repo.branch.switch repo.history.rewrite'],
  [
    'git_checkout',
    { target: 'HEAD', paths: ['a.txt'] },
    'repo.history.rewrite repo.file.write repo.read',
  ],
  ['git_add', { paths: ['new.txt'] }, 'repo.commit'],
  ['git_add', { paths: ['.'] }, 'repo.commit'],
  ['git_add', { all: true }, 'repo.commit'],
  ['git_add', { update: true }, 'repo.commit'],
  ['git_commit', { message: 'm', filesToStage: ['a.txt'] }, 'repo.commit'],
  ['git_commit', { message: 'm', amend: true }, 'repo.commit repo.history.rewrite'],
  [
    'git_commit',
    { message: 'm', allowEmpty: true, author: { name: 'b', email: 'b@c.de' } },
    'repo.commit',
  ],
  ['git_reset', { mode: 'mixed' }, 'repo.commit'],
  ['git_reset', { mode: 'hard' }, 'repo.history.rewrite repo.file.write'],
  [
    'git_reset',
    { mode: 'soft', target: 'HEAD~1' },
    'repo.history.rewrite repo.file.write repo.read',
  ],
  ['git_stash', {}, 'repo.file.write'],
  ['git_stash', { mode: 'list' }, 'repo.read'],
  ['git_clean', { force: true }, 'repo.file.delete'],
  ['git_clean', { dryRun: true }, 'repo.read'],
  ['git_tag', {}, 'repo.read'],
  ['git_tag', { mode: 'create', tagName: 'v2' }, 'repo.tag.create'],
  [
    'git_tag',
    { mode: 'create', tagName: 'v1', commit: 'topic', force: true, message: 'm' },
    'repo.tag.create repo.read repo.tag.delete',
  ],
  ['git_tag', { mode: 'delete', tagName: 'v1' }, 'repo.tag.delete'],
  ['git_worktree', {}, 'repo.read'],
  ['git_remote', {}, 'repo.read'],
  ['git_remote', { mode: 'set-url', name: 'origin', url: '/elsewhere' }, 'repo.internals.write'],
  [
    'git_remote',
    { mode: 'add', name: 'evil', url: 'https://evil.example/x.git' },
    'repo.internals.write',
  ],
  ['git_fetch', {}, 'repo.fetch'],
  ['git_fetch', { tags: true, prune: true }, 'repo.fetch'],
  ['git_push', { branch: 'agent/x' }, 'repo.push'],
  ['git_push', { branch: 'agent/x', setUpstream: true }, 'repo.push'],
  ['git_push', { branch: 'main' }, 'repo.push'],
  ['git_push', { branch: 'agent/x', remoteBranch: 'refs/heads/agent/y' }, 'repo.push repo.read'],
  ['git_push', { remoteBranch: 'refs/heads/agent/z' }, 'repo.push repo.read'],
  [
    'git_push',
    { branch: 'agent/x', remoteBranch: 'refs/heads/topic', forceWithLease: true },
    'repo.push.force repo.read',
  ],
  ['git_push', { branch: 'agent/x', force: true }, 'repo.push.force'],
  ['git_push', { branch: 'agent/x', tags: true }, 'repo.push repo.push.tags'],
  ['git_push', { branch: 'agent/x', dryRun: true }, 'repo.push'],
  ['git_push', { branch: 'refs/heads/topic', delete: true, confirmed: true }, 'repo.push.delete'],
]

describe('a call changes nothing that its facts do not name', () => {
  test.each(RUNS)('%s %j', async (tool, args, actions) => {
    const here = world()
    if (/merge|rebase|pick/.test(tool)) git(here.tree, 'reset', '-q', '--hard')
    const full = { path: here.tree, ...args }
    const facts = await factsOf(here.tree, tool, full)
    expect(facts.fault).toBeNull()
    expect([...new Set(facts.touches.map((touch) => touch.action))].sort()).toEqual(
      actions.split(' ').sort(),
    )
    const before = snapshot(here)
    const result = await client.callTool({ name: tool, arguments: full })
    expect(result.isError ?? false, JSON.stringify(result.content)).toBe(false)
    const after = snapshot(here)
    for (const what of new Set([...before.keys(), ...after.keys()])) {
      if (before.get(what) === after.get(what)) continue
      expect(isNamed(facts, what, after.get(what)), `${what} changed unnamed`).toBe(true)
    }
  })

  test.each([
    ['git_merge', { branch: 'topic' }, 'repo.commit repo.file.write repo.read'],
    ['git_merge', { branch: 'topic', squash: true }, 'repo.commit repo.file.write repo.read'],
    ['git_cherry_pick', { commits: ['topic'] }, 'repo.commit repo.file.write repo.read'],
    ['git_rebase', { upstream: 'main' }, 'repo.history.rewrite repo.file.write repo.read'],
    [
      'git_rebase',
      { upstream: 'main', branch: 'topic' },
      'repo.history.rewrite repo.file.write repo.branch.switch repo.read',
    ],
    [
      'git_pull',
      { branch: 'main' },
      'repo.fetch repo.commit repo.file.write repo.read repo.history.rewrite',
    ],
    [
      'git_pull',
      { branch: 'main', fastForwardOnly: true },
      'repo.fetch repo.commit repo.file.write repo.read',
    ],
  ] as [string, Record<string, unknown>, string][])(
    'on a clean tree: %s %j',
    async (tool, args, actions) => {
      const here = world()
      git(here.tree, 'reset', '-q', '--hard')
      const full = { path: here.tree, ...args }
      const facts = await factsOf(here.tree, tool, full)
      expect(facts.fault).toBeNull()
      expect([...new Set(facts.touches.map((touch) => touch.action))].sort()).toEqual(
        actions.split(' ').sort(),
      )
      const before = snapshot(here)
      const result = await client.callTool({ name: tool, arguments: full })
      expect(result.isError ?? false, JSON.stringify(result.content)).toBe(false)
      const after = snapshot(here)
      expect(after).not.toEqual(undefined)
      for (const what of new Set([...before.keys(), ...after.keys()])) {
        if (before.get(what) === after.get(what)) continue
        expect(isNamed(facts, what, after.get(what)), `${what} changed unnamed`).toBe(true)
      }
    },
  )
})

/** Calls whose facts cannot be sound, with the words that say why. */
const FAULTS: readonly [tool: string, args: Record<string, unknown>, words: RegExp][] = [
  ['git_push', {}, /name the branch/],
  ['git_push', { branch: 'HEAD' }, /symbolic ref/],
  ['git_push', { branch: 'v1' }, /not a branch of this working tree/],
  ['git_push', { branch: 'origin/main' }, /not a branch of this working tree/],
  ['git_push', { branch: 'both' }, /a branch and a tag/],
  ['git_push', { branch: '+main' }, /forced push/],
  ['git_push', { branch: 'agent/x:main' }, /no branch name has/],
  ['git_push', { branch: 'refs/heads/main' }, /write it as `main`/],
  ['git_push', { branch: 'heads/main' }, /namespace of refs/],
  [
    'git_push',
    { branch: 'agent/x', remoteBranch: 'main' },
    /write the full name, `refs\/heads\/main`/,
  ],
  ['git_push', { branch: 'agent/x', remoteBranch: 'refs/tags/v1' }, /write the full name/],
  ['git_push', { branch: 'topic', delete: true }, /write the full name/],
  ['git_push', { branch: 'agent/x', remote: '../evil.git' }, /not a bound remote/],
  ['git_push', { branch: 'agent/x', remote: 'upstream' }, /not a bound remote: use `origin`/],
  ['git_push', { branch: ['agent/x'] }, /must be string/],
  ['git_push', { branch: null }, /must be string/],
  ['git_push', { branch: 'agent/x', bcc: 'x' }, /`bcc` is not an argument/],
  ['git_push', { branch: 'agent/x', force: 'yes' }, /must be boolean/],
  ['git_checkout', { target: 'a.txt' }, /not a branch/],
  ['git_checkout', { target: '.' }, /not a branch|segment/],
  ['git_checkout', { target: 'v1' }, /not a branch/],
  ['git_checkout', { target: 'agent/y', createBranch: true, track: true }, /track/],
  ['git_branch', { mode: 'create', branchName: 'refs/heads/y' }, /write it as `y`/],
  [
    'git_branch',
    { mode: 'create', branchName: 'y', startPoint: '../x' },
    /no branch, tag or commit/,
  ],
  ['git_branch', { mode: 'create' }, /`branchName` is missing/],
  ['git_diff', { includeUntracked: true }, /not under version control/],
  ['git_diff', { source: '/dev/null', target: '/etc/passwd' }, /no branch, tag or commit/],
  ['git_diff', { paths: ['/dev/null', '/etc/passwd'] }, /relative to the working tree/],
  ['git_diff', { paths: ['../outside.txt'] }, /relative to the working tree/],
  ['git_diff', { source: 'a.txt' }, /no branch, tag or commit/],
  ['git_show', { object: 'HEAD:.npmrc' }, /no branch, tag or commit/],
  ['git_show', { object: 'stash@{0}' }, /no branch, tag or commit/],
  ['git_reflog', { ref: 'expire' }, /no branch, tag or commit/],
  ['git_stash', { includeUntracked: true }, /not under version control/],
  ['git_rebase', { upstream: 'main', interactive: true }, /editor/],
  ['git_rebase', {}, /must name a revision/],
  ['git_worktree', { mode: 'add', worktreePath: '../w' }, /outside/],
  ['git_log', { maxCount: '10' }, /must be integer/],
  ['git_branch', { mode: 'copy' }, /one of `list`/],
]

describe('what cannot be told is a fault', () => {
  test.each(FAULTS)('%s %j', async (tool, args, words) => {
    const here = world()
    const facts = await factsOf(here.tree, tool, { path: here.tree, ...args })
    expect(facts.fault).toMatch(words)
    expect(facts.touches).toEqual([])
  })

  test('the session directory: `path` is given, and is the bound tree', async () => {
    const here = world()
    for (const path of [undefined, '.', here.root, `${here.tree}/`, `${here.tree}/../clord`, 7]) {
      const args = path === undefined ? {} : { path }
      expect((await factsOf(here.tree, 'git_status', args)).fault, String(path)).toMatch(/path/)
    }
    for (const tool of ['git_set_working_dir', 'git_init', 'git_clone']) {
      expect((await factsOf(here.tree, tool, { path: here.tree })).status).toBe('unmapped')
    }
  })

  test('`git_diff` of the real server reads any file on the disk, so the fault is no formality', async () => {
    const here = world()
    const paths = ['/dev/null', join(here.root, 'outside.txt')]
    const args = { path: here.tree, paths, autoExclude: false }
    const result = await client.callTool({ name: 'git_diff', arguments: args })
    expect(JSON.stringify(result.content)).toContain('canary-outside')
    expect((await factsOf(here.tree, 'git_diff', args)).fault).not.toBeNull()
  })

  test('`git_checkout` of the real server throws work away for a name that is a file', async () => {
    const here = world()
    const args = { path: here.tree, target: 'a.txt' }
    await client.callTool({ name: 'git_checkout', arguments: args })
    expect(readFileSync(join(here.tree, 'a.txt'), 'utf8')).toBe('one\n')
    expect((await factsOf(here.tree, 'git_checkout', args)).fault).not.toBeNull()
  })
})

describe('staging is reading', () => {
  test('an untracked secret that a broad `git add` would stage is named; an ignored one is not staged', async () => {
    const here = world()
    writeFileSync(join(here.tree, '.env'), 'A=1')
    const secrets = async (args: object) =>
      (await factsOf(here.tree, 'git_add', { path: here.tree, ...args })).touches.flatMap(
        (t) => t.resources.secrets ?? [],
      )
    expect(await secrets({ all: true })).toEqual(['.env'])
    expect(await secrets({ paths: ['.'] })).toEqual(['.env'])
    expect(await secrets({ paths: ['*'] })).toEqual(['.env'])
    expect(await secrets({ paths: ['.env'] })).toEqual(['.env'])
    expect(await secrets({ paths: ['a.txt'] })).toEqual([])
    writeFileSync(join(here.tree, '.gitignore'), '.env\n')
    expect(await secrets({ all: true })).toEqual([])
    expect(await secrets({ paths: ['.'], force: true })).toEqual(['.env'])
  })

  test('a remote with a password in its URL makes listing remotes a read of a secret', async () => {
    const here = world()
    git(here.tree, 'remote', 'set-url', 'origin', 'https://bot:hunter2@git.example.com/x.git')
    const facts = await factsOf(here.tree, 'git_remote', { path: here.tree })
    expect(facts.touches.map((touch) => touch.action)).toEqual(['repo.read', 'secret.read'])
  })
})
