import {
  completable,
  fromJsonSchema,
  inputRequired,
  McpServer,
  type RegisteredTool,
  ResourceTemplate,
} from '@modelcontextprotocol/server'
import { z } from 'zod'
import { PNG_PIXEL } from './fixture-media.ts'
import { serveTasks, TASKS } from './fixture-tasks.ts'
import { accepted } from './fixture-tool.ts'
import { callTool, TOOLS } from './fixture-tools.ts'
import { DYNAMIC, WATCHED, type World } from './fixture-world.ts'

/** A server with everything that the conformance suite names, for one connection or one request. */
export function makeServer(world: World, era: 'legacy' | 'modern'): McpServer {
  const listChanged = true
  const mcp = new McpServer(
    { name: 'conformance-fixture', version: '1.0.0' },
    {
      capabilities: {
        logging: {},
        tools: { listChanged },
        prompts: { listChanged },
        resources: { listChanged, subscribe: true },
        ...(era === 'modern' ? { extensions: { [TASKS]: {} } } : {}),
      },
      requestState: { verify: world.states.verify },
    },
  )
  for (const [name, { description, properties = {}, schema }] of Object.entries(TOOLS)) {
    const required = Object.keys(properties)
    const inputSchema = fromJsonSchema<Record<string, unknown>>(
      schema ?? { type: 'object', properties, required },
    )
    // Calls are served below, in one place.
    mcp.registerTool(name, { description, inputSchema }, () => ({ content: [] }))
  }
  if (era === 'modern' && world.extra.has(DYNAMIC)) registerDynamic(mcp)
  // A task is a result that the SDK passes on and has no type for.
  mcp.server.setRequestHandler(
    'tools/call',
    (request, ctx) => callTool(request, ctx, world) as never,
  )
  if (era === 'modern') serveTasks(mcp, world)
  else serveSubscriptions(mcp)
  registerPrompts(mcp)
  registerResources(mcp)
  return mcp
}

export function registerDynamic(mcp: McpServer): RegisteredTool {
  return mcp.registerTool(DYNAMIC, { description: 'Comes and goes' }, () => ({ content: [] }))
}

/** Every session hears of the one resource that changes, whether it has asked or not. */
function serveSubscriptions({ server }: McpServer): void {
  server.setRequestHandler('resources/subscribe', () => ({}))
  server.setRequestHandler('resources/unsubscribe', () => ({}))
}

function registerPrompts(mcp: McpServer): void {
  const user = 'user' as const
  const say = (text: string) => ({ role: user, content: { type: 'text' as const, text } })
  mcp.registerPrompt('test_simple_prompt', { description: 'A prompt' }, () => ({
    messages: [say('This is a simple prompt for testing.')],
  }))
  const first = completable(z.string(), (value) =>
    ['paris', 'park', 'party', 'testing'].filter((word) => word.startsWith(value)),
  )
  mcp.registerPrompt(
    'test_prompt_with_arguments',
    {
      description: 'A prompt with arguments',
      argsSchema: z.object({ arg1: first, arg2: z.string() }),
    },
    ({ arg1, arg2 }) => ({
      messages: [say(`Prompt with arguments: arg1='${arg1}', arg2='${arg2}'`)],
    }),
  )
  mcp.registerPrompt(
    'test_prompt_with_embedded_resource',
    { description: 'A prompt with a resource', argsSchema: z.object({ resourceUri: z.string() }) },
    ({ resourceUri: uri }) => {
      const text = 'Embedded resource content for testing.'
      const resource = { uri, mimeType: 'text/plain', text }
      const embedded = { role: user, content: { type: 'resource' as const, resource } }
      return { messages: [embedded, say('Please process the embedded resource above.')] }
    },
  )
  mcp.registerPrompt('test_prompt_with_image', { description: 'A prompt with an image' }, () => {
    const image = { type: 'image' as const, data: PNG_PIXEL, mimeType: 'image/png' }
    return { messages: [{ role: user, content: image }, say('Please analyze the image above.')] }
  })
  mcp.registerPrompt(
    'test_input_required_result_prompt',
    { description: 'A prompt that asks first' },
    (ctx) => {
      const context = accepted(ctx, 'user_context')?.context
      if (typeof context === 'string') return { messages: [say(`Context: ${context}`)] }
      const requestedSchema = {
        type: 'object' as const,
        properties: { context: { type: 'string' as const } },
        required: ['context'],
      }
      const message = 'What context should the prompt use?'
      const user_context = inputRequired.elicit({ message, requestedSchema })
      return inputRequired({ inputRequests: { user_context } })
    },
  )
}

function registerResources(mcp: McpServer): void {
  const about = (description: string, mimeType: string) => ({ description, mimeType })
  mcp.registerResource(
    'static-text',
    'test://static-text',
    about('A text', 'text/plain'),
    ({ href }) => {
      const text = 'This is the content of the static text resource.'
      return { contents: [{ uri: href, mimeType: 'text/plain', text }] }
    },
  )
  mcp.registerResource(
    'static-binary',
    'test://static-binary',
    about('An image', 'image/png'),
    ({ href }) => ({ contents: [{ uri: href, mimeType: 'image/png', blob: PNG_PIXEL }] }),
  )
  mcp.registerResource(
    'watched',
    WATCHED,
    about('A text that changes', 'text/plain'),
    ({ href }) => ({ contents: [{ uri: href, mimeType: 'text/plain', text: 'watched' }] }),
  )
  mcp.registerResource(
    'template',
    new ResourceTemplate('test://template/{id}/data', { list: undefined }),
    about('Data by id', 'application/json'),
    ({ href }, { id }) => {
      const text = JSON.stringify({ id, templateTest: true, data: `Data for ID: ${String(id)}` })
      return { contents: [{ uri: href, mimeType: 'application/json', text }] }
    },
  )
}
