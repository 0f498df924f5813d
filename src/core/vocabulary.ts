/**
 * The words that leases and catalogs share: which actions exist, how a person reads them, and which
 * names stand for others. Loaded from `catalog/actions.yaml`; plain data here.
 */
export interface ActionWord {
  /** What a person reads in the prompt, e.g. `open PR`. */
  readonly phrase: string
  /** What has then happened, e.g. `PR is opened`; a lease that ends with the action says so. */
  readonly done: string | null
  /** Which of the six questions of the glance line this action answers with yes. */
  readonly glance: 'write' | 'delete' | 'invite' | 'deploy' | 'secrets' | 'network' | null
  /** Leaves data with an external system. */
  readonly sends: string | null
  /** What reaches an external system when the action itself sends nothing: `code under test`. */
  readonly reaches: string | null
  /** What is lost, e.g. `replaces commits on the remote`; null when it can be undone. */
  readonly irreversible: string | null
}

export interface Vocabulary {
  readonly actions: ReadonlyMap<string, ActionWord>
  /** Name → the actions it stands for. `secrets.read` → `secret.read`. */
  readonly aliases: ReadonlyMap<string, readonly string[]>
  /** Resource type → singular word for people, e.g. `repos` → `repo`. */
  readonly resourceTypes: ReadonlyMap<string, string>
}

/** Replaces aliases in a list of action patterns; keeps order, drops repeats. */
export function expandActions(
  vocabulary: Vocabulary,
  patterns: readonly string[],
): readonly string[] {
  return [...new Set(patterns.flatMap((name) => vocabulary.aliases.get(name) ?? [name]))]
}
