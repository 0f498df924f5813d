import {
  type CallToolResult,
  ProtocolError,
  ProtocolErrorCode,
  type ServerContext,
} from '@modelcontextprotocol/server'
import { PNG_PIXEL, WAV_SILENCE } from './fixture-media.ts'
import { inputTools } from './fixture-rounds.ts'
import { taskTools } from './fixture-tasks.ts'
import { type FixtureTool, pause, type ToolResult, text } from './fixture-tool.ts'
import type { World } from './fixture-world.ts'

const image = { type: 'image', data: PNG_PIXEL, mimeType: 'image/png' } as const

const contentTools: Record<string, FixtureTool> = {
  test_simple_text: {
    description: 'A line of text',
    run: () => text('This is a simple text response for testing.'),
  },
  test_image_content: { description: 'An image', run: () => ({ content: [image] }) },
  test_audio_content: {
    description: 'A sound',
    run: () => ({ content: [{ type: 'audio', data: WAV_SILENCE, mimeType: 'audio/wav' }] }),
  },
  test_embedded_resource: {
    description: 'A resource within a result',
    run: () => {
      const uri = 'test://embedded-resource'
      const words = 'This is an embedded resource content.'
      return {
        content: [{ type: 'resource', resource: { uri, mimeType: 'text/plain', text: words } }],
      }
    },
  },
  test_multiple_content_types: {
    description: 'Text, an image and a resource',
    run: () => {
      const uri = 'test://mixed-content-resource'
      const json = JSON.stringify({ test: 'data', value: 123 })
      return {
        content: [
          { type: 'text', text: 'Multiple content types test:' },
          image,
          { type: 'resource', resource: { uri, mimeType: 'application/json', text: json } },
        ],
      }
    },
  },
  test_error_handling: {
    description: 'Fails',
    run: () => {
      throw new Error('This tool intentionally returns an error for testing')
    },
  },
  json_schema_2020_12_tool: {
    description: 'Tool with JSON Schema 2020-12 features',
    schema: {
      $schema: 'https://json-schema.org/draft/2020-12/schema',
      type: 'object',
      $defs: {
        address: {
          $anchor: 'addressDef',
          type: 'object',
          properties: { street: { type: 'string' }, city: { type: 'string' } },
        },
      },
      properties: {
        name: { type: 'string' },
        address: { $ref: '#/$defs/address' },
        contactMethod: { type: 'string', enum: ['phone', 'email'] },
        phone: { type: 'string' },
        email: { type: 'string' },
      },
      allOf: [{ anyOf: [{ required: ['phone'] }, { required: ['email'] }] }],
      if: { properties: { contactMethod: { const: 'phone' } }, required: ['contactMethod'] },
      // biome-ignore lint/suspicious/noThenProperty: a keyword of JSON Schema
      then: { required: ['phone'] },
      else: { required: ['email'] },
      additionalProperties: false,
    },
    run: (args) => text(JSON.stringify(args)),
  },
  test_custom_header: {
    description: 'An argument that is repeated in a header',
    properties: { region: { type: 'string', 'x-mcp-header': 'Region' } },
    run: ({ region }) => text(`region: ${String(region)}`),
  },
}

const streamTools: Record<string, FixtureTool> = {
  test_tool_with_logging: {
    description: 'Logs while it runs',
    run: async (_args, ctx) => {
      for (const words of ['started', 'processing data', 'completed']) {
        await ctx.mcpReq.log(
          'info',
          words === 'processing data' ? `Tool ${words}` : `Tool execution ${words}`,
        )
        await pause(50)
      }
      return text('Tool with logging executed')
    },
  },
  test_logging_tool: {
    description: 'Logs once',
    run: async (_args, ctx) => {
      await ctx.mcpReq.log('info', 'a log message')
      return text('logged')
    },
  },
  test_tool_with_progress: {
    description: 'Tells how far it is',
    run: async (_args, ctx) => {
      const progressToken = ctx.mcpReq._meta?.progressToken
      for (const progress of [0, 50, 100]) {
        if (progressToken !== undefined) {
          const params = { progressToken, progress, total: 100 }
          await ctx.mcpReq.notify({ method: 'notifications/progress', params })
        }
        await pause(50)
      }
      return text('Tool with progress executed')
    },
  },
  test_reconnection: {
    description: 'Speaks on the stream of its call before it answers',
    run: async (_args, ctx) => {
      await ctx.mcpReq.log('info', 'still here')
      await pause(100)
      return text('Reconnection test completed')
    },
  },
  test_trigger_tool_change: {
    description: 'Changes the list of tools',
    run: (_args, _ctx, world) => {
      world.changeTools()
      return text('the tools have changed')
    },
  },
  test_trigger_resource_change: {
    description: 'Changes the watched resource',
    run: (_args, _ctx, world) => {
      world.changeResource()
      return text('the resource has changed')
    },
  },
  test_trigger_prompt_change: {
    description: 'Changes the list of prompts',
    run: (_args, _ctx, world) => {
      world.changePrompts()
      return text('the prompts have changed')
    },
  },
}

