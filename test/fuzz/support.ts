import fc from 'fast-check'

/*
 * `npm test` looks at a few thousand cases of each law, `npm run test:fuzz` at many times as many.
 * A failure says its seed and path; `FUZZ_SEED` repeats a whole run.
 */
const RUNS_SHORT = 2_000
const RUNS = Number(process.env.FUZZ_RUNS ?? RUNS_SHORT)

if (!Number.isSafeInteger(RUNS) || RUNS < 1) throw new Error('FUZZ_RUNS is not a number of cases')
if (process.env.FUZZ_SEED !== undefined) fc.configureGlobal({ seed: Number(process.env.FUZZ_SEED) })

/** Parameters of a law. A law that costs more than others takes a part of the cases. */
export function cases(options: { part?: number } = {}): { numRuns: number } {
  return { numRuns: Math.max(RUNS_SHORT, Math.ceil(RUNS * (options.part ?? 1))) }
}

/** Whether at least this part of what was looked at is of the kind that a law is about. */
export class Share {
  #of = 0
  #all = 0

  count(isOf: boolean): void {
    this.#all++
    if (isOf) this.#of++
  }

  get value(): number {
    return this.#of / this.#all
  }
}

interface Edit {
  readonly at: number
  readonly cut: number
  readonly put: string
  readonly from: number
}

/** A text after up to three small changes: something put in, cut out, or written twice. */
export function edited(text: fc.Arbitrary<string>, pieces: readonly string[]) {
  // Anywhere alike: numbers of fast-check are mostly small or at an end, and so would the edits be.
  const place = fc.noBias(fc.nat(999_999)).map((number) => number / 1_000_000)
  const edit: fc.Arbitrary<Edit> = fc.record({
    at: place,
    cut: fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, fc.nat(12)),
    put: fc.oneof(
      { weight: 6, arbitrary: fc.constantFrom(...pieces) },
      { weight: 2, arbitrary: fc.string({ unit: 'binary', maxLength: 3 }) },
      fc.constant(''),
    ),
    from: place,
  })
  return fc.tuple(text, fc.array(edit, { maxLength: 3 })).map(([start, edits]) => {
    return edits.reduce((before, { at, cut, put, from }) => {
      const place = Math.floor(at * before.length)
      const copied = Math.floor(from * before.length)
      const added = put === '' ? before.slice(copied, copied + 2 * cut) : put
      return before.slice(0, place) + added + before.slice(place + cut)
    }, start)
  })
}
