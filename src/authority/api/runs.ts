import type { Entry } from '../../core/entry.ts'
import { toSnapshot } from '../../core/snapshot.ts'
import type { Problem as LeaseProblem } from '../../lease-file/problem.ts'
import { explainCall, explainRun } from '../../ledger/explain.ts'
import type { Authority, OpenRun } from '../authority.ts'
import { delegate } from '../delegation.ts'
import { approveByPolicy, requestRun } from '../requests.ts'
import { actorOf, checkOwn, type Found, findRun, isOwn, maySeeTree, nameOf } from './access.ts'
import { readWish } from './lease-input.ts'
import { listRuns, listTrees } from './listing.ts'
import type { ApiParts, Asked, Handlers } from './parts.ts'
import { Problem, refused, unknownRun } from './problem.ts'
import { runView, stateOf } from './views.ts'

const DONE = { done: true } as const
const NO_REASON = 'no reason given'

type Looking = 'listRuns' | 'getRun' | 'listTrees' | 'getTree'
type Records = 'getEntries' | 'getReceipt' | 'explainRun'
type Changing = 'requestRun' | 'delegateRun' | 'issueBadge' | 'endRun' | 'suspendRun' | 'revokeRun'

/** Runs as they are. */
export function lookHandlers(parts: ApiParts): Handlers<Looking> {
  return {
    listRuns: async ({ query }, asked) => listRuns(parts, query, asked),
    getRun: async ({ params }, asked) => {
      const found = await findRun(asked, params.run)
      const { tree, run } = found
      return { run: runView(tree, run, asked.now), prompt: await promptOf(asked, found) }
    },
    listTrees: async ({ query }, asked) => {
      const trees = await listTrees(parts, query, asked)
      return { trees: trees.map(toSnapshot) }
    },
    getTree: async ({ params }, asked) => {
      const found = await findWhole(asked, params.run)
      const prompt = await promptOf(asked, found)
      return { tree: toSnapshot(found.tree), run: found.run.id, prompt }
    },
  }
}

async function promptOf({ authority }: Asked, { run }: Found) {
  const hash = run.lease?.promptHash
  return hash === undefined ? null : authority.prompt(hash)
}

/** The run, for whoever may see its whole tree. */
export async function findWhole(asked: Asked, run: Found['run']['id']): Promise<Found> {
  const found = await findRun(asked, run)
  if (maySeeTree(asked.caller, found.tree)) return found
  throw new Problem(403, 'role_missing', 'the ledger is about the whole run tree; read your run')
}

/** What was recorded of runs. */
export function recordHandlers({ store }: ApiParts): Handlers<Records> {
  return {
    getEntries: async ({ params, query }, asked) => {
      const { key } = await findWhole(asked, params.run)
      const rows = await store.load(key, query.after)
      const page = rows.slice(0, query.limit)
      const entries = page.map(({ body }) => JSON.parse(body) as Entry)
      return { entries, next: page.length < rows.length ? page.at(-1)!.seq : null }
    },
    getReceipt: async ({ params }, asked) => {
      const { key } = await findWhole(asked, params.run)
      const receipt = await asked.authority.receipt(key)
      if (receipt !== null) return receipt
      throw new Problem(409, 'tree_not_ended', 'the run tree is not closed; its receipt comes then')
    },
    explainRun: async ({ params, query }, asked) => {
      const found = await findRun(asked, params.run)
      const entries = await asked.authority.entries(found.key)
      if (query.call === undefined) return known(explainRun(entries, params.run, asked.now))
      const { tree } = found
      const explained = known(explainCall(entries, query.call, asked.now))
      // An agent asks about calls of its own run and of those below it.
      if (isOwn(asked.caller, tree, tree.runs.get(explained.run)!)) return explained
      if (maySeeTree(asked.caller, tree)) return explained
      throw unknownRun(params.run)
    },
  }
}

function known<T>(result: { ok: true; value: T } | { ok: false; error: string }): T {
  if (result.ok) return result.value
  throw new Problem(404, 'call_unknown', result.error)
}

/** Opening, pausing and ending runs. */
export function changeHandlers(parts: ApiParts): Handlers<Changing> {
  return {
    requestRun: async ({ body }, asked) => {
      const { caller, authority, now } = asked
      if (caller.kind === 'agent') throw new Problem(403, 'role_missing', 'delegate instead')
      const wish = readWish(body, parts, { now, requester: nameOf(caller) })
      const { agent = null, client = null } = body
      const request = { caller, agent, client, ...wish }
      const opened = await requestRun({ ...parts, ...parts.policy, authority }, request)
      if (!opened.ok) throw refused(opened.error)
      const approved = await approveByPolicy(authority, opened.value)
      if (!approved.ok) throw refused(approved.error)
      return openedView(authority, opened.value, { now, warnings: wish.warnings })
    },
    delegateRun: async ({ params: { run: parent }, body: { lease } }, asked) => {
      checkOwn(asked.caller, await findRun(asked, parent), [])
      const { authority, now } = asked
      const opened = await delegate({ ...parts, authority }, { parent, lease })
      if (!opened.ok) throw refused(opened.error)
      return openedView(authority, opened.value, { now, warnings: [] })
    },
    issueBadge: async ({ params }, asked) => {
      const found = await findRun(asked, params.run)
      // Who approves or audits must not be able to act as the run.
      checkOwn(asked.caller, found, [])
      // An agent hands its subagents theirs; its own it has, and it may be bound to a key.
      if (asked.caller.kind === 'agent' && asked.caller.badge.run === params.run) {
        throw new Problem(403, 'role_missing', 'you have the badge of this run')
      }
      const badge = await asked.authority.badge(params.run)
      if (!badge.ok) throw refused(badge.error)
      return { badge: badge.value }
    },
    endRun: async ({ params: { run }, body }, asked) => {
      checkOwn(asked.caller, await findRun(asked, run), ['admin'])
      const note = body.note ?? 'the work is done'
      return done(await asked.authority.end(run, { by: actorOf(asked.caller), note }))
    },
    suspendRun: async ({ params: { run }, body: { reason = NO_REASON } }, asked) => {
      checkOwn(asked.caller, await findRun(asked, run), ['admin', 'approver'])
      const by = actorOf(asked.caller)
      return done(await asked.authority.command(run, { do: 'suspend', run, by, reason }))
    },
    revokeRun: async ({ params: { run }, body: { reason = NO_REASON } }, asked) => {
      checkOwn(asked.caller, await findRun(asked, run), ['admin', 'approver'])
      const by = actorOf(asked.caller)
      return done(await asked.authority.revoke(run, { by, reason }))
    },
  }
}

/** A run that was just opened, as its requester is told. */
export async function openedView(
  authority: Authority,
  { run, tree, prompt, promptHash }: OpenRun,
  { now, warnings }: { readonly now: number; readonly warnings: readonly LeaseProblem[] },
) {
  const found = await authority.find(run)
  if (found === null) throw unknownRun(run)
  const said = warnings.filter(({ severity }) => severity === 'warning')
  return {
    ...{ run, tree, state: stateOf(found.tree, found.run, now), promptHash, prompt },
    warnings: said.map(({ message }) => message),
  }
}

/** The answer to a command, or the problem that the refusal is. */
export function done(result: Awaited<ReturnType<Authority['command']>>): typeof DONE {
  if (!result.ok) throw refused(result.error)
  return DONE
}
