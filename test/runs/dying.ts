/** A process that dies with calls in flight, and some denied: says which, then waits for death. */

import { openSqlite } from '../../src/store/sqlite.ts'
import { authorize, factsOf, must, openRun, runsOf } from './support.ts'

const store = await openSqlite({ file: process.argv[2]! })
const runs = runsOf(store, { executor: 'exec_dying' })
await runs.start()
const opened = await openRun(runs, { maxToolCalls: 5 })
const calls = [1, 2, 3].map((index) => authorize(runs, opened, { key: `use:${index}` }))
await Promise.all(calls.map(async (call) => must(await runs.execute(opened, call))))
const denied = ['secret.read', 'production.deploy']
for (const action of denied) {
  must(await runs.execute(opened, authorize(runs, opened, { facts: factsOf(action) })))
}
const said = { opened, calls: calls.map(({ call }) => call), denied }
process.stdout.write(`${JSON.stringify(said)}\n`)
setInterval(() => {}, 1_000)
