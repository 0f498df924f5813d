/**
 * Ids are prefixed, so that a wrong one is refused at compile time and can be read in a log.
 * The core never makes an id: the shell draws it at random and hands it in with the command.
 */
export type OrgId = string
export type TreeId = `tree_${string}`
export type RunId = `run_${string}`
export type LeaseId = `lease_${string}`
export type CallId = `call_${string}`
export type AskId = `ask_${string}`
export type EscalationId = `esc_${string}`

/** Milliseconds since 1970-01-01T00:00:00Z. */
export type Instant = number

export type Json =
  | null
  | boolean
  | number
  | string
  | readonly Json[]
  | { readonly [key: string]: Json }
