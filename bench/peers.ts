import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import type { Subject } from './doors.ts'

/**
 * Proxies from stdio to Streamable HTTP that check nothing. They are not dependencies (100 MB):
 * `npm install --prefix FOLDER mcp-proxy@6.7.19 supergateway@4.0.0`, then `--peers FOLDER`.
 */

export type PeerName = 'mcp-proxy' | 'supergateway'
const READY_MS = 20_000

interface PeerOptions {
  readonly folder: string
  /** The server behind them. */
  readonly command: readonly string[]
  readonly text: string
}

/** Starts both, and opens a session with each: they speak the older era. */
export async function startPeers(
  parts: AsyncDisposableStack,
  { folder, command, text }: PeerOptions,
): Promise<Subject[]> {
  const subjects: Subject[] = []
  for (const door of ['mcp-proxy', 'supergateway'] as const) {
    const port = await freePort()
    const [program, ...args] = commandOf(door, { folder, port, command })
    const child = spawn(program!, args, { stdio: 'ignore', detached: true })
    parts.defer(() => end(child))
    const url = `http://127.0.0.1:${port}/mcp`
    const headers = {
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      ...(await openSession(url)),
    }
    const params = { name: 'add', arguments: { repo: 'clord', text } }
    const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params })
    // At c = 1 they are no slower than their transport; the question is what they do under load.
    subjects.push({
      door,
      transport: 'stdio',
      url,
      headers,
      body,
      parallel: [8, 32, 64],
      part: null,
    })
  }
  return subjects
}

function commandOf(
  door: PeerName,
  { folder, port, command }: { folder: string; port: number; command: readonly string[] },
): string[] {
  const bin = join(folder, 'node_modules', '.bin', door)
  if (!existsSync(bin)) throw new Error(`\`${bin}\` is missing: see bench/peers.ts`)
  if (door === 'mcp-proxy') {
    const own = ['--port', String(port), '--server', 'stream', '--host', '127.0.0.1']
    return [process.execPath, bin, ...own, '--', ...command]
  }
  const options = ['--outputTransport', 'streamableHttp', '--stateful', '--logLevel', 'none']
  return [process.execPath, bin, '--stdio', command.join(' '), '--port', String(port), ...options]
}

async function openSession(url: string): Promise<Record<string, string>> {
  const version = '2025-06-18'
  const clientInfo = { name: 'bench', version: '1' }
  const params = { protocolVersion: version, capabilities: {}, clientInfo }
  const post = (body: object, headers: Record<string, string> = {}) =>
    fetch(url, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
        ...headers,
      },
      body: JSON.stringify({ jsonrpc: '2.0', ...body }),
    })
  const until = performance.now() + READY_MS
  for (;;) {
    try {
      const reply = await post({ id: 0, method: 'initialize', params })
      await reply.text()
      const session = { 'mcp-session-id': reply.headers.get('mcp-session-id') ?? '' }
      const headers = { ...session, 'mcp-protocol-version': version }
      await (await post({ method: 'notifications/initialized' }, headers)).text()
      return headers
    } catch (error) {
      if (performance.now() > until) throw error
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer()
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number }
      server.close(() => resolve(port))
    })
  })
}

/** With the servers that it has started. */
function end(child: ChildProcess): void {
  try {
    process.kill(-child.pid!, 'SIGKILL')
  } catch {
    // Already gone.
  }
}
