import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { parseUpstream } from '../../src/gateway/jsonrpc.ts'
import type { UpstreamConfig } from '../../src/gateway/upstream.ts'
import { Upstreams } from '../../src/gateway/upstreams.ts'
import { INFO } from './support/gateway.ts'
import { closeServer } from './support/http-fixture.ts'

const DEEP = `${'{"a":'.repeat(20_000)}1${'}'.repeat(20_000)}`

/** Answers of a server whose one tool has a schema that exhausts the stack of who walks it. */
function answer(id: unknown, method: string): string {
  const about = `"capabilities":{"tools":{}},"serverInfo":{"name":"deep","version":"1"}`
  const result =
    method === 'server/discover'
      ? `{"resultType":"complete","supportedVersions":["2026-07-28"],${about}}`
      : `{"resultType":"complete","tools":[{"name":"add","inputSchema":${DEEP}}]}`
  return `{"jsonrpc":"2.0","id":${JSON.stringify(id)},"result":${result}}`
}

async function toolsOf(config: UpstreamConfig): Promise<number> {
  const upstreams = new Upstreams({ deep: config }, { client: INFO })
  onTestFinished(() => upstreams.close())
  upstreams.start()
  // Over stdio what cannot be read answers nothing: until the listing times out it has no tools.
  await upstreams.ready(3_000)
  expect(upstreams.health().deep?.state).toBe('up')
  return upstreams.tools().length
}

test('threat 17: a listing over HTTP that nests too deep ends nothing but itself', async () => {
  const server = createServer((req, res) => {
    let body = ''
    req.on('data', (chunk) => {
      body += chunk
    })
    req.on('end', () => {
      const { id, method } = JSON.parse(body) as { id?: number; method: string }
      if (id === undefined) res.writeHead(202).end()
      else res.writeHead(200, { 'content-type': 'application/json' }).end(answer(id, method))
    })
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  onTestFinished(() => closeServer(server))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`
  expect(await toolsOf({ kind: 'http', url })).toBe(0)
})

test('threat 17: a listing over stdio that nests too deep ends nothing but itself', async () => {
  const program = `
    const DEEP = '{"a":'.repeat(20000) + 1 + '}'.repeat(20000)
    ${answer.toString()}
    require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
      const { id, method } = JSON.parse(line)
      if (id !== undefined) console.log(answer(id, method))
    })`
  const args = ['-e', program]
  expect(await toolsOf({ kind: 'stdio', command: process.execPath, args })).toBe(0)
})

test('what an upstream sends may nest 1,000 levels, and texts do not count', () => {
  const nested = (depth: number) => '['.repeat(depth) + ']'.repeat(depth)
  expect(parseUpstream(nested(1000))).toEqual(JSON.parse(nested(1000)))
  expect(() => parseUpstream(nested(1001))).toThrow('too deep')
  const text = JSON.stringify(['['.repeat(5000)])
  expect(parseUpstream(text)).toEqual(JSON.parse(text))
})
