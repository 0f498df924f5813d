/** An agent with a fixed script: what its task needs, and what it may not do. */
import { readFileSync } from 'node:fs'
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'

const config = JSON.parse(readFileSync(process.env.DAYPASS_MCP_CONFIG!, 'utf8'))
const { url } = config.mcpServers.daypass as { url: string }
const headers = { authorization: `Bearer ${process.env.DAYPASS_BADGE}` }
const client = new Client(
  { name: 'reader', version: '1' },
  { versionNegotiation: { mode: 'auto' } },
)
await client.connect(new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers } }))

for (const [project, note] of [
  ['apollo', 'plan'],
  ['zeus', 'salaries'],
  ['apollo', 'salaries'],
]) {
  const result = await client.callTool({ name: 'notes.read_note', arguments: { project, note } })
  const [first] = result.content
  const text = first?.type === 'text' ? first.text : ''
  console.log(`read_note ${project} ${note}\n  ${text.split('\n', 2).join('\n  ')}`)
}
await client.close()
