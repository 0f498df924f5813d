import { describe, expect, test } from 'vitest'
import { compileTerms } from '../../src/core/compile.ts'
import { decide } from '../../src/core/decide.ts'
import type { Facts } from '../../src/core/facts.ts'
import type { Instant, RunId } from '../../src/core/id.ts'
import { bindingOf } from '../../src/core/judge.ts'
import type { Terms } from '../../src/core/lease.ts'
import { REASONS, type Reason } from '../../src/core/reason.ts'
import type { Lease, Run, Tree } from '../../src/core/tree.ts'
import { active, type Book, type CommandOf, ROOT, touchOf } from './support.ts'

const CHILD: RunId = 'run_child'

const TERMS: Partial<Terms> = {
  grants: [
    { actions: ['doc.read'], resources: { repos: ['clord'] }, where: {} },
    { actions: ['doc.somewhere'], resources: { repos: ['clord'] }, where: {} },
    { actions: ['doc.limited'], resources: { repos: ['clord'] }, where: { n: { max: 1 } } },
  ],
  delegate: { maxDepth: 2, maxChildren: 2, ask: false },
}

/** A call of a subagent that is allowed, until somebody breaks something. */
interface World {
  readonly tree: Tree
  readonly now: Instant
  command: CommandOf<'authorize'>
}

function soundWorld(): World {
  const book: Book = active(TERMS)
  book.must(book.delegation(CHILD, { maxToolCalls: 5 }))
  book.pass(10)
  return { tree: book.tree, now: book.now, command: book.authorize('doc.read', { run: CHILD }) }
}

const child = ({ tree }: World): Run => tree.runs.get(CHILD)!
const own = (world: World): Lease => child(world).lease!
const above = ({ tree }: World): Lease => tree.runs.get(ROOT)!.lease!

function facts(world: World, change: Partial<Facts>): void {
  world.command = { ...world.command, facts: { ...world.command.facts, ...change } }
}

function touch(world: World, more: Facts['touches'][number]): void {
  facts(world, { touches: [...world.command.facts.touches, more] })
}

function terms(lease: Lease, change: Partial<Terms>): void {
  lease.terms = { ...lease.terms, ...change }
  lease.compiled = compileTerms(lease.terms)
}

/** A call that had this key before, with this outcome. */
function earlier(world: World, change: { argsDigest?: string; state?: 'frozen' }): void {
  const { command, tree } = world
  const known = tree.calls.get('call_earlier')
  const call = known ?? {
    id: 'call_earlier' as const,
    run: CHILD,
    key: command.key,
    tool: command.facts.tool,
    argsDigest: command.facts.argsDigest,
    actions: ['doc.read'],
    does: '',
    usd: '0',
    idempotent: false,
    ask: null,
    state: 'succeeded' as const,
    outcome: null,
    isDoubtful: false,
    seq: 4,
    deadline: 0,
    executor: 'executor',
  }
  tree.calls.set(call.id, { ...call, ...change })
  child(world).keys.set(command.key, call.id)
}

function refusedAsk(world: World): void {
  const binding = bindingOf(child(world), world.command.facts)
  const ask = { id: 'ask_earlier', run: CHILD, binding, facts: world.command.facts } as const
  const answer = { openedAt: 0, state: 'refused', deadline: 0, by: null, reason: 'no' } as const
  world.tree.asks.set(ask.id, { ...ask, ...answer })
  world.tree.askByBinding.set(binding, ask.id)
}

/**
 * One row for each reason, in the order of precedence: how to break a sound call so that this
 * reason applies. Each also stays broken under all rows above it.
 */
