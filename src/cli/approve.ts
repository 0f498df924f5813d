import type { Ask, Run, Tree } from '../core/tree.ts'
import type { Vocabulary } from '../core/vocabulary.ts'
import { printable, visible } from '../lease-file/printable.ts'
import { phraseOf, resourceWord } from '../lease-file/words.ts'
import { Api } from './api.ts'
import { showPrompt } from './approval.ts'
import { EXIT, Failure } from './exit.ts'
import { needProject, signedInPerson, vocabularyIn } from './project.ts'
import type { ListOptions } from './ps.ts'
import { askLine } from './question.ts'
import { openTerminal, type Terminal } from './terminal.ts'
import { irreversibleWords, leftOf, shortIds } from './words.ts'

export interface AnswerOptions extends ListOptions {
  readonly yes?: boolean
  readonly reason?: string
}

/** `daypass approve RUN|ASK`: shows what is asked, and allows it after a yes in the terminal. */
export async function approve(name: string, options: AnswerOptions): Promise<number> {
  const terminal = openTerminal()
  const person = signedInPerson(options.as)
  const project = needProject(options.config)
  await using api = await Api.open(project, person)
  if (name.startsWith('ask_')) {
    const { tree, ask } = await api.findAsk(name)
    const vocabulary = vocabularyIn(project)
    await approveAsk({ terminal, api, options, vocabulary }, tree, ask)
    if (options.json) terminal.json({ ask: ask.id, approved: true, by: person })
    else terminal.say(`${terminal.paint('green', '+')} Allowed once by ${printable(person)}.`)
    return EXIT.ok
  }
  const { run } = await api.findRun(name)
  const prompt = await approveRun({ terminal, api, options }, run)
  if (options.json) terminal.json({ run: run.id, approved: true, by: person, prompt })
  else terminal.say(`${terminal.paint('green', '+')} Allowed by ${printable(person)}.`)
  return EXIT.ok
}

interface Answering {
  readonly terminal: Terminal
  readonly api: Api
  readonly options: AnswerOptions
}

async function approveRun({ terminal, api, options }: Answering, run: Run): Promise<string> {
  const { lease } = run
  const { prompt } = await api.show(run.id)
  if (lease?.state !== 'requested' || prompt === null) {
    throw new Failure(`${run.id} does not wait for an answer; it is ${lease?.state ?? 'opening'}`)
  }
  if (!options.json) {
    showPrompt(terminal, prompt, { hash: lease.promptHash, alsoElsewhere: false })
  }
  const deadline = lease.requestedAt + lease.rule.answerSeconds * 1000
  if (!options.yes) {
    const question = terminal.paint('bold', 'Allow it?')
    const ask = () => `${question}  a allow   r refuse   ${leftOf(deadline - Date.now())} > `
    await needYes({ terminal, prompt: ask, deadline, word: 'a' }, async (reason) => {
      await api.post(`/v1/runs/${run.id}/refuse`, { reason })
    })
  }
  await api.post(`/v1/runs/${run.id}/approve`, { promptHash: lease.promptHash })
  return lease.promptHash
}

async function approveAsk(
  { terminal, api, options, vocabulary }: Answering & { readonly vocabulary: Vocabulary },
  tree: Tree,
  ask: Ask,
): Promise<void> {
  if (ask.state !== 'pending') throw new Failure(`${ask.id} is ${ask.state} already`)
  const lost = irreversibleWords(ask.facts, vocabulary)
  if (!options.json) showAsk({ terminal, vocabulary }, tree, ask)
  const path = `/v1/runs/${ask.run}/asks/${ask.id}`
  if (!options.yes) {
    const phrase = phrasesOf(ask, vocabulary)
    // What cannot be undone is never allowed with a letter.
    const word = lost === null ? 'a' : phrase
    const how = lost === null ? 'a allow   r refuse' : `Type ${phrase} to allow it, r to refuse`
    const prompt = () => `  ${how}   ${leftOf(ask.deadline - Date.now())} > `
    await needYes({ terminal, prompt, deadline: ask.deadline, word }, async (reason) => {
      await api.post(`${path}/refuse`, { reason })
    })
  }
  await api.post(`${path}/approve`, { binding: ask.binding })
}

function phrasesOf(ask: Ask, vocabulary: Vocabulary): string {
  const phrases = ask.facts.touches.map(({ action }) => phraseOf(vocabulary, action))
  return [...new Set(phrases)].join(', ')
}

