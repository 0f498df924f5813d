import fc from 'fast-check'
import type { Command, Outcome } from '../../src/core/command.ts'
import type { AskId, CallId, EscalationId, RunId } from '../../src/core/id.ts'
import type { Terms } from '../../src/core/lease.ts'
import type { Run } from '../../src/core/tree.ts'
import {
  APPROVER,
  ASKER,
  active,
  type Book,
  ENVELOPE,
  factsOf,
  HASH,
  ROOT,
  RULE,
  SECOND,
  SERVER,
  T0,
  TERMS,
  touchOf,
} from './support.ts'

/**
 * Random lives of run trees. A move names what to do and picks whom by number; which run, call or
 * ask that is, the tree of the moment says. So every sequence stays meaningful when fast-check
 * shrinks it.
 */
export interface Move {
  readonly do: Command['do'] | 'again'
  readonly a: number
  readonly b: number
  readonly c: number
  readonly seconds: number
}

/** `constructor` and `__proto__` are actions like any other (threat 10). */
const ACTIONS = [
  'doc.read',
  'doc.read',
  'doc.write',
  'doc.erase',
  'pr.open',
  'pay.send',
  'pay.send',
  'mail.send',
  'constructor',
  '__proto__',
  'secret.read',
  'doc.rename',
]
const REPOS = ['clord', 'clord', 'clord', 'clord', 'other']
const PRICES = ['0.50', '1.00', '2.5', null]
const OUTCOMES: readonly Outcome[] = [
  'succeeded',
  'succeeded',
  'succeeded',
  'failed',
  'failed',
  'deferred',
  'deferred',
  'unknown',
  'unknown',
]

const WEIGHTS: readonly (readonly [Move['do'], number])[] = [
  ['authorize', 26],
  ['again', 12],
  ['settle', 22],
  ['resolve', 4],
  ['approve_call', 8],
  ['refuse_call', 2],
  ['delegate', 8],
  ['approve', 3],
  ['refuse', 1],
  ['escalate', 5],
  ['amend', 5],
  ['refuse_escalation', 1],
  ['suspend', 1],
  ['resume', 12],
  ['revoke', 1],
  ['expire', 4],
  ['end', 1],
  ['fold', 2],
  ['close', 2],
]

const number = fc.nat({ max: 1000 })

export const arbitraryMove: fc.Arbitrary<Move> = fc.record({
  do: fc.oneof(
    ...WEIGHTS.map(([name, weight]) => ({ weight, arbitrary: fc.constant<Move['do']>(name) })),
  ),
  a: number,
  b: number,
  c: number,
  // The clock of a caller may go back; the time of a tree does not (threat 58).
  seconds: fc.oneof(
    { weight: 16, arbitrary: fc.constant(0) },
    { weight: 5, arbitrary: fc.integer({ min: 1, max: 9 }) },
    { weight: 1, arbitrary: fc.integer({ min: 30, max: 400 }) },
    { weight: 1, arbitrary: fc.integer({ min: -50, max: -1 }) },
  ),
})

export const arbitraryTerms: fc.Arbitrary<Partial<Terms>> = fc.record({
  grants: fc.constantFrom(
    [
      { ...TERMS.grants[0]!, actions: [...TERMS.grants[0]!.actions, 'constructor', '__proto__'] },
      { actions: ['tools.**'], resources: {}, where: {} },
    ],
    [
      { actions: ['doc.*', 'constructor'], resources: { repos: ['cl*'] }, where: {} },
      { actions: ['pay.send', 'mail.send', '__proto__'], resources: { repos: ['**'] }, where: {} },
      { actions: ['pr.open'], resources: { repos: ['clord'] }, where: { draft: { exact: true } } },
      { actions: ['tools.doc.read', 'tools.pr.open'], resources: {}, where: {} },
    ],
  ),
  ask: fc.constantFrom<readonly string[]>([], ['pay.*']),
  onExceed: fc.constantFrom('deny', 'deny', 'deny', 'ask', 'ask', 'suspend'),
  expiresInSeconds: fc.constantFrom(300, 900, 3600),
  notAfter: fc.constantFrom(null, null, null, T0 + 600 * SECOND),
  until: fc.constantFrom<readonly string[]>(['pr.open'], ['pr.open'], []),
  maxToolCalls: fc.constantFrom(null, 6, 15, 30),
  limits: fc.constantFrom<Record<string, number>>(
    {},
    { 'doc.erase': 1, 'pr.open': 2, constructor: 2 },
    JSON.parse('{"pr.open":3,"pay.send":2,"__proto__":1,"doc.rename":2}'),
  ),
  workSeconds: fc.constantFrom(null, null, 120, 600),
  usd: fc.constantFrom(null, '3.00', '10.00'),
  delegate: fc.constantFrom(
    null,
    { maxDepth: 3, maxChildren: 3, ask: false },
    { maxDepth: 3, maxChildren: 2, ask: false },
    { maxDepth: 3, maxChildren: 3, ask: true },
  ),
})

