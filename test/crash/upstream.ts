import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { answerOf } from './stage.ts'

/**
 * The upstream of the crash test: it lives in the process that kills, so its record of what it has
 * executed survives every victim.
 */
export interface RecordingUpstream {
  readonly url: string
  /** Ids of the calls that were executed, in order; one that came twice stands here twice. */
  readonly executed: string[]
  /** Told after a call is executed, before it is answered; true: it gets no answer. */
  onExecuted: (id: string) => boolean
  close(): Promise<void>
}

/** Starts the upstream. `add` is executed when it is on record. */
export async function startUpstream(): Promise<RecordingUpstream> {
  const executed: string[] = []
  const http = createServer((req, res) => {
    const chunks: Buffer[] = []
    req.on('data', (chunk: Buffer) => chunks.push(chunk))
    req.on('end', () => {
      let isSilent = false
      const request = JSON.parse(Buffer.concat(chunks).toString('utf8'))
      const text = answerOf(request, ({ _meta }) => {
        const id = _meta?.callId ?? 'without id'
        executed.push(id)
        isSilent = upstream.onExecuted(id)
        return `added ${id}`
      })
      if (isSilent) return
      if (text === null) res.writeHead(202).end()
      else res.writeHead(200, { 'content-type': 'application/json' }).end(text)
    })
  })
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve))
  const upstream: RecordingUpstream = {
    url: `http://127.0.0.1:${(http.address() as AddressInfo).port}/mcp`,
    executed,
    onExecuted: () => false,
    close: () => {
      http.closeAllConnections()
      return new Promise((resolve) => http.close(() => resolve()))
    },
  }
  return upstream
}
