import { createServer } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { fileURLToPath } from 'node:url'
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { createMcpHandler } from '../../../src/gateway/http-server.ts'
import type { UpstreamConfig } from '../../../src/gateway/upstream.ts'
import { Upstreams } from '../../../src/gateway/upstreams.ts'
import { TestDoor } from './door.ts'
import { closeServer } from './http-fixture.ts'

export const INFO = { name: 'daypass', version: '0.0.0' }
const RAW = fileURLToPath(new URL('./raw-stdio.ts', import.meta.url))
const FILESYSTEM = fileURLToPath(
  new URL(
    '../../../node_modules/@modelcontextprotocol/server-filesystem/dist/index.js',
    import.meta.url,
  ),
)

export function rawStdio(mode = '', more: { env?: Record<string, string>; args?: string[] } = {}) {
  const args = [RAW, mode, ...(more.args ?? [])]
  return { kind: 'stdio', command: process.execPath, args, env: more.env ?? {} } as const
}

export function filesystem(folder: string): UpstreamConfig {
  return { kind: 'stdio', command: process.execPath, args: [FILESYSTEM, folder] }
}

export interface TestGateway extends AsyncDisposable {
  readonly door: TestDoor
  readonly upstreams: Upstreams
  readonly url: string
  /** A real SDK client, connected. */
  client(token: string, era: 'auto' | 'legacy'): Promise<Client>
  /** One POST as it is. */
  post(body: unknown, headers?: Record<string, string>): Promise<Response>
}

export async function startGateway(configs: Record<string, UpstreamConfig>): Promise<TestGateway> {
  const door = new TestDoor()
  const upstreams = new Upstreams(configs, { client: INFO })
  door.upstreams = upstreams
  upstreams.start()
  await upstreams.ready(20_000)
  const resourceMetadataUrl = 'http://localhost/.well-known/oauth-protected-resource/mcp'
  const handler = createMcpHandler(door, upstreams, { serverInfo: INFO, resourceMetadataUrl })
  const http = createServer(handler)
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(http.address() as AddressInfo).port}/mcp`
  const clients: Client[] = []
  return {
    door,
    upstreams,
    url,
    client: async (token, era) => {
      const options = era === 'auto' ? { versionNegotiation: { mode: 'auto' as const } } : {}
      const client = new Client({ name: 'test', version: '1' }, options)
      const headers = { authorization: `Bearer ${token}` }
      const transport = new StreamableHTTPClientTransport(new URL(url), {
        requestInit: { headers },
      })
      await client.connect(transport)
      clients.push(client)
      return client
    },
    post: (body, headers = {}) =>
      fetch(url, {
        method: 'POST',
        headers: {
          authorization: 'Bearer alice',
          'content-type': 'application/json',
          accept: 'application/json, text/event-stream',
          ...headers,
        },
        body: typeof body === 'string' ? body : JSON.stringify(body),
      }),
    [Symbol.asyncDispose]: async () => {
      for (const client of clients) await client.close()
      handler.close()
      await closeServer(http)
      await upstreams.close()
    },
  }
}

export const MODERN = '2026-07-28'

/** A request of the modern era, and the headers that go with it. */
export function modern(
  method: string,
  params: Record<string, unknown> = {},
  id: number | string = 1,
): [body: Record<string, unknown>, headers: Record<string, string>] {
  const _meta = {
    'io.modelcontextprotocol/protocolVersion': MODERN,
    'io.modelcontextprotocol/clientCapabilities': {},
    ...(params._meta as object | undefined),
  }
  const headers: Record<string, string> = { 'mcp-protocol-version': MODERN, 'mcp-method': method }
  const name = params.name ?? params.uri
  if (typeof name === 'string') headers['mcp-name'] = name
  return [{ jsonrpc: '2.0', id, method, params: { ...params, _meta } }, headers]
}

export function textOf(result: { content?: unknown }): string {
  return (result.content as { text: string }[])[0]?.text ?? ''
}

/** Waits until a condition holds; fails the test when it never does. */
export async function until(condition: () => boolean, what: string): Promise<void> {
  for (let i = 0; i < 500; i++) {
    if (condition()) return
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  throw new Error(`never happened: ${what}`)
}

/** Sends bytes as they are, and reads until the end. */
export function sendRaw(url: string, lines: readonly string[]): Promise<string> {
  const { hostname, port } = new URL(url)
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), hostname, () => socket.write(lines.join('\r\n')))
    let text = ''
    socket.on('data', (chunk) => {
      text += chunk
    })
    socket.on('close', () => resolve(text))
    socket.on('error', reject)
  })
}
