import type { Effect } from '../core/facts.ts'
import type { Json } from '../core/id.ts'

/**
 * A catalog: what each tool of one kind of MCP server does, as data. Read from `catalog/*.yaml` by
 * `load.ts`; `classify.ts` applies it to a call. Maps, not objects: names come from outside, and
 * `__proto__` must be a name like any other.
 */
export interface Catalog {
  readonly name: string
  readonly file: string
  readonly title: string
  readonly server: ServerKind
  readonly tools: ReadonlyMap<string, Tool>
  /** Tools that are left out on purpose, with the reason. Always denied. */
  readonly unmapped: ReadonlyMap<string, string>
  /** What each action means on this server, before a rule says otherwise. */
  readonly actions: ReadonlyMap<string, ActionKind>
}

/** The server that the pins were made from, and the environment that the facts rely on. */
export interface ServerKind {
  readonly package: string
  readonly version: string
  readonly env: Readonly<Record<string, string>>
}

export interface ActionKind {
  readonly effect: Effect
  readonly reversible: boolean
}

export interface Tool {
  readonly name: string
  /**
   * SHA-256 (hex) of the definitions that the catalog was written for; a server may have two eras.
   */
  readonly definitions: readonly string[]
  readonly args: ReadonlyMap<string, Argument>
  /** Every rule whose condition holds adds its touches; the order does not change the decision. */
  readonly rules: readonly Rule[]
  readonly idempotent: boolean
  /** The most one call can cost, as a decimal string in USD. */
  readonly usd: string | null
  /** Arguments that are always recorded, beside those that a lease constrains. */
  readonly record: readonly string[]
}

export const ARGUMENT_TYPES = [
  'string',
  'boolean',
  'integer',
  'number',
  'null',
  'strings',
  'object',
  'objects',
  /** The bound working tree, spelled out: a default would be hidden session state. */
  'worktree',
] as const
export type ArgumentType = (typeof ARGUMENT_TYPES)[number]

export interface Argument {
  /** A value must have one of these types. */
  readonly types: readonly ArgumentType[]
  readonly required: boolean
  readonly oneOf: readonly string[] | null
  /** What the server assumes when the argument is absent. */
  readonly default: Json | undefined
}

export type Test =
  | { readonly arg: string; readonly given: boolean }
  | { readonly arg: string; readonly anyOf: readonly Json[] }
  | { readonly arg: string; readonly noneOf: readonly Json[] }
  /** Whether something can be proven of the argument; nothing can be of one that is absent. */
  | { readonly arg: string; readonly proof: Proof; readonly holds: boolean }

export type Rule =
  | { readonly do: 'fault'; readonly when: readonly Test[]; readonly words: string }
  | {
      readonly do: 'touch'
      readonly when: readonly Test[]
      readonly actions: readonly string[]
      /** Overrides of what the catalog says about the actions. */
      readonly effect: Effect | null
      readonly reversible: boolean | null
      readonly resources: readonly TypedSource[]
      readonly within: readonly TypedSource[]
      readonly hosts: readonly Source[]
    }
  | { readonly do: 'files'; readonly when: readonly Test[]; readonly uses: readonly FileUse[] }

export type FileUse =
  | { readonly use: 'read' | 'list' | 'tree' | 'write' | 'delete' | 'mkdir'; readonly arg: string }
  | { readonly use: 'move'; readonly arg: string; readonly to: string }
  | { readonly use: 'list_roots' }

export interface TypedSource {
  readonly type: string
  readonly sources: readonly Source[]
}

export const PROBES = [
  'current_branch',
  'untracked_secrets',
  'ignored_secrets',
  'config_secrets',
] as const
export type Probe = (typeof PROBES)[number]

/**
 * What a rule may ask of an argument beyond equality. Each is written so that what is not
 * understood is on the side that is denied, or that counts as the wider action.
 */
export const PROOFS = [
  /** The text changes what a URL means that it is pasted into. */
  'url_unsafe',
  /** As `url_unsafe`, or a branch that is not given by its short name. */
  'branch_unsafe',
  /** A path, or a list of files with one, that GitHub acts on by itself. */
  'github_acts',
  /** More than one SQL statement, or text of which that cannot be told. */
  'sql_unclear',
  /** One SQL statement that does nothing but read. */
  'sql_reads',
  /** MongoDB stages that write, run code, look at the server, or are not known. */
  'mongo_unclear',
  /** Some of them name other collections. */
  'mongo_joins',
  /** Definitions of indexes that live in the database alone. */
  'mongo_classic',
] as const
export type Proof = (typeof PROOFS)[number]

/** Where the values of a resource type come from. */
export type Source =
  /**
   * An argument. `local_branch`: a branch of the working tree. `full_ref`: spelled `refs/heads/…`.
   * With `member`, that member of each object in the argument.
   */
  | {
      readonly from: 'arg'
      readonly arg: string
      readonly member: string | null
      readonly as: 'value' | 'local_branch' | 'full_ref' | 'pathspec'
    }
  /** The branches that a revision argument reads; the type is left out if it can be any. */
  | { readonly from: 'revision'; readonly arg: string }
  /**
   * Those paths of an argument that look like secrets; `wide`: and what a broad pathspec catches.
   */
  | {
      readonly from: 'secrets_of'
      readonly arg: string
      readonly member: string | null
      readonly wide: boolean
    }
  /** Names put together, `owner/repo`; each a plain name, so that none reaches beyond its place. */
  | { readonly from: 'join'; readonly parts: readonly JoinPart[] }
  /** The host of the URL that the argument holds. */
  | { readonly from: 'host_of'; readonly arg: string }
  /** The collections that MongoDB stages in the argument read, beside the one they run on. */
  | { readonly from: 'collections_of'; readonly arg: string }
  | { readonly from: 'binding'; readonly name: string }
  /** The host of the bound remote that the argument names. */
  | { readonly from: 'remote'; readonly arg: string }
  | { readonly from: 'probe'; readonly probe: Probe }
  | { readonly from: 'text'; readonly value: string }

export type JoinPart =
  | { readonly from: 'arg'; readonly arg: string }
  | { readonly from: 'binding'; readonly name: string }

export const EFFECTS: readonly Effect[] = ['read', 'write', 'destructive', 'egress']

/** Whether a rule can do nothing but read. */
export function onlyReads(catalog: Catalog, rule: Rule): boolean {
  if (rule.do === 'fault') return true
  if (rule.do === 'files') {
    return rule.uses.every(({ use }) => ['read', 'list', 'tree', 'list_roots'].includes(use))
  }
  return rule.actions.every((name) => (rule.effect ?? catalog.actions.get(name)?.effect) === 'read')
}
