/**
 * The server that the conformance suite is run against, alone and behind the gateway; both eras.
 * `node fixture.ts http` prints its URL, `node fixture.ts stdio` speaks on stdio.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { NodeStreamableHTTPServerTransport, toNodeHandler } from '@modelcontextprotocol/node'
import {
  createMcpHandler,
  localhostAllowedHostnames,
  type McpServer,
  type RegisteredTool,
  validateHostHeader,
} from '@modelcontextprotocol/server'
import { serveStdio } from '@modelcontextprotocol/server/stdio'
import { makeServer, registerDynamic } from './fixture-server.ts'
import { DYNAMIC, WATCHED, World } from './fixture-world.ts'

export interface Fixture {
  readonly url: string
  readonly world: World
  close(): Promise<void>
}

/** Serves over Streamable HTTP on a free loopback port; both eras unless told otherwise. */
export async function startFixture(options: { modernOnly?: boolean } = {}): Promise<Fixture> {
  const world = new World()
  const modern = createMcpHandler(() => makeServer(world, 'modern'), { legacy: 'reject' })
  world.onChange({
    tools: () => modern.notify.toolsChanged(),
    prompts: () => modern.notify.promptsChanged(),
    resource: () => modern.notify.resourceUpdated(WATCHED),
  })
  const serveModern = toNodeHandler(modern)
  const legacy = new LegacySessions(world)
  const http = createServer((req, res) => {
    if (!validateHostHeader(req.headers.host, localhostAllowedHostnames()).ok) {
      res.writeHead(403).end()
      return
    }
    void readJson(req).then((body) =>
      options.modernOnly === true || isModern(req, body)
        ? serveModern(req, res, body)
        : legacy.serve(req, res, body),
    )
  })
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(http.address() as AddressInfo).port}/mcp`,
    world,
    close: () => closeServer(http),
  }
}

function isModern(req: IncomingMessage, body: unknown): boolean {
  const version = req.headers['mcp-protocol-version']
  if (typeof version === 'string' && !/^202[45]-/.test(version)) return true
  const meta = (body as { params?: { _meta?: object } } | undefined)?.params?._meta
  return meta !== undefined && 'io.modelcontextprotocol/protocolVersion' in meta
}

/** Sessions of revisions before 2026-07-28. */
class LegacySessions {
  readonly #world: World
  readonly #all = new Map<string, NodeStreamableHTTPServerTransport>()

  constructor(world: World) {
    this.#world = world
  }

  async serve(req: IncomingMessage, res: ServerResponse, body: unknown): Promise<void> {
    const id = req.headers['mcp-session-id']
    if (typeof id === 'string') {
      const known = this.#all.get(id)
      if (known === undefined) res.writeHead(404).end()
      else await known.handleRequest(req, res, body)
      return
    }
    const mcp = makeServer(this.#world, 'legacy')
    const transport = new NodeStreamableHTTPServerTransport({
      sessionIdGenerator: () => crypto.randomUUID(),
      onsessioninitialized: (session: string) => void this.#all.set(session, transport),
      onsessionclosed: (session: string) => void this.#all.delete(session),
    })
    watch(mcp, this.#world)
    await mcp.connect(transport)
    await transport.handleRequest(req, res, body)
  }
}

/** A server that lives longer than a request hears of changes, and tells its client. */
function watch(mcp: McpServer, world: World): void {
  let dynamic: RegisteredTool | null = null
  const off = world.onChange({
    tools: () => {
      // Both tell the client.
      dynamic?.remove()
      dynamic = world.extra.has(DYNAMIC) ? registerDynamic(mcp) : null
    },
    prompts: () => mcp.sendPromptListChanged(),
    // A client that has gone meanwhile hears nothing.
    resource: () => void mcp.server.sendResourceUpdated({ uri: WATCHED }).catch(() => {}),
  })
  mcp.server.onclose = off
}

async function readJson(req: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = []
  for await (const chunk of req as AsyncIterable<Buffer>) chunks.push(chunk)
  const text = Buffer.concat(chunks).toString('utf8')
  try {
    return text === '' ? undefined : JSON.parse(text)
  } catch {
    return undefined
  }
}

function closeServer(server: Server): Promise<void> {
  server.closeAllConnections()
  return new Promise((resolve) => server.close(() => resolve()))
}

if (import.meta.main) {
  if (process.argv[2] === 'http') {
    const { url } = await startFixture()
    process.stdout.write(`${url}\n`)
  } else {
    const world = new World()
    serveStdio(({ era }) => {
      const mcp = makeServer(world, era)
      watch(mcp, world)
      return mcp
    })
  }
}
