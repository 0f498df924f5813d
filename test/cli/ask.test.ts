import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { LEASE, Place, plain, type Running } from './support/cli.ts'

/** An agent that wants to write, under a lease that asks for each write. */
function start(place: Place): Running {
  place.write('asks.yaml', LEASE.replace('  expires_in', '  ask: [file.write]\n  expires_in'))
  const write = place.step('write_file', 'b.txt', { content: 'x' })
  return place.start(['run', '-l', 'asks.yaml', '-y', ...place.agent(write)])
}

async function askId(run: Running): Promise<string> {
  await run.until('? asks file.write')
  return /daypass approve (ask_\w+)/.exec(run.stderr)![1]!
}

test('what cannot be undone is allowed with its word, never with a letter; then the call runs', async () => {
  using place = new Place()
  const run = start(place)
  const id = await askId(run)
  expect(existsSync(join(place.work, 'b.txt'))).toBe(false)
  const terminal = place.terminal(['approve', id])
  const at = await terminal.until('Type write local files to allow it')
  await new Promise((resolve) => setTimeout(resolve, 400))
  terminal.type('a\n')
  await terminal.until('Type write local files', at)
  expect(existsSync(join(place.work, 'b.txt'))).toBe(false)
  await new Promise((resolve) => setTimeout(resolve, 400))
  terminal.type('write local files\n')
  const answered = await terminal.ended
  expect(answered.code, answered.stdout).toBe(0)
  expect(plain(answered.stdout)).toContain("! Can't be undone")
  expect(plain(answered.stdout)).toContain('files.write_file, by looker')
  const ended = await run.ended
  expect(ended.code, ended.stderr).toBe(0)
  expect(existsSync(join(place.work, 'b.txt'))).toBe(true)
  expect(ended.stderr).toContain('2 allowed')
})

test('refuse: the reason reaches the agent, and nothing was written', async () => {
  using place = new Place()
  const run = start(place)
  const id = await askId(run)
  const refused = await place.cli([
    'refuse',
    id,
    '--reason',
    'use c.txt',
    '--as',
    'sam@clord.example',
  ])
  expect(refused.code, refused.stderr).toBe(0)
  const ended = await run.ended
  expect(ended.stdout).toContain('use c.txt')
  expect(existsSync(join(place.work, 'b.txt'))).toBe(false)
  expect(ended.stderr).toMatch(/x .*sam@clord\.example/)
})

test('an ask needs a terminal or --yes', async () => {
  using place = new Place()
  const run = start(place)
  const id = await askId(run)
  expect((await place.cli(['approve', id])).code).toBe(3)
  expect((await place.cli(['approve', id, '--yes', '--json'])).code).toBe(0)
  expect((await run.ended).code).toBe(0)
  expect(existsSync(join(place.work, 'b.txt'))).toBe(true)
})
