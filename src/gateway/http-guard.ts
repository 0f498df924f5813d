import type { IncomingMessage } from 'node:http'
import { type Presented, presentedIn } from '../badge/reader.ts'
import { err, ok, type Result } from '../core/result.ts'

/** Hosts under which a gateway on this machine is reached. */
const LOOPBACK_HOSTS: readonly string[] = ['localhost', '127.0.0.1', '[::1]']

/** Headers that decide something: a second one could be read by somebody else (threat 21). */
const ONCE_ONLY = new Set([
  'authorization',
  'content-length',
  'content-type',
  'dpop',
  'host',
  'idempotency-key',
  'mcp-method',
  'mcp-name',
  'mcp-protocol-version',
  'mcp-session-id',
  'origin',
])

export interface HostRules {
  /**
   * Host names, without port, under which this gateway may be addressed besides the loopback ones.
   */
  readonly hosts: readonly string[]
  /** Origins of browser pages that may call it, besides those served from loopback hosts. */
  readonly origins: readonly string[]
}

/** Why a request is refused before anybody asks who sent it. */
export interface Refusal {
  readonly status: number
  readonly message: string
}

/**
 * DNS rebinding (threat 37): a page whose name was pointed at this machine sends its own name in
 * `Host` and in `Origin`. Both have to be ours.
 */
export function checkHost(req: IncomingMessage, rules: HostRules): Refusal | null {
  if (!isOurHost(req.headers.host, rules.hosts)) {
    return { status: 403, message: 'this host name is not served here' }
  }
  const { origin } = req.headers
  if (origin === undefined || rules.origins.includes(origin)) return null
  const page = /^https?:\/\/([^/]+)$/.exec(origin)?.[1]
  const pageHost = page === undefined ? null : hostName(page)
  return pageHost !== null && LOOPBACK_HOSTS.includes(pageHost)
    ? null
    : { status: 403, message: 'this origin is not allowed' }
}

/** Whether a header `Host` names this machine, or one of the hosts. */
export function isOurHost(header: string | undefined, hosts: readonly string[]): boolean {
  const host = hostName(header)
  return host !== null && (LOOPBACK_HOSTS.includes(host) || hosts.includes(host))
}

/** The host of `host[:port]`, in lower case. */
function hostName(value: string | undefined): string | null {
  const match = /^(\[[0-9a-f:]+\]|[a-z0-9.-]+)(?::\d{1,5})?$/i.exec(value ?? '')
  return match?.[1]?.toLowerCase() ?? null
}

/** A header that may come once and comes twice; Node would keep one and forget the other. */
export function repeatedHeader(req: IncomingMessage): string | null {
  const raw = req.rawHeaders
  let seen: string[] | null = null
  for (let i = 0; i < raw.length; i += 2) {
    const name = (raw[i] as string).toLowerCase()
    if (!ONCE_ONLY.has(name)) continue
    if (seen === null) seen = [name]
    else if (seen.includes(name)) return name
    else seen.push(name)
  }
  return null
}

/** The badge of a request to the MCP endpoint; null when there is none, or another scheme. */
export function presentedBadge(req: IncomingMessage): Presented | null {
  const { authorization = null, dpop } = req.headers
  const proof = typeof dpop === 'string' ? dpop : null
  return presentedIn({ authorization, dpop: proof }, { method: req.method ?? '', path: '/mcp' })
}

/** Reads the body up to the limit. */
export function readBody(
  req: IncomingMessage,
  bodyBytesMax: number,
): Promise<Result<Buffer, Refusal>> {
  const tooLarge: Refusal = { status: 413, message: `the body exceeds ${bodyBytesMax} bytes` }
  return new Promise((resolve) => {
    const announced = Number(req.headers['content-length'] ?? 0)
    if (announced > bodyBytesMax) {
      resolve(err(tooLarge))
      return
    }
    const chunks: Buffer[] = []
    let bytes = 0
    req.on('data', (chunk: Buffer) => {
      bytes += chunk.length
      if (bytes <= bodyBytesMax) {
        chunks.push(chunk)
        return
      }
      req.removeAllListeners('data')
      req.pause()
      resolve(err(tooLarge))
    })
    req.once('end', () => {
      resolve(ok(chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks)))
    })
    req.once('close', () => resolve(err({ status: 400, message: 'the body broke off' })))
  })
}
