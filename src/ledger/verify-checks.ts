import { createHash } from 'node:crypto'
import { canonicalJson } from '../core/canonical-json.ts'
import { actionLeft, callsLeft, chainOf, usdLeft } from '../core/chain.ts'
import type { Entry, EntryOf } from '../core/entry.ts'
import { evolve } from '../core/evolve.ts'
import type { Instant, Json } from '../core/id.ts'
import { isMore } from '../core/money.ts'
import { isSame, replay } from '../core/replay.ts'
import { err, ok, type Result } from '../core/result.ts'
import type { Run, Tree } from '../core/tree.ts'
import { headOf } from './chain.ts'
import { describeFacts } from './gather.ts'
import { isSignedBy, kidWords, type PublicKeyInfo, type Signature, thumbprint } from './sign.ts'
import { counted, dayOf } from './words.ts'

/** Why one check failed. `seq`: the entry it is about, if it is about one. */
export interface Failure {
  readonly message: string
  readonly seq: number | null
}

export type Checked = Result<string, Failure>

function failed(message: string, seq: number | null = null): Result<never, Failure> {
  return err({ message, seq })
}

/** The server's clock may lag behind the one that dated its key (design: at most 5 s). */
const CLOCK_SKEW_MS = 5_000

/** Who signed, against the keys that the reader pinned. `unknown`: none of them has this `kid`. */
export function checkSignature(
  signed: { readonly domain: string; readonly content: unknown; readonly signature: Signature },
  keys: readonly PublicKeyInfo[],
  signedAt: Instant | null,
): Checked | 'unknown' {
  const { kid } = signed.signature
  const known = keys.filter(({ publicKey }) => thumbprint(publicKey) === kid)
  if (known.length === 0) return 'unknown'
  const signer = known.find(({ publicKey }) => isSignedBy(publicKey, signed))
  const name = known[0]!.name ?? kidWords(kid)
  if (signer === undefined) return failed(`not a signature of ${name} over this content`)
  if (signedAt === null) return failed('the receipt does not say when it was made')
  const isValid = known.some(
    ({ validFrom, validUntil }) =>
      signedAt >= validFrom - CLOCK_SKEW_MS && (validUntil === null || signedAt < validUntil),
  )
  if (!isValid) return failed(`${name} was not in use on ${dayOf(signedAt)}`)
  return ok(`${name}, pinned, valid on ${dayOf(signedAt)}`)
}

/** No entry is changed, missing, added or in another place. */
export function checkChain(entries: readonly Entry[], head: string, after: string): Checked {
  if (headOf(entries, after) === head) return ok(`${entries.length} entries, no gap`)
  return failed('an entry was changed, removed, added or moved: the signed hash is another one')
}

/**
 * The sequence numbers have no gap, the opening entry is first, the closing entry last and alone.
 */
export function checkComplete(entries: readonly Entry[]): Checked {
  const gap = entries.findIndex(({ seq }, index) => seq !== index + 1)
  if (gap >= 0) return failed(`entry ${gap + 1} is missing or not in its place`, gap + 1)
  if (entries[0]?.type !== 'tree.opened') return failed('the opening entry is missing', 1)
  const closed = entries.findIndex(({ type }) => type === 'tree.closed')
  if (closed < 0) return failed('the closing entry is missing: the end was cut off')
  if (closed !== entries.length - 1) return failed('entries follow the closing one', closed + 2)
  return ok('opening and closing entry present')
}

/** Every lease of the tree has ended. */
export function checkEnded(tree: Tree): Checked {
  const runs = [...tree.runs.values()]
  const alive = runs.find(({ lease }) => lease !== null && lease.state !== 'ended')
  if (alive !== undefined) return failed(`the lease of ${alive.id} has not ended`)
  return ok(`${runs.length} of ${runs.length} ${runs.length === 1 ? 'run' : 'runs'}`)
}

export type Decisions =
  | { readonly kind: 'same'; readonly tree: Tree; readonly text: string }
  | { readonly kind: 'unknown_rules'; readonly message: string }
  | { readonly kind: 'different'; readonly failure: Failure }

