import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { withFaults } from '../../src/store/faults.ts'
import { StoreError } from '../../src/store/store.ts'
import { BRANCH, type House, ON_BRANCH, openHouse, read } from './support/house.ts'

let house: House
let isFull = false
beforeAll(async () => {
  house = await openHouse({
    aroundStore: (store) =>
      withFaults(store, {
        before: (write) => {
          if (isFull && write === 'append') throw new StoreError('full', 'the disk is full')
        },
      }),
  })
})
afterAll(() => house[Symbol.asyncDispose]())

const onMain = { repo: 'clord', branch: 'main' }
const onBranch = { repo: 'clord', branch: BRANCH }

/** Ids and clocks differ from run to run. */
function steady(text: string): string {
  return text.replace(/call_[a-z2-9]{20}/g, 'call_ID').replace(/\b\d+ min\b/, '29 min')
}

describe.each(['auto', 'legacy'] as const)('a client (%s)', (era) => {
  test('is let through where the lease reaches', async () => {
    const opened = await house.open()
    const client = await house.client(opened.badge, era)
    const result = await client.callTool({ name: 'shop.read', arguments: { repo: 'clord' } })
    expect(read(result).text).toBe('read clord')
    const settled = (await house.entries(opened)).at(-1)
    expect(settled?.type).toMatch(/call\.(?:allowed|settled)/)
  })

  test('reads what was denied, why, what is missing, what to do; the upstream hears nothing', async () => {
    const opened = await house.open()
    const client = await house.client(opened.badge, era)
    const before = house.shop.calls.length
    const { text, decision } = read(await client.callTool({ name: 'shop.push', arguments: onMain }))
    expect(house.shop.calls).toHaveLength(before)
    expect(steady(text)).toBe(
      [
        'Denied: repo.push on repo clord, branch main. (no_grant,',
        '  call_ID)',
        `Your lease allows repo.push on repo clord, branch ${BRANCH} only.`,
        `Missing: \`main\` is outside branches: \`${BRANCH}\`; ask for a grant`,
        '  that names it.',
        'Nothing was changed and nothing was spent.',
        'Instead: do it where the lease allows it, or finish and say what is missing.',
        "If the task can't be done without it, say that the lease would need",
        '  { "actions": [ "repo.push" ], "resources": { "repos": [ "clord" ], "branches":',
        '  [ "main" ] } }',
        'Repeating this call gives the same answer. Left: 30 calls, 29 min.',
      ].join('\n'),
    )
    expect(decision).toMatchObject({
      decision: 'deny',
      reason: 'no_grant',
      tool: 'shop.push',
      actions: ['repo.push'],
      missing: [
        { actions: ['repo.push'], resources: { repos: ['clord'], branches: ['main'] }, where: {} },
      ],
      left: { calls: 30 },
    })
  })
})

