import type { Approver, Txn } from '../badge/txn.ts'
import { chainOf } from '../core/chain.ts'
import type { Actor } from '../core/command.ts'
import type { Facts } from '../core/facts.ts'
import type { CallId } from '../core/id.ts'
import type { Run, Tree } from '../core/tree.ts'
import type { CallParts, Passage } from './passage.ts'

interface Allowed {
  readonly call: CallId
  readonly context: { readonly facts: Facts; readonly tree: Tree }
}

/**
 * What makes the transaction token of a call, each time that a message of it leaves. Undefined for
 * a server that does not want one: its calls pay nothing for it.
 */
export function envelopeOf(
  parts: CallParts,
  { principal, server }: Passage,
  { call, context }: Allowed,
): (() => string) | undefined {
  const audience = parts.upstreams.get(server)?.audience ?? null
  if (audience === null) return undefined
  return () => {
    const tree = parts.runs.tree(principal).peek() ?? context.tree
    return parts.signTxn(txnOf(tree, { run: principal.run, call, facts: context.facts }), audience)
  }
}

/** The envelope of an allowed call. Who runs it comes from the badge alone (threat 66). */
function txnOf(
  tree: Tree,
  { run: id, call, facts }: { run: Run['id']; call: CallId; facts: Facts },
): Txn {
  const run = tree.runs.get(id)!
  const lease = run.lease!
  const [, ...above] = chainOf(tree, run)
  const used = tree.calls.get(call)?.ask ?? null
  const ask = used === null ? undefined : tree.asks.get(used)
  return {
    org: tree.org,
    tree: tree.id,
    run: id,
    parents: above.map((each) => each.id),
    lease: lease.id,
    revision: lease.revision,
    leaseExpiresAt: lease.expiresAt!,
    call,
    requester: run.envelope.requester,
    agent: run.envelope.agent,
    purpose: run.envelope.purpose,
    client: run.envelope.client,
    tool: facts.tool,
    touches: facts.touches,
    approval: {
      lease: approverOf([run, ...above]),
      ask: ask === undefined ? null : { id: ask.id, person: ask.by },
    },
  }
}

/** Of the nearest lease that somebody had to approve: a subagent's may need nobody. */
function approverOf(chain: readonly Run[]): Approver {
  // A snapshot of an earlier build does not say.
  const by: Actor | undefined =
    chain.map(({ lease }) => lease?.approvedBy).find((each) => each != null) ?? undefined
  if (by === undefined) return null
  if ('person' in by) return { person: by.person }
  return 'policy' in by ? { policy: by.policy } : null
}
