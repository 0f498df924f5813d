import type { IncomingMessage, ServerResponse } from 'node:http'
import { type Html, page, pageHeaders } from '../pages/layout.ts'

/** A page of ours, before it is a document. */
export interface Page {
  readonly title: string
  readonly body: Html
  /** Seconds after which the browser looks again. */
  readonly refreshSeconds?: number
}

/** The document and its headers. `formTarget`: see `pageHeaders`. */
export function renderPage(
  { title, body, refreshSeconds }: Page,
  formTarget: string | null = null,
): { readonly headers: Record<string, string>; readonly document: string } {
  const headers = {
    ...pageHeaders(formTarget === null ? [] : [formTarget]),
    'content-type': 'text/html; charset=utf-8',
    ...(refreshSeconds === undefined ? {} : { refresh: String(refreshSeconds) }),
  }
  return { headers, document: String(page({ title, body })) }
}

export function sendPage(
  res: ServerResponse,
  status: number,
  shown: Page,
  formTarget: string | null = null,
): void {
  const { headers, document } = renderPage(shown, formTarget)
  res.writeHead(status, headers).end(document)
}

export function redirect(res: ServerResponse, location: string): void {
  res.writeHead(303, { location, 'cache-control': 'no-store', 'content-length': '0' }).end()
}

/** The request without its body, as `Authenticate` looks at it. */
export function requestOf(req: IncomingMessage, url: string): Request {
  const headers = new Headers()
  for (const [name, values] of Object.entries(req.headersDistinct)) {
    for (const value of values ?? []) headers.append(name, value)
  }
  return new Request(new URL(req.url ?? '/', url), { method: req.method ?? 'GET', headers })
}

/** JSON that any page may read: metadata, keys. */
export function sendPublicJson(res: ServerResponse, body: unknown): void {
  res.writeHead(200, {
    'content-type': 'application/json',
    'access-control-allow-origin': '*',
    'cache-control': 'public, max-age=60',
  })
  res.end(JSON.stringify(body))
}
