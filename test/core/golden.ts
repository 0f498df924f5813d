import { writeFileSync } from 'node:fs'
import type { RunId } from '../../src/core/id.ts'
import { APPROVE, APPROVER, active, type Book, ROOT, sortedJson, touchOf } from './support.ts'

/**
 * Writes the golden ledgers of rules version 1: `node test/core/golden.ts`. They are written once.
 * Whoever changes what `decide` records makes a new rules version and new files; the old files stay
 * and must replay for ever. So this refuses to write over a file that exists.
 */
const FOLDER = new URL('../fixtures/ledgers/', import.meta.url)

const AGENT = { repos: ['clord'], branches: ['agent/*'] }
const GRANTS = [
  { actions: ['repo.read'], resources: { repos: ['clord'], branches: ['**'] }, where: {} },
  { actions: ['repo.commit', 'pull_request.create'], resources: AGENT, where: {} },
]

const on = (action: string, branch: string) => ({
  touches: [{ ...touchOf(action), resources: { repos: ['clord'], branches: [branch] } }],
})

/** A dependency is updated, and the lease ends because the pull request is open. */
function dependencyUpdate(): Book {
  const book = active({
    grants: GRANTS,
    until: ['pull_request.create'],
    maxToolCalls: 30,
    limits: { 'pull_request.create': 1 },
    workSeconds: 1200,
  })
  const branch = 'agent/dependency-update'
  book.settle(book.allowed('repo.read', { facts: on('repo.read', 'main') }))
  book.pass(4)
  book.settle(book.allowed('repo.commit', { facts: on('repo.commit', branch) }))
  book.denied('repo.commit', { facts: on('repo.commit', 'main') })
  book.denied('secret.read')
  const denial = book.entries.at(-1)!.seq
  book.denied('secret.read')
  book.must({ do: 'fold', denial, times: 1 })
  book.pass(9)
  const facts = on('pull_request.create', branch)
  const pr = book.allowed('pull_request.create', { key: 'pr', facts })
  book.denied('pull_request.create', { facts: { ...facts, argsDigest: 'second' } })
  book.settle(pr)
  book.denied('repo.read', { facts: on('repo.read', 'main') })
  book.must({ do: 'close' })
  return book
}

/** A subagent, asks, an escalation, and the event that ends both runs. */
function team(): Book {
  const child: RunId = 'run_child'
  const book = active({
    ask: ['pay.send'],
    until: ['pr.open'],
    usd: '10.00',
    maxToolCalls: 20,
    limits: { 'doc.write': 2 },
    delegate: { maxDepth: 1, maxChildren: 2, ask: true },
  })
  const price = { usd: '2.50' }
  const ask = book.asked('pay.send', { facts: price })
  book.pass(30)
  book.approveCall(ask)
  book.settle(book.allowed('pay.send', { facts: price }), 'succeeded', '1.25')
  const terms = { maxToolCalls: 5, usd: '1.00', limits: { 'doc.write': 1 } }
  book.must(book.delegation(child, terms))
  book.must({ ...APPROVE, run: child })
  book.settle(book.allowed('doc.write', { run: child }))
  const erase = book.asked('doc.erase', { run: child })
  book.must({ do: 'refuse_call', ask: erase, by: APPROVER, reason: 'not in this task' })
  book.denied('doc.erase', { run: child })
  const outside = { touches: [touchOf('doc.read', 'other')], args: { path: 'a.md' } }
  book.denied('doc.read', { facts: outside })
  const wants = [{ actions: ['doc.read'], resources: { repos: ['other'] }, where: {} }]
  const first = book.escalation(wants, { calls: 2, seconds: 60 })
  book.must(first)
  book.must(book.amendment(first.escalation))
  book.settle(book.allowed('doc.read', { facts: outside }))
  const second = book.escalation([], { calls: 5 })
  book.must(second)
  const answer = { by: APPROVER, reason: 'enough' } as const
  book.must({ do: 'refuse_escalation', escalation: second.escalation, ...answer })
  book.settle(book.allowed('pr.open'))
  book.must({ do: 'close' })
  return book
}

/** Unknown outcomes, an overrun, suspensions, a retry, and an end with a call in flight. */
function trouble(): Book {
  const book = active({ until: ['pr.open'], usd: '5.00', expiresInSeconds: 900 })
  const first = book.allowed('pr.open', { key: 'pr' })
  book.pass(61)
  book.settle(first, 'unknown')
  book.denied('doc.read')
  book.must({ do: 'resolve', call: first, by: APPROVER, happened: false })
  book.must({ do: 'resume', run: ROOT, by: APPROVER })
  book.call('pr.open', { key: 'pr' })
  book.settle(first, 'deferred')
  book.denied('pr.open')
  book.settle(book.allowed('pay.send', { facts: { usd: '1.00' } }), 'succeeded', '1.75')
  book.must({ do: 'resume', run: ROOT, by: APPROVER })
  book.must({ do: 'suspend', run: ROOT, by: APPROVER, reason: 'lunch' })
  book.pass(300)
  book.must({ do: 'resume', run: ROOT, by: APPROVER })
  const last = book.allowed('doc.write')
  book.pass(900)
  book.must({ do: 'expire', run: ROOT })
  book.must({ do: 'close' })
  book.pass(30)
  book.must({ do: 'close' })
  book.settle(last)
  return book
}

export const SCENARIOS = { 'dependency-update': dependencyUpdate, team, trouble } as const

if (import.meta.main) {
  for (const [name, scenario] of Object.entries(SCENARIOS)) {
    const file = new URL(`v1-${name}.json`, FOLDER)
    writeFileSync(file, sortedJson(scenario().entries), { flag: 'wx' })
  }
}
