/**
 * A whole Daypass that is going to be killed. Waits for a folder on stdin, so that the time to load
 * its modules is spent while another victim lives; then opens it, takes up the run that is still
 * active or opens one, and says where it is and what the badge is. Kills itself at the point of the
 * path of a call that the order names, the `count`-th time that it gets there. At the end of stdin
 * it ends in peace: whoever was to kill it is gone, or wants what was compiled to be kept.
 */
import { createInterface } from 'node:readline'
import type { Entry } from '../../src/core/entry.ts'
import { ok } from '../../src/core/result.ts'
import { type Daypass, LOCAL_ORG } from '../../src/server.ts'
import { type FaultHooks, withFaults } from '../../src/store/faults.ts'
import type { Batch, Store } from '../../src/store/store.ts'
import { must, openStageRun, stageTerms, startStage } from './stage.ts'
import type { Order, Ready } from './victim-order.ts'

let daypass: Daypass | null = null
const orders = createInterface({ input: process.stdin })
orders.once('line', (line) => void live(JSON.parse(line)))
orders.once('close', async () => {
  await daypass?.close()
  process.exit()
})

async function live(order: Order): Promise<void> {
  daypass = await startStage(order.folder, {
    aroundStore: (store) => (order.isHasty ? hasty(store) : withFaults(store, killAt(order))),
  })
  const { authority, url } = daypass
  const terms = stageTerms({ maxToolCalls: order.budget })
  const trees = await authority.list({ open: true, limit: 100 })
  const active = trees.find((tree) => tree.runs.get(tree.root)?.lease?.state === 'active')
  const opened =
    active === undefined
      ? await openStageRun(daypass, terms)
      : {
          ...{ org: LOCAL_ORG, tree: active.id, run: active.root },
          badge: must(await authority.badge(active.root)),
        }
  const ready: Ready = { ...opened, url: `${url}/mcp` }
  process.stdout.write(`${JSON.stringify(ready)}\n`)
}

function killAt({ at, count }: Order): FaultHooks {
  let left = count
  const pass = (when: 'before' | 'after', write: string, [batch]: readonly unknown[]): void => {
    if (at === null || write !== 'append' || !at.startsWith(when)) return
    const type: Entry['type'] = at.includes('verdict') ? 'call.allowed' : 'call.settled'
    if (!(batch as Batch).rows.some((row) => row.type === type)) return
    left--
    if (left > 0) return
    process.kill(process.pid, 'SIGKILL')
    // The signal may take a moment, in which nothing more may happen.
    for (;;);
  }
  return {
    before: (write, parameters) => pass('before', write, parameters),
    after: (write, parameters) => pass('after', write, parameters),
  }
}

/** Long enough to be killed in. */
const HASTE_MS = 5_000

/** A store that says of verdicts that they are durable, and stores them later. */
function hasty(store: Store): Store {
  let last: Promise<unknown> = Promise.resolve()
  const append: Store['append'] = async (batch) => {
    const isVerdict = batch.rows.some(({ type }) => type === 'call.allowed')
    const wait = isVerdict ? HASTE_MS : 0
    const stored = last
      .then(() => new Promise((resolve) => setTimeout(resolve, wait)))
      .then(() => store.append(batch))
    last = stored
    return isVerdict ? ok(undefined) : await stored
  }
  return new Proxy(store, {
    get(target, name) {
      const member = name === 'append' ? append : Reflect.get(target, name, target)
      return typeof member === 'function' ? member.bind(target) : member
    },
  })
}
