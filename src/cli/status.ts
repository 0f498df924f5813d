import type { Run, Tree } from '../core/tree.ts'
import { ownerOf } from '../owner.ts'
import { Api } from './api.ts'
import { EXIT } from './exit.ts'
import { findProject, needProject, signedInPerson, vocabularyIn } from './project.ts'
import type { ListOptions } from './ps.ts'
import { plainStatus } from './status-text.ts'
import { openTerminal } from './terminal.ts'

/**
 * `daypass status --line`: one line for a status bar, on stdout. Inside a run it is about that run.
 * A status bar is drawn often and must not break: whatever is wrong, the line is empty.
 */
export async function status(options: ListOptions & { readonly line?: boolean }): Promise<number> {
  const terminal = openTerminal()
  const project = options.line ? findProject(options.config) : needProject(options.config)
  if (project === null || (options.line && (await ownerOf(project.folder)) === null)) {
    return EXIT.ok
  }
  await using api = await Api.open(project, signedInPerson(options.as))
  const trees = await api.trees({ all: false })
  const wanted = process.env.DAYPASS_RUN
  const runs = trees
    .flatMap((tree) => [...tree.runs.values()].map((run) => ({ tree, run })))
    .filter(({ tree, run }) => (wanted === undefined ? run.id === tree.root : run.id === wanted))
  const now = Date.now()
  const vocabulary = vocabularyIn(project)
  const text = ({ tree, run }: { tree: Tree; run: Run }) =>
    plainStatus(tree, run, { now, vocabulary })
  if (options.json)
    terminal.json({ runs: runs.map((each) => ({ run: each.run.id, line: text(each) })) })
  else if (options.line) {
    // The newest run is the one that is looked at.
    if (runs[0] !== undefined) terminal.out(text(runs[0]))
  } else {
    for (const each of runs) terminal.say(`${each.run.id}  ${text(each)}`)
    if (runs.length === 0) terminal.say('No runs. Start one: daypass run --lease FILE -- CMD')
  }
  return EXIT.ok
}
