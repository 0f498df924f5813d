import { hash } from 'node:crypto'
import type { Reply } from '../../core/decision.ts'
import type { Facts } from '../../core/facts.ts'
import type { AskId, CallId, Json } from '../../core/id.ts'
import type { Grant } from '../../core/lease.ts'
import type { Tree } from '../../core/tree.ts'
import { denialNotice } from '../../gateway/denial.ts'
import { constrainedBy } from '../../gateway/desk.ts'
import { newId } from '../../runs/new-id.ts'
import { canonicalTouches } from '../touches.ts'
import { actorOf, checkOwn, type Found, findRun } from './access.ts'
import type { AnswerOf, InputOf } from './endpoint.ts'
import type { Endpoints } from './endpoints.ts'
import type { ApiParts, Asked, Handlers } from './parts.ts'
import { Problem, refused } from './problem.ts'
import { done } from './runs.ts'

/**
 * Calls whose tool runs elsewhere: an enforcement point outside (a hook, an adapter) asks before,
 * and says after. The verdict is durable before it is answered, as at the gateway.
 */

type Begun = InputOf<Endpoints['beginCall']>['body']
type Decision = AnswerOf<Endpoints['beginCall']>

/** A person who is asked for more has as long as for a lease. */
const ESCALATION_SECONDS = 600

export function callHandlers(
  parts: ApiParts,
): Handlers<'beginCall' | 'settleCall' | 'escalateRun'> {
  return {
    beginCall: async ({ params: { run }, body }, asked) => {
      const found = await findRun(asked, run)
      checkOwn(asked.caller, found, [])
      const facts = await factsOf(parts, found, body)
      const call = newId('call')
      const reply = await parts.runs.execute(found.key, {
        do: 'authorize',
        run,
        call,
        key: keyOf(asked, body.key),
        ask: newId('ask') as AskId,
        facts,
        // It is settled as unknown when it is silent, or when this process dies before it answers.
        executor: parts.runs.executor,
        deadlineSeconds: body.deadlineSeconds,
      })
      if (!reply.ok) throw refused(reply.error)
      const tree = (await parts.runs.tree(found.key).read()) ?? found.tree
      return decisionOf(parts, reply.value, { facts, call, tree, found, now: asked.now })
    },
    settleCall: async ({ params: { run, call }, body }, asked) => {
      const found = await findRun(asked, run)
      checkOwn(asked.caller, found, [])
      const begun = found.tree.calls.get(call)
      if (begun?.run !== run) throw new Problem(404, 'call_unknown', `no call ${call} in ${run}`)
      // What the gateway runs is settled by the gateway: nobody else knows what came of it.
      if (!begun.key.startsWith(keyOf(asked, ''))) {
        throw new Problem(403, 'not_yours', `${call} was not begun here by you`)
      }
      return done(await asked.authority.command(run, { do: 'settle', call, ...body }))
    },
    escalateRun: async ({ params: { run }, body }, asked) => {
      const found = await findRun(asked, run)
      checkOwn(asked.caller, found, [])
      const escalation = newId('esc') as `esc_${string}`
      const answerSeconds = ESCALATION_SECONDS
      done(
        await asked.authority.command(run, {
          ...{ do: 'escalate', run, escalation, answerSeconds },
          ...body,
        }),
      )
      const tree = (await asked.authority.find(run))!.tree
      const { dossier, deadline } = tree.escalations.get(escalation)!
      return { escalation, offer: dossier.offer, more: dossier.more, deadline }
    },
  }
}

/** Keys of different callers never meet, nor those of the gateway's clients. */
function keyOf({ caller }: Asked, key: string): string {
  const who = JSON.stringify(actorOf(caller))
  return `api:${hash('sha256', who, 'base64url').slice(0, 22)}:${key}`
}

/** What the call does, as the enforcement point says, which is the one that knows its tools. */
async function factsOf(parts: ApiParts, { key, tree, run }: Found, begun: Begun): Promise<Facts> {
  const dot = begun.tool.indexOf('.')
  const [server, tool] = [begun.tool.slice(0, dot), begun.tool.slice(dot + 1)]
  // There the catalog says what a call touches, and nothing moves between the look and the call.
  if (parts.desks.serves(server)) {
    const message = `\`${server}\` stands behind the gateway: make this call through it`
    throw new Problem(409, 'behind_the_gateway', message)
  }
  const args = begun.arguments as Readonly<Record<string, Json>>
  const salt = await parts.desks.salt(key)
  const facts = await parts.desks.facts({ server, tool, args }, run, tree, salt)
  const captured = new Set(constrainedBy(tree, run))
  const { touches, fault } = canonicalTouches(begun.touches)
  return {
    ...{ ...facts, status: 'mapped', touches, fault },
    args: Object.fromEntries(Object.entries(args).filter(([name]) => captured.has(name))),
    ...{ usd: begun.usd, idempotent: begun.idempotent },
  }
}

interface Decided {
  readonly facts: Facts
  readonly call: CallId
  readonly tree: Tree
  readonly found: Found
  readonly now: number
}

function decisionOf({ vocabulary }: ApiParts, reply: Reply, decided: Decided): Decision {
  const nothing = {
    ...{ call: null, ask: null, deadline: null, reason: null, determined: null },
    ...{ missing: [], text: null },
  }
  switch (reply.kind) {
    case 'allow':
      return { ...nothing, decision: 'allow', call: reply.call }
    case 'join':
    case 'replay':
      return { ...nothing, decision: reply.kind, call: reply.call }
    case 'ask':
      return { ...nothing, decision: 'ask', ask: reply.ask, deadline: reply.deadline }
    case 'deny': {
      const { facts, call, tree, found, now } = decided
      const run = tree.runs.get(found.run.id)
      const notice = denialNotice(reply, { facts, call, tree, run, now, vocabulary, down: null })
      const { reason, determined } = reply
      const missing = notice.fields.missing as readonly Grant[]
      return { ...nothing, decision: 'deny', reason, determined, missing, text: notice.text }
    }
    case 'done':
      throw new Error('not an answer to a call')
  }
}
