import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { Locks } from '../../src/gateway/locks.ts'

type Serials = Parameters<Locks['acquire']>[0]

test('who holds a lock alone is alone, whatever the order', async () => {
  const serial = fc.record({
    key: fc.constantFrom('a', 'b', 'c'),
    mode: fc.constantFrom<'shared' | 'exclusive'>('shared', 'exclusive'),
  })
  const serials = fc
    .uniqueArray(serial, { selector: ({ key }) => key, maxLength: 3 })
    .map((all) => all.sort((a, b) => (a.key < b.key ? -1 : 1)))
  await fc.assert(
    fc.asyncProperty(
      fc.scheduler(),
      fc.array(serials, { minLength: 1, maxLength: 12 }),
      async (s, all) => {
        const locks = new Locks()
        const inside = new Map<string, { shared: number; exclusive: number }>()
        let done = 0
        const work = async (own: Serials) => {
          const release = await locks.acquire(own)
          for (const { key, mode } of own) {
            const here = inside.get(key) ?? { shared: 0, exclusive: 0 }
            here[mode] += 1
            inside.set(key, here)
            expect(here.exclusive === 0 || here.exclusive + here.shared === 1).toBe(true)
          }
          await s.schedule(Promise.resolve())
          for (const { key, mode } of own) inside.get(key)![mode] -= 1
          release()
          // Twice is once.
          release()
          done += 1
        }
        await s.waitFor(Promise.all(all.map(work)))
        expect(done).toBe(all.length)
      },
    ),
    { numRuns: 500 },
  )
})

test('a writer is not starved by readers that keep coming', async () => {
  const locks = new Locks()
  const order: string[] = []
  const first = await locks.acquire([{ key: 'a', mode: 'shared' }])
  const writer = locks.acquire([{ key: 'a', mode: 'exclusive' }]).then((release) => {
    order.push('writer')
    release()
  })
  const reader = locks.acquire([{ key: 'a', mode: 'shared' }]).then((release) => {
    order.push('reader')
    release()
  })
  first()
  await Promise.all([writer, reader])
  expect(order).toEqual(['writer', 'reader'])
})
