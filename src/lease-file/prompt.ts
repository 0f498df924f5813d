import { createHash } from 'node:crypto'
import { canonicalJson } from '../core/canonical-json.ts'
import type { Instant } from '../core/id.ts'
import type { Terms } from '../core/lease.ts'
import { unreachable } from '../core/result.ts'
import type { Vocabulary } from '../core/vocabulary.ts'
import { listsAction } from './actions.ts'
import { durationWords } from './duration.ts'
import { type Glance, glanceOf } from './glance.ts'
import type { Mark } from './paint.ts'
import { type Permission, permissionsOf } from './permissions.ts'
import { printable } from './printable.ts'
import type { Problem } from './problem.ts'
import { counted, denialPhrases, describeScope, doneOf, phraseOf } from './words.ts'

/** What the prompt needs to know beside the terms. */
export interface PromptContext {
  /** The run, as it is shown. */
  readonly run: string
  /** The signed-in person. */
  readonly requester: string
  readonly agent: string
  /** The client program as it names itself. */
  readonly client: string | null
  /** Action → external systems that the catalogs say it can reach, as `host` or `host:port`. */
  readonly hosts: Readonly<Record<string, readonly string[]>>
  /** Problems of the lease file; its warnings are shown. */
  readonly warnings: readonly Problem[]
  readonly vocabulary: Vocabulary
  /** Whether what the agent does outside the door is confined. */
  readonly outside: 'watched' | 'not_watched'
}

/**
 * What a person is asked, as data: terminal and console show the same. INVARIANT: everything that
 * is shown is in here, and so are the terms, so the hash of it binds both.
 */
export interface Prompt {
  readonly version: 1
  readonly run: string
  readonly title: string
  readonly byline: string
  readonly glance: readonly Glance[]
  readonly sections: readonly Section[]
  readonly terms: Terms
}

/** A label, its words, and finer lines under them. */
export interface Section {
  readonly label: string
  readonly text: string
  readonly lines: readonly PromptLine[]
}

/** A finer line. A name stands in a column of its own, with the first clause's mark before it. */
export interface PromptLine {
  readonly name: string | null
  readonly clauses: readonly Clause[]
}

export interface Clause {
  readonly mark: Mark | null
  readonly text: string
}

/** Composes the prompt of terms: pure, so whoever has the terms gets the same one. */
export function promptOf(terms: Terms, context: PromptContext): Prompt {
  const permissions = permissionsOf(terms, context.vocabulary)
  const warnings = context.warnings.filter((problem) => problem.severity === 'warning')
  return {
    version: 1,
    run: printable(context.run),
    title: printable(terms.purpose),
    byline: bylineOf(terms, context),
    glance: glanceOf(permissions, { terms, ...context }),
    sections: [
      { label: 'Task', text: printable(terms.purpose), lines: taskLines(terms) },
      allowedSection(terms, permissions, context),
      notAllowedSection(terms, context.vocabulary),
      budgetSection(terms, context.vocabulary),
      expiresSection(terms, permissions, context.vocabulary),
      receiptSection(terms),
      outsideSection(context.outside),
      ...warnings.map(({ message }) => ({ label: 'Warning', text: printable(message), lines: [] })),
    ],
    terms,
  }
}

/** The bytes that are hashed: the prompt as canonical JSON (RFC 8785). */
export function promptText(prompt: Prompt): string {
  return canonicalJson(prompt)
}

/** SHA-256 (hex) of the prompt: what an approval binds. */
export function promptHash(prompt: Prompt): string {
  return createHash('sha256').update(promptText(prompt)).digest('hex')
}

function bylineOf(terms: Terms, context: PromptContext): string {
  const asked = terms.user === context.requester ? '' : `, asked by ${printable(context.requester)}`
  const client = context.client === null ? '' : `, in ${printable(context.client)}`
  return `${printable(context.agent)} for ${printable(terms.user)}${asked}${client}`
}