const SCHEMA_WITH_DEFAULTS = {
  type: 'object' as const,
  properties: {
    name: { type: 'string' as const, description: 'User name', default: 'John Doe' },
    age: { type: 'integer' as const, description: 'User age', default: 30 },
    score: { type: 'number' as const, description: 'User score', default: 95.5 },
    status: {
      type: 'string' as const,
      enum: ['active', 'inactive', 'pending'],
      default: 'active',
    },
    verified: { type: 'boolean' as const, description: 'Verification', default: true },
  },
  required: [],
}

const SCHEMA_WITH_ENUMS = {
  type: 'object' as const,
  properties: {
    untitledSingle: { type: 'string' as const, enum: ['option1', 'option2', 'option3'] },
    titledSingle: {
      type: 'string' as const,
      oneOf: [
        { const: 'value1', title: 'First Option' },
        { const: 'value2', title: 'Second Option' },
        { const: 'value3', title: 'Third Option' },
      ],
    },
    legacyEnum: {
      type: 'string' as const,
      enum: ['opt1', 'opt2', 'opt3'],
      enumNames: ['Option One', 'Option Two', 'Option Three'],
    },
    untitledMulti: {
      type: 'array' as const,
      items: { type: 'string' as const, enum: ['option1', 'option2', 'option3'] },
    },
    titledMulti: {
      type: 'array' as const,
      items: {
        anyOf: [
          { const: 'value1', title: 'First Choice' },
          { const: 'value2', title: 'Second Choice' },
          { const: 'value3', title: 'Third Choice' },
        ],
      },
    },
  },
  required: [],
}

/** Tools that ask the client while they run, as revisions before 2026-07-28 do. */
const askingTools: Record<string, FixtureTool> = {
  test_sampling: {
    description: 'Asks the model of the client',
    properties: { prompt: { type: 'string' } },
    run: async ({ prompt }, ctx) => {
      const content = { type: 'text' as const, text: String(prompt) }
      const params = { messages: [{ role: 'user' as const, content }], maxTokens: 100 }
      const { content: answer } = await ctx.mcpReq.requestSampling(params)
      const words = !Array.isArray(answer) && answer.type === 'text' ? answer.text : 'no text'
      return text(`LLM response: ${words}`)
    },
  },
  test_elicitation: {
    description: 'Asks the user',
    properties: { message: { type: 'string' } },
    run: async ({ message }, ctx) => {
      const requestedSchema = {
        type: 'object' as const,
        properties: {
          username: { type: 'string' as const, description: "User's response" },
          email: { type: 'string' as const, description: "User's email address" },
        },
        required: ['username', 'email'],
      }
      const answer = await ctx.mcpReq.elicitInput({ message: String(message), requestedSchema })
      return text(`User response: ${JSON.stringify(answer)}`)
    },
  },
  test_elicitation_sep1034_defaults: {
    description: 'Asks the user with defaults',
    run: (_args, ctx) => elicited(ctx, SCHEMA_WITH_DEFAULTS),
  },
  test_elicitation_sep1330_enums: {
    description: 'Asks the user to choose',
    run: (_args, ctx) => elicited(ctx, SCHEMA_WITH_ENUMS),
  },
}

async function elicited(
  ctx: ServerContext,
  requestedSchema: typeof SCHEMA_WITH_DEFAULTS | typeof SCHEMA_WITH_ENUMS,
): Promise<CallToolResult> {
  const message = 'Please review the form'
  const { action, content } = await ctx.mcpReq.elicitInput({ message, requestedSchema })
  return text(`Elicitation completed: action=${action}, content=${JSON.stringify(content)}`)
}

/** Every tool that is always there. `world.extra` adds those that come and go. */
export const TOOLS: Readonly<Record<string, FixtureTool>> = {
  ...contentTools,
  ...streamTools,
  ...askingTools,
  ...inputTools,
  ...taskTools,
}

/**
 * Calls a tool; what it throws is a result with `isError`, unless it is an error of the protocol.
 */
export async function callTool(
  request: { params: { name: string; arguments?: Record<string, unknown> | undefined } },
  ctx: ServerContext,
  world: World,
): Promise<ToolResult> {
  const { name, arguments: args = {} } = request.params
  const tool = Object.hasOwn(TOOLS, name) ? TOOLS[name] : undefined
  if (tool === undefined) {
    if (world.extra.has(name)) return text('here for now')
    throw new ProtocolError(ProtocolErrorCode.InvalidParams, `Tool ${name} not found`)
  }
  try {
    return await tool.run(args, ctx, world)
  } catch (error) {
    if (error instanceof ProtocolError) throw error
    return { ...text((error as Error).message), isError: true }
  }
}
