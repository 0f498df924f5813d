/** How many times slower code is that counts its own steps; a blow-up is slower by far more. */
const SLOWNESS = Number(process.env.CORE_SLOWNESS ?? 1)

/**
 * Milliseconds of the fastest of five runs: what the code costs, whatever else the machine does
 * meanwhile. A blow-up is slow each time.
 */
export function fastestMs(run: () => unknown): number {
  let best = Number.POSITIVE_INFINITY
  for (let i = 0; i < 5; i++) {
    const start = performance.now()
    run()
    best = Math.min(best, performance.now() - start)
  }
  return best / SLOWNESS
}
