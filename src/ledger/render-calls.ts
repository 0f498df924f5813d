import { block, labelled, type Mark, marked, plain, row, type Span } from './layout.ts'
import type { CallPart, EscalationPart, RunPart } from './receipt-body.ts'
import {
  describeResources,
  fewOf,
  LABEL_COLUMN,
  LIST_COLUMN,
  nameOf,
  printActor,
  quoted,
  type Sheet,
  safe,
} from './render-parts.ts'
import { clockOf, counted, timeOf } from './words.ts'

/** Where the words of a call or an escalation start, after its time and mark. */
const WORDS_COLUMN = 12

/** What each run used of its budget. */
export function budgetLines(sheet: Sheet): string[] {
  const { body, page } = sheet
  const runs = body.runs.filter(({ budget }) => budget !== null)
  if (runs.length === 0) return []
  const label = { text: 'Budget', style: 'bold' } as const
  const first = runs.length === 1 ? budgetWords(runs[0]!, sheet) : counted(runs.length, 'run')
  const lines = runs.length === 1 ? [] : fewOf(sheet, runs, (run) => budgetLine(run, sheet))
  return ['', ...labelled(label, [plain(first)], LABEL_COLUMN, page), ...lines]
}

function budgetLine(run: RunPart, sheet: Sheet): string[] {
  const left = [plain(nameOf(sheet.body, run.run, sheet.page))]
  const right = [plain(budgetWords(run, sheet))]
  return row({ left, right }, { left: LIST_COLUMN, right: 44 }, sheet.page)
}

function budgetWords({ budget }: RunPart, { page }: Sheet): string {
  const { calls, usd, work, limits } = budget!
  const below = calls.below === 0 ? '' : ` and ${calls.below} below`
  const used =
    calls.limit === null
      ? `${counted(calls.used, 'call')}${below}, no limit`
      : `${calls.used}${below} of ${counted(calls.limit, 'call')}, ${calls.left} left`
  const parts = [used]
  if (work.limitMs !== null) {
    parts.push(`worked ${clockOf(work.usedMs)} of ${clockOf(work.limitMs)}`)
  }
  if (usd.limit !== null) parts.push(`${usd.left} of ${usd.limit} USD left`)
  for (const each of limits) {
    parts.push(`${safe(page)(each.action)} ${each.used + each.below} of ${each.limit}`)
  }
  return parts.join('; ')
}

const OUTCOMES: Record<string, { readonly mark: Mark; readonly words: string }> = {
  succeeded: { mark: '+', words: 'done' },
  failed: { mark: 'x', words: 'failed' },
  unknown: { mark: '~', words: 'outcome unknown' },
  deferred: { mark: '~', words: 'not finished' },
  did_not_happen: { mark: 'x', words: 'did not happen' },
  null: { mark: '~', words: 'no outcome yet' },
}

/** Every privileged call: the prompt promised each of them. */
export function callLines(sheet: Sheet): string[] {
  const { privileged } = sheet.body
  if (privileged.length === 0) return []
  const label = { text: 'Privileged calls', style: 'bold' } as const
  const text = [plain(`${privileged.length}, each of them`)]
  return [
    '',
    ...labelled(label, text, LABEL_COLUMN, sheet.page),
    ...privileged.flatMap((call) => callLine(call, sheet)),
  ]
}

function callLine(call: CallPart, sheet: Sheet): string[] {
  const { body, page } = sheet
  const { mark, words } = OUTCOMES[String(call.outcome)]!
  const on = describeResources([...call.resources, ...call.within], page)
  const details = [
    on === '' ? 'no resources' : on,
    call.note === null ? words : `${words}: ${safe(page)(call.note)}`,
    call.ask === null ? null : `asked, allowed by ${safe(page)(call.ask.by ?? 'nobody')}`,
    call.run === body.run ? null : `by ${nameOf(body, call.run, page)}`,
    call.resolvedBy === null ? null : `as ${printActor(call.resolvedBy, page)} says`,
  ].filter((each) => each !== null)
  return timed(
    call.at,
    mark,
    [plain(`${call.actions.map(safe(page)).join(', ')}  ${details.join('; ')}`)],
    sheet,
  )
}

