import type { Command, Outcome } from './command.ts'
import type { Facts } from './facts.ts'
import { isAmount } from './money.ts'
import { validateGrants, validateTerms } from './validate.ts'

/** An id or key is a short word; a longer one is somebody's payload. */
const ID_CHARS_MAX = 512
/** An agent's own words; a person reads them. What stops a run is never refused for its words. */
const WORDS_CHARS_MAX = 4096
/** A year: whoever waits longer has forgotten. Keeps sums of instants exact. */
const SECONDS_MAX = 366 * 24 * 3600

/**
 * Why a command cannot be decided, in words; null if it can. Types do not reach across processes
 * and files: a number that is not one (NaN is neither before nor after an expiry) must not become
 * time or budget, and text that is no pattern must not become authority.
 */
export function faultOf(command: Command): string | null {
  switch (command.do) {
    case 'open':
      return idFault(command.org, command.tree, command.run)
    case 'request':
      return idFault(command.lease) ?? leaseFault(command)
    case 'delegate':
      return idFault(command.parent, command.run, command.lease) ?? leaseFault(command)
    case 'authorize':
      return authorizeFault(command)
    case 'settle':
      if (!OUTCOMES.includes(command.outcome)) return 'the outcome is not one'
      if (command.usd !== null && !isPrice(command.usd)) return 'the cost is not an amount'
      return null
    case 'resolve':
      return typeof command.happened === 'boolean' ? null : '`happened` is not true or false'
    case 'fold':
      return isCount(command.times) && command.times > 0 ? null : '`times` is not a count'
    case 'escalate':
      return (
        idFault(command.escalation) ??
        moreFault(command.more) ??
        grantsFault(command.wants) ??
        wordsFault(command.words) ??
        secondsFault(command.answerSeconds)
      )
    case 'amend':
      return moreFault(command.more) ?? grantsFault(command.offer)
    default:
      return null
  }
}

const OUTCOMES: readonly Outcome[] = ['succeeded', 'failed', 'unknown', 'deferred']

/** Whole, and small enough that sums stay exact. */
export function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}

function authorizeFault(command: Extract<Command, { do: 'authorize' }>): string | null {
  return (
    idFault(command.call, command.key, command.ask, command.executor) ??
    secondsFault(command.deadlineSeconds) ??
    factsFault(command.facts)
  )
}

/** The outline; what the members mean is the judge's part, and what it cannot read it denies. */
function factsFault(facts: Facts): string | null {
  if (typeof facts?.tool !== 'string' || typeof facts.argsDigest !== 'string') {
    return 'the facts name no tool or no arguments'
  }
  return Array.isArray(facts.touches) ? null : 'the facts do not say what the call touches'
}

function leaseFault(command: Extract<Command, { do: 'request' | 'delegate' }>): string | null {
  const valid = validateTerms(command.terms)
  if (!valid.ok) return valid.error[0]!
  return secondsFault(command.rule.answerSeconds)
}

function grantsFault(grants: unknown): string | null {
  const valid = validateGrants(grants)
  return valid.ok ? null : valid.error[0]!
}

function moreFault(more: { readonly calls: number; readonly seconds: number }): string | null {
  const isSound = isCount(more?.calls) && isCount(more.seconds)
  return isSound ? null : 'more calls and seconds are whole numbers from 0'
}

function secondsFault(seconds: number): string | null {
  return isCount(seconds) && seconds <= SECONDS_MAX
    ? null
    : `\`${seconds}\` is no number of seconds`
}

function idFault(...ids: readonly string[]): string | null {
  const isSound = (id: unknown) =>
    typeof id === 'string' && id !== '' && id.length <= ID_CHARS_MAX && id.isWellFormed()
  return ids.every(isSound) ? null : `an id or key is a text of 1 to ${ID_CHARS_MAX} characters`
}

function wordsFault(words: string): string | null {
  if (typeof words === 'string' && words.length <= WORDS_CHARS_MAX) return null
  return `words are a text of at most ${WORDS_CHARS_MAX} characters`
}

function isPrice(value: unknown): boolean {
  return typeof value === 'string' && isAmount(value)
}
