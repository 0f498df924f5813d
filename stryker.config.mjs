/*
 * Mutation testing of the core: `npm run test:mutation`. CONTRIBUTING says how to read it.
 * @type {import('@stryker-mutator/api/core').PartialStrykerOptions}
 */
export default {
  mutate: ['src/core/**/*.ts'],
  testRunner: 'vitest',
  vitest: { configFile: 'vitest.mutation.config.ts', related: false },
  coverageAnalysis: 'perTest',
  // Tables that are made once, when a module loads, hold no branch of a decision; each of their
  // mutants would need a fresh process for all tests.
  ignoreStatic: true,
  concurrency: 2,
  timeoutMS: 10_000,
  thresholds: { high: 95, low: 90, break: 90 },
  reporters: ['clear-text', 'progress', 'html', 'json'],
  clearTextReporter: { logTests: false, reportTests: false, allowColor: false },
  htmlReporter: { fileName: 'reports/mutation/index.html' },
  jsonReporter: { fileName: 'reports/mutation/mutation.json' },
  tempDirName: '.stryker-tmp',
  // What the sandbox needs not: everything but the core and its tests. Nor `tsconfig.json`: Stryker
  // would rewrite it with the compiler's API, which TypeScript 7 has not.
  ignorePatterns: [
    '/.*',
    '/bench',
    '/dist',
    '/docs',
    '/examples',
    '/reports',
    '/schemas',
    '/coverage',
    '/*.md',
    '/tsconfig*.json',
    '/src/*',
    '!/src/core',
    '/test/*',
    '!/test/core',
    '!/test/fixtures',
    '/test/fixtures/*',
    '!/test/fixtures/ledgers',
  ],
  allowConsoleColors: false,
}
