/** A process that dies with calls in flight: says which, then waits to be killed. */

import { openSqlite } from '../../src/store/sqlite.ts'
import { authorize, must, openRun, runsOf } from './support.ts'

const store = await openSqlite({ file: process.argv[2]! })
const runs = runsOf(store, { executor: 'exec_dying' })
await runs.start()
const opened = await openRun(runs, { maxToolCalls: 5 })
const calls = [1, 2, 3].map((index) => authorize(runs, opened, { key: `use:${index}` }))
await Promise.all(calls.map(async (call) => must(await runs.execute(opened, call))))
process.stdout.write(`${JSON.stringify({ opened, calls: calls.map(({ call }) => call) })}\n`)
setInterval(() => {}, 1_000)
