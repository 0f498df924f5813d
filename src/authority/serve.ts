import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { HostRules } from '../gateway/http-guard.ts'
import type { Config } from './config.ts'
import { Front } from './front.ts'

const LOOPBACK = '127.0.0.1'
/** How often it is looked whether what is in flight has settled. */
const LOOK_MS = 20

/** Where a Daypass is reached. */
export interface Address {
  /** The public URL: issuer of badges, and where clients find the gateway. */
  readonly url: string
  /** Where commands on this machine reach it. */
  readonly localUrl: string
  /** Names and pages under which it may be addressed beside the loopback ones. */
  readonly hostRules: HostRules
}

/**
 * Listens: to the world as the configuration says, or, for a process that only runs an agent, on
 * some port of this machine. Rejects when the address is not to be had.
 */
export async function listen(
  server: Config['server'],
  at: { readonly isServing: boolean; readonly port: number | undefined },
): Promise<Address & { readonly http: Server }> {
  const http = createServer()
  Front.limit(http)
  const { host, port } = at.isServing ? server.listen : { host: LOOPBACK, port: 0 }
  const bound = host.replace(/^\[(.*)\]$/, '$1')
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  http.once('error', reject)
  http.listen(at.port ?? port, bound, resolve)
  await promise
  const { address, port: found } = http.address() as AddressInfo
  const localUrl = `http://${localHost(address)}:${found}`
  const url = (at.isServing ? server.url : null) ?? localUrl
  const { hostname, origin } = new URL(url)
  return { http, url, localUrl, hostRules: { hosts: [hostname], origins: [origin] } }
}

/** One that listens everywhere is reached on this machine by the loopback address. */
function localHost(address: string): string {
  if (address === '0.0.0.0') return LOOPBACK
  if (address === '::') return '[::1]'
  return address.includes(':') ? `[${address}]` : address
}

/** Waits for what is in flight, at most so long. Returns how many calls are left. */
export async function settled(
  door: { readonly inFlight: number },
  waitMs: number,
): Promise<number> {
  for (const until = Date.now() + waitMs; Date.now() < until && door.inFlight > 0; ) {
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
  }
  return door.inFlight
}
