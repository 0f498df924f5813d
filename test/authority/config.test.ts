import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { Ajv } from 'ajv'
import { afterAll, describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { type Config, type ConfigOptions, parseConfig } from '../../src/authority/config.ts'
import { checkConfig, shownConfig } from '../../src/authority/config-check.ts'
import { OVERRIDES } from '../../src/authority/config-env.ts'
import { configJsonSchema } from '../../src/authority/config-schema.ts'
import { hiding, Secret } from '../../src/authority/secret.ts'

const CANARY = 'canary-5f0e2c9b'
const folder = mkdtempSync(join(tmpdir(), 'daypass-config-'))
const FILE = join(folder, 'daypass.yaml')
afterAll(() => rmSync(folder, { recursive: true }))

function read(text: string, options: ConfigOptions = {}) {
  return parseConfig(text, FILE, { env: {}, ...options })
}
function good(text: string, options: ConfigOptions = {}): Config {
  const config = read(text, options)
  if (!config.ok) throw new Error(config.error.join('\n'))
  return config.value
}
function problems(text: string, options: ConfigOptions = {}): string[] {
  const config = read(text, options)
  return config.ok ? [] : config.error.map((each) => each.replace(`${FILE}:`, ''))
}

const FULL = `version: 1
servers:
  files:
    command: [node, server.js]
    env: { TOKEN: env:TOKEN }
    timeout: 90s
  remote:
    url: https://tools.example/mcp
    headers: { Authorization: Bearer env:TOKEN }
server: { url: https://daypass.example, listen: 0.0.0.0:8460, trust_proxy: 1 }
people:
  issuer: https://idp.example
  client_id: daypass
  client_secret: env:TOKEN
  roles: { claim: groups, map: { requester: [eng], approver: [leads] } }
  org: { claim: hd, map: { clord.example: clord } }
machines:
  - client_id: ci
    jwks_uri: https://ci.example/jwks
    roles: [requester]
    templates: [look]
oauth: { require_dpop: true, dynamic_registration: false }
approvals: { self: false, answer_within: 10m }
policy:
  read_only: { under: 30m, templates: [look] }
  person: [issue.read]
  approve:
    - { actions: [production.deploy], roles: [admin] }
    - { effects: [destructive], persons: [lead@clord.example], self: false }
  resources:
    - { orgs: [clord], allow: { repos: [clord, "clord/**"], tenants: [clord] } }
  longest:
    - { effects: [egress], expires_in: 15m }
  on_exceed: suspend
  templates: { requester: [look], admin: [look, deploy] }
  own_leases: [admin]
limits: { max_expires_in: 4h, max_tool_calls: 200, per_caller: 100, prompts: 5 }
`

describe('daypass.yaml', () => {
  test('says all that it can say', () => {
    const config = good(FULL, { env: { TOKEN: CANARY } })
    expect(config.server).toEqual({
      url: 'https://daypass.example',
      listen: { host: '0.0.0.0', port: 8460 },
      trustProxy: 1,
    })
    expect(config.people).toMatchObject({ clientId: 'daypass', personClaim: 'email' })
    expect(config.people!.clientSecret.unsafeValue()).toBe(CANARY)
    expect(config.machines).toEqual([
      {
        clientId: 'ci',
        key: { kind: 'url', url: 'https://ci.example/jwks' },
        org: null,
        roles: ['requester'],
        templates: ['look'],
      },
    ])
    expect(config.oauth).toEqual({
      requireDpop: true,
      dynamicRegistration: false,
      clientMetadata: true,
    })
    expect(config.approvals).toEqual({ self: false, answerSeconds: 600 })
    expect(config.policy.longest).toEqual([{ effects: ['egress'], expires_in: 900 }])
    expect(config.limits).toMatchObject({ maxExpiresInSeconds: 14_400, maxToolCalls: 200 })
    expect(config.rates).toMatchObject({ perCaller: 100, prompts: 5, perAddress: 120_000 })
    const [files, remote] = config.servers.map(({ upstream }) => upstream)
    expect(files).toMatchObject({ env: { TOKEN: CANARY }, timeoutMs: 90_000 })
    expect(remote).toMatchObject({ headers: { Authorization: `Bearer ${CANARY}` } })
  })

  test('that says nothing is a local installation without servers', () => {
    expect(good('')).toMatchObject({ servers: [], people: null, machines: [], policy: {} })
  })

  test('keeps its older way to let read-only leases through', () => {
    expect(good('approvals: { read_only_under: 20m }').policy.read_only).toEqual({ under: 1200 })
    const both = 'approvals: { read_only_under: 20m }\npolicy: { read_only: { under: 5m } }'
    expect(problems(both)).toEqual([expect.stringContaining('keep one of them')])
  })

  test.each<[string, string, string]>([
    ['a misspelt section', 'srevers: {}', '1:1: unknown field `srevers`; did you mean `servers`?'],
    ['a misspelt field', 'limits:\n  max_expire_in: 1h', '2:3: unknown field `max_expire_in`'],
    ['a duration', 'limits:\n  max_expires_in: 90', '2:19: must be a duration such as 30m'],
    ['a far duration', 'limits: { max_expires_in: 99999h }', '1:27: is more than a year'],
    ['a missing field', 'people: { issuer: "https://a.example" }', '`client_id` is missing'],
    ['a list', 'servers: []', '1:10: must be a map'],
    ['a server name', 'servers: { Files: { url: "https://a" } }', '1:12: names are lower-case'],
    ['no way to a server', 'servers:\n  a: { catalog: git }', '2:3: write either `command:'],
    ['a shell', 'servers: { a: { command: "npx -y x" } }', 'no shell reads this'],
    ['a pattern', 'policy: { person: ["a.**.b.**"] }', '1:20: '],
    ['an effect', 'policy: { longest: [{ effects: [read], expires_in: 1h }] }', 'must be one of'],
    [
      'a rule without demand',
      'policy: { approve: [{ actions: [repo.push] }] }',
      'asks for nothing',
    ],
    ['a machine that approves', 'machines: [{ client_id: a, roles: [approver] }]', 'never approve'],
    ['a machine without key', 'machines: [{ client_id: a, roles: [auditor] }]', 'write one of'],
    ['a secret', 'people: { client_secret: hunter2 }', 'must be env:NAME, file:PATH or exec:'],
    ['an open port', 'server: { listen: "0.0.0.0:80" }', 'badges would travel in the clear'],
    ['plain http', 'server: { url: "http://daypass.example" }', 'must be https'],
    ['a path', 'server: { url: "https://a.example/x" }', 'must be an origin'],
    ['a version', 'version: 2', '1:10: this build reads version 1'],
    ['an alias', 'a: &x 1\nb: *x', 'anchors and aliases'],
  ])('tells the place of %s', (_what, text, problem) => {
    expect(problems(text).join('\n')).toContain(problem)
  })

  test('tells every problem at once', () => {
    expect(problems('limits: { per_caller: 0 }\noauth: { require_dpop: 1 }\nx: 1')).toHaveLength(3)
  })
})

describe('the environment', () => {
  test('stands above the file', () => {
    const env = { DAYPASS_SERVER_URL: 'https://b.example', DAYPASS_OAUTH_REQUIRE_DPOP: 'true' }
    const config = good('server: { url: https://a.example }', { env })
    expect(config.server.url).toBe('https://b.example')
    expect(config.oauth.requireDpop).toBe(true)
  })

  test('is named where it is wrong, and a variable that nobody knows is an error', () => {
    expect(problems('', { env: { DAYPASS_SERVER_URL: 'b' } })).toEqual([
      expect.stringMatching(/^DAYPASS_SERVER_URL: must be an origin/),
    ])
    const env = { DAYPASS_LIMITS_PERCALLER: '1', DAYPASS_USER: 'x', DAYPASS_URL: 'y' }
    expect(problems('', { env })).toEqual([
      expect.stringMatching(/^DAYPASS_LIMITS_PERCALLER: no such variable/),
    ])
  })

  test('does not say who may do what', () => {
    const sections = Object.values(OVERRIDES).map(([section]) => section)
    expect(sections).not.toContain('policy')
    expect(sections).not.toContain('approvals')
    expect(problems('', { env: { DAYPASS_POLICY_ON_EXCEED: 'ask' } })).toHaveLength(1)
  })
})

describe('secrets', () => {
  const server = (value: string) => `servers: { a: { command: [x], env: { T: "${value}" } } }`
  const envOf = (value: string, env: NodeJS.ProcessEnv = {}) => {
    const [first] = good(server(value), { env }).servers
    return (first!.upstream as { env: Record<string, string> }).env.T
  }
  const script = (name: string, body: string) => {
    writeFileSync(join(folder, name), `#!/bin/sh\n${body}\n`)
    chmodSync(join(folder, name), 0o755)
  }

  test('come from the environment, a file beside the configuration, or a program', () => {
    mkdirSync(join(folder, 'keys'), { recursive: true })
    writeFileSync(join(folder, 'keys/token'), `${CANARY}\n`)
    script('give', 'printf "%s" "$1-$#"')
    expect(envOf('a env:A b', { A: 'x' })).toBe('a x b')
    expect(envOf('file:keys/token')).toBe(CANARY)
    // No shell: what would expand, or start another program, is a word.
    expect(envOf('exec:./give $HOME;ls two')).toBe('$HOME;ls-2')
  })

  test('that do not come are told without what was said about them', () => {
    script('fail', `echo ${CANARY}; echo ${CANARY} >&2; exit 3`)
    script('much', 'head -c 100000 /dev/zero | tr "\\\\0" x')
    const told = (value: string) => problems(server(value)).join()
    expect(told('exec:./fail now')).toContain('`./fail` failed (exit 3)')
    expect(told('exec:./fail now')).not.toContain(CANARY)
    expect(told('exec:./much')).toContain('too much for a secret')
    expect(told('exec:./nowhere')).toContain('no program `./nowhere`')
    expect(told('file:nowhere')).toContain("can't read `file:nowhere`")
    expect(told('env:NOWHERE')).toContain('the environment has no `NOWHERE`')
  })

  test('stay references where no server is started', () => {
    const [first] = good(server('env:NOWHERE'), { secrets: 'leave' }).servers
    expect(first!.upstream).toMatchObject({ env: { T: 'env:NOWHERE' } })
  })

  test('threat 78: are hidden however they are written out', () => {
    const secret = new Secret(CANARY)
    const said = [String(secret), `${secret}`, JSON.stringify({ secret }), inspect({ secret })]
    for (const text of said) {
      expect(text).not.toContain(CANARY)
      expect(text).toContain('[secret]')
    }
    expect(hiding([secret])(`bad token ${CANARY}!`)).toBe('bad token [secret]!')
  })

  test('threat 78: are hidden in what is shown of the configuration', () => {
    const text = `servers:
  a:
    command: [x, --api-key, ${CANARY}, --token=${CANARY}]
    env: { A: ${CANARY}, B: env:B, C: Bearer env:C }
  b:
    url: https://user:${CANARY}@tools.example/mcp?key=${CANARY}
    headers: { X: ${CANARY} }
`
    writeFileSync(FILE, text)
    const shown = JSON.stringify(shownConfig(FILE, {}))
    expect(shown).not.toContain(CANARY)
    expect(shown).toContain('"B":"env:B","C":"Bearer env:C"')
  })
})

describe('config check', () => {
  test('finds what is wrong in catalogs, bindings, templates and rules', () => {
    mkdirSync(join(folder, 'templates'), { recursive: true })
    writeFileSync(join(folder, 'templates/broken.yaml'), 'lease:\n  purpose: x\n')
    writeFileSync(
      FILE,
      `servers:
  a: { command: [x], catalog: nowhere }
policy:
  person: [production.deplo]
  read_only: { under: 5m, templates: [broken] }
`,
    )
    const found = checkConfig(FILE)
    const all = found.join('\n')
    expect(all).toContain(`${FILE}:2:31: server \`a\`: no catalog \`nowhere\``)
    expect(all).toContain(`${FILE}:4:12: no known action is \`production.deplo\`; did you mean`)
    expect(all).toContain(`${FILE}:5:39: no template \`broken\``)
    expect(all).toMatch(/templates\/broken\.yaml:2:3: /)
    rmSync(join(folder, 'templates'), { recursive: true })
  })
})

describe('schemas/daypass.schema.json', () => {
  const path = new URL('../../schemas/daypass.schema.json', import.meta.url)
  const schema = JSON.parse(readFileSync(path, 'utf8'))
  const validate = new Ajv({ allErrors: true, strict: false }).compile(schema)

  test('is what the parser is made of', () => {
    expect(schema).toEqual(JSON.parse(JSON.stringify(configJsonSchema())))
  })

  test('agrees with the parser about the shape', () => {
    expect(validate(parse(FULL))).toBe(true)
    const wrong = ['srevers: {}', 'limits: { per_caller: 0 }', 'policy: { on_exceed: allow }']
    for (const text of wrong) {
      expect(validate(parse(text)), text).toBe(false)
      expect(problems(text), text).not.toEqual([])
    }
  })
})
