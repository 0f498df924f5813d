import { chainOf, reservationOf } from './chain.ts'
import type { Envelope } from './command.ts'
import { compileTerms } from './compile.ts'
import type { Entry, EntryOf } from './entry.ts'
import { evolveCall } from './evolve-call.ts'
import type { Instant, LeaseId, RunId } from './id.ts'
import type { Terms } from './lease.ts'
import { unreachable } from './result.ts'
import { addSpent, limitedTo, nothingSpent, takeSpent } from './spent.ts'
import type { Lease, Run, Tree } from './tree.ts'
import { stopWork } from './work.ts'

/**
 * Folds one entry into a tree. Deterministic, without I/O. It takes the tree over: the value that
 * was passed in must not be used again (its maps are changed in place, so that an entry costs the
 * same at the hundred-thousandth as at the first). Whoever cannot append what was decided discards
 * the tree and loads it again.
 */
export function evolve(tree: Tree | null, entry: Entry): Tree {
  if (entry.type === 'tree.opened') return openTree(entry)
  if (tree === null) throw new Error('the first entry of a tree must be tree.opened')
  if (entry.seq !== tree.seq + 1) throw new Error(`entry ${entry.seq} does not follow ${tree.seq}`)
  apply(tree, entry)
  tree.seq = entry.seq
  tree.at = entry.at
  return tree
}

function openTree(entry: EntryOf<'tree.opened'>): Tree {
  const { org, tree: id, run, rules, envelope } = entry.command
  return {
    org,
    id,
    rules,
    root: run,
    seq: entry.seq,
    at: entry.at,
    phase: 'open',
    waitUntil: null,
    runs: new Map([[run, newRun(run, null, 0, envelope, entry.at)]]),
    calls: new Map(),
    asks: new Map(),
    askByBinding: new Map(),
    escalations: new Map(),
    denials: new Map(),
  }
}

function newRun(
  id: RunId,
  parent: RunId | null,
  depth: number,
  envelope: Envelope,
  openedAt: Instant,
): Run {
  return {
    id,
    parent,
    depth,
    envelope,
    openedAt,
    children: [],
    lease: null,
    keys: new Map(),
    inFlight: new Set(),
    deferred: new Set(),
    untilCall: null,
    asksOpened: 0,
    denialsDistinct: 0,
    denialsSeen: 0,
    escalationsOpened: 0,
  }
}

function newLease(
  command: { lease: LeaseId; terms: Terms; promptHash: string; rule: Lease['rule'] },
  at: Instant,
): Lease {
  return {
    id: command.lease,
    revision: 0,
    state: 'requested',
    terms: command.terms,
    compiled: compileTerms(command.terms),
    promptHash: command.promptHash,
    rule: command.rule,
    requestedAt: at,
    approvedAt: null,
    approvedBy: null,
    expiresAt: null,
    endedAt: null,
    endReason: null,
    endNote: null,
    suspendedWhy: null,
    spent: nothingSpent(),
    reserved: nothingSpent(),
    held: nothingSpent(),
    spentBelow: nothingSpent(),
    workedMs: 0,
    workSince: null,
  }
}

function apply(tree: Tree, entry: Exclude<Entry, EntryOf<'tree.opened'>>): void {
  switch (entry.type) {
    case 'lease.requested':
      tree.runs.get(entry.command.run)!.lease = newLease(entry.command, entry.at)
      return
    case 'lease.approved': {
      const lease = tree.runs.get(entry.command.run)!.lease!
      lease.approvedBy = entry.command.by
      return activate(lease, entry.at, entry.expiresAt)
    }
    case 'run.delegated':
      return applyDelegated(tree, entry)
    case 'lease.amended':
      return applyAmended(tree, entry)
    case 'lease.suspended': {
      const { run, reason } = entry.command
      return suspend(tree.runs.get(run)!.lease!, entry.at, reason)
    }
    case 'run.suspended':
      return suspend(tree.runs.get(entry.run)!.lease!, entry.at, entry.why)
    case 'lease.resumed': {
      const run = tree.runs.get(entry.command.run)!
      run.denialsSeen = run.denialsDistinct
      const lease = run.lease!
      lease.state = 'active'
      lease.suspendedWhy = null
      lease.workSince = entry.at
      return
    }
    case 'lease.ended':
      return applyEnded(tree, entry)
    case 'escalation.opened':
    case 'escalation.refused':
      return applyEscalation(tree, entry)
    case 'tree.closing':
      tree.phase = 'closing'
      tree.waitUntil = entry.waitUntil
      return
    case 'call.allowed':
    case 'call.resumed':
    case 'call.denied':
    case 'call.denied_again':
    case 'call.settled':
    case 'call.resolved':
    case 'ask.opened':
    case 'ask.approved':
    case 'ask.refused':
    case 'tree.closed':
      return evolveCall(tree, entry)
    default:
      return unreachable(entry)
  }
}

