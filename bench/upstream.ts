import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createInterface } from 'node:readline'
import { answerOf } from '../test/crash/stage.ts'
import { answering } from './process.ts'

/**
 * The server behind everything that is measured: answers at once. `node bench/upstream.ts stdio`
 * speaks stdio, in both eras; as a part it speaks HTTP. A call whose text begins with `hold` gets
 * no answer.
 */

type Request = Parameters<typeof answerOf>[0]

function answer(request: Request): string | null {
  const { id, method, params } = request
  if (method === 'initialize') {
    const { protocolVersion } = params as { protocolVersion: string }
    const serverInfo = { name: 'notes', version: '1' }
    const result = { protocolVersion, serverInfo, capabilities: { tools: {} } }
    return JSON.stringify({ jsonrpc: '2.0', id, result })
  }
  let isHeld = false
  const text = answerOf(request, ({ arguments: { text } }) => {
    isHeld = text.startsWith('hold')
    return 'added'
  })
  return isHeld ? null : text
}

async function serve(): Promise<string> {
  const http = createServer((req, res) => {
    const chunks: Buffer[] = []
    req.on('data', (chunk: Buffer) => chunks.push(chunk))
    req.on('end', () => {
      const request = JSON.parse(Buffer.concat(chunks).toString('utf8')) as Request
      const text = answer(request)
      if (text !== null) {
        const length = Buffer.byteLength(text)
        res.writeHead(200, { 'content-type': 'application/json', 'content-length': length })
        res.end(text)
      } else if (request.id === undefined) {
        res.writeHead(202).end()
      }
    })
  })
  http.keepAliveTimeout = 60_000
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve))
  return `http://127.0.0.1:${(http.address() as AddressInfo).port}/mcp`
}

/** What is written within one turn of the loop leaves in one piece. */
function serveStdio(): void {
  let out = ''
  const flush = (): void => {
    process.stdout.write(out)
    out = ''
  }
  createInterface({ input: process.stdin }).on('line', (line) => {
    const text = answer(JSON.parse(line))
    if (text === null) return
    if (out === '') setImmediate(flush)
    out += `${text}\n`
  })
}

if (import.meta.main && process.argv[2] === 'stdio') serveStdio()
else answering(import.meta, { serve })
