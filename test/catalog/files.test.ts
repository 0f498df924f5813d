import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import type { Client } from '@modelcontextprotocol/client'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { bindServer, type ServerBinding } from '../../src/catalog/bindings.ts'
import { classify } from '../../src/catalog/classify.ts'
import { isSecretPath } from '../../src/catalog/secrets.ts'
import type { Facts } from '../../src/core/facts.ts'
import { catalogOf, filesystemServer, git, scratch } from './servers.ts'

const catalog = catalogOf('filesystem')
const dir = scratch()
const repo = join(dir.path, 'clord')
const docs = join(dir.path, 'docs')
let server: ServerBinding
let client: Client

function bound(roots: unknown): ServerBinding {
  const binding = bindServer('filesystem', { roots }, catalog)
  if (!binding.ok) throw new Error(binding.error.join('\n'))
  return binding.value
}

async function factsOf(tool: string, args: unknown): Promise<Facts> {
  return classify({
    server,
    catalog,
    definitionStatus: 'mapped',
    definition: 'x',
    tool,
    args,
    capture: [],
    digestSalt: 's',
  })
}

/** `action branch? paths`, one a touch. */
async function lines(tool: string, args: object): Promise<readonly string[]> {
  const facts = await factsOf(tool, args)
  if (facts.fault !== null) return [`fault: ${facts.fault}`]
  return facts.touches.map(({ action, resources, within }) =>
    [
      action,
      ...(resources.branches ?? []),
      ...(resources.secrets ?? resources.paths ?? within.paths ?? ['(all)']),
    ].join(' '),
  )
}

beforeAll(async () => {
  mkdirSync(join(dir.path, 'clord'))
  mkdirSync(join(dir.path, 'clord-evil'))
  writeFileSync(join(dir.path, 'clord-evil/a.txt'), 'evil')
  client = await filesystemServer(dir.path)
})
afterAll(async () => {
  await client.close()
  dir.remove()
})
beforeEach(() => {
  for (const path of [repo, docs]) rmSync(path, { recursive: true, force: true })
  mkdirSync(join(repo, 'src/deep'), { recursive: true })
  mkdirSync(join(docs, 'old'), { recursive: true })
  for (const path of ['a.txt', 'src/b.ts', 'src/deep/c.ts', '.env', 'src/.npmrc'])
    writeFileSync(join(repo, path), `in ${path}\n`)
  for (const path of ['guide.md', 'old/notes.md', 'old/server.pem'])
    writeFileSync(join(docs, path), `in ${path}\n`)
  git(repo, 'init', '-q', '-b', 'agent/x')
  server = bound([{ path: repo, repo: 'clord' }, { path: docs }])
})

