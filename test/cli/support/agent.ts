/**
 * An agent with a fixed script: calls the tools that its arguments name, one `server.tool=JSON`
 * each, and prints what comes back. `until=FILE` waits for a file,
 * `hold` waits for the end, `env=NAME` prints a variable, `exit=N` ends with N.
 */
import { existsSync, readFileSync } from 'node:fs'
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'

const file = readFileSync(process.env.DAYPASS_MCP_CONFIG!, 'utf8')
const { url, headers } = JSON.parse(
  file.replace(/\$\{(\w+)\}/g, (_, name: string) => process.env[name] ?? ''),
).mcpServers.daypass as { url: string; headers: Record<string, string> }
const client = new Client({ name: 'test-agent', version: '1' })
await client.connect(new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers } }))
process.stdout.write('agent: connected\n')
let exit = 0
for (const step of process.argv.slice(2)) {
  const at = step.indexOf('=')
  const [name, value] = at < 0 ? [step, ''] : [step.slice(0, at), step.slice(at + 1)]
  if (name === 'exit') exit = Number(value)
  else if (name === 'until') {
    while (!existsSync(value!)) await new Promise((resolve) => setTimeout(resolve, 20))
  } else if (name === 'hold') await new Promise((resolve) => setTimeout(resolve, 60_000))
  else if (name === 'env') process.stdout.write(`agent: ${value}=${process.env[value]}\n`)
  else {
    const called = client.callTool({ name, arguments: JSON.parse(value) }).then(
      (result) => {
        const [first] = result.content as { text?: string }[]
        return `${result.isError ? 'error' : 'ok'}: ${first?.text ?? ''}`
      },
      (error: Error) => `thrown: ${error.message}`,
    )
    process.stdout.write(`agent: ${name} ${await called}\n`)
  }
}
await client.close()
process.exit(exit)
