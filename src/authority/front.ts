import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import { isOurHost } from '../gateway/http-guard.ts'
import type { Log } from './log.ts'
import { pageHeaders } from './pages/layout.ts'
import { isSignIn } from './people/people.ts'
import { tooManyPage } from './people/sign-in-pages.ts'
import { Admission, addressOf, type Rates } from './rates.ts'
import type { Readiness } from './readiness.ts'

/** Bodies of everything but `/mcp`, which has a limit of its own: a lease file and its wrapping. */
const BODY_BYTES_MAX = 256 * 1024
/** A header that takes longer is a connection that somebody holds open (slow loris). */
const HEADERS_MS = 15_000
/** A body that takes longer likewise; answers may take as long as they take. */
const REQUEST_MS = 120_000
/** Sockets are memory; more than this at once is a flood, or wants another node. */
const CONNECTIONS_MAX = 10_000
const PATH_CHARACTERS_MAX = 200

export interface FrontOptions {
  readonly rates: Rates
  readonly trustProxy: number
  /** Host name of the public URL, beside the loopback ones. */
  readonly hosts: readonly string[]
  readonly readiness: () => Promise<Readiness>
  readonly clock: () => number
  readonly log: Log | null
}

/** What every request passes first, whatever it is for: health, host, sizes, rates. */
export class Front {
  readonly #options: FrontOptions
  readonly #admission: Admission
  #isDraining = false

  constructor(options: FrontOptions) {
    this.#options = options
    this.#admission = new Admission(options)
  }

  /** Limits of the connections themselves. */
  static limit(server: Server): void {
    server.headersTimeout = HEADERS_MS
    server.requestTimeout = REQUEST_MS
    server.maxConnections = CONNECTIONS_MAX
  }

  /** From now on this process is not ready: whoever balances load sends nothing more. */
  drain(): void {
    this.#isDraining = true
  }

  /** True: the request was answered here, and goes no further. */
  answers(req: IncomingMessage, res: ServerResponse, path: string): boolean {
    this.#note(req, res, path)
    if (path === '/healthz') {
      send(res, 200, { status: 'ok' })
      return true
    }
    // Probes are admitted by rate too: each may write to the disk.
    const refusal = this.#refusal(req, path)
    if (refusal !== null) {
      refuse(res, path, refusal)
      return true
    }
    if (path !== '/readyz') return false
    void this.#ready(res)
    return true
  }

  async #ready(res: ServerResponse): Promise<void> {
    const found = await this.#options.readiness()
    const ready = found.ready && !this.#isDraining
    send(res, ready ? 200 : 503, { ...found, ready, stopping: this.#isDraining })
  }

  #refusal(req: IncomingMessage, path: string): Refused | null {
    const isMcp = path === '/mcp'
    // `/mcp` looks at host and origin itself. A probe comes by address.
    if (!isMcp && path !== '/readyz' && !isOurHost(req.headers.host, this.#options.hosts)) {
      return { status: 403, code: 'wrong_host', detail: 'this host name is not served here' }
    }
    const wait = this.#admission.wait(req, path)
    if (wait > 0) {
      const detail = `too many requests; come again in ${wait} s`
      return { status: 429, code: 'too_many_requests', detail, retryAfterSeconds: wait }
    }
    if (isMcp) return null
    if (req.headers['transfer-encoding'] !== undefined) {
      // Its size is known only when it is too late.
      return { status: 411, code: 'length_required', detail: 'send a Content-Length' }
    }
    if (Number(req.headers['content-length'] ?? 0) > BODY_BYTES_MAX) {
      return {
        status: 413,
        code: 'too_large',
        detail: `a body has at most ${BODY_BYTES_MAX} bytes`,
      }
    }
    return null
  }

  /** Path and outcome. The query has codes and links in it, so it is in no log (threat 78). */
  #note(req: IncomingMessage, res: ServerResponse, path: string): void {
    const { log, clock, trustProxy } = this.#options
    if (log === null || path === '/healthz' || path === '/readyz') return
    const startedAt = clock()
    const address = addressOf(req, trustProxy)
    res.once('close', () => {
      log('info', 'request', {
        method: req.method ?? '',
        path: path.slice(0, PATH_CHARACTERS_MAX),
        status: res.headersSent ? res.statusCode : null,
        ms: Math.max(0, clock() - startedAt),
        from: address,
      })
    })
  }
}

interface Refused {
  readonly status: 403 | 411 | 413 | 429
  readonly code: string
  readonly detail: string
  readonly retryAfterSeconds?: number
}

/** RFC 9457 problem JSON; to OAuth clients an error of RFC 6749 section 5.2; to people a page. */
function refuse(res: ServerResponse, path: string, refused: Refused): void {
  const { status, code, detail, retryAfterSeconds } = refused
  if (retryAfterSeconds !== undefined) res.setHeader('retry-after', String(retryAfterSeconds))
  // The body was not read, so the connection cannot be used again.
  res.setHeader('connection', 'close')
  if (retryAfterSeconds !== undefined && isSignIn(path)) {
    const headers = { ...pageHeaders(), 'content-type': 'text/html; charset=utf-8' }
    res.writeHead(status, headers).end(String(tooManyPage({ seconds: retryAfterSeconds })))
    return
  }
  if (path.startsWith('/oauth/')) {
    const error = status === 429 ? 'temporarily_unavailable' : 'invalid_request'
    send(res, status, { error, error_description: detail })
    return
  }
  const problem = { type: `urn:daypass:${code}`, title: code, status, detail }
  send(res, status, problem, 'application/problem+json')
}

function send(
  res: ServerResponse,
  status: number,
  body: object,
  type: string = 'application/json',
): void {
  const text = Buffer.from(JSON.stringify(body))
  const headers = { 'content-type': type, 'content-length': text.length }
  res.writeHead(status, { ...headers, 'cache-control': 'no-store' })
  res.end(text)
}