describe('what a path means', () => {
  const rows: readonly [
    tool: string,
    args: Record<string, string | string[] | boolean | object[]>,
    touches: string[],
  ][] = [
    ['read_text_file', { path: 'clord/a.txt' }, ['repo.read agent/x a.txt']],
    ['read_text_file', { path: 'clord//src/./b.ts' }, ['repo.read agent/x src/b.ts']],
    ['read_text_file', { path: 'clord/.env' }, ['secret.read .env']],
    ['read_text_file', { path: 'clord/.git/config' }, ['secret.read .git/config']],
    ['read_text_file', { path: 'clord/.git/HEAD' }, ['repo.read (all)']],
    ['read_text_file', { path: 'docs/guide.md' }, ['file.read docs/guide.md']],
    ['read_text_file', { path: 'docs/old/server.pem' }, ['secret.read docs/old/server.pem']],
    [
      'read_multiple_files',
      { paths: ['clord/a.txt', 'clord/src/b.ts', 'clord/.env', 'docs/guide.md'] },
      ['repo.read agent/x a.txt src/b.ts', 'secret.read .env', 'file.read docs/guide.md'],
    ],
    ['get_file_info', { path: 'clord/.env' }, ['secret.read .env']],
    ['list_directory', { path: 'clord' }, ['repo.read agent/x .']],
    ['directory_tree', { path: 'clord/src' }, ['repo.read agent/x src src/deep']],
    ['search_files', { path: 'docs', pattern: '**' }, ['file.read docs docs/old']],
    ['write_file', { path: 'clord/new.txt', content: 'x' }, ['repo.file.write agent/x new.txt']],
    ['write_file', { path: 'clord/.env', content: 'x' }, ['secret.write .env']],
    [
      'write_file',
      { path: 'clord/.git/hooks/pre-commit', content: 'x' },
      ['repo.internals.write (all)'],
    ],
    ['write_file', { path: 'clord/.GIT/config', content: 'x' }, ['repo.internals.write (all)']],
    [
      'write_file',
      { path: 'clord/.husky/pre-commit', content: 'x' },
      ['repo.internals.write (all)', 'repo.file.write agent/x .husky/pre-commit'],
    ],
    [
      'write_file',
      { path: 'clord/daypass.yaml', content: 'x' },
      ['repo.internals.write (all)', 'repo.file.write agent/x daypass.yaml'],
    ],
    [
      'write_file',
      { path: 'clord/.claude/settings.json', content: 'x' },
      ['repo.internals.write (all)', 'repo.file.write agent/x .claude/settings.json'],
    ],
    ['write_file', { path: 'docs/guide.md', content: 'x' }, ['file.write docs/guide.md']],
    [
      'edit_file',
      { path: 'clord/a.txt', edits: [] },
      ['repo.read agent/x a.txt', 'repo.file.write agent/x a.txt'],
    ],
    ['edit_file', { path: 'clord/a.txt', edits: [], dryRun: true }, ['repo.read agent/x a.txt']],
    ['edit_file', { path: 'clord/.env', edits: [], dryRun: true }, ['secret.read .env']],
    ['create_directory', { path: 'clord/p/q/r' }, ['repo.file.write agent/x p p/q p/q/r']],
    [
      'move_file',
      { source: 'clord/a.txt', destination: 'clord/z.txt' },
      [
        'repo.read agent/x a.txt',
        'repo.file.delete agent/x a.txt',
        'repo.file.write agent/x z.txt',
      ],
    ],
    [
      'move_file',
      { source: 'clord/.env', destination: 'clord/plain.txt' },
      ['secret.read .env', 'secret.write .env', 'repo.file.write agent/x plain.txt'],
    ],
    [
      'move_file',
      { source: 'docs/guide.md', destination: 'clord/guide.md' },
      ['file.read docs/guide.md', 'file.delete docs/guide.md', 'repo.file.write agent/x guide.md'],
    ],
    ['list_allowed_directories', {}, ['repo.read agent/x .', 'file.read docs']],
  ]
  test.each(rows)('%s %j', async (tool, args, touches) => {
    const under = (value: unknown) =>
      typeof value === 'string' && /^(?:clord|docs)/.test(value)
        ? join(dir.path, '/') + value
        : value
    const full = Object.fromEntries(
      Object.entries(args).map(([name, value]) => [
        name,
        Array.isArray(value) ? value.map(under) : under(value),
      ]),
    )
    expect(await lines(tool, full)).toEqual(touches)
  })

  test('a hook is code: writing where git runs hooks from is a write of internals', async () => {
    git(repo, 'config', 'core.hooksPath', '.githooks')
    const write = (path: string) => lines('write_file', { path: join(repo, path), content: '' })
    expect(await write('.githooks/pre-commit')).toContain('repo.internals.write (all)')
    expect(await write('.githooks-other/x')).not.toContain('repo.internals.write (all)')
    git(repo, 'config', 'core.hooksPath', '/usr/share/hooks')
    expect(await write('.githooks/pre-commit')).not.toContain('repo.internals.write (all)')
  })

  test('moving a folder moves the secrets in it', async () => {
    const found = await lines('move_file', {
      source: join(repo, 'src'),
      destination: join(repo, 'lib'),
    })
    expect(found).toContain('secret.read src/.npmrc')
    expect(found).toContain('repo.file.write agent/x lib lib/b.ts lib/deep lib/deep/c.ts')
    expect(await lines('move_file', { source: repo, destination: join(docs, 'x') })).toEqual([
      expect.stringMatching(/^fault: .*itself/),
    ])
  })

  test('a repository inside of a plain root is judged by its own binding, whatever the order', async () => {
    server = bound([
      { path: dir.path, name: 'all' },
      { path: repo, repo: 'clord' },
    ])
    expect(await lines('read_text_file', { path: join(repo, 'a.txt') })).toEqual([
      'repo.read agent/x a.txt',
    ])
    expect(await lines('read_text_file', { path: join(docs, 'guide.md') })).toEqual([
      'file.read all/docs/guide.md',
    ])
    server = bound([{ path: dir.path, name: 'all' }])
    expect((await lines('read_text_file', { path: join(repo, '.git/HEAD') }))[0]).toMatch(
      /bind its working tree/,
    )
  })

  test('a tree too large to be judged folder by folder is the whole repository, or nothing', async () => {
    for (const root of [repo, docs]) {
      for (let i = 0; i < 300; i++) mkdirSync(join(root, `many/d${i}`), { recursive: true })
    }
    expect(await lines('directory_tree', { path: join(repo, 'many') })).toEqual([
      'repo.read agent/x (all)',
    ])
    expect((await lines('directory_tree', { path: docs }))[0]).toMatch(/fault: .*too many folders/)
  })
})

