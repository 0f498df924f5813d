import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Entry } from '../../src/core/entry.ts'
import type { Json } from '../../src/core/id.ts'
import { isSame, replay } from '../../src/core/replay.ts'
import { toSnapshot } from '../../src/core/snapshot.ts'
import { runs } from './runs.ts'
import { arbitraryLife, live } from './sequences.ts'
import { active, Book, OPEN, sortedCopy } from './support.ts'

const LIVES = runs(1000)

type Path = readonly (string | number)[]

/** Paths to every leaf of a JSON value. */
function leaves(value: unknown, path: Path = []): Path[] {
  if (typeof value !== 'object' || value === null) return [path]
  return Object.entries(value).flatMap(([name, member]) => leaves(member, [...path, name]))
}

function changed(
  entries: readonly Entry[],
  index: number,
  path: Path,
  change: (leaf: Json) => Json,
) {
  const copy = JSON.parse(JSON.stringify(entries)) as Record<string, Json>[]
  let holder = copy[index] as Record<string | number, unknown>
  for (const name of path.slice(0, -1)) holder = holder[name] as Record<string, unknown>
  const last = path.at(-1)!
  holder[last] = change(holder[last] as Json)
  return copy as unknown as Entry[]
}

function another(leaf: Json): Json {
  switch (typeof leaf) {
    case 'number':
      return leaf + 1
    case 'boolean':
      return !leaf
    case 'string':
      return `${leaf}x`
    default:
      return 'x'
  }
}