function plain(text: string): PromptLine {
  return { name: null, clauses: [{ mark: null, text }] }
}

function taskLines(terms: Terms): PromptLine[] {
  const labels = Object.entries(terms.labels).map(([name, value]) => `${name} ${printable(value)}`)
  const lines = labels.length === 0 ? [] : [plain(`labelled ${labels.join(', ')}`)]
  if (terms.approvers !== null) {
    lines.push(plain(`must be approved by ${terms.approvers.map(printable).join(' or ')}`))
  }
  return lines
}

function allowedSection(
  terms: Terms,
  permissions: readonly Permission[],
  context: PromptContext,
): Section {
  const free = permissions.filter((permission) => !permission.asks)
  const phrases = [...new Set(free.map((permission) => permission.phrase))]
  const nothing = permissions.length > 0 ? 'nothing without a fresh yes' : 'nothing'
  const marked = permissions.map((permission) => markedLine(permission, context))
  const text = phrases.length === 0 ? nothing : phrases.join(', ')
  const lines = [
    ...scopeLines(terms, permissions, context.vocabulary),
    ...marked.filter((line) => line?.clauses[0]?.mark === '>'),
    ...marked.filter((line) => line?.clauses[0]?.mark === '!'),
    ...marked.filter((line) => line?.clauses[0]?.mark === '?'),
  ]
  return { label: 'Allowed', text, lines: lines.filter((line) => line != null) }
}

/** Where each grant holds. One that permits only a part says which. */
function scopeLines(
  terms: Terms,
  permissions: readonly Permission[],
  vocabulary: Vocabulary,
): PromptLine[] {
  const everything = new Set(permissions.map((permission) => permission.phrase)).size
  return terms.grants.flatMap((grant, index) => {
    const given = permissions.filter((permission) => permission.grants.includes(index))
    if (given.length === 0) return []
    if (Object.keys(grant.resources).length === 0 && terms.ceiling !== null) {
      return [plain('on no resources: this is a ceiling, and no lease is under it')]
    }
    const scope = describeScope(grant, vocabulary)
    const phrases = [...new Set(given.map((permission) => permission.phrase))]
    // A grant of everything above says only where.
    if (phrases.length === everything) return [plain(scope)]
    return [plain(`${phrases.join(', ')}: ${scope}`)]
  })
}

/** A line for what asks, leaves data elsewhere or cannot be undone; null for everything else. */
function markedLine(permission: Permission, context: PromptContext): PromptLine | null {
  const { word, name, phrase } = permission
  const hosts = Object.hasOwn(context.hosts, name) ? context.hosts[name]!.map(printable) : []
  const clauses: Clause[] = []
  if (permission.asks) clauses.push({ mark: '?', text: 'only with a fresh yes' })
  else if (word === null && !name.includes('*')) {
    clauses.push({ mark: '?', text: 'a fresh yes each time, if it is a tool that no catalog maps' })
  }
  const egress = egressOf(permission, hosts)
  if (egress !== null) clauses.push({ mark: '>', text: egress })
  if (word?.irreversible != null) {
    // What exactly is lost is said again, with the arguments, when the call asks.
    const lost = permission.asks ? '' : `: ${word.irreversible}`
    clauses.push({ mark: '!', text: `can't be undone${lost}` })
  }
  return clauses.length === 0 ? null : { name: phrase, clauses }
}

function egressOf({ word, asks }: Permission, hosts: readonly string[]): string | null {
  const to = hosts.join(', ')
  if (word?.sends != null && hosts.length > 0) return `sends ${word.sends} to ${to}`
  if (hosts.length > 0) return `${word?.reaches ? `${word.reaches} ` : ''}can reach ${to}`
  // An ask shows where to when it asks; a free call without a known destination is said here.
  return word?.sends != null && !asks ? `sends ${word.sends}; no catalog says where to` : null
}

