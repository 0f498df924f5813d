import type { Command } from '../../src/core/command.ts'
import type { RunId } from '../../src/core/id.ts'
import type { Terms } from '../../src/core/lease.ts'
import type { REFUSALS } from '../../src/core/reason.ts'
import {
  APPROVE,
  APPROVER,
  ASKER,
  active,
  Book,
  HASH,
  OPEN,
  ROOT,
  RULE,
  requested,
  SERVER,
  TERMS,
  touchOf,
} from './support.ts'

const CHILD: RunId = 'run_child'
const DELEGATE = { maxDepth: 2, maxChildren: 1, ask: false }
const OTHER = { touches: [touchOf('doc.read', 'other')] }
const WANTS = [{ actions: ['doc.read'], resources: { repos: ['other'] }, where: {} }]

const parent = (terms: Partial<Terms> = {}) => active({ delegate: DELEGATE, ...terms })

/** A call that was made, and the book. */
function called(): Book {
  const book = active()
  book.allowed('doc.read', { call: 'call_1' })
  return book
}

const settle = (outcome: 'succeeded' | 'unknown', call: `call_${string}` = 'call_1'): Command => {
  return { do: 'settle', call, outcome, resultDigest: null, usd: null, note: null }
}

const resolve: Command = { do: 'resolve', call: 'call_1', by: APPROVER, happened: true }
const revoke: Command = { do: 'revoke', run: ROOT, by: APPROVER, reason: 'stop' }
const resume: Command = { do: 'resume', run: ROOT, by: APPROVER }

function ended(): Book {
  const book = called()
  book.must(revoke)
  return book
}

function asked() {
  const book = active({ ask: ['doc.read'] })
  const ask = book.asked('doc.read')
  return { book, ask, approval: book.approval(ask) }
}

function escalated(more: { calls?: number; seconds?: number } = {}) {
  const book = active()
  book.denied('doc.read', { facts: OTHER })
  const escalation = book.escalation(WANTS, more)
  book.must(escalation)
  return { book, escalation, amendment: book.amendment(escalation.escalation) }
}

function late<T extends { book: Book }>(made: T, seconds: number): T {
  made.book.pass(seconds)
  return made
}

/** A child that was refused what its parent does not have either. */
function poorChild(parentTerms: Partial<Terms> = {}, childTerms: Partial<Terms> = {}) {
  const book = parent(parentTerms)
  book.must(book.delegation(CHILD, { expiresInSeconds: 100, ...childTerms }))
  book.denied('doc.read', { run: CHILD, facts: OTHER })
  const escalation = book.escalation(WANTS, { run: CHILD, calls: 1 })
  book.must(escalation)
  return { book, amendment: book.amendment(escalation.escalation) }
}

type Case = readonly [book: Book, command: Command]

function exhaustedEscalations(): Case {
  const book = active()
  for (let count = 0; count < 20; count++) book.must(book.escalation([], { calls: 1 }))
  return [book, book.escalation([], { calls: 1 })]
}

function deepest(): Case {
  const book = active({ delegate: { maxDepth: 4, maxChildren: 1, ask: false } })
  let above: RunId = ROOT
  for (let depth = 1; depth <= 4; depth++) {
    const run: RunId = `run_${depth}`
    const delegate = depth < 4 ? { maxDepth: 4 - depth, maxChildren: 1, ask: false } : null
    const expiresInSeconds = 3600 - depth
    book.must(book.delegation(run, { delegate, expiresInSeconds }, above))
    above = run
  }
  // No sound lease gets here; the limit holds for one that does.
  Object.assign(book.lease(above), { terms: { ...book.lease(above).terms, delegate: DELEGATE } })
  return [book, book.delegation('run_5', { expiresInSeconds: 1 }, above)]
}

