import { resolve } from 'node:path'
import { type ViteUserConfig, defineConfig } from 'vitest/config'

/** Processes that are killed while they count; `npm run test:faults`. */
const config: ViteUserConfig = defineConfig({
  root: resolve(import.meta.dirname, '../..'),
  test: {
    include: ['test/faults/**/*.test.ts'],
    pool: 'forks',
    // each has a dozen processes of its own, which mostly wait
    maxWorkers: 4,
    testTimeout: 900_000,
    hookTimeout: 60_000,
  },
})

export default config
