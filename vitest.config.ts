import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // these install other programs first, npm run test:peers, or take a machine of their own, npm run test:faults
    exclude: ['node_modules/**', 'test/peers/**', 'test/faults/**'],
    pool: 'forks',
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
})