function activate(lease: Lease, at: Instant, expiresAt: Instant): void {
  lease.state = 'active'
  lease.revision = 1
  lease.approvedAt = at
  lease.expiresAt = expiresAt
  lease.workSince = at
}

function suspend(lease: Lease, at: Instant, why: string): void {
  stopWork(lease, at)
  lease.state = 'suspended'
  lease.suspendedWhy = why
}

function applyDelegated(tree: Tree, entry: EntryOf<'run.delegated'>): void {
  const { command, at } = entry
  const parent = tree.runs.get(command.parent)!
  const run = newRun(command.run, parent.id, parent.depth + 1, command.envelope, at)
  run.lease = newLease(command, at)
  if (entry.expiresAt !== null) activate(run.lease, at, entry.expiresAt)
  else parent.asksOpened += 1
  parent.children.push(run.id)
  tree.runs.set(run.id, run)
  run.lease.reserved = reservationOf(command.terms, parent.lease!.terms)
  addSpent(parent.lease!.held, run.lease.reserved)
}

function applyAmended(tree: Tree, entry: EntryOf<'lease.amended'>): void {
  const run = tree.runs.get(entry.run)!
  const lease = run.lease!
  if (run.parent !== null) {
    const parent = tree.runs.get(run.parent)!.lease!
    takeSpent(parent.held, lease.reserved)
    lease.reserved = reservationOf(entry.terms, parent.terms)
    addSpent(parent.held, lease.reserved)
  }
  lease.terms = entry.terms
  lease.compiled = compileTerms(entry.terms)
  lease.revision = entry.revision
  lease.expiresAt = entry.expiresAt
  const escalation = tree.escalations.get(entry.escalation)!
  escalation.state = 'amended'
  escalation.by = 'person' in entry.command.by ? entry.command.by.person : null
}

function applyEnded(tree: Tree, entry: EntryOf<'lease.ended'>): void {
  const run = tree.runs.get(entry.run)!
  if (run.id === tree.root) tree.phase = 'ended'
  const lease = run.lease
  // A root that never requested a lease can be revoked too: then no request comes after.
  if (lease === null) return
  stopWork(lease, entry.endedAt)
  lease.state = 'ended'
  lease.endedAt = entry.endedAt
  lease.endReason = entry.reason
  lease.endNote = entry.note
  if (run.parent === null) return
  const parent = tree.runs.get(run.parent)!.lease!
  takeSpent(parent.held, lease.reserved)
  // A parent that ends goes first in the batch and has handed over what it knew: this goes further
  // up.
  for (const above of chainOf(tree, run).slice(1)) {
    const total = above.lease!
    for (const used of [lease.spent, lease.spentBelow]) {
      addSpent(total.spentBelow, limitedTo(used, total.terms.limits))
    }
    if (total.state !== 'ended') break
  }
}

function applyEscalation(
  tree: Tree,
  entry: EntryOf<'escalation.opened'> | EntryOf<'escalation.refused'>,
): void {
  if (entry.type === 'escalation.refused') {
    const escalation = tree.escalations.get(entry.command.escalation)!
    escalation.state = 'refused'
    escalation.by = 'person' in entry.command.by ? entry.command.by.person : null
    escalation.reason = entry.command.reason
    return
  }
  const { command } = entry
  tree.runs.get(command.run)!.escalationsOpened += 1
  tree.escalations.set(command.escalation, {
    id: command.escalation,
    run: command.run,
    dossier: entry.dossier,
    words: command.words,
    wants: command.wants,
    state: 'pending',
    deadline: entry.deadline,
    by: null,
    reason: null,
  })
}
