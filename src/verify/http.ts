import type { IncomingMessage, ServerResponse } from 'node:http'
import { TXN_HEADER } from '../badge/txn.ts'
import type { Envelope, Refusal, Verifier } from './verifier.ts'

/**
 * Guards for services that are reached by HTTP, such as what stands behind a tool and gets its
 * token handed on. An MCP endpoint is guarded tool by tool: the gateway also lists its tools, for
 * nobody.
 */

const envelopes = new WeakMap<object, Envelope>()

/** What the token of a request says. Throws when no guard has let the request through. */
export function envelopeOf(request: IncomingMessage | Request): Envelope {
  const envelope = envelopes.get(request)
  if (envelope === undefined) throw new TypeError('no guard has let this request through')
  return envelope
}

/** For `node:http` and Express: calls `next` for a request with a good token, or answers 401. */
export function nodeGuard(
  verifier: Verifier,
): (req: IncomingMessage, res: ServerResponse, next: () => void) => void {
  return (req, res, next) => {
    const check = async (): Promise<void> => {
      const verified = await verifier.verify(req.headers[TXN_HEADER])
      if (verified.ok) {
        envelopes.set(req, verified.value)
        return
      }
      res.writeHead(401, { 'content-type': PROBLEM })
      res.end(JSON.stringify(problemOf(verified.error)))
    }
    // No way leads to `next` but a good token.
    check().then(
      () => {
        if (envelopes.has(req)) next()
      },
      () => res.destroy(),
    )
  }
}

/** For anything that speaks `fetch`: null for a request with a good token, or the answer to it. */
export function fetchGuard(verifier: Verifier): (request: Request) => Promise<Response | null> {
  return async (request) => {
    const verified = await verifier.verify(request.headers.get(TXN_HEADER))
    if (verified.ok) {
      envelopes.set(request, verified.value)
      return null
    }
    const body = JSON.stringify(problemOf(verified.error))
    return new Response(body, { status: 401, headers: { 'content-type': PROBLEM } })
  }
}

/** The same as a middleware of Hono: the request is `c.req.raw`. */
export function honoGuard(
  verifier: Verifier,
): (c: { req: { raw: Request } }, next: () => Promise<void>) => Promise<Response | undefined> {
  const guard = fetchGuard(verifier)
  return async (c, next) => {
    const refused = await guard(c.req.raw)
    if (refused !== null) return refused
    await next()
    return undefined
  }
}

/** RFC 9457. */
const PROBLEM = 'application/problem+json'

function problemOf({ code, message }: Refusal): object {
  return { type: 'about:blank', title: 'Unauthorized', status: 401, detail: message, reason: code }
}
