import { execFile } from 'node:child_process'
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

/*
 * What is published works: packed from a copy of the checkout, installed with npm in an empty
 * folder outside of it, next to Node 24.
 */

const ROOT = resolve(import.meta.dirname, '..')
const SECONDS = 1000
/** Whatever is packed, tests run or a lease needs; `node_modules` is linked. */
const LEFT_OUT = ['.daypass', '.demo', '.git', 'coverage', 'dist', 'node_modules']

const LEASE = `lease:
  user: maintainer@example.com
  purpose: read the changelog
  resources: { repos: [clord] }
  actions: [repo.read]
  expires_in: 10m
  max_tool_calls: 5
`

const run = promisify(execFile)

let folder = ''
let tarball = ''
let packed: readonly string[] = []

/** Node 24 first, as beside a package that is installed for it; nothing of this checkout. */
function environment(): NodeJS.ProcessEnv {
  const own = Object.entries(process.env).filter(([name]) => !/^(?:npm_|NODE_|VITEST)/.test(name))
  const PATH = [dirname(process.execPath), process.env.PATH].join(delimiter)
  return { ...Object.fromEntries(own), PATH, NO_COLOR: '1' }
}

async function npm(cwd: string, ...words: readonly string[]): Promise<string> {
  const { stdout } = await run('npm', [...words], { cwd, env: environment() })
  return stdout
}

/** Runs the installed command; a status that is not 0 is an answer, too. */
async function daypass(
  ...words: readonly string[]
): Promise<{ status: number; stdout: string; stderr: string }> {
  const file = join(folder, 'node_modules', '.bin', 'daypass')
  const options = { cwd: folder, env: environment() }
  try {
    return { status: 0, ...(await run(file, [...words], options)) }
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string }
    return { status: code, stdout, stderr }
  }
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'daypass-package-'))
  const copy = join(folder, 'copy')
  await cp(ROOT, copy, {
    recursive: true,
    filter: (path) => !LEFT_OUT.some((name) => path === join(ROOT, name)),
  })
  await symlink(join(ROOT, 'node_modules'), join(copy, 'node_modules'))
  const [report] = JSON.parse(await npm(copy, 'pack', '--json', '--loglevel=error')) as [
    { filename: string; files: { path: string }[] },
  ]
  packed = report.files.map(({ path }) => path)
  tarball = join(folder, report.filename)
  await cp(join(copy, report.filename), tarball)
  await rm(copy, { recursive: true })
  await writeFile(join(folder, 'package.json'), '{ "private": true }')
  await npm(folder, 'install', '--prefer-offline', '--no-audit', '--no-fund', tarball)
  await writeFile(join(folder, 'lease.yaml'), LEASE)
}, 300 * SECONDS)

afterAll(() => rm(folder, { recursive: true, force: true }))

describe('the package', () => {
  test('has what it needs, and nothing else', () => {
    const needed = [
      'dist/cli/main.js',
      'dist/store/sqlite-worker.js',
      'catalog/actions.yaml',
      'catalog/git.yaml',
      'schemas/lease.schema.json',
      'README.md',
      'SPEC.md',
      'LICENSE',
    ]
    expect(needed.filter((path) => !packed.includes(path))).toEqual([])
    const stray = packed.filter((path) => /(?:^|\/)(?:test|bench|examples|src)\//.test(path))
    expect(stray).toEqual([])
    expect(packed.filter((path) => /(?<!\.d)\.ts$/.test(path))).toEqual([])
  })

  test('says its version', async () => {
    const { version } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8'))
    expect(await daypass('--version')).toEqual({ status: 0, stdout: `${version}\n`, stderr: '' })
  })

  test('has a client of the API that needs nothing else, and its types', async () => {
    const program = `import { createClient, DaypassError } from 'daypass/client'
      const client = createClient({ url: 'http://127.0.0.1:9', token: 'x' })
      try { await client.getStatus() } catch (error) {
        process.stdout.write(String(error instanceof DaypassError && error.code))
      }`
    const options = { cwd: folder, env: environment() }
    const args = ['--input-type=module', '--eval', program]
    const { stdout } = await run(process.execPath, args, options)
    expect(stdout).toBe('unreachable')
    const typed = async (id: string) => {
      await writeFile(
        join(folder, 'typed.mts'),
        `import { createClient } from 'daypass/client'
        const client = createClient({ url: 'https://daypass.example', token: 'x' })
        const { run } = await client.getRun({ params: { run: ${id} } })
        export const state: 'opening' | 'requested' | 'active' | 'suspended' | 'ended' = run.state`,
      )
      const flags = ['--noEmit', '--strict', '--skipLibCheck', '--types', '']
      const target = ['--module', 'nodenext', '--target', 'es2024']
      const tsc = join(ROOT, 'node_modules', '.bin', 'tsc')
      return run(tsc, [...flags, ...target, 'typed.mts'], options)
    }
    await typed("'run_x'")
    // The types are there: without them anything would pass.
    await expect(typed('7')).rejects.toMatchObject({ stdout: expect.stringContaining('TS2322') })
  }, 60_000)

  test('shows a prompt', async () => {
    const { status, stderr } = await daypass('prompt', 'lease.yaml')
    expect(stderr).toContain('Allowed      read repo')
    expect(status).toBe(0)
  })

  test('runs an agent on a database of its own, and verifies the receipt', async () => {
    const work = join(folder, 'work')
    await mkdir(work)
    await writeFile(join(work, 'daypass.yaml'), 'version: 1\n')
    const config = join(work, 'daypass.yaml')
    const ran = await daypass(
      ...['run', '--config', config, '--lease', 'lease.yaml', '--yes'],
      ...['--as', 'maintainer@example.com', '--', process.execPath, '-e', ''],
    )
    expect(ran.stderr).toContain('Receipt')
    expect(ran.status).toBe(0)
    // The writer of the database is a thread that starts from a file of its own.
    expect(await readdir(join(work, '.daypass'))).toContain('daypass.db')
    const receipts = join(work, '.daypass', 'receipts')
    const [name] = await readdir(receipts)
    const verified = await daypass('verify', '--config', config, join(receipts, name!))
    expect(verified.stderr + verified.stdout).toContain('+ VERIFIED')
    expect(verified.status).toBe(0)
  }, 60_000)

  test('has `daypass/verify` for the authors of tools, with its types', async () => {
    const file = join(folder, 'tool.mts')
    const lines = [
      "import { type Envelope, guardTool, Verifier } from 'daypass/verify'",
      "const daypass = new Verifier({ issuer: 'https://daypass.example', audience: 'notes' })",
      "const needs = (args: { id: string }) => [{ action: 'note.read', type: 'notes', id: args.id }]",
      'const runOf = (_args: { id: string }, _ctx: unknown, envelope: Envelope) => envelope.run',
      'const tool = guardTool(daypass, needs, runOf)',
      "console.log(JSON.stringify(await tool({ id: 'plan' }, { mcpReq: {} })))",
    ]
    await writeFile(file, lines.join('\n'))
    const flags = ['--noEmit', '--strict', '--module', 'nodenext', '--target', 'es2024']
    const tsc = join(ROOT, 'node_modules/typescript/bin/tsc')
    const types = ['--types', 'node', '--typeRoots', join(ROOT, 'node_modules/@types')]
    await run(process.execPath, [tsc, ...flags, ...types, file], { cwd: folder })
    const { stdout } = await run(process.execPath, [file], { cwd: folder, env: environment() })
    expect(stdout).toContain('Refused by the tool: this call carries no token of Daypass')
  })
})
