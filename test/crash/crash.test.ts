import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Arena, CLIENTS, type Death, Victims } from './arena.ts'
import { autopsy, type Findings } from './autopsy.ts'
import { STORE_POINTS } from './victim-order.ts'

/** Deaths at random moments. */
const LIVES = 204
/** Victims that share a database, one after the other. */
const LIVES_PER_ARENA = 12
const LANES = 2
/** Small enough to be used up within an arena, and large enough to last for several lives. */
const BUDGET = 60

let victims: Victims
beforeAll(async () => {
  victims = await Victims.open({ atOnce: LANES })
}, 120_000)
afterAll(() => victims.close())

describe('killed at each point of the path of a call', () => {
  async function dieOnce(
    death: Death,
    options: { isHasty?: boolean } = {},
  ): Promise<{ arena: Arena; found: Findings }> {
    const arena = await Arena.open({ budget: BUDGET, victims })
    try {
      await arena.life(death, options)
      return { arena, found: await autopsy(arena, BUDGET) }
    } finally {
      await arena.close()
    }
  }

  const [beforeVerdict, afterVerdict, beforeSettlement, afterSettlement] = STORE_POINTS

  test(beforeVerdict, async () => {
    const { arena, found } = await dieOnce({ by: 'point', at: beforeVerdict, count: 1 })
    expect(arena.upstream.executed).toEqual([])
    expect(found.allowed.size).toBe(0)
  })

  test(afterVerdict, async () => {
    const { arena, found } = await dieOnce({ by: 'point', at: afterVerdict, count: 1 })
    expect(arena.upstream.executed).toEqual([])
    expect(found.allowed.size).toBeGreaterThan(0)
    expect(found.unknown).toEqual(found.allowed)
  })

  test('executed by the upstream, before its answer', async () => {
    const { arena, found } = await dieOnce({ by: 'execution', count: 1 })
    const { executed } = arena.upstream
    expect(executed.length).toBeGreaterThan(0)
    expect(found.unknown).toContain(executed[0])
    expect(arena.sent.get(executed[0]!)?.answer).toBe(null)
  })

  test(beforeSettlement, async () => {
    const { arena, found } = await dieOnce({ by: 'point', at: beforeSettlement, count: 1 })
    expect(arena.upstream.executed.length).toBeGreaterThan(0)
    expect(found.settled.size).toBe(0)
    expect(found.unknown).toEqual(found.allowed)
  })

  test(afterSettlement, async () => {
    const { arena, found } = await dieOnce({ by: 'point', at: afterSettlement, count: 1 })
    expect(found.settled.size).toBeGreaterThan(0)
    for (const id of found.settled) {
      expect(arena.upstream.executed).toContain(id)
      expect(found.unknown).not.toContain(id)
    }
  })

  test('delivered to the client', async () => {
    const { arena, found } = await dieOnce({ by: 'answer', count: 1 })
    const read = [...arena.sent].filter(([, { answer }]) => answer !== null)
    expect(read.length).toBeGreaterThan(0)
    for (const [id, { answer }] of read) {
      expect(answer).toEqual({ text: `added ${id}`, isError: false })
      expect(found.allowed).toContain(id)
    }
  })

  test('the checker sees a gateway that sends before its verdict is durable', async () => {
    const death = dieOnce({ by: 'execution', count: 1 }, { isHasty: true })
    await expect(death).rejects.toThrow('what the upstream executed and the ledger does not know')
  })
})

test(`killed ${LIVES} times at random moments under load`, { timeout: 900_000 }, async () => {
  let life = 0
  const totals = { allowed: 0, unknown: 0, answered: 0, executed: 0 }
  const work = async (): Promise<void> => {
    while (life < LIVES) {
      const arena = await Arena.open({ budget: BUDGET, victims })
      try {
        let found: Findings | null = null
        for (let i = 0; i < LIVES_PER_ARENA && life < LIVES; i++) {
          await arena.life(randomDeath(life++))
          found = await autopsy(arena, BUDGET)
        }
        totals.allowed += found!.allowed.size
        totals.unknown += found!.unknown.size
        totals.executed += arena.upstream.executed.length
        totals.answered += [...arena.sent.values()].filter(({ answer }) => answer !== null).length
      } finally {
        await arena.close()
      }
    }
  }
  // One that fails stops the others, and they leave nothing behind.
  const stop = (error: unknown): never => {
    life = LIVES
    throw error
  }
  const ended = await Promise.allSettled(Array.from({ length: LANES }, () => work().catch(stop)))
  for (const each of ended) if (each.status === 'rejected') throw each.reason
  console.log(`${life} deaths, calls: ${JSON.stringify(totals)}`)
  // A test in which nothing is under way when the victims die would show nothing. Six of ten lives
  // end with an execution, the 13th on average, so no machine is too slow for these.
  expect(totals.executed).toBeGreaterThan(LIVES * 5)
  expect(totals.unknown).toBeGreaterThan(LIVES)
  expect(totals.answered).toBeGreaterThan(LIVES)
})

/** Most die at or soon after an execution, some while they start, some at a point of the path. */
function randomDeath(life: number): Death {
  const draw = (max: number) => Math.floor(Math.random() * max)
  switch (life % 10) {
    case 0:
      return { by: 'clock', from: 'order', ms: draw(250) }
    case 1:
      return { by: 'clock', from: 'ready', ms: draw(120) }
    case 2:
    case 3:
      return { by: 'point', at: STORE_POINTS[draw(STORE_POINTS.length)]!, count: 1 + draw(10) }
    case 4:
    case 5:
    case 6:
      return { by: 'execution', count: 1 + draw(2 * CLIENTS) }
    default:
      return { by: 'execution', count: 1 + draw(2 * CLIENTS), ms: draw(30) }
  }
}
