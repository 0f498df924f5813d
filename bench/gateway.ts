import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import type { RunId } from '../src/core/id.ts'
import type { Daypass } from '../src/server.ts'
import {
  must,
  openStageRun,
  PERSON,
  startStage,
  type UpstreamAt,
  writeProject,
} from '../test/crash/stage.ts'
import { answering } from './process.ts'

/** The whole of Daypass in a process of its own: SQLite file, gateway, one upstream. */

let daypass: Daypass | null = null
let delay: ReturnType<typeof monitorEventLoopDelay> | null = null

async function start({ upstream }: { upstream: UpstreamAt }): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'daypass-bench-'))
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }))
  writeProject(folder, upstream)
  daypass = await startStage(folder)
  return `${daypass.url}/mcp`
}

async function open(): Promise<{ run: RunId; badge: string }> {
  const { run, badge } = await openStageRun(daypass!)
  return { run, badge }
}

/** Milliseconds until the revocation is durable, and the wall clock then. */
async function revoke({ run }: { run: RunId }): Promise<{ ms: number; at: number }> {
  const startedMs = performance.now()
  const by = { person: PERSON, via: 'terminal' } as const
  must(await daypass!.authority.revoke(run, { by, reason: 'stop' }))
  return { ms: performance.now() - startedMs, at: performance.timeOrigin + performance.now() }
}

function watchLoop(): void {
  delay = monitorEventLoopDelay({ resolution: 1 })
  delay.enable()
}

/** 99th percentile of the delay since `watchLoop`, in milliseconds. */
function loopDelay(): number {
  delay!.disable()
  return delay!.percentile(99) / 1e6
}

const inFlight = (): number => daypass!.door.inFlight

/** Closes everything, so that a profile of the process can be written. */
async function stop(): Promise<void> {
  await daypass!.close()
}

answering(import.meta, { start, open, revoke, watchLoop, loopDelay, inFlight, stop })