describe('what is refused', () => {
  const rows: readonly [what: string, path: string, words: RegExp][] = [
    ['threat 1: a `..` segment', 'clord/src/../../docs/guide.md', /`\.\.`/],
    ['threat 1: even inside', 'clord/src/../a.txt', /`\.\.`/],
    ['threat 2: encoded dots', 'clord/%2e%2e/docs', /percent|encoded/],
    ['threat 3: /clord-evil against /clord', 'clord-evil/a.txt', /is in no bound folder/],
    ['threat 5: backslash', 'clord\\a.txt', /unsafe characters/],
    ['threat 5: trailing dot', 'clord/a.txt.', /trailing dot/],
    ['threat 5: trailing space', 'clord/a.txt ', /space/],
    ['threat 5: parameter', 'clord/a.txt;x', /`;`/],
    ['threat 6: NUL', 'clord/a\0.txt', /unsafe characters/],
    ['threat 6: newline', 'clord/a\n.txt', /unsafe characters/],
    ['threat 7: full-width dots', 'clord/．．/docs', /looks like/],
    ['threat 7: zero width', 'clord/a\u200b.txt', /invisible/],
  ]
  test.each(rows)('%s', async (_, path, words) => {
    const facts = await factsOf('read_text_file', { path: `${dir.path}/${path}` })
    expect(facts.fault).toMatch(words)
  })

  test.each(['a.txt', './a.txt', '~/a.txt', '', 'file:///etc/passwd'])(
    'a relative path: %j',
    async (path) => {
      expect((await factsOf('read_text_file', { path })).fault).toMatch(/absolute/)
    },
  )

  test('threat 4: symlinks count as what they point to, at the moment of use', async () => {
    symlinkSync('/etc', join(repo, 'etc'))
    symlinkSync(join(repo, '.env'), join(repo, 'harmless.txt'))
    symlinkSync(join(repo, '.git'), join(repo, 'plain'))
    symlinkSync(join(dir.path, 'nowhere'), join(repo, 'dangling'))
    symlinkSync('loop', join(repo, 'loop'))
    expect((await factsOf('read_text_file', { path: join(repo, 'etc/passwd') })).fault).toMatch(
      /symlink/,
    )
    expect(await lines('read_text_file', { path: join(repo, 'harmless.txt') })).toEqual([
      'secret.read .env',
    ])
    expect(await lines('write_file', { path: join(repo, 'plain/hooks/x'), content: '' })).toEqual([
      'repo.internals.write (all)',
    ])
    expect(
      (await factsOf('write_file', { path: join(repo, 'dangling'), content: '' })).fault,
    ).toMatch(/leads nowhere/)
    expect(
      (await factsOf('write_file', { path: join(repo, 'dangling/x'), content: '' })).fault,
    ).not.toBeNull()
    expect((await factsOf('read_text_file', { path: join(repo, 'loop') })).fault).toMatch(/ELOOP/)
    renameSync(join(repo, 'src'), join(repo, 'moved'))
    symlinkSync(docs, join(repo, 'src'))
    expect(await lines('read_text_file', { path: join(repo, 'src/guide.md') })).toEqual([
      'file.read docs/guide.md',
    ])
  })

  test('threat 4: a bound folder that was replaced by a link', async () => {
    renameSync(docs, join(dir.path, 'gone'))
    symlinkSync('/etc', docs)
    expect((await factsOf('read_text_file', { path: join(docs, 'passwd') })).fault).toMatch(
      /symlink/,
    )
    rmSync(docs)
    rmSync(join(dir.path, 'gone'), { recursive: true })
  })

  test('threat 7: a name that differs from an existing one only by its Unicode form', async () => {
    symlinkSync(join(repo, '.env'), join(repo, 'caf\u0065\u0301'))
    const path = join(repo, 'caf\u00e9')
    expect((await factsOf('read_text_file', { path })).fault).toMatch(/Unicode form/)
    // Why: the real server follows the other name.
    const result = await client.callTool({ name: 'read_text_file', arguments: { path } })
    expect(JSON.stringify(result.content)).toContain('in .env')
  })

  test('a detached HEAD has no branch', async () => {
    writeFileSync(join(repo, '.git/HEAD'), `${'a'.repeat(40)}\n`)
    expect((await factsOf('read_text_file', { path: join(repo, 'a.txt') })).fault).toMatch(
      /detached HEAD/,
    )
    rmSync(join(repo, '.git'), { recursive: true })
    expect((await factsOf('read_text_file', { path: join(repo, 'a.txt') })).fault).toMatch(
      /working tree/,
    )
  })
})

