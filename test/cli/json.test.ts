import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { Command } from 'commander'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { runProgram } from '../../src/cli/cli.ts'
import { EXIT } from '../../src/cli/exit.ts'
import { createProgram } from '../../src/cli/program.ts'
import { Place } from './support/cli.ts'

/** Every command that does something, as its words. */
function commandsOf(program: Command, before: readonly string[] = []): string[][] {
  return program.commands.flatMap((command) => {
    const words = [...before, command.name()]
    return command.commands.length === 0 ? [words] : commandsOf(command, words)
  })
}

const NAMES = commandsOf(createProgram({ exit: () => {} })).map((words) => words.join(' '))
/** What follows a command so that its command line is right. */
const ARGUMENTS: Readonly<Record<string, readonly string[]>> = {
  run: ['--', 'true'],
  mcp: ['--lease', 'lease.yaml'],
  'catalog pin': ['files.read_file'],
  'catalog draft': ['files'],
  prompt: ['lease.yaml'],
  show: ['run_x'],
  approve: ['run_x'],
  refuse: ['run_x'],
  revoke: ['run_x'],
  suspend: ['run_x'],
  resume: ['run_x'],
  receipt: ['run_x'],
  explain: ['run_x'],
  verify: ['missing.json'],
  'trust add': ['missing.pub'],
}
/** `doctor` reports what goes wrong; `init` has no configuration to miss, and comes below. */
const OTHERS = ['doctor', 'init']

let stdout: string
let stderr: string
beforeEach(() => {
  stdout = ''
  stderr = ''
  vi.spyOn(process.stdout, 'write').mockImplementation((chunk) => {
    stdout += chunk
    return true
  })
  vi.spyOn(process.stderr, 'write').mockImplementation((chunk) => {
    stderr += chunk
    return true
  })
})
afterEach(() => vi.restoreAllMocks())

/** In this process; the working folder is the checkout, which is no project. */
function daypass(...words: readonly string[]): Promise<number> {
  return runProgram(['node', 'daypass', ...words])
}

describe('--json', () => {
  test.each(NAMES.filter((name) => !OTHERS.includes(name)))('%s fails in JSON', async (name) => {
    const config = ['--json', '--config', '/nonexistent/daypass.yaml']
    const status = await daypass(...name.split(' '), ...config, ...(ARGUMENTS[name] ?? []))
    const text = name === 'mcp' ? stderr : stdout
    const { error } = JSON.parse(text) as { error: Record<string, unknown> }
    expect(error).toEqual({ code: 'usage', message: expect.any(String), exit: EXIT.usage })
    expect(status).toBe(EXIT.usage)
    expect(error.message).toMatch(/^can't read /)
    expect(name === 'mcp' ? stdout : stderr).toBe('')
  })

  test.each([
    [['revoke', '--json'], 'missing required argument `run`'],
    [['ps', '--json', '--bad'], 'unknown option `--bad`'],
    [['frobnicate', '--json'], 'unknown command `frobnicate`'],
  ])('a wrong command line is told in JSON: %j', async (words, message) => {
    expect(await daypass(...words)).toBe(EXIT.usage)
    const { error } = JSON.parse(stdout) as { error: Record<string, unknown> }
    expect(error).toEqual({ code: 'usage', message: expect.stringContaining(message), exit: 2 })
    expect(stderr).toBe('')
  })

  test("the agent's own --json is none of ours", async () => {
    for (const agent of [
      ['--', 'claude', '--json'],
      ['claude', '--json'],
    ]) {
      expect(await daypass('run', '-c', '/nonexistent/daypass.yaml', ...agent)).toBe(EXIT.usage)
    }
    expect(stdout).toBe('')
    expect(stderr).toMatch(/^can't read `\/nonexistent\/daypass\.yaml`/)
  })

  test('without it a failure is words on stderr', async () => {
    expect(await daypass('ps', '-c', '/nonexistent/daypass.yaml')).toBe(EXIT.usage)
    expect(await daypass('revoke')).toBe(EXIT.usage)
    expect(stdout).toBe('')
    const words = 'write one with daypass init\nmissing required argument `run`\n'
    expect(stderr).toContain(words)
  })
})

test('a failure that the API refuses has its code; what is shown and done is as without --json', async () => {
  using place = new Place()
  const again = await place.cli(['init', '--json'])
  expect(again.code).toBe(EXIT.usage)
  expect(JSON.parse(again.stdout)).toMatchObject({ error: { code: 'usage', exit: 2 } })
  const noKey = await place.cli(['key', '--json'])
  expect(JSON.parse(noKey.stdout)).toEqual({
    error: { code: 'failed', message: 'no key yet; the first run makes one', exit: 1 },
  })
  const ran = await place.cli(['run', '-l', 'lease.yaml', '-y', '--json', ...place.agent()])
  const { run } = JSON.parse(ran.stdout) as { run: string }
  const paused = await place.cli(['suspend', run, '--json'])
  expect(paused.code).toBe(EXIT.failed)
  const { error } = JSON.parse(paused.stdout) as { error: { code: string; message: string } }
  expect(error.code).toBe('lease_not_active')
  expect((await place.cli(['suspend', run])).stderr).toBe(`${error.message}\n`)
})

test('key: which one it is, in words and as JSON, and never the private half', async () => {
  using place = new Place()
  await place.cli(['run', '-l', 'lease.yaml', '-y', ...place.agent()])
  const key = JSON.parse((await place.cli(['key', '--json'])).stdout) as Record<string, unknown>
  const exported = JSON.parse((await place.cli(['key', 'export'])).stdout) as { kid: string }
  const file = join(place.dir, '.daypass', 'authority.pem')
  expect({ ...key, name: null }).toEqual({ ...exported, file, retired: [] })
  expect(existsSync(key.file as string)).toBe(true)
  const { stderr: words } = await place.cli(['key'])
  expect(words).toContain('daypass key export')
  expect(words).toMatch(/, since \d{4}-\d\d-\d\d$/m)
  expect(JSON.stringify(key)).not.toMatch(/PRIVATE|"d":/)
  const own = JSON.parse((await place.cli(['trust', '--json'])).stdout) as { own: unknown }
  expect(own.own).toMatchObject({ kid: exported.kid })
})

test('key rotate: another key signs, and receipts of the one before are still verified', async () => {
  using place = new Place()
  expect((await place.cli(['key', 'rotate'])).code).toBe(1)
  const ended = await place.cli(['run', '-l', 'lease.yaml', '-y', ...place.agent()])
  const run = /run_[a-z0-9]{20}/.exec(ended.stderr)![0]
  const receipt = join(place.dir, '.daypass', 'receipts', `${run}.json`)
  const { kid } = JSON.parse((await place.cli(['key', 'export'])).stdout) as { kid: string }
  const rotated = JSON.parse((await place.cli(['key', 'rotate', '--json'])).stdout)
  expect(rotated).toMatchObject({ from: { kid, validUntil: expect.any(Number) } })
  const now = JSON.parse((await place.cli(['key', '--json'])).stdout)
  expect(now).toMatchObject({ kid: rotated.to.kid, retired: [{ kid }] })
  expect(JSON.parse((await place.cli(['key', 'export'])).stdout).kid).toBe(rotated.to.kid)
  expect((await place.cli(['trust'])).stderr).toMatch(/this project, until \d{4}-\d\d-\d\d/)
  expect((await place.cli(['verify', receipt])).code).toBe(0)
})
