import {
  block,
  type LayoutOptions,
  labelled,
  marked,
  type Page,
  pageOf,
  plain,
  row,
  type Span,
  spread,
} from './layout.ts'
import type {
  ActionPart,
  ApprovalPart,
  DeniedPart,
  EndPart,
  ReceiptBody,
  TriedPart,
} from './receipt-body.ts'
import { budgetLines, callLines, escalationLines } from './render-calls.ts'
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
  shortHash,
} from './render-parts.ts'
import { clockOf, counted, dayOf, timeOf } from './words.ts'

export interface RenderOptions extends LayoutOptions {
  /** Lists are not cut. */
  readonly all: boolean
  /** Where the receipt was saved, if it was. */
  readonly saved: string | null
}

/**
 * The receipt as text: at most 80 columns. Every privileged call is in it, however many there are,
 * because that is what the prompt promised; other lists are cut at eight unless `all`.
 */
export function renderReceipt(body: ReceiptBody, options: RenderOptions): string {
  const sheet: Sheet = { body, page: pageOf(options), all: options.all }
  return [
    ...headLines(sheet),
    '',
    ...toolLines(sheet),
    ...item(sheet, '2 Resources touched', resourceSpans(sheet)),
    ...item(sheet, '3 Files changed', fileSpans(sheet)),
    ...item(sheet, '4 External systems', listSpans(sheet, body.hosts)),
    ...approvalLines(sheet),
    ...deniedLines(sheet),
    ...item(sheet, '7 Ended because', [plain(endWords(sheet))]),
    ...suspensionLines(sheet),
    ...item(sheet, '8 Revoked', [plain(revokedWords(body))]),
    ...budgetLines(sheet),
    ...callLines(sheet),
    ...escalationLines(sheet),
    ...footLines(sheet, options.saved),
  ].join('\n')
}

function headLines({ body, page }: Sheet): string[] {
  const { identity, ended } = body
  const start = body.runs[0]?.approvedAt ?? body.openedAt
  const from = `${dayOf(start)} ${timeOf(start)}`
  const span =
    ended === null
      ? `${from}, not ended`
      : `${from} - ${timeOf(ended.endedAt)}, ended by ${ended.reason}`
  const print = page.tools.printable
  const user = identity.user ?? identity.requester
  const asked = user === identity.requester ? '' : `, asked by ${print(identity.requester)}`
  const by =
    identity.approver === null
      ? 'never allowed'
      : `allowed by ${printActor(identity.approver, page)}`
  const byline = `${print(identity.agent)} for ${print(user)}${asked}, ${by}`
  return [
    ...spread([plain(`Receipt  ${print(body.run)}`)], span, page),
    ...block([{ text: print(identity.purpose), style: 'bold' }], { first: 0, rest: 0 }, page),
    ...block([plain(byline)], { first: 0, rest: 2 }, page),
  ]
}

/** One of the eight numbered items. */
function item({ page }: Sheet, label: string, text: readonly Span[]): string[] {
  return labelled({ text: label, style: 'bold' }, text, LABEL_COLUMN, page)
}

function toolLines(sheet: Sheet): string[] {
  const { body, page } = sheet
  const { calls, privileged, unknown } = body.counts
  const total: Span[] = [
    { text: String(calls), style: 'bold' },
    plain(` ${calls === 1 ? 'call' : 'calls'}, ${privileged} privileged, ${unknown} unknown`),
  ]
  const lost = fewOf(sheet, body.unknown, (call) => {
    const what = [...call.actions, ...call.within.flatMap(({ values }) => values)].map(safe(page))
    const note = call.note === null ? '' : `: ${safe(page)(call.note)}`
    return row(
      {
        left: [...marked('~'), plain(what.join(' '))],
        right: [plain(`outcome unknown${note}, ${timeOf(call.at)}`)],
      },
      { left: LIST_COLUMN, right: ACTION_NOTE_COLUMN },
      page,
    )
  })
  const actions = fewOf(sheet, body.actions, (action) => actionLine(sheet, action))
  const tools = body.tools.map(({ tool, calls: times }) => `${safe(page)(tool)} ${times}`)
  const by =
    tools.length === 0
      ? []
      : row(
          { left: [], right: listSpans(sheet, tools, 'with ') },
          { left: 0, right: LIST_COLUMN },
          page,
        )
  return [...item(sheet, '1 Tools called', total), ...lost, ...actions, ...by]
}

const ACTION_NOTE_COLUMN = 48

