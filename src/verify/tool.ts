import { TXN_HEADER, TXN_META } from '../badge/txn.ts'
import type { Envelope, Need, Refusal, Verifier } from './verifier.ts'

/** What is used of the context that the MCP TypeScript SDK (2.x) gives the handler of a tool. */
export interface ToolContext {
  readonly mcpReq: { readonly _meta?: object | undefined }
  readonly http?: { readonly req?: Request | undefined } | undefined
}

/** The result of a tool that refuses. */
export interface RefusedResult {
  readonly [member: string]: unknown
  isError: true
  content: { type: 'text'; text: string }[]
}

/** The token of a call: a header over HTTP, a member of `_meta` over stdio. */
export function tokenOf({ mcpReq, http }: ToolContext): unknown {
  if (http?.req !== undefined) return http.req.headers.get(TXN_HEADER)
  return (mcpReq._meta as Record<string, unknown> | undefined)?.[TXN_META]
}

/**
 * The handler of a tool that does nothing for a call that may not do what it is about to do.
 * `needs` says what that is, from the arguments and from what only the tool knows; with none named,
 * or when it throws, the call is refused.
 */
export function guardTool<A, C extends ToolContext, R>(
  verifier: Verifier,
  needs: (args: NoInfer<A>) => readonly Need[] | Promise<readonly Need[]>,
  handler: (args: A, ctx: C, envelope: Envelope) => R | Promise<R>,
): (args: A, ctx: C) => Promise<R | RefusedResult> {
  return async (args, ctx) => {
    const verified = await verifier.verify(tokenOf(ctx))
    if (!verified.ok) return refusedResult(verified.error)
    const named = await needsOf(() => needs(args))
    if (named.length === 0) {
      return refusedResult({
        code: 'unresolved',
        message: 'the tool cannot say what this would touch',
      })
    }
    for (const need of named) {
      const asked = await verifier.ask(verified.value, need)
      if (!asked.ok) return refusedResult(asked.error)
    }
    return handler(args, ctx, verified.value)
  }
}

async function needsOf(
  needs: () => readonly Need[] | Promise<readonly Need[]>,
): Promise<readonly Need[]> {
  try {
    return await needs()
  } catch {
    return []
  }
}

/** What a tool answers instead of doing it. */
export function refusedResult({ code, message }: Refusal): RefusedResult {
  const text = `Refused by the tool: ${message}. (${code})\nNothing was done.`
  return { isError: true, content: [{ type: 'text', text }] }
}
