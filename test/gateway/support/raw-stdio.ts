/**
 * A hand-written legacy MCP server on stdio that does what an SDK would not let it do; the first
 * argument says what. Every line it receives goes to the file in RAW_LOG.
 */
import { appendFileSync } from 'node:fs'
import { createInterface } from 'node:readline'

const mode = process.argv[2] ?? ''
const log = process.env.RAW_LOG
const say = (message: object): void => {
  process.stdout.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`)
}

if (mode === 'crash') {
  process.stderr.write('no such database\n')
  process.exit(7)
}
if (mode === 'stubborn') {
  setInterval(() => {}, 1_000)
  process.on('SIGTERM', () => {})
}
if (mode === 'chatty') process.stdout.write('Welcome to chatty 1.0!\n')

const tools = ['whoami', 'never', 'ask', 'env', 'die', 'argv', 'pid'].map((name) => ({
  name,
  // No `type`: real servers do this, and a typed relay refuses them.
  inputSchema: {},
}))

createInterface({ input: process.stdin }).on('line', (line) => {
  if (log !== undefined) appendFileSync(log, `${line}\n`)
  const { id, method, params, error, result } = JSON.parse(line)
  if (method === undefined) {
    if (id !== 'q1') return
    const told = error === undefined ? JSON.stringify(result) : error.code
    say({ id: waiting, result: text(`told: ${told}`) })
    return
  }
  if (method === 'server/discover' && mode === 'dies-on-discover') process.exit(1)
  if (id === undefined) return
  if (method === 'initialize') {
    const serverInfo = { name: 'raw', version: '0' }
    const { protocolVersion } = params
    say({ id, result: { protocolVersion, serverInfo, capabilities: { tools: {} } } })
  } else if (method === 'tools/list') {
    say({ id, result: { tools } })
  } else if (method === 'tools/call') {
    call(id, params)
  } else {
    say({ id, error: { code: -32601, message: 'Method not found' } })
  }
})

let waiting: number | null = null

function call(id: number, params: { name: string; arguments?: Record<string, unknown> }): void {
  const { name, arguments: args = {} } = params
  if (name === 'whoami') {
    // Out of order on purpose.
    setTimeout(() => say({ id, result: text(String(args.who)) }), Math.random() * 3)
  } else if (name === 'ask') {
    waiting = id
    say({ id: 'q1', method: 'sampling/createMessage', params: {} })
  } else if (name === 'env') {
    say({ id, result: text(JSON.stringify(process.env)) })
  } else if (name === 'argv') {
    say({ id, result: text(JSON.stringify(process.argv.slice(2))) })
  } else if (name === 'pid') {
    say({ id, result: text(String(process.pid)) })
  } else if (name === 'die') {
    process.exit(3)
  }
}

function text(value: string): object {
  return { content: [{ type: 'text', text: value }] }
}
