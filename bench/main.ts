import { writeFileSync } from 'node:fs'
import { cpus, loadavg, release } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { measureAppends, measureSync } from './append.ts'
import { measureDecide } from './decide.ts'
import { measureDoors } from './doors.ts'
import { measureFlatness } from './flat.ts'
import { measureRevocation } from './revoke.ts'
import { QUICK, type Settings, THOROUGH } from './settings.ts'
import { tableOf } from './table.ts'

/**
 * The price of Daypass: `npm run bench`. Everything is measured in one run, side by side, and told
 * as ratios; the absolute figures hold for one machine at one hour. Writes `bench/results.json`.
 */

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    peers: { type: 'string' },
    only: { type: 'string' },
  },
})
const settings: Settings = {
  ...(values.quick ? QUICK : THOROUGH),
  peers: values.peers === undefined ? null : resolve(values.peers),
}
const wants = (part: string): boolean => values.only === undefined || values.only === part
const note = (what: string): void => {
  process.stderr.write(`${what} …\n`)
}
const startedMs = performance.now()
const loadBefore = loadavg()[0]!

async function results() {
  note('durable appends')
  const append = wants('append') ? await measureAppends(settings.rounds) : []
  const syncMs = measureSync()
  note('verdicts')
  const decide = wants('decide') ? measureDecide() : []
  note('doors')
  const doors = wants('doors') ? await measureDoors(settings) : []
  note('flatness')
  const flatness = wants('flat') ? await measureFlatness(settings) : null
  note('revocation')
  const revocation = wants('revoke') ? await measureRevocation(settings) : null
  return {
    machine: {
      processors: cpus().length,
      model: cpus()[0]?.model ?? 'unknown',
      system: `${process.platform} ${release()}`,
      node: process.version,
      /** Load average before and after: above 1, somebody else was measured too. */
      load: [loadBefore, loadavg()[0]!],
    },
    at: new Date().toISOString(),
    seconds: Math.round((performance.now() - startedMs) / 1_000),
    ...{ settings: { ...settings, peers: settings.peers !== null } },
    ...{ syncMs, append, decide, doors, flatness, revocation },
  }
}

export type Results = Awaited<ReturnType<typeof results>>

const all = await results()
process.stdout.write(tableOf(all))
if (!values.quick && values.only === undefined) {
  writeFileSync(join(import.meta.dirname, 'results.json'), `${JSON.stringify(all, null, 2)}\n`)
}