describe('texts of denials', () => {
  const cases: [why: string, lease: Parameters<House['open']>[0], call: object, text: RegExp][] = [
    [
      'forbidden by the lease',
      { deny: ['repo.push'] },
      { name: 'shop.push', arguments: onBranch },
      /This lease forbids repo\.push and no approval lifts it.*Do not ask for it/s,
    ],
    [
      'not granted at all',
      { grants: [] },
      { name: 'shop.read', arguments: { repo: 'clord' } },
      /Your lease does not grant it.*Nothing was read and.*use what the lease grants/s,
    ],
    [
      'no such tool',
      {},
      { name: 'shop.nothing', arguments: {} },
      /\(tool_unknown, .*No server offers a tool of the name shop\.nothing/s,
    ],
    [
      'a tool that no catalog maps',
      {},
      { name: 'shop.unlisted', arguments: {} },
      /\(tool_unmapped, .*No catalog says what shop\.unlisted does/s,
    ],
    [
      'a call that cannot be understood',
      {},
      { name: 'shop.push', arguments: { repo: 'clord', branch: 7 } },
      /\(facts_unsound, .*It can't be told what this call would touch/s,
    ],
    [
      'a spent limit',
      { limits: { 'repo.push': 0 } },
      { name: 'shop.push', arguments: onBranch },
      /\(limit_reached, .*The limit of calls for this action.*finish with what you have/s,
    ],
  ]
  test.each(cases)('%s', async (_, lease, call, expected) => {
    const client = await house.client((await house.open(lease)).badge)
    const result = await client.callTool(call as { name: string })
    expect(result.isError).toBe(true)
    const { text } = read(result)
    expect(text.replaceAll('\n  ', ' ')).toMatch(expected)
    for (const line of text.split('\n')) expect(line.length, line).toBeLessThanOrEqual(80)
  })

  test('what an agent wrote comes back escaped, cut, and within 80 columns', async () => {
    const client = await house.client((await house.open()).badge)
    const branch = `agent/\u202emain${'x'.repeat(3000)}`
    const { text } = read(
      await client.callTool({ name: 'shop.push', arguments: { repo: 'clord', branch } }),
    )
    expect(text).not.toContain('\u202e')
    expect(text.length).toBeLessThan(3000)
    for (const line of text.split('\n')) expect(line.length, line).toBeLessThanOrEqual(80)
  })
})

test.each(['auto', 'legacy'] as const)('a resource is judged like a tool (%s)', async (era) => {
  const before = house.shop.calls.length
  const stranger = await house.client((await house.open()).badge, era)
  const reading = stranger.readResource({ uri: 'shop://motd' })
  await expect(reading).rejects.toThrow(/Denied: mcp\.resource\.read on .*\(no_grant,/s)
  expect((await stranger.listResources()).resources).toEqual([])
  expect(house.shop.calls).toHaveLength(before)
  const resources = { mcp_servers: ['shop'], mcp_resources: ['shop://motd'] }
  const grants = [{ actions: ['mcp.resource.read'], resources, where: {} }]
  const reader = await house.client((await house.open({ grants })).badge, era)
  expect((await reader.readResource({ uri: 'shop://motd' })).contents).toMatchObject([
    { text: 'good morning' },
  ])
})

describe('what the upstream did', () => {
  test('a tool that failed has failed, and the agent reads its words', async () => {
    const opened = await house.open()
    const client = await house.client(opened.badge)
    const result = await client.callTool({ name: 'shop.refuse', arguments: onBranch })
    expect(read(result).text).toBe('the remote refused')
    await house.daypass.runs.tree(opened).read({ fresh: true })
    expect(await settlement(opened)).toMatchObject({ outcome: 'failed' })
  })

  test('threat 39: a call without an answer is unknown, says so, and stays spent', async () => {
    const opened = await house.open({ maxToolCalls: 1 })
    const client = await house.client(opened.badge)
    const result = await client.callTool({ name: 'shop.drop', arguments: onBranch })
    const { text, decision } = read(result)
    expect(text).toMatch(/^Unknown: nobody can tell whether repo\.push on [^.]* happened\./)
    expect(text).toContain('do not just repeat it')
    expect(decision).toMatchObject({ outcome: 'unknown', reason: 'disconnected' })
    expect(await settlement(opened)).toMatchObject({ outcome: 'unknown', note: 'disconnected' })
    const again = await client.callTool({ name: 'shop.read', arguments: { repo: 'clord' } })
    expect(read(again).text).toMatch(/calls_exhausted|Ended: .* its budget is spent/)
  })

  test('an upstream cannot speak in the name of the engine', async () => {
    const client = await house.client((await house.open()).badge)
    const result = await client.callTool({ name: 'shop.push', arguments: onBranch })
    expect(read(result)).toEqual({ text: `pushed ${BRANCH}`, decision: {} })
  })
})

describe('threat 80: a ledger that cannot be written', () => {
  test('lets nothing through, and says so', async () => {
    const opened = await house.open({ grants: [grantOf('repo.read'), grantOf('repo.push')] })
    const client = await house.client(opened.badge)
    const before = house.shop.calls.length
    isFull = true
    const results = await Promise.all(
      [onBranch, onBranch].map((args) => client.callTool({ name: 'shop.push', arguments: args })),
    ).finally(() => {
      isFull = false
    })
    for (const result of results) {
      expect(result.isError).toBe(true)
      expect(read(result).text).toMatch(/^Denied\. \(ledger_unavailable\)\n.*\nNothing was run\.\n/)
      expect(read(result).decision).toEqual({ decision: 'deny', reason: 'ledger_unavailable' })
    }
    expect(house.shop.calls).toHaveLength(before)
    // And when it can be written again, the run goes on.
    const result = await client.callTool({ name: 'shop.push', arguments: onBranch })
    expect(read(result).text).toBe(`pushed ${BRANCH}`)
    expect(house.shop.calls).toHaveLength(before + 1)
  })
})

function grantOf(action: string) {
  const resources = action === 'repo.push' ? ON_BRANCH : { repos: ['clord'] }
  return { actions: [action], resources, where: {} }
}

/** What the ledger says of the outcome of the only call. */
async function settlement(opened: Parameters<House['entries']>[0]) {
  for (let i = 0; i < 100; i++) {
    const settled = (await house.entries(opened)).find(({ type }) => type === 'call.settled')
    if (settled?.type === 'call.settled') return settled.command
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
  throw new Error('never settled')
}
