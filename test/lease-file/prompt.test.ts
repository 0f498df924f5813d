import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Terms } from '../../src/core/lease.ts'
import { deniesAction, matchesAction, parseActionPattern } from '../../src/core/pattern.ts'
import { type Prompt, promptHash, promptOf, promptText } from '../../src/lease-file/prompt.ts'
import { renderPrompt } from '../../src/lease-file/render-prompt.ts'
import { describeGrant, phraseOf } from '../../src/lease-file/words.ts'
import { columnsOf } from '../../src/lease-file/wrap.ts'
import { context, lease, parseFixture, parseText, read, vocabulary } from './support.ts'

function promptOfFixture(name: string): Prompt {
  const { terms, problems } = parseFixture(name)
  return promptOf(terms!, context({ warnings: problems }))
}

function promptOfText(text: string, more = {}): Prompt {
  const { terms, problems } = parseText(text)
  return promptOf(terms!, context({ warnings: problems, ...more }))
}

const linesOf = (prompt: Prompt, label: string) =>
  prompt.sections
    .find((section) => section.label === label)!
    .lines.map((line) => {
      const clauses = line.clauses.map(({ mark, text }) => (mark ? `${mark} ${text}` : text))
      return `${line.name ?? ''}${line.name ? ': ' : ''}${clauses.join('; ')}`
    })

const glanceOf = (prompt: Prompt) =>
  Object.fromEntries(prompt.glance.map(({ question, answer }) => [question, answer]))

const ESSAY = {
  Task: 'update the dependency and open a PR',
  Allowed: 'read repo, create branch, commit files, run tests, open PR',
  'Not allowed': 'merge PR, deploy, edit secrets, change billing, invite users',
  Budget: '30 tool calls, 20 minutes, no subagents without approval',
  Expires: 'when PR is opened or after 30 minutes',
  Receipt: 'final summary includes every privileged tool call',
}

describe("the essay's own prompt", () => {
  test('as data: the six lines word for word', () => {
    const { sections } = promptOfFixture('essay-prompt.yaml')
    const six = sections.slice(0, 6).map(({ label, text }) => [label, text])
    expect(Object.fromEntries(six)).toEqual(ESSAY)
  })

  test.each([80, 59, 39])('as text of %d columns, label to words after unwrapping', (columns) => {
    const text = renderPrompt(promptOfFixture('essay-prompt.yaml'), { columns, color: false })
    const wide = columns >= 60
    for (const [label, words] of Object.entries(ESSAY)) {
      const lines = text.split('\n')
      const at = lines.findIndex((line) => line === label || line.startsWith(`${label} `))
      const indent = wide ? 13 : 2
      const own = wide ? [lines[at]!.slice(13)] : []
      for (const line of lines.slice(at + 1)) {
        if (line.search(/[^ ]/) !== indent || line[indent] === '>') break
        own.push(line.trim())
      }
      expect(`${label}: ${own.join(' ')}`).toBe(`${label}: ${words}`)
    }
  })
})

test.each([
  ['essay-prompt.yaml', 'essay-prompt', 80],
  ['essay-prompt.yaml', 'essay-prompt', 59],
  ['essay-prompt.yaml', 'essay-prompt', 39],
  ['valid/full.yaml', 'full', 80],
  ['valid/full.yaml', 'full', 59],
  ['valid/full.yaml', 'full', 39],
  ['valid/terminal-prompt.yaml', 'terminal-prompt', 80],
  ['valid/wildcards.yaml', 'wildcards', 80],
  ['valid/essay-envelope.yaml', 'essay-envelope', 80],
  ['warning/unknown-action.yaml', 'unknown-action', 80],
])('golden: %s as %s in %d columns', (fixture, name, columns) => {
  const text = renderPrompt(promptOfFixture(fixture), { columns, color: false })
  expect(`${text}\n`).toBe(read(`test/fixtures/leases/prompts/${name}.${columns}.txt`))
})

