import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { loadConfig } from '../../src/authority/config.ts'
import { Place } from './support/cli.ts'

function empty(): Place {
  const place = new Place()
  for (const name of ['daypass.yaml', 'lease.yaml']) rmSync(join(place.dir, name))
  return place
}

/** As clients write a variable. */
const VARIABLE = ['$', '{TEAM}'].join('')

const MCP_JSON = {
  mcpServers: {
    files: {
      command: 'npx',
      args: ['-y', '@modelcontextprotocol/server-filesystem@2026.8.31', './work'],
    },
    'Git Hub': {
      url: 'https://api.example/mcp?token=abcdef',
      headers: { Authorization: 'Bearer ghp_verysecret' },
    },
    odd: {
      command: 'odd',
      args: ['--api-key', 'hunter22', 'serve'],
      env: { ODD_TOKEN: 'hunter2', DEBUG: 'true', TEAM: VARIABLE },
    },
  },
}

test('init imports .mcp.json, binds known servers, and copies no secret', async () => {
  using place = empty()
  place.write('.mcp.json', JSON.stringify(MCP_JSON))
  place.write('.gitignore', 'node_modules/')
  const ended = await place.cli(['init'])
  expect(ended.code, ended.stderr).toBe(0)
  const text = readFileSync(join(place.dir, 'daypass.yaml'), 'utf8')
  expect(text).not.toMatch(/hunter|verysecret|abcdef/)
  expect(text).toContain('Authorization: Bearer env:GIT_HUB_AUTHORIZATION')
  expect(text).toContain('DEBUG: "true"')
  expect(text).toContain('TEAM: env:TEAM')
  expect(readFileSync(join(place.dir, '.gitignore'), 'utf8')).toBe('node_modules/\n.daypass/\n')
  for (const words of [
    'GIT_HUB_AUTHORIZATION',
    'ODD_TOKEN',
    'looks like a secret',
    'git-hub here',
  ]) {
    expect(ended.stderr).toContain(words)
  }
  const env = { GIT_HUB_AUTHORIZATION: 'a', ODD_TOKEN: 'b', TEAM: 'c' }
  Object.assign(process.env, env)
  const config = loadConfig(join(place.dir, 'daypass.yaml'))
  for (const name of Object.keys(env)) delete process.env[name]
  expect(config.ok && config.value.servers.map(({ name, catalog }) => [name, catalog])).toEqual([
    ['files', 'filesystem'],
    ['git-hub', null],
    ['odd', null],
  ])
})

test('init binds a git server to the repository it is in, and its remotes', async () => {
  using place = empty()
  const { execFileSync } = await import('node:child_process')
  const git = (...args: string[]) => execFileSync('git', args, { cwd: place.dir, stdio: 'ignore' })
  git('init')
  git('remote', 'add', 'origin', 'git@git.clord.example:clord/clord.git')
  mkdirSync(join(place.dir, '.vscode'))
  const servers = { git: { command: 'npx', args: ['@cyanheads/git-mcp-server'] } }
  place.write('.vscode/mcp.json', `// ours\n${JSON.stringify({ servers })}`)
  const ended = await place.cli(['init'])
  expect(ended.code, ended.stderr).toBe(0)
  const config = loadConfig(join(place.dir, 'daypass.yaml'))
  expect(config.ok && config.value.servers[0]).toMatchObject({
    catalog: 'git',
    bind: { worktree: place.dir, remotes: { origin: 'git.clord.example' } },
  })
})

test('init refuses to overwrite, and without anything to import writes a file that is valid', async () => {
  using place = empty()
  expect((await place.cli(['init'])).code).toBe(0)
  const text = readFileSync(join(place.dir, 'daypass.yaml'), 'utf8')
  expect(loadConfig(join(place.dir, 'daypass.yaml')).ok).toBe(true)
  const again = await place.cli(['init'])
  expect(again.code).toBe(2)
  expect(again.stderr).toContain('is there already; nothing was written')
  expect(readFileSync(join(place.dir, 'daypass.yaml'), 'utf8')).toBe(text)
})

test('init writes nothing when the client configuration is no JSON', async () => {
  using place = empty()
  place.write('.mcp.json', '{')
  expect((await place.cli(['init'])).code).toBe(2)
  expect(existsSync(join(place.dir, 'daypass.yaml'))).toBe(false)
})

