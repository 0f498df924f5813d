import { canonicalise } from '../core/canonical.ts'
import { err, type Result } from '../core/result.ts'

/**
 * A branch that is already spelled as its canonical name. Canonicalising it silently would lie:
 * `git branch refs/heads/x` makes a branch whose name is `refs/heads/x`.
 */
export function canonicalBranch(name: string): Result<string, string> {
  const canonical = canonicalise('branches', name)
  if (!canonical.ok) return canonical
  if (canonical.value !== name) return err(`\`${name}\`: write it as \`${canonical.value}\``)
  return canonical
}
