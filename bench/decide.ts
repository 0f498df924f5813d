import { decide } from '../src/core/decide.ts'
import { evolve } from '../src/core/evolve.ts'
import type { Facts } from '../src/core/facts.ts'
import type { Tree } from '../src/core/tree.ts'
import { active, type Book, touchOf } from '../test/core/support.ts'

/**
 * What a verdict costs: `node bench/decide.ts`. The essay's lease, 8 calls in flight, one core. The
 * aim is at most 5 µs at the median for `decide`, which runs on every call before it is durable.
 */
const SAMPLES = 20_000
const WARM_UP = 5_000
/** The whole run, whatever the machine. */
const MILLISECONDS_MAX = 2_000

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

/** Microseconds of each call of `work`, sorted. */
function measure(work: () => void, until: number): number[] {
  for (let count = 0; count < WARM_UP && performance.now() < until; count++) work()
  const samples: number[] = []
  while (samples.length < SAMPLES && performance.now() < until) {
    const start = performance.now()
    work()
    samples.push((performance.now() - start) * 1000)
  }
  return samples.sort((left, right) => left - right)
}

function report(name: string, samples: readonly number[]): void {
  const at = (part: number) => samples[Math.floor(samples.length * part)]!.toFixed(2).padStart(7)
  process.stdout.write(
    `${name.padEnd(18)} p50 ${at(0.5)} µs  p99 ${at(0.99)} µs  n ${samples.length}\n`,
  )
}

const book = essayLease()
for (let live = 0; live < 8; live++)
  book.allowed('repo.commit', { facts: branchFacts('repo.commit') })
const allow = book.authorize('repo.commit', { facts: branchFacts('repo.commit') })
const deny = book.authorize('production.deploy', { facts: branchFacts('production.deploy') })
const lacking = book.authorize('repo.push', { facts: branchFacts('repo.push') })
const share = MILLISECONDS_MAX / 4
const turn = () => performance.now() + share

report(
  'allow',
  measure(() => decide(book.tree, allow, book.now), turn()),
)
report(
  'deny (denied)',
  measure(() => decide(book.tree, deny, book.now), turn()),
)
report(
  'deny (no grant)',
  measure(() => decide(book.tree, lacking, book.now), turn()),
)

let tree: Tree = book.tree
let drawn = 0
const settled = () => {
  const call = `call_bench_${drawn++}` as const
  const first = decide(tree, { ...allow, call, key: call }, book.now)
  if (!first.ok) throw new Error(first.error.code)
  for (const entry of first.value.entries) tree = evolve(tree, entry)
  const outcome = { outcome: 'succeeded', resultDigest: null, usd: null, note: null } as const
  const second = decide(tree, { do: 'settle', call, ...outcome }, book.now)
  if (!second.ok) throw new Error(second.error.code)
  for (const entry of second.value.entries) tree = evolve(tree, entry)
}
report('allow and settle', measure(settled, turn()))
