import type { CallToolResult, inputRequired, ServerContext } from '@modelcontextprotocol/server'
import type { CreatedTask } from './fixture-tasks.ts'
import type { World } from './fixture-world.ts'

export type ToolResult = CallToolResult | ReturnType<typeof inputRequired> | CreatedTask

export interface Property {
  readonly type: string
  readonly 'x-mcp-header'?: string
}

/** A tool as the conformance suite wants it. */
export interface FixtureTool {
  readonly description: string
  /** JSON Schema of its properties; all of them are required. */
  readonly properties?: Readonly<Record<string, Property>>
  /** In place of `properties`. */
  readonly schema?: Readonly<Record<string, unknown>>
  run(
    args: Record<string, unknown>,
    ctx: ServerContext,
    world: World,
  ): Promise<ToolResult> | ToolResult
}

export function text(words: string): CallToolResult {
  return { content: [{ type: 'text', text: words }] }
}

export const pause = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms))

/** What the client says it can do, with this request. */
export function declared(ctx: ServerContext): Readonly<Record<string, unknown>> {
  const envelope = ctx.mcpReq.envelope as Readonly<Record<string, unknown>> | undefined
  const capabilities = envelope?.['io.modelcontextprotocol/clientCapabilities']
  return (capabilities ?? {}) as Readonly<Record<string, unknown>>
}

/** What the client has accepted under this key; undefined when it has not. */
export function accepted(ctx: ServerContext, key: string): Record<string, unknown> | undefined {
  const answer = ctx.mcpReq.inputResponses?.[key]
  if (typeof answer !== 'object' || answer === null) return undefined
  const { action, content } = answer as { action?: unknown; content?: unknown }
  return action === 'accept' && typeof content === 'object' && content !== null
    ? (content as Record<string, unknown>)
    : undefined
}
