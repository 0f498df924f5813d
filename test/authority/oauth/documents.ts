import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export interface Documents {
  /** `https://127.0.0.1:PORT` */
  readonly url: string
  readonly ca: string
  /** Paths that were asked for. */
  readonly seen: string[]
  answer: (req: IncomingMessage, res: ServerResponse) => void
  stop(): Promise<void>
}

/** A web server on this machine with a certificate of its own, on which clients publish. */
export async function serveDocuments(): Promise<Documents> {
  const folder = mkdtempSync(join(tmpdir(), 'daypass-documents-'))
  const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')]
  execFileSync(
    'openssl',
    [
      ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'],
      ...['-keyout', key, '-out', cert, '-days', '2', '-subj', '/CN=documents'],
      ...['-addext', 'subjectAltName=IP:127.0.0.1,DNS:localhost,DNS:clients.example'],
    ],
    { stdio: 'pipe' },
  )
  const ca = readFileSync(cert, 'utf8')
  const server = createServer({ key: readFileSync(key), cert: ca })
  rmSync(folder, { recursive: true })
  const seen: string[] = []
  const documents = {
    ca,
    seen,
    answer: (_: IncomingMessage, res: ServerResponse) => {
      res.writeHead(404).end()
    },
  }
  server.on('request', (req, res) => {
    seen.push(req.url ?? '')
    documents.answer(req, res)
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  const { port } = server.address() as AddressInfo
  const stop = () =>
    new Promise<void>((done) => {
      server.close(() => done())
      server.closeAllConnections()
    })
  return Object.assign(documents, { url: `https://127.0.0.1:${port}`, stop })
}

/** Answers with JSON. */
export function json(body: unknown, headers: Record<string, string> = {}) {
  return (_: IncomingMessage, res: ServerResponse): void => {
    res.writeHead(200, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body))
  }
}