function actionLine({ body, page }: Sheet, part: ActionPart): string[] {
  const name = `${part.calls} ${safe(page)(part.action)}`
  const clauses: Span[][] = []
  const isShared = part.byRun.some(({ run }) => run !== body.run)
  if (isShared) {
    const shares = part.byRun.map(({ run, calls }) => `${nameOf(body, run, page)} ${calls}`)
    clauses.push([plain(shares.join(', '))])
  }
  if (part.irreversible) {
    const asked = part.asked > 0 ? askedWords(body, part) : "can't be undone"
    clauses.push([...marked('!'), plain(asked)])
  } else if (part.asked > 0) clauses.push([...marked('?'), plain(askedWords(body, part))])
  const notes = part.notes.slice(0, NOTES_MAX).map(safe(page))
  if (part.hosts.length > 0) {
    clauses.push([...marked('>'), plain([...part.hosts.map(safe(page)), ...notes].join(', '))])
  } else if (notes.length > 0) clauses.push([plain(notes.join(', '))])
  const digits = Math.max(...body.actions.map(({ calls }) => String(calls).length), 2)
  const left = LIST_COLUMN + digits - String(part.calls).length
  const at = { left, right: ACTION_NOTE_COLUMN }
  const [first = [], ...more] = clauses
  return [
    ...row({ left: [plain(name)], right: first }, at, page),
    ...more.flatMap((clause) => row({ left: [], right: clause }, at, page)),
  ]
}

/** Notes are for eyes; the rest is in the list of calls. */
const NOTES_MAX = 3

function askedWords(body: ReceiptBody, part: ActionPart): string {
  const asks = body.approvals.filter(
    ({ of, used, actions }) => of === 'call' && used && actions.includes(part.action),
  )
  const isSigned = asks.length > 0 && asks.every(({ passkey }) => passkey)
  return `asked, allowed${isSigned ? ' with passkey' : ''}`
}

function resourceSpans({ body, page, all }: Sheet): Span[] {
  return [plain(describeResources(body.resources, page, all ? null : undefined) || 'none')]
}

function fileSpans(sheet: Sheet): Span[] {
  const names = sheet.body.files.map(({ path, uncertain }) => {
    const name = safe(sheet.page)(path)
    return uncertain ? `${name} (~ unknown)` : name
  })
  return listSpans(sheet, names)
}

/** A list in running text, cut at eight. */
function listSpans({ body, all }: Sheet, names: readonly string[], lead = ''): Span[] {
  if (names.length === 0) return [plain('none')]
  const shown = all ? names : names.slice(0, 8)
  const more = names.length - shown.length
  const rest = more === 0 ? '' : `, and ${more} more: daypass receipt ${body.run} --all`
  return [plain(lead + shown.join(', ') + rest)]
}

function approvalLines(sheet: Sheet): string[] {
  const { approvals } = sheet.body
  const tally = (answer: ApprovalPart['answer'], word: string) => {
    const count = approvals.filter((part) => part.answer === answer).length
    return count === 0 ? [] : [`${count} ${word}`]
  }
  const words = [
    ...tally('allowed', 'allowed'),
    ...tally('refused', 'refused'),
    ...tally('unanswered', 'without an answer'),
    ...tally('not_needed', 'not needed'),
  ]
  const text = words.length === 0 ? 'none' : words.join(', ')
  return [
    ...item(sheet, '5 Approvals', [plain(text)]),
    ...fewOf(sheet, approvals, (part) => approvalLine(sheet, part)),
  ]
}

const ANSWER_MARKS = { allowed: '+', refused: 'x', unanswered: '?', not_needed: '+' } as const
const APPROVAL_TEXT_COLUMN = 44

function approvalLine({ page }: Sheet, part: ApprovalPart): string[] {
  const left = [...marked(ANSWER_MARKS[part.answer]), plain(approvalName(part, page))]
  const right = [plain(approvalWords(part, page))]
  const at = { left: LIST_COLUMN, right: APPROVAL_TEXT_COLUMN }
  const lines = row({ left, right }, at, page)
  if (part.promptHash === null) return lines
  const prompt = [plain(`prompt ${shortHash(part.promptHash)}`)]
  return [...lines, ...row({ left: [], right: prompt }, at, page)]
}

function approvalName({ of, agent, actions, resources }: ApprovalPart, page: Page): string {
  if (of === 'lease') return 'lease'
  if (of === 'subagent') return safe(page)(agent)
  const phrases = actions.map((action) => safe(page)(page.tools.phraseOf(action)))
  if (of === 'call') return phrases.join(', ')
  const first = resources[0]?.values.map(safe(page)) ?? []
  return [phrases.join(', ') || 'more time or calls', ...first].join(' ')
}

function approvalWords(part: ApprovalPart, page: Page): string {
  if (part.answer === 'not_needed') return "its parent's lease lets it delegate"
  if (part.answer === 'unanswered') return 'nobody answered'
  const by = printActor(part.by, page)
  if (part.answer === 'refused') return `${by}: ${quoted(part.reason ?? '', page)}`
  const how = [
    part.passkey ? 'passkey' : null,
    part.of === 'call' && !part.used ? 'not used' : null,
  ].filter((word) => word !== null)
  return [by, ...how].join(', ')
}

const REASON_COLUMN = 59

function deniedLines(sheet: Sheet): string[] {
  const { body } = sheet
  const total = counted(body.counts.denied, 'call')
  return [
    ...item(sheet, '6 Denied', [
      { text: body.counts.denied === 0 ? 'none' : total, style: 'bold' },
    ]),
    ...fewOf(sheet, body.denied, (part) => deniedLine(sheet, part)),
  ]
}

