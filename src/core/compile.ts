import type { ActionPattern } from './pattern.ts'
import type { CompiledGrant } from './grant.ts'

/** Terms with every pattern parsed once, at approval; derived, never stored. */
export interface CompiledTerms {
  readonly grants: readonly CompiledGrant[]
  readonly deny: readonly ActionPattern[]
  readonly ask: readonly ActionPattern[]
  readonly until: readonly ActionPattern[]
  readonly ceiling: readonly ActionPattern[] | null
}