const ROWS: Readonly<Record<Reason, (world: World) => void>> = {
  // biome-ignore format: an aligned table
  run_unknown:         (w) => { w.command = { ...w.command, run: 'run_nobody' } },
  // biome-ignore format: an aligned table
  tree_closed:         (w) => { w.tree.phase = 'closed' },
  // biome-ignore format: an aligned table
  lease_requested:     (w) => { own(w).state = 'requested' },
  // biome-ignore format: an aligned table
  lease_ended:         (w) => { own(w).state = 'ended' },
  // biome-ignore format: an aligned table
  lease_expired:       (w) => { own(w).expiresAt = w.now },
  // biome-ignore format: an aligned table
  lease_suspended:     (w) => { own(w).state = 'suspended' },
  // biome-ignore format: an aligned table
  ancestor_ended:      (w) => { above(w).state = 'ended' },
  // biome-ignore format: an aligned table
  ancestor_expired:    (w) => { above(w).expiresAt = w.now },
  // biome-ignore format: an aligned table
  ancestor_suspended:  (w) => { above(w).state = 'suspended' },
  tool_unknown: (w) => facts(w, { status: 'unknown' }),
  tool_unmapped: (w) => facts(w, { status: 'unmapped' }),
  definition_changed: (w) => facts(w, { status: 'changed' }),
  facts_unsound: (w) => facts(w, { fault: 'two values for one argument' }),
  guardrail_denied: (w) =>
    facts(w, { guardrail: { verdict: 'deny', policy: 'no-friday', digest: '' } }),
  denied_by_lease: (w) => terms(own(w), { deny: ['doc'] }),
  denied_by_ancestor: (w) => terms(above(w), { deny: ['doc'] }),
  outside_ceiling: (w) => terms(own(w), { ceiling: ['mail.*'] }),
  no_grant: (w) => touch(w, touchOf('doc.erase')),
  resource_unresolved: (w) => touch(w, { ...touchOf('doc.somewhere'), resources: {} }),
  constraint_failed: (w) => touch(w, touchOf('doc.limited')),
  ancestor_no_grant: (w) => terms(above(w), { grants: [] }),
  key_reused: (w) => earlier(w, { argsDigest: 'other arguments' }),
  call_frozen: (w) => earlier(w, { state: 'frozen' }),
  calls_exhausted: (w) => terms(own(w), { maxToolCalls: own(w).spent.calls }),
  limit_reached: (w) => terms(own(w), { limits: { 'doc.read': 0 } }),
  work_exhausted: (w) => terms(above(w), { workSeconds: 10 }),
  usd_exhausted: (w) => {
    facts(w, { usd: '2.00' })
    terms(own(w), { usd: '1.99' })
  },
  until_pending: (w) => {
    terms(above(w), { until: ['doc.*'] })
    w.tree.runs.get(ROOT)!.untilCall = 'call_other'
  },
  ask_refused: (w) => {
    terms(above(w), { ask: ['doc.read'] })
    refusedAsk(w)
  },
  asks_exhausted: (w) => {
    terms(own(w), { ask: ['doc.read'] })
    child(w).asksOpened = 20
  },
}

const TOOL = 'tools.doc.read'

/** What the denial of each row names: the run, the line of a lease, the budget, or the fault. */
const DETERMINED: Readonly<Record<Reason, string>> = {
  run_unknown: 'run_nobody',
  tree_closed: 'tree_1',
  lease_requested: CHILD,
  lease_ended: CHILD,
  lease_expired: CHILD,
  lease_suspended: CHILD,
  ancestor_ended: ROOT,
  ancestor_expired: ROOT,
  ancestor_suspended: ROOT,
  tool_unknown: TOOL,
  tool_unmapped: TOOL,
  definition_changed: TOOL,
  facts_unsound: 'two values for one argument',
  guardrail_denied: 'no-friday',
  denied_by_lease: 'doc',
  denied_by_ancestor: 'doc',
  outside_ceiling: 'doc.read',
  no_grant: 'no grant names the action `doc.erase`; ask for one that does',
  resource_unresolved:
    'the grant is limited to certain repos, and the call does not say which it touches; ' +
    'pass the argument that names it',
  constraint_failed: 'the argument `n` is missing; pass it so that `{"max":1}`',
  ancestor_no_grant: 'run_root: no grant names the action `doc.read`; ask for one that does',
  key_reused: 'call_earlier',
  call_frozen: 'call_earlier',
  calls_exhausted: '0',
  limit_reached: 'doc.read: 0',
  work_exhausted: '10',
  usd_exhausted: '2.00 of 1.99 left',
  until_pending: 'call_other',
  ask_refused: 'no',
  asks_exhausted: '20',
}