describe('against the running server: what changes on disk is what the facts name', () => {
  const calls: readonly [tool: string, args: Record<string, unknown>][] = [
    ['read_text_file', { path: 'clord/a.txt' }],
    ['read_media_file', { path: 'clord/a.txt' }],
    ['read_multiple_files', { paths: ['clord/a.txt'] }],
    ['get_file_info', { path: 'clord/a.txt' }],
    ['list_directory', { path: 'clord' }],
    ['list_directory_with_sizes', { path: 'clord' }],
    ['directory_tree', { path: 'clord/src' }],
    ['search_files', { path: 'clord', pattern: '**/*.ts' }],
    ['write_file', { path: 'clord/new.txt', content: 'x' }],
    ['write_file', { path: 'clord/a.txt', content: 'x' }],
    ['edit_file', { path: 'clord/a.txt', edits: [{ oldText: 'in', newText: 'out' }] }],
    [
      'edit_file',
      { path: 'clord/a.txt', edits: [{ oldText: 'in', newText: 'out' }], dryRun: true },
    ],
    ['create_directory', { path: 'clord/p/q' }],
    ['move_file', { source: 'clord/src', destination: 'clord/lib' }],
    ['move_file', { source: 'docs/guide.md', destination: 'clord/guide.md' }],
  ]
  test.each(calls)('%s %j', async (tool, args) => {
    const under = (value: unknown) =>
      typeof value === 'string' && /^(?:clord|docs)/.test(value) ? join(dir.path, value) : value
    const full = Object.fromEntries(
      Object.entries(args).map(([name, value]) => [
        name,
        Array.isArray(value) && name === 'paths' ? value.map(under) : under(value),
      ]),
    )
    const facts = await factsOf(tool, full)
    expect(facts.fault).toBeNull()
    const named = new Set(
      facts.touches
        .filter((touch) => touch.effect !== 'read')
        .flatMap(({ resources, within }) => [
          ...(within.paths ?? []).map((path) => `clord/${path}`),
          ...(resources.secrets ?? []).map((path) => `clord/${path}`),
          ...(resources.paths ?? []),
        ]),
    )
    const before = snapshot()
    const result = await client.callTool({ name: tool, arguments: full })
    expect(result.isError ?? false, JSON.stringify(result.content)).toBe(false)
    const after = snapshot()
    for (const path of new Set([...before.keys(), ...after.keys()])) {
      if (before.get(path) !== after.get(path)) expect([...named], path).toContain(path)
    }
  })
})

function snapshot(): Map<string, string> {
  const found = new Map<string, string>()
  for (const path of readdirSync(dir.path, { recursive: true }).map(String)) {
    const file = join(dir.path, path)
    found.set(path, statSync(file).isFile() ? readFileSync(file, 'utf8') : 'folder')
  }
  return found
}

