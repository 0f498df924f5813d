import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    pool: 'forks',
    // Most tests wait for servers and the disk: one worker for each core, not one less.
    maxWorkers: '100%',
    allowOnly: false,
  },
})
