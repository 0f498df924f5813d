import type { Json } from './id.ts'

export type Effect = 'read' | 'write' | 'destructive' | 'egress'

/**
 * One thing a call does. A call can do several (a push with tags): every touch must be permitted.
 * INVARIANT: sound. Every resource the call can reach is named, or the facts carry a `fault`.
 */
export interface Touch {
  readonly action: string
  readonly effect: Effect
  readonly reversible: boolean
  /** Resource type → canonical values. A grant must mention every type here. */
  readonly resources: Readonly<Record<string, readonly string[]>>
  /**
   * Finer positions inside `resources` (paths within a repository). A grant may narrow by them, and
   * need not mention them: whoever grants the repository grants the paths in it.
   */
  readonly within: Readonly<Record<string, readonly string[]>>
  /** External systems that data of this call goes to, as `host` or `host:port`. */
  readonly hosts: readonly string[]
}

/** What a decision depends on. Built by the catalog, recorded in the ledger, replayed by verify. */
export interface Facts {
  /** `server.tool`, as the client sees it. */
  readonly tool: string
  /** SHA-256 (hex) of the tool definition that the upstream presents now; "" if it has none. */
  readonly definition: string
  /**
   * `mapped`: the catalog knows it and the definition is the pinned one. `unmapped`: no catalog
   * does; its one touch is the tool itself, and each call that a lease permits by name asks.
   */
  readonly status: 'mapped' | 'unknown' | 'unmapped' | 'changed'
  readonly touches: readonly Touch[]
  /** Arguments that a constraint of the chain names, or the catalog declares. */
  readonly args: Readonly<Record<string, Json>>
  /** Salted SHA-256 (hex) over all arguments. */
  readonly argsDigest: string
  /** The most this call can cost, as a decimal string in USD. */
  readonly usd: string | null
  /** The catalog says that doing it twice is doing it once. */
  readonly idempotent: boolean
  /** Why the facts cannot be sound, in words for the caller. The call is denied. */
  readonly fault: string | null
  /** Verdict of the organisation's guardrails over these facts. */
  readonly guardrail: {
    readonly verdict: 'allow' | 'deny'
    readonly policy: string
    readonly digest: string
  } | null
}

/** A call is privileged when it does more than read. (An asked call is privileged too.) */
export function isPrivileged(touches: readonly Touch[]): boolean {
  return touches.some((touch) => touch.effect !== 'read')
}

/** Calls of a child run that always need a fresh human approval. */
export function isHighRisk(touches: readonly Touch[]): boolean {
  return touches.some(
    (touch) =>
      touch.effect === 'destructive' ||
      touch.effect === 'egress' ||
      (touch.effect !== 'read' && !touch.reversible),
  )
}