export interface Life {
  readonly terms: Partial<Terms>
  readonly moves: readonly Move[]
}

export const MOVES_MIN = 50

export const arbitraryLife: fc.Arbitrary<Life> = fc.noBias(
  fc.record({
    terms: arbitraryTerms,
    moves: fc.array(arbitraryMove, { minLength: MOVES_MIN, maxLength: 90, size: 'max' }),
  }),
)

export type Watch = (book: Book, command: Command) => void

/** Lives a life; `before` and `after` see the tree around every command. */
export function live(life: Life, watch: { before?: Watch; after?: Watch } = {}): Book {
  const book = active(life.terms)
  for (const move of life.moves) {
    const latest = book.now
    book.now += move.seconds * 1000
    const command = commandOf(book, move)
    watch.before?.(book, command)
    book.do(command)
    watch.after?.(book, command)
    book.now = Math.max(book.now, latest)
  }
  return book
}

function pick<T>(all: readonly T[], index: number): T | undefined {
  return all[index % Math.max(1, all.length)]
}

/**
 * Mostly one that fits, so that sequences get somewhere; now and then any, so that refusals occur.
 */
function prefer<T>(all: readonly T[], fits: (one: T) => boolean, index: number): T | undefined {
  const fitting = all.filter(fits)
  return index % 8 === 7 || fitting.length === 0 ? pick(all, index) : pick(fitting, index)
}

/** The command that a move means now. */
export function commandOf(book: Book, move: Move): Command {
  const runs = [...book.tree.runs.values()]
  const living = (run: Run) => run.lease?.state === 'active'
  const run = prefer(runs, living, move.a)!
  switch (move.do) {
    case 'authorize':
    case 'again':
      return authorizeOf(book, move, run)
    case 'delegate':
      // The youngest as often as any, so that trees get deep.
      return delegateOf(book, move, move.c % 2 === 0 ? run : (runs.findLast(living) ?? run))
    case 'settle':
    case 'resolve':
    case 'approve_call':
    case 'refuse_call':
      return answerOf(book, { ...move, do: move.do })
    case 'approve':
    case 'refuse': {
      const waiting = prefer(runs, (each) => each.lease?.state === 'requested', move.a)!
      if (move.do === 'refuse') return { do: 'refuse', run: waiting.id, by: APPROVER, reason: 'no' }
      return { do: 'approve', run: waiting.id, by: APPROVER, promptHash: HASH, proof: null }
    }
    case 'escalate':
    case 'amend':
    case 'refuse_escalation':
      return escalationOf(book, { ...move, do: move.do }, run)
    default:
      return endOf(book, move, run)
  }
}

function authorizeOf(book: Book, move: Move, run: Run): Command {
  const action = pick(ACTIONS, move.b)!
  const known = [...run.keys]
  const again = move.do === 'again' ? pick(known, move.b) : undefined
  const ask = move.do === 'again' && move.c % 3 === 0 ? pickAsk(book, move.b) : undefined
  if (ask !== undefined) {
    const command = book.authorize('doc.read', { run: ask.run })
    return { ...command, facts: ask.facts }
  }
  if (again !== undefined) {
    // The same call again: the client repeats itself, sometimes with other arguments.
    const call = book.tree.calls.get(again[1])!
    const first = book
      .of('call.allowed')
      .find(({ command }) => command.call === call.id && command.run === run.id)!
    const facts = move.c % 9 === 8 ? { argsDigest: 'other' } : {}
    const command = book.authorize('doc.read', { run: run.id, key: again[0] })
    return { ...command, facts: { ...first.command.facts, ...facts } }
  }
  const repo = pick(REPOS, move.c)!
  const isUnmapped = move.c % 25 === 12
  const second = move.c % 11 === 10 ? [touchOf('doc.read', repo)] : []
  const facts = factsOf(action, {
    touches: isUnmapped
      ? [{ ...touchOf(`tools.${action}`), resources: {} }]
      : [touchOf(action, repo), ...second],
    argsDigest: `digest ${move.c % 3}`,
    args: { draft: move.c % 7 !== 6 },
    usd: action === 'pay.send' ? pick(PRICES, move.c)! : null,
    idempotent: action === 'doc.read' || action === 'pr.open',
    fault: move.c % 50 === 49 ? 'a path that cannot be read' : null,
    status: isUnmapped || move.c % 50 === 48 ? 'unmapped' : 'mapped',
  })
  return book.authorize(action, { run: run.id, facts })
}

function pickAsk(book: Book, index: number) {
  return prefer([...book.tree.asks.values()], (ask) => ask.state !== 'used', index)
}