/** The call that waits: what, why it cannot be undone, with which arguments, whose it is. */
function showAsk(
  { terminal, vocabulary }: { readonly terminal: Terminal; readonly vocabulary: Vocabulary },
  tree: Tree,
  ask: Ask,
): void {
  const { facts } = ask
  const short = shortIds([ask.id]).get(ask.id)!
  const phrase = phrasesOf(ask, vocabulary)
  const head = `? ${phrase.charAt(0).toUpperCase()}${phrase.slice(1)}, once`
  const right = `${short}  ${leftOf(ask.deadline - Date.now())} left`
  const gap = Math.max(2, terminal.columns - head.length - right.length)
  terminal.say(`${terminal.paint('yellow', head)}${' '.repeat(gap)}${right}`)
  const lost = irreversibleWords(facts, vocabulary)
  if (lost !== null) {
    const what = lost === '' ? '' : `: ${lost}`
    terminal.say(`${terminal.paint('magenta', '!')} Can't be undone${what}`)
  }
  const hosts = [...new Set(facts.touches.flatMap((touch) => touch.hosts))]
  if (hosts.length > 0) terminal.say(`${terminal.paint('blue', '>')} sends to ${hosts.join(', ')}`)
  terminal.say(
    `  ${printable(facts.tool)}, by ${printable(tree.runs.get(ask.run)!.envelope.agent)}`,
  )
  for (const { action, resources, within } of facts.touches) {
    const all = [...Object.entries(resources), ...Object.entries(within)]
    const on = all.map(
      ([type, values]) => `${resourceWord(vocabulary, type)} ${values.map(printable).join(', ')}`,
    )
    terminal.say(`    ${action}  ${on.join(', ')}`)
  }
  for (const [name, value] of Object.entries(facts.args)) {
    terminal.say(`    ${visible(name)}  ${printable(JSON.stringify(value))}`)
  }
}

interface YesQuestion {
  readonly terminal: Terminal
  readonly prompt: () => string
  readonly deadline: number
  /** What must be typed. */
  readonly word: string
}

/** Returns after a yes. Anything but a yes leaves by a failure; `r` also refuses. */
async function needYes(
  question: YesQuestion,
  refuse: (reason: string) => Promise<void>,
): Promise<void> {
  const { terminal, word } = question
  if (!terminal.canAsk) {
    const how = 'run it in a terminal, or write --yes if you have read the prompt'
    throw new Failure(`no terminal to ask in\n  ${how}`, EXIT.notApproved)
  }
  for (;;) {
    const typed = await askLine(question)
    if (typed.kind !== 'line') throw new Failure('nothing was answered', EXIT.notApproved)
    if (typed.text.toLowerCase() === word.toLowerCase()) return
    if (typed.text.toLowerCase() !== 'r') continue
    const why = await askLine({ terminal, deadline: null, prompt: () => '  Why (one line)? > ' })
    const reason = why.kind === 'line' && why.text !== '' ? why.text : 'no reason given'
    await refuse(reason)
    throw new Failure(`refused: ${printable(reason)}`, EXIT.notApproved)
  }
}

/** `daypass refuse RUN|ASK`. The reason reaches the agent. */
export async function refuse(name: string, options: AnswerOptions): Promise<number> {
  const terminal = openTerminal()
  const person = signedInPerson(options.as)
  await using api = await Api.open(needProject(options.config), person)
  const reason = options.reason ?? 'no reason given'
  let id: string
  if (name.startsWith('ask_')) {
    const { ask } = await api.findAsk(name)
    id = ask.id
    await api.post(`/v1/runs/${ask.run}/asks/${ask.id}/refuse`, { reason })
  } else {
    const { run } = await api.findRun(name)
    id = run.id
    await api.post(`/v1/runs/${run.id}/refuse`, { reason })
  }
  if (options.json) terminal.json({ id, refused: true, by: person, reason })
  else
    terminal.say(
      `${terminal.paint('red', 'x')} Refused by ${printable(person)}: ${printable(reason)}`,
    )
  return EXIT.ok
}

/** `daypass suspend RUN` and `daypass resume RUN`. */
export async function pause(
  verb: 'suspend' | 'resume',
  name: string,
  options: AnswerOptions,
): Promise<number> {
  const terminal = openTerminal()
  await using api = await Api.open(needProject(options.config), signedInPerson(options.as))
  const { run } = await api.findRun(name)
  await api.post(`/v1/runs/${run.id}/${verb}`, { reason: options.reason ?? 'no reason given' })
  if (options.json)
    terminal.json({ run: run.id, state: verb === 'suspend' ? 'suspended' : 'active' })
  else if (verb === 'suspend') terminal.say('~ Suspended. No call is allowed until daypass resume.')
  else terminal.say(`${terminal.paint('green', '+')} Resumed.`)
  return EXIT.ok
}
