import { createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'

/**
 * Passes everything on as it came, and adds headers: the suite cannot present a badge. Both ways
 * are measured through one, so that it makes no difference.
 */
export async function startProxy(
  target: string,
  headers: Readonly<Record<string, string>>,
): Promise<{ url: string; close: () => Promise<void> }> {
  const { hostname, port, pathname } = new URL(target)
  const http = createServer((req, res) => {
    const raw = [...req.rawHeaders, ...Object.entries(headers).flat()]
    const upstream = request(
      { hostname, port, path: req.url, method: req.method, headers: raw, setHost: false },
      (answer) => {
        res.writeHead(answer.statusCode ?? 502, answer.rawHeaders)
        res.flushHeaders()
        answer.pipe(res)
        // Either side that goes away takes the other along: closing a stream is how clients cancel.
        answer.once('aborted', () => res.destroy())
      },
    )
    upstream.once('error', () => res.destroy())
    res.once('close', () => upstream.destroy())
    req.pipe(upstream)
  })
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(http.address() as AddressInfo).port}${pathname}`,
    close: () => {
      http.closeAllConnections()
      return new Promise((resolve) => http.close(() => resolve()))
    },
  }
}