function deniedLine({ body, page }: Sheet, part: DeniedPart): string[] {
  const actions = part.actions.length === 0 ? [part.tool] : part.actions
  const values = part.resources.flatMap((resource) => resource.values)
  const what = [...actions, ...values].map(safe(page)).join(' ')
  const times = part.times === 1 ? '' : `, ${part.times} times`
  const who = part.run === body.run ? '' : `, by ${nameOf(body, part.run, page)}`
  return row(
    {
      left: [...marked('x'), plain(`${what}${times}${who}`)],
      right: [{ text: part.reason, style: 'red' }],
    },
    { left: LIST_COLUMN, right: REASON_COLUMN },
    page,
  )
}

/** Pauses stand with the end: both are about when the run could not act. */
function suspensionLines(sheet: Sheet): string[] {
  const { body, page } = sheet
  return body.suspensions.flatMap(({ run, at, why, by, resumedAt, resumedBy }) => {
    const who = by === null ? 'the engine' : printActor(by, page)
    const resumed = resumedAt === null ? 'not resumed' : `resumed ${timeOf(resumedAt)} by`
    const back = resumedBy === null ? resumed : `${resumed} ${printActor(resumedBy, page)}`
    const whose = run === body.run ? '' : ` (${nameOf(body, run, page)})`
    const text = `suspended ${timeOf(at)} by ${who}${whose}: ${safe(page)(why)}; ${back}`
    return block([plain(text)], { first: LABEL_COLUMN, rest: LABEL_COLUMN + 2 }, page)
  })
}

function endWords({ body, page }: Sheet): string {
  const { ended } = body
  if (ended === null) return 'it has not ended'
  const early = ended.expiresAt === null ? 0 : ended.expiresAt - ended.endedAt
  const before = early > 0 ? `, ${clockOf(early)} before its expiry` : ''
  return `${causeWords(ended, page)}${before}`
}

function causeWords({ reason, note, by, event, endedAt }: EndPart, page: Page): string {
  const said = note === null || note === '' ? '' : `: ${quoted(note, page)}`
  switch (reason) {
    case 'event': {
      const done = event?.actions.map((action) => safe(page)(page.tools.doneOf(action))) ?? []
      const what = done.length === 0 ? 'what it waited for has happened' : done.join(', ')
      return note === null ? what : `${what} (${safe(page)(note)})`
    }
    case 'completed':
      return `the run was closed${said}`
    case 'expired':
      return `its time ran out at ${timeOf(endedAt)}`
    case 'revoked':
      return `${printActor(by, page)} revoked it${said}`
    case 'exhausted':
      return `its budget was spent${said}`
    case 'refused':
      return by === null || note === null
        ? `it was refused${said}`
        : `${printActor(by, page)} refused it${said}`
    case 'parent_ended':
      return "its parent's lease ended"
  }
}

function revokedWords({ revoked, ended }: ReceiptBody): string {
  if (ended === null) return 'nothing yet'
  return [
    revoked.calls === null ? 'calls without limit' : counted(revoked.calls, 'call'),
    revoked.seconds < 120
      ? counted(revoked.seconds, 'second')
      : counted(Math.floor(revoked.seconds / 60), 'minute'),
    counted(revoked.permissions, 'permission'),
    counted(revoked.badges, 'badge'),
  ].join(', ')
}

const TRIED = {
  unanswered: 'asked, nobody answered',
  refused: 'asked, refused',
  allowed: 'asked, allowed, not done',
  denied: 'denied',
} as const

/** Permissions of the root that were not used: never tried, and tried without success. */
function unusedLines(sheet: Sheet): string[] {
  const { body, page } = sheet
  const own = body.unused.filter(({ run }) => run === body.run)
  const names = (tried: TriedPart) => [
    ...new Set(own.filter((part) => part.tried === tried).map(({ action }) => safe(page)(action))),
  ]
  const never = names(null)
  const vain = (Object.keys(TRIED) as (keyof typeof TRIED)[]).flatMap((tried) =>
    names(tried).map((name) => `${name} (${TRIED[tried]})`),
  )
  const advice = plain('. Next time: leave it out')
  const line = (label: string, spans: readonly Span[]) =>
    labelled(plain(label), spans, LABEL_COLUMN, page)
  return [
    ...(never.length === 0 ? [] : line('Never used', [...listSpans(sheet, never), advice])),
    ...(vain.length === 0 ? [] : line('Tried, never done', listSpans(sheet, vain))),
  ]
}

function footLines(sheet: Sheet, saved: string | null): string[] {
  const { page } = sheet
  const lines = unusedLines(sheet)
  // The same words as the prompt: what this receipt cannot know.
  const outside = "the agent's own shell and network"
  lines.push(...labelled(plain('Not watched'), [plain(outside)], LABEL_COLUMN, page))
  if (saved !== null) {
    const file = saved.split('/').at(-1)!
    lines.push(...labelled(plain('Saved'), [plain(saved)], LABEL_COLUMN, page))
    lines.push(
      ...labelled(plain('Check it'), [plain(`daypass verify ${file}`)], LABEL_COLUMN, page),
    )
  }
  return ['', ...lines]
}
