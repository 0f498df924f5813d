import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Entry, EntryOf, EntryType } from '../../src/core/entry.ts'
import type { RunId } from '../../src/core/id.ts'
import type { Run, Spent, Tree } from '../../src/core/tree.ts'
import { Reader } from './ledger-reader.ts'
import { actionMatches, termsDenial, termsFailure } from './reference-terms.ts'
import { atLeast, runs } from './runs.ts'
import { arbitraryLife, type Life, live, MOVES_MIN, type Watch } from './sequences.ts'
import type { Book } from './support.ts'

/** Each law holds in every state of this many random lives of at least 50 commands. */
const LIVES = runs(1000)

/** After every command of every life. */
function always(after: Watch, before?: Watch, lives = LIVES): void {
  fc.assert(
    fc.property(arbitraryLife, (life) => {
      live(life, before === undefined ? { after } : { before, after })
    }),
    { numRuns: lives },
  )
}

/** What the last command appended. */
function batchOf(book: Book, seqBefore: number): readonly Entry[] {
  return book.entries.slice(seqBefore)
}

/** Calls the check for each call that was allowed, with the tree of that moment. */
function everyAllowed(
  check: (book: Book, entry: EntryOf<'call.allowed'>) => void,
  lives = LIVES,
): void {
  let seq = 0
  let allowed = 0
  const before: Watch = (book) => {
    seq = book.entries.length
  }
  const after: Watch = (book) => {
    for (const entry of batchOf(book, seq)) {
      if (entry.type !== 'call.allowed') continue
      allowed += 1
      check(book, entry)
    }
  }
  always(after, before, lives)
  expect(allowed).toBeGreaterThan(LIVES)
}

function chain(tree: Tree, run: RunId): Run[] {
  const one = tree.runs.get(run)!
  return one.parent === null ? [one] : [one, ...chain(tree, one.parent)]
}

function below(tree: Tree, run: Run): Run[] {
  return run.children.flatMap((id) => [tree.runs.get(id)!, ...below(tree, tree.runs.get(id)!)])
}

function leases(book: Book): Run[] {
  return [...book.tree.runs.values()].filter(({ lease }) => lease !== null)
}

describe('laws of authority', () => {
  test('default deny: what is allowed has a grant for each touch, or a yes to exceed', () => {
    everyAllowed((book, { command, determined }) => {
      const failure = termsFailure(book.lease(command.run).terms, command.facts)
      if (failure !== null) {
        expect(determined.ask).not.toBeNull()
        expect(book.lease(command.run).terms.onExceed).toBe('ask')
        expect(book.run(command.run).parent).toBeNull()
      }
      if (command.facts.status !== 'mapped') {
        // No catalog has it: every lease of the chain names it, and a person said yes to this call.
        expect(command.facts.status).toBe('unmapped')
        expect(determined.ask).not.toBeNull()
        for (const { lease } of chain(book.tree, command.run)) {
          const names = lease!.terms.grants.flatMap((grant) => grant.actions)
          expect(names).toContain(command.facts.tool)
        }
      }
      expect(command.facts.fault).toBeNull()
    })
  })

  test('denial trumps grant: nothing that a lease of the chain denies is allowed', () => {
    everyAllowed((book, { command }) => {
      for (const { lease } of chain(book.tree, command.run)) {
        expect(termsDenial(lease!.terms, command.facts)).toBeUndefined()
      }
    })
  })

  test('child allows ⇒ every ancestor allows', () => {
    let deep = 0
    everyAllowed((book, { command }) => {
      for (const { lease } of chain(book.tree, command.run).slice(1)) {
        deep += 1
        expect(termsFailure(lease!.terms, command.facts)).toBeNull()
      }
    })
    expect(deep).toBeGreaterThan(atLeast(100))
  })

  test('no allow while a lease of the chain is not active, nor at or after an expiry', () => {
    everyAllowed((book, entry) => {
      for (const { lease } of chain(book.tree, entry.command.run)) {
        expect(lease!.state).toBe('active')
        expect(entry.at).toBeLessThan(lease!.expiresAt!)
        expect(entry.at).toBeLessThan(lease!.terms.notAfter ?? Number.POSITIVE_INFINITY)
      }
    })
  })

  test('an ask is a yes to exactly this call, once', () => {
    const used = new WeakMap<Book, Set<string>>()
    let asks = 0
    // Of ten lives one reaches a used yes.
    everyAllowed((book, { command, determined, privileged }) => {
      if (determined.ask === null) return
      asks += 1
      const before = used.get(book) ?? new Set()
      expect(before.has(determined.ask)).toBe(false)
      used.set(book, before.add(determined.ask))
      const ask = book.tree.asks.get(determined.ask)!
      expect(ask.run).toBe(command.run)
      expect(ask.facts.touches).toEqual(command.facts.touches)
      expect(ask.facts.argsDigest).toBe(command.facts.argsDigest)
      expect(privileged).toBe(true)
    }, 3 * LIVES)
    expect(asks).toBeGreaterThanOrEqual(atLeast(100))
  })
})