/** Decides everything again. */
export function checkDecisions(entries: readonly Entry[]): Decisions {
  let replayed: ReturnType<typeof replay>
  try {
    replayed = replay(entries)
  } catch {
    const failure = { message: 'an entry is not one that Daypass writes', seq: null }
    return { kind: 'different', failure }
  }
  if (replayed.ok) {
    const { tree, decisions } = replayed.value
    return { kind: 'same', tree, text: `${decisions} of ${decisions} computed again, all the same` }
  }
  const { kind, seq, message } = replayed.error
  if (kind === 'unknown_rules') return { kind, message }
  const about = aboutOf(entries.find((entry) => entry.seq === seq))
  return { kind: 'different', failure: { message: `${about}${message}`, seq } }
}

/** What an entry that does not hold is about; it may be anything, so nothing is believed of it. */
function aboutOf(entry: Entry | undefined): string {
  try {
    const { facts } = (entry as EntryOf<'call.allowed'>).command
    const { actions, resources } = describeFacts(facts)
    const on = resources.map(({ type, values }) => `${type} ${values.join(', ')}`).join(', ')
    return `${actions.join(' and ')}${on === '' ? '' : ` on ${on}`}: `
  } catch {
    return entry === undefined ? '' : `${entry.type}: `
  }
}

/**
 * No lease ever had less than nothing left. Counts by itself, beside the decisions: two ways to the
 * same answer. Entries are a history that `replay` accepted.
 */
export function checkBudget(entries: readonly Entry[]): Checked {
  let tree: Tree | null = null
  for (const entry of entries) {
    tree = evolve(tree, entry)
    const over = spenderOf(tree, entry).find(isOver)
    if (over !== undefined) return failed(`${over.id} spent more than its lease allows`, entry.seq)
  }
  const root = tree!.runs.get(tree!.root)!
  const calls = [...tree!.calls.values()].length
  const limit = root.lease?.terms.maxToolCalls ?? null
  const never = limit === null ? 'no limit of calls' : `never above ${counted(limit, 'call')}`
  return ok(`${never}; ${calls} spent`)
}

/** The runs whose budget an entry can take from. */
function spenderOf(tree: Tree, entry: Entry): Run[] {
  if (entry.type === 'call.allowed') return chainOf(tree, tree.runs.get(entry.command.run)!)
  if (entry.type === 'run.delegated') return chainOf(tree, tree.runs.get(entry.command.run)!)
  if (entry.type === 'lease.amended') return chainOf(tree, tree.runs.get(entry.run)!)
  if (entry.type === 'lease.ended') return chainOf(tree, tree.runs.get(entry.run)!)
  if (entry.type !== 'call.settled') return []
  return chainOf(tree, tree.runs.get(tree.calls.get(entry.command.call)!.run)!)
}

function isOver({ lease }: Run): boolean {
  if (lease === null) return false
  const calls = callsLeft(lease)
  const usd = usdLeft(lease)
  return (
    (calls !== null && calls < 0) ||
    (usd !== null && isMore('0', usd)) ||
    Object.keys(lease.terms.limits).some((action) => actionLeft(lease, action)! < 0)
  )
}

/**
 * Every answered prompt is in the receipt, has its hash, and asks for the very terms of the lease.
 */
export function checkPrompts(
  entries: readonly Entry[],
  prompts: Readonly<Record<string, Json>>,
): Checked {
  const requests = entries.filter(
    (entry) => entry.type === 'lease.requested' || entry.type === 'run.delegated',
  )
  const hashes = new Set(requests.map(({ command }) => command.promptHash))
  const stray = Object.keys(prompts).find((hash) => !hashes.has(hash))
  if (stray !== undefined) return failed('holds a prompt that nobody was asked')
  const answered = new Set(
    entries.flatMap((entry) => (entry.type === 'lease.approved' ? [entry.command.run] : [])),
  )
  for (const { command, seq } of requests) {
    const { promptHash } = command
    if (!Object.hasOwn(prompts, promptHash)) {
      if (!answered.has(command.run)) continue
      return failed('the prompt that was answered is not in the receipt', seq)
    }
    const prompt = prompts[promptHash]!
    if (sha256(prompt) !== promptHash) return failed('the prompt is not the one with its hash', seq)
    const asked = (prompt ?? {}) as { readonly run?: unknown; readonly terms?: unknown }
    if (asked.run !== command.run) return failed('the prompt was about another run', seq)
    if (!isSame(asked.terms, command.terms)) {
      return failed('the prompt asks for other terms than the lease has', seq)
    }
  }
  return ok(`${counted(answered.size, 'prompt')} answered, with the terms of the lease`)
}

function sha256(json: Json): string {
  return createHash('sha256').update(canonicalJson(json)).digest('hex')
}
