import { descendantsOf } from '../core/chain.ts'
import type { RunId } from '../core/id.ts'
import type { Run, Tree } from '../core/tree.ts'
import { counted } from '../lease-file/words.ts'
import { Api } from './api.ts'
import { EXIT, Failure } from './exit.ts'
import { saveReceipt, shownPath } from './finish.ts'
import { needProject, type Project, signedInPerson } from './project.ts'
import type { ListOptions } from './ps.ts'
import { openTerminal } from './terminal.ts'
import { factsWords } from './words.ts'

/** How long a revocation waits for the receipt: a tree closes a few seconds after its end. */
const RECEIPT_WAIT_MS = 8_000
const LOOK_MS = 200

/** `daypass revoke RUN`: asks nothing; says what it did and what may still have happened. */
export async function revoke(
  name: string,
  options: ListOptions & { readonly reason?: string },
): Promise<number> {
  const terminal = openTerminal()
  const project = needProject(options.config)
  const person = signedInPerson(options.as)
  await using api = await Api.open(project, person)
  const { tree, run } = await api.findRun(name)
  const doomed = [run, ...descendantsOf(tree, run)].filter(({ lease }) => lease?.state !== 'ended')
  const started = performance.now()
  await api.post(`/v1/runs/${run.id}/revoke`, { reason: options.reason ?? 'no reason given' })
  const tookMs = Math.max(1, Math.round(performance.now() - started))
  const flights = await flightsOf(api, tree, run)
  if (!options.json) {
    const mark = terminal.paint('red', 'x')
    const runs = counted(Math.max(1, doomed.length), 'run')
    terminal.say(`${mark} Revoked ${runs} in ${tookMs} ms. No call is allowed from now on.`)
    if (flights.length > 0) {
      const verb = flights.length === 1 ? 'was in flight and was' : 'were in flight and were'
      const what = `${counted(flights.length, 'call')} ${verb} cancelled`
      terminal.say(`${terminal.paint('magenta', '~')} ${what}; whether it happened is unknown:`)
      for (const { words, reads } of flights) {
        terminal.say(`    ${words}${reads ? ' (harmless: reads only)' : ''}`)
      }
    }
  }
  const saved = run.parent === null ? await waitForReceipt({ api, project, person }, run.id) : null
  if (options.json)
    terminal.json({
      run: run.id,
      runs: doomed.map(({ id }) => id),
      tookMs,
      flights,
      receipt: saved,
    })
  else if (saved !== null) terminal.say(`  Receipt: ${shownPath(saved)}`)
  else if (run.parent === null)
    terminal.say(`  Receipt, when it is closed: daypass receipt ${run.id}`)
  return EXIT.ok
}

/** Calls that were in flight when the lease ended. */
async function flightsOf(api: Api, tree: Tree, run: Run) {
  const doomed = new Set([run, ...descendantsOf(tree, run)].map(({ id }) => id))
  const entries = await api.entries(run.id)
  const end = entries.findLast((entry) => entry.type === 'lease.ended' && entry.run === run.id)
  const before = entries.filter((entry) => entry.seq < (end?.seq ?? Number.POSITIVE_INFINITY))
  const settled = new Set(
    before.flatMap((entry) => (entry.type === 'call.settled' ? [entry.command.call] : [])),
  )
  return before.flatMap((entry) => {
    if (entry.type !== 'call.allowed') return []
    const { call, run: owner, facts } = entry.command
    if (!doomed.has(owner) || settled.has(call)) return []
    const reads = facts.touches.every(({ effect }) => effect === 'read')
    return [{ call, words: factsWords(facts), reads }]
  })
}

interface Waiting {
  readonly api: Api
  readonly project: Project
  readonly person: string
}

/** The file of the receipt. The process that owned the run may end meanwhile: it was told to. */
async function waitForReceipt(of: Waiting, run: RunId): Promise<string | null> {
  for (const until = Date.now() + RECEIPT_WAIT_MS; ; ) {
    const receipt = await receiptNow(of, run)
    if (receipt !== null) return saveReceipt(of.project, receipt)
    if (Date.now() >= until) return null
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
  }
}

async function receiptNow({ api, project, person }: Waiting, run: RunId) {
  try {
    return await api.receipt(run)
  } catch (error) {
    if (!(error instanceof Failure)) throw error
    await using next = await Api.open(project, person)
    return await next.receipt(run)
  }
}
