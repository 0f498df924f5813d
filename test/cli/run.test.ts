import { execFileSync } from 'node:child_process'
import { chmodSync, existsSync, readFileSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { Receipt } from '../../src/ledger/receipt.ts'
import { LEASE, Place, READ_ONLY_LEASE } from './support/cli.ts'

test('run --yes: calls are judged, the receipt is saved and verifies', async () => {
  using place = new Place()
  const agent = place.agent(
    place.step('read_text_file', 'a.txt'),
    place.step('read_text_file', '.env'),
    place.step('write_file', 'b.txt', { content: 'new' }),
  )
  const ended = await place.cli(['run', '--lease', 'lease.yaml', '--yes', ...agent])
  expect(ended.code, ended.stderr).toBe(0)
  expect(ended.stdout).toContain('agent: files.read_text_file ok: hello')
  expect(ended.stdout).toContain('Denied: secret.read')
  expect(readFileSync(join(place.work, 'b.txt'), 'utf8')).toBe('new')
  expect(ended.stderr).toMatch(/\+ Allowed by mira@clord\.example at \d\d:\d\d:\d\d, prompt /)
  expect(ended.stderr).toMatch(
    /^20\d\d-\S+Z x denied secret\.read work\/\.env \(denied_by_lease\)$/m,
  )
  expect(ended.stderr).toContain('1 Tools called        2 calls, 1 privileged, 0 unknown')
  const [name = ''] = place.receipts()
  const file = join(place.dir, '.daypass', 'receipts', name)
  expect(statSync(file).mode & 0o777).toBe(0o600)
  const receipt = JSON.parse(readFileSync(file, 'utf8')) as Receipt
  expect(receipt.body.identity.requester).toBe('mira@clord.example')
  expect(receipt.body.ended?.reason).toBe('completed')
  const verified = await place.cli(['verify', name])
  expect(verified.code, verified.stderr).toBe(0)
  expect(verified.stderr).toMatch(/^\+ VERIFIED {2}run_/)
  expect(existsSync(join(place.dir, '.daypass', 'server.json'))).toBe(false)
})

test("the agent's status is passed on, and it never gets an operator's token or a server's secret", async () => {
  using place = new Place()
  const config = readFileSync(join(place.dir, 'daypass.yaml'), 'utf8')
  place.write(
    'daypass.yaml',
    config.replace('    catalog:', '    env: { K: "env:SERVER_KEY" }\n    catalog:'),
  )
  const names = ['SERVER_KEY', 'DAYPASS_OPERATOR_TOKEN', 'DAYPASS_USER', 'PLAIN', 'DAYPASS_RUN']
  const agent = place.agent(...names.map((name) => `env=${name}`), 'exit=7')
  const env = { SERVER_KEY: 'hush', DAYPASS_OPERATOR_TOKEN: 'hush', PLAIN: 'kept' }
  const ended = await place.cli(['run', '-l', 'lease.yaml', '-y', ...agent], env)
  expect(ended.code).toBe(7)
  expect(ended.stdout).toContain('SERVER_KEY=undefined')
  expect(ended.stdout).toContain('DAYPASS_OPERATOR_TOKEN=undefined')
  expect(ended.stdout).toContain('DAYPASS_USER=undefined')
  expect(ended.stdout).toContain('PLAIN=kept')
  expect(ended.stdout).toMatch(/DAYPASS_RUN=run_/)
  expect(ended.stderr).toContain('Kept from the agent: SERVER_KEY')
})

test('the MCP configuration names the badge without holding it, and is gone afterwards', async () => {
  using place = new Place()
  const script =
    "const f=process.env.DAYPASS_MCP_CONFIG,fs=require('fs');" +
    "console.log(f, (fs.statSync(f).mode&0o777).toString(8), fs.readFileSync(f,'utf8'))"
  const ended = await place.cli([
    'run',
    '-l',
    'lease.yaml',
    '-y',
    '--',
    process.execPath,
    '-e',
    script,
  ])
  const [file = '', mode] = ended.stdout.split(' ')
  expect(mode).toBe('600')
  // biome-ignore lint/suspicious/noTemplateCurlyInString: as it stands in the file
  expect(ended.stdout).toContain('"Bearer ${DAYPASS_BADGE}"')
  expect(ended.stdout).not.toContain('eyJ')
  expect(existsSync(file)).toBe(false)
})

test('claude is told to use the door and nothing else', async () => {
  using place = new Place()
  const claude = place.write('claude', '#!/bin/sh\necho "args: $@"\n')
  chmodSync(claude, 0o755)
  const ended = await place.cli(['run', '-l', 'lease.yaml', '-y', '--', claude, '-p', 'do it'])
  expect(ended.stdout).toMatch(/^args: --mcp-config \S+mcp\.json --strict-mcp-config -p do it$/m)
})

test('--json: one document on stdout, whatever the agent prints', async () => {
  using place = new Place()
  const agent = place.agent(place.step('read_text_file', 'a.txt'))
  const ended = await place.cli(['run', '-l', 'lease.yaml', '-y', '--json', ...agent])
  expect(JSON.parse(ended.stdout)).toMatchObject({ calls: 1, denied: 0, unknown: 0, exit: 0 })
  expect(ended.stderr).toContain('agent: connected')
})

test('a program that is not there: 127, and the run is over', async () => {
  using place = new Place()
  const ended = await place.cli(['run', '-l', 'lease.yaml', '-y', '--', './nowhere'])
  expect(ended.code).toBe(127)
  expect(ended.stderr).toContain('`./nowhere` was not found')
  expect((await place.cli(['ps'])).stdout).toBe('')
})

test('--no-wait without a terminal exits 3 at once, and piped input is no answer', async () => {
  using place = new Place()
  const run = place.start(['run', '-l', 'lease.yaml', '--no-wait', ...place.agent()])
  run.type('a\n')
  const ended = await run.ended
  expect(ended.code).toBe(3)
  expect(ended.stdout).toBe('')
  expect(ended.stderr).toContain('nobody can be asked here')
  expect((await place.cli(['ps'])).stdout).toBe('')
})

test('without a terminal a run waits, and starts when it is approved elsewhere', async () => {
  using place = new Place()
  const run = place.start(['run', '-l', 'lease.yaml', ...place.agent('env=PATH')])
  run.type('a\na\n')
  await run.until('Waiting for a yes')
  expect(run.stdout).toBe('')
  const [id = '', state] = (await place.cli(['ps'])).stdout.split('\t')
  expect(state).toBe('waits')
  // Without a terminal nobody can have read the prompt, so approving says so.
  expect((await place.cli(['approve', id])).code).toBe(3)
  const approved = await place.cli([
    'approve',
    id.slice(0, 9),
    '--yes',
    '--as',
    'sam@clord.example',
  ])
  expect(approved.code, approved.stderr).toBe(0)
  expect(approved.stderr).toContain('Task         look at files')
  const ended = await run.ended
  expect(ended.code, ended.stderr).toBe(0)
  expect(ended.stderr).toContain('+ Allowed by sam@clord.example')
  expect(ended.stdout).toContain('agent: connected')
})

test('refused elsewhere: 3, with the reason, and nothing is started', async () => {
  using place = new Place()
  const run = place.start(['run', '-l', 'lease.yaml', ...place.agent()])
  await run.until('Waiting for a yes')
  const [id = ''] = (await place.cli(['ps'])).stdout.split('\t')
  expect((await place.cli(['refuse', id, '--reason', 'not today'])).code).toBe(0)
  const ended = await run.ended
  expect(ended.code).toBe(3)
  expect(ended.stderr).toContain('refused by mira@clord.example: not today')
  expect(ended.stdout).toBe('')
})

test('self approval can be forbidden: --yes is refused then', async () => {
  using place = new Place({ approvals: 'approvals: { self: false }' })
  const ended = await place.cli(['run', '-l', 'lease.yaml', '-y', ...place.agent()])
  expect(ended.code).toBe(3)
  expect(ended.stderr).toContain('mira@clord.example asked, so somebody else must answer')
})

test('a read-only lease needs nobody where the configuration says so; one that writes does', async () => {
  using place = new Place({ approvals: 'approvals: { read_only_under: 30m }' })
  place.write('read.yaml', READ_ONLY_LEASE)
  const read = await place.cli(['run', '-l', 'read.yaml', '--no-wait', ...place.agent()])
  expect(read.code, read.stderr).toBe(0)
  expect(read.stderr).toContain('+ Allowed by policy read_only')
  const write = await place.cli(['run', '-l', 'lease.yaml', '--no-wait', ...place.agent()])
  expect(write.code).toBe(3)
})

test('a mistake in the lease starts nothing and says where it is', async () => {
  using place = new Place()
  place.write('bad.yaml', READ_ONLY_LEASE.replace('10m', '10 mins'))
  const ended = await place.cli(['run', '-l', 'bad.yaml', '-y', ...place.agent()])
  expect(ended.code).toBe(2)
  expect(ended.stderr).toMatch(/^bad\.yaml:\d+:\d+: unknown duration `10 mins`/)
  expect(ended.stderr).toContain('nothing was started.')
  expect(existsSync(join(place.dir, '.daypass'))).toBe(false)
})

test("an envelope's requested_by must be the signed-in person", async () => {
  using place = new Place()
  const soon = new Date(Date.now() + 600_000).toISOString().replace(/\.\d+/, '')
  place.write(
    'envelope.yaml',
    `requested_by: sam@clord.example
agent: looker
purpose: look at files
expires_at: ${soon}
allowed_tools: [file.read, file.write]
---
${READ_ONLY_LEASE.replace(/^ {2}expires_in.*\n/m, '')}`,
  )
  const ended = await place.cli(['run', '-l', 'envelope.yaml', '-y', ...place.agent()])
  expect(ended.code, ended.stderr).toBe(2)
  expect(ended.stderr).toContain(
    '`requested_by: sam@clord.example`, but you are `mira@clord.example`',
  )
})

test('a lease ends when its envelope says so, and not before', async () => {
  using place = new Place()
  const end = Math.floor(Date.now() / 1000) * 1000 + 120_000
  const lease = READ_ONLY_LEASE.replace(/^ {2}expires_in.*\n/m, '')
  place.write(
    'envelope.yaml',
    `requested_by: mira@clord.example
agent: looker
purpose: look at files
expires_at: ${new Date(end).toISOString()}
allowed_tools: [file.read]
---
${lease}`,
  )
  const ended = await place.cli(['run', '-l', 'envelope.yaml', '-y', '--json', ...place.agent()])
  expect(ended.code, ended.stderr).toBe(0)
  const { ended: how } = JSON.parse(ended.stdout) as { ended: { expiresAt: number } }
  // Whole seconds of life are counted from the request on.
  expect(end - how.expiresAt).toBeGreaterThanOrEqual(0)
  expect(end - how.expiresAt).toBeLessThan(1_000)
})

test('a server that fails: where it is configured and what to do; --without starts the rest', async () => {
  using place = new Place()
  const config = readFileSync(join(place.dir, 'daypass.yaml'), 'utf8')
  place.write('daypass.yaml', `${config}\n  broken:\n    command: [./no-such-server]\n`)
  const ended = await place.cli(['run', '-l', 'lease.yaml', '-y', ...place.agent()])
  expect(ended.code).toBe(1)
  expect(ended.stderr).toContain("can't reach the broken server `./no-such-server`")
  expect(ended.stderr).toMatch(/daypass\.yaml:\d+ {2}servers\.broken\.command/)
  expect(ended.stderr).toContain('start without it: --without broken')
  const without = ['run', '-l', 'lease.yaml', '-y', '--without', 'broken', ...place.agent()]
  expect((await place.cli(without)).code).toBe(0)
})

test('--without a server that is not there starts nothing and lists those that are', async () => {
  using place = new Place()
  for (const start of [
    ['run', '-l', 'lease.yaml', '-y'],
    ['mcp', '-l', 'lease.yaml', '-y'],
  ]) {
    const agent = start[0] === 'run' ? place.agent() : []
    const ended = await place.cli([...start, '--without', 'file', ...agent])
    expect(ended.code, ended.stderr).toBe(2)
    expect(ended.stderr).toBe('no server `file`; there are: files\n  nothing was started.\n')
  }
  expect(existsSync(join(place.dir, '.daypass'))).toBe(false)
})

test('without a lease: the read-only draft, which --draft prints', async () => {
  using place = new Place()
  const draft = await place.cli(['run', '--draft'])
  expect(draft.code).toBe(0)
  expect(draft.stdout).toContain('file.read')
  expect(draft.stdout).not.toMatch(/write|secret|delete/)
  place.write('draft.yaml', draft.stdout)
  expect((await place.cli(['prompt', 'draft.yaml'])).stderr).toContain('Write no | Delete no')
  const agent = place.agent(
    place.step('read_text_file', 'a.txt'),
    place.step('write_file', 'c.txt', { content: 'x' }),
  )
  const ended = await place.cli(['run', '--yes', ...agent])
  expect(ended.code, ended.stderr).toBe(0)
  expect(ended.stdout).toContain('ok: hello')
  expect(ended.stdout).toContain('Denied: file.write')
  expect(existsSync(join(place.work, 'c.txt'))).toBe(false)
})

test("an agent that may read the project can't read the operator's token through the door", async () => {
  using place = new Place()
  const config = readFileSync(join(place.dir, 'daypass.yaml'), 'utf8')
  place.write('daypass.yaml', config.replaceAll('./work', '.'))
  const token = `files.read_text_file=${JSON.stringify({ path: join(place.dir, '.daypass/server.json') })}`
  place.write('wide.yaml', LEASE.replace('  deny: [secret.read]\n', ''))
  const ended = await place.cli(['run', '-l', 'wide.yaml', '-y', ...place.agent(token)])
  expect(ended.code, ended.stderr).toBe(0)
  expect(ended.stdout).toMatch(/Denied: a call of files\.read_text_file\. \(facts_unsound/)
})

test('the draft for a git server and its files can be used as it is', async () => {
  using place = new Place()
  execFileSync('git', ['init', '-q', '-b', 'main', place.work])
  const author = ['-c', 'user.email=a@clord.example', '-c', 'user.name=a']
  execFileSync('git', [...author, 'commit', '-q', '--allow-empty', '-m', 'first'], {
    cwd: place.work,
  })
  const bin = (name: string) => join(import.meta.dirname, '../../node_modules', name)
  const files = bin('@modelcontextprotocol/server-filesystem/dist/index.js')
  const git = bin('@cyanheads/git-mcp-server/dist/index.js')
  rmSync(join(place.dir, 'daypass.yaml'))
  const mcpServers = {
    files: { command: process.execPath, args: [files, './work'] },
    git: { command: process.execPath, args: [git] },
  }
  place.write('work/.mcp.json', JSON.stringify({ mcpServers }).replace('./work', '.'))
  const inWork = { cwd: place.work }
  expect((await place.cli(['init'], {}, inWork)).code).toBe(0)
  const path = JSON.stringify({ path: place.work })
  const agent = place.agent(`git.git_log=${path}`, `files.list_directory=${path}`)
  const ended = await place.cli(['run', '-y', ...agent], {}, inWork)
  expect(ended.code, ended.stderr).toBe(0)
  expect(ended.stdout).toContain('agent: git.git_log ok')
  expect(ended.stdout).toContain('agent: files.list_directory ok')
})