describe('replay', () => {
  test('law: replay of any life gives the same verdicts and the same tree', () => {
    fc.assert(
      fc.property(arbitraryLife, (life) => {
        const book = live(life)
        const replayed = replay(book.entries)
        if (!replayed.ok) throw new Error(replayed.error.message)
        expect(toSnapshot(replayed.value.tree)).toEqual(toSnapshot(book.tree))
      }),
      { numRuns: LIVES },
    )
  })

  test('law: the order of members does not matter; the ledger stores them sorted', () => {
    fc.assert(
      fc.property(arbitraryLife, (life) => {
        const replayed = replay(live(life).entries.map(sortedCopy))
        expect(replayed.ok ? null : replayed.error).toBeNull()
      }),
      { numRuns: LIVES },
    )
  })

  test('the words of a denial do not depend on the order of members', () => {
    const grants = [
      {
        actions: ['doc.read'],
        resources: { repos: ['clord'], branches: ['main'], areas: ['a'] },
        where: { b: { max: '1', min: '0' }, a: { one_of: [{ y: 1, x: 2 }] } },
      },
    ]
    const calls = [
      { resources: { repos: ['no'], branches: ['no'] }, args: {} },
      { resources: { repos: ['clord'], branches: ['main'], areas: ['a'] }, args: { b: 1, a: 1 } },
      { resources: { repos: ['clord'], branches: ['main'] }, args: {} },
      { resources: { zones: ['z'], elders: ['e'] }, args: {} },
    ]
    const book = active({ grants, onExceed: 'deny' })
    for (const { resources, args } of calls as {
      resources: object
      args: Record<string, Json>
    }[]) {
      const touch = { action: 'doc.read', effect: 'read', reversible: true, within: {} } as const
      const touches = [{ ...touch, resources: resources as never, hosts: [] }]
      book.denied('doc.read', { facts: { touches, args } })
    }
    expect(new Set(book.of('call.denied').map(({ determined }) => determined)).size).toBe(4)
    const replayed = replay(book.entries.map(sortedCopy))
    expect(replayed.ok ? null : replayed.error).toBeNull()
  })

  /**
   * What a command says is input: nothing but the hash chain can tell whether it was altered. All
   * that follows from it is computed again.
   */
  test('law: altering any one result of a decision is found', () => {
    let altered = 0
    fc.assert(
      fc.property(arbitraryLife, fc.nat(), fc.nat(), (life, which, where) => {
        const { entries } = live(life)
        const index = which % entries.length
        const paths = leaves(entries[index]).filter(([top]) => {
          return top !== 'command' && (top !== 'at' || !('command' in entries[index]!))
        })
        const path = paths[where % paths.length]!
        altered += 1
        const replayed = replay(changed(entries, index, path, another))
        expect(replayed.ok, path.join('.')).toBe(false)
      }),
      { numRuns: LIVES },
    )
    expect(altered).toBe(LIVES)
  })

  test('law: altering any one input gives a failure or another consistent ledger, never a throw', () => {
    let found = 0
    fc.assert(
      fc.property(arbitraryLife, fc.nat(), fc.nat(), (life, which, where) => {
        const { entries } = live(life)
        const index = which % entries.length
        const paths = leaves(entries[index])
        const path = paths[where % paths.length]!
        const change = where % 2 === 0 ? another : () => null
        const replayed = replay(changed(entries, index, path, change))
        if (!replayed.ok) found += 1
      }),
      { numRuns: LIVES },
    )
    expect(found).toBeGreaterThan(LIVES / 4)
  })

  test('law: an entry that is missing, doubled or in another place is found', () => {
    fc.assert(
      fc.property(arbitraryLife, fc.nat(), fc.nat({ max: 2 }), (life, which, how) => {
        const { entries } = live(life)
        const index = which % (entries.length - 1)
        const copy = [...entries]
        if (how === 0) copy.splice(index, 1)
        if (how === 1) copy.splice(index, 0, copy[index]!)
        if (how === 2) copy.splice(index, 2, copy[index + 1]!, copy[index]!)
        expect(replay(copy).ok).toBe(false)
      }),
      { numRuns: LIVES },
    )
  })

  test('time that goes back is found', () => {
    const book = active()
    book.pass(10)
    book.allowed('doc.read')
    const index = book.entries.length - 1
    const replayed = replay(changed(book.entries, index, ['at'], () => book.entries[0]!.at - 1))
    expect(replayed).toMatchObject({ ok: false, error: { kind: 'different', seq: index + 1 } })
  })

  test('a fact that should have been a denial is found, and named', () => {
    const book = active()
    book.allowed('doc.read')
    const path = ['command', 'facts', 'touches', 0, 'action']
    const replayed = replay(changed(book.entries, 3, path, () => 'secret.read'))
    expect(replayed).toMatchObject({
      ok: false,
      error: {
        kind: 'different',
        seq: 4,
        message: 'recorded as call.allowed; the lease says call.denied (denied_by_lease)',
      },
    })
  })

  test('an end that was left out of its batch is found', () => {
    const book = active({ delegate: { maxDepth: 1, maxChildren: 1, ask: false } })
    book.must(book.delegation('run_child', { maxToolCalls: 1 }))
    book.must({ do: 'revoke', run: 'run_root', by: { server: 'test' }, reason: 'stop' })
    expect(book.entries.at(-1)).toMatchObject({ type: 'lease.ended', run: 'run_child' })
    expect(replay(book.entries.slice(0, -1))).toMatchObject({
      ok: false,
      error: { kind: 'different', message: 'missing: lease.ended' },
    })
  })

  test('unknown rules cannot be re-computed, and are not called bad', () => {
    const book = new Book()
    book.must(OPEN)
    const other = changed(book.entries, 0, ['command', 'rules'], () => 2)
    expect(replay(other)).toMatchObject({ ok: false, error: { kind: 'unknown_rules', seq: 1 } })
  })

  test('what is no ledger is malformed', () => {
    const { entries } = active()
    const follows = { seq: 1, at: 1, cause: 1, type: 'run.suspended' }
    const notDone = { ...entries[1]!, command: { do: 'nothing' } }
    const ledgers: unknown[] = [
      [],
      [null],
      [7],
      [{}],
      [follows],
      [entries[0], notDone],
      [{ command: null }],
    ]
    for (const ledger of ledgers) {
      expect(replay(ledger as Entry[])).toMatchObject({ ok: false, error: { kind: 'malformed' } })
    }
  })

  test('says where a ledger goes wrong, and how', () => {
    const book = active()
    book.allowed('doc.read')
    const { entries } = book
    const [opened] = entries
    const failure = (ledger: unknown[]) => {
      const replayed = replay(ledger as Entry[])
      return replayed.ok ? null : replayed.error
    }
    expect(failure([])).toEqual({ kind: 'malformed', seq: 0, message: 'no entries' })
    expect(failure([opened, { seq: 2, at: 1, cause: 1, type: 'run.suspended' }])).toEqual({
      kind: 'malformed',
      seq: 2,
      message: 'an entry without a command, where one belongs',
    })
    expect(failure([opened, { ...entries[1]!, command: { do: 'dance' } }])).toEqual({
      kind: 'malformed',
      seq: 2,
      message: 'unreachable: {"do":"dance"}',
    })
    expect(failure(changed(entries, 0, ['command', 'rules'], () => 2))).toMatchObject({
      message: 'rules version 2 is not known to this build',
    })
    const repeated = { ...entries[3]!, seq: 5 }
    expect(failure([...entries, repeated])).toEqual({
      kind: 'different',
      seq: 5,
      message: 'recorded, but decides to record nothing',
    })
    expect(failure(changed(entries, 3, ['deadline'], another))).toMatchObject({
      message: 'call.allowed: computed again, deadline is different',
    })
    const privileged = changed(entries, 3, ['privileged'], another)
    expect(failure(changed(privileged, 3, ['deadline'], another))).toMatchObject({
      message: 'call.allowed: computed again, privileged, deadline is different',
    })
    expect(failure([...entries.slice(0, 3), { ...entries[3]!, more: 1 }])).toMatchObject({
      message: 'call.allowed: computed again, members that do not belong there is different',
    })
  })

  test('counts the decisions that it computed again, not the entries', () => {
    const book = active({ maxToolCalls: 1 })
    book.settle(book.allowed('doc.read'))
    expect(book.entries).toHaveLength(6)
    expect(replay(book.entries)).toMatchObject({ ok: true, value: { decisions: 5 } })
  })

  test('a ledger begins with its opening', () => {
    expect(replay(active().entries.slice(1))).toMatchObject({
      ok: false,
      error: { message: 'recorded, but refused: not_open' },
    })
  })
})

describe('isSame', () => {
  const [a, b] = [
    { x: 1, y: [1, { z: null }] },
    { y: [1, { z: null }], x: 1 },
  ]

  test('compares values, not the order of members', () => {
    expect(isSame(a, b)).toBe(true)
  })

  test.each([
    [{ x: 1 }, { x: 1, y: 2 }],
    [{ x: 1, y: 2 }, { x: 1 }],
    [
      [1, 2],
      [2, 1],
    ],
    [[], {}],
    [null, {}],
    ['1', 1],
    [1, 2],
    [1, {}],
    [{}, 1],
    [[], ''],
    ['', []],
    [{}, null],
    [undefined, {}],
    [{ x: undefined }, { y: undefined }],
    [{}, JSON.parse('{"__proto__":{}}')],
  ])('%j is not %j', (left, right) => {
    expect(isSame(left, right)).toBe(false)
  })
})
