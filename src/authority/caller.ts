import type { Badge } from '../badge/badge.ts'
import type { OrgId } from '../core/id.ts'

/**
 * What a person or a machine may do here. A requester opens runs and sees their own; an approver
 * answers; an auditor reads everything and changes nothing; an admin pins, revokes in bulk and sees
 * everything.
 */
export const ROLES = ['requester', 'approver', 'auditor', 'admin'] as const
export type Role = (typeof ROLES)[number]

/**
 * Who speaks to the authority, once that is proven. The organisation always comes from the proof,
 * never from the request.
 */
export type Caller =
  | {
      readonly kind: 'person'
      readonly org: OrgId
      readonly person: string
      readonly roles: ReadonlySet<Role>
      readonly via: 'terminal' | 'api' | 'console'
    }
  | {
      /** A CI job or an orchestrator, by client credentials. It never approves. */
      readonly kind: 'machine'
      readonly org: OrgId
      readonly client: string
      readonly roles: ReadonlySet<Role>
    }
  /** An agent, by its badge: its own run and those below it, and never an approval (threat 72). */
  | { readonly kind: 'agent'; readonly badge: Badge }

/** Who sent a request; null: nobody that is known. Never falls back to anybody (threat 28). */
export type Authenticate = (request: Request) => Promise<Caller | null>
