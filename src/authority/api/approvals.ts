import type { z } from '@hono/zod-openapi'
import type { Actor } from '../../core/command.ts'
import type { RunId } from '../../core/id.ts'
import type { Run, Tree } from '../../core/tree.ts'
import { templateOf } from '../../runs/locks.ts'
import type { Role } from '../caller.ts'
import { checkAnswers, findRun } from './access.ts'
import type { Endpoints } from './endpoints.ts'
import { openTrees } from './listing.ts'
import type { ApiParts, Asked, Handlers } from './parts.ts'
import { Problem } from './problem.ts'
import { done } from './runs.ts'
import { stateOf, unknownCalls } from './views.ts'

/** What waits for a person, and what the person says: threat 72 is kept at `checkAnswers`. */

const NO_REASON = 'no reason given'
/** Things that wait in one answer: a person reads them. */
const ITEMS_MAX = 500

type Item = z.output<Endpoints['listApprovals']['answer']>['items'][number]
type OfLeases = 'approveRun' | 'refuseRun' | 'resumeRun'
type OfCalls = 'approveAsk' | 'refuseAsk' | 'resolveCall'
type OfEscalations = 'approveEscalation' | 'refuseEscalation'

/** The run, for whoever may answer for it, and how the ledger names them. */
async function answering(asked: Asked, run: RunId): Promise<{ by: Actor; tree: Tree }> {
  const found = await findRun(asked, run)
  const { person, via, roles } = checkAnswers(asked.caller, found)
  return { by: { person, via, roles: [...roles] }, tree: found.tree }
}

export function leaseAnswers(): Handlers<OfLeases> {
  return {
    approveRun: async ({ params: { run }, body: { promptHash } }, asked) => {
      const { by } = await answering(asked, run)
      return done(await asked.authority.approve(run, { by, promptHash }))
    },
    refuseRun: async ({ params: { run }, body: { reason = NO_REASON } }, asked) => {
      const { by } = await answering(asked, run)
      return done(await asked.authority.refuse(run, { by, reason }))
    },
    resumeRun: async ({ params: { run } }, asked) => {
      const { by } = await answering(asked, run)
      return done(await asked.authority.command(run, { do: 'resume', run, by }))
    },
  }
}

export function callAnswers(): Handlers<OfCalls> {
  return {
    approveAsk: async ({ params: { run, ask }, body: { binding } }, asked) => {
      const { by, tree } = await answering(asked, run)
      belongs(tree.asks.get(ask), { run, what: 'ask', code: 'ask_unknown', id: ask })
      const command = { do: 'approve_call', ask, by, binding, proof: null } as const
      return done(await asked.authority.command(run, command))
    },
    refuseAsk: async ({ params: { run, ask }, body: { reason = NO_REASON } }, asked) => {
      const { by, tree } = await answering(asked, run)
      belongs(tree.asks.get(ask), { run, what: 'ask', code: 'ask_unknown', id: ask })
      return done(await asked.authority.command(run, { do: 'refuse_call', ask, by, reason }))
    },
    resolveCall: async ({ params: { run, call }, body: { happened } }, asked) => {
      const { by, tree } = await answering(asked, run)
      belongs(tree.calls.get(call), { run, what: 'call', code: 'call_unknown', id: call })
      return done(await asked.authority.command(run, { do: 'resolve', call, by, happened }))
    },
  }
}

export function escalationAnswers({ policy }: ApiParts): Handlers<OfEscalations> {
  const code = 'escalation_unknown'
  return {
    approveEscalation: async ({ params, body: { offer, more } }, asked) => {
      const { run, escalation } = params
      const { by, tree } = await answering(asked, run)
      belongs(tree.escalations.get(escalation), { run, what: 'escalation', code, id: escalation })
      const { envelope, lease } = tree.runs.get(run)!
      const about = { requester: envelope.requester, roles: new Set<Role>(), org: tree.org }
      const to = { ...about, terms: lease!.terms, template: templateOf(tree.runs.get(run)!) }
      const unfit = policy.mayAdd(offer, to, by)
      if (unfit !== null) throw new Problem(403, 'policy_not_allowed', unfit)
      const command = { do: 'amend', escalation, by, offer, more, proof: null } as const
      return done(await asked.authority.command(run, command))
    },
    refuseEscalation: async ({ params, body: { reason = NO_REASON } }, asked) => {
      const { run, escalation } = params
      const { by, tree } = await answering(asked, run)
      belongs(tree.escalations.get(escalation), { run, what: 'escalation', code, id: escalation })
      const command = { do: 'refuse_escalation', escalation, by, reason } as const
      return done(await asked.authority.command(run, command))
    },
  }
}

/** What is answered belongs to the run in the path: who may answer was judged for that run. */
function belongs(
  found: { readonly run: RunId } | undefined,
  named: { run: RunId; what: string; code: string; id: string },
): void {
  if (found?.run === named.run) return
  throw new Problem(404, named.code, `no ${named.what} ${named.id} in ${named.run}`)
}

/** Everything that waits in the runs that the caller may see. */
export function inboxHandlers(parts: ApiParts): Handlers<'listApprovals'> {
  return {
    listApprovals: async (_, asked) => {
      const items: Item[] = []
      for await (const { tree } of openTrees(parts, asked)) {
        for (const run of tree.runs.values()) items.push(...waitingIn(tree, run, asked))
        if (items.length >= ITEMS_MAX) break
      }
      return { items: items.slice(0, ITEMS_MAX) }
    },
  }
}

function waitingIn(tree: Tree, run: Run, { now }: Asked): Item[] {
  const { requester, agent, purpose } = run.envelope
  const about = { run: run.id, tree: tree.id, requester, agent }
  const state = stateOf(tree, run, now)
  const { lease } = run
  const items: Item[] = unknownCalls(tree, run).map((call) => {
    const { tool, actions } = tree.calls.get(call)!
    return { ...about, kind: 'unknown', call, tool, actions }
  })
  if (lease === null || state === 'ended') return items
  if (state === 'requested') {
    const { promptHash, requestedAt: since, rule } = lease
    const deadline = since + rule.answerSeconds * 1000
    items.push({ ...about, kind: 'lease', promptHash, purpose, since, deadline })
  }
  for (const { id: ask, binding, facts, openedAt: since, deadline, state } of ofRun(
    tree.asks,
    run,
  )) {
    if (state !== 'pending' || now >= deadline) continue
    const { tool, touches, args } = facts
    const what = { tool, touches, arguments: args }
    items.push({ ...about, kind: 'ask', ask, binding, ...what, since, deadline })
  }
  for (const { id: escalation, dossier, words, deadline, state } of ofRun(tree.escalations, run)) {
    if (state !== 'pending' || now >= deadline) continue
    const { offer, more } = dossier
    items.push({ ...about, kind: 'escalation', escalation, offer, more, words, deadline })
  }
  return items
}

function ofRun<T extends { readonly run: RunId }>(all: ReadonlyMap<string, T>, { id }: Run): T[] {
  return [...all.values()].filter(({ run }) => run === id)
}
