import { execFile } from 'node:child_process'
import { mkdir, realpath, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)
const require = createRequire(import.meta.url)

export interface Demo {
  /** The folder that holds everything; real path, no symbolic links. */
  readonly dir: string
  /** Working tree of `clord`, on `main`, which the agent works in. */
  readonly worktree: string
  /**
   * Bare repository that is the remote `origin` of the working tree and stands behind the forge.
   */
  readonly bare: string
  readonly repo: 'clord'
  readonly base: 'main'
}

/**
 * A small JavaScript project whose dependency is vendored, so that nothing needs the network: the
 * `imports` of package.json say which version is in use, and its tests run against that one.
 */
const PROJECT: Readonly<Record<string, string>> = {
  'package.json': `{
  "name": "clord",
  "version": "4.1.0",
  "private": true,
  "type": "module",
  "imports": {
    "#padding": "./vendor/padding-1.2.0.js"
  },
  "scripts": {
    "test": "node --test"
  }
}
`,
  'README.md': `# clord

Prints tables. The padding library is vendored: \`vendor/\` holds its releases, and \`imports\` in
package.json names the one in use.
`,
  'CHANGELOG.md': `# Changelog

## Unreleased

- Tables may have empty cells.
`,
  'vendor/padding-1.2.0.js': `export const version = '1.2.0'

export function padEnd(text, columns) {
  return text + ' '.repeat(Math.max(0, columns - text.length))
}
`,
  'vendor/padding-1.3.0.js': `export const version = '1.3.0'

const segmenter = new Intl.Segmenter('en', { granularity: 'grapheme' })

/** Counts what a reader sees as one character as one, where 1.2.0 counted its code units. */
export function padEnd(text, columns) {
  const seen = [...segmenter.segment(text)].length
  return text + ' '.repeat(Math.max(0, columns - seen))
}
`,
  'src/table.js': `import { padEnd } from '#padding'

/** Rows of cells as lines of text, each column as wide as its longest cell. */
export function table(rows) {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)))
  return rows.map((row) => row.map((cell, at) => padEnd(cell, widths[at])).join('  ').trimEnd())
}
`,
  'test/table.test.js': `import assert from 'node:assert/strict'
import { test } from 'node:test'
import { version } from '#padding'
import { table } from '../src/table.js'

test('columns line up', () => {
  assert.deepEqual(table([['name', 'stars'], ['clord', '7']]), ['name   stars', 'clord  7'])
})

test('an empty cell keeps its column', () => {
  assert.deepEqual(table([['', 'b'], ['aa', 'c']]), ['    b', 'aa  c'])
})

test('the padding library is a release of its first major version', () => {
  assert.match(version, /^1\\.\\d+\\.\\d+$/)
})
`,
}

/** The machine's own git configuration (hooks, signing, credential helpers) plays no part. */
const GIT_ENV = { GIT_CONFIG_GLOBAL: '/dev/null', GIT_CONFIG_NOSYSTEM: '1' }

/**
 * Makes the repository `clord`, its remote, and pushes `main`. `dir` is created and must be empty.
 */
export async function createDemo(dir: string): Promise<Demo> {
  await mkdir(dir, { recursive: true })
  const root = await realpath(dir)
  const worktree = join(root, 'clord')
  const bare = join(root, 'clord.git')
  const noHooks = join(root, 'no-hooks')
  await mkdir(noHooks)
  const git = async (...args: string[]) => {
    const env = { PATH: process.env.PATH, ...GIT_ENV }
    await run('git', args, { cwd: root, env })
  }
  await git('init', '--quiet', '--template=', '--bare', '--initial-branch=main', bare)
  await git('init', '--quiet', '--template=', '--initial-branch=main', worktree)
  await git('-C', bare, 'config', 'core.hooksPath', noHooks)
  const config = {
    'core.hooksPath': noHooks,
    'core.autocrlf': 'false',
    'commit.gpgSign': 'false',
    'user.name': 'repo-maintenance-agent',
    'user.email': 'repo-maintenance-agent@clord.example',
  }
  for (const [key, value] of Object.entries(config)) {
    await git('-C', worktree, 'config', key, value)
  }
  for (const [name, text] of Object.entries(PROJECT)) {
    await mkdir(dirname(join(worktree, name)), { recursive: true })
    await writeFile(join(worktree, name), text)
  }
  await git('-C', worktree, 'remote', 'add', 'origin', bare)
  await git('-C', worktree, 'add', '--all')
  const author = ['-c', 'user.name=Maintainer', '-c', 'user.email=maintainer@clord.example']
  await git('-C', worktree, ...author, 'commit', '--quiet', '-m', 'clord 4.1.0')
  await git('-C', worktree, 'push', '--quiet', '--set-upstream', 'origin', 'main')
  return { dir: root, worktree, bare, repo: 'clord', base: 'main' }
}

/** Command that starts the official filesystem server on one directory. */
export function filesystemCommand(dir: string): string[] {
  const script = require.resolve('@modelcontextprotocol/server-filesystem/dist/index.js')
  return [process.execPath, script, dir]
}

/** Command that starts the git server. */
export function gitCommand(): string[] {
  return [process.execPath, require.resolve('@cyanheads/git-mcp-server/index.js')]
}

/**
 * Environment of the git server: confined to the working tree, deaf to the machine's configuration.
 */
export function gitServerEnv(worktree: string): Record<string, string> {
  return {
    ...GIT_ENV,
    MCP_TRANSPORT_TYPE: 'stdio',
    MCP_LOG_LEVEL: 'error',
    GIT_BASE_DIR: worktree,
    GIT_SIGN_COMMITS: 'false',
  }
}

/**
 * What daypass.yaml of the demonstration says. The forge's token stays in the gateway's
 * environment.
 */
export function demoConfig(options: { worktree: string; forgeUrl: string }) {
  const { worktree, forgeUrl } = options
  return {
    servers: {
      filesystem: {
        command: filesystemCommand(worktree),
        catalog: 'filesystem',
        bind: { roots: [{ path: worktree, repo: 'clord' }] },
      },
      git: {
        command: gitCommand(),
        env: gitServerEnv(worktree),
        catalog: 'git',
        bind: { worktree, repo: 'clord', remotes: { origin: 'git.clord.example' } },
      },
      forge: {
        url: forgeUrl,
        headers: { Authorization: 'Bearer env:FORGE_TOKEN' },
        catalog: 'forge',
        bind: { host: 'forge.clord.example' },
      },
    },
  }
}