describe('laws of budgets', () => {
  test('spent + held + spent below ≤ budget, in calls, per action and in money', () => {
    always((book) => {
      const reader = new Reader(book.entries)
      for (const run of leases(book)) {
        const { terms } = run.lease!
        expect(isNegative(run.lease!.held) || isNegative(run.lease!.spentBelow)).toBe(false)
        if (terms.maxToolCalls !== null) {
          expect(reader.callsUsed(run.id)).toBeLessThanOrEqual(terms.maxToolCalls)
        }
        for (const [action, limit] of Object.entries(terms.limits)) {
          expect(reader.actionUsed(run.id, action)).toBeLessThanOrEqual(limit)
        }
        if (terms.usd !== null) expect(reader.usdLeft(run.id)).toBeGreaterThanOrEqual(0)
      }
    })
  }, 180_000)

  test('whatever a tree is made of, all its calls together stay within the budget of the root', () => {
    fc.assert(
      fc.property(arbitraryLife, (life) => {
        const book = live(life)
        const { terms } = book.lease()
        const calls = book.of('call.allowed')
        if (terms.maxToolCalls !== null) {
          expect(calls.length).toBeLessThanOrEqual(terms.maxToolCalls)
        }
        for (const [action, limit] of Object.entries(terms.limits)) {
          const ofAction = calls.filter(({ command }) =>
            command.facts.touches.some((touch) => touch.action === action),
          )
          expect(ofAction.length).toBeLessThanOrEqual(limit)
        }
      }),
      { numRuns: LIVES },
    )
  })

  test('the accounts balance: held is what living children hold, below is what ended ones spent', () => {
    always((book) => {
      for (const { children, lease } of leases(book)) {
        const all = children.map((id) => book.lease(id))
        const isAlive = (each: { state: string }) => each.state !== 'ended'
        const held = all.filter(isAlive).map((each) => each.reserved)
        const ended = all.filter((each) => !isAlive(each))
        expect(lease!.held.calls).toBe(sum(held.map((each) => each.calls)))
        expect(Number(lease!.held.usd)).toBeCloseTo(sum(held.map((each) => Number(each.usd))), 6)
        const spent = ended.flatMap((each) => [each.spent, each.spentBelow])
        expect(lease!.spentBelow.calls).toBe(sum(spent.map((each) => each.calls)))
        const usd = sum(spent.map((each) => Number(each.usd)))
        expect(Number(lease!.spentBelow.usd)).toBeCloseTo(usd, 6)
      }
    })
  })

  test('a retry with the same key and arguments spends nothing', () => {
    let before = ''
    let retries = 0
    const spentOf = (book: Book) =>
      JSON.stringify(
        leases(book).map(({ lease }) => [lease!.spent, lease!.held, lease!.spentBelow]),
      )
    always(
      (book, command) => {
        if (command.do !== 'authorize') return
        const known = book.run(command.run).keys.get(command.key)
        if (known === undefined || known === command.call) return
        retries += 1
        expect(spentOf(book)).toBe(before)
        expect(book.tree.calls.has(command.call)).toBe(false)
      },
      (book) => {
        before = spentOf(book)
      },
    )
    expect(retries).toBeGreaterThan(LIVES)
  })

  test('of the calls that may end a lease, one is in flight at a time', () => {
    let flights = 0
    always((book) => {
      for (const run of leases(book)) {
        const { until } = run.lease!.terms
        const calls = [run, ...below(book.tree, run)]
          .flatMap(({ inFlight }) => [...inFlight])
          .map((id) => book.tree.calls.get(id)!)
          .filter(({ actions }) => actions.some((a) => until.some((p) => actionMatches(p, a))))
        flights += calls.length
        expect(calls.length).toBeLessThanOrEqual(1)
      }
    })
    expect(flights).toBeGreaterThan(atLeast(100))
  })
})

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, each) => total + each, 0)
}

