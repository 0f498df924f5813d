import { McpServer } from '@modelcontextprotocol/server'
import { z } from 'zod'
// Outside of this repository: from 'daypass/verify'
import { guardTool, type Need, refusedResult, Verifier } from '../../src/verify/index.ts'

/** What the server knows and the gateway does not: which project a note really belongs to. */
const NOTES = new Map([
  ['plan', { project: 'apollo', text: 'Land on Monday.' }],
  ['draft', { project: 'apollo', text: 'Nobody needs this any more.' }],
  ['salaries', { project: 'zeus', text: 'Confidential.' }],
])

const daypass = new Verifier()

const named = z.object({ project: z.string(), note: z.string() })
type Named = z.output<typeof named>

/** The catalog believes the argument `project`. This tool looks. */
function needs(action: string): (args: Named) => Need[] {
  return ({ note }) => {
    const found = NOTES.get(note)
    return found === undefined ? [] : [{ action, type: 'projects', id: found.project }]
  }
}

const said = (text: string) => ({ content: [{ type: 'text' as const, text }] })

/** An MCP server whose tools refuse by themselves what the run may not do. */
export function makeServer(): McpServer {
  const server = new McpServer({ name: 'notes', version: '1.0.0' })

  server.registerTool(
    'read_note',
    { description: 'Reads a note of a project.', inputSchema: named },
    guardTool(daypass, needs('note.read'), ({ note }) => said(NOTES.get(note)!.text)),
  )

  server.registerTool(
    'shred_note',
    {
      description: 'Destroys a note of a project, slowly.',
      inputSchema: named.extend({ seconds: z.number().max(60) }),
    },
    guardTool(daypass, needs('note.shred'), async (args, _ctx, envelope) => {
      await new Promise((resolve) => setTimeout(resolve, args.seconds * 1000))
      // Much can happen in that time. Ask again before what cannot be undone.
      for (const need of needs('note.shred')(args)) {
        const still = await daypass.ask(envelope, need)
        if (!still.ok) return refusedResult(still.error)
      }
      NOTES.delete(args.note)
      const { requester, approval } = envelope
      process.stderr.write(`shredded ${args.note} for ${requester} (${JSON.stringify(approval)})\n`)
      return said(`shredded ${args.note}`)
    }),
  )
  return server
}
