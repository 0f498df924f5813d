import type { Facts } from '../core/facts.ts'
import type { Grant } from '../core/lease.ts'
import type { ResourcePart } from './receipt-body.ts'

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
  return [...found]
    .map(([type, values]) => ({ type, values: [...values] }))
    .sort((left, right) => (left.type < right.type ? -1 : 1))
}

/** The actions, resources and hosts of a call. */
export function describeFacts(facts: Facts): {
  readonly actions: string[]
  readonly resources: ResourcePart[]
  readonly hosts: string[]
} {
  return {
    actions: distinct(facts.touches.map((touch) => touch.action)),
    resources: mergeResources(facts.touches.map((touch) => touch.resources)),
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