function timed(at: number, mark: Mark, text: readonly Span[], { page }: Sheet): string[] {
  const rest = page.wide ? WORDS_COLUMN + 2 : 4
  return block([plain(`${timeOf(at)} `), ...marked(mark), ...text], { first: 2, rest }, page)
}

const ANSWERS = {
  allowed: { mark: '+', words: 'allowed by' },
  refused: { mark: 'x', words: 'refused by' },
  unanswered: { mark: '?', words: 'nobody answered' },
} as const

/** Each request for more, with what had been tried and the agent's words. */
export function escalationLines(sheet: Sheet): string[] {
  const { escalations } = sheet.body
  if (escalations.length === 0) return []
  const label = { text: 'Asked for more', style: 'bold' } as const
  const text = [plain(counted(escalations.length, 'time'))]
  return [
    '',
    ...labelled(label, text, LABEL_COLUMN, sheet.page),
    ...fewOf(sheet, escalations, (part) => escalationLine(part, sheet)),
  ]
}

function escalationLine(part: EscalationPart, sheet: Sheet): string[] {
  const { page } = sheet
  const { mark, words } = ANSWERS[part.answer]
  const by = part.answer === 'unanswered' ? words : `${words} ${printActor(part.by, page)}`
  const reason = part.reason === null ? '' : `: ${quoted(part.reason, page)}`
  const inner = { first: page.wide ? WORDS_COLUMN + 2 : 4, rest: page.wide ? WORDS_COLUMN + 4 : 6 }
  const under = (text: string) => block([plain(text)], inner, page)
  const tried = part.tried.flatMap((each) => {
    const on = describeResources(each.resources, page)
    const what = `${each.actions.map(safe(page)).join(', ')}${on === '' ? '' : ` on ${on}`}`
    return under(`tried ${what}: ${each.reason}, entry ${each.seq}`)
  })
  return [
    ...timed(part.at, mark, [plain(`${by}${reason}`)], sheet),
    ...tried,
    ...under(offerWords(part, sheet)),
    ...under("the agent's words, unchecked:"),
    ...agentLines(part.words, sheet),
  ]
}

function offerWords({ dossier, granted }: EscalationPart, { page }: Sheet): string {
  const { offer, more, left, wantedMore, before } = dossier
  const grants = offer.map((grant) => {
    const values = Object.values(grant.resources).flat()
    return [...grant.actions, ...values].map(safe(page)).join(' ')
  })
  if (more.calls > 0) grants.push(counted(more.calls, 'more call'))
  if (more.seconds > 0) grants.push(`${clockOf(more.seconds * 1000)} more time`)
  const calls = left.calls === null ? 'no limit of calls' : counted(left.calls, 'call')
  const wide = wantedMore ? '; the agent wanted more than it was denied' : ''
  const again = before === 0 ? '' : `; asked ${before} before`
  const given = granted.length === 0 ? '' : `; ${granted.length} of it granted`
  return `smallest grant: ${grants.join('; ')}${given}; ${calls} were left${wide}${again}`
}

/** An agent that talks on would push the rest off the screen. */
const WORD_LINES_MAX = 8

/** Every line starts with `| `, whatever it contains. */
function agentLines(words: string, { page }: Sheet): string[] {
  const indent = page.wide ? WORDS_COLUMN + 2 : 4
  const room = page.columns - indent - 2
  const lines = words.split('\n')
  const more = lines.length - WORD_LINES_MAX
  const shown = lines.slice(0, WORD_LINES_MAX)
  if (more > 0) shown.push(`... ${counted(more, 'more line')}`)
  return shown.flatMap((line) =>
    page.tools
      .wrapSpans([plain(safe(page)(line))], { first: room, rest: room })
      .map((spans) => `${' '.repeat(indent)}| ${spans.map(({ text }) => text).join('')}`.trimEnd()),
  )
}
