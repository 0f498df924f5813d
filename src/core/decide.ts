import { faultOf, isCount } from './check-command.ts'
import type { Command } from './command.ts'
import { decideAnswer, decideAuthorize, decideFold } from './decide-call.ts'
import { decideDelegate } from './decide-delegate.ts'
import { decideClose, decideEnd, decideResolve, decideSettle } from './decide-end.ts'
import { decideAmend, decideEscalate, decideRefuseEscalation } from './decide-escalate.ts'
import {
  decideApprove,
  decideOpen,
  decideRefuse,
  decideRequest,
  decideSuspend,
} from './decide-lease.ts'
import { type Decision, refuse } from './decision.ts'
import type { Instant } from './id.ts'
import { RULES_VERSION } from './limits.ts'
import { unreachable } from './result.ts'
import type { Tree } from './tree.ts'

/**
 * Decides a command. `now` is the clock of the caller; time of a tree never goes back, so the later
 * of it and the tree's last entry counts (threat 58).
 */
export function decide(tree: Tree | null, command: Command, clock: Instant): Decision {
  // NaN is never past an expiry: what is no instant decides nothing.
  if (!isCount(clock)) return refuse('malformed', `the clock says \`${clock}\``)
  const fault = faultOf(command)
  if (fault !== null) return refuse('malformed', fault)
  if (command.do === 'open') return decideOpen(tree, command, clock)
  if (tree === null) return refuse('not_open', 'this run tree does not exist')
  if (tree.rules !== RULES_VERSION) {
    return refuse('rules_unknown', `this build knows rules version ${RULES_VERSION} only`)
  }
  const now = Math.max(clock, tree.at)
  switch (command.do) {
    case 'request':
      return decideRequest(tree, command, now)
    case 'approve':
      return decideApprove(tree, command, now)
    case 'refuse':
      return decideRefuse(tree, command, now)
    case 'authorize':
      return decideAuthorize(tree, command, now)
    case 'settle':
      return decideSettle(tree, command, now)
    case 'resolve':
      return decideResolve(tree, command, now)
    case 'approve_call':
    case 'refuse_call':
      return decideAnswer(tree, command, now)
    case 'delegate':
      return decideDelegate(tree, command, now)
    case 'escalate':
      return decideEscalate(tree, command, now)
    case 'amend':
      return decideAmend(tree, command, now)
    case 'refuse_escalation':
      return decideRefuseEscalation(tree, command, now)
    case 'suspend':
    case 'resume':
      return decideSuspend(tree, command, now)
    case 'revoke':
    case 'end':
    case 'expire':
      return decideEnd(tree, command, now)
    case 'fold':
      return decideFold(tree, command, now)
    case 'close':
      return decideClose(tree, command, now)
    default:
      return unreachable(command)
  }
}