test('without a project every command says how to make one', async () => {
  using place = empty()
  for (const command of [['ps'], ['show', 'run_x'], ['run', '--', 'true'], ['catalog', 'check']]) {
    const ended = await place.cli(command)
    expect(ended.code, command.join(' ')).toBe(2)
    expect(ended.stderr).toContain('write one: daypass init')
  }
})

test('doctor: all is well', async () => {
  using place = new Place()
  const ended = await place.cli(['doctor'])
  expect(ended.code, ended.stderr).toBe(0)
  for (const about of [
    'node',
    'config',
    'keys',
    'store',
    'clock',
    'server files',
    'catalog files',
  ]) {
    expect(ended.stderr).toMatch(new RegExp(`^\\+ ${about} `, 'm'))
  }
  expect(ended.stderr).toContain('14 of 14 tools as pinned')
})

test('doctor finds a server that fails, open keys, and a badge whose run is over', async () => {
  using place = new Place()
  const agent = [
    '--',
    process.execPath,
    '-e',
    'console.log(process.env.DAYPASS_BADGE, process.env.DAYPASS_URL)',
  ]
  const ran = await place.cli(['run', '-l', 'lease.yaml', '-y', ...agent])
  const [badge = '', url = ''] = ran.stdout.trim().split(' ')
  chmodSync(join(place.dir, '.daypass', 'authority.pem'), 0o644)
  const config = readFileSync(join(place.dir, 'daypass.yaml'), 'utf8')
  const failing = `[${process.execPath}, -e, "console.error('no such table'); process.exit(9)"]`
  place.write('daypass.yaml', `${config}\n  broken:\n    command: ${failing}\n`)
  const env = { DAYPASS_BADGE: badge, DAYPASS_URL: url }
  const ended = await place.cli(['doctor'], env)
  expect(ended.code).toBe(1)
  expect(ended.stderr).toContain('authority.pem')
  expect(ended.stderr).toMatch(/x server broken +exit 9\n +\| no such table/)
  expect(ended.stderr).toMatch(/x gateway +http:\S+ does not answer/)
  expect(ended.stderr).toMatch(/x lease +the run was closed/)
  const json = await place.cli(['doctor', '--json'], env)
  expect(JSON.parse(json.stdout)).toMatchObject({ ok: false })
})

test('doctor: a configuration with a mistake, a badge that is none', async () => {
  using place = new Place()
  place.write('daypass.yaml', 'version: 1\nsrevers: {}\n')
  const ended = await place.cli(['doctor'], { DAYPASS_BADGE: 'nonsense' })
  expect(ended.code).toBe(1)
  expect(ended.stderr).toMatch(/x config +\S+daypass\.yaml:2:1: unknown field `srevers`/)
  expect(ended.stderr).toMatch(/x badge +DAYPASS_BADGE is not a badge/)
})

test('catalog: list, actions, draft and pin', async () => {
  using place = new Place()
  expect((await place.cli(['catalog'])).stderr).toMatch(/^files +catalog filesystem$/m)
  expect((await place.cli(['catalog', 'actions'])).stderr).toMatch(
    /^pull_request\.create +open PR$/m,
  )
  const draft = await place.cli(['catalog', 'draft', 'files'])
  expect(draft.code, draft.stderr).toBe(0)
  expect(draft.stdout).toMatch(/^ {2}read_text_file:$/m)
  expect(draft.stdout).toContain('- fault: nobody has written yet what this tool touches')
  expect((await place.cli(['catalog', 'draft', 'nobody'])).code).toBe(2)
  expect((await place.cli(['catalog', 'pin', 'files.nothing'])).code).not.toBe(0)
})

test('usage: 2 with our words, help: 0, the table of exit statuses', async () => {
  using place = new Place()
  const wrong = await place.cli(['revoke'])
  expect(wrong.code).toBe(2)
  expect(wrong.stderr).toMatch(/^missing required argument `run`/)
  expect((await place.cli(['frobnicate'])).code).toBe(2)
  expect((await place.cli(['run', '-l', 'lease.yaml'])).code).toBe(2)
  expect((await place.cli(['--help'])).code).toBe(0)
  expect((await place.cli(['help', 'exit-codes'])).stdout).toContain('not approved: refused')
  expect((await place.cli(['--version'])).stdout).toMatch(/^\d+\.\d+\.\d+\n$/)
})
