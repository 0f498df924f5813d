import { mkdirSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { bindServer, type ServerBinding } from '../../src/catalog/bindings.ts'
import type { Catalog } from '../../src/catalog/catalog.ts'
import { type ClassifyInput, classify, serialOf } from '../../src/catalog/classify.ts'
import {
  currentBranch,
  gitDirs,
  hasRef,
  localBranch,
  revisionBranches,
} from '../../src/catalog/git-probe.ts'
import { loadCatalog } from '../../src/catalog/load.ts'
import type { Facts } from '../../src/core/facts.ts'
import { catalogOf, catalogText, git, scratch } from './servers.ts'

const forge = catalogOf('forge')
const dir = scratch()
const tree = join(dir.path, 'clord')

function bound(name: string, bind: unknown, catalog: Catalog): ServerBinding {
  const binding = bindServer(name, bind, catalog)
  if (!binding.ok) throw new Error(binding.error.join('\n'))
  return binding.value
}

const base: ClassifyInput = {
  server: bound('forge', { host: 'forge.example.com' }, forge),
  catalog: forge,
  definitionStatus: 'mapped',
  definition: 'd',
  tool: 'create_pull_request',
  args: { repo: 'clord', head: 'agent/x', base: 'main', title: 't', body: 'b' },
  capture: [],
  digestSalt: 'salt',
}
const run = (change: Partial<ClassifyInput>) => classify({ ...base, ...change }) as Facts

beforeAll(() => {
  mkdirSync(tree)
  git(tree, 'init', '-q', '-b', 'main')
  git(tree, 'commit', '-q', '--allow-empty', '-m', 'one')
})
afterAll(() => dir.remove())

test('the facts of opening a pull request', () => {
  expect(run({ capture: ['title', 'absent'] })).toMatchObject({
    tool: 'forge.create_pull_request',
    definition: 'd',
    status: 'mapped',
    touches: [
      {
        action: 'pull_request.create',
        effect: 'egress',
        reversible: true,
        resources: { repos: ['clord'], branches: ['agent/x'] },
        within: { base_branches: ['main'] },
        hosts: ['forge.example.com'],
      },
    ],
    args: { head: 'agent/x', base: 'main', title: 't' },
    usd: null,
    idempotent: false,
    fault: null,
    guardrail: null,
  })
})

describe('a call that is not understood is a fault', () => {
  const args = base.args as Record<string, unknown>
  test.each([
    [
      'threat 12: an argument that is not listed',
      { ...args, bcc: 'x@evil.example' },
      /`bcc` is not an argument/,
    ],
    ['threat 12: an array for a string', { ...args, head: ['agent/x'] }, /`head` must be string/],
    ['threat 12: an object for a string', { ...args, head: {} }, /`head` must be string/],
    ['threat 12: null for a string', { ...args, head: null }, /`head` must be string/],
    ['threat 11: a string for a number', { ...args, title: 5 }, /`title` must be string/],
    ['a value that JSON has not', { ...args, head: undefined }, /are not JSON/],
    ['an absent argument', { repo: 'clord' }, /`head` is missing/],
    ['an empty value', { ...args, head: '' }, /empty/],
    ['a value that is no branch', { ...args, head: 'a..b' }, /range/],
    ['threat 7: full-width', { ...args, repo: 'clo\u200brd' }, /invisible/],
    ['no object', [], /must be an object/],
    ['no object either', 'x', /must be an object/],
    ['null', null, /must be an object/],
    ['not JSON: a lone surrogate', { ...args, title: '\ud800' }, /not JSON/],
  ])('%s', (_, value, words) => {
    const facts = run({ args: value })
    expect(facts.fault).toMatch(words)
    expect(facts.touches).toEqual([])
    expect(facts.argsDigest).toMatch(/^[0-9a-f]{64}$/)
  })

  test('threat 10: `__proto__` and `constructor` are names like any other', () => {
    for (const name of ['__proto__', 'constructor', 'toString', 'hasOwnProperty']) {
      const json = JSON.stringify(base.args).replace('{', `{"${name}":{"head":"main"},`)
      expect(run({ args: JSON.parse(json) }).fault, name).toMatch(/is not an argument/)
      expect(run({ tool: name }).status, name).toBe('unmapped')
      expect(Object.hasOwn(run({ capture: [name] }).args, name)).toBe(false)
    }
    // A prototype does not stand in for an argument.
    expect(run({ args: Object.create(base.args as object) }).fault).toMatch(/is missing/)
  })

  test('arguments that no rule covers, and secrets that turn out to be none, allow nothing', () => {
    const git = catalogOf('git')
    const server = bound('git', { worktree: tree, repo: 'clord', remotes: {} }, git)
    const blame = git.tools.get('git_blame')!
    const only = (action: string) =>
      blame.rules.filter((rule) => rule.do === 'touch' && rule.actions.includes(action))
    for (const rules of [[], only('secret.read')]) {
      const tools = new Map(git.tools).set('git_blame', { ...blame, rules })
      const args = { path: tree, filePath: 'a.txt' }
      const facts = run({ server, catalog: { ...git, tools }, tool: 'git_blame', args })
      expect(facts).toMatchObject({ touches: [], fault: expect.stringMatching(/no rule/) })
    }
  })

  test('threat 11: numbers are strict', () => {
    for (const number of [1.5, -0, 2 ** 53, Number.NaN, Infinity, '1', true]) {
      const facts = run({ tool: 'get_pull_request', args: { repo: 'clord', number } })
      expect(facts.fault, String(number)).not.toBeNull()
    }
    expect(run({ tool: 'get_pull_request', args: { repo: 'clord', number: 1 } }).fault).toBeNull()
  })

  test('threat 18: a throw while facts are gathered is a fault', () => {
    const args = {
      ...(base.args as object),
      get title(): string {
        throw new Error('boom')
      },
    }
    expect(run({ args }).fault).not.toBeNull()
  })

  test('threat 16: a value of 50 kB is answered within 5 ms', () => {
    for (const text of ['a/'.repeat(25_000), '*'.repeat(50_000), '../'.repeat(16_000)]) {
      const args = { ...(base.args as object), head: text }
      run({ args })
      const start = performance.now()
      expect(run({ args }).fault).not.toBeNull()
      expect(performance.now() - start).toBeLessThan(5)
    }
  })
})

describe('status', () => {
  test.each([
    ['changed', { definitionStatus: 'changed' }, 'changed'],
    ['unknown', { definitionStatus: 'unknown' }, 'unknown'],
    ['no name for an action', { tool: 'format disk' }, 'unmapped'],
    ['no name for an action: a pattern', { tool: '*' }, 'unmapped'],
    ['no name for an action: an empty segment', { tool: 'format..disk' }, 'unmapped'],
  ] as [string, Partial<ClassifyInput>, string][])('%s: no touches', (_, change, status) => {
    expect(run(change)).toMatchObject({ status, touches: [], fault: null })
  })

  test.each([
    ['a tool the catalog does not have', { tool: 'format_disk' }, 'forge.format_disk'],
    ['no catalog', { catalog: null }, 'forge.create_pull_request'],
    ['no catalog, and a tool of another spelling', { catalog: null, tool: 'a.b-C' }, 'forge.a.b-C'],
    [
      'mapped by the caller only',
      { tool: 'format_disk', definitionStatus: 'mapped' },
      'forge.format_disk',
    ],
  ] as [string, Partial<ClassifyInput>, string][])('%s: the tool itself', (_, change, action) => {
    const worst = { effect: 'destructive', reversible: false }
    expect(run({ ...change, capture: ['title'] })).toMatchObject({
      tool: action,
      status: 'unmapped',
      touches: [{ action, ...worst, resources: {}, within: {}, hosts: [] }],
      args: { title: 't' },
      idempotent: false,
      fault: null,
    })
  })

  test('of a tool that no catalog has, arguments that are none are still a fault', () => {
    expect(run({ catalog: null, args: [] })).toMatchObject({
      touches: [],
      fault: expect.stringMatching(/object/),
    })
  })

  test('threat 33: what the server says against itself raises a read, and nothing lowers', () => {
    const read = run({ tool: 'read_secret', args: { name: 'NPM_TOKEN' }, raise: 'destructive' })
    expect(read.touches[0]).toMatchObject({
      action: 'secret.read',
      effect: 'destructive',
      reversible: false,
    })
    expect(run({ raise: 'destructive' }).touches[0]?.effect).toBe('egress')
  })
})

describe('digest and captured arguments', () => {
  test('the order of members does not matter, the salt and every value do', () => {
    const args = base.args as Record<string, unknown>
    const digest = run({}).argsDigest
    expect(run({ args: Object.fromEntries(Object.entries(args).reverse()) }).argsDigest).toBe(
      digest,
    )
    expect(run({ digestSalt: 'other' }).argsDigest).not.toBe(digest)
    for (const name of Object.keys(args)) {
      expect(run({ args: { ...args, [name]: 'other' } }).argsDigest, name).not.toBe(digest)
    }
  })

  test('law: whatever the arguments, there are facts: touches or a fault, never both and never neither', () => {
    const names = [...forge.tools.get('create_pull_request')!.args.keys()]
    const value = fc.oneof(fc.constantFrom('clord', 'main', 'agent/x'), fc.string(), fc.jsonValue())
    const args = fc.oneof(
      fc.dictionary(fc.oneof(fc.constantFrom(...names), fc.string()), value),
      fc.record(Object.fromEntries(names.map((name) => [name, value]))),
      fc.jsonValue(),
    )
    fc.assert(
      fc.property(args, (given) => {
        const facts = run({ args: given })
        expect(facts.touches.length > 0).toBe(facts.fault === null)
        expect(facts.argsDigest).toMatch(/^[0-9a-f]{64}$/)
      }),
      { numRuns: 2000 },
    )
  })

  test('threat 19: the order of rules, and repeating one, change no touch', () => {
    const text = catalogText('git')
    const catalog = catalogOf('git')
    const push = catalog.tools.get('git_push')!
    const server = bound(
      'git',
      { worktree: tree, repo: 'clord', remotes: { origin: 'h.example' } },
      catalog,
    )
    const touches = (rules: typeof push.rules) => {
      const tools = new Map(catalog.tools).set('git_push', { ...push, rules })
      const facts = run({
        server,
        catalog: { ...catalog, tools },
        tool: 'git_push',
        args: { path: tree, branch: 'main', force: true, tags: true },
      })
      return new Set(facts.touches.map((touch) => JSON.stringify(touch)))
    }
    const expected = touches(push.rules)
    expect(expected.size).toBe(2)
    expect(touches([...push.rules].reverse())).toEqual(expected)
    expect(touches([...push.rules, ...push.rules])).toEqual(expected)
    expect(loadCatalog(text, 'git').ok).toBe(true)
  })
})

describe('the branch of a working tree', () => {
  test('of a linked working tree, of an unborn branch, of a rebase', () => {
    git(tree, 'branch', 'side')
    git(tree, 'worktree', 'add', '-q', '../linked', 'side')
    const linked = join(dir.path, 'linked')
    expect(currentBranch(tree)).toEqual({ ok: true, value: 'main' })
    expect(currentBranch(linked)).toEqual({ ok: true, value: 'side' })
    expect(localBranch(linked, 'main').ok).toBe(true)
    const fresh = join(dir.path, 'fresh')
    mkdirSync(fresh)
    git(fresh, 'init', '-q', '-b', 'unborn')
    expect(currentBranch(fresh)).toEqual({ ok: true, value: 'unborn' })

    const commit = (text: string) => {
      writeFileSync(join(linked, 'f.txt'), text)
      git(linked, 'add', 'f.txt')
      git(linked, 'commit', '-q', '-m', text)
    }
    commit('base')
    git(linked, 'branch', 'other')
    commit('mine')
    git(linked, 'checkout', '-q', 'other')
    commit('theirs')
    expect(() => git(linked, 'rebase', 'side')).toThrow(/conflict/i)
    expect(currentBranch(linked)).toEqual({ ok: true, value: 'other' })
    git(linked, 'rebase', '--abort')
    git(linked, 'checkout', '-q', '--detach')
    expect(currentBranch(linked)).toMatchObject({
      ok: false,
      error: expect.stringMatching(/detached/),
    })
    git(linked, 'checkout', '-q', 'side')
  })

  test('a branch that stands for another ref is refused: a commit on it would move the other', () => {
    git(tree, 'symbolic-ref', 'refs/heads/alias', 'refs/heads/main')
    expect(localBranch(tree, 'alias')).toMatchObject({
      ok: false,
      error: expect.stringMatching(/another ref/),
    })
    git(tree, 'symbolic-ref', 'HEAD', 'refs/heads/alias')
    expect(currentBranch(tree).ok).toBe(false)
    git(tree, 'symbolic-ref', 'HEAD', 'refs/heads/main')
  })

  test('packed refs are refs', () => {
    git(tree, 'branch', 'packed')
    git(tree, 'tag', 'v9')
    git(tree, 'pack-refs', '--all')
    const dirs = gitDirs(tree)
    expect(dirs.ok && hasRef(dirs.value, 'refs/heads/packed')).toBe(true)
    expect(dirs.ok && hasRef(dirs.value, 'refs/heads/pack')).toBe(false)
    expect(localBranch(tree, 'v9').ok).toBe(false)
    expect(revisionBranches(tree, 'packed~2')).toEqual({ ok: true, value: ['packed'] })
    expect(revisionBranches(tree, 'v9')).toEqual({ ok: true, value: null })
    expect(revisionBranches(tree, 'main..packed')).toEqual({ ok: true, value: ['main', 'packed'] })
    expect(revisionBranches(tree, '..packed')).toEqual({ ok: true, value: ['main', 'packed'] })
    expect(revisionBranches(tree, 'main...packed..x').ok).toBe(false)
    expect(revisionBranches(tree, '').ok).toBe(false)
  })

  test('threat 4: a bound working tree that was replaced', () => {
    const catalog = catalogOf('git')
    const link = join(dir.path, 'link')
    symlinkSync(tree, link)
    const server = bound('git', { worktree: link, repo: 'clord', remotes: {} }, catalog)
    const status = () => run({ server, catalog, tool: 'git_status', args: { path: link } })
    expect(status().fault).toBeNull()
    expect(run({ server, catalog, tool: 'git_status', args: { path: tree } }).fault).toBeNull()
    git(dir.path, 'init', '-q', 'swapped')
    unlinkSync(link)
    symlinkSync(join(dir.path, 'swapped'), link)
    expect(status().fault).toMatch(/not where it was/)
  })
})

describe('what is held while a call runs', () => {
  const catalog = catalogOf('git')
  const files = catalogOf('filesystem')
  test('one key per working tree, shared by reads, in one order', () => {
    const server = bound('git', { worktree: tree, repo: 'clord', remotes: {} }, catalog)
    expect(serialOf(server, catalog, 'git_status')).toEqual([{ key: tree, mode: 'shared' }])
    expect(serialOf(server, catalog, 'git_checkout')).toEqual([{ key: tree, mode: 'exclusive' }])
    expect(serialOf(server, catalog, 'nothing')).toEqual([])
    const file = bound(
      'fs',
      {
        roots: [
          { path: tree, repo: 'clord' },
          { path: dir.path, name: 'd' },
        ],
      },
      files,
    )
    expect(serialOf(file, files, 'read_text_file')).toEqual([
      { key: dir.path, mode: 'shared' },
      { key: tree, mode: 'shared' },
    ])
    expect(serialOf(file, files, 'write_file').every(({ mode }) => mode === 'exclusive')).toBe(true)
    expect(serialOf(base.server, forge, 'deploy')).toEqual([])
  })
})

test('a simple rule costs a few microseconds', () => {
  const rounds = 20_000
  let best = Infinity
  for (let repeat = 0; repeat < 5; repeat++) {
    const start = performance.now()
    for (let i = 0; i < rounds; i++)
      run({ tool: 'run_tests', args: { repo: 'clord', branch: 'agent/x' } })
    best = Math.min(best, ((performance.now() - start) * 1000) / rounds)
  }
  console.info(`classify: ${best.toFixed(2)} µs`)
  expect(best).toBeLessThan(20) // a bound that a busy machine keeps; the figure is printed
})
