import { compileTerms } from './compile.ts'
import type { Json } from './id.ts'
import { addSpent, nothingSpent } from './spent.ts'
import type { Denial, Lease, Run, Spent, Tree } from './tree.ts'

/**
 * A tree as JSON and back. A snapshot saves folding a long history; it is a cache that is discarded
 * on any mismatch and never feeds `verify`.
 */
export function toSnapshot(tree: Tree): Json {
  return JSON.parse(snapshotText(tree)) as Json
}

/** `toSnapshot` as text, without making the value. */
export function snapshotText(tree: Tree): string {
  const runs = [...tree.runs.values()].map((run) => ({
    ...run,
    keys: [...run.keys],
    inFlight: [...run.inFlight],
    deferred: [...run.deferred],
    lease: run.lease === null ? null : { ...run.lease, compiled: undefined },
  }))
  const flat = {
    ...tree,
    runs,
    calls: [...tree.calls.values()],
    asks: [...tree.asks.values()],
    askByBinding: [...tree.askByBinding],
    escalations: [...tree.escalations.values()],
    denials: [...tree.denials.values()],
  }
  return JSON.stringify(flat)
}

type Flat<T, K extends keyof T> = Omit<T, K> & { readonly [P in K]: readonly never[] }
type FlatRun = Flat<Run, 'keys' | 'inFlight' | 'deferred'>
type FlatTree = Flat<Tree, 'calls' | 'asks' | 'askByBinding' | 'escalations' | 'denials' | 'runs'>

/** `json` comes from `toSnapshot` of the same rules version. */
export function fromSnapshot(json: Json): Tree {
  // A copy: the tree changes in place what it is made of.
  const flat = structuredClone(json) as unknown as FlatTree
  const runs = flat.runs as readonly FlatRun[]
  return {
    ...flat,
    runs: new Map(runs.map((run) => [run.id, reviveRun(run)])),
    calls: byId(flat.calls),
    asks: byId(flat.asks),
    askByBinding: new Map(flat.askByBinding),
    escalations: byId(flat.escalations),
    denials: new Map((flat.denials as readonly Denial[]).map((each) => [each.key, each])),
  }
}

function reviveRun(run: FlatRun): Run {
  const lease = run.lease as Omit<Lease, 'compiled'> | null
  return {
    ...run,
    keys: new Map(run.keys),
    inFlight: new Set(run.inFlight),
    deferred: new Set(run.deferred),
    lease: lease === null ? null : reviveLease(lease),
  }
}

function reviveLease(lease: Omit<Lease, 'compiled'>): Lease {
  return {
    ...lease,
    compiled: compileTerms(lease.terms),
    spent: reviveSpent(lease.spent),
    reserved: reviveSpent(lease.reserved),
    held: reviveSpent(lease.held),
    spentBelow: reviveSpent(lease.spentBelow),
  }
}

/** JSON gives records a prototype; counted budgets have none. */
function reviveSpent(spent: Spent): Spent {
  const revived = nothingSpent()
  addSpent(revived, spent)
  return revived
}

function byId<T extends { id: string }>(values: readonly T[]): Map<T['id'], T> {
  return new Map(values.map((value) => [value.id, value]))
}
