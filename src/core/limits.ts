/** Limits of a run tree. Each names the attack or the cost it bounds. */

/** The rules that this build writes. Released versions stay executable; see `replay`. */
export const RULES_VERSION = 1

/** A loop of different denied calls fills the ledger; the run is suspended at this many. */
export const DENIALS_DISTINCT_MAX = 100
/** After that, denials are told apart by reason only. */
export const DENIALS_RECORDED_MAX = 200
/** A person who is asked too often stops reading. */
export const ASKS_PER_RUN_MAX = 20
/** A run that delegates in a loop fills the tree. */
export const CHILDREN_PER_RUN_MAX = 1000
/**
 * Runs of a tree, the root and ended ones included. The end of the root writes an entry for each
 * run below it in one append, so a tree with more runs than an append has room for could not end.
 */
export const RUNS_PER_TREE_MAX = 5000
export const ESCALATIONS_PER_RUN_MAX = 20
/** An ask that nobody answers is refused; a yes that nobody uses goes stale. */
export const ASK_ANSWER_SECONDS = 600
export const ASK_USE_SECONDS = 600
/** A call gets dearer with the depth of the tree. */
export const DEPTH_MAX = 4
/** How long a tree that is ending waits for calls in flight. */
export const CLOSE_WAIT_SECONDS = 30
