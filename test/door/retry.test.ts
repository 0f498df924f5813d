import { describe, expect, test } from 'vitest'
import { type Badged, BRANCH, type House, openHouse, read, until } from './support/house.ts'

const onBranch = { repo: 'clord', branch: BRANCH }
const use = (id: unknown) => ({ _meta: { 'claudecode/toolUseId': id } })

function push(id: unknown, args: object = onBranch) {
  return { name: 'shop.push', arguments: args, ...use(id) } as { name: string }
}

async function spent(house: House, opened: Badged): Promise<number> {
  return (await house.run(opened)).lease!.spent.calls
}

describe('threat 55: the same tool use', () => {
  test('runs once, however often it is sent, and gives the same answer', async () => {
    await using house = await openHouse()
    const opened = await house.open()
    const client = await house.client(opened.badge)
    const results = await Promise.all([1, 2, 3].map(() => client.callTool(push('toolu_1'))))
    results.push(await client.callTool(push('toolu_1')))
    for (const result of results) expect(read(result).text).toBe(`pushed ${BRANCH}`)
    expect(house.shop.calls).toHaveLength(1)
    expect(await spent(house, opened)).toBe(1)
  })

  test('joins a call in flight, from another client of the run too', async () => {
    await using house = await openHouse()
    const opened = await house.open()
    const [one, other] = [await house.client(opened.badge), await house.client(opened.badge)]
    const slow = { name: 'shop.slow', arguments: { repo: 'clord', key: 'k', ms: 400 }, ...use('t') }
    const first = one.callTool(slow)
    await until(() => house.shop.working.has('k'), 'the upstream works on it')
    const second = other.callTool(slow)
    expect(read(await first).text).toBe('slept k')
    expect(read(await second).text).toBe('slept k')
    expect(house.shop.calls).toHaveLength(1)
  })

  test('gives its answer after a restart, from a table that nobody can read', async () => {
    await using house = await openHouse()
    const opened = await house.open()
    const result = await (await house.client(opened.badge)).callTool(push('toolu_1'))
    expect(read(result).text).toBe(`pushed ${BRANCH}`)
    await house.restart()
    const after = await (await house.client(opened.badge)).callTool(push('toolu_1'))
    expect(read(after).text).toBe(`pushed ${BRANCH}`)
    expect(house.shop.calls).toHaveLength(1)
    expect(await spent(house, opened)).toBe(1)
  })

  test('with other arguments, or as another tool, is denied', async () => {
    await using house = await openHouse()
    const opened = await house.open()
    const client = await house.client(opened.badge)
    await client.callTool(push('toolu_1', { repo: 'clord', branch: BRANCH }))
    const other = { name: 'shop.read', arguments: { repo: 'clord' }, ...use('toolu_1') }
    const { text } = read(await client.callTool(other))
    expect(text).toContain('(key_reused,')
    expect(house.shop.calls).toHaveLength(1)
  })

  test('is frozen when nobody knows whether it happened', async () => {
    await using house = await openHouse()
    const opened = await house.open()
    const client = await house.client(opened.badge)
    const drop = { name: 'shop.drop', arguments: onBranch, ...use('toolu_1') }
    expect(read(await client.callTool(drop)).decision).toMatchObject({ outcome: 'unknown' })
    await until(async () => {
      const { text } = read(await client.callTool(drop))
      return text.includes('(call_frozen,')
    }, 'it is frozen')
    expect(house.shop.calls).toHaveLength(1)
  })

  test('of another run is another call', async () => {
    await using house = await openHouse()
    for (let i = 0; i < 2; i++) {
      const opened = await house.open()
      await (await house.client(opened.badge)).callTool(push('toolu_1'))
    }
    expect(house.shop.calls).toHaveLength(2)
  })

  test('is known by a name of any length and kind; two of them stay two', async () => {
    await using house = await openHouse()
    const opened = await house.open()
    const client = await house.client(opened.badge)
    const names = ['x'.repeat(5_000), `${'x'.repeat(4_999)}y`, 'ünï', '\u0000', 'a b', 'a  b']
    for (const name of names) {
      await client.callTool(push(name))
      await client.callTool(push(name))
    }
    expect(house.shop.calls).toHaveLength(names.length)
    const keys = (await house.entries(opened)).flatMap((entry) =>
      entry.type === 'call.allowed' ? [entry.command.key] : [],
    )
    for (const key of keys) expect(key).toMatch(/^use:claudecode\/toolUseId:[!-~]{1,256}$/)
  })

  test.each([7, '', null, {}, ['x']])('that is no name (%j) recognises nothing', async (id) => {
    await using house = await openHouse()
    const opened = await house.open()
    const client = await house.client(opened.badge)
    await client.callTool(push(id))
    await client.callTool(push(id))
    expect(house.shop.calls).toHaveLength(2)
  })
})

describe('other keys', () => {
  function post(house: House, { badge }: Badged, id: number | string, more: object = {}) {
    const meta = {
      'io.modelcontextprotocol/protocolVersion': '2026-07-28',
      'io.modelcontextprotocol/clientCapabilities': {},
    }
    const params = { name: 'shop.push', arguments: onBranch, _meta: meta }
    return fetch(`${house.daypass.url}/mcp`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${badge}`,
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
        'mcp-protocol-version': '2026-07-28',
        'mcp-method': 'tools/call',
        'mcp-name': 'shop.push',
        ...more,
      },
      body: JSON.stringify({ jsonrpc: '2.0', id, method: 'tools/call', params }),
    }).then((response) => response.text())
  }

  test('an Idempotency-Key holds for the run', async () => {
    await using house = await openHouse()
    const opened = await house.open()
    for (let id = 1; id <= 3; id++) {
      expect(await post(house, opened, id, { 'idempotency-key': 'k-1' })).toContain('pushed')
    }
    expect(house.shop.calls).toHaveLength(1)
  })

  test('a JSON-RPC id means nothing without a session', async () => {
    await using house = await openHouse()
    const opened = await house.open()
    for (let i = 0; i < 3; i++) expect(await post(house, opened, 1)).toContain('pushed')
    expect(house.shop.calls).toHaveLength(3)
  })

  test('within one session it does, and `1` is not `"1"`', async () => {
    await using house = await openHouse()
    const opened = await house.open()
    const url = `${house.daypass.url}/mcp`
    const send = async (session: string | null, body: object) => {
      const response = await fetch(url, {
        method: 'POST',
        headers: {
          authorization: `Bearer ${opened.badge}`,
          'content-type': 'application/json',
          accept: 'application/json, text/event-stream',
          ...(session === null ? {} : { 'mcp-session-id': session }),
        },
        body: JSON.stringify({ jsonrpc: '2.0', ...body }),
      })
      return { session: response.headers.get('mcp-session-id'), text: await response.text() }
    }
    const hello = {
      id: 0,
      method: 'initialize',
      params: {
        protocolVersion: '2025-11-25',
        capabilities: {},
        clientInfo: { name: 't', version: '1' },
      },
    }
    const [one, two] = [(await send(null, hello)).session, (await send(null, hello)).session]
    const call = { method: 'tools/call', params: { name: 'shop.push', arguments: onBranch } }
    for (const id of [7, 7, 7]) expect((await send(one, { id, ...call })).text).toContain('pushed')
    expect(house.shop.calls).toHaveLength(1)
    await send(one, { id: '7', ...call })
    expect(house.shop.calls).toHaveLength(2)
    await send(two, { id: 7, ...call })
    expect(house.shop.calls).toHaveLength(3)
  })
})
