import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // these install other programs first, npm run test:peers, or take a machine of their own, npm run test:faults
    exclude: ['node_modules/**', 'test/peers/**', 'test/faults/**'],
    pool: 'forks',
    // many tests wait for other processes, so a core each is not too many
    maxWorkers: '100%',
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
})
