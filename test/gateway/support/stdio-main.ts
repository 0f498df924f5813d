/** A gateway on stdio as a program of its own, for SDK clients that start what they talk to. */

import { serveStdio } from '../../../src/gateway/stdio-server.ts'
import { Upstreams } from '../../../src/gateway/upstreams.ts'
import { principalOf, TestDoor } from './door.ts'
import { filesystem, INFO } from './gateway.ts'

const door = new TestDoor()
const upstreams = new Upstreams({ fs: filesystem(process.argv[2] ?? '') }, { client: INFO })
door.upstreams = upstreams
upstreams.start()
const server = serveStdio(door, upstreams, principalOf('alice'), process.stdin, process.stdout, {
  serverInfo: INFO,
})
await server.done
process.stderr.write(`sessions ended: ${door.ended.length}\n`)
await upstreams.close()
