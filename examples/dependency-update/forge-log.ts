import { createHash } from 'node:crypto'
import { appendFileSync } from 'node:fs'
import type { IncomingHttpHeaders } from 'node:http'

/** The log is kept in memory: a caller in a loop must not fill it. */
const ENTRIES_MAX = 10_000

/** Headers whose value is a credential: the log shows which one came, never its value. */
const CREDENTIAL_HEADERS = new Set(['authorization', 'proxy-authorization', 'cookie'])

/** One JSON-RPC message (or one HTTP request that carried none) as it reached the forge. */
export interface LogEntry {
  readonly at: string
  readonly httpMethod: string
  readonly path: string
  /** `null`: handed on to the tools; otherwise the HTTP status that turned the request away. */
  readonly refused: number | null
  readonly headers: Readonly<Record<string, string>>
  /** Method of the JSON-RPC message; null without a body. */
  readonly method: string | null
  /** Name of the tool, for `tools/call`. */
  readonly tool: string | null
  /** The parameters, whole: arguments and `_meta`. */
  readonly params: unknown
}

/** How the log names a credential: its scheme and a digest, so that two can be told apart. */
export function credentialName(value: string): string {
  const [scheme = '', secret] = value.split(' ', 2)
  const digest = createHash('sha256')
    .update(secret ?? scheme)
    .digest('hex')
  return `${secret === undefined ? '' : `${scheme} `}sha256:${digest.slice(0, 16)}`
}

/**
 * Record of what reached the forge; what a gateway in front of it lets through can be proven by it.
 */
export class ForgeLog {
  readonly #file: string | null
  readonly entries: LogEntry[] = []

  constructor(file: string | null) {
    this.#file = file
  }

  /** Records a request: one entry for each JSON-RPC message in it, or one if there is none. */
  record(request: {
    httpMethod: string
    path: string
    headers: IncomingHttpHeaders
    refused: number | null
    body: unknown
  }): void {
    const messages = Array.isArray(request.body) ? request.body : [request.body]
    for (const message of messages) {
      const { method, params } = (message ?? {}) as { method?: unknown; params?: unknown }
      const name = (params as { name?: unknown } | undefined)?.name
      this.#append({
        at: new Date().toISOString(),
        httpMethod: request.httpMethod,
        path: request.path,
        refused: request.refused,
        headers: loggedHeaders(request.headers),
        method: typeof method === 'string' ? method : null,
        tool: method === 'tools/call' && typeof name === 'string' ? name : null,
        params: params ?? null,
      })
    }
  }

  #append(entry: LogEntry): void {
    if (this.entries.length >= ENTRIES_MAX) this.entries.shift()
    this.entries.push(entry)
    if (this.#file !== null) appendFileSync(this.#file, `${JSON.stringify(entry)}\n`)
  }
}

function loggedHeaders(headers: IncomingHttpHeaders): Record<string, string> {
  const logged: Record<string, string> = {}
  for (const [name, value] of Object.entries(headers)) {
    const text = Array.isArray(value) ? value.join(', ') : (value ?? '')
    logged[name] = CREDENTIAL_HEADERS.has(name) ? credentialName(text) : text
  }
  return logged
}
