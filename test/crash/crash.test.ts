import { afterAll, describe, expect, test } from 'vitest'
import { Arena, type Death, Victims } from './arena.ts'
import { autopsy, type Findings } from './autopsy.ts'
import { STORE_POINTS } from './victim-order.ts'

/** Deaths at random moments. */
const LIVES = 204
/** Victims that share a database, one after the other. */
const LIVES_PER_ARENA = 12
const LANES = 2
/** Small enough to be used up within an arena, and large enough to last for several lives. */
const BUDGET = 300

const lanes = Array.from({ length: LANES }, () => new Victims())
afterAll(() => Promise.all(lanes.map((victims) => victims.close())))

describe('killed at each point of the path of a call', () => {
  async function dieOnce(death: Death): Promise<{ arena: Arena; found: Findings }> {
    const arena = await Arena.open({ budget: BUDGET, victims: lanes[0]! })
    try {
      await arena.life(death)
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
})

test(`killed ${LIVES} times at random moments under load`, { timeout: 900_000 }, async () => {
  let life = 0
  const totals = { allowed: 0, unknown: 0, answered: 0, executed: 0 }
  const work = async (victims: Victims): Promise<void> => {
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
  const ended = await Promise.allSettled(lanes.map((victims) => work(victims).catch(stop)))
  for (const each of ended) if (each.status === 'rejected') throw each.reason
  console.log(`${life} deaths, calls: ${JSON.stringify(totals)}`)
  // A test in which nothing is under way when the victims die would show nothing.
  // How much is under way depends on the machine; that something is does not.
  expect(totals.executed).toBeGreaterThan(LIVES)
  expect(totals.unknown).toBeGreaterThan(LIVES / 2)
  expect(totals.answered).toBeGreaterThan(LIVES / 2)
})

/** Most die some time after they are ready, some while they start, some at a point of the path. */
function randomDeath(life: number): Death {
  const draw = (max: number) => Math.floor(Math.random() * max)
  switch (life % 10) {
    case 0:
      return { by: 'clock', from: 'order', ms: draw(250) }
    case 1:
    case 2:
      return { by: 'point', at: STORE_POINTS[draw(STORE_POINTS.length)]!, count: 1 + draw(10) }
    case 3:
      return { by: 'execution', count: 1 + draw(30) }
    default:
      return { by: 'clock', from: 'ready', ms: draw(120) }
  }
}
