import { chainOf } from '../../core/chain.ts'
import type { Actor } from '../../core/command.ts'
import type { OrgId, RunId } from '../../core/id.ts'
import type { Run, Tree } from '../../core/tree.ts'
import type { Authority } from '../authority.ts'
import type { Caller } from '../caller.ts'
import type { Endpoint } from './endpoint.ts'
import { Problem, unknownRun } from './problem.ts'

/** Who sees and does what. What must not be known of is answered as if it were not there. */

type Person = Extract<Caller, { kind: 'person' }>

/** The organisation, which always comes from the proof of who calls. */
export function orgOf(caller: Caller): OrgId {
  return caller.kind === 'agent' ? caller.badge.org : caller.org
}

/** As whom the caller requests runs. */
export function nameOf(caller: Caller): string {
  if (caller.kind === 'person') return caller.person
  return caller.kind === 'machine' ? caller.client : caller.badge.requester
}

/** As the ledger names who did something. */
export function actorOf(caller: Caller): Actor {
  if (caller.kind === 'person') {
    return { person: caller.person, via: caller.via, roles: [...caller.roles].sort() }
  }
  return { agent: caller.kind === 'machine' ? caller.client : caller.badge.agent }
}

/** Refuses a caller that the endpoint is not for (threat 72), before the request is read. */
export function checkCaller(caller: Caller, { callers, personsOnly }: Endpoint): void {
  if (personsOnly && caller.kind !== 'person') {
    throw new Problem(403, 'not_an_approver', 'only a signed-in person may do this')
  }
  const words: readonly string[] = caller.kind === 'agent' ? ['agent'] : [...caller.roles]
  if (words.some((word) => (callers as readonly string[]).includes(word))) return
  const who = caller.kind === 'agent' ? 'an agent' : 'this role'
  const message = `${who} may not do this; it needs: ${callers.join(', ')}`
  throw new Problem(403, 'role_missing', message)
}

/** Who sees every run of the organisation. */
function seesAll(caller: Exclude<Caller, { kind: 'agent' }>): boolean {
  return (['approver', 'auditor', 'admin'] as const).some((role) => caller.roles.has(role))
}

/** The run was requested by the caller, or belongs to a tree that was. */
export function isOwn(caller: Caller, tree: Tree, run: Run): boolean {
  if (caller.kind === 'agent') return isBelow(caller, tree, run)
  const me = nameOf(caller)
  return chainOf(tree, run).some(({ envelope }) => envelope.requester === me)
}

/** An agent's own run and the runs below it. */
function isBelow(caller: Extract<Caller, { kind: 'agent' }>, tree: Tree, run: Run): boolean {
  const { badge } = caller
  if (badge.tree !== tree.id) return false
  return chainOf(tree, run).some(({ id }) => id === badge.run)
}

export function maySee(caller: Caller, tree: Tree, run: Run): boolean {
  if (caller.kind !== 'agent' && seesAll(caller)) return true
  return isOwn(caller, tree, run)
}

/** The ledger is about the whole tree: an agent reads it from the root, not from below. */
export function maySeeTree(caller: Caller, tree: Tree): boolean {
  return maySee(caller, tree, tree.runs.get(tree.root)!)
}

export type Found = NonNullable<Awaited<ReturnType<Authority['find']>>>

/** The run, if it is there and the caller may see it. */
export async function findRun(
  { caller, authority }: { readonly caller: Caller; readonly authority: Authority },
  run: RunId,
): Promise<Found> {
  const found = await authority.find(run)
  if (found === null || !maySee(caller, found.tree, found.run)) throw unknownRun(run)
  return found
}

/** The run, for what only its requester or its agent, or one of these roles, may do. */
export function checkOwn(
  caller: Caller,
  { tree, run }: Found,
  others: readonly ('approver' | 'admin')[],
): void {
  if (caller.kind !== 'agent' && others.some((role) => caller.roles.has(role))) return
  if (isOwn(caller, tree, run)) return
  throw new Problem(403, 'role_missing', `this run is not yours: ${run.id}`)
}

/**
 * Who answers: an approver, or a requester about their own run. Whether the rule of the run lets
 * them is the core's to say (`mayAnswer`).
 */
export function checkAnswers(caller: Caller, { tree, run }: Found): Person {
  if (caller.kind !== 'person') throw new Problem(403, 'not_an_approver', 'a person must answer')
  if (caller.roles.has('approver') || isOwn(caller, tree, run)) return caller
  throw new Problem(403, 'not_an_approver', `${caller.person} is no approver`)
}
