import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Client, StreamableHTTPClientTransport, type Transport } from '@modelcontextprotocol/client'
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio'
import { toNodeHandler } from '@modelcontextprotocol/node'
import { createMcpHandler, Server } from '@modelcontextprotocol/server'
import {
  filesystemCommand,
  gitCommand,
  gitServerEnv,
} from '../../examples/dependency-update/setup.ts'

/** One MCP endpoint in front of the three servers of the demonstration; it forbids nothing. */
export interface DirectRouter {
  readonly url: string
  /** `authorization` headers as they came. */
  readonly credentials: Set<string>
  close(): Promise<void>
}

/**
 * Connects an MCP client that speaks the newest revision the server knows, or only the legacy ones.
 */
export async function connectClient(
  transport: Transport,
  mode: 'auto' | 'legacy' = 'auto',
): Promise<Client> {
  const client = new Client({ name: 'test', version: '1' }, { versionNegotiation: { mode } })
  await client.connect(transport)
  return client
}

/** Transport to a forge, with its token. */
export function forgeTransport(url: string, token: string): Transport {
  const requestInit = { headers: { Authorization: `Bearer ${token}` } }
  return new StreamableHTTPClientTransport(new URL(url), { requestInit })
}

function stdio(command: string[], env: Record<string, string>): Transport {
  const [program = '', ...args] = command
  const withPath = { PATH: process.env.PATH ?? '', ...env }
  return new StdioClientTransport({ command: program, args, env: withPath, stderr: 'ignore' })
}

/**
 * Starts the router. `forge` is the transport to a running forge. Once the tool `deafAfter` has
 * answered, every later request gets a 401.
 */
export async function startRouter(
  worktree: string,
  forge: Transport,
  options: {
    deafAfter?: string
    /** Sees each call before it is made. */
    watch?: (tool: string, args: unknown) => Promise<void>
  } = {},
): Promise<DirectRouter> {
  let deaf = false
  const upstreams = new Map([
    ['filesystem', await connectClient(stdio(filesystemCommand(worktree), {}))],
    ['git', await connectClient(stdio(gitCommand(), gitServerEnv(worktree)))],
    ['forge', await connectClient(forge)],
  ])
  const handler = createMcpHandler(() => {
    const server = new Server({ name: 'router', version: '1' }, { capabilities: { tools: {} } })
    server.setRequestHandler('tools/list', async () => {
      const lists = [...upstreams].map(async ([name, client]) =>
        (await client.listTools()).tools.map((tool) => ({ ...tool, name: `${name}.${tool.name}` })),
      )
      return { tools: (await Promise.all(lists)).flat() }
    })
    server.setRequestHandler('tools/call', async (request) => {
      const [name = '', tool = ''] = request.params.name.split('.')
      const client = upstreams.get(name)
      if (client === undefined) throw new Error(`no server ${name}`)
      await options.watch?.(request.params.name, request.params.arguments)
      const result = await client.callTool({
        name: tool,
        arguments: request.params.arguments ?? {},
      })
      deaf = request.params.name === options.deafAfter
      return result
    })
    return server
  })
  const serve = toNodeHandler(handler)
  const credentials = new Set<string>()
  const http = createServer((req, res) => {
    credentials.add(req.headers.authorization ?? '')
    if (deaf) res.writeHead(401, { 'www-authenticate': 'Bearer error="invalid_token"' }).end()
    else void serve(req, res)
  })
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve))
  const close = async () => {
    for (const client of upstreams.values()) await client.close()
    await handler.close()
    http.closeAllConnections()
    await new Promise((resolve) => http.close(resolve))
  }
  return { url: `http://127.0.0.1:${(http.address() as AddressInfo).port}/mcp`, credentials, close }
}
