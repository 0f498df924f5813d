/**
 * A small code forge as an MCP server over Streamable HTTP, with its own state on real git
 * repositories. It stands behind the gateway in the demonstration and knows nothing of it.
 *
 *   node examples/dependency-update/forge.ts --port 0 --repo clord=/path/to/clord.git
 *
 * The token that callers must present comes from FORGE_TOKEN (or --token, which `ps` shows). Prints
 * one JSON line, `{"url": …}`, when it listens. `GET /log` and `GET /state` show, to whoever holds
 * the token, what reached it and what it remembers.
 */
import { createHash, timingSafeEqual } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { parseArgs } from 'node:util'
import {
  localhostHostValidation,
  localhostOriginValidation,
  toNodeHandler,
} from '@modelcontextprotocol/node'
import { createMcpHandler } from '@modelcontextprotocol/server'
import { ForgeLog } from './forge-log.ts'
import { type ForgeOptions, ForgeState } from './forge-state.ts'
import { createForgeServer } from './forge-tools.ts'

/** No tool takes more than a pull request's text; a larger body is an attack on memory. */
const BODY_BYTES_MAX = 256 * 1024

export interface ForgeServerOptions extends ForgeOptions {
  /** 0: any free port of the loopback interface. */
  readonly port: number
  /** The credential that every request must carry. */
  readonly token: string
  /** JSONL file that the log is appended to; null: memory only. */
  readonly logFile: string | null
}

export interface RunningForge {
  /** URL of the MCP endpoint. */
  readonly url: string
  readonly state: ForgeState
  readonly log: ForgeLog
  close(): Promise<void>
}

/** Starts a forge on the loopback interface. Resolves when it listens. */
export async function startForge(options: ForgeServerOptions): Promise<RunningForge> {
  const state = new ForgeState(options)
  const log = new ForgeLog(options.logFile)
  const mcp = createMcpHandler(() => createForgeServer(state), {
    onerror: (error) => console.error(`forge: ${error.message}`),
  })
  const serveMcp = toNodeHandler(mcp)
  const isLocalHost = localhostHostValidation()
  const isLocalOrigin = localhostOriginValidation()
  const answer = async (req: IncomingMessage, res: ServerResponse): Promise<void> => {
    const path = new URL(req.url ?? '/', 'http://forge').pathname
    const record = (refused: number | null, body: unknown = null) =>
      log.record({ httpMethod: req.method ?? '', path, headers: req.headers, refused, body })
    if (!isLocalHost(req, res) || !isLocalOrigin(req, res)) return record(403)
    if (!carriesToken(req, options.token)) {
      record(401)
      return send(res, 401, { error: 'this forge needs its token as a bearer token' })
    }
    if (req.method === 'GET' && path === '/log') return send(res, 200, log.entries)
    if (req.method === 'GET' && path === '/state') return send(res, 200, state.records)
    if (path !== '/mcp') {
      record(404)
      return send(res, 404, { error: 'the MCP endpoint is /mcp' })
    }
    const body = req.method === 'POST' ? await readJson(req) : { value: undefined }
    if ('status' in body) {
      record(body.status)
      const code = body.status === 413 ? -32600 : -32700
      return send(res, body.status, {
        jsonrpc: '2.0',
        id: null,
        error: { code, message: body.why },
      })
    }
    record(null, body.value)
    await serveMcp(req, res, body.value)
  }
  const server = createServer((req, res) => {
    // A client that goes away in the middle of its request is no reason to stop serving the others.
    answer(req, res).catch((error: Error) => {
      console.error(`forge: ${error.message}`)
      res.destroy()
    })
  })
  await listen(server, options.port)
  const { port } = server.address() as AddressInfo
  const close = async () => {
    await mcp.close()
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  }
  return { url: `http://127.0.0.1:${port}/mcp`, state, log, close }
}

function listen(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, '127.0.0.1', () => resolve())
  })
}

function carriesToken(req: IncomingMessage, token: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest()
  return timingSafeEqual(digest(req.headers.authorization ?? ''), digest(`Bearer ${token}`))
}

function send(res: ServerResponse, status: number, body: unknown): void {
  const headers: Record<string, string> = { 'content-type': 'application/json' }
  if (status === 401) headers['www-authenticate'] = 'Bearer'
  res.writeHead(status, headers).end(JSON.stringify(body))
}

async function readJson(
  req: IncomingMessage,
): Promise<{ value: unknown } | { status: 400 | 413; why: string }> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of req) {
    bytes += chunk.length
    if (bytes > BODY_BYTES_MAX) return { status: 413, why: 'the body is too large' }
    chunks.push(chunk)
  }
  try {
    return { value: JSON.parse(Buffer.concat(chunks).toString('utf8')) }
  } catch {
    return { status: 400, why: 'the body is not JSON' }
  }
}

function optionsFromArgs(): ForgeServerOptions {
  const { values } = parseArgs({
    options: {
      port: { type: 'string', default: '0' },
      repo: { type: 'string', multiple: true, default: [] },
      token: { type: 'string' },
      state: { type: 'string' },
      log: { type: 'string' },
      latency: { type: 'string', default: '0' },
    },
  })
  const token = values.token ?? process.env.FORGE_TOKEN
  if (!token) throw new Error('no token: set FORGE_TOKEN')
  const repos = values.repo.map((each) => {
    const [name, ...path] = each.split('=')
    if (!name || path.length === 0) throw new Error(`--repo takes NAME=PATH, not \`${each}\``)
    return [name, path.join('=')] as const
  })
  return {
    port: Number(values.port),
    token,
    repos: Object.fromEntries(repos),
    stateFile: values.state ?? null,
    logFile: values.log ?? null,
    latencyMs: Number(values.latency),
  }
}

if (import.meta.main) {
  const forge = await startForge(optionsFromArgs())
  console.log(JSON.stringify({ url: forge.url }))
  const stop = async () => {
    await forge.close()
    process.exit(0)
  }
  process.once('SIGTERM', stop)
  process.once('SIGINT', stop)
}