describe('layout', () => {
  const hard = lease({
    purpose: '日本語 '.repeat(30).trim(),
    resources: `{ repos: [${'r'.repeat(120)}], branches: [${'agent/x'.repeat(20)}] }`,
    deny: '[production.deploy, secret.read, secret.write, user.invite, billing.write]',
  })

  test.each([200, 80, 79, 60, 59, 39, 20, 5])('nothing is wider than %d columns', (columns) => {
    for (const prompt of [promptOfText(hard), promptOfFixture('valid/full.yaml')]) {
      const text = renderPrompt(prompt, { columns, color: false })
      const room = Math.max(20, Math.min(80, columns))
      expect(text.split('\n').filter((line) => columnsOf(line) > room)).toEqual([])
      expect(text.split('\n').filter((line) => line !== line.trimEnd())).toEqual([])
    }
  })

  test('colour only adds: the same words, the 16 colours, never a whole line', () => {
    const prompt = promptOfFixture('valid/full.yaml')
    const bare = renderPrompt(prompt, { columns: 80, color: false })
    const painted = renderPrompt(prompt, { columns: 80, color: true })
    expect(bare).not.toContain('\x1b')
    const codeOf = new RegExp(`${'\x1b'}\\[([\\d;]*)m`, 'g')
    const codes = [...painted.matchAll(codeOf)].map((match) => match[1])
    expect(painted.replaceAll(codeOf, '')).toBe(bare)
    expect(new Set(codes)).toEqual(new Set(['1', '2', '22', '34', '33', '35', '39']))
    expect(painted).toContain('\x1b[34m> push branch\x1b[39m   sends commits')
    expect(painted).toContain("\x1b[35m! can't be undone\x1b[39m")
    expect(painted).toContain('Delete \x1b[2mno\x1b[22m | ')
    expect(painted).toContain('Write \x1b[1m1 branch\x1b[22m | ')
  })
})

describe('the six answers', () => {
  const answers = (lines: Record<string, string | null>, more = {}) =>
    glanceOf(promptOfText(lease(lines), more))

  test.each([
    // actions                          question    answer
    ['[repo.read]', 'Write', 'no'],
    ['[repo.commit]', 'Write', '1 repo'],
    ['[repo.file.delete]', 'Delete', '1 repo'],
    ['[user.invite]', 'Invite', '1 repo'],
    ['[production.deploy]', 'Deploy', '1 repo'],
    ['[secret.read]', 'Secrets', '1 repo'],
    ['[repo.fetch]', 'Net', 'yes'],
    ['[user.invite]', 'Net', 'yes'],
    ['[ci.test.run]', 'Net', '1 host'],
    ['[pull_request.create, ci.test.run]', 'Net', '2 hosts'],
    ['[crm.ticket.close]', 'Delete', 'unclear'],
    ['["crm.*"]', 'Net', 'unclear'],
    ['["secret.*"]', 'Secrets', '1 repo'],
  ])('%s: %s %s', (actions, question, answer) => {
    expect(answers({ actions })[question]).toBe(answer)
  })

  test('count what the writes are bounded by, and never a pattern', () => {
    const write = (resources: string) => answers({ actions: '[repo.commit]', resources }).Write
    expect(write('{ repos: [a], branches: [x, y] }')).toBe('2 branches')
    expect(write('{ repos: [a, b], branches: ["x/*"] }')).toBe('2 repos')
    expect(write('{ repos: ["**"] }')).toBe('yes')
    const grants = '[{ actions: [billing.write] }]'
    expect(answers({ actions: '[repo.commit]', grants }).Write).toBe('yes')
  })

  test('asks, when each needs a fresh yes', () => {
    expect(answers({ ask: '[production.deploy]' })).toMatchObject({ Deploy: 'asks', Write: 'no' })
  })

  test('asks for everything that is not forbidden, when the lease says on_exceed: ask', () => {
    const all = { actions: '[repo.read]', on_exceed: 'ask', deny: '[secret, user.invite]' }
    expect(answers(all)).toEqual({
      Write: 'asks',
      Delete: 'asks',
      Invite: 'no',
      Deploy: 'asks',
      Secrets: 'no',
      Net: 'asks',
    })
  })
})

