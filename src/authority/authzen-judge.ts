import { canonicalise } from '../core/canonical.ts'
import { chainOf, isUsable } from '../core/chain.ts'
import type { Facts } from '../core/facts.ts'
import type { AskId, CallId, Instant, Json } from '../core/id.ts'
import { judge } from '../core/judge.ts'
import type { Reason } from '../core/reason.ts'
import type { Ask, Run, Tree } from '../core/tree.ts'
import { onlyReads, type Reading } from './read-only.ts'
import { canonicalTouches } from './touches.ts'
import { type DeedRefusal, refusalOf } from './txn.ts'

/** One question: may this run do this now? */
export interface Question {
  readonly action: string
  /** Resource type → values; a grant must mention every type. */
  readonly resources: Readonly<Record<string, readonly string[]>>
  readonly within: Readonly<Record<string, readonly string[]>>
  readonly args: Readonly<Record<string, Json>>
  /** The resource that is asked about, one of `resources`. */
  readonly resource: { readonly type: string; readonly id: string }
  /** The call that is under way; null: one that would be made. */
  readonly call: CallId | null
  /** The yes under which it would be made. */
  readonly ask: AskId | null
  /** The answer must be used before. */
  readonly expiry: Instant | null
}

export type Answer =
  | { readonly decision: true }
  | {
      readonly decision: false
      readonly reason: Reason | DeedRefusal | 'approval_required' | 'approval_unfit' | 'too_late'
      readonly determined: string | null
    }

const YES: Answer = { decision: true }

function no(
  reason: Extract<Answer, { decision: false }>['reason'],
  determined: string | null = null,
): Answer {
  return { decision: false, reason, determined }
}

/**
 * Answers from the state of the run, as the gateway would, and spends nothing. Pure. An answer is
 * about now: the call itself is decided when it is made, in one step with its record.
 */
export function answerOf(
  tree: Tree,
  run: Run,
  {
    question,
    clock,
    reading,
    serves,
  }: {
    readonly question: Question
    readonly clock: Instant
    readonly reading: Reading
    /** Whether tools of this server stand behind the gateway. */
    readonly serves: (server: string) => boolean
  },
): Answer {
  const now = Math.max(clock, tree.at)
  if (question.expiry !== null && now >= question.expiry) return no('too_late')
  if (question.call !== null) {
    const deed = { action: question.action, ...question.resource }
    const refused = refusalOf(tree, { tree: tree.id, run: run.id, call: question.call }, deed, now)
    return refused === null ? YES : no(refused)
  }
  const facts = factsOf(question, { reading, serves })
  const verdict = judge(
    tree,
    {
      ...{ do: 'authorize', run: run.id, facts },
      // Nobody has called with this key, so it is no retry.
      ...{ call: 'call_evaluation', key: 'evaluation', ask: 'ask_evaluation' },
      ...{ executor: 'evaluation', deadlineSeconds: 1 },
    },
    now,
  )
  if (verdict.kind === 'deny') return no(verdict.reason, verdict.determined)
  if (verdict.kind !== 'ask') return YES
  const ask = question.ask === null ? undefined : tree.asks.get(question.ask)
  if (ask === undefined) return no('approval_required', question.ask)
  const isFit = isYesFor(ask, question) && ask.run === run.id && now < ask.deadline
  return isFit && chainOf(tree, run).every((each) => isUsable(each, now))
    ? YES
    : no('approval_unfit', ask.id)
}

/** The yes is to a call that touches this; it is not used and not withdrawn. */
function isYesFor(ask: Ask, { action, resource: { type, id } }: Question): boolean {
  const value = canonicalise(type, id)
  if (ask.state !== 'approved' || !value.ok) return false
  return ask.facts.touches.some(
    (touch) =>
      touch.action === action &&
      [touch.resources, touch.within].some(
        (all) => Object.hasOwn(all, type) && all[type]!.includes(value.value),
      ),
  )
}

/** The facts of a call that does this. What is not known to be harmless is taken for the worst. */
function factsOf(
  { action, resources, within, args }: Question,
  of: { readonly reading: Reading; readonly serves: (server: string) => boolean },
): Facts {
  const reads = onlyReads(action, of.reading)
  const effect = reads ? 'read' : 'destructive'
  const { touches, fault } = canonicalTouches([
    { action, effect, reversible: reads, resources, within, hosts: [] },
  ])
  const [server = ''] = action.split('.', 1)
  const isKnown = of.reading.vocabulary.actions.has(action)
  return {
    tool: action,
    definition: '',
    // The own name of a tool that no catalog maps is the one action that it has.
    status: !isKnown && of.serves(server) ? 'unmapped' : 'mapped',
    touches,
    args,
    ...{ argsDigest: '', usd: null, idempotent: false, fault, guardrail: null },
  }
}
