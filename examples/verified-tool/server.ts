/**
 * The notes server: on stdio, or with `--http PORT` on http://127.0.0.1:PORT/mcp. Whose tokens it
 * believes, and as whom, is in DAYPASS_ISSUER and DAYPASS_AUDIENCE; over stdio, Daypass sets both.
 */
import { createServer } from 'node:http'
import { toNodeHandler } from '@modelcontextprotocol/node'
import { createMcpHandler } from '@modelcontextprotocol/server'
import { serveStdio } from '@modelcontextprotocol/server/stdio'
import { makeServer } from './notes.ts'

const [how, port] = process.argv.slice(2)
if (how === '--http') {
  const handler = createMcpHandler(makeServer)
  createServer(toNodeHandler(handler)).listen(Number(port), '127.0.0.1', () => {
    process.stderr.write(`listening on http://127.0.0.1:${port}/mcp\n`)
  })
} else {
  serveStdio(makeServer)
}
