import { createPublicKey, type KeyObject, sign, verify } from 'node:crypto'
import type { Upstreams } from '../gateway/upstreams.ts'
import type { Store } from '../store/store.ts'

/** Anybody may ask, and each look writes to the disk: within this time all get one answer. */
const LOOK_MS = 1_000
/** A disk that takes longer is not there. */
const STORE_MS = 5_000

/** Whether this process can do its work. Counts only: names of servers are nobody's business. */
export interface Readiness {
  readonly ready: boolean
  readonly store: 'ok' | 'failing'
  readonly keys: 'ok' | 'failing'
  readonly servers: { readonly up: number; readonly starting: number; readonly down: number }
}

export interface ReadinessParts {
  readonly store: Pick<Store, 'beat'>
  readonly executor: string
  readonly keys: { readonly signing: { readonly privateKey: KeyObject } }
  readonly upstreams: Pick<Upstreams, 'health'>
  readonly clock: () => number
}

/**
 * Looks whether the store keeps what it is given (a real write, like those that precede a call),
 * whether the keys sign, and whether the servers have been started. One that is down does not make
 * the gateway unready: what needs it is denied with a reason, and the rest works.
 */
export function readinessOf(parts: ReadinessParts): () => Promise<Readiness> {
  let last: { readonly at: number; readonly answer: Promise<Readiness> } | null = null
  return () => {
    const now = parts.clock()
    if (last === null || Math.abs(now - last.at) >= LOOK_MS) {
      last = { at: now, answer: look(parts) }
    }
    return last.answer
  }
}

async function look(parts: ReadinessParts): Promise<Readiness> {
  const store = (await writes(parts)) ? 'ok' : 'failing'
  const keys = signs(parts.keys) ? 'ok' : 'failing'
  const servers = { up: 0, starting: 0, down: 0 }
  for (const { state } of Object.values(parts.upstreams.health())) {
    servers[state === 'up' || state === 'starting' ? state : 'down'] += 1
  }
  const ready = store === 'ok' && keys === 'ok' && servers.starting === 0
  return { ready, store, keys, servers }
}

async function writes({ store, executor, clock }: ReadinessParts): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>()
  const timer = setTimeout(() => resolve(false), STORE_MS)
  store.beat(executor, clock()).then(
    () => resolve(true),
    () => resolve(false),
  )
  const wrote = await promise
  clearTimeout(timer)
  return wrote
}

function signs(keys: ReadinessParts['keys']): boolean {
  const probe = Buffer.from('daypass readiness')
  try {
    const { privateKey } = keys.signing
    return verify(null, probe, createPublicKey(privateKey), sign(null, probe, privateKey))
  } catch {
    return false
  }
}
