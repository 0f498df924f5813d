/** A gateway on stdio as a program of its own, for SDK clients that start what they talk to. */

import { serveStdio } from '../../../src/gateway/stdio-server.ts'
import { Upstreams } from '../../../src/gateway/upstreams.ts'
import { principalOf, TestDoor } from './door.ts'
import { INFO, rawStdio } from './gateway.ts'

const door = new TestDoor()
const upstreams = new Upstreams({ raw: rawStdio() }, { client: INFO })
door.upstreams = upstreams
upstreams.start()
const principal = process.argv[2] === 'nobody' ? null : principalOf('alice')
const server = serveStdio(door, upstreams, principal, process.stdin, process.stdout, {
  serverInfo: INFO,
})
await server.done
process.stderr.write(`sessions ended: ${door.ended.length}\n`)
await upstreams.close()
