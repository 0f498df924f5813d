import { spawn } from 'node:child_process'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Pool } from 'undici'
import { answering } from './process.ts'

/**
 * The least that can stand between a client and a server: `node:http` in, an undici pool or the
 * standard input of a child out, nothing but forwarding. What it checks: nothing.
 */

type Forward = (body: Buffer, req: IncomingMessage, res: ServerResponse) => void

async function listen(forward: Forward): Promise<string> {
  const http = createServer((req, res) => {
    const chunks: Buffer[] = []
    req.on('data', (chunk: Buffer) => chunks.push(chunk))
    req.on('end', () => forward(chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks), req, res))
  })
  http.keepAliveTimeout = 60_000
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve))
  return `http://127.0.0.1:${(http.address() as AddressInfo).port}/mcp`
}

function answer(res: ServerResponse, body: Buffer | string): void {
  const length = Buffer.byteLength(body)
  res.writeHead(200, { 'content-type': 'application/json', 'content-length': length })
  res.end(body)
}

const PASSED_ON = ['mcp-protocol-version', 'mcp-method', 'mcp-name', 'accept', 'content-type']

function toHttp({ url }: { url: string }): Promise<string> {
  const { origin, pathname: path } = new URL(url)
  const pool = new Pool(origin, { connections: 128, pipelining: 1 })
  return listen((body, req, res) => {
    const headers: Record<string, string> = {}
    for (const name of PASSED_ON) headers[name] = req.headers[name] as string
    pool
      .request({ path, method: 'POST', headers, body })
      .then(async (reply) => answer(res, Buffer.from(await reply.body.arrayBuffer())))
      .catch(() => res.writeHead(502).end())
  })
}

/** Requests share one pipe, so each one needs an id of its own: the one thing that is changed. */
function toStdio({ command }: { command: string[] }): Promise<string> {
  const [program, ...args] = command
  const child = spawn(program!, args, { stdio: ['pipe', 'pipe', 'inherit'] })
  process.on('exit', () => child.kill())
  const waiting = new Map<number, { res: ServerResponse; id: unknown }>()
  let lastId = 0
  let out = ''
  const flush = (): void => {
    child.stdin.write(out)
    out = ''
  }
  let rest = ''
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    const lines = (rest + chunk).split('\n')
    rest = lines.pop()!
    for (const line of lines) {
      const reply = JSON.parse(line) as { id: number }
      const found = waiting.get(reply.id)!
      waiting.delete(reply.id)
      answer(found.res, JSON.stringify({ ...reply, id: found.id }))
    }
  })
  return listen((body, _, res) => {
    const request = JSON.parse(body.toString('utf8')) as { id: unknown }
    const id = ++lastId
    waiting.set(id, { res, id: request.id })
    if (out === '') setImmediate(flush)
    out += `${JSON.stringify({ ...request, id })}\n`
  })
}

answering(import.meta, { toHttp, toStdio })
