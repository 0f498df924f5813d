import { foldReceipt } from '../ledger/fold.ts'
import { renderReceipt } from '../ledger/render.ts'
import { Api } from './api.ts'
import { EXIT } from './exit.ts'
import { saveReceipt, shownPath } from './finish.ts'
import { needProject, signedInPerson, vocabularyIn } from './project.ts'
import type { ListOptions } from './ps.ts'
import { openTerminal } from './terminal.ts'
import { layoutOf } from './text-tools.ts'

/** `daypass receipt RUN`: the signed receipt, or what it will say so far. */
export async function receipt(name: string, options: ListOptions): Promise<number> {
  const terminal = openTerminal()
  const project = needProject(options.config)
  await using api = await Api.open(project, signedInPerson(options.as))
  const { tree, run } = await api.findRun(name)
  const signed = await api.receipt(run.id)
  const layout = { ...layoutOf(terminal, vocabularyIn(project)), all: options.all === true }
  if (signed === null) {
    const body = foldReceipt(await api.entries(run.id))
    if (options.json) terminal.json({ signed: false, body })
    else {
      terminal.say(renderReceipt(body, { ...layout, saved: null }))
      terminal.say(`\nNot signed: the run is ${tree.phase}. The receipt comes when it is closed.`)
    }
    return EXIT.ok
  }
  if (options.json) {
    terminal.json(signed)
    return signed.body.counts.unknown > 0 ? EXIT.unknownOutcome : EXIT.ok
  }
  const file = saveReceipt(project, signed)
  terminal.say(renderReceipt(signed.body, { ...layout, saved: shownPath(file) }))
  return signed.body.counts.unknown > 0 ? EXIT.unknownOutcome : EXIT.ok
}
