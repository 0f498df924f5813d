import { canonicalise } from '../core/canonical.ts'
import type { Touch } from '../core/facts.ts'

/**
 * Touches that somebody outside names, with values as they are matched. One value that has no
 * canonical form is a fault, and a call with a fault is denied.
 */
export function canonicalTouches(given: readonly Touch[]): {
  readonly touches: readonly Touch[]
  readonly fault: string | null
} {
  let fault: string | null = null
  const canonicalValue = (type: string, text: string): string => {
    const value = canonicalise(type, text)
    if (value.ok) return value.value
    fault ??= value.error
    return text
  }
  const canonical = (values: Touch['resources']) =>
    Object.fromEntries(
      Object.entries(values).map(([type, texts]) => [
        type,
        texts.map((t) => canonicalValue(type, t)),
      ]),
    )
  const touches = given.map((touch) => ({
    ...touch,
    resources: canonical(touch.resources),
    within: canonical(touch.within),
  }))
  return { touches: fault === null ? touches : [], fault }
}
