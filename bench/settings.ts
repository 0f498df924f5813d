/** How thoroughly is measured. `--quick` is for work on a part; its figures are for nobody else. */
export interface Settings {
  readonly rounds: number
  readonly roundMs: number
  /** Load on each door before it is measured: a gateway in service is hot. */
  readonly warmUpMs: number
  readonly parallel: readonly number[]
  /** Entries of a long history, and live trees of a busy process. */
  readonly history: number
  readonly trees: number
  /** Calls in flight when a run is revoked. */
  readonly inFlight: number
  /** Folder in which mcp-proxy and supergateway are installed; null: they are left out. */
  readonly peers: string | null
}

export const THOROUGH: Omit<Settings, 'peers'> = {
  ...{ rounds: 5, roundMs: 500, warmUpMs: 15_000, parallel: [1, 8, 32, 64] },
  ...{ history: 100_000, trees: 10_000, inFlight: 1_000 },
}

export const QUICK: Omit<Settings, 'peers'> = {
  ...{ rounds: 3, roundMs: 200, warmUpMs: 500, parallel: [1, 32] },
  ...{ history: 10_000, trees: 1_000, inFlight: 200 },
}

export const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] as number
