import { defineConfig } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

/** Laws over whole lives: the slowest tests. What a table of cases finds, it finds sooner. */
const LAWS = /(?:laws|model|replay|snapshot)\.test\.ts$/

class TablesFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    return files.toSorted((left, right) => rank(left) - rank(right))
  }
}

function rank({ moduleId }: TestSpecification): number {
  return LAWS.test(moduleId) ? 1 : 0
}

/** The tests of the core as mutation testing runs them: few and the same random cases. */
export default defineConfig({
  test: {
    include: ['test/core/**/*.test.ts'],
    env: { CORE_RUNS_SHARE: '0.02', CORE_SEED: '1', CORE_SLOWNESS: '20' },
    testTimeout: 60_000,
    // The core keeps no state outside its arguments, so files can share one copy of it.
    isolate: false,
    sequence: { sequencer: TablesFirst },
  },
})