function verdict({ tree, command, now }: World) {
  const decision = decide(tree, command, now)
  if (!decision.ok) throw new Error(decision.error.message)
  const { reply } = decision.value
  return reply.kind === 'deny' ? reply.reason : reply.kind
}

describe('reasons', () => {
  test('every reason has a row, in the order of precedence', () => {
    expect(Object.keys(ROWS)).toEqual([...REASONS])
  })

  test('the sound call is allowed', () => {
    expect(verdict(soundWorld())).toBe('allow')
  })

  test.each(REASONS)('%s alone', (reason) => {
    const world = soundWorld()
    ROWS[reason](world)
    expect(verdict(world)).toBe(reason)
  })

  test.each(REASONS)('%s says what determined it', (reason) => {
    const world = soundWorld()
    ROWS[reason](world)
    const decision = decide(world.tree, world.command, world.now)
    const words = DETERMINED[reason]
    expect(decision).toMatchObject({ ok: true, value: { reply: { determined: words } } })
  })

  // From the last row up: where two rows break the same thing, the earlier one has the last word.
  test.each(REASONS)('%s before all that follow', (reason) => {
    const world = soundWorld()
    const from = REASONS.indexOf(reason)
    for (const later of REASONS.slice(from).reverse()) ROWS[later](world)
    expect(verdict(world)).toBe(reason)
  })

  test('a tree without a lease, and one that was revoked before it had one', () => {
    const world = soundWorld()
    world.tree.runs.get(ROOT)!.lease = null
    world.command = { ...world.command, run: ROOT }
    expect(verdict(world)).toBe('lease_requested')
    world.tree.phase = 'ended'
    expect(verdict(world)).toBe('lease_ended')
    const decision = decide(world.tree, world.command, world.now)
    expect(decision).toMatchObject({ value: { reply: { determined: 'revoked' } } })
  })

  test('threat 18: facts that throw are denied and recorded', () => {
    const world = soundWorld()
    facts(world, { touches: [null as never] })
    const decision = decide(world.tree, world.command, world.now)
    expect(decision).toMatchObject({
      ok: true,
      value: {
        entries: [
          {
            type: 'call.denied',
            reason: 'facts_unsound',
            determined: 'the facts of this call cannot be read',
          },
        ],
      },
    })
  })

  test.each<[Partial<Facts>, string]>([
    [{ touches: [] }, 'the catalog names no action'],
    [{ usd: '-1' }, 'the price `-1` is not an amount'],
  ])('unsound facts %j: %s', (change, determined) => {
    const world = soundWorld()
    facts(world, change)
    const decision = decide(world.tree, world.command, world.now)
    const reply = { reason: 'facts_unsound', determined }
    expect(decision).toMatchObject({ value: { reply } })
  })

  test('a dead or suspended lease says why it is so', () => {
    const world = soundWorld()
    Object.assign(own(world), { state: 'suspended', suspendedWhy: 'denials' })
    const first = decide(world.tree, world.command, world.now)
    expect(first).toMatchObject({ value: { reply: { determined: 'denials' } } })
    Object.assign(own(world), { state: 'ended', endReason: 'exhausted' })
    const second = decide(world.tree, world.command, world.now)
    expect(second).toMatchObject({ value: { reply: { determined: 'exhausted' } } })
  })

  test('threat 19: the order of grants, denials and touches does not change the verdict', () => {
    for (const reason of ['no_grant', 'resource_unresolved', 'constraint_failed'] as const) {
      const world = soundWorld()
      for (const later of REASONS.slice(REASONS.indexOf(reason), REASONS.indexOf(reason) + 3)) {
        if (later !== 'ancestor_no_grant' && later !== 'key_reused') ROWS[later](world)
      }
      facts(world, { touches: world.command.facts.touches.toReversed() })
      terms(own(world), { grants: own(world).terms.grants.toReversed() })
      expect(verdict(world)).toBe(reason)
    }
  })

  test('a denial names the grant that came closest, not the one that stands last', () => {
    const book = active(TERMS)
    const reply = book.call('doc.read', { facts: { touches: [touchOf('doc.read', 'other')] } })
    expect(reply).toMatchObject({ reason: 'no_grant' })
    expect(reply.kind === 'deny' && reply.determined).toContain('`other` is outside repos: `clord`')
  })
})
