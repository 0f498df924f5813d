import { type CompiledGrant, compileGrant } from './grant.ts'
import type { Terms } from './lease.ts'
import { type ActionPattern, parseActionPattern } from './pattern.ts'

export { validateTerms } from './validate.ts'

/** Terms with every pattern parsed once, at approval; derived, never stored. */
export interface CompiledTerms {
  readonly grants: readonly CompiledGrant[]
  readonly deny: readonly ActionPattern[]
  readonly ask: readonly ActionPattern[]
  readonly until: readonly ActionPattern[]
  readonly ceiling: readonly ActionPattern[] | null
}

/** Parses every pattern of valid terms. Throws on others: `validateTerms` comes first. */
export function compileTerms(terms: Terms): CompiledTerms {
  return {
    grants: terms.grants.map((grant) => {
      const compiled = compileGrant(grant)
      if (!compiled.ok) throw new Error(`invalid terms: ${compiled.error}`)
      return compiled.value
    }),
    deny: compileActions(terms.deny),
    ask: compileActions(terms.ask),
    until: compileActions(terms.until),
    ceiling: terms.ceiling === null ? null : compileActions(terms.ceiling),
  }
}

function compileActions(texts: readonly string[]): ActionPattern[] {
  return texts.map((text) => {
    const pattern = parseActionPattern(text)
    if (!pattern.ok) throw new Error(`invalid terms: ${pattern.error}`)
    return pattern.value
  })
}
