import type { Facts } from '../core/facts.ts'
import type { Grant } from '../core/lease.ts'
import type { ResourcePart } from './receipt-body.ts'

/** People say `repo clord, branch main`; every other type follows by name. */
const TYPES_FIRST = ['repos', 'branches', 'base_branches', 'paths']

function byType(left: ResourcePart, right: ResourcePart): number {
  const rank = ({ type }: ResourcePart) => {
    const at = TYPES_FIRST.indexOf(type)
    return at < 0 ? TYPES_FIRST.length : at
  }
  return rank(left) - rank(right) || (left.type < right.type ? -1 : 1)
}

/**
 * Merges maps of resource type → values. Types are sorted, because the order of members of a JSON
 * object is not part of an entry; values stay in the order in which they came.
 */
export function mergeResources(
  maps: readonly Readonly<Record<string, readonly string[]>>[],
): ResourcePart[] {
  const found = new Map<string, Set<string>>()
  for (const map of maps) {
    for (const [type, values] of Object.entries(map)) {
      const all = found.get(type) ?? new Set()
      for (const value of values) all.add(value)
      found.set(type, all)
    }
  }
  return [...found].map(([type, values]) => ({ type, values: [...values] })).sort(byType)
}

/** The actions, resources and hosts of a call. */
export function describeFacts(facts: Facts): {
  readonly actions: string[]
  readonly resources: ResourcePart[]
  readonly within: ResourcePart[]
  readonly hosts: string[]
} {
  return {
    actions: distinct(facts.touches.map((touch) => touch.action)),
    resources: mergeResources(facts.touches.map((touch) => touch.resources)),
    within: mergeResources(facts.touches.map((touch) => touch.within)),
    hosts: distinct(facts.touches.flatMap((touch) => touch.hosts)),
  }
}

/** The action patterns and resource patterns of grants. */
export function describeGrants(grants: readonly Grant[]): {
  readonly actions: string[]
  readonly resources: ResourcePart[]
} {
  return {
    actions: distinct(grants.flatMap((grant) => grant.actions)),
    resources: mergeResources(grants.map((grant) => grant.resources)),
  }
}

export function distinct<T>(values: readonly T[]): T[] {
  return [...new Set(values)]
}
