import type { Entry, EntryOf } from '../core/entry.ts'
import { evolve } from '../core/evolve.ts'
import type { Tree } from '../core/tree.ts'
import { foldApprovals, foldEscalations } from './fold-approvals.ts'
import {
  type CallRecord,
  foldActions,
  foldCalls,
  foldDenials,
  foldFiles,
  foldTools,
} from './fold-calls.ts'
import { foldEnds, foldRevoked, foldRuns, foldSuspensions, foldUnused } from './fold-runs.ts'
import { distinct, mergeResources } from './gather.ts'
import type {
  ApprovalPart,
  CallPart,
  Counts,
  DeniedPart,
  Identity,
  ReceiptBody,
} from './receipt-body.ts'

/**
 * What a receipt says, computed from the entries of a run tree and nothing else. Entries are a
 * history that `decide` made (`replay` tells); on anything else it may throw. A tree that is not
 * closed gives the same account so far, with `closedAt` null.
 */
export function foldReceipt(entries: readonly Entry[]): ReceiptBody {
  const opened = entries[0]
  if (opened?.type !== 'tree.opened') throw new Error('entries do not begin with tree.opened')
  const tree = foldTree(entries)
  const calls = withAskers(foldCalls(entries, tree), tree)
  const denied = foldDenials(entries, tree)
  const approvals = foldApprovals(entries, tree)
  const ends = foldEnds(entries, calls, tree)
  const privileged = calls.filter((call) => call.privileged).map(({ part }) => part)
  const unknown = calls.map(({ part }) => part).filter(({ outcome }) => outcome === 'unknown')
  const touches = calls.flatMap(({ facts }) => facts.touches)
  const closed = entries.findLast((entry) => entry.type === 'tree.closed')
  return {
    org: tree.org,
    tree: tree.id,
    run: tree.root,
    rules: tree.rules,
    openedAt: opened.at,
    closedAt: closed?.at ?? null,
    identity: identityOf(opened, tree, approvals),
    runs: foldRuns(tree, ends, calls, denied),
    tools: foldTools(calls),
    actions: foldActions(calls),
    privileged,
    unknown,
    resources: mergeResources(touches.map((touch) => touch.resources)),
    files: foldFiles(calls),
    hosts: distinct(touches.flatMap((touch) => touch.hosts)),
    approvals,
    denied,
    ended: ends.get(tree.root) ?? null,
    revoked: foldRevoked(tree),
    suspensions: foldSuspensions(entries),
    escalations: foldEscalations(entries, denied),
    unused: foldUnused(tree, calls),
    counts: countsOf({ entries, tree, calls, privileged, unknown, denied, approvals }),
  }
}

/** The tree that entries lead to. */
export function foldTree(entries: readonly Entry[]): Tree {
  const tree = entries.reduce<Tree | null>((before, entry) => evolve(before, entry), null)
  if (tree === null) throw new Error('no entries')
  return tree
}

/** Who said yes to each call that was asked. */
function withAskers(calls: readonly CallRecord[], tree: Tree): CallRecord[] {
  return calls.map((call) => {
    const { ask } = call.part
    if (ask === null) return call
    const person = tree.asks.get(ask.id as never)?.by ?? null
    return { ...call, part: { ...call.part, ask: { id: ask.id, by: person } } }
  })
}

function identityOf(
  { command }: EntryOf<'tree.opened'>,
  tree: Tree,
  approvals: readonly ApprovalPart[],
): Identity {
  const { requester, agent, client, purpose } = command.envelope
  const terms = tree.runs.get(tree.root)!.lease?.terms
  const lease = approvals.find(({ of }) => of === 'lease')
  return {
    requester,
    approver: lease?.answer === 'allowed' ? lease.by : null,
    user: terms?.user ?? null,
    agent,
    client,
    purpose: terms?.purpose ?? purpose,
    promptHash: lease?.promptHash ?? null,
    labels: terms?.labels ?? {},
  }
}

function countsOf(of: {
  readonly entries: readonly Entry[]
  readonly tree: Tree
  readonly calls: readonly CallRecord[]
  readonly privileged: readonly CallPart[]
  readonly unknown: readonly CallPart[]
  readonly denied: readonly DeniedPart[]
  readonly approvals: readonly ApprovalPart[]
}): Counts {
  const answered = (answer: ApprovalPart['answer']) =>
    of.approvals.filter((part) => part.answer === answer).length
  return {
    entries: of.entries.length,
    runs: of.tree.runs.size,
    calls: of.calls.length,
    privileged: of.privileged.length,
    unknown: of.unknown.length,
    denied: of.denied.reduce((sum, { times }) => sum + times, 0),
    allowed: answered('allowed'),
    refused: answered('refused'),
  }
}