function answerOf(
  book: Book,
  move: Move & { do: 'settle' | 'resolve' | 'approve_call' | 'refuse_call' },
): Command {
  const calls = [...book.tree.calls.values()]
  if (move.do === 'settle') {
    const isOpen = (each: { state: string }) => each.state === 'in_flight'
    const isWaiting = (each: { state: string }) => each.state !== 'succeeded'
    const call = prefer(calls, move.c % 6 === 0 ? isWaiting : isOpen, move.a)
    const usd = pick([null, null, null, '0', '0.25', '9.99'], move.c)!
    const outcome = pick(OUTCOMES, move.b)!
    const id: CallId = call?.id ?? 'call_none'
    const cost = call !== undefined && call.usd !== '0' ? usd : null
    return { do: 'settle', call: id, outcome, resultDigest: null, usd: cost, note: null }
  }
  if (move.do === 'resolve') {
    const call = prefer(calls, (each) => each.state === 'frozen', move.a)
    const happened = move.b % 2 === 0
    return { do: 'resolve', call: call?.id ?? 'call_none', by: APPROVER, happened }
  }
  const ask = prefer([...book.tree.asks.values()], (each) => each.state === 'pending', move.a)
  const id: AskId = ask?.id ?? 'ask_none'
  const by = move.b % 9 === 8 ? ASKER : APPROVER
  if (move.do === 'refuse_call') return { do: 'refuse_call', ask: id, by, reason: 'no' }
  return { do: 'approve_call', ask: id, by, binding: ask?.binding ?? '', proof: null }
}

function delegateOf(book: Book, move: Move, run: Run): Command {
  const parent = run.lease?.terms ?? TERMS
  const id: RunId = `run_${book.draw()}`
  const isWider = move.c % 12 === 11
  const below = parent.delegate?.maxDepth ?? 0
  const limits = Object.entries(parent.limits).map(([action, limit]) => [
    action,
    Math.max(0, Math.min(limit, limit - (move.c % 2))),
  ])
  const terms: Terms = {
    ...parent,
    grants: move.b % 3 === 2 ? parent.grants.slice(0, 1) : parent.grants,
    expiresInSeconds: Math.max(1, parent.expiresInSeconds - (isWider ? -60 : 30)),
    maxToolCalls: parent.maxToolCalls === null ? null : 1 + (move.b % 5),
    limits: Object.fromEntries(limits),
    usd: parent.usd === null ? null : pick(['0.75', '1.25', '2.50'], move.b)!,
    delegate: below > 1 ? { ...parent.delegate!, maxDepth: below - 1 } : null,
  }
  const asked = { promptHash: HASH, envelope: ENVELOPE, rule: RULE }
  return { do: 'delegate', parent: run.id, run: id, lease: `lease_${id}`, terms, ...asked }
}

function escalationOf(
  book: Book,
  move: Move & { do: 'escalate' | 'amend' | 'refuse_escalation' },
  run: Run,
): Command {
  if (move.do === 'escalate') {
    const wants = [{ actions: ['**'], resources: { repos: ['other'] }, where: {} }]
    const literal = [...book.tree.denials.values()]
      .filter((denial) => denial.run === run.id)
      .map(({ facts }) => facts.touches[0]!)
      .map(({ action, resources }) => ({ actions: [action], resources, where: {} }))
    const counts = { calls: move.b % 3, seconds: (move.c % 3) * 60 }
    const all = move.c % 4 === 0 ? wants : [...literal, ...wants]
    return book.escalation(all, { run: run.id, ...counts })
  }
  const all = [...book.tree.escalations.values()]
  const one = prefer(all, (each) => each.state === 'pending', move.a)
  const escalation: EscalationId = one?.id ?? 'esc_none'
  if (move.do === 'refuse_escalation') {
    return { do: 'refuse_escalation', escalation, by: APPROVER, reason: 'no' }
  }
  if (one !== undefined) return book.amendment(one.id)
  return {
    do: 'amend',
    escalation,
    by: APPROVER,
    offer: [],
    more: { calls: 0, seconds: 0 },
    proof: null,
  }
}

function endOf(book: Book, move: Move, run: Run): Command {
  const runs = [...book.tree.runs.values()]
  // The root ends rarely: with it ends the sequence.
  const below = move.b % 6 === 0 ? run : (pick(runs.slice(1), move.a) ?? run)
  const isSpared = below.id === ROOT && move.c % 8 !== 0
  switch (move.do) {
    case 'suspend':
      return { do: 'suspend', run: run.id, by: APPROVER, reason: 'wait' }
    case 'resume': {
      const asleep = prefer(runs, (each) => each.lease?.state === 'suspended', move.a)!
      return { do: 'resume', run: asleep.id, by: APPROVER }
    }
    case 'revoke':
      if (isSpared) return { do: 'suspend', run: ROOT, by: APPROVER, reason: 'wait' }
      return { do: 'revoke', run: below.id, by: APPROVER, reason: 'stop' }
    case 'end':
      if (isSpared) return { do: 'expire', run: ROOT }
      return { do: 'end', run: below.id, by: SERVER, note: 'done' }
    case 'fold': {
      const denial = pick([...book.tree.denials.values()], move.a)
      return { do: 'fold', denial: denial?.seq ?? 0, times: 1 + (move.b % 5) }
    }
    case 'close':
      return { do: 'close' }
    default:
      return {
        do: 'expire',
        run: prefer(runs, (each) => each.lease?.state !== 'ended', move.a)!.id,
      }
  }
}
