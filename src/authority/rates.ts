import { hash } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { isIPv6 } from 'node:net'

/**
 * Keys that are remembered. A full map forgets whoever has been quiet longest, whose bucket is full
 * again or nearly so.
 */
const KEYS_MAX = 50_000
const MINUTE_MS = 60_000

interface Bucket {
  tokens: number
  at: number
}

/** Token buckets by key: each holds what its rate gives in one period, and fills steadily. */
export class TokenBuckets {
  readonly #capacity: number
  readonly #perMs: number
  readonly #clock: () => number
  readonly #buckets = new Map<string, Bucket>()

  constructor(options: {
    /** Uses in a period, all of which may come at once. */
    readonly count: number
    readonly periodMs: number
    readonly clock: () => number
  }) {
    this.#capacity = options.count
    this.#perMs = options.count / options.periodMs
    this.#clock = options.clock
  }

  /** Takes one. 0: it was there. Otherwise the whole seconds after which the next one is. */
  take(key: string): number {
    const now = this.#clock()
    const bucket = this.#buckets.get(key) ?? { tokens: this.#capacity, at: now }
    // A clock that goes back gives nothing, and takes nothing.
    const gained = Math.max(0, now - bucket.at) * this.#perMs
    bucket.tokens = Math.min(this.#capacity, bucket.tokens + gained)
    bucket.at = now
    // Moved to the end: the first in the map has been quiet longest.
    this.#buckets.delete(key)
    if (this.#buckets.size >= KEYS_MAX) {
      this.#buckets.delete(this.#buckets.keys().next().value!)
    }
    this.#buckets.set(key, bucket)
    if (bucket.tokens >= 1) {
      bucket.tokens -= 1
      return 0
    }
    return Math.max(1, Math.ceil((1 - bucket.tokens) / this.#perMs / 1000))
  }
}

/** How often one requester may put a prompt before people. */
export function promptBuckets({ prompts }: { prompts: number }, clock: () => number): TokenBuckets {
  return new TokenBuckets({ count: prompts, periodMs: 60 * MINUTE_MS, clock })
}

/** Paths that cost a signature, a page for a person, or a request to the identity provider. */
const SIGN_IN = /^\/(?:oauth|sign-in|consent)(?:\/|$)/

export interface Rates {
  /** Requests a minute. */
  readonly perCaller: number
  readonly perAddress: number
  readonly signIn: number
}

/** How often one address and one credential may come (threat 71). */
export class Admission {
  readonly #callers: TokenBuckets
  readonly #addresses: TokenBuckets
  readonly #signIns: TokenBuckets
  readonly #trustProxy: number

  constructor(options: {
    readonly rates: Rates
    readonly trustProxy: number
    readonly clock: () => number
  }) {
    const { rates, clock } = options
    const perMinute = (count: number) => new TokenBuckets({ count, periodMs: MINUTE_MS, clock })
    this.#callers = perMinute(rates.perCaller)
    this.#addresses = perMinute(rates.perAddress)
    this.#signIns = perMinute(rates.signIn)
    this.#trustProxy = options.trustProxy
  }

  /** 0: come in. Otherwise after how many seconds to come again. */
  wait(req: IncomingMessage, path: string): number {
    const address = addressOf(req, this.#trustProxy)
    const byAddress = this.#addresses.take(address)
    if (byAddress > 0) return byAddress
    const bySignIn = SIGN_IN.test(path) ? this.#signIns.take(address) : 0
    if (bySignIn > 0) return bySignIn
    // Not who it belongs to: that would have to be verified first, and that costs more than this.
    const credential = req.headers.authorization ?? req.headers.cookie
    return credential === undefined ? 0 : this.#callers.take(hash('sha256', credential, 'base64'))
  }
}

/**
 * Where a request comes from: the address that the outermost believed proxy saw. IPv6 counts by
 * /64, which is what one subscriber has.
 */
export function addressOf(req: IncomingMessage, trustProxy: number): string {
  const forwarded = [req.headers['x-forwarded-for'] ?? []].flat().join(',')
  const chain = forwarded
    .split(',')
    .map((each) => each.trim())
    .filter((each) => each !== '')
  const seen = [...chain, req.socket.remoteAddress ?? 'unknown']
  const address = seen[Math.max(0, seen.length - 1 - trustProxy)]!.replace(/^::ffff:/i, '')
  return isIPv6(address) ? networkOf(address) : address
}

/** The first four groups of an IPv6 address. */
function networkOf(address: string): string {
  const plain = address.split('%', 1)[0]!.toLowerCase()
  const [head = '', tail] = plain.split('::')
  const groups = head === '' ? [] : head.split(':')
  const rest = tail === undefined || tail === '' ? [] : tail.split(':')
  const gap = tail === undefined ? 0 : Math.max(0, 8 - groups.length - rest.length)
  const all = [...groups, ...Array<string>(gap).fill('0'), ...rest]
  return `${all
    .slice(0, 4)
    .map((group) => group.replace(/^0+(?=.)/, ''))
    .join(':')}::/64`
}
