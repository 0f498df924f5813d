import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Badged, BRANCH, type House, openHouse, until } from './support/house.ts'

let house: House
let ahead = 0
beforeAll(async () => {
  house = await openHouse({ clock: () => Date.now() + ahead })
})
afterAll(() => house[Symbol.asyncDispose]())

const onBranch = { repo: 'clord', branch: BRANCH }

interface Answer {
  readonly result?: { readonly resultType?: string; readonly requestState?: string } & object
  readonly error?: { readonly code: number; readonly message: string }
}

/** One request of the newest revision, as it is: an SDK client would answer the rounds itself. */
async function send({ badge }: Badged, params: object, tool = 'shop.confirm'): Promise<Answer> {
  const meta = {
    'io.modelcontextprotocol/protocolVersion': '2026-07-28',
    'io.modelcontextprotocol/clientCapabilities': { elicitation: { form: {} } },
  }
  const body = {
    jsonrpc: '2.0',
    id: 1,
    method: 'tools/call',
    params: { name: tool, arguments: onBranch, ...params, _meta: meta },
  }
  const response = await fetch(`${house.daypass.url}/mcp`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${badge}`,
      'content-type': 'application/json',
      accept: 'application/json',
      'mcp-protocol-version': '2026-07-28',
      'mcp-method': 'tools/call',
      'mcp-name': tool,
    },
    body: JSON.stringify(body),
  })
  return (await response.json()) as Answer
}

const sure = { inputResponses: { sure: { action: 'accept', content: { sure: true } } } }

test('a call that asks its client goes on with the answer, and is spent once', async () => {
  const opened = await house.open({ maxToolCalls: 1, until: ['repo.push'] })
  const first = await send(opened, {})
  expect(first.result?.resultType).toBe('input_required')
  const state = first.result!.requestState!
  // The upstream's own state travels inside ours, and comes back to it alone.
  expect(state).not.toBe('state-of-the-shop')
  const settled = await untilSettled(opened, 1)
  expect(settled).toEqual(['deferred'])
  expect((await house.run(opened)).lease).toMatchObject({ state: 'active', spent: { calls: 1 } })
  const second = await send(opened, { ...sure, requestState: state })
  expect(JSON.stringify(second.result)).toContain('done: state-of-the-shop')
  expect(await untilSettled(opened, 2)).toEqual(['deferred', 'succeeded'])
  const { lease } = await house.run(opened)
  expect(lease).toMatchObject({ state: 'ended', endReason: 'event', spent: { calls: 1 } })
})

test('threat 34: a state that was used, changed, or is of another run or tool is refused', async () => {
  const opened = await house.open()
  const other = await house.open()
  const stateOf = async () => (await send(opened, {})).result!.requestState!
  const before = () => house.shop.calls.length
  const used = await stateOf()
  expect((await send(opened, { ...sure, requestState: used })).result).toBeDefined()
  const fresh = await stateOf()
  const [body = '', mac = ''] = fresh.split('.')
  const altered = JSON.parse(Buffer.from(body, 'base64url').toString())
  altered.run = other.run
  const forged = Buffer.from(JSON.stringify(altered)).toString('base64url')
  const count = before()
  const bad: [string, Badged, unknown, string?][] = [
    ['used before', opened, used],
    ['of another run', other, fresh],
    ['of another tool', opened, fresh, 'shop.push'],
    ['with another content', other, `${forged}.${mac}`],
    ['with another seal', opened, `${body}.${mac.slice(0, -2)}AA`],
    ['with something after it', opened, `${fresh}.x`],
    ['empty', opened, ''],
    ['no text', opened, 7],
    ['the upstream’s own', opened, 'state-of-the-shop'],
  ]
  for (const [why, who, requestState, tool] of bad) {
    const { error, result } = await send(who, { ...sure, requestState }, tool)
    expect(result, why).toBeUndefined()
    expect(error, why).toMatchObject({ code: -32602 })
  }
  expect(before()).toBe(count)
  // None of the attempts has used it up for whom it belongs to.
  expect((await send(opened, { ...sure, requestState: fresh })).result).toBeDefined()
})

test('input without a state goes on with no earlier call: what is run, is spent', async () => {
  const opened = await house.open()
  await send(opened, {})
  const { result } = await send(opened, sure)
  const { lease } = await house.run(opened)
  expect(lease!.spent.calls).toBe(result === undefined ? 1 : 2)
})

test('a state is refused when it is too old', async () => {
  const opened = await house.open({ expiresInSeconds: 7200 })
  const state = (await send(opened, {})).result!.requestState!
  ahead = 15 * 60_000
  expect((await send(opened, { ...sure, requestState: state })).error).toBeDefined()
  ahead = 0
})

test('a round is decided again: other arguments are denied, and so is everything after the end', async () => {
  const opened = await house.open()
  const state = (await send(opened, {})).result!.requestState!
  const count = house.shop.calls.length
  const other = { repo: 'clord', branch: 'main' }
  const denied = await send(opened, { ...sure, requestState: state, arguments: other })
  expect(JSON.stringify(denied)).toContain('no_grant')
  const again = (await send(opened, {})).result!.requestState!
  const by = { person: 'mira@clord.example', via: 'terminal' } as const
  await house.daypass.authority.revoke(opened.run, { by, reason: 'stop' })
  const late = await send(opened, { ...sure, requestState: again })
  expect(JSON.stringify(late)).toContain('lease_ended')
  expect(house.shop.calls).toHaveLength(count + 1)
})

async function untilSettled(opened: Badged, count: number): Promise<string[]> {
  const outcomes = async () =>
    (await house.entries(opened)).flatMap((entry) =>
      entry.type === 'call.settled' ? [entry.command.outcome] : [],
    )
  await until(async () => (await outcomes()).length === count, 'it is settled')
  return outcomes()
}