describe('words', () => {
  test('marks stand with what asks, leaves and cannot be undone', () => {
    const prompt = promptOfText(
      lease({ actions: '[repo.push.force, pull_request.create]', ask: '[pull_request.merge]' }),
      { hosts: { 'repo.push.force': ['git.clord.example:22'] } },
    )
    expect(linesOf(prompt, 'Allowed')).toEqual([
      'on repo clord',
      'force-push: > sends commits to git.clord.example:22; ' +
        "! can't be undone: replaces commits on the remote",
      'open PR: > sends title, text, diff; no catalog says where to',
      "merge PR: ? only with a fresh yes; ! can't be undone",
    ])
  })

  test.each([
    ['deny', 'and everything that is not listed above'],
    ['suspend', 'and everything that is not listed above; trying it suspends the run'],
    ['ask', '? everything that is not listed above asks for a fresh yes'],
  ])('on_exceed: %s', (onExceed, line) => {
    const prompt = promptOfText(lease({ on_exceed: onExceed, deny: '[secret.read]' }))
    expect(linesOf(prompt, 'Not allowed')).toEqual([line])
  })

  test.each([
    [{ max_tool_calls: '1', budget: '{ usd: "2.00" }' }, '1 tool call, 2.00 USD, no subagents'],
    [{ budget: '{ minutes: 90 }' }, '30 tool calls, 90 minutes, no subagents'],
    [
      { delegate: '{ max_children: 3, ask: false }' },
      '30 tool calls, up to 3 subagents without approval',
    ],
    [{ max_tool_calls: null }, 'no limit of tool calls, no subagents'],
  ])('budget %j', (lines, text) => {
    expect(promptOfText(lease(lines)).sections[3]).toMatchObject({ label: 'Budget', text })
  })

  test.each([
    ['[pull_request.create]', 'when PR is opened or after 30 minutes'],
    [
      '[pull_request.create, repo.commit]',
      'when PR is opened, or files are committed, or after 30 minutes',
    ],
    ['["pull_request.*"]', 'when PR is opened or after 30 minutes'],
    ['[crm.close]', 'when `crm.close` has succeeded or after 30 minutes'],
  ])('until %s', (until, text) => {
    const actions = '[pull_request.create, repo.commit, crm.close]'
    expect(promptOfText(lease({ actions, until })).sections[4]!.text).toBe(text)
  })

  test('who it is for, if somebody else asked', () => {
    const prompt = promptOfText(lease({ user: 'clord-bot' }), { client: null })
    expect(prompt.byline).toBe('repo-maintenance-agent for clord-bot, asked by mira@clord.example')
  })

  test('an envelope alone says that it allows nothing on any resource', () => {
    const prompt = promptOfFixture('valid/essay-envelope.yaml')
    expect(linesOf(prompt, 'Allowed')).toEqual([
      'on no resources: this is a ceiling, and no lease is under it',
    ])
    expect(linesOf(prompt, 'Task')).toContain('must be approved by sam@clord.example')
  })

  test('an unknown action is a warning in the prompt', () => {
    const text = renderPrompt(promptOfText(lease({ actions: '[repo.comit]' })), {
      columns: 80,
      color: false,
    })
    expect(text).toContain(
      'Warning      unknown action `repo.comit`: no tool can be known to do it',
    )
  })

  test('an unknown action may be a tool that no catalog maps: unclear, and it would ask', () => {
    const prompt = promptOfText(lease({ actions: '[demo.get-env, "crm.*"]' }))
    const lines = prompt.sections[1]!.lines.filter(({ name }) => name?.includes('demo'))
    expect(lines).toEqual([
      {
        name: 'unknown `demo.get-env`',
        clauses: [
          { mark: '?', text: 'a fresh yes each time, if it is a tool that no catalog maps' },
        ],
      },
    ])
    expect(renderPrompt(prompt, { columns: 80, color: false })).toContain('Write unclear')
  })

  test('an unknown denial never reads like a known one', () => {
    const { sections } = promptOfText(lease({ deny: '[deploy, production.deploy]' }))
    expect(sections[2]!.text).toBe('unknown `deploy`, deploy')
  })

  test('a grant in words, for denials and receipts', () => {
    const { terms } = parseFixture('valid/constraints.yaml')
    expect(describeGrant(terms!.grants[0]!, vocabulary)).toBe(
      'send payment on account DE89370400440532013000, where amount is at most 100.00 and is at ' +
        'least 1 and currency is EUR and tags each is none of ' +
        'urgent, "1", 7, true and note matches refund/*',
    )
    expect(phraseOf(vocabulary, 'pull_request.create')).toBe('open PR')
    expect(phraseOf(vocabulary, 'crm.x')).toBe('unknown `crm.x`')
  })
})

const base = parseFixture('valid/full.yaml').terms!

