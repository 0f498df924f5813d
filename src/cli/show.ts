import { descendantsOf } from '../core/chain.ts'
import type { Entry } from '../core/entry.ts'
import { toSnapshot } from '../core/snapshot.ts'
import type { Run, Tree } from '../core/tree.ts'
import type { Vocabulary } from '../core/vocabulary.ts'
import { printable } from '../lease-file/printable.ts'
import { counted, describeGrant, describeResources } from '../lease-file/words.ts'
import { columnsOf, wrapWords } from '../lease-file/wrap.ts'
import { actorWords } from '../ledger/words.ts'
import { Api } from './api.ts'
import { type EventRow, eventRows } from './events.ts'
import { EXIT } from './exit.ts'
import { needProject, signedInPerson, vocabularyIn } from './project.ts'
import type { ListOptions } from './ps.ts'
import { openTerminal, type Terminal } from './terminal.ts'
import { endWords, leftOf, shortIds, stateOf, timeOf, untilWords, usageOf } from './words.ts'

const EVENTS_SHOWN = 6
const BAR_MAX = 30
const BAR_COLUMN = 33

/** `daypass show RUN`: what it is for, what is left of it, what it did last. */
export async function show(name: string, options: ListOptions): Promise<number> {
  const terminal = openTerminal()
  const project = needProject(options.config)
  await using api = await Api.open(project, signedInPerson(options.as))
  const { tree, run } = await api.findRun(name)
  const entries = await api.entries(run.id)
  if (options.json) {
    terminal.json({ run: run.id, tree: toSnapshot(tree), entries })
    return EXIT.ok
  }
  const vocabulary = vocabularyIn(project)
  const now = Date.now()
  const page = { terminal, tree, run, entries, vocabulary, now }
  terminal.say([...headLines(page), '', ...barLines(page), ''].join('\n'))
  const rows = eventRows(entries, tree, now)
  const shown = options.all ? rows : rows.slice(-EVENTS_SHOWN)
  for (const row of shown.toReversed()) terminal.say(eventLine(row, terminal))
  const short = shortIds([run.id]).get(run.id)!
  const earlier = rows.length - shown.length
  if (earlier > 0) terminal.say(`          ${earlier} earlier: daypass show ${short} --all`)
  const doomed = [run, ...descendantsOf(tree, run)].filter(({ lease }) => lease?.state !== 'ended')
  if (doomed.length > 0) {
    const flights = doomed.reduce((sum, each) => sum + each.inFlight.size, 0)
    const also = flights === 0 ? '' : ` and cancels ${counted(flights, 'call')} in flight`
    terminal.say(`\ndaypass revoke ${short} ends ${counted(doomed.length, 'run')}${also}`)
  }
  return EXIT.ok
}

interface Page {
  readonly terminal: Terminal
  readonly tree: Tree
  readonly run: Run
  readonly entries: readonly Entry[]
  readonly vocabulary: Vocabulary
  readonly now: number
}

function headLines(page: Page): string[] {
  const { terminal, tree, run, entries, vocabulary, now } = page
  const title = printable(run.envelope.purpose)
  const gap = terminal.columns - columnsOf(title) - run.id.length
  const bold = terminal.paint('bold', title)
  const first = gap >= 2 ? [`${bold}${' '.repeat(gap)}${run.id}`] : [bold, run.id]
  const { lease } = run
  const { word } = stateOf(tree, run, now)
  const approved = entries.findLast(
    (entry) => entry.type === 'lease.approved' && entry.command.run === run.id,
  )
  const by =
    approved?.type === 'lease.approved'
      ? `allowed by ${printable(actorWords(approved.command.by))} at ${timeOf(approved.at)}`
      : 'not allowed by anybody'
  const lines = [
    lease === null ? word : stateWords(page, word),
    `asked by ${printable(run.envelope.requester)}, ${by}`,
  ]
  const grants = lease?.terms.grants.map((grant) => describeGrant(grant, vocabulary)) ?? []
  const wrap = (text: string) => wrapWords(text, terminal.columns, '  ')
  return [...first, ...lines.flatMap(wrap), ...grants.flatMap((text) => wrap(`may ${text}`))]
}

