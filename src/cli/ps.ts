import type { Instant } from '../core/id.ts'
import type { Run, Tree } from '../core/tree.ts'
import type { Vocabulary } from '../core/vocabulary.ts'
import { printable, visible } from '../lease-file/printable.ts'
import { columnsOf } from '../lease-file/wrap.ts'
import { Api } from './api.ts'
import { EXIT } from './exit.ts'
import { needProject, signedInPerson, vocabularyIn } from './project.ts'
import { openTerminal, type Terminal } from './terminal.ts'
import { leftOf, padTo, shortIds, shortPerson, stateOf, untilWords, usageOf } from './words.ts'

export interface ListOptions {
  readonly all?: boolean
  readonly config?: string
  readonly as?: string
  readonly json?: boolean
}

interface Row {
  readonly run: string
  readonly id: string
  readonly depth: number
  readonly state: string
  readonly task: string
  readonly requester: string
  readonly calls: string
  readonly left: string
  readonly ends: string
}

/** `daypass ps`: the runs, subagents below the run that delegated to them. */
export async function ps(options: ListOptions): Promise<number> {
  const terminal = openTerminal()
  const project = needProject(options.config)
  await using api = await Api.open(project, signedInPerson(options.as))
  const trees = await api.trees({ all: options.all === true })
  const now = Date.now()
  const vocabulary = vocabularyIn(project)
  const runs = trees.flatMap((tree) => inOrder(tree).map((run) => ({ tree, run })))
  const shown = runs.filter(({ tree, run }) => options.all || isOpen(tree, run))
  const short = shortIds(shown.map(({ run }) => run.id))
  const rows = shown.map(({ tree, run }) => rowOf(tree, run, { now, vocabulary, short }))
  if (options.json) terminal.json({ runs: rows.map(({ run: _, ...row }) => row) })
  // For another program: the rows are the result, so they go where results go.
  else if (!process.stdout.isTTY || !terminal.isTty) {
    for (const row of rows) terminal.out(tabbed(row))
  } else if (rows.length === 0) terminal.say('No runs. Start one: daypass run --lease FILE -- CMD')
  else table(terminal, rows)
  return EXIT.ok
}

/** Parents before their children. */
function inOrder(tree: Tree): Run[] {
  const below = (run: Run): Run[] => [
    run,
    ...run.children.flatMap((id) => below(tree.runs.get(id)!)),
  ]
  return below(tree.runs.get(tree.root)!)
}

function isOpen(tree: Tree, run: Run): boolean {
  return tree.phase !== 'closed' && (run.lease?.state !== 'ended' || run.inFlight.size > 0)
}

function rowOf(
  tree: Tree,
  run: Run,
  at: { now: Instant; vocabulary: Vocabulary; short: Map<string, string> },
): Row {
  const { lease } = run
  const { used, held, limit } = usageOf(run)
  const over = lease === null || lease.state === 'ended'
  const until = lease === null ? null : untilWords(lease, at.vocabulary)
  const answerBy = lease === null ? 0 : lease.requestedAt + lease.rule.answerSeconds * 1000
  const endsAt = lease?.state === 'requested' ? answerBy : (lease?.expiresAt ?? at.now)
  return {
    run: at.short.get(run.id)!,
    id: run.id,
    depth: run.depth,
    state: stateOf(tree, run, at.now).word,
    task: visible(run.envelope.purpose),
    requester: run.envelope.requester,
    calls: `${used + held}${limit === null ? '' : `/${limit}`}`,
    left: over ? '' : leftOf(endsAt - at.now),
    ends: over ? (lease?.endNote ?? '') : (until ?? ''),
  }
}

const HEADS = ['RUN', 'STATE', 'TASK', 'FOR', 'CALLS', 'LEFT', 'ENDS'] as const
/** A task is read by its first words; what ended a run can be looked up. */
const TASK_COLUMNS_MIN = 30

function table(terminal: Terminal, rows: readonly Row[]): void {
  const cells = rows.map((row) => [
    '  '.repeat(row.depth) + row.run,
    row.state,
    row.task,
    shortPerson(row.requester),
    row.calls,
    row.left,
    printable(row.ends),
  ])
  const widths = HEADS.map((head, at) =>
    Math.max(head.length, ...cells.map((line) => columnsOf(line[at]!))),
  )
  // The task is cut, never the id; then what ends the run.
  const spare = terminal.columns - (HEADS.length - 1) * 2
  const others = widths.reduce((sum, width, at) => (at === 2 || at === 6 ? sum : sum + width), 0)
  const taskMin = Math.min(widths[2]!, TASK_COLUMNS_MIN)
  widths[6] = Math.min(widths[6]!, Math.max(8, spare - others - taskMin))
  widths[2] = Math.min(widths[2]!, Math.max(8, spare - others - widths[6]))
  const line = (texts: readonly string[]) =>
    texts
      .map((text, at) => padTo(text, widths[at]!))
      .join('  ')
      .trimEnd()
  terminal.say(line(HEADS))
  for (const texts of cells) terminal.say(line(texts))
  terminal.say('')
  terminal.say(`${tally(rows)}. daypass show RUN, daypass revoke RUN`)
}

/** `2 active, 1 paused`, of whole run trees. */
function tally(rows: readonly Row[]): string {
  const counts = new Map<string, number>()
  for (const { state, depth } of rows) {
    if (depth > 0) continue
    const word = state.startsWith('ask') ? 'active' : state
    counts.set(word, (counts.get(word) ?? 0) + 1)
  }
  return [...counts].map(([word, count]) => `${count} ${word}`).join(', ')
}

/** Full values, for other programs. */
function tabbed({ id, state, task, requester, calls, left, ends }: Row): string {
  return [id, state, task, requester, calls, left, visible(ends)].join('\t')
}
