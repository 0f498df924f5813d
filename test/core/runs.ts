import fc from 'fast-check'

/*
 * `npm test` looks at as many random cases of each law as its test says. `CORE_RUNS_SHARE` takes a
 * part of them and `CORE_SEED` always the same ones: mutation testing runs the laws some thousand
 * times, and a verdict on a mutant must not depend on luck.
 */
const SHARE = Number(process.env.CORE_RUNS_SHARE ?? 1)

if (!(SHARE > 0 && SHARE <= 1))
  throw new Error('CORE_RUNS_SHARE is not a part: more than 0, up to 1')
// Nobody reads the smallest counterexample of a mutant, so there is none to look for.
if (process.env.CORE_SEED !== undefined) {
  fc.configureGlobal({ seed: Number(process.env.CORE_SEED), endOnFailure: true })
}

/** How many cases a law looks at, of as many as it looks at when all of them run. */
export function runs(all: number): number {
  return Math.ceil(all * SHARE)
}

/** How many of them are at least of the kind that a law is about. */
export function atLeast(ofAll: number): number {
  return Math.floor(ofAll * SHARE)
}
