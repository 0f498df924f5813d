import { createServer, type IncomingHttpHeaders, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { NodeStreamableHTTPServerTransport, toNodeHandler } from '@modelcontextprotocol/node'
import { createMcpHandler, McpServer, ResourceTemplate } from '@modelcontextprotocol/server'
import { z } from 'zod'

/** A real MCP server over Streamable HTTP, with its requests on record. */
export interface HttpFixture {
  readonly url: string
  readonly seen: { method: string; headers: IncomingHttpHeaders; body: string }[]
  /** Calls of `slow` that were cancelled. */
  readonly cancelled: string[]
  /** Adds a tool to new and existing servers. */
  addTool(name: string): void
  forgetSessions(): void
  close(): Promise<void>
}

export function makeServer(fixture: { cancelled: string[]; extra: string[] }): McpServer {
  const server = new McpServer(
    { name: 'fixture', version: '1.0.0' },
    { capabilities: { logging: {}, tools: { listChanged: true } }, instructions: 'Be kind.' },
  )
  server.registerTool('echo', { inputSchema: z.object({ text: z.string() }) }, ({ text }) => ({
    content: [{ type: 'text', text }],
    _meta: { 'example.com/unknown': { kept: true } },
  }))
  const region = z.string().meta({ 'x-mcp-header': 'Region' })
  server.registerTool('where', { inputSchema: z.object({ region }) }, (args) => ({
    content: [{ type: 'text', text: args.region }],
  }))
  server.registerTool('fail', { inputSchema: z.object({}) }, () => {
    throw new Error('it broke')
  })
  server.registerTool(
    'slow',
    { inputSchema: z.object({ key: z.string(), ms: z.number() }) },
    async ({ key, ms }, ctx) => {
      const token = ctx.mcpReq._meta?.progressToken
      if (token !== undefined) {
        const params = { progressToken: token, progress: 1, total: 2, message: key }
        await ctx.mcpReq.notify({ method: 'notifications/progress', params })
      }
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, ms)
        ctx.mcpReq.signal.addEventListener('abort', () => {
          fixture.cancelled.push(key)
          clearTimeout(timer)
          resolve()
        })
      })
      return { content: [{ type: 'text', text: `slept ${key}` }] }
    },
  )
  for (const name of fixture.extra) {
    server.registerTool(name, { inputSchema: z.object({}) }, () => ({ content: [] }))
  }
  server.registerPrompt('greet', { argsSchema: z.object({ who: z.string() }) }, ({ who }) => ({
    messages: [{ role: 'user', content: { type: 'text', text: `hello ${who}` } }],
  }))
  server.registerResource('motd', 'fixture://motd', {}, (uri) => ({
    contents: [{ uri: uri.href, text: 'good morning' }],
  }))
  const template = new ResourceTemplate('fixture://item/{id}', { list: undefined })
  server.registerResource('item', template, {}, (uri, { id }) => ({
    contents: [{ uri: uri.href, text: `item ${id}` }],
  }))
  return server
}

export async function startHttpFixture(options: {
  era: 'modern' | 'legacy'
}): Promise<HttpFixture> {
  const state = { cancelled: [] as string[], extra: [] as string[] }
  const seen: HttpFixture['seen'] = []
  const modern = createMcpHandler(() => makeServer(state), { legacy: 'reject' })
  const serveModern = toNodeHandler(modern)
  const sessions = new Map<
    string,
    { transport: NodeStreamableHTTPServerTransport; mcp: McpServer }
  >()
  const http = createServer((req, res) => {
    const chunks: Buffer[] = []
    req.on('data', (chunk: Buffer) => chunks.push(chunk))
    req.on('end', () => {
      const body = Buffer.concat(chunks).toString('utf8')
      seen.push({ method: req.method ?? '', headers: req.headers, body })
      const parsed: unknown = body === '' ? undefined : JSON.parse(body)
      if (options.era === 'modern') void serveModern(req, res, parsed)
      else void serveLegacy(req, res, parsed)
    })
  })
  const serveLegacy = async (
    req: import('node:http').IncomingMessage,
    res: import('node:http').ServerResponse,
    body: unknown,
  ): Promise<void> => {
    const id = req.headers['mcp-session-id']
    const known = typeof id === 'string' ? sessions.get(id) : undefined
    if (id !== undefined && known === undefined) {
      res.writeHead(404).end()
      return
    }
    if (known !== undefined) return known.transport.handleRequest(req, res, body)
    const mcp = makeServer(state)
    const transport = new NodeStreamableHTTPServerTransport({
      sessionIdGenerator: () => crypto.randomUUID(),
      onsessioninitialized: (session: string) => {
        sessions.set(session, { transport, mcp })
      },
    })
    await mcp.connect(transport)
    await transport.handleRequest(req, res, body)
  }
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(http.address() as AddressInfo).port}/mcp`,
    seen,
    cancelled: state.cancelled,
    addTool: (name) => {
      state.extra.push(name)
      modern.notify.toolsChanged()
      for (const { mcp } of sessions.values()) {
        mcp.registerTool(name, { inputSchema: z.object({}) }, () => ({ content: [] }))
      }
    },
    forgetSessions: () => sessions.clear(),
    close: () => closeServer(http),
  }
}

export function closeServer(server: Server): Promise<void> {
  server.closeAllConnections()
  return new Promise((resolve) => server.close(() => resolve()))
}
