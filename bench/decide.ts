import { decide } from '../src/core/decide.ts'
import { evolve } from '../src/core/evolve.ts'
import type { Facts } from '../src/core/facts.ts'
import type { Tree } from '../src/core/tree.ts'
import { active, type Book, touchOf } from '../test/core/support.ts'
import { cedarDecision } from './cedar.ts'

/**
 * What a verdict costs: the essay's lease, 8 calls in flight, one core, beside Cedar on an equal
 * policy.
 * `decide` runs on every call before it is durable. `node bench/decide.ts` prints it alone.
 */
const SAMPLES = 20_000
const WARM_UP = 5_000
/** The whole run, whatever the machine. */
const MILLISECONDS_MAX = 5_000

function essayLease(): Book {
  const actions = ['repo.read', 'repo.branch.create', 'repo.commit', 'ci.test.run']
  const resources = { repos: ['clord'], branches: ['agent/dependency-update'] }
  const deny = ['pull_request.merge', 'production.deploy', 'secret.write', 'billing.write']
  return active({
    grants: [{ actions: [...actions, 'pull_request.create'], resources, where: {} }],
    deny: [...deny, 'user.invite'],
    until: ['pull_request.create'],
    maxToolCalls: 1_000_000,
    limits: { 'pull_request.create': 1 },
    workSeconds: 1200,
    delegate: { maxDepth: 1, maxChildren: 2, ask: true },
  })
}

function branchFacts(action: string): Partial<Facts> {
  const resources = { repos: ['clord'], branches: ['agent/dependency-update'] }
  return { touches: [{ ...touchOf(action), resources, within: { paths: ['package.json'] } }] }
}

/** Microseconds of each call of `work`, sorted. At most half of the time warms up. */
function measure(work: () => void, until: number): number[] {
  const warm = (performance.now() + until) / 2
  for (let count = 0; count < WARM_UP && performance.now() < warm; count++) work()
  const samples: number[] = []
  while (samples.length < SAMPLES && performance.now() < until) {
    const start = performance.now()
    work()
    samples.push((performance.now() - start) * 1000)
  }
  return samples.sort((left, right) => left - right)
}

export interface DecideFigures {
  readonly what: string
  readonly p50Us: number
  readonly p99Us: number
}

function summary(what: string, samples: readonly number[]): DecideFigures {
  const at = (part: number) => samples[Math.floor(samples.length * part)]!
  return { what, p50Us: at(0.5), p99Us: at(0.99) }
}

export function measureDecide(): DecideFigures[] {
  const book = essayLease()
  for (let live = 0; live < 8; live++)
    book.allowed('repo.commit', { facts: branchFacts('repo.commit') })
  const asked = (action: string) => book.authorize(action, { facts: branchFacts(action) })
  const decided = (command: ReturnType<typeof asked>) => () => {
    decide(book.tree, command, book.now)
  }
  const subjects: readonly [string, () => void][] = [
    ['allow', decided(asked('repo.commit'))],
    ['deny: denied', decided(asked('production.deploy'))],
    ['deny: no grant', decided(asked('repo.push'))],
    ['allow and settle, folded', allowAndSettle(book, asked('repo.commit'))],
    ['Cedar-wasm, preparsed: allow', cedarDecision()],
  ]
  const share = MILLISECONDS_MAX / subjects.length
  return subjects.map(([what, work]) => summary(what, measure(work, performance.now() + share)))
}

function allowAndSettle(book: Book, command: ReturnType<Book['authorize']>): () => void {
  let tree: Tree = book.tree
  let drawn = 0
  const fold = (decided: ReturnType<typeof decide>): void => {
    if (!decided.ok) throw new Error(decided.error.code)
    for (const entry of decided.value.entries) tree = evolve(tree, entry)
  }
  return () => {
    const call = `call_bench_${drawn++}` as const
    fold(decide(tree, { ...command, call, key: call }, book.now))
    const outcome = { outcome: 'succeeded', resultDigest: null, usd: null, note: null } as const
    fold(decide(tree, { do: 'settle', call, ...outcome }, book.now))
  }
}

if (import.meta.main) console.table(measureDecide())