describe('bindings', () => {
  test.each([
    ['nothing', {}, /needs `bind.roots`/],
    ['relative', { roots: [{ path: 'clord', repo: 'clord' }] }, /absolute path/],
    ['absent', { roots: [{ path: '/nowhere/at/all' }] }, /does not exist/],
    ['unknown member', { roots: [{ path: '/tmp' }], worktre: '/tmp' }, /means nothing/],
    ['unknown member of a root', { roots: [{ path: '/tmp', repos: 'x' }] }, /a root is/],
    [
      'two of one name',
      {
        roots: [
          { path: '/tmp', name: 'a' },
          { path: '/usr', name: 'a' },
        ],
      },
      /two roots/,
    ],
    ['no list', { roots: '/tmp' }, /must be a list/],
    ['no map', [], /must be a map/],
  ])('%s', (_, bind, words) => {
    const binding = bindServer('filesystem', bind, catalog)
    expect(binding.ok ? 'ok' : binding.error.join('\n')).toMatch(words)
  })
  test('names of servers are plain', () => {
    expect(bindServer('Git.Hub', { roots: [{ path: '/tmp' }] }, catalog).ok).toBe(false)
    const forge = catalogOf('forge')
    expect(bindServer('forge', { host: 'forge.example.com' }, forge).ok).toBe(true)
    expect(bindServer('forge', {}, forge).ok).toBe(false)
    expect(bindServer('forge', { host: 'https://x/y' }, forge).ok).toBe(false)
  })
})

test('secrets by name', () => {
  const secret =
    '.env .env.local .envrc a/.ENV x.pem K.KEY .npmrc a/.git-credentials id_rsa id_ed25519 .ssh/config .aws/credentials service-account-prod.json terraform.tfstate'
  const plain =
    '.env.example env.ts environment README.md key.ts id_rsa.pub src/secrets.ts package.json npmrc'
  expect(secret.split(' ').filter((path) => !isSecretPath(path))).toEqual([])
  expect(plain.split(' ').filter((path) => isSecretPath(path))).toEqual([])
})

test('a folder that cannot be listed is a fault, not an empty folder', async () => {
  if (process.getuid?.() === 0) {
    // Root reads everything; a file in place of the folder gives the same error path.
    expect((await factsOf('directory_tree', { path: join(repo, 'a.txt/x') })).fault).toMatch(
      /cannot be resolved/,
    )
    return
  }
  chmodSync(join(docs, 'old'), 0)
  expect((await factsOf('directory_tree', { path: docs })).fault).not.toBeNull()
  chmodSync(join(docs, 'old'), 0o755)
})

describe("Daypass's own files", () => {
  const guard = (path: string, secret: boolean) => ({ real: join(repo, path), secret })
  const guarded = () => ({
    ...bound([{ path: repo, repo: 'clord' }]),
    guarded: [guard('.daypass', true), guard('catalogs/own.yaml', false)],
  })
  const faultOf = async (tool: string, args: object) => {
    const facts = await classify({
      ...{ server: guarded(), catalog, definitionStatus: 'mapped', definition: 'x', tool, args },
      ...{ capture: [], digestSalt: 's' },
    })
    return facts.fault
  }

  test('are not changed by any run, and what is secret is not read', async () => {
    mkdirSync(join(repo, '.daypass'), { recursive: true })
    mkdirSync(join(repo, 'catalogs'), { recursive: true })
    const own = /Daypass's own/
    const path = (name: string) => ({ path: join(repo, name) })
    expect(await faultOf('read_text_file', path('.daypass/server.json'))).toMatch(own)
    const content = { content: 'x' }
    expect(await faultOf('write_file', { ...path('.daypass/x'), ...content })).toMatch(own)
    expect(await faultOf('write_file', { ...path('catalogs/own.yaml'), ...content })).toMatch(own)
    const move = { source: join(repo, 'catalogs'), destination: join(repo, 'elsewhere') }
    expect(await faultOf('move_file', move)).toMatch(own)
    expect(await faultOf('write_file', { ...path('catalogs/other.yaml'), ...content })).toBeNull()
    expect(await faultOf('read_text_file', path('catalogs/own.yaml'))).toBeNull()
  })
})