/** For each code the commands that it refuses. */
export const CASES: Readonly<Record<(typeof REFUSALS)[number], () => readonly Case[]>> = {
  malformed: () => [
    [active(), { ...settle('succeeded'), outcome: 'ok' } as never],
    [active(), { ...settle('succeeded'), usd: '-1' } as never],
    [active(), { ...settle('succeeded'), usd: 'NaN' } as never],
    [active(), { ...active().authorize('doc.read'), deadlineSeconds: Number.NaN }],
    [active(), { ...active().authorize('doc.read'), deadlineSeconds: -1 }],
    [active(), { ...active().authorize('doc.read'), key: '' }],
    [active(), { ...active().authorize('doc.read'), facts: null as never }],
    [active(), active().escalation([], { calls: -1 })],
    [active(), active().escalation([], { seconds: 0.5 })],
    [active(), active().escalation([{ actions: ['a..b'], resources: {}, where: {} }])],
    [active(), { ...active().escalation([]), words: 'x'.repeat(5000) }],
    [active(), { do: 'fold', denial: 1, times: 0 }],
    [active(), { do: 'fold', denial: 1, times: Number.NaN }],
    [parent(), parent().delegation(CHILD, { expiresInSeconds: Number.NaN })],
    [parent(), parent().delegation(CHILD, { expiresInSeconds: 0 })],
    [parent(), parent().delegation(CHILD, { maxToolCalls: -1 })],
    [parent(), parent().delegation(CHILD, { usd: '-0.01' })],
    [parent(), parent().delegation(CHILD, { deny: ['**.**'] })],
    [parent(), parent().delegation(CHILD, {}, ROOT, { rule: { ...RULE, answerSeconds: -1 } })],
    [new Book(), { ...OPEN, run: '' as RunId }],
  ],
  already_open: () => [[active(), OPEN]],
  not_open: () => [[new Book(), APPROVE]],
  run_unknown: () =>
    (['approve', 'refuse', 'suspend', 'resume', 'revoke', 'end', 'expire', 'request'] as const).map(
      (name): Case => {
        const lease = { lease: 'lease_x', terms: TERMS, promptHash: HASH, rule: RULE } as const
        const rest = { by: APPROVER, reason: '', note: '', proof: null, ...lease }
        return [active(), { do: name, run: 'run_nobody', ...rest } as Command]
      },
    ),
  run_exists: () => [
    [parent(), { ...parent().delegation(CHILD, {}), run: ROOT }],
    [active(), { ...requestOf(), run: ROOT }],
  ],
  lease_not_requested: () => [
    [active(), APPROVE],
    [active(), { do: 'refuse', run: ROOT, by: APPROVER, reason: 'no' }],
  ],
  lease_not_active: () => [
    [requested(), { do: 'suspend', run: ROOT, by: APPROVER, reason: 'wait' }],
    [requested(), requested().escalation([], { calls: 1 })],
    [requested({ delegate: DELEGATE }), parent().delegation(CHILD, {})],
    suspendedParent(),
  ],
  lease_not_suspended: () => [[active(), resume]],
  lease_ended: () => [
    [ended(), revoke],
    [ended(), { do: 'end', run: ROOT, by: SERVER, note: 'done' }],
    [ended(), { do: 'expire', run: ROOT }],
    lateAnswer(),
    lateAmendment(),
    lateResumption(),
    revokedBeforeRequest(),
  ],
  prompt_mismatch: () => [[requested(), { ...APPROVE, promptHash: 'b'.repeat(64) }]],
  request_expired: () => [[passed(requested(), 600), APPROVE]],
  not_an_approver: () => [
    [requested(), { ...APPROVE, by: { agent: 'agent' } }],
    [requested(), { ...APPROVE, by: SERVER }],
    [requested({}, { rule: { ...RULE, approvers: ['other@example.com'] } }), APPROVE],
    [requested({ approvers: ['other@example.com'] }), APPROVE],
    [suspended(), { ...resume, by: SERVER } as Command],
    [frozen(), { ...resolve, by: { agent: 'agent' } } as Command],
  ],
  self_approval: () => [
    [requested(), { ...APPROVE, by: ASKER }],
    [asked().book, { ...asked().approval, by: ASKER }],
    [suspended(), { ...resume, by: ASKER } as Command],
  ],
  policy_not_allowed: () => [
    [requested(), { ...APPROVE, by: { policy: 'read-only' } }],
    [requested({}, { rule: { ...RULE, policy: 'other' } }), { ...APPROVE, by: { policy: 'x' } }],
    [
      requested({ approvers: [APPROVER.person] }, { rule: { ...RULE, policy: 'x' } }),
      { ...APPROVE, by: { policy: 'x' } },
    ],
    [asked().book, { ...asked().approval, by: { policy: 'x' } }],
    [escalated().book, { ...escalated().amendment, by: { policy: 'x' } }],
    [
      parent({ delegate: { ...DELEGATE, ask: true } }),
      parent().delegation(CHILD, { expiresInSeconds: 9 }, ROOT, { rule: { ...RULE, policy: 'x' } }),
    ],
  ],
  call_unknown: () => [
    [active(), settle('succeeded')],
    [active(), resolve],
  ],
  id_taken: () => [
    [called(), called().authorize('doc.write', { call: 'call_1' })],
    sameAsk(),
    [escalated().book, escalated().escalation],
    [parent(), parent().delegation(CHILD, { expiresInSeconds: 9 }, ROOT, { lease: 'lease_root' })],
  ],
  call_not_in_flight: () => [
    [settled('succeeded'), settle('succeeded')],
    [settled('unknown'), settle('unknown')],
  ],
  call_not_unknown: () => [
    [called(), resolve],
    [settled('succeeded'), resolve],
  ],
  denial_unknown: () => [[called(), { do: 'fold', denial: 4, times: 1 }]],
  ask_unknown: () => [[active(), { ...asked().approval, ask: 'ask_none' }]],
  ask_not_pending: () => [answeredAsk()],
  ask_expired: () => {
    const { book, approval } = late(asked(), 600)
    return [[book, approval]]
  },
  binding_mismatch: () => [
    [asked().book, { ...asked().approval, binding: 'another call' }],
    [
      escalated().book,
      { ...escalated().amendment, offer: [{ actions: ['**'], resources: {}, where: {} }] },
    ],
    [escalated().book, { ...escalated().amendment, more: { calls: 1, seconds: 0 } }],
    amendedMeanwhile(),
  ],
  cannot_delegate: () => [[active(), active().delegation(CHILD, { maxToolCalls: 1 })]],
  depth_exceeded: () => [deepest()],
  too_many_children: () => {
    const book = parent()
    book.must(book.delegation(CHILD, { expiresInSeconds: 9 }))
    return [[book, book.delegation('run_second', { expiresInSeconds: 9 })]]
  },
  not_narrower: () => [
    [parent(), parent().delegation(CHILD, {})],
    [parent(), parent().delegation(CHILD, { deny: [] })],
  ],
  budget_exceeds_parent: () => {
    const book = parent({ maxToolCalls: 5, usd: '5.00', limits: { 'doc.read': 2 } })
    book.allowed('doc.read', { facts: { usd: '1.00' } })
    const few = { maxToolCalls: 1, usd: '0.50', limits: { 'doc.read': 1 } }
    const { book: poor, amendment } = poorChild({ grants: WIDE, maxToolCalls: 2 }, NARROW)
    return [
      [book, book.delegation(CHILD, { ...few, maxToolCalls: 5 })],
      [book, book.delegation(CHILD, { ...few, usd: '4.01' })],
      [book, book.delegation(CHILD, { ...few, limits: { 'doc.read': 2 } })],
      [poor, { ...amendment }],
    ]
  },
  nothing_denied: () => [[active(), active().escalation(WANTS)]],
  escalation_unknown: () => [
    [active(), { ...escalated().amendment, escalation: 'esc_none' }],
    [active(), { do: 'refuse_escalation', escalation: 'esc_none', by: APPROVER, reason: 'no' }],
  ],
  escalation_not_pending: () => {
    const { book, amendment } = late(escalated(), 600)
    return [[book, amendment]]
  },
  escalations_exhausted: () => [exhaustedEscalations()],
  exceeds_ancestor: () => {
    const { book, amendment } = poorChild()
    return [[book, { ...amendment, more: { calls: 0, seconds: 0 } }]]
  },
  denied_for_good: () => {
    const book = active()
    book.denied('secret.read')
    const wants = [{ actions: ['secret.read'], resources: { repos: ['clord'] }, where: {} }]
    return [[book, book.escalation(wants)]]
  },
  not_expired: () => [[active(), { do: 'expire', run: ROOT }]],
  calls_in_flight: () => {
    const book = ended()
    book.must({ do: 'close' })
    return [[book, { do: 'close' }]]
  },
  tree_not_ended: () => [[active(), { do: 'close' }]],
  tree_closed: () => {
    const book = active()
    book.must(revoke)
    book.must({ do: 'close' })
    return [
      [book, { do: 'close' }],
      [book, { do: 'fold', denial: 1, times: 1 }],
    ]
  },
  rules_unknown: () => [[new Book(), { ...OPEN, rules: 2 }]],
}

