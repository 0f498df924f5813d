import type { StageRun } from './stage.ts'

/** Points of the path of a call that lie in the victim; the others are where the upstream is. */
export const STORE_POINTS = [
  'before the verdict is appended',
  'after the verdict is appended',
  'before the settlement is appended',
  'after the settlement is appended',
] as const
export type StorePoint = (typeof STORE_POINTS)[number]

/** What a victim is told. */
export interface Order {
  readonly folder: string
  /** Calls that a lease permits. */
  readonly budget: number
  readonly at: StorePoint | null
  /** It dies when it gets there for the `count`-th time. */
  readonly count: number
  /** Its verdicts are called durable before they are: a gateway that the checker must find out. */
  readonly isHasty: boolean
}

/** What it answers when it can be called. */
export interface Ready extends StageRun {
  readonly url: string
}
