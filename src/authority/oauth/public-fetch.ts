import { type LookupAddress, lookup as systemLookup } from 'node:dns'
import { BlockList, isIP, type LookupFunction } from 'node:net'
import { Agent, fetch } from 'undici'

/**
 * Fetches what a stranger names: documents that describe clients, and their keys. Nothing within
 * the network of this server is reached that way (SSRF, threat 38): the address is checked when
 * it is resolved for the very connection that is then made, so a name that changes in between has
 * no second look-up to answer. Redirects are errors, and nothing of ours is sent along.
 */
export interface PublicFetchOptions {
  /** Loopback addresses may be fetched from, with this certificate authority (PEM); for tests. */
  readonly loopbackCa?: string
  /** How names are resolved; for tests. */
  readonly lookup?: typeof systemLookup
}

/** Ranges that are not of the public internet (IANA special-purpose address registries). */
const LOOPBACK: readonly Range[] = [
  ['127.0.0.0', 8, 'ipv4'],
  ['::1', 128, 'ipv6'],
]
const SPECIAL: readonly Range[] = [
  ['0.0.0.0', 8, 'ipv4'],
  ['10.0.0.0', 8, 'ipv4'],
  ['100.64.0.0', 10, 'ipv4'],
  // Link-local, and where clouds keep their metadata.
  ['169.254.0.0', 16, 'ipv4'],
  ['172.16.0.0', 12, 'ipv4'],
  ['192.0.0.0', 24, 'ipv4'],
  ['192.0.2.0', 24, 'ipv4'],
  ['192.31.196.0', 24, 'ipv4'],
  ['192.52.193.0', 24, 'ipv4'],
  ['192.88.99.0', 24, 'ipv4'],
  ['192.168.0.0', 16, 'ipv4'],
  ['192.175.48.0', 24, 'ipv4'],
  ['198.18.0.0', 15, 'ipv4'],
  ['198.51.100.0', 24, 'ipv4'],
  ['203.0.113.0', 24, 'ipv4'],
  // Multicast, reserved, broadcast.
  ['224.0.0.0', 3, 'ipv4'],
]
/** Within the one range of IPv6 that is routed publicly, 2000::/3. */
const SPECIAL_V6: readonly Range[] = [
  ['2001::', 23, 'ipv6'],
  ['2001:db8::', 32, 'ipv6'],
  // 6to4 carries an address of IPv4.
  ['2002::', 16, 'ipv6'],
  ['2620:4f:8000::', 48, 'ipv6'],
  ['3fff::', 20, 'ipv6'],
]
type Range = readonly [net: string, prefix: number, type: 'ipv4' | 'ipv6']

const loopback = listOf(LOOPBACK)
const special = listOf([...SPECIAL, ...LOOPBACK])
const routed = listOf([['2000::', 3, 'ipv6']])
const specialRouted = listOf(SPECIAL_V6)

/** Whether an address is of the public internet. What is no address is not. */
export function isPublicAddress(address: string): boolean {
  if (isIP(address) === 4) return !special.check(address, 'ipv4')
  if (isIP(address) !== 6) return false
  // Everything else is not routed: mapped, translated, unique local, link-local, multicast.
  return routed.check(address, 'ipv6') && !specialRouted.check(address, 'ipv6')
}

/** A `fetch` for oidc-provider. Its dispatcher is replaced by ours, its time limit stays. */
export function publicFetch(options: PublicFetchOptions = {}): typeof globalThis.fetch {
  const { lookup = systemLookup, loopbackCa } = options
  const allows = (address: string): boolean =>
    isPublicAddress(address) || (loopbackCa !== undefined && isLoopback(address))
  const agent = new Agent({
    // One request each; nothing stays open towards a stranger.
    pipelining: 0,
    maxHeaderSize: 16 * 1024,
    connect: {
      lookup: guarded(lookup, allows),
      ...(loopbackCa === undefined ? {} : { ca: loopbackCa }),
    },
  })
  const guardedFetch = async (input: string | URL, init: RequestInit = {}) => {
    const url = new URL(input)
    const host = url.hostname.replace(/^\[|\]$/g, '')
    // A literal address is connected to without a look-up.
    if (url.protocol !== 'https:' || (isIP(host) !== 0 && !allows(host))) throw refused(host)
    const { signal, headers, method } = init
    return fetch(url, {
      ...(signal == null ? {} : { signal }),
      headers: new Headers(headers) as never,
      method: method ?? 'GET',
      redirect: 'error',
      dispatcher: agent,
    })
  }
  return guardedFetch as unknown as typeof globalThis.fetch
}

/** A look-up that fails unless every address it finds may be reached. */
function guarded(
  lookup: typeof systemLookup,
  allows: (address: string) => boolean,
): LookupFunction {
  return (hostname, { all, ...options }, done) => {
    lookup(hostname, { ...options, all: true }, (error, found: LookupAddress[]) => {
      const first = found?.[0]
      if (error !== null || first === undefined) done(error ?? refused(hostname), '', 0)
      else if (!found.every(({ address }) => allows(address))) done(refused(hostname), '', 0)
      else if (all) done(null, found)
      else done(null, first.address, first.family)
    })
  }
}

function refused(host: string): Error {
  return new Error(`\`${host}\` is not on the public internet`)
}

function isLoopback(address: string): boolean {
  return loopback.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4')
}

function listOf(ranges: readonly Range[]): BlockList {
  const list = new BlockList()
  for (const [net, prefix, type] of ranges) list.addSubnet(net, prefix, type)
  return list
}
