import type { z } from '@hono/zod-openapi'
import { callsLeft, chainOf, deathOf, usdLeft } from '../../core/chain.ts'
import type { CallId, Instant } from '../../core/id.ts'
import { plus } from '../../core/money.ts'
import type { Lease, Run, Tree } from '../../core/tree.ts'
import { templateOf } from '../../runs/locks.ts'
import type { lease as leaseSchema, run as runSchema } from './schemas.ts'

export type RunView = z.output<typeof runSchema>
type LeaseView = z.output<typeof leaseSchema>

/** A run as the API shows it, at `now`: death is a comparison, whoever has recorded it. */
export function runView(tree: Tree, run: Run, now: Instant): RunView {
  const { requester, agent, purpose, client } = run.envelope
  return {
    ...{ id: run.id, tree: tree.id, parent: run.parent, children: [...run.children] },
    ...{ depth: run.depth, state: stateOf(tree, run, now), phase: tree.phase },
    ...{ requester, agent, purpose, client, openedAt: run.openedAt },
    template: templateOf(run),
    lease: run.lease === null ? null : leaseView(tree, run, { lease: run.lease, now }),
    inFlight: [...run.inFlight],
    unknown: unknownCalls(tree, run),
  }
}

/** A run dies with what is above it, although nobody has recorded it yet. */
export function stateOf(tree: Tree, run: Run, now: Instant): RunView['state'] {
  if (run.lease === null) return tree.phase === 'open' ? 'opening' : 'ended'
  const isDead = chainOf(tree, run).some(
    (each) => each.lease?.state === 'ended' || deathOf(tree, each, now) !== null,
  )
  return isDead ? 'ended' : run.lease.state
}

function leaseView(
  tree: Tree,
  run: Run,
  { lease, now }: { lease: Lease; now: Instant },
): LeaseView {
  const death = deathOf(tree, run, now)
  const { spent, spentBelow, expiresAt } = lease
  const seconds = expiresAt === null ? null : Math.max(0, Math.floor((expiresAt - now) / 1000))
  return {
    ...{ id: lease.id, revision: lease.revision, terms: lease.terms },
    ...{ promptHash: lease.promptHash, requestedAt: lease.requestedAt },
    answerBy: lease.requestedAt + lease.rule.answerSeconds * 1000,
    ...{ approvedAt: lease.approvedAt, expiresAt },
    endedAt: lease.endedAt ?? death?.endedAt ?? null,
    endReason: lease.endReason ?? death?.reason ?? null,
    endNote: lease.endNote ?? death?.note ?? null,
    suspendedWhy: lease.suspendedWhy,
    spent: { calls: spent.calls + spentBelow.calls, usd: plus(spent.usd, spentBelow.usd) },
    left: { calls: callsLeft(lease), usd: usdLeft(lease), seconds },
  }
}

/** Calls whose outcome a person can say. */
export function unknownCalls(tree: Tree, run: Run): CallId[] {
  return [...tree.calls.values()]
    .filter((call) => call.run === run.id && call.state === 'frozen')
    .map(({ id }) => id)
}
