import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { RunId } from '../src/core/id.ts'
import { newId } from '../src/runs/new-id.ts'
import { Runs } from '../src/runs/runs.ts'
import { openSqlite } from '../src/store/sqlite.ts'
import { authorize, must, type Opened, openRun, settle, termsOf } from '../test/runs/support.ts'
import { answering, Part } from './process.ts'
import { median, type Settings } from './settings.ts'

/**
 * Whether a call costs the same wherever it happens: late in a long history, beside many live
 * trees, deep in a tree. A call here is a verdict and a settlement, both durable, by 32 callers at
 * once.
 */

interface Shape {
  /** Entries in the tree before. */
  readonly history: number
  /** Live trees in the process. */
  readonly trees: number
  /** Of the run that calls; 0 is the root. */
  readonly depth: number
}

const PARALLEL = 32
/** Trees that are opened together. */
const OPENED_AT_ONCE = 256
const PLAIN: Shape = { history: 10, trees: 1, depth: 1 }

let runs: Runs | null = null
let caller: Opened | null = null

async function build(shape: Shape): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'daypass-bench-'))
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }))
  const store = await openSqlite({ file: join(folder, 'daypass.db') })
  runs = new Runs({ store, clock: Date.now, executor: newId('exec') })
  await runs.start()
  const delegate = { maxDepth: 4, maxChildren: 2, ask: false }
  const root = await openRun(runs, { maxToolCalls: null, delegate })
  caller = { ...root, run: await descend(root, shape.depth) }
  for (let left = shape.trees - 1; left > 0; left -= OPENED_AT_ONCE) {
    const some = Array.from({ length: Math.min(left, OPENED_AT_ONCE) }, () => openRun(runs!))
    await Promise.all(some)
  }
  await calls(() => (runs!.tree(root).peek()?.seq ?? 0) < shape.history)
}

/** The run at that depth: each one is delegated by the one above. */
async function descend(root: Opened, depth: number): Promise<RunId> {
  let parent = root.run
  for (let level = 1; level <= depth; level++) {
    const run = newId('run')
    const delegate = { maxDepth: 4 - level, maxChildren: 2, ask: false }
    const terms = termsOf({
      ...{ maxToolCalls: null, expiresInSeconds: 1800 - level },
      delegate: level < 4 ? delegate : null,
    })
    const { envelope } = runs!.tree(root).peek()!.runs.get(parent)!
    const rule = { policy: null, approvers: null, self: true, answerSeconds: 300 }
    const asked = { promptHash: 'ab'.repeat(32), envelope, rule }
    const command = { do: 'delegate', parent, run, lease: newId('lease'), terms, ...asked } as const
    must(await runs!.execute(root, command))
    parent = run
  }
  return parent
}

/** Calls, one after the other by each of the callers. How many were made. */
async function calls(goOn: () => boolean): Promise<number> {
  let made = 0
  const work = async (): Promise<void> => {
    while (goOn()) {
      const command = authorize(runs!, caller!)
      const reply = must(await runs!.execute(caller!, command))
      if (reply.kind !== 'allow') throw new Error(`not allowed: ${JSON.stringify(reply)}`)
      must(await runs!.execute(caller!, settle(command.call)))
      made++
    }
  }
  await Promise.all(Array.from({ length: PARALLEL }, work))
  return made
}

/** Microseconds a call. */
async function measure({ ms }: { ms: number }): Promise<number> {
  const startedMs = performance.now()
  const made = await calls(() => performance.now() - startedMs < ms)
  return ((performance.now() - startedMs) * 1_000) / made
}

/** Bytes of heap in use. */
function heap(): number {
  globalThis.gc!()
  return process.memoryUsage().heapUsed
}

answering(import.meta, { build, measure, heap })

export interface FlatFigures {
  readonly what: 'history' | 'trees' | 'depth'
  readonly from: number
  readonly to: number
  /** What a call costs there, relative to here. */
  readonly ratio: number
}

export async function measureFlatness(
  settings: Settings,
): Promise<{ flat: FlatFigures[]; heapBytesPerLease: number }> {
  const shapes: readonly [FlatFigures['what'], Shape][] = [
    ['history', { ...PLAIN, history: settings.history }],
    ['trees', { ...PLAIN, trees: settings.trees }],
    ['depth', { ...PLAIN, depth: 4 }],
  ]
  const flat: FlatFigures[] = []
  let heapBytesPerLease = Number.NaN
  for (const [what, shape] of shapes) {
    await using here = new Part('flat.ts', { execArgv: ['--expose-gc'] })
    await using there = new Part('flat.ts', { execArgv: ['--expose-gc'] })
    await here.ask({ do: 'build', ...PLAIN })
    await there.ask({ do: 'build', ...shape })
    if (what === 'trees') {
      const [one, many] = [
        await here.ask<number>({ do: 'heap' }),
        await there.ask<number>({ do: 'heap' }),
      ]
      heapBytesPerLease = (many - one) / (shape.trees - PLAIN.trees)
    }
    const ratios: number[] = []
    for (let round = 0; round <= settings.rounds; round++) {
      const a = await here.ask<number>({ do: 'measure', ms: settings.roundMs })
      const b = await there.ask<number>({ do: 'measure', ms: settings.roundMs })
      if (round > 0) ratios.push(b / a)
    }
    flat.push({ what, from: PLAIN[what], to: shape[what], ratio: median(ratios) })
  }
  return { flat, heapBytesPerLease }
}
