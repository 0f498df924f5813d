import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { TXN_META } from '../../src/badge/txn.ts'
import type { Terms } from '../../src/core/lease.ts'
import { type Badged, type House, type HouseOptions, openHouse } from '../door/support/house.ts'
import { modern } from '../gateway/support/gateway.ts'
import { type HttpFixture, startHttpFixture } from '../gateway/support/http-fixture.ts'

const SUPPORT = resolve(import.meta.dirname, '../gateway/support')

const CATALOG = `
catalog: recorder
version: 1
title: Recorder
server: { package: test/gateway/support, version: "1" }
actions: { note.read: { effect: read } }
tools:
  echo:
    args: { text: string! }
    rules: [{ do: note.read, on: { notes: { arg: text } } }]
  slow:
    args: { key: string!, ms: number! }
    rules: [{ do: note.read, on: { notes: { arg: key } } }]
  whoami:
    args: { who: string! }
    rules: [{ do: note.read, on: { notes: { arg: who } } }]
`

/** A message as a server received it. */
export interface Received {
  readonly headers: Readonly<Record<string, unknown>>
  readonly body: string
}

/** Servers of both kinds and both eras that keep what they receive. */
export const RECORDERS = {
  'http-modern': { tool: 'echo', argument: 'text' },
  'http-legacy': { tool: 'echo', argument: 'text' },
  'stdio-modern': { tool: 'echo', argument: 'text' },
  'stdio-legacy': { tool: 'whoami', argument: 'who' },
} as const
export type Recorder = keyof typeof RECORDERS
export const KINDS = Object.keys(RECORDERS) as Recorder[]

export interface Traffic extends AsyncDisposable {
  readonly house: House
  /** The URL of `http-modern`. */
  readonly url: string
  /** What a server has received, in order; `plain` is one that wants no envelope. */
  received(server: Recorder | 'plain'): Received[]
  open(more?: Partial<Terms>): Promise<Badged>
}

/** A gateway with all of them behind it. */
export async function openTraffic(options: Partial<HouseOptions> = {}): Promise<Traffic> {
  const folder = mkdtempSync(join(tmpdir(), 'daypass-traffic-'))
  const catalog = join(folder, 'recorder.yaml')
  writeFileSync(catalog, CATALOG)
  const http: Record<string, HttpFixture> = {
    'http-modern': await startHttpFixture({ era: 'modern' }),
    'http-legacy': await startHttpFixture({ era: 'legacy' }),
    plain: await startHttpFixture({ era: 'modern' }),
  }
  const stdio = (file: string, log: string) => ({
    command: [process.execPath, join(SUPPORT, file)],
    env: { RAW_LOG: join(folder, log) },
    ...{ catalog, envelope: true },
  })
  const moreServers = {
    'http-modern': { url: http['http-modern']!.url, catalog, envelope: true },
    'http-legacy': { url: http['http-legacy']!.url, catalog, envelope: true },
    plain: { url: http.plain!.url, catalog },
    'stdio-modern': stdio('recorded-stdio.ts', 'stdio-modern'),
    'stdio-legacy': stdio('raw-stdio.ts', 'stdio-legacy'),
  }
  const house = await openHouse({ moreServers, ...options })
  for (const [server, { tool }] of Object.entries({
    ...RECORDERS,
    plain: RECORDERS['http-modern'],
  })) {
    await pin(house, server, tool)
  }
  await pin(house, 'http-modern', 'slow')
  return {
    house,
    url: http['http-modern']!.url,
    received: (server) =>
      http[server]?.seen ??
      readFileSync(join(folder, server), 'utf8')
        .trimEnd()
        .split('\n')
        .map((body) => ({ headers: {}, body })),
    open: (more = {}) =>
      house.open({
        grants: [{ actions: ['note.read'], resources: { notes: ['plan'] }, where: {} }],
        ...more,
      }),
    [Symbol.asyncDispose]: async () => {
      await house[Symbol.asyncDispose]()
      for (const fixture of Object.values(http)) await fixture.close()
      rmSync(folder, { recursive: true })
    },
  }
}

async function pin(house: House, server: string, tool: string): Promise<void> {
  const path = `/v1/catalog/${server}/${tool}`
  const { check } = (await (await house.api('GET', path)).json()) as {
    check: { definition: string }
  }
  const response = await house.api('POST', `${path}/pin`, { hash: check.definition })
  if (!response.ok) throw new Error(await response.text())
}

/** The messages with a call of a tool, and the token of each. */
export function callsIn(received: readonly Received[]): {
  readonly meta: Record<string, unknown>
  readonly header: unknown
  readonly inMeta: unknown
}[] {
  return received.flatMap(({ headers, body }) => {
    const message = body === '' ? {} : JSON.parse(body)
    if (message.method !== 'tools/call') return []
    const meta = message.params._meta ?? {}
    return [{ meta, header: headers['txn-token'], inMeta: meta[TXN_META] }]
  })
}

/** A call by hand, with headers and a `_meta` of the caller's choice. */
export async function callByHand(
  house: House,
  era: 'modern' | 'legacy',
  call: {
    readonly badge: string
    readonly name: string
    readonly args: Readonly<Record<string, unknown>>
    readonly meta?: Readonly<Record<string, unknown>>
    readonly headers?: Readonly<Record<string, string>>
  },
): Promise<string> {
  const { badge, name, args, meta = {}, headers = {} } = call
  const post = (body: unknown, more: Record<string, string>) =>
    fetch(`${house.daypass.url}/mcp`, {
      method: 'POST',
      headers: {
        ...{ 'content-type': 'application/json', accept: 'application/json, text/event-stream' },
        ...{ ...headers, ...more, authorization: `Bearer ${badge}` },
      },
      body: JSON.stringify(body),
    })
  const params = { name, arguments: args, _meta: meta }
  if (era === 'modern') return (await post(...modern('tools/call', params))).text()
  const clientInfo = { name: 'hand', version: '1' }
  const hello = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo }
  const opened = await post({ jsonrpc: '2.0', id: 1, method: 'initialize', params: hello }, {})
  const session = { 'mcp-session-id': opened.headers.get('mcp-session-id') ?? '' }
  await opened.text()
  await post({ jsonrpc: '2.0', method: 'notifications/initialized' }, session)
  return (await post({ jsonrpc: '2.0', id: 2, method: 'tools/call', params }, session)).text()
}
