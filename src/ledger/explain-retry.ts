import type { Entry } from '../core/entry.ts'
import type { CallId, RunId } from '../core/id.ts'
import { type Attempt, type Explanation, isAttempt, type Retry } from './explanation.ts'
import { counted } from './words.ts'

/**
 * Retries. A call key names one call of one run: the same key with the same arguments is the same
 * call again, inside what was allowed the first time; anything else under that key is not.
 */

interface Repeat {
  readonly seq: number
  readonly call: CallId
  readonly inside: boolean
  readonly first: CallId
}

/** Attempts that used the key of a call that was allowed before, in order. */
function repeatsOf(entries: readonly Entry[], run: RunId): Repeat[] {
  const first = new Map<string, Attempt>()
  const repeats: Repeat[] = []
  for (const entry of entries) {
    if (!isAttempt(entry) || entry.command.run !== run) continue
    const { key, call } = entry.command
    const known = first.get(key)
    if (entry.type === 'call.allowed' && known === undefined) first.set(key, entry)
    else if (known !== undefined) {
      const inside = entry.type === 'call.resumed'
      repeats.push({ seq: entry.seq, call, inside, first: known.command.call })
    }
  }
  return repeats
}

/** About a run: every retry that was recorded. */
export function retriesAnswer(entries: readonly Entry[], run: RunId): Explanation['retry'] {
  const repeats = repeatsOf(entries, run)
  const outside = repeats.filter(({ inside }) => !inside)
  return {
    question: 'Is each retry still inside the original scope?',
    text: `${retriesWords(repeats, outside)}.`,
    facts: {
      of: null,
      inside: repeats.length === 0 ? null : outside.length === 0,
      retries: repeats,
    },
  }
}

function retriesWords(repeats: readonly Repeat[], outside: readonly Repeat[]): string {
  if (repeats.length === 0) {
    const unrecorded = 'A repetition that got the stored answer changes nothing and leaves no entry'
    return `No retry was recorded. ${unrecorded}`
  }
  if (outside.length === 0) {
    const all = repeats.length === 1 ? 'The one recorded retry is' : `All ${repeats.length} are`
    return `${all} inside the original scope: same key, same arguments, nothing spent twice`
  }
  const reuses = outside.map(({ call, first }) => `${call} used the key of ${first}`)
  return `Not all: ${reuses.join('; ')}, and got no further`
}

/** About one attempt: whether it repeats an earlier call, and within its scope. */
export function retryAnswer(entries: readonly Entry[], entry: Attempt): Explanation['retry'] {
  const question = 'Is this retry still inside the original scope?'
  const repeats = repeatsOf(entries, entry.command.run)
  const own = repeats.find(({ seq }) => seq === entry.seq)
  if (own === undefined) {
    const later = repeats.filter(({ first }) => first === entry.command.call)
    const again =
      later.length === 0 ? '' : ` It was repeated ${counted(later.length, 'time')} later.`
    const facts: Retry = { of: null, inside: null, retries: later }
    return { question, text: `It is no retry: nothing before it had its key.${again}`, facts }
  }
  const facts: Retry = { of: own.first, inside: own.inside, retries: [own] }
  return { question, text: repeatWords(entry, own), facts }
}

function repeatWords(entry: Attempt, { first }: Repeat): string {
  if (entry.type === 'call.resumed') {
    return `Yes: it is ${first} again, with the same key and arguments, and spent nothing.`
  }
  if (entry.type !== 'call.denied') return `No: it used the key of ${first} for something else.`
  switch (entry.reason) {
    case 'key_reused':
      return `No: it used the key of ${first} with another tool or other arguments, and was denied.`
    case 'call_frozen':
      return `Not decided: nobody knows whether ${first} happened, so it was not run again.`
    default:
      return `No: the run may no longer do what ${first} did (${entry.reason}); it was denied.`
  }
}
