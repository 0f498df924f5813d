import type { z } from '@hono/zod-openapi'
import { chainOf } from '../../core/chain.ts'
import type { RunId, TreeId } from '../../core/id.ts'
import type { Run, Tree } from '../../core/tree.ts'
import { LOCK_PREFIX, type LockScope, lockKey, templateOf } from '../../runs/locks.ts'
import { newId } from '../../runs/new-id.ts'
import type { Store } from '../../store/store.ts'
import { actorOf, findRun, nameOf } from './access.ts'
import type { Endpoints } from './endpoints.ts'
import type { ApiParts, Asked, Handlers } from './parts.ts'
import { Problem, refused } from './problem.ts'

/**
 * Bulk revocation (design §3): the lock is written, then every tree that matches is revoked, then
 * it is answered. What opens a tree looks for the lock in its own transaction, so a tree is either
 * there to be found or is never opened. If this fails half-way the lock stays, and is seen.
 */

type Scope = z.output<Endpoints['revokeAll']['body']>['scope']
type Lock = z.output<Endpoints['listLocks']['answer']>['items'][number]

/** Writers of one lock that keep being overtaken. */
const TRIES_MAX = 50
/** Trees that are asked of the store at once. */
const TREES_AT_ONCE = 200
const NO_REASON = 'no reason given'

export function revocationHandlers(
  parts: ApiParts,
): Handlers<'revokeAll' | 'listLocks' | 'liftLock'> {
  const { store } = parts
  return {
    revokeAll: async ({ body: { scope, keepLocked, reason = NO_REASON } }, asked) => {
      const org = asked.authority.org
      const lock: Lock = {
        ...{ id: newId('lock'), scope, reason },
        ...{ by: nameOf(asked.caller), since: asked.now },
      }
      const isLocked = 'run' in scope || 'tree' in scope ? null : scope
      if (isLocked !== null) await change(store, { org, scope: isLocked }, (all) => [...all, lock])
      const revoked = await revokeAll(parts, asked, { scope, reason })
      if (isLocked === null) return { revoked, lock: null }
      if (keepLocked) return { revoked, lock: lock.id }
      await change(store, { org, scope: isLocked }, (all) => without(all, lock.id))
      return { revoked, lock: null }
    },
    listLocks: async (_, { authority }) => ({ items: await locksIn(store, authority.org) }),
    liftLock: async ({ params: { lock: id } }, { authority }) => {
      const org = authority.org
      const lock = (await locksIn(store, org)).find((each) => each.id === id)
      if (lock === undefined) throw new Problem(404, 'lock_unknown', `no lock ${id} here`)
      await change(store, { org, scope: lock.scope as LockScope }, (all) => without(all, id))
      return { done: true }
    },
  }
}

function without(locks: readonly Lock[], id: string): Lock[] {
  return locks.filter((each) => each.id !== id)
}

async function locksIn(store: Store, org: string): Promise<Lock[]> {
  const found = await store.listSettings(org, LOCK_PREFIX)
  return found.flatMap(({ value }) => JSON.parse(value) as Lock[])
}

/** Several revocations may hold one lock; it is gone when the last of them lets go. */
async function change(
  store: Store,
  { org, scope }: { readonly org: string; readonly scope: LockScope },
  to: (held: readonly Lock[]) => readonly Lock[],
): Promise<void> {
  const key = lockKey(scope)
  for (let tries = 0; tries < TRIES_MAX; tries++) {
    const expected = await store.getSetting(org, key)
    const locks = to(expected === null ? [] : (JSON.parse(expected) as Lock[]))
    const value = locks.length === 0 ? null : JSON.stringify(locks)
    if ((await store.setSetting({ org, key, expected, value })).ok) return
  }
  throw new Problem(503, 'lock_contended', 'others keep changing this lock; try again')
}

async function revokeAll(
  { store, runs }: ApiParts,
  asked: Asked,
  { scope, reason }: { readonly scope: Scope; readonly reason: string },
): Promise<RunId[]> {
  const { authority, caller } = asked
  const revoked: RunId[] = []
  const by = actorOf(caller)
  for await (const tree of treesOf({ store, runs }, asked, scope)) {
    for (const run of topmost(tree, scope)) {
      const ended = await authority.revoke(run.id, { by, reason })
      // Somebody else was first.
      if (!ended.ok && !OVER.includes(ended.error.code)) throw refused(ended.error)
      if (ended.ok) revoked.push(run.id)
    }
  }
  return revoked
}

const OVER: readonly string[] = ['lease_ended', 'tree_closed']

/** The trees in which something may match, as they are stored now. */
async function* treesOf(
  { store, runs }: Pick<ApiParts, 'store' | 'runs'>,
  asked: Asked,
  scope: Scope,
): AsyncGenerator<Tree> {
  const { org } = asked.authority
  if ('run' in scope) {
    yield (await findRun(asked, scope.run)).tree
    return
  }
  let after: Parameters<Store['listTrees']>[0]['after']
  for (;;) {
    const query = { org, open: true, limit: TREES_AT_ONCE }
    const page = await store.listTrees({ ...query, ...(after === undefined ? {} : { after }) })
    for (const info of page.items) {
      if (isElsewhere(info, scope)) continue
      const tree = await runs.tree(info).read({ fresh: true })
      if (tree !== null) yield tree
    }
    if (page.next === null) return
    after = page.next
  }
}

function isElsewhere(info: { tree: TreeId; requester: string }, scope: Scope): boolean {
  if ('tree' in scope) return info.tree !== scope.tree
  return 'requester' in scope && info.requester !== scope.requester
}

/** The runs that match and that no other one takes with it. */
function topmost(tree: Tree, scope: Scope): Run[] {
  const isMatch = (run: Run) => matches(tree, run, scope)
  return [...tree.runs.values()].filter((run) => {
    if (run.lease?.state === 'ended' || !isMatch(run)) return false
    return !chainOf(tree, run).slice(1).some(isMatch)
  })
}

function matches(tree: Tree, run: Run, scope: Scope): boolean {
  if ('run' in scope) return run.id === scope.run
  if ('agent' in scope) return run.envelope.agent === scope.agent
  if ('template' in scope) return templateOf(run) === scope.template
  return run.id === tree.root
}
