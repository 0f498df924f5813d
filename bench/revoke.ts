import type { RunId } from '../src/core/id.ts'
import { addCall } from '../test/crash/stage.ts'
import type { LoadReport } from './load.ts'
import { Part } from './process.ts'
import { median, type Settings } from './settings.ts'

/** What a revocation does to calls: those in flight, and those that come after it. */

export interface RevokeFigures {
  readonly inFlight: number
  /** Until the revocation is durable, and acknowledged. */
  readonly acknowledgedMs: number
  /** From the revocation until the last call in flight is answered. */
  readonly answeredMs: number
  /** Calls that were sent after the acknowledgement, and made all the same. */
  readonly acceptedAfter: number
}

interface Opened {
  readonly run: RunId
  readonly badge: string
}

export async function measureRevocation(settings: Settings): Promise<RevokeFigures> {
  await using load = new Part('load.ts')
  await using upstream = new Part('upstream.ts')
  await using gateway = new Part('gateway.ts')
  const at = { url: await upstream.ask<string>({ do: 'serve' }) }
  const url = await gateway.ask<string>({ do: 'start', upstream: at })
  const acknowledged: number[] = []
  const answered: number[] = []
  let acceptedAfter = 0
  for (let round = 0; round < settings.rounds; round++) {
    const held = await holdAndRevoke({ load, gateway, url }, settings.inFlight)
    acknowledged.push(held.acknowledgedMs)
    answered.push(held.answeredMs)
    acceptedAfter += await revokeUnderLoad({ load, gateway, url }, settings.roundMs)
  }
  const { inFlight } = settings
  const [acknowledgedMs, answeredMs] = [median(acknowledged), median(answered)]
  return { inFlight, acknowledgedMs, answeredMs, acceptedAfter }
}

interface Parts {
  readonly load: Part
  readonly gateway: Part
  readonly url: string
}

/** The upstream answers none of these calls: only the revocation ends them. */
async function holdAndRevoke({ load, gateway, url }: Parts, inFlight: number) {
  const { run, badge } = await gateway.ask<Opened>({ do: 'open' })
  const call = addCall(badge, { id: '', text: 'hold' })
  const order = { do: 'load', url, ...call, parallel: inFlight, ms: 30_000, each: 1 } as const
  const report = load.ask<LoadReport>(order)
  // The upstream takes 128 of them at a time, the others wait for it in the gateway.
  while ((await gateway.ask<number>({ do: 'inFlight' })) < inFlight) await pause(5)
  const { ms, at } = await gateway.ask<{ ms: number; at: number }>({ do: 'revoke', run })
  const { lastAt, refused } = await report
  if (refused !== inFlight) throw new Error(`${refused} of ${inFlight} calls were cancelled`)
  return { acknowledgedMs: ms, answeredMs: lastAt - (at - ms) }
}

/** Calls that began after the acknowledgement and were made. */
async function revokeUnderLoad({ load, gateway, url }: Parts, ms: number): Promise<number> {
  const { run, badge } = await gateway.ask<Opened>({ do: 'open' })
  const call = addCall(badge, { id: '', text: 'x' })
  const report = load.ask<LoadReport>({ do: 'load', url, ...call, parallel: 32, ms })
  await pause(ms / 2)
  const { at } = await gateway.ask<{ at: number }>({ do: 'revoke', run })
  const { lastMadeStartedAt, made, refused } = await report
  if (made === 0 || refused === 0) throw new Error('the revocation came too early or too late')
  return lastMadeStartedAt > at ? 1 : 0
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))
