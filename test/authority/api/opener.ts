import { newId } from '../../../src/runs/new-id.ts'
import { Runs } from '../../../src/runs/runs.ts'
import { openSqlite } from '../../../src/store/sqlite.ts'
import { termsOf } from '../../runs/support.ts'

/** Opens runs of the agent `flood` as fast as it can, until it is told to stop. */
const [file = '', name = ''] = process.argv.slice(2)
const store = await openSqlite({ file })
const runs = new Runs({ store, clock: Date.now, executor: newId('exec') })
const told = { opened: 0, locked: 0 }
let isStopped = false
process.on('message', () => {
  isStopped = true
})
while (!isStopped) {
  const key = { org: 'local', tree: newId('tree') }
  const run = newId('run')
  const envelope = { requester: `otto-${name}`, agent: 'flood', purpose: 'p', client: null }
  const rule = { policy: null, approvers: null, self: true, answerSeconds: 300 }
  const [opened] = await Promise.all([
    runs.execute(key, { do: 'open', ...key, run, rules: 1, envelope }),
    runs.execute(key, {
      ...{ do: 'request', run, lease: newId('lease'), terms: termsOf(), rule },
      promptHash: 'a'.repeat(64),
    }),
  ])
  if (opened.ok) told.opened++
  else if (opened.error.code === 'locked') told.locked++
  else throw new Error(opened.error.message)
  process.send?.({ ...told })
}
await store.close()
process.disconnect()
