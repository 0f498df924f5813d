import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { freshKeys, type Keys } from '../../src/authority/keys.ts'
import { Txns } from '../../src/authority/txn.ts'
import type { Txn } from '../../src/badge/txn.ts'

export const AUDIENCE = 'https://tools.example/mcp'

export const TXN: Txn = {
  org: 'local',
  tree: 'tree_1',
  run: 'run_1',
  parents: ['run_0'],
  lease: 'lease_1',
  revision: 2,
  leaseExpiresAt: Date.now() + 600_000,
  call: 'call_1',
  requester: 'mira@clord.example',
  agent: 'repo-maintenance-agent',
  purpose: 'update dependency and open PR',
  client: 'Claude Code 2.1',
  tool: 'forge.push',
  touches: [
    {
      action: 'repo.push',
      effect: 'egress',
      resources: { repos: ['clord'], branches: ['agent/x'] },
      within: {},
    },
  ],
  approval: {
    lease: { person: 'maintainer@example.com' },
    ask: { id: 'ask_1', person: 'maintainer@example.com' },
  },
}

type Answer = (req: IncomingMessage, res: ServerResponse) => void

/** An issuer with the real keys and tokens; what it answers to questions is the test's to say. */
export interface Issuer extends AsyncDisposable {
  readonly url: string
  keys: Keys
  /** Requests for the keys. */
  readonly looks: () => number
  answer: Answer
  sign(txn?: Partial<Txn>, audience?: string): string
}

export async function startIssuer(): Promise<Issuer> {
  let looks = 0
  const server = createServer((req, res) => {
    if (req.url !== '/oauth/jwks') return issuer.answer(req, res)
    looks++
    res.writeHead(200, { 'content-type': 'application/json' })
    res.end(JSON.stringify(issuer.keys.jwks({ now: Date.now(), overlapMs: 0 })))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const issuer: Issuer = {
    url,
    keys: freshKeys(Date.now()),
    looks: () => looks,
    answer: (_, res) => res.writeHead(404).end(),
    sign: (txn = {}, audience = AUDIENCE) => {
      const txns = new Txns({ url, keys: issuer.keys, clock: Date.now, overlapMs: 0 })
      return txns.sign({ ...TXN, ...txn }, audience)
    },
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections()
      await new Promise((closed) => server.close(closed))
    },
  }
  return issuer
}