const WIDE: Terms['grants'] = [
  { actions: ['doc.read'], resources: { repos: ['clord', 'other'] }, where: {} },
]
const NARROW: Partial<Terms> = {
  grants: [{ actions: ['doc.read'], resources: { repos: ['clord'] }, where: {} }],
  maxToolCalls: 2,
}

function requestOf(): Command & { do: 'request' } {
  return {
    do: 'request',
    run: ROOT,
    lease: 'lease_x',
    terms: TERMS,
    promptHash: HASH,
    rule: RULE,
  }
}

function passed(book: Book, seconds: number): Book {
  book.pass(seconds)
  return book
}

function suspended(): Book {
  const book = active()
  book.must({ do: 'suspend', run: ROOT, by: APPROVER, reason: 'wait' })
  return book
}

function settled(outcome: 'succeeded' | 'unknown'): Book {
  const book = called()
  book.must(settle(outcome))
  return book
}

const frozen = () => settled('unknown')

function sameAsk(): Case {
  const { book, ask } = asked()
  const facts = { argsDigest: 'other' }
  return [book, { ...book.authorize('doc.read', { facts }), ask }]
}

function answeredAsk(): Case {
  const { book, approval } = asked()
  book.must(approval)
  return [book, approval]
}

function amendedMeanwhile(): Case {
  const book = active({ ask: ['doc.read'] })
  const ask = book.asked('doc.read')
  const escalation = book.escalation([], { seconds: 1 })
  book.must(escalation)
  book.must(book.amendment(escalation.escalation))
  return [book, book.approval(ask)]
}

function suspendedParent(): Case {
  const book = parent({ delegate: { ...DELEGATE, ask: true } })
  book.must(book.delegation(CHILD, { expiresInSeconds: 9 }))
  book.must({ do: 'suspend', run: ROOT, by: APPROVER, reason: 'wait' })
  return [book, { ...APPROVE, run: CHILD }]
}

function lateAnswer(): Case {
  const book = active({ ask: ['doc.read'], expiresInSeconds: 60 })
  const ask = book.asked('doc.read')
  return [passed(book, 60), book.approval(ask)]
}

function lateAmendment(): Case {
  const book = active({ expiresInSeconds: 60 })
  const escalation = book.escalation([], { seconds: 600 })
  book.must(escalation)
  return [passed(book, 60), book.amendment(escalation.escalation)]
}

function lateResumption(): Case {
  return [passed(suspended(), 3600), resume]
}

function revokedBeforeRequest(): Case {
  const book = new Book()
  book.must(OPEN)
  book.must(revoke)
  return [book, requestOf()]
}
