import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { Place } from './support/cli.ts'

/** A place that serves on a free port. */
function servingPlace(more = ''): Place {
  const place = new Place()
  const config = readFileSync(join(place.dir, 'daypass.yaml'), 'utf8')
  place.write('daypass.yaml', `${config}server: { listen: "127.0.0.1:0" }\n${more}`)
  return place
}

/** The events of a log in JSON, without the lines for people. */
function events(stderr: string): Record<string, unknown>[] {
  const lines = stderr.split('\n').filter((line) => line.startsWith('{'))
  return lines.map((line) => JSON.parse(line))
}

test('serve listens, is used by other commands, and ends with a signal', async () => {
  using place = servingPlace()
  const serving = place.start(['serve'])
  await serving.until('"event":"listening"')
  await serving.until('"state":"up"')
  const { local } = events(serving.stderr).find(({ event }) => event === 'listening')!
  expect(await (await fetch(`${local}/healthz`)).json()).toEqual({ status: 'ok' })
  expect(await (await fetch(`${local}/readyz`)).json()).toMatchObject({
    ready: true,
    servers: { up: 1, starting: 0, down: 0 },
  })
  expect((await place.cli(['ps'])).code).toBe(0)
  expect(serving.stderr).toContain('/v1/')
  serving.child.kill('SIGTERM')
  const { code, stderr } = await serving.ended
  expect(code).toBe(0)
  expect(events(stderr).slice(-2)).toMatchObject([
    { event: 'stopping', signal: 'SIGTERM', inFlight: 0 },
    { event: 'stopped' },
  ])
  await expect(fetch(`${local}/healthz`)).rejects.toThrow()
})

test('serve tells a person where things are, and keeps the link out of its log', async () => {
  using place = servingPlace()
  const serving = place.start(['serve', '--log', 'text'])
  await serving.until('sign in')
  const [link] = /http:\S+\/sign-in\/link\?code=\S+/.exec(serving.stderr)!
  expect((await fetch(link!)).status).toBe(200)
  await serving.until('path=/sign-in/link')
  const code = new URL(link!).searchParams.get('code')!
  expect(serving.stderr.split(code)).toHaveLength(2)
  serving.child.kill('SIGINT')
  expect((await serving.ended).code).toBe(0)
})

test('serve says what is in its way', async () => {
  using place = servingPlace()
  const other = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => other.once('listening', resolve))
  const { port } = other.address() as AddressInfo
  const env = { DAYPASS_SERVER_LISTEN: `127.0.0.1:${port}` }
  const taken = await place.cli(['serve'], env)
  other.close()
  expect(taken.code).toBe(1)
  expect(taken.stderr).toContain('write another `server.listen`')
  const open = await place.cli(['serve'], { DAYPASS_SERVER_LISTEN: '0.0.0.0:0' })
  expect(open.code).toBe(2)
  expect(open.stderr).toContain('DAYPASS_SERVER_LISTEN: others can reach this')
  expect((await place.cli(['serve', '--log', 'xml'])).code).toBe(2)
})

test('config check finds problems at their places; show hides what could be a secret', async () => {
  using place = servingPlace('policy:\n  person: [production.deplo]\n')
  const bad = await place.cli(['config', 'check'])
  expect(bad.code).toBe(1)
  expect(bad.stderr).toMatch(/daypass\.yaml:\d+:12: no known action is `production\.deplo`/)
  expect(bad.stderr).toContain('1 problem')
  const json = JSON.parse((await place.cli(['config', 'check', '--json'])).stdout)
  expect(json).toMatchObject({ ok: false, problems: [expect.stringContaining('deplo')] })
  place.write('daypass.yaml', 'servers: { a: { command: [x], env: { A: hunter22, B: env:B } } }')
  const shown = await place.cli(['config', 'show'])
  expect(shown.stdout).toContain('B: env:B')
  expect(shown.stdout).not.toContain('hunter22')
  const missing = await place.cli(['config', 'check'])
  expect(missing.stderr).toContain('the environment has no `B`')
  expect((await place.cli(['config', 'check'], { B: 'b' })).code).toBe(0)
})

test('run asks whom the policy names, and refuses what it does not allow', async () => {
  const rules = `policy:
  resources: [{ allow: { paths: ["work/**"] } }]
  longest: [{ effects: [write], expires_in: 5m }]
`
  using place = servingPlace(rules)
  const agent = place.agent(place.step('read_text_file', 'a.txt'))
  const long = await place.cli(['run', '-l', 'lease.yaml', '-y', ...agent])
  expect(long.code).toBe(3)
  expect(long.stderr).toContain('such a lease lives at most 5m here, not 10m')
  const lease = readFileSync(join(place.dir, 'lease.yaml'), 'utf8').replace('10m', '5m')
  place.write('wide.yaml', lease.replace('work/**', '**'))
  const wide = await place.cli(['run', '-l', 'wide.yaml', '-y', ...agent])
  expect(wide.stderr).toContain('paths: `**` is outside what you may name: `work/**`')
  place.write('lease.yaml', lease)
  expect((await place.cli(['run', '-l', 'lease.yaml', '-y', ...agent])).code).toBe(0)
})

test('sign-in prints another link while something serves, and only then', async () => {
  using place = servingPlace()
  const before = await place.cli(['sign-in'])
  expect(before.code).toBe(1)
  expect(before.stderr).toContain('daypass serve')
  const serving = place.start(['serve'])
  await serving.until('"event":"listening"')
  const links = []
  for (const args of [['sign-in', '--json'], ['sign-in']]) {
    const { code, stdout, stderr } = await place.cli(args)
    expect(code).toBe(0)
    links.push(/http:[^\s"]+\/sign-in\/link\?code=[\w-]{43}/.exec(stdout + stderr)![0])
  }
  expect(links[0]).not.toBe(links[1])
  for (const link of links) expect((await fetch(link)).status).toBe(200)
  serving.child.kill('SIGTERM')
  expect((await serving.ended).code).toBe(0)
})