function isNegative(spent: Spent): boolean {
  const counts = [spent.calls, Number(spent.usd), ...Object.values(spent.byAction)]
  return counts.some((count) => !(count >= 0))
}

describe('laws of endings', () => {
  test('ended stays ended', () => {
    const dead = new WeakMap<Book, Map<RunId, string>>()
    const phases = ['open', 'ended', 'closing', 'closed']
    const reached = new WeakMap<Book, number>()
    always((book) => {
      const known = dead.get(book) ?? new Map<RunId, string>()
      dead.set(book, known)
      for (const { id, lease } of leases(book)) {
        const death = JSON.stringify([lease!.state, lease!.endReason, lease!.endedAt])
        if (known.has(id)) expect(death).toBe(known.get(id))
        else if (lease!.state === 'ended') known.set(id, death)
      }
      const phase = phases.indexOf(book.tree.phase)
      expect(phase).toBeGreaterThanOrEqual(reached.get(book) ?? 0)
      reached.set(book, phase)
    })
  })

  test('no lease outlives its parent: the end of one ends all below it in the same batch', () => {
    always((book) => {
      for (const run of leases(book)) {
        if (run.lease!.state !== 'ended') continue
        for (const child of below(book.tree, run)) expect(child.lease!.state).toBe('ended')
      }
    })
  })

  test('no lease expires after its parent', () => {
    always((book) => {
      for (const { parent, lease } of leases(book)) {
        if (parent === null || lease!.expiresAt === null) continue
        expect(lease!.expiresAt).toBeLessThanOrEqual(book.lease(parent).expiresAt!)
      }
    })
  })

  test('a tree that ended gives no authority; a closed one takes only late outcomes', () => {
    const ended: readonly EntryType[] = [
      'call.denied',
      'call.denied_again',
      'call.settled',
      'call.resolved',
      'tree.closing',
      'tree.closed',
    ]
    let seq = 0
    let phase: Tree['phase'] = 'open'
    always(
      (book) => {
        const types = batchOf(book, seq).map(({ type }) => type)
        if (phase === 'closed') expect(types.filter((type) => type !== 'call.resolved')).toEqual([])
        if (phase !== 'open') expect(types.filter((type) => !ended.includes(type))).toEqual([])
      },
      (book) => {
        seq = book.entries.length
        phase = book.tree.phase
      },
    )
  })

  test('time never goes back, and numbers have no gap', () => {
    fc.assert(
      fc.property(arbitraryLife, (life) => {
        const { entries } = live(life)
        for (const [index, entry] of entries.entries()) {
          expect(entry.seq).toBe(index + 1)
          if (index > 0) expect(entry.at).toBeGreaterThanOrEqual(entries[index - 1]!.at)
        }
      }),
      { numRuns: LIVES },
    )
  })
})

describe('the laws are about something', () => {
  test('random lives have every type of entry, every end, and depth 3', () => {
    const seen = new Map<string, number>()
    const count = (name: string) => seen.set(name, (seen.get(name) ?? 0) + 1)
    const lives: Life[] = fc.sample(arbitraryLife, { numRuns: LIVES, seed: 7 })
    for (const life of lives) {
      expect(life.moves.length).toBeGreaterThanOrEqual(MOVES_MIN)
      const book = live(life)
      for (const entry of book.entries) {
        count(entry.type)
        if (entry.type === 'lease.ended') count(entry.reason)
        if (entry.type === 'run.suspended') count(entry.why)
      }
      for (const { depth } of book.tree.runs.values()) count(`depth ${depth}`)
    }
    const types = `tree.opened lease.requested lease.approved call.allowed call.resumed call.denied
      call.denied_again ask.opened ask.approved ask.refused call.settled call.resolved run.delegated
      escalation.opened lease.amended escalation.refused lease.suspended run.suspended lease.resumed
      lease.ended tree.closing tree.closed`
    const ends = 'completed expired revoked exhausted event refused parent_ended'
    const whys = 'until_unknown overrun exceeded'
    for (const name of `${types} ${ends} ${whys}`.split(/\s+/u)) {
      expect(seen.get(name) ?? 0, name).toBeGreaterThanOrEqual(atLeast(5))
    }
    expect(seen.get('depth 3') ?? 0).toBeGreaterThanOrEqual(atLeast(20))
  })
})