test('the hash binds every term and everything that is shown', () => {
  const changes: { [K in keyof Terms]: unknown } = {
    version: 2,
    agent: 'x',
    purpose: 'x',
    user: 'x',
    grants: [base.grants[0]],
    deny: [],
    ask: [],
    onExceed: 'ask',
    expiresInSeconds: 1801,
    notAfter: Date.parse('2026-06-23T02:12:59Z'),
    until: [],
    maxToolCalls: 31,
    limits: {},
    workSeconds: null,
    usd: '2.01',
    delegate: null,
    requireReceipt: false,
    ceiling: ['repo.read'],
    approvers: ['x'],
    labels: { run_id: 'x' },
  }
  const contexts = [
    { run: 'x' },
    { requester: 'x' },
    { agent: 'x' },
    { client: null },
    { hosts: {} },
    { outside: 'watched' as const },
    { warnings: parseFixture('warning/no-call-limit.yaml').problems },
  ]
  const hashes = [
    promptHash(promptOf(base, context())),
    ...Object.entries(changes).map(([name, value]) =>
      promptHash(promptOf({ ...base, [name]: value } as Terms, context())),
    ),
    ...contexts.map((more) => promptHash(promptOf(base, context(more)))),
  ]
  expect(new Set(hashes).size).toBe(1 + Object.keys(base).length + contexts.length)
  expect(hashes.every((hash) => /^[0-9a-f]{64}$/.test(hash))).toBe(true)
})

test('the hash does not depend on the order of members', () => {
  const turned = Object.fromEntries(Object.entries(base).toReversed()) as unknown as Terms
  expect(promptText(promptOf(turned, context()))).toBe(promptText(promptOf(base, context())))
  expect(JSON.parse(promptText(promptOf(base, context())))).toEqual(promptOf(base, context()))
})

test('threat 70: hostile values can neither move the cursor nor push the rest away', () => {
  const evil = '\u202eevil\u001b[2J\n\u200b'
  const terms: Terms = { ...base, purpose: evil + 'x'.repeat(100_000), agent: evil, user: evil }
  const text = renderPrompt(
    promptOf(
      terms,
      context({ agent: evil, client: evil, requester: evil, hosts: { 'repo.push': [evil] } }),
    ),
    { columns: 80, color: false },
  )
  expect(text.replaceAll('\n', '')).not.toMatch(/[\p{Cc}\p{Cf}]/u)
  expect(text).toContain('\\u{202e}evil\\u{1b}[2J\\u{a}\\u{200b}')
  expect(text.split('\n').length).toBeLessThan(60)
})

test('no two actions read the same: a prompt is never ambiguous', () => {
  const words = [...vocabulary.actions.values()]
  expect(new Set(words.map((word) => word.phrase)).size).toBe(words.length)
  expect(new Set(words.map((word) => word.done)).size).toBe(words.length)
})

const NAMES = [...vocabulary.actions.keys()]
const PATTERNS = [
  ...NAMES,
  'repo.*',
  'repo.**',
  'secret.*',
  'repo.push.*',
  '**',
  '*.read',
  'crm.x',
  'repo',
  'secret',
]
const patterns = (max: number) =>
  fc.uniqueArray(fc.constantFrom(...PATTERNS), { minLength: 0, maxLength: max })

const parsed = (text: string) => {
  const result = parseActionPattern(text)
  if (!result.ok) throw new Error(result.error)
  return result.value
}

test('law: the prompt lists what the terms permit, and nothing that they deny', () => {
  const seen = { permitted: 0, denied: 0 }
  const terms = fc.record({
    actions: patterns(4).filter((list) => list.length > 0),
    deny: patterns(3),
    ask: patterns(2),
    ceiling: fc.option(patterns(5)),
  })
  fc.assert(
    fc.property(terms, ({ actions, deny, ask, ceiling }) => {
      const grants = [{ actions, resources: { repos: ['clord'] }, where: {} }]
      const prompt = promptOf({ ...base, grants, deny, ask, ceiling }, context({ hosts: {} }))
      const allowed = prompt.sections[1]!
      const listed = new Set([
        ...allowed.text.split(', '),
        ...allowed.lines.flatMap(({ name }) => (name === null ? [] : [name])),
      ])
      for (const action of NAMES) {
        const word = vocabulary.actions.get(action)!
        const isPermitted =
          actions.some((text) => matchesAction(parsed(text), action)) &&
          !deny.some((text) => deniesAction(parsed(text), action)) &&
          (ceiling === null || ceiling.some((text) => matchesAction(parsed(text), action)))
        expect(listed.has(word.phrase)).toBe(isPermitted)
        seen[isPermitted ? 'permitted' : 'denied']++
        if (!isPermitted || word.glance === null) continue
        const index = ['write', 'delete', 'invite', 'deploy', 'secrets', 'network'].indexOf(
          word.glance,
        )
        const asks = ask.some((text) => matchesAction(parsed(text), action))
        expect(prompt.glance[index]!.answer).not.toBe('no')
        if (!asks) expect(prompt.glance[index]!.answer).not.toBe('asks')
      }
    }),
    { numRuns: 300 },
  )
  expect(Math.min(seen.permitted, seen.denied)).toBeGreaterThan(100)
})
