import { join } from 'node:path'
import { addCall } from '../test/crash/stage.ts'
import type { LoadReport } from './load.ts'
import { type PeerName, startPeers } from './peers.ts'
import { Part } from './process.ts'
import { median, type Settings } from './settings.ts'

/**
 * The gateway with a durable verdict beside a bare relay, and beside proxies that check nothing.
 */

export type DoorName = 'relay' | 'gateway' | PeerName
export type Transport = 'http' | 'stdio'

export interface DoorFigures {
  readonly transport: Transport
  readonly parallel: number
  readonly door: DoorName
  /** Calls a second: the median of the rounds. */
  readonly perSecond: number
  /** Relative to the bare relay with the same upstream: the median of the rounds' ratios. */
  readonly ratio: number
  readonly p50Ms: number
  readonly p99Ms: number
  /** Microseconds of processor a call in the door's process, all threads; null: not our process. */
  readonly cpuUs: number | null
  readonly loopDelayP99Ms: number | null
}

/** A door that is ready to be called. */
export interface Subject {
  readonly door: DoorName
  readonly transport: Transport
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
  readonly parallel: readonly number[]
  /** Its process, if it is one of ours. */
  readonly part: Part | null
}

/** Callers from which on the delay of the gateway's loop is watched. */
const WATCHED_FROM = 64
/** The text of the argument: 200 bytes. */
const TEXT = 'x'.repeat(200)
export const UPSTREAM = join(import.meta.dirname, 'upstream.ts')

export async function measureDoors(settings: Settings): Promise<DoorFigures[]> {
  await using parts = new AsyncDisposableStack()
  const load = parts.use(new Part('load.ts'))
  const subjects = await startSubjects(parts, settings)
  for (const subject of subjects) {
    await oneRound(load, subject, { parallel: 32, ms: settings.warmUpMs })
  }
  const figures: DoorFigures[] = []
  for (const transport of ['http', 'stdio'] as const) {
    for (const parallel of settings.parallel) {
      const here = subjects.filter(
        (subject) => subject.transport === transport && subject.parallel.includes(parallel),
      )
      figures.push(...(await measure(load, here, parallel, settings)))
    }
  }
  return figures
}

async function measure(
  load: Part,
  subjects: readonly Subject[],
  parallel: number,
  settings: Settings,
): Promise<DoorFigures[]> {
  const seen = subjects.map(() => [] as (LoadReport & Inside)[])
  // The first round is not counted.
  for (let round = 0; round <= settings.rounds; round++) {
    for (const [index, subject] of subjects.entries()) {
      const report = await oneRound(load, subject, { parallel, ms: settings.roundMs })
      if (round > 0) seen[index]!.push(report)
    }
  }
  const relay = seen[subjects.findIndex(({ door }) => door === 'relay')]!
  return subjects.map(({ door, transport }, index) => {
    const reports = seen[index]!
    const middle = (of: (report: LoadReport) => number) => median(reports.map(of))
    return {
      ...{ transport, parallel, door },
      perSecond: middle(({ perSecond }) => perSecond),
      ratio: median(reports.map((report, at) => report.perSecond / relay[at]!.perSecond)),
      p50Ms: middle(({ p50Ms }) => p50Ms),
      p99Ms: middle(({ p99Ms }) => p99Ms),
      cpuUs: middleOrNull(reports.map(({ cpuUs }) => cpuUs)),
      loopDelayP99Ms: middleOrNull(reports.map(({ delayMs }) => delayMs)),
    }
  })
}

interface Inside {
  readonly cpuUs: number | null
  readonly delayMs: number | null
}

async function oneRound(
  load: Part,
  { door, url, headers, body, part }: Subject,
  how: { parallel: number; ms: number },
): Promise<LoadReport & Inside> {
  // Watching wakes the process every millisecond, which would cost a single caller much.
  const isWatched = door === 'gateway' && how.parallel >= WATCHED_FROM
  if (isWatched) await part!.ask({ do: 'watchLoop' })
  const before = (await part?.ask<number>({ do: 'cpu' })) ?? null
  const report = await load.ask<LoadReport>({ do: 'load', url, headers, body, ...how })
  const after = (await part?.ask<number>({ do: 'cpu' })) ?? null
  const delayMs = isWatched ? await part!.ask<number>({ do: 'loopDelay' }) : null
  if (report.refused > 0) throw new Error(`${door} refused ${report.refused} calls`)
  const cpuUs = after === null ? null : ((after - before!) * 1_000) / report.made
  return { ...report, cpuUs, delayMs }
}

function middleOrNull(values: readonly (number | null)[]): number | null {
  const known = values.filter((value) => value !== null)
  return known.length === 0 ? null : median(known)
}

async function startSubjects(parts: AsyncDisposableStack, settings: Settings): Promise<Subject[]> {
  const command = [process.execPath, UPSTREAM, 'stdio']
  const upstream = parts.use(new Part('upstream.ts'))
  const url = await upstream.ask<string>({ do: 'serve' })
  const subjects: Subject[] = []
  for (const transport of ['http', 'stdio'] as const) {
    const relay = parts.use(new Part('relay.ts'))
    const order = transport === 'http' ? { do: 'toHttp', url } : { do: 'toStdio', command }
    const direct = addCall('none', { id: '', text: TEXT, tool: 'add' })
    const parallel = settings.parallel
    subjects.push({
      ...{ door: 'relay', transport, parallel, part: relay, ...direct },
      url: await relay.ask<string>(order),
    })
    const gateway = await startGateway(parts, transport === 'http' ? { url } : { command })
    subjects.push({ door: 'gateway', transport, parallel, ...gateway })
  }
  if (settings.peers !== null) {
    const peers = await startPeers(parts, { folder: settings.peers, command, text: TEXT })
    subjects.push(...peers)
  }
  return subjects
}

/** A gateway with a run, and one call of it. */
export async function startGateway(
  parts: AsyncDisposableStack,
  upstream: { url: string } | { command: string[] },
): Promise<Pick<Subject, 'url' | 'headers' | 'body' | 'part'>> {
  const part = parts.use(new Part('gateway.ts'))
  const url = await part.ask<string>({ do: 'start', upstream })
  const { badge } = await part.ask<{ badge: string }>({ do: 'open' })
  return { url, part, ...addCall(badge, { id: '', text: TEXT }) }
}
