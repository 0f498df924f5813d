import type { CallId } from '../core/id.ts'
import { printable, visible } from '../lease-file/printable.ts'
import { wrapWords } from '../lease-file/wrap.ts'
import { explainCall, explainRun } from '../ledger/explain.ts'
import type { Explanation } from '../ledger/explanation.ts'
import { Api } from './api.ts'
import { EXIT, Failure } from './exit.ts'
import { needProject, signedInPerson } from './project.ts'
import type { ListOptions } from './ps.ts'
import { openTerminal } from './terminal.ts'

/** The order in which the seven questions are asked. */
const QUESTIONS = ['asked', 'task', 'approved', 'stops', 'retry', 'through', 'standing'] as const

/** `daypass explain RUN|CALL`: answers the seven questions about a run or one of its calls. */
export async function explain(name: string, options: ListOptions): Promise<number> {
  const terminal = openTerminal()
  await using api = await Api.open(needProject(options.config), signedInPerson(options.as))
  const explanation = name.startsWith('call_') ? await ofCall(api, name) : await ofRun(api, name)
  if (options.json) {
    terminal.json(explanation)
    return EXIT.ok
  }
  terminal.say(`${explanation.call ?? explanation.run}\n`)
  const wrap = (text: string) => wrapWords(text, terminal.columns - 2, '')
  for (const [index, key] of QUESTIONS.entries()) {
    const { question, text } = explanation[key]
    terminal.say(terminal.paint('bold', `${index + 1} ${question}`))
    for (const line of wrap(visible(text))) terminal.say(`  ${line}`)
  }
  return EXIT.ok
}

async function ofRun(api: Api, name: string): Promise<Explanation> {
  const { run } = await api.findRun(name)
  const explained = explainRun(await api.entries(run.id), run.id, Date.now())
  if (!explained.ok) throw new Failure(explained.error, EXIT.usage)
  return explained.value
}

/** A call does not say whose it is: the open runs are looked through first, then all. */
async function ofCall(api: Api, name: string): Promise<Explanation> {
  const seen = new Set<string>()
  for (const all of [false, true]) {
    for (const tree of await api.trees({ all })) {
      if (seen.has(tree.id)) continue
      seen.add(tree.id)
      const entries = await api.entries(tree.root)
      const ids = entries.flatMap((entry) =>
        'command' in entry && entry.command.do === 'authorize' ? [entry.command.call] : [],
      )
      const id: CallId | undefined = ids.find((each) => each.startsWith(name))
      const explained = id === undefined ? null : explainCall(entries, id, Date.now())
      if (explained?.ok) return explained.value
    }
  }
  throw new Failure(
    `no call \`${printable(name)}\` here\n  daypass show RUN --all lists calls`,
    EXIT.usage,
  )
}
