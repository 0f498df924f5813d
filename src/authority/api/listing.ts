import { matchesAction, parseActionPattern } from '../../core/pattern.ts'
import type { Run, Tree } from '../../core/tree.ts'
import { templateOf } from '../../runs/locks.ts'
import type { Runs } from '../../runs/runs.ts'
import type { Store, TreeCursor, TreeInfo } from '../../store/store.ts'
import { isOwn, maySee } from './access.ts'
import type { InputOf } from './endpoint.ts'
import type { Endpoints } from './endpoints.ts'
import type { Asked } from './parts.ts'
import { Problem } from './problem.ts'
import { type RunView, runView } from './views.ts'

/** Trees that one page looks at, whether or not they match; the next page goes on behind them. */
const TREES_SEEN_MAX = 1_000
/** Trees that are asked of the store at once. */
const TREES_AT_ONCE = 100

type Query = InputOf<Endpoints['listRuns']>['query']

/** Where a page ends: behind this run of this tree. */
interface Place extends TreeCursor {
  /** Runs of the tree that were handed out. */
  readonly runs: number
}

/** Runs that match and that the caller may see, newest tree first, parents before children. */
export async function listRuns(
  { runs, store }: { readonly runs: Runs; readonly store: Store },
  query: Query,
  asked: Asked,
): Promise<{ items: RunView[]; next: string | null }> {
  const items: RunView[] = []
  let place = query.cursor === undefined ? null : readCursor(query.cursor)
  let seen = 0
  for await (const info of treesFrom(store, asked, { query, place })) {
    const isResumed = place !== null && place.tree === info.tree
    const from = isResumed ? place!.runs : 0
    const rest = seen < TREES_SEEN_MAX ? await matching({ runs, query, asked }, info, from) : null
    seen++
    if (rest === null) return { items, next: cursorOf(place!) }
    for (const { view, index } of rest) {
      if (items.length >= query.limit) return { items, next: cursorOf(place!) }
      items.push(view)
      place = { openedAt: info.openedAt, tree: info.tree, runs: index + 1 }
    }
    place = { openedAt: info.openedAt, tree: info.tree, runs: Number.MAX_SAFE_INTEGER }
    if (items.length >= query.limit) return { items, next: cursorOf(place) }
  }
  return { items, next: null }
}

async function* treesFrom(
  store: Store,
  { authority, caller }: Asked,
  { query, place }: { query: Query; place: Place | null },
): AsyncGenerator<TreeInfo> {
  const base = {
    org: authority.org,
    limit: TREES_AT_ONCE,
    ...(query.open === undefined ? {} : { open: query.open === 'true' }),
  }
  // The tree in which the last page ended comes first: the cursor of the store is behind it.
  let after = place === null ? null : justBefore(place)
  if (query.until !== undefined && (after === null || query.until <= after.openedAt)) {
    after = justBefore({ openedAt: query.until - 1, tree: 'tree_~' })
  }
  for (;;) {
    const page = await store.listTrees({ ...base, ...(after === null ? {} : { after }) })
    for (const info of page.items) {
      if (query.since !== undefined && info.openedAt < query.since) return
      if (query.requester !== undefined && info.requester !== query.requester) continue
      if (caller.kind === 'agent' && info.tree !== caller.badge.tree) continue
      yield info
    }
    if (page.next === null) return
    after = page.next
  }
}

/** The pages of the store begin behind a cursor. No id is between a tree and this one. */
function justBefore({ openedAt, tree }: TreeCursor): TreeCursor {
  return { openedAt: Math.max(0, openedAt), tree: `${tree} ` as TreeCursor['tree'] }
}

async function matching(
  { runs, query, asked }: { runs: Runs; query: Query; asked: Asked },
  info: TreeInfo,
  from: number,
): Promise<{ view: RunView; index: number }[]> {
  const tree = await runs.tree(info).read()
  if (tree === null) return []
  return [...tree.runs.values()].flatMap((run, index) => {
    if (index < from || !maySee(asked.caller, tree, run) || !isWanted(run, query)) return []
    const view = runView(tree, run, asked.now)
    return query.state === undefined || view.state === query.state ? [{ view, index }] : []
  })
}

function isWanted(run: Run, { agent, template, action }: Query): boolean {
  if (agent !== undefined && run.envelope.agent !== agent) return false
  if (template !== undefined && templateOf(run) !== template) return false
  if (action === undefined) return true
  const grants = run.lease?.terms.grants ?? []
  return grants.some(({ actions }) => actions.some((text) => grantsAction(text, action)))
}

function grantsAction(text: string, action: string): boolean {
  const pattern = parseActionPattern(text)
  return pattern.ok && matchesAction(pattern.value, action)
}

function cursorOf({ openedAt, tree, runs }: Place): string {
  return Buffer.from(JSON.stringify([openedAt, tree, runs])).toString('base64url')
}

/** A cursor comes back from a client: whatever it says, it is only a place in the list. */
function readCursor(text: string): Place {
  try {
    const [openedAt, tree, runs] = JSON.parse(
      Buffer.from(text, 'base64url').toString(),
    ) as unknown[]
    const isPlace = [openedAt, runs].every(
      (value) => Number.isSafeInteger(value) && (value as number) >= 0,
    )
    if (isPlace && typeof tree === 'string' && /^tree_[A-Za-z0-9]{1,64}$/.test(tree)) {
      return { openedAt, tree, runs } as Place
    }
  } catch {
    // Said below.
  }
  throw new Problem(400, 'malformed', 'the cursor is not one that was given out here')
}

/** The trees of which the caller may see the whole, newest first. */
export async function listTrees(
  { runs, store }: { readonly runs: Runs; readonly store: Store },
  { open, limit }: InputOf<Endpoints['listTrees']>['query'],
  { caller, authority }: Asked,
): Promise<Tree[]> {
  const trees: Tree[] = []
  const query = { org: authority.org, ...(open === undefined ? {} : { open: open === 'true' }) }
  let after: TreeCursor | null = null
  for (let seen = 0; trees.length < limit && seen < TREES_SEEN_MAX; ) {
    const page = await store.listTrees({
      ...query,
      limit: Math.min(TREES_AT_ONCE, limit),
      ...(after === null ? {} : { after }),
    })
    for (const info of page.items) {
      const tree = await runs.tree(info).read()
      seen++
      const root = tree?.runs.get(tree.root)
      const isShown = tree !== null && root !== undefined && maySee(caller, tree, root)
      if (isShown && trees.length < limit) trees.push(tree)
    }
    if (page.next === null) break
    after = page.next
  }
  return trees
}

/** Open trees of which the caller may answer something. */
export async function* openTrees(
  { runs, store }: { readonly runs: Runs; readonly store: Store },
  asked: Asked,
): AsyncGenerator<{ tree: Tree; isOwn: boolean }> {
  for await (const info of treesFrom(store, asked, {
    query: { limit: 0, open: 'true' },
    place: null,
  })) {
    const tree = await runs.tree(info).read()
    const root = tree?.runs.get(tree.root)
    if (tree === null || root === undefined || !maySee(asked.caller, tree, root)) continue
    yield { tree, isOwn: isOwn(asked.caller, tree, root) }
  }
}
