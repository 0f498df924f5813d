import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { LEASE, Place } from './support/cli.ts'

const NAP_CATALOG = `catalog: nap
version: 1
title: Nap
server: { package: nap, version: "1" }
actions: { nap.take: { effect: destructive, reversible: false } }
tools:
  take: { definition: ${'a'.repeat(64)}, args: {}, rules: [{ do: nap.take, on: {} }] }
`

const QUESTIONS = [
  'Which user asked for the task?',
  'What was the task supposed to be?',
  'Which tool calls were approved?',
  'When does the run stop?',
  'Is each retry still inside the original scope?',
  'Is the agent acting directly or through a subagent?',
  'Should the permission still exist now?',
]

describe('a run that has ended', () => {
  let place: Place
  let run: string

  beforeAll(async () => {
    place = new Place()
    const steps = [place.step('read_text_file', 'a.txt'), place.step('read_text_file', '.env')]
    const ended = await place.cli(['run', '-l', 'lease.yaml', '-y', ...place.agent(...steps)])
    expect(ended.code, ended.stderr).toBe(0)
    run = /run_[a-z0-9]{20}/.exec(ended.stderr)![0]
  })
  afterAll(() => place[Symbol.dispose]())

  const path = () => join(place.dir, '.daypass', 'receipts', `${run}.json`)

  test.each(QUESTIONS.map((question, index) => [index + 1, question] as const))(
    'explain answers question %i: %s',
    async (number, question) => {
      explained ??= (await place.cli(['explain', run])).stderr
      const answers = [
        'mira@clord.example asked looker',
        'look at files',
        'mira@clord.example approved file.read, file.write',
        'It stopped at',
        'No retry was recorded',
        'Directly: looker',
        'No: the lease ended',
      ]
      const at = explained.indexOf(`${number} ${question}\n  ${answers[number - 1]}`)
      expect(at, explained).toBeGreaterThan(-1)
    },
  )
  let explained: string | undefined

  test('explain answers about one call, denied or allowed', async () => {
    const { stdout } = await place.cli(['show', run, '--json'])
    const calls = [...stdout.matchAll(/"call": "(call_\w+)"/g)].map(([, call]) => call!)
    const denied = await place.cli(['explain', calls.at(-1)!])
    expect(denied.stderr).toContain('Was this tool call approved?')
    expect(denied.stderr).toContain('denied_by_lease')
    const json = await place.cli(['explain', calls[0]!.slice(0, 12), '--json'])
    expect(JSON.parse(json.stdout)).toMatchObject({ run, standing: { facts: { exists: false } } })
    expect((await place.cli(['explain', 'call_nobody'])).code).toBe(2)
  })

  test('verify: 0 with the own key, 0 with the exported key anywhere, 2 with a key of somebody else', async () => {
    using other = new Place()
    other.write('key.pub', (await place.cli(['key', 'export'])).stdout)
    expect((await other.cli(['verify', path()])).code).toBe(2)
    const given = await other.cli(['verify', path(), '--key', 'key.pub'])
    expect(given.code, given.stderr).toBe(0)
    expect((await other.cli(['trust', 'add', 'key.pub'])).code).toBe(0)
    expect((await other.cli(['verify', path()])).code).toBe(0)
    await other.cli(['run', '-l', 'lease.yaml', '-y', '--', process.execPath, '-e', '0'])
    other.write('own.pub', (await other.cli(['key', 'export'])).stdout)
    const wrong = await other.cli(['verify', path(), '--key', 'own.pub'])
    expect(wrong.code).toBe(2)
    expect(wrong.stderr).toContain('a key you have not pinned')
  })

  test('verify: 1 when one fact is changed, and for what is no receipt', async () => {
    const text = readFileSync(path(), 'utf8')
    place.write('forged.json', text.replaceAll('work/a.txt', 'work/b.txt'))
    const forged = await place.cli(['verify', 'forged.json'])
    expect(forged.code).toBe(1)
    expect(forged.stderr).toMatch(/^x NOT VERIFIED/)
    place.write('nothing.json', 'not json')
    expect((await place.cli(['verify', 'nothing.json'])).code).toBe(1)
    expect((await place.cli(['verify', 'missing.json'])).code).toBe(2)
    const json = await place.cli(['verify', 'forged.json', '--json'])
    expect(JSON.parse(json.stdout)).toMatchObject({ verdict: 'tampered', exit: 1 })
  })

  test('a private key is never taken for a public one', async () => {
    const pem = join(place.dir, '.daypass', 'authority.pem')
    const ended = await place.cli(['verify', path(), '--key', pem])
    expect(ended.code).toBe(2)
    expect(ended.stderr).toContain('is not an Ed25519 public key')
  })

  test('receipt prints it again; a beginning of the id will do, an unknown one will not', async () => {
    const again = await place.cli(['receipt', run.slice(4, 12)])
    expect(again.code, again.stderr).toBe(0)
    expect(again.stderr).toContain('1 Tools called        1 call, 0 privileged, 0 unknown')
    const json = await place.cli(['receipt', run, '--json'])
    expect(JSON.parse(json.stdout)).toEqual(JSON.parse(readFileSync(path(), 'utf8')))
    const unknown = await place.cli(['receipt', 'run_nobody'])
    expect(unknown.code).toBe(2)
    expect(unknown.stderr).toBe('no run `run_nobody` here\n  daypass ps --all lists them\n')
  })

  test('ps --all: one row of full values for each run, on stdout', async () => {
    const { stdout, stderr } = await place.cli(['ps', '--all'])
    expect(stderr).toBe('')
    const row = stdout.trimEnd().split('\t')
    expect(row.slice(0, 4)).toEqual([run, 'completed', 'look at files', 'mira@clord.example'])
  })
})

test("a project's own actions are called by name, without its servers or their secrets", async () => {
  using place = new Place()
  place.write('own.yaml', LEASE.replace('file.write]', 'file.write, nap.take]'))
  const ended = await place.cli(['run', '-l', 'own.yaml', '-y', ...place.agent()])
  expect(ended.code, ended.stderr).toBe(0)
  const run = /run_[a-z0-9]{20}/.exec(ended.stderr)![0]
  expect((await place.cli(['show', run])).stderr).toContain('unknown `nap.take`')
  const config = readFileSync(join(place.dir, 'daypass.yaml'), 'utf8')
  const nap = '{ command: [nap], catalog: ./nap.yaml, env: { TOKEN: env:NOBODY_HAS_THIS } }'
  place.write('daypass.yaml', `${config}\n  nap: ${nap}\n`)
  place.write('nap.yaml', NAP_CATALOG)
  const { stderr } = await place.cli(['show', run])
  expect(stderr).toContain('nap.take on')
  expect(stderr).not.toContain('unknown')
  const actions = (await place.cli(['catalog', 'actions'])).stderr
  expect(actions).toMatch(/^nap\.take +nap\.take {2}! can't be undone$/m)
})
