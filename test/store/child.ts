import { writeSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { openSqlite } from '../../src/store/sqlite.ts'
import type { Store } from '../../src/store/store.ts'
import { key, next, opening } from './fixtures.ts'

/** What the tests run in processes of their own. Prints one line a fact, at once. */
const [job = '', file = '', name = '', count = '0'] = process.argv.slice(2)
const say = (...words: unknown[]): void => void writeSync(1, `${words.join(' ')}\n`)

const jobs: Record<string, (store: Store) => Promise<void>> = {
  /** Once tree `race` is there, competes for its sequence numbers until it has won `count`. */
  async race(store) {
    for (let won = 0; won < Number(count); ) {
      const seq = (await store.head(key('race')))?.seq
      if (seq === undefined) {
        await sleep(1)
        continue
      }
      const { ok } = await store.append(next('race', seq, { note: name }))
      say(ok ? 'won' : 'lost', seq + 1)
      if (ok) won++
    }
    await store.close()
  },

  /** Appends to 16 trees at once, for ever; says what is acknowledged. */
  async flood(store) {
    const grow = async (tree: string): Promise<void> => {
      await store.append(opening(tree))
      for (let seq = 1; ; seq++) {
        say('stored', tree, seq)
        await store.append(next(tree, seq))
      }
    }
    await Promise.all(Array.from({ length: 16 }, (_, i) => grow(`${name}${i}`)))
  },

  /** Appends until an append fails; says how, twice. */
  async fill(store) {
    let seq = 0
    try {
      for (; ; seq++) {
        await store.append(seq === 0 ? opening('fill') : next('fill', seq, { count: 1 }))
        say('stored', seq + 1)
      }
    } catch (error) {
      say('failed', (error as { code: string }).code)
    }
    await store.beat('e', 1).catch((error) => say('then', error.code))
  },

  /** Leaves without closing, while a write waits. */
  async leave(store) {
    await store.append(opening('left'))
    say('stored')
    store.beat('e', 1).then(() => say('beat'))
  },
}

const run = jobs[job]
if (run === undefined) throw new Error(`no job ${job}`)
const store = await openSqlite({ file })
say('open')
await run(store)