function stateWords({ run, vocabulary, now }: Page, word: string): string {
  const lease = run.lease!
  if (lease.state === 'ended') {
    const at = lease.endedAt === null ? '' : ` at ${timeOf(lease.endedAt)}`
    return `ended${at}: ${endWords(lease.endReason!, lease.endNote)}`
  }
  if (lease.expiresAt === null) return `${word}: daypass approve ${run.id}`
  const until = untilWords(lease, vocabulary)
  const event = until === null ? '' : `when ${until} or `
  const at = timeOf(lease.expiresAt).slice(0, 5)
  const why = lease.suspendedWhy === null ? '' : ` (${printable(lease.suspendedWhy)})`
  return `${word}${why}, ends ${event}in ${leftOf(lease.expiresAt - now)} (${at} UTC)`
}

/** Each run of the tree with its budget; `#` used, `=` held or in flight, `.` left. */
function barLines({ terminal, tree, run, vocabulary }: Page): string[] {
  const runs = [run, ...descendantsOf(tree, run)]
  return runs.flatMap((each) => {
    const depth = each.depth - run.depth
    const lead = depth === 0 ? '' : `${'    '.repeat(depth - 1)}\`-- `
    const { used, held, left, limit, inFlight } = usageOf(each)
    const name = `${lead}${printable(each.envelope.agent)}`
    const leftText = left === null ? 'no limit of calls' : `${left} left of ${limit}`
    const bar = limit === null ? '' : `${barOf({ used, held, left: left ?? 0, limit })}  `
    const flights = inFlight === 0 ? '' : `, ${inFlight} in flight`
    const holds = held - inFlight > 0 ? `, ${held - inFlight} held` : ''
    const detail = `${' '.repeat(depth * 4 + 4)}${used} used${holds}${flights}`
    const where = describeResources(mergedResources(each), vocabulary)
    return [
      `${name.padEnd(BAR_COLUMN - 1)} ${bar}${terminal.paint('bold', leftText)}`,
      `${detail.padEnd(BAR_COLUMN - 1)} ${where}`.slice(0, terminal.columns).trimEnd(),
    ]
  })
}

function mergedResources(run: Run): Record<string, string[]> {
  const all: Record<string, string[]> = {}
  for (const grant of run.lease?.terms.grants ?? []) {
    for (const [type, values] of Object.entries(grant.resources)) {
      all[type] = [...new Set([...(all[type] ?? []), ...values])]
    }
  }
  return all
}

function barOf(of: { used: number; held: number; left: number; limit: number }): string {
  const scale = Math.min(1, BAR_MAX / of.limit)
  const used = of.used === 0 ? 0 : Math.max(1, Math.round(of.used * scale))
  const held = of.held === 0 ? 0 : Math.max(1, Math.round(of.held * scale))
  const whole = Math.round(of.limit * scale)
  const left = Math.max(of.left > 0 ? 1 : 0, whole - used - held)
  return `[${'#'.repeat(used)}${'='.repeat(held)}${'.'.repeat(left)}]`
}

function eventLine(row: EventRow, terminal: Terminal): string {
  const style =
    row.mark === '+' ? 'green' : row.mark === 'x' ? 'red' : row.mark === '?' ? 'yellow' : null
  const head = `${timeOf(row.at)}  ${terminal.paint(style, `${row.mark} ${row.word}`)}`
  const pad = ' '.repeat(Math.max(1, 10 - row.word.length))
  const room = terminal.columns - 22 - row.note.length - 2
  const what =
    columnsOf(row.what) > room ? `${row.what.slice(0, Math.max(0, room - 3))}...` : row.what
  return `${head}${pad}${what.padEnd(Math.max(0, room))}  ${row.note}`.trimEnd()
}
