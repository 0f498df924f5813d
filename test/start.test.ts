import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'

/* `npm start` is the first thing that anybody runs, so it is run here as it stands, unattended. */

const ROOT = resolve(import.meta.dirname, '..')

let folder = ''
let ran: { status: number | null; output: string }

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'daypass-start-'))
  const { scripts } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8'))
  const [program, file] = (scripts.start as string).split(' ')
  expect(program).toBe('node')
  ran = await new Promise((done) => {
    const env = { ...process.env, DEMO_FOLDER: join(folder, 'demo'), NO_COLOR: '1' }
    const options = { cwd: ROOT, env, maxBuffer: 16 * 1024 * 1024 }
    const child = execFile(process.execPath, [file!], options, (_error, stdout, stderr) => {
      done({ status: child.exitCode, output: `${stderr}\n${stdout}` })
    })
    // Nobody is there to answer.
    child.stdin?.end()
  })
}, 120_000)

afterAll(() => rm(folder, { recursive: true, force: true }))

test('npm start keeps every promise', () => {
  expect(ran.output).toContain('+ Everything held.')
  expect(ran.output).not.toMatch(/^ {2}x /m)
  expect(ran.status).toBe(0)
})

test('the recording in the README is what it prints', async () => {
  const readme = await readFile(join(ROOT, 'README.md'), 'utf8')
  const [, recording] = /```\n(\$ daypass run[\s\S]*?)```/.exec(readme)!
  const missing = recording!
    .split('\n')
    .filter((line) => !/^\s*(?:\.\.\.)?$/.test(line))
    .filter((line) => !ran.output.includes(line) && !isNew(line))
  expect(missing).toEqual([])
})

/** Ids, times and hashes are new each time. */
function isNew(line: string): boolean {
  const shape = line
    .replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`)
    .replaceAll(/(?:run|call)_[a-z0-9]+/g, '(?:run|call)_[a-z0-9]+')
    .replaceAll(/\d+/g, String.raw`\d+`)
    .replace(/prompt [0-9a-f\\d+ ]+(?:\\\.)+ .*$/, 'prompt .*')
  return new RegExp(`^(?:.*\\s)?${shape}$`, 'm').test(ran.output)
}