function notAllowedSection(terms: Terms, vocabulary: Vocabulary): Section {
  const phrases = denialPhrases(vocabulary, terms.deny)
  const label = 'Not allowed'
  const rest = 'everything that is not listed above'
  const line = restLine(terms.onExceed, rest)
  if (phrases.length > 0) return { label, text: phrases.join(', '), lines: [line] }
  if (terms.onExceed === 'deny') return { label, text: rest, lines: [] }
  return { label, text: 'nothing is forbidden by name', lines: [line] }
}

function restLine(onExceed: Terms['onExceed'], rest: string): PromptLine {
  switch (onExceed) {
    case 'deny':
      return plain(`and ${rest}`)
    case 'suspend':
      return plain(`and ${rest}; trying it suspends the run`)
    case 'ask':
      return { name: null, clauses: [{ mark: '?', text: `${rest} asks for a fresh yes` }] }
    default:
      return unreachable(onExceed)
  }
}

function budgetSection(terms: Terms, vocabulary: Vocabulary): Section {
  const { maxToolCalls, workSeconds, usd, delegate } = terms
  const subagents =
    delegate === null
      ? 'no subagents'
      : delegate.ask
        ? 'no subagents without approval'
        : `up to ${counted(delegate.maxChildren, 'subagent')} without approval`
  const parts = [
    maxToolCalls === null ? 'no limit of tool calls' : counted(maxToolCalls, 'tool call'),
    // Minutes here, because they are set beside the expiry and compared with it.
    workSeconds === null ? null : minutesWords(workSeconds),
    usd === null ? null : `${printable(usd)} USD`,
    subagents,
  ]
  const limits = Object.entries(terms.limits).map(([action, count]) => {
    const phrase = phraseOf(vocabulary, action)
    return plain(`${phrase} ${count === 1 ? 'once' : `at most ${count} times`}`)
  })
  if (delegate !== null) {
    const children = counted(delegate.maxChildren, 'subagent')
    limits.push(plain(`at most ${children}, ${counted(delegate.maxDepth, 'level')} deep`))
  }
  return { label: 'Budget', text: parts.filter((part) => part !== null).join(', '), lines: limits }
}

function minutesWords(seconds: number): string {
  return seconds % 60 === 0 ? counted(seconds / 60, 'minute') : durationWords(seconds)
}

function expiresSection(
  terms: Terms,
  permissions: readonly Permission[],
  vocabulary: Vocabulary,
): Section {
  const ends = terms.until.flatMap((text) => {
    if (!text.includes('*')) return [text]
    const matched = permissions.filter(({ name, word }) => word && listsAction([text], name))
    return matched.length === 0 ? [text] : matched.map(({ name }) => name)
  })
  const done = [...new Set(ends.map((action) => doneOf(vocabulary, action)))]
  const when =
    done.length === 0 ? '' : `when ${done.join(', or ')}${done.length > 1 ? ',' : ''} or `
  return {
    label: 'Expires',
    text: `${when}after ${durationWords(terms.expiresInSeconds)}${latestWords(terms.notAfter)}`,
    lines: [],
  }
}

/** Whole minutes, earlier rather than later: nobody may rely on time that is not there. */
function latestWords(notAfter: Instant | null): string {
  if (notAfter === null) return ''
  const text = new Date(notAfter).toISOString()
  return `, at the latest on ${text.slice(0, 10)} at ${text.slice(11, 16)} UTC`
}

function receiptSection(terms: Terms): Section {
  const text = terms.requireReceipt
    ? 'final summary includes every privileged tool call'
    : 'the lease does not require one; every call is recorded all the same'
  return { label: 'Receipt', text, lines: [] }
}

function outsideSection(outside: PromptContext['outside']): Section {
  const text =
    outside === 'watched'
      ? "confined by the sandbox: the agent's own shell and network"
      : "not watched: the agent's own shell and network"
  return { label: 'Outside', text, lines: [] }
}
