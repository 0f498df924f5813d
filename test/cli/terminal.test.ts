import { chmodSync } from 'node:fs'
import { expect, test } from 'vitest'
import { AGENT, Place, plain, type Running } from './support/cli.ts'

const QUESTION = 'a allow   n narrow   r refuse'

function start(place: Place, ...steps: string[]): Running {
  return place.terminal(['run', '-l', 'lease.yaml', '--', process.execPath, AGENT, ...steps])
}

/** What stands on each row: carriage returns and line clearing are obeyed, cursor moves are not. */
function rows(text: string): string[] {
  return plain(text).split('\n')
}

test('a and Enter allows; Enter alone asks again; what was typed before the question is no answer', async () => {
  using place = new Place()
  const run = start(place, place.step('read_text_file', 'a.txt'))
  run.type('a\n')
  const first = await run.until(QUESTION)
  run.type('\n')
  const again = await run.until('Nothing has happened yet', first)
  expect(run.stdout).not.toContain('Allowed by')
  await run.until(QUESTION, again)
  await new Promise((resolve) => setTimeout(resolve, 400))
  run.type('a\n')
  const ended = await run.ended
  expect(ended.code, ended.stdout).toBe(0)
  expect(ended.stdout).toContain('Allowed by mira@clord.example')
  expect(ended.stdout).toContain('agent: files.read_text_file ok: hello')
  expect(ended.stdout).toContain('\x1b[1mAllow for 10 min?\x1b[22m')
  // The row that was taken for the status line is given back.
  expect(ended.stdout.lastIndexOf('\x1b[r')).toBeGreaterThan(ended.stdout.lastIndexOf('\x1b[1;39r'))
})

test('r refuses with a reason, and nothing is started', async () => {
  using place = new Place()
  const run = start(place)
  await run.until(QUESTION)
  await new Promise((resolve) => setTimeout(resolve, 400))
  run.type('r\n')
  await run.until('Why (one line)?')
  await new Promise((resolve) => setTimeout(resolve, 400))
  run.type('wrong folder\n')
  const ended = await run.ended
  expect(ended.code).toBe(3)
  expect(ended.stdout).toContain('refused by mira@clord.example: wrong folder')
  expect(ended.stdout).not.toContain('agent: connected')
})

test.each([
  ['Ctrl-C', '\x03'],
  ['the end of input', '\x04'],
])('%s at the question refuses', async (_, key) => {
  using place = new Place()
  const run = start(place)
  await run.until(QUESTION)
  await new Promise((resolve) => setTimeout(resolve, 400))
  run.type(key)
  const ended = await run.ended
  expect(ended.code, ended.stdout).toBe(3)
  expect(ended.stdout).not.toContain('agent: connected')
})

test('0:00 refuses', async () => {
  using place = new Place({ approvals: 'approvals: { answer_within: 3s }' })
  const run = start(place)
  await run.until(QUESTION)
  const ended = await run.ended
  expect(ended.code, ended.stdout).toBe(3)
  expect(plain(ended.stdout)).toContain('nobody answered in time')
})

test('n narrows: only less, a new prompt with a new code, and the narrower lease holds', async () => {
  using place = new Place()
  const run = start(place, place.step('write_file', 'b.txt', { content: 'x' }))
  let at = await run.until(QUESTION)
  const answer = async (text: string, next: string): Promise<void> => {
    await new Promise((resolve) => setTimeout(resolve, 400))
    run.type(`${text}\n`)
    at = await run.until(next, at)
  }
  await answer('n', 'drop an action [1-2]')
  await answer('2', 'drop an action [1-1]')
  await answer('', 'calls [5]')
  await answer('50', 'only less than 5')
  await answer('3', 'minutes [no limit]')
  await answer('', 'expires [10m]')
  await answer('5m', 'Allow for 5 min?')
  await answer('a', 'Allowed by')
  const ended = await run.ended
  expect(ended.code, ended.stdout).toBe(0)
  const text = plain(ended.stdout)
  const codes = [...text.matchAll(/^Prompt (.{18}),/gm)].map(([, code]) => code)
  expect(codes).toHaveLength(2)
  expect(codes[0]).not.toBe(codes[1])
  expect(text).toContain('Budget       3 tool calls')
  expect(text).toContain('Denied: file.write')
})

test('Ctrl-C while the agent works revokes, and the receipt says so', async () => {
  using place = new Place()
  const run = start(place, 'hold')
  await run.until(QUESTION)
  await new Promise((resolve) => setTimeout(resolve, 400))
  run.type('a\n')
  await run.until('agent: connected')
  run.type('\x03')
  const ended = await run.ended
  expect(ended.code, ended.stdout).toBe(130)
  expect(plain(ended.stdout)).toContain('x Revoked. No call is allowed from now on.')
  expect(plain(ended.stdout)).toContain('revoked it: "Ctrl-C"')
})

test('no line is wider than the terminal, at 80 columns and below 60', async () => {
  using place = new Place()
  for (const columns of [80, 50]) {
    const prompt = await place.terminal(['prompt', 'lease.yaml'], { columns }).ended
    expect(prompt.code).toBe(0)
    expect(Math.max(...rows(prompt.stdout).map((row) => row.length))).toBeLessThanOrEqual(columns)
  }
})

test.each(['NO_COLOR', 'TERM'])('%s: no escape code at all', async (name) => {
  using place = new Place()
  const env = { [name]: name === 'TERM' ? 'dumb' : '1' }
  const prompt = await place.terminal(['prompt', 'lease.yaml'], { env }).ended
  expect(prompt.stdout).toContain('Task')
  expect(prompt.stdout).not.toContain('\x1b')
})

test('ps: a table for people', async () => {
  using place = new Place()
  expect((await place.terminal(['ps']).ended).stdout).toContain('No runs. Start one: daypass run')
  const run = place.start(['run', '-l', 'lease.yaml', '-y', ...place.agent('hold')])
  await run.until('connected')
  const { stdout } = await place.terminal(['ps']).ended
  expect(rows(stdout)[0]).toMatch(/^RUN +STATE +TASK +FOR +CALLS +LEFT +ENDS$/)
  expect(rows(stdout)[1]).toMatch(/^run_\w{4} +active +look at files +mira +0\/5 +\d+:\d\d$/)
  expect(stdout).toContain('1 active. daypass show RUN, daypass revoke RUN')
  run.child.kill('SIGTERM')
  await run.ended
})

test('an agent that owns the screen is never written into: the title says how the run stands', async () => {
  using place = new Place()
  const claude = place.write('claude', '#!/bin/sh\nsleep 2\n')
  chmodSync(claude, 0o755)
  const ended = await place.terminal(['run', '-l', 'lease.yaml', '-y', '--', claude]).ended
  expect(ended.code, ended.stdout).toBe(0)
  expect(ended.stdout).toContain('\x1b]2;daypass: active  ')
  expect(ended.stdout).toContain('0 used, 5 left of 5\x07')
  expect(ended.stdout).not.toContain('\x1b[1;39r')
  expect(ended.stdout).toContain('\x1b[23;2t')
})
